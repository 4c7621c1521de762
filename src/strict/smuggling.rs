//! Prevents HTTP/1.1 request smuggling: rejects requests whose body length is ambiguous.
//!
//! Request smuggling works when two servers disagree on where a request ends: the bytes that follow are a request to
//! one of them and a body to the other. The engine is lenient here. It reads a request with both Content-Length and
//! Transfer-Encoding by the Transfer-Encoding, and accepts chunks with bytes missing between them. [`RequestFraming`]
//! therefore parses the length of each request strictly, before the engine does. It withholds the last byte of an
//! ambiguous head, or stops where the chunked framing breaks; what the engine reads instead makes it refuse the
//! message and close the connection.
//!
//! `proxy::validate` checks what needs a parsed head, such as the host and the request target.

use memchr::memchr;

use super::Rule;
use crate::wire::chunked::Chunked;

/// Bytes kept of a header line. The headers that matter here are shorter; longer ones are refused.
const LINE_BYTES: usize = 256;
/// The strict framing of the consecutive HTTP/1.1 requests of one connection.
#[derive(Debug, Default)]
pub struct RequestFraming(Expects);

/// What the next byte belongs to.
#[derive(Debug)]
enum Expects {
    Head(Head),
    /// A body of which this many bytes are missing.
    Exact(u64),
    Chunked(Box<Chunked>),
    /// No further request: the engine refuses the last head and closes the connection.
    Nothing,
    /// Nothing passes any more.
    Refused,
}

impl Default for Expects {
    /// The state before the first byte of a request.
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Rule for RequestFraming {
    /// An error in a head, in chunk framing and in trailers: none of them may contain NUL, a chunk extension may not
    /// contain LF, and the empty lines end the trailers.
    const INSTEAD: &'static [u8] = b"\0\n\r\n\r\n";

    fn pass(&mut self, bytes: &[u8]) -> usize {
        self.0.pass(bytes)
    }

    fn refuses(&self) -> bool {
        matches!(self.0, Expects::Refused)
    }
}

impl Expects {
    /// Inspects the bytes that arrived and returns how many of them are unambiguous.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(bytes) = bytes.get(passed..).filter(|bytes| !bytes.is_empty()) {
            passed += match self {
                Self::Nothing => bytes.len(),
                Self::Refused => break,
                Self::Exact(left) => {
                    let here = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= here as u64;
                    if *left == 0 {
                        *self = Self::Head(Head::default());
                    }
                    here
                }
                Self::Chunked(chunked) => match chunked.check(bytes) {
                    Ok(used) => {
                        if chunked.is_done() {
                            *self = Self::Head(Head::default());
                        }
                        used
                    }
                    Err(used) => {
                        *self = Self::Refused;
                        used
                    }
                },
                Self::Head(head) => match head.pass(bytes) {
                    Some((used, length)) => {
                        *self = length.into();
                        // The last byte of a refused head is withheld.
                        used - usize::from(matches!(self, Self::Refused))
                    }
                    None => bytes.len(),
                },
            };
        }
        passed
    }
}

/// The length of the body according to the headers seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Length {
    #[default]
    None,
    Exact(u64),
    Chunked,
    /// Given in a way that the engine or `proxy::validate` refuses.
    Unknown,
    /// Ambiguous: given by both Content-Length and Transfer-Encoding, or in a line that is too long to be kept.
    Both,
}

impl From<Length> for Expects {
    fn from(length: Length) -> Self {
        match length {
            Length::None | Length::Exact(0) => Self::Head(Head::default()),
            Length::Exact(bytes) => Self::Exact(bytes),
            Length::Chunked => Self::Chunked(Box::default()),
            Length::Unknown => Self::Nothing,
            Length::Both => Self::Refused,
        }
    }
}

/// The part of a request head that has arrived.
#[derive(Debug, Default)]
struct Head {
    /// The beginning of a line that has not arrived completely.
    line: Vec<u8>,
    /// Whether the line is longer than what is kept of it.
    is_cut: bool,
    /// Whether the request line has been seen.
    begun: bool,
    length: Length,
    /// Whether the head asks for a WebSocket.
    upgrades: bool,
}

impl Head {
    /// Returns the number of bytes up to the end of the head, and the body's length. Returns `None` if the head does
    /// not end in `bytes`.
    fn pass(&mut self, bytes: &[u8]) -> Option<(usize, Length)> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let end = memchr(b'\n', rest);
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            // Usually the whole line arrives at once and is parsed in place.
            let keeps = !self.line.is_empty() || end.is_none();
            if keeps {
                let room = LINE_BYTES - self.line.len().min(LINE_BYTES);
                self.is_cut |= part.len() > room;
                self.line
                    .extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            }
            used += end? + 1;
            let ended = if keeps {
                let line = std::mem::take(&mut self.line);
                let is_cut = std::mem::take(&mut self.is_cut);
                self.ends(&line, is_cut)
            } else {
                // The same limit as for a line that arrives in pieces.
                self.ends(part, part.len() > LINE_BYTES)
            };
            if ended {
                return Some((used, self.length_of_all()));
            }
        }
    }

    /// Returns the length of the body. What follows a head that asks for a WebSocket is no request, whether the
    /// WebSocket is accepted or not: the service sees to it that the connection ends with the answer, and asks
    /// [`names_websocket`] as well.
    const fn length_of_all(&self) -> Length {
        match self.length {
            Length::None | Length::Exact(0) if self.upgrades => Length::Unknown,
            length => length,
        }
    }

    /// Handles a complete line. Reports whether it ends the head.
    fn ends(&mut self, line: &[u8], is_cut: bool) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            // Empty lines before a request are ignored (RFC 9112, 2.2).
            return self.begun;
        }
        if std::mem::replace(&mut self.begun, true) {
            self.field(line, is_cut);
        }
        false
    }

    fn field(&mut self, line: &[u8], is_cut: bool) {
        const LENGTH: &[u8] = b"content-length";
        const CODING: &[u8] = b"transfer-encoding";
        const UPGRADE: &[u8] = b"upgrade";
        let Some(colon) = memchr(b':', line) else {
            return;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let decides = [LENGTH, CODING, UPGRADE];
        if is_cut && decides.iter().any(|one| name.eq_ignore_ascii_case(one)) {
            // The rest of the value is unknown here, but the engine reads it.
            self.length = Length::Both;
        } else if name.eq_ignore_ascii_case(LENGTH) {
            let bytes = std::str::from_utf8(value)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok());
            self.length = match (self.length, bytes) {
                (Length::Chunked | Length::Both, _) => Length::Both,
                (Length::None, Some(bytes)) => Length::Exact(bytes),
                (Length::Exact(before), Some(bytes)) if before == bytes => Length::Exact(bytes),
                _ => Length::Unknown,
            };
        } else if name.eq_ignore_ascii_case(UPGRADE) {
            self.upgrades |= names_websocket(value);
        } else if name.eq_ignore_ascii_case(CODING) {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            self.length = match self.length {
                Length::None if is_chunked => Length::Chunked,
                Length::Exact(_) | Length::Both => Length::Both,
                _ => Length::Unknown,
            };
        }
    }
}

/// Reports whether the value of an `Upgrade` field names WebSockets, alone or among others.
pub fn names_websocket(value: &[u8]) -> bool {
    const NAME: &[u8] = b"websocket";
    value
        .windows(NAME.len())
        .any(|part| part.eq_ignore_ascii_case(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "GET /next HTTP/1.1\r\nhost: h\r\n\r\n";

    #[test]
    fn what_follows_a_websocket_upgrade_is_no_request() {
        let frames = "\x01\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        for upgrade in [
            "websocket",
            "WebSocket ",
            "h2c, websocket",
            "websocket, foo",
        ] {
            let words = format!("GET / HTTP/1.1\r\nhost: h\r\nUpgrade: {upgrade}\r\n\r\n{frames}");
            for cut in cuts(&words) {
                assert_eq!(passed(&words, cut), words, "{upgrade}");
            }
        }
        for head in [
            "Upgrade: h2c".to_owned(),
            format!("Upgrade: {}websocket", " ".repeat(300)),
            "x-upgrade: websocket".to_owned(),
        ] {
            let words = format!("GET / HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n{frames}");
            for cut in cuts(&words) {
                assert!(passed(&words, cut).len() < words.len(), "{head}");
            }
        }
    }

    /// Returns what passes of `words` if they arrive in pieces of `cut` bytes.
    fn passed(words: &str, cut: usize) -> String {
        let mut expects = RequestFraming::default();
        let passed = |piece| expects.pass(piece);
        let count = words.as_bytes().chunks(cut).map(passed).sum();
        words[..count].into()
    }

    fn cuts(words: &str) -> impl Iterator<Item = usize> {
        1..=words.len()
    }

    #[test]
    fn requests_with_one_reading_pass_as_they_are() {
        let long = format!(
            "GET /{} HTTP/1.1\r\nx: {}\r\n\r\n",
            "a".repeat(300),
            "b".repeat(300)
        );
        for request in [
            NEXT,
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\nContent-Length: 5\n\nhello",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length:5 \r\n\r\n\r\n0\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;a\r\nhello\r\n0\r\nx: y\r\n\r\n",
            &long,
        ] {
            let words = [request, request, NEXT].concat();
            for cut in cuts(&words) {
                assert_eq!(passed(&words, cut), words, "{words:?} by {cut}");
            }
        }
    }

    #[test]
    fn of_a_request_with_two_readings_the_end_is_missing() {
        for (request, rest) in [
            (
                "POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r",
                "\n0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nContent-Length: x\r\n\r",
                "\n0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\nTRANSFER-ENCODING:chunked\ncontent-length:5\n",
                "\n0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
                "0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5",
                "\nhello\r\n0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
                "\n",
            ),
        ] {
            let words = [request, rest, NEXT].concat();
            for cut in cuts(&words) {
                assert_eq!(passed(&words, cut), request, "by {cut}");
            }
        }
    }

    #[test]
    fn a_length_that_is_longer_than_what_is_kept_is_refused() {
        let head = format!(
            "POST / HTTP/1.1\r\ncontent-length:{}5\r\n\r",
            " ".repeat(300)
        );
        let words = [&head, "\nhello", NEXT].concat();
        for cut in cuts(&words) {
            assert_eq!(passed(&words, cut), head, "by {cut}");
        }
    }

    #[test]
    fn what_is_refused_for_its_length_alone_is_left_to_say_so() {
        for field in [
            "content-length: 5, 6",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: +5",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            let words = format!("POST / HTTP/1.1\r\n{field}\r\n\r\nhello{NEXT}");
            assert_eq!(passed(&words, 7), words);
        }
    }
}
