//! Bounds HTTP/2 frame floods: how many frames without content a peer may send.
//!
//! Such a frame costs its sender nine bytes. It costs the receiver some work and usually a reply: a connection that
//! sends nothing else takes milliseconds of every turn of its thread. Two layers bound floods:
//!
//! - The HTTP/2 library (`h2`) bounds resets (rapid reset), CONTINUATION and empty DATA.
//! - [`FrameFlood`] bounds everything except HEADERS, PUSH_PROMISE, CONTINUATION and DATA with content. These are
//!   SETTINGS, PING, PRIORITY, WINDOW_UPDATE and unknown frame types, and once more resets and empty DATA.
//!
//! Each frame takes one credit. Time and the bytes written to the peer give credits back. A peer that sends a frame
//! without a credit left has its connection closed.

use std::time::Duration;

use tokio::time::Instant;

use super::Rule;

/// Bytes of a frame header (RFC 9113, 4.1), and of the connection preface (3.4).
const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;
/// Frames that may arrive at once. Clients send two or three when they connect, open windows for DATA frames, and may
/// reset all of their streams.
const BURST: u32 = 500;
/// Time that gives back one credit: 1,000 frames a second cost next to nothing.
const INTERVAL: Duration = Duration::from_millis(1);
/// Bytes written that give back one credit. More than the reply to a PING, or else that reply would pay for the next
/// PING.
const ASKED_BYTES: usize = 24;
/// Bytes written that give back one WINDOW_UPDATE. The smallest DATA frame is ten bytes, and some clients open two
/// windows for each.
const OPENED_BYTES: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Counts the frames of one direction of an HTTP/2 connection.
#[derive(Debug)]
pub struct FrameFlood {
    /// The header of the frame that is arriving, and how many bytes of it have arrived.
    head: [u8; HEAD_BYTES],
    seen: usize,
    /// Bytes before the next frame header.
    left: usize,
    /// Credits for frames that usually cause a reply.
    asking: Account,
    /// Credits for WINDOW_UPDATE, which never causes one.
    opening: Account,
    refuses: bool,
}

impl FrameFlood {
    /// Counts what a client sends, after the connection preface.
    pub fn of_client() -> Self {
        Self {
            left: PREFACE_BYTES,
            ..Self::of_server()
        }
    }

    /// Counts what a server sends.
    pub fn of_server() -> Self {
        Self {
            head: [0; HEAD_BYTES],
            seen: 0,
            left: 0,
            asking: Account::new(ASKED_BYTES),
            opening: Account::new(OPENED_BYTES),
            refuses: false,
        }
    }

    /// Begins a frame whose header is complete. Reports whether the frame is allowed.
    fn begin(&mut self) -> bool {
        let [high, middle, low, kind, ..] = self.head;
        self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.seen = 0;
        match kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => true,
            DATA if self.left > 0 => true,
            WINDOW_UPDATE => self.opening.take(),
            _ => self.asking.take(),
        }
    }
}

/// How many more frames may arrive (a token bucket).
#[derive(Debug)]
struct Account {
    credit: u32,
    /// Bytes written that give back one credit.
    each: usize,
    /// Bytes written that have not given back a credit.
    written: usize,
    /// The time up to which credits have been given back.
    credited: Instant,
}

impl Account {
    fn new(each: usize) -> Self {
        Self {
            credit: BURST,
            each,
            written: 0,
            credited: Instant::now(),
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        let frames = u32::try_from(self.written / self.each).unwrap_or(u32::MAX);
        self.written %= self.each;
        self.credit = self.credit.saturating_add(frames).min(BURST);
    }

    fn take(&mut self) -> bool {
        if self.credit == 0 {
            let frames = self.credited.elapsed().as_micros() / INTERVAL.as_micros();
            let frames = u32::try_from(frames).unwrap_or(u32::MAX).min(BURST);
            if frames > 0 {
                self.credit = frames;
                self.credited = Instant::now();
            }
        }
        let left = self.credit.checked_sub(1);
        self.credit = left.unwrap_or(0);
        left.is_some()
    }
}

impl Rule for FrameFlood {
    /// Empty DATA frames on stream 0. Wherever in a frame or its header the peer's bytes stopped, the first complete
    /// one of them is an error.
    const INSTEAD: &'static [u8] = &[0; 4 * HEAD_BYTES];

    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(rest) = bytes.get(passed..).filter(|rest| !rest.is_empty()) {
            if self.left > 0 {
                let here = self.left.min(rest.len());
                self.left -= here;
                passed += here;
                continue;
            }
            let room = self.head.get_mut(self.seen..).unwrap_or_default();
            let here = room.len().min(rest.len());
            for (kept, byte) in room.iter_mut().zip(rest) {
                *kept = *byte;
            }
            self.seen += here;
            passed += here;
            if self.seen == HEAD_BYTES && !self.begin() {
                self.refuses = true;
                break;
            }
        }
        passed
    }

    fn refuses(&self) -> bool {
        self.refuses
    }

    fn wrote(&mut self, bytes: usize) {
        self.asking.wrote(bytes);
        self.opening.wrote(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&size[1..], &[kind, 0, 0, 0, 0, 0], content].concat()
    }

    /// Returns how many whole frames of `each` bytes pass if `words` arrive in pieces of `cut` bytes.
    fn passed(frames: &mut FrameFlood, words: &[u8], each: usize, cut: usize) -> usize {
        let mut passed = 0;
        for piece in words.chunks(cut) {
            passed += frames.pass(piece);
            if frames.refuses() {
                break;
            }
        }
        passed / each
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_something_are_not_counted() {
        for cut in [1, 7, 10_000] {
            let mut frames = FrameFlood::of_client();
            let words = [
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
                [frame(HEADERS, b"abc"), frame(DATA, b"x")]
                    .concat()
                    .repeat(5_000),
            ]
            .concat();
            assert_eq!(passed(&mut frames, &words, 1, cut), words.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_passes_up_to_its_bound_however_it_is_cut() {
        for kind in [PING, 2, 3, 4, WINDOW_UPDATE, 0xb7] {
            for cut in [1, 5, 4_096] {
                let mut frames = FrameFlood::of_server();
                let words = frame(kind, &[0; 8]).repeat(5_000);
                let whole = passed(&mut frames, &words, 17, cut);
                assert_eq!(whole, BURST as usize, "{kind} by {cut}");
                assert!(frames.refuses());
            }
        }
        let mut frames = FrameFlood::of_server();
        let empty = frame(DATA, &[]).repeat(5_000);
        assert_eq!(passed(&mut frames, &empty, 9, 100), BURST as usize + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn time_and_what_is_written_allow_more() {
        let mut frames = FrameFlood::of_server();
        let ping = frame(PING, &[0; 8]);
        for _ in 0..10 * BURST {
            tokio::time::advance(INTERVAL).await;
            assert_eq!(frames.pass(&ping), ping.len());
        }
        // A client opens both windows for each small event.
        let mut frames = FrameFlood::of_server();
        let open = frame(WINDOW_UPDATE, &[0, 0, 0, 1]);
        for _ in 0..10 * BURST {
            frames.wrote(HEAD_BYTES + 1);
            assert_eq!(frames.pass(&open) + frames.pass(&open), 2 * open.len());
        }
        // The replies to a flood do not pay for it.
        let mut frames = FrameFlood::of_server();
        let mut count = 0;
        while !frames.refuses() {
            frames.pass(&ping);
            frames.wrote(ping.len());
            count += 1;
        }
        assert!(count < 4 * BURST, "{count}");
    }
}
