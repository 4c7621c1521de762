//! A connection with several streams over HTTP/2 (RFC 9113), as far as the comparison needs it: requests that are
//! written at once, answers whose head is only looked at for its status, and windows that never close.

use rustix::event::epoll::EventFlags;

use crate::ask::Ask;
use crate::net::Moved;
use crate::stamp::Stamp;

use super::body::Body;
use super::frame::{
    ACK, DATA, END_HEADERS, END_STREAM, FIRST_WINDOW, Frame, GOAWAY, HEADERS, PING, RST_STREAM,
    SETTINGS, WINDOW, WINDOW_UPDATE, frame, head, is_ok,
};
use super::stream;
use super::wire::Wire;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The window of the connection is filled up after this many bytes. Those of streams are large enough for all they get.
const REPLENISH: u32 = 1 << 20;

/// The connection, and what its streams have received.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) wire: Wire,
    out: Vec<u8>,
    written: usize,
    /// The beginning of a frame whose end has not arrived.
    input: Vec<u8>,
    exchanges: Vec<Exchange>,
    /// Bytes of data since the window was last filled up.
    taken: u32,
}

#[derive(Debug)]
struct Exchange {
    ask: Ask,
    begun: bool,
    over: bool,
    body: Body,
}

/// What has become of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The head of the stream has arrived.
    Begins,
    /// The stream has ended; `begun` if its head had arrived.
    Ends {
        ask: Ask,
        begun: bool,
        wrong: Vec<String>,
    },
}

impl Shared {
    /// Prepares a connection on which these streams are asked for.
    pub(super) fn new(wire: Wire, asks: Vec<Ask>) -> Self {
        let scheme = match wire {
            // `:scheme` by its index.
            Wire::Plain(_) => 0x86,
            Wire::Tls(_) => 0x87,
        };
        let mut out = PREFACE.to_vec();
        // ENABLE_PUSH is 0, INITIAL_WINDOW_SIZE the largest.
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend_from_slice(&WINDOW.to_be_bytes());
        frame(SETTINGS, 0, 0, &settings, &mut out);
        let more = WINDOW - FIRST_WINDOW;
        frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes(), &mut out);
        for (id, ask) in (1..).step_by(2).zip(&asks) {
            let (head, body) = (head(ask, scheme), stream::body(ask, false));
            frame(HEADERS, END_HEADERS, id, &head, &mut out);
            frame(DATA, END_STREAM, id, body.as_bytes(), &mut out);
        }
        let exchanges = asks.into_iter().map(|ask| Exchange {
            ask,
            begun: false,
            over: false,
            body: Body::default(),
        });
        Self {
            wire,
            out,
            written: 0,
            input: Vec::new(),
            exchanges: exchanges.collect(),
            taken: 0,
        }
    }

    /// Reports whether something is not written yet.
    pub(super) fn writing(&self) -> bool {
        self.written < self.out.len() || self.wire.waits()
    }

    /// Returns what its socket is watched for.
    pub(super) fn wanted(&self) -> EventFlags {
        if self.writing() {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.exchanges.iter().all(|exchange| exchange.over)
    }

    /// Returns how many streams have begun, and how many wait for their head. Those that are over are neither.
    pub(super) fn open(&self) -> (usize, usize) {
        let open = self.exchanges.iter().filter(|exchange| !exchange.over);
        let (begun, waiting): (Vec<_>, Vec<_>) = open.partition(|exchange| exchange.begun);
        (begun.len(), waiting.len())
    }

    pub(super) fn write(&mut self) -> Vec<Change> {
        match self.wire.write(&self.out[self.written..]) {
            Moved::Bytes(count) => self.written += count,
            Moved::Nothing => {}
            Moved::Closed => return self.fail("connection refused"),
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Vec::new()
    }

    pub(super) fn read(&mut self, bytes: &[u8], mut found: impl FnMut(Stamp)) -> Vec<Change> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut rest = &input[..];
        let mut changes = Vec::new();
        while let Some((frame, more)) = Frame::read(rest) {
            rest = more;
            if let Err(what) = self.take(&frame, &mut found, &mut changes) {
                changes.extend(self.fail(what));
                return changes;
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        self.input = input;
        if self.writing() {
            changes.extend(self.write());
        }
        changes
    }

    pub(super) fn closed(&mut self) -> Vec<Change> {
        self.fail("connection closed before its streams end")
    }

    /// Ends all streams that are not over.
    fn fail(&mut self, what: &str) -> Vec<Change> {
        let open = self.exchanges.iter_mut().filter(|exchange| !exchange.over);
        open.map(|exchange| exchange.end(vec![what.to_owned()]))
            .collect()
    }

    /// Handles a frame, or says what makes the connection useless.
    fn take(
        &mut self,
        frame: &Frame<'_>,
        found: &mut impl FnMut(Stamp),
        changes: &mut Vec<Change>,
    ) -> Result<(), &'static str> {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.say(SETTINGS, ACK, &[]),
            PING if frame.flags & ACK == 0 => self.say(PING, ACK, frame.payload),
            GOAWAY if frame.payload.get(4..8) != Some(&[0; 4][..]) => {
                return Err("connection ended with an error of HTTP/2");
            }
            DATA => {
                self.taken += frame.payload.len() as u32;
                if self.taken >= REPLENISH {
                    let more = std::mem::take(&mut self.taken);
                    self.say(WINDOW_UPDATE, 0, &more.to_be_bytes());
                }
                let data = frame.content().ok_or("malformed frame")?;
                if let Some(exchange) = self.exchange(frame.stream) {
                    exchange.body.feed(data, found);
                    changes.extend(exchange.ended_by(frame));
                }
            }
            HEADERS => {
                let block = frame.content().ok_or("malformed frame")?;
                if let Some(exchange) = self.exchange(frame.stream) {
                    // Later ones are trailers.
                    if !exchange.begun {
                        if !is_ok(block) {
                            changes.push(exchange.end(vec!["status other than 200".to_owned()]));
                            return Ok(());
                        }
                        exchange.begun = true;
                        changes.push(Change::Begins);
                    }
                    changes.extend(exchange.ended_by(frame));
                }
            }
            RST_STREAM => {
                if let Some(exchange) = self.exchange(frame.stream) {
                    changes.push(exchange.end(vec!["stream that is reset".to_owned()]));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns a stream that is not over.
    fn exchange(&mut self, id: u32) -> Option<&mut Exchange> {
        let index = id.checked_sub(1)? / 2;
        let exchange = self.exchanges.get_mut(index as usize);
        exchange.filter(|exchange| !exchange.over)
    }

    fn say(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        frame(kind, flags, 0, payload, &mut self.out);
    }
}

impl Exchange {
    fn end(&mut self, wrong: Vec<String>) -> Change {
        self.over = true;
        Change::Ends {
            ask: self.ask,
            begun: self.begun,
            wrong,
        }
    }

    fn ended_by(&mut self, frame: &Frame<'_>) -> Option<Change> {
        (frame.flags & END_STREAM != 0).then(|| self.end(self.body.wrong(&self.ask)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::PADDED;
    use super::*;

    fn shared(streams: u64) -> Shared {
        // These tests write nothing, so any descriptor will do.
        let any = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let asks = (0..streams).map(|id| Ask {
            id,
            events: 2,
            ..Ask::default()
        });
        let mut shared = Shared::new(Wire::Plain(any), asks.collect());
        shared.out.clear();
        shared
    }

    fn answer(id: u32, sequences: &[u32], end: &str) -> Vec<u8> {
        let mut out = Vec::new();
        // A smaller table is announced, the block is padded.
        frame(
            HEADERS,
            END_HEADERS | PADDED,
            id,
            &[1, 0x20, 0x88, 0],
            &mut out,
        );
        for sequence in sequences {
            let mut data = [0; crate::stamp::LEN];
            Stamp {
                sequence: *sequence,
                sent: 1,
            }
            .write(&mut data);
            frame(DATA, 0, id, &data, &mut out);
        }
        frame(DATA, END_STREAM, id, end.as_bytes(), &mut out);
        out
    }

    #[test]
    fn streams_are_told_apart_whatever_the_cut() {
        let whole = [
            answer(3, &[0, 1], "data: [DONE]\n\n"),
            answer(1, &[1], "data: [DONE]\n\n"),
        ]
        .concat();
        for cut in 0..whole.len() {
            let mut shared = shared(2);
            let mut stamps = 0;
            let mut changes = shared.read(&whole[..cut], |_| stamps += 1);
            changes.extend(shared.read(&whole[cut..], |_| stamps += 1));
            let ended: Vec<_> = changes
                .into_iter()
                .filter_map(|change| match change {
                    Change::Ends { ask, wrong, begun } => Some((ask.id, begun, wrong.join(", "))),
                    Change::Begins => None,
                })
                .collect();
            let missing = "stream with events missing".to_owned();
            assert_eq!(ended, [(1, true, String::new()), (0, true, missing)]);
            assert_eq!(stamps, 3);
            assert!(shared.is_over());
        }
    }

    #[test]
    fn what_ends_a_connection_ends_its_streams() {
        let mut out = Vec::new();
        frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11], &mut out);
        let mut shared = shared(3);
        assert_eq!(shared.open(), (0, 3));
        assert_eq!(shared.read(&out, |_| {}).len(), 3);
        assert_eq!(shared.open(), (0, 0));
    }
}
