//! How many frames of HTTP/2 that carry nothing a peer may send.
//!
//! Each costs its reader some work, and mostly an answer, and its sender nine bytes: a connection that sends nothing else
//! takes milliseconds of every turn of its thread. The engine bounds resets, CONTINUATION and empty DATA; SETTINGS, PING,
//! PRIORITY, WINDOW_UPDATE and what nobody knows are counted here.

use std::time::Duration;

use tokio::time::Instant;

use super::Rule;

/// The octets in front of a frame (RFC 9113, 4.1), and of a connection (3.4).
const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;
/// So many frames may come at once; clients greet with two or three, open windows for DATA frames, and may give up all
/// of their streams.
const BURST: u32 = 500;
/// So soon another one may: 1,000 a second cost next to nothing.
const INTERVAL: Duration = Duration::from_millis(1);
/// What was written allows more: less than what answers a PING, which would pay for the next.
const ASKED_BYTES: usize = 24;
/// The smallest DATA frame is ten bytes, and some clients open two windows for each.
const OPENED_BYTES: usize = 5;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// One direction of an HTTP/2 connection.
#[derive(Debug)]
pub struct FrameFlood {
    /// The head of the frame that is coming in, and how much of it has.
    head: [u8; HEAD_BYTES],
    seen: usize,
    /// Bytes up to the next frame.
    left: usize,
    /// Of frames that are mostly answered.
    asking: Account,
    /// Of WINDOW_UPDATE, which never is.
    opening: Account,
    refuses: bool,
}

impl FrameFlood {
    /// What a client sends.
    pub fn of_client() -> Self {
        Self {
            left: PREFACE_BYTES,
            ..Self::of_server()
        }
    }

    /// What a server sends.
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

    /// A frame begins; whether it may.
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

/// How many frames may come.
#[derive(Debug)]
struct Account {
    credit: u32,
    /// So many bytes written allow another one.
    each: usize,
    /// Bytes written that no frame was credited for.
    written: usize,
    /// Up to when time was credited.
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
    /// Wherever a frame or its head goes on: frames without content on no stream, of which the first that is whole is an
    /// error.
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

    /// How many of these frames pass, whole, in pieces of `cut` bytes.
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
        // A client that opens both windows for each small event.
        let mut frames = FrameFlood::of_server();
        let open = frame(WINDOW_UPDATE, &[0, 0, 0, 1]);
        for _ in 0..10 * BURST {
            frames.wrote(HEAD_BYTES + 1);
            assert_eq!(frames.pass(&open) + frames.pass(&open), 2 * open.len());
        }
        // What answers a flood does not pay for it.
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
