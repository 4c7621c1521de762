//! The chunked transfer coding (RFC 9112, 7.1), undone in place: what a read brought becomes one piece.
//!
//! Strict where leniency has two readings: line ends are CRLF, sizes are hexadecimal digits and nothing else.

use std::ops::Range;

use http::HeaderMap;

use super::head::{MAX_FIELDS, fields};
use crate::upstream::error::Malformed;

/// Bytes of extensions in one body: nobody reads them, so they only cost.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Bytes of the trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// What has been seen of a chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
    /// The trailer section as far as it came; empty before the last chunk.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In front of the first digit of a size.
    Start,
    /// After at least one digit.
    Size(u64),
    /// Between a size and the end of its line.
    Extension(u64),
    /// After the CR of a size line.
    SizeEnd(u64),
    /// So many bytes of the chunk are missing.
    Data(u64),
    /// After the last byte of a chunk.
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// What some bytes of a chunked body held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undone {
    /// Where the bytes of the body now lie.
    pub(super) body: Range<usize>,
    /// So many bytes were looked at: all of them, unless the body is over or broken.
    pub(super) used: usize,
    /// Where the framing broke, behind those bytes of the body.
    pub(super) broken: Option<Malformed>,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Start,
            extensions: 0,
            trailers: Vec::new(),
        }
    }

    /// Whether the last chunk and its trailers were seen.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Moves the body's bytes in `bytes` together.
    pub(super) fn undo(&mut self, bytes: &mut [u8]) -> Undone {
        let (mut body, mut used) = (0..0, 0);
        while self.state != State::Done
            && let Some(&byte) = bytes.get(used)
        {
            if let State::Data(left) = self.state {
                let here = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - used);
                if body.is_empty() {
                    // Most reads bring one chunk, which can stay where it is.
                    body = used..used;
                } else {
                    bytes.copy_within(used..used + here, body.end);
                }
                body.end += here;
                used += here;
                self.state = match left - here as u64 {
                    // Its line end is here, mostly.
                    0 if bytes.get(used..used + 2) == Some(b"\r\n") => {
                        used += 2;
                        State::Start
                    }
                    0 => State::DataCr,
                    left => State::Data(left),
                };
                continue;
            }
            if self.state == State::Start
                && let Some((state, line)) = size_line(bytes.get(used..).unwrap_or_default())
            {
                self.state = state;
                used += line;
                continue;
            }
            match self.step(byte) {
                Ok(state) => self.state = state,
                Err(malformed) => {
                    let broken = Some(malformed);
                    return Undone { body, used, broken };
                }
            }
            used += 1;
        }
        let broken = None;
        Undone { body, used, broken }
    }

    /// The fields after the last chunk, once it is done.
    ///
    /// # Errors
    /// When they are no fields, or too many.
    #[inline(never)]
    pub(super) fn trailers(&self) -> Result<Option<HeaderMap>, Malformed> {
        if self.trailers.len() <= 2 {
            return Ok(None);
        }
        let mut found = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(&self.trailers, &mut found) {
            Ok(httparse::Status::Complete((_, found))) => fields(found).map(Some),
            _ => Err(Malformed("the trailers of a chunked body")),
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Start, _) => State::Size(digit(byte).ok_or(SIZE)?),
            (State::Size(size), b'\r') | (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(size), b';' | b' ' | b'\t') => State::Extension(size),
            (State::Size(size), _) => {
                let digit = digit(byte).ok_or(SIZE)?;
                let size = size.checked_mul(16).ok_or(SIZE)?;
                State::Size(size + digit)
            }
            (State::Extension(_), b'\n' | 0) => return Err(Malformed("a chunk extension")),
            (State::Extension(size), _) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err(Malformed("chunk extensions: more than 16 KiB"));
                }
                State::Extension(size)
            }
            (State::SizeEnd(0), b'\n') => State::Trailers,
            (State::SizeEnd(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Start,
            (State::SizeEnd(_) | State::DataCr | State::DataLf, _) => {
                return Err(Malformed("a chunk without its line end"));
            }
            (State::Trailers, _) => {
                self.trailers.push(byte);
                if self.trailers.len() > MAX_TRAILERS {
                    return Err(Malformed("trailers: more than 16 KiB"));
                }
                if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                    State::Done
                } else {
                    State::Trailers
                }
            }
            // Both are handled before any byte is taken.
            (State::Data(_) | State::Done, _) => self.state,
        })
    }
}

/// What follows a plain size line that is whole, and its length. Every other one, the last chunk's too, is read
/// byte by byte.
fn size_line(bytes: &[u8]) -> Option<(State, usize)> {
    let mut size = 0;
    for (position, &byte) in bytes.iter().take(8).enumerate() {
        if byte == b'\r' && size > 0 {
            let ends = bytes.get(position + 1) == Some(&b'\n');
            return ends.then_some((State::Data(size), position + 2));
        }
        size = size << 4 | digit(byte)?;
    }
    None
}

const SIZE: Malformed = Malformed("the size of a chunk");

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, what follows it, and its trailers, with the input cut into pieces of `cut` bytes.
    fn run(input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, Option<HeaderMap>), Malformed> {
        let mut chunked = Chunked::new();
        let (mut body, mut used) = (Vec::new(), 0);
        for piece in input.chunks(cut) {
            let mut piece = piece.to_vec();
            let undone = chunked.undo(&mut piece);
            body.extend_from_slice(&piece[undone.body]);
            used += undone.used;
            undone.broken.map_or(Ok(()), Err)?;
            if chunked.is_done() {
                break;
            }
        }
        assert!(chunked.is_done(), "incomplete");
        Ok((body, input.len() - used, chunked.trailers()?))
    }

    #[test]
    fn a_body_survives_any_cut() {
        let input =
            b"5\r\nhello\r\n1;x=\"y\"\r\n \r\n000A \r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nrest";
        for cut in 1..=input.len() {
            let (body, _, trailers) = run(input, cut).unwrap();
            assert_eq!(body, b"hello 0123456789");
            assert_eq!(trailers.unwrap()["x-sum"], "1");
        }
        assert_eq!(run(input, input.len()).unwrap().1, 4, "the rest is left");
        assert_eq!(run(b"0\r\n\r\n", 2).unwrap().2, None);
    }

    #[test]
    fn nothing_with_two_readings_passes() {
        let long = [b"3;".as_slice(), &[b'x'; 20_000]].concat();
        let fields = [b"0\r\n".as_slice(), &b"x: 1\r\n".repeat(3000), b"\r\n"].concat();
        let many = [b"0\r\n".as_slice(), &b"x:1\r\n".repeat(300), b"\r\n"].concat();
        let inputs: [&[u8]; 18] = [
            b"zz\r\n",
            b"0x5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5_\r\nhello\r\n",
            b"\r\n",
            b"fffffffffffffffff\r\nhello",
            b"5\nhello\r\n",
            b"5\r\rhello",
            b"5;a\nhello",
            b"5;\0\r\nhello",
            b"3\r\nhello\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"0\r\nnonsense\r\n\r\n",
            &long,
            &fields,
            &many,
        ];
        for input in inputs {
            assert!(
                std::panic::catch_unwind(|| run(input, 7)).is_ok_and(|result| result.is_err()),
                "{}",
                input.escape_ascii()
            );
        }
    }
}
