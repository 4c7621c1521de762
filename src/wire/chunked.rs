//! The chunked transfer coding (RFC 9112, 7.1), looked at where it lies, or undone in place: what a read brought
//! becomes one piece.
//!
//! Strict where leniency has two readings: line ends are CRLF, sizes are hexadecimal digits and nothing else.

use std::ops::Range;

/// Which part of a chunked body is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Bytes of extensions in one body: nobody reads them, so they only cost.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Bytes of the trailer section.
const MAX_TRAILERS: usize = 16 * 1024;

/// What has been seen of a chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    extensions: usize,
    /// The trailer section as far as it came; empty before the last chunk.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    /// In front of the first digit of a size.
    Start,
    /// After at least one digit.
    Size(u64),
    /// In white space behind a size.
    Space(u64),
    /// Behind the semicolon of a size.
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
pub struct Undone {
    /// Where the bytes of the body now lie.
    pub body: Range<usize>,
    /// So many bytes were looked at: all of them, unless the body is over or broken.
    pub used: usize,
    /// Where the framing broke, behind those bytes of the body.
    pub broken: Option<Malformed>,
}

impl Chunked {
    /// Whether the last chunk and its trailers were seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Moves the body's bytes in `bytes` together.
    #[inline]
    pub fn undo(&mut self, bytes: &mut [u8]) -> Undone {
        let (mut body, mut used) = (0..0, 0);
        // In a register: many small chunks are one read.
        let mut state = self.state;
        let mut broken = None;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match state {
                State::Data(left) => {
                    let here = of_chunk(left, rest.len());
                    if body.is_empty() {
                        // Most reads bring one chunk, which can stay where it is.
                        body = used..used;
                    } else {
                        bytes.copy_within(used..used + here, body.end);
                    }
                    body.end += here;
                    used += here;
                    state = match left - here as u64 {
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

    /// Looks at `bytes` without a change: how many of them are of the body, up to all.
    ///
    /// # Errors
    /// When its framing breaks, with the number of bytes in front of that.
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

    /// The trailer section, once it is done: fields, and the empty line behind them.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Out of line: hardly a byte of a busy stream comes here.
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
            // Both are handled before any byte is taken.
            (State::Data(_) | State::Done, _) => self.state,
        })
    }
}

/// How many of so many bytes belong to a chunk that misses `left`.
#[inline]
fn of_chunk(left: u64, bytes: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes)
}

/// The size in a plain size line that is whole, and the line's length. Every other one, the last chunk's too, is
/// read byte by byte.
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

/// The value of each byte as a hexadecimal digit, more than 15 for what is none: every event asks twice or so.
const DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut byte: u8 = 0;
    while byte < u8::MAX {
        if let Some(value) = (byte as char).to_digit(16) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::indexing_slicing,
                reason = "a digit is below 16, and the compiler sees every index"
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

    /// The body, what follows it, and its trailers, with the input cut into pieces of `cut` bytes.
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
