//! One connection of the model: the request it reads, the stream it writes, and the bytes the kernel has not taken yet.
//! The stream of a WebSocket has messages in place of events.

use std::os::fd::OwnedFd;

use crate::ask::{Ask, Hold, PATH};
use crate::clock;
use crate::net::{self, Moved};
use crate::stamp::Stamp;
use crate::websocket;

use super::compressed::Compressed;
use super::text::{self, GZIP_HEAD, HEAD, NOT_FOUND, Text};

/// The largest request head. The load generator sends smaller ones.
const MAX_REQUEST: usize = 64 << 10;
/// The send buffer of streams whose bytes are counted: bytes in it were not taken by the proxy. The kernel's default is
/// up to 4 MiB, refilled a third at a time: thousands of writes in one go, which delay the other streams' readers.
const COUNTED_SEND_BUFFER: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    received: Vec<u8>,
    /// The part of a body that has not arrived, and is not kept.
    coming: usize,
    /// What is asked by a request whose body is not complete.
    asked: Option<Ask>,
    /// The running stream.
    pub(super) stream: Option<Stream>,
    /// Bytes to write; those from `taken` on were not taken by the kernel yet.
    out: Vec<u8>,
    taken: usize,
    /// Bytes that the kernel took since the server last asked.
    pub(super) handed: u64,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) ask: Ask,
    pub(super) sequence: u32,
    /// When the next event of a paced stream is due.
    pub(super) due: u64,
    compressed: Option<Box<Compressed>>,
}

/// The outcome of doing something with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing more can be done now: the request is incomplete, or the kernel takes no more bytes.
    Waits,
    /// A stream has just begun.
    Begins,
    /// More can be written at once.
    Goes,
    /// The stream was written completely.
    Ended,
    /// The peer closed the connection, or sent a request that the model does not understand.
    Closed,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            received: Vec::new(),
            coming: 0,
            asked: None,
            stream: None,
            out: Vec::new(),
            taken: 0,
            handed: 0,
        }
    }

    /// Reads all available bytes, and answers a request once it is complete.
    pub(super) fn readable(&mut self, buffer: &mut [u8]) -> State {
        loop {
            match net::read(&self.socket, buffer) {
                Moved::Bytes(count) => {
                    let of_body = count.min(self.coming);
                    self.coming -= of_body;
                    self.received.extend_from_slice(&buffer[of_body..count]);
                }
                Moved::Nothing => break,
                Moved::Closed => return State::Closed,
            }
        }
        self.answer()
    }

    /// Begins the stream that the next request asks for, if the previous one has ended.
    pub(super) fn answer(&mut self) -> State {
        if self.stream.is_some() || self.coming > 0 {
            return State::Waits;
        }
        let asked = self.asked.take();
        if asked.is_none() && self.received.is_empty() {
            return State::Waits;
        }
        let ask = if asked.is_some() {
            asked
        } else {
            let Some((length, ask)) = request(&self.received) else {
                return if self.received.len() > MAX_REQUEST {
                    State::Closed
                } else {
                    State::Waits
                };
            };
            if let Some(coming) = length.checked_sub(self.received.len()).filter(|n| *n > 0) {
                self.received.clear();
                (self.coming, self.asked) = (coming, ask);
                return State::Waits;
            }
            self.received.drain(..length);
            ask
        };
        let Some(ask) = ask else {
            self.out.extend_from_slice(NOT_FOUND);
            return self.flush();
        };
        if ask.answer > 0 {
            self.out.extend(text::answer(ask.answer));
            return match self.flush() {
                State::Closed => State::Closed,
                // Nothing follows by itself, unless the next request is here already.
                _ => self.answer(),
            };
        }
        if ask.count {
            net::set_send_buffer(&self.socket, COUNTED_SEND_BUFFER);
        }
        if ask.hold != Hold::Head {
            self.out.extend_from_slice(if ask.message > 0 {
                websocket::ACCEPTED
            } else if ask.gzip {
                GZIP_HEAD
            } else {
                HEAD
            });
        }
        let due = if ask.rate == 0 {
            0
        } else {
            first_due(clock::now(), period(&ask), ask.phase)
        };
        self.stream = Some(Stream {
            ask,
            sequence: 0,
            due,
            compressed: ask.gzip.then(Box::default),
        });
        match self.flush() {
            State::Closed => State::Closed,
            _ => State::Begins,
        }
    }

    /// Writes the next events of the stream, one write per batch. Adds their number to `sent`.
    pub(super) fn events(&mut self, text: &Text, sent: &mut u64) -> State {
        if self.waits() {
            return State::Waits;
        }
        let Some(stream) = &mut self.stream else {
            return State::Waits;
        };
        let left = if stream.ask.events == 0 {
            u32::MAX
        } else {
            stream.ask.events - stream.sequence
        };
        let now = clock::now();
        for _ in 0..left.min(stream.ask.batch) {
            let stamp = Stamp {
                sequence: stream.sequence,
                sent: now,
            };
            match (&mut stream.compressed, stream.ask.message) {
                (Some(compressed), _) => compressed.event(text, stamp),
                (None, 0) => text.event(stamp, &mut self.out),
                (None, size) => websocket::message(stamp, size, &mut self.out),
            }
            stream.sequence += 1;
            *sent += 1;
        }
        if let Some(compressed) = &mut stream.compressed {
            compressed.flush(&mut self.out);
        }
        if stream.sequence == stream.ask.events {
            return self.end(text);
        }
        self.flush()
    }

    /// Writes the end of the stream, after the bytes that wait.
    pub(super) fn end(&mut self, text: &Text) -> State {
        let compressed = self
            .stream
            .as_mut()
            .and_then(|stream| stream.compressed.take());
        if let Some(compressed) = compressed {
            compressed.end(&mut self.out);
        } else if self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.ask.message > 0)
        {
            self.out.extend_from_slice(websocket::CLOSE);
        } else {
            text.end(&mut self.out);
        }
        match self.flush() {
            State::Closed => State::Closed,
            _ => {
                self.stream = None;
                State::Ended
            }
        }
    }

    /// Reports whether the kernel has not taken all bytes yet.
    pub(super) fn waits(&self) -> bool {
        self.taken < self.out.len()
    }

    /// Writes the bytes that wait to the kernel, which may take only a part.
    pub(super) fn flush(&mut self) -> State {
        while self.waits() {
            match net::write(&self.socket, &self.out[self.taken..]) {
                Moved::Bytes(count) => {
                    self.taken += count;
                    self.handed += count as u64;
                }
                Moved::Nothing => return State::Waits,
                Moved::Closed => return State::Closed,
            }
        }
        self.out.clear();
        self.taken = 0;
        State::Goes
    }
}

/// Returns the time between two events of a stream, which is slightly longer than its rate says.
///
/// The kernel divides a process's time into user and system by sampling it on each timer tick. Events in step with the
/// tick would always be sampled at the same point.
pub(super) fn period(ask: &Ask) -> u64 {
    let period = clock::SECOND / u64::from(ask.rate.max(1));
    period + period * 15 / 100_000
}

/// Returns the first time from `now` on that lies at `phase` of the period. Streams are spread over the period,
/// whenever they began.
fn first_due(now: u64, period: u64, phase: u64) -> u64 {
    let start = now - now % period + phase % period;
    if start < now { start + period } else { start }
}

/// Returns the length of the request, and what it asks for, once it is complete. A request for an answer that is no
/// stream needs only its head and the length of its body, which may be large.
fn request(bytes: &[u8]) -> Option<(usize, Option<Ask>)> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap_or_default();
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next();
    let path = words.next();
    let ask = path.and_then(Ask::read);
    let (mut length, mut key) = (head, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length += value.trim().parse::<usize>().unwrap_or_default();
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            length += memchr::memmem::find(&bytes[head..], b"0\r\n\r\n")? + 5;
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = Some(value.trim());
        }
    }
    let ask = ask.filter(|ask| match ask.message {
        0 => method == Some("POST"),
        _ => method == Some("GET") && key == Some(websocket::KEY),
    });
    let is_whole = length <= bytes.len();
    let ask = match path {
        // Some targets write a path of their own.
        Some(PATH) if is_whole => Ask::read_body(&bytes[head..length]).or(ask),
        _ => ask,
    };
    let suffices = is_whole || ask.is_some_and(|ask| ask.answer > 0);
    suffices.then_some((length, ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_body() {
        let ask = Ask {
            rate: 3,
            ..Ask::default()
        };
        let whole = format!("POST {ask} HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(request(whole.as_bytes()), Some((whole.len(), Some(ask))));
        assert_eq!(request(&whole.as_bytes()[..whole.len() - 1]), None);
        let chunked = format!(
            "POST {ask} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        );
        assert_eq!(
            request(chunked.as_bytes()),
            Some((chunked.len(), Some(ask)))
        );
        assert_eq!(request(b"GET / HTTP/1.1\r\n\r\n"), Some((18, None)));
        let body = format!(r#"{{"user":"{ask}"}}"#);
        let repeated = format!(
            "POST {PATH} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(
            request(repeated.as_bytes()),
            Some((repeated.len(), Some(ask)))
        );
    }

    #[test]
    fn the_body_before_an_answer_is_not_kept() {
        let ask = Ask {
            answer: 300,
            ..Ask::default()
        };
        let head = format!("POST {ask} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
        assert_eq!(
            request(format!("{head}xx").as_bytes()),
            Some((head.len() + 1000, Some(ask)))
        );
    }

    #[test]
    fn a_websocket_is_asked_for_with_the_key() {
        let ask = Ask {
            message: 200,
            ..Ask::default()
        };
        for (key, expected) in [(websocket::KEY, Some(ask)), ("AAAA", None)] {
            let whole = format!("GET {ask} HTTP/1.1\r\nSec-WebSocket-Key: {key}\r\n\r\n");
            assert_eq!(request(whole.as_bytes()), Some((whole.len(), expected)));
        }
    }

    #[test]
    fn streams_keep_to_their_phase() {
        assert_eq!(first_due(1005, 100, 7), 1007);
        assert_eq!(first_due(1008, 100, 7), 1107);
        assert_eq!(first_due(1007, 100, 7), 1007);
    }
}
