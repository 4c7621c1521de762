//! A connection with several streams over HTTP/2 (RFC 9113), as far as the comparison needs it: requests that are written
//! at once, answers whose head is only looked at for its status, and windows that never close.

use crate::ask::Ask;
use crate::net::Moved;
use crate::stamp::Stamp;

use super::body::Body;
use super::stream;
use super::wire::Wire;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
/// The largest window that there is, and what the connection's window begins with.
const WINDOW: u32 = 0x7fff_ffff;
const FIRST_WINDOW: u32 = 65_535;
/// The window of the connection is filled up after this many bytes. Those of streams are large enough for all they get.
const REPLENISH: u32 = 1 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Of DATA and HEADERS. For SETTINGS and PING the same bit says that it is an answer.
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

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
    /// Its head has arrived.
    Begins,
    /// It has ended; `begun` if its head had arrived.
    Ends {
        ask: Ask,
        begun: bool,
        wrong: Vec<String>,
    },
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
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

impl<'a> Frame<'a> {
    /// Reads a frame if it is complete, and returns what follows.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        let frame = Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW,
            payload,
        };
        Some((frame, rest))
    }

    /// Returns the data or the block of headers without what surrounds it.
    fn content(&self) -> Option<&'a [u8]> {
        let mut content = self.payload;
        let mut padding = 0;
        if self.flags & PADDED != 0 {
            let (first, rest) = content.split_first()?;
            (padding, content) = (usize::from(*first), rest);
        }
        if self.kind == HEADERS && self.flags & PRIORITY != 0 {
            content = content.get(5..)?;
        }
        content.get(..content.len().checked_sub(padding)?)
    }
}

/// Reports whether a block of headers begins with the status 200, which every encoder writes as one byte. It may announce
/// sizes of the table before that.
fn is_ok(mut block: &[u8]) -> bool {
    while let Some((first, rest)) = block.split_first() {
        if first & 0xe0 != 0x20 {
            return *first == 0x88;
        }
        block = rest;
        if first & 0x1f == 0x1f {
            // A number of several bytes, of which the last has no upper bit.
            let end = rest.iter().position(|byte| byte & 0x80 == 0);
            block = end.and_then(|end| rest.get(end + 1..)).unwrap_or(&[]);
        }
    }
    false
}

/// Encodes the head of a request. Nothing is put into the table, so every head is the same.
fn head(ask: &Ask, scheme: u8) -> Vec<u8> {
    // `:method: POST` by its index.
    let mut head = vec![0x83, scheme];
    // The other names are indexed too: in four bits of a byte, or what exceeds 15 in the next one.
    let length = stream::body(ask, false).len().to_string();
    let path = ask.to_string();
    let fields: [(&[u8], &str); 6] = [
        (&[0x04], &path),
        (&[0x01], "model.test"),
        (&[0x0f, 58 - 15], "compare"),
        (&[0x0f, 19 - 15], "text/event-stream"),
        (&[0x0f, 31 - 15], "application/json"),
        (&[0x0f, 28 - 15], &length),
    ];
    for (name, value) in fields {
        head.extend_from_slice(name);
        string(value, &mut head);
    }
    head
}

/// Writes a string as it is, with its length in seven bits or more.
fn string(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        short @ ..127 => out.push(short as u8),
        long => {
            out.push(127);
            let mut left = long - 127;
            while left >= 128 {
                out.push((left & 127) as u8 | 128);
                left >>= 7;
            }
            out.push(left as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
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
    fn a_status_is_read_behind_the_sizes_of_the_table() {
        let blocks: [(&[u8], bool); 6] = [
            (&[0x88], true),
            (&[0x20, 0x88], true),
            (&[0x3f, 0xe1, 0x1f, 0x88], true),
            (&[0x8d], false),
            (&[0x3f, 0xe1], false),
            (&[], false),
        ];
        for (block, expected) in blocks {
            assert_eq!(is_ok(block), expected, "{block:x?}");
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

    #[test]
    fn long_strings_have_long_lengths() {
        let mut out = Vec::new();
        string(&"x".repeat(300), &mut out);
        // 300 - 127 = 173 = 0b1_0101101.
        assert_eq!(&out[..4], [127, 0b1010_1101, 1, b'x']);
    }
}
