//! Validates the chunked transfer coding (RFC 9112, 7.1), or decodes it in place, so that the bytes of one read
//! become one contiguous piece.
//!
//! Strict wherever leniency would be ambiguous (request smuggling): line ends are CRLF, and a size consists of
//! hexadecimal digits only.

use std::ops::Range;

/// The part of a chunked body that is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Maximum number of bytes of chunk extensions in one body. Extensions are never used, so they are only a cost.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Maximum number of bytes of the trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// The decoder state of one chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    extensions: usize,
    /// The trailer section received so far; empty before the last chunk.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    /// Before the first digit of a chunk size.
    Start,
    /// After at least one digit of a chunk size.
    Size(u64),
    /// In white space after a chunk size.
    Space(u64),
    /// After the semicolon that follows a chunk size.
    Extension(u64),
    /// After the CR of a chunk size line.
    SizeEnd(u64),
    /// In chunk data, of which this many bytes are still missing.
    Data(u64),
    /// After the last byte of a chunk.
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// The result of decoding some bytes of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Where the decoded bytes lie.
    pub body: Range<usize>,
    /// How many bytes were consumed: all of them, unless the body ended or is malformed.
    pub used: usize,
    /// The framing error after the decoded bytes, if there is one.
    pub broken: Option<Malformed>,
}

impl Chunked {
    /// Reports whether the last chunk and the trailer section were read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes `bytes` in place: moves the bytes of the body together.
    #[expect(
        clippy::inline_always,
        reason = "a call for each read costs 40 instructions"
    )]
    #[inline(always)]
    pub fn undo(&mut self, bytes: &mut [u8]) -> Undone {
        let (mut body, mut used) = (0..0, 0);
        // A local copy stays in a register: one read can hold many small chunks.
        let mut state = self.state;
        let mut broken = None;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match state {
                State::Data(left) => {
                    let here = of_chunk(left, rest.len());
                    if body.is_empty() {
                        // Most reads hold a single chunk, which can stay where it is.
                        body = used..used;
                    } else {
                        bytes.copy_within(used..used + here, body.end);
                    }
                    body.end += here;
                    used += here;
                    state = match left - here as u64 {
                        // The line end of the chunk usually arrives with its data.
                        0 if bytes.get(used..used + 2) == Some(b"\r\n") => {
                            used += 2;
                            State::Start
                        }
                        0 => State::DataCr,
                        left => State::Data(left),
                    };
                    continue;
                }
                State::Start => {
                    if let Some((size, line)) = size_line(rest) {
                        state = State::Data(size);
                        used += line;
                        continue;
                    }
                }
                State::Done => break,
                _ => {}
            }
            self.state = state;
            match rest.first().map(|&byte| self.step(byte)) {
                Some(Ok(next)) => state = next,
                Some(Err(malformed)) => {
                    broken = Some(malformed);
                    break;
                }
                None => break,
            }
            used += 1;
        }
        self.state = state;
        Undone { body, used, broken }
    }

    /// Validates `bytes` without changing them. Returns how many of them belong to the chunked body, at most all.
    ///
    /// # Errors
    /// If the framing is malformed. The error is the number of bytes before the malformed one.
    pub fn check(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let mut used = 0;
        while self.state != State::Done
            && let Some(&byte) = bytes.get(used)
        {
            if let State::Data(left) = self.state {
                let here = of_chunk(left, bytes.len() - used);
                used += here;
                self.state = match left - here as u64 {
                    0 => State::DataCr,
                    left => State::Data(left),
                };
                continue;
            }
            self.state = self.step(byte).map_err(|_| used)?;
            used += 1;
        }
        Ok(used)
    }

    /// Returns the trailer section once it is complete: the trailer fields and the empty line after them.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Returns the state after `byte`. Not inlined, because few bytes of a busy stream take this path.
    #[inline(never)]
    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Start, _) => State::Size(digit(byte).ok_or(SIZE)?),
            (State::Size(size) | State::Space(size) | State::Extension(size), b'\r') => {
                State::SizeEnd(size)
            }
            (State::Size(size) | State::Space(size), b';') => State::Extension(size),
            (State::Size(size) | State::Space(size), b' ' | b'\t') => State::Space(size),
            (State::Space(_), _) => return Err(SIZE),
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
                let after_cr = self.trailers.last() == Some(&b'\r');
                if byte == 0 || after_cr != (byte == b'\n') {
                    return Err(Malformed("the trailers of a chunked body"));
                }
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
            // The callers handle both states themselves.
            (State::Data(_) | State::Done, _) => self.state,
        })
    }
}

/// Returns how many of the next `bytes` bytes belong to a chunk of which `left` bytes are missing.
#[inline]
fn of_chunk(left: u64, bytes: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes)
}

/// Parses a complete size line of digits and CRLF, and returns the size and the length of the line. Any other size
/// line, and that of the last chunk, is read byte by byte.
#[inline]
fn size_line(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    for (digits, &byte) in bytes.iter().take(8).enumerate() {
        let Some(digit) = digit(byte) else {
            let ends = size > 0 && bytes.get(digits..digits + 2) == Some(b"\r\n");
            return ends.then_some((size, digits + 2));
        };
        size = size << 4 | digit;
    }
    None
}

const SIZE: Malformed = Malformed("the size of a chunk");

/// The value of each byte as a hexadecimal digit, or more than 15 if it is none. A table, because every event takes
/// about two lookups.
const DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut byte: u8 = 0;
    while byte < u8::MAX {
        if let Some(value) = (byte as char).to_digit(16) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::indexing_slicing,
                reason = "a digit is below 16, and the compiler checks every index"
            )]
            {
                digits[byte as usize] = value as u8;
            }
        }
        byte += 1;
    }
    digits
};

#[inline]
fn digit(byte: u8) -> Option<u64> {
    let value = *DIGITS.get(usize::from(byte))?;
    (value < 16).then_some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` in pieces of `cut` bytes. Returns the body, the number of bytes after it, and the trailers.
    fn run(input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, Vec<u8>), Malformed> {
        let (mut chunked, mut checked) = (Chunked::default(), Chunked::default());
        let (mut body, mut used) = (Vec::new(), 0);
        for piece in input.chunks(cut) {
            let mut piece = piece.to_vec();
            let check = checked.check(&piece);
            let undone = chunked.undo(&mut piece);
            let ends = if undone.broken.is_none() { Ok } else { Err };
            assert_eq!(check, ends(undone.used), "both see the same");
            body.extend_from_slice(&piece[undone.body]);
            used += undone.used;
            undone.broken.map_or(Ok(()), Err)?;
            if chunked.is_done() {
                break;
            }
        }
        assert!(chunked.is_done(), "incomplete");
        let trailers = chunked.trailers().to_vec();
        Ok((body, input.len() - used, trailers))
    }

    #[test]
    fn a_body_survives_any_cut() {
        let input =
            b"5\r\nhello\r\n1;x=\"y\"\r\n \r\n000A \r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nrest";
        for cut in 1..=input.len() {
            let (body, _, trailers) = run(input, cut).unwrap();
            assert_eq!(body, b"hello 0123456789");
            assert_eq!(trailers, b"x-sum: 1\r\n\r\n");
        }
        assert_eq!(run(input, input.len()).unwrap().1, 4, "the rest is left");
        assert_eq!(run(b"0\r\n\r\n", 2).unwrap().2, b"\r\n");
    }

    #[test]
    fn nothing_with_two_readings_passes() {
        let long = [b"3;".as_slice(), &[b'x'; 20_000]].concat();
        let fields = [b"0\r\n".as_slice(), &b"x: 1\r\n".repeat(3000), b"\r\n"].concat();
        let inputs: [&[u8]; 21] = [
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
            b"5 x\r\nhello\r\n",
            b"5\t x\r\nhello\r\n",
            b"0\r\n\nx: y\r\n\r\n",
            b"0\r\nx: y\rz\r\n\r\n",
            b"0\r\nx: y\0\r\n\r\n",
            &long,
            &fields,
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
