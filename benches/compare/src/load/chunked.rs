//! Decodes the chunked transfer coding: finds the data and the end of a body.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Begin,
    Size(u64),
    /// Chunk extensions, up to the end of the line.
    Extension(u64),
    Data(u64),
    /// The line break after the data.
    AfterData,
    /// Trailers, and the length of the current line so far.
    Trailers(u64),
    End,
}

#[derive(Debug, Default)]
pub(super) struct Chunked(State);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Chunked {
    pub(super) fn ended(&self) -> bool {
        self.0 == State::End
    }

    /// Calls `data` for each piece of data.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<(), Malformed> {
        while let Some((first, rest)) = bytes.split_first() {
            if let State::Data(left) = self.0 {
                let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                data(&bytes[..count]);
                bytes = &bytes[count..];
                let left = left - count as u64;
                self.0 = if left == 0 {
                    State::AfterData
                } else {
                    State::Data(left)
                };
                continue;
            }
            bytes = rest;
            self.0 = match (self.0, *first) {
                (State::Begin, byte) => State::Size(digit(byte)?),
                (State::Size(0) | State::Extension(0), b'\n') => State::Trailers(0),
                (State::Size(size) | State::Extension(size), b'\n') => State::Data(size),
                (State::Size(size), b'\r' | b';' | b' ') => State::Extension(size),
                (State::Size(size), byte) if size < 1 << 40 => {
                    State::Size(size << 4 | digit(byte)?)
                }
                (State::Extension(size), _) => State::Extension(size),
                (State::AfterData, b'\r') => State::AfterData,
                (State::AfterData, b'\n') => State::Begin,
                (State::Trailers(0), b'\n') => State::End,
                (State::Trailers(_), b'\n') => State::Trailers(0),
                (State::Trailers(length), b'\r') => State::Trailers(length),
                (State::Trailers(length), _) => State::Trailers(length + 1),
                _ => return Err(Malformed),
            };
        }
        Ok(())
    }
}

fn digit(byte: u8) -> Result<u64, Malformed> {
    char::from(byte)
        .to_digit(16)
        .map(u64::from)
        .ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] =
        b"5\r\nhello\r\n1;name=value\r\n \r\nB\r\nworld\r\n0\r\n\r\r\n0\r\nTrailer: 1\r\n\r\n";

    #[test]
    fn data_is_the_same_whatever_the_cuts() {
        for cut in 0..=WHOLE.len() {
            let mut chunked = Chunked::default();
            let mut seen = Vec::new();
            for part in [&WHOLE[..cut], &WHOLE[cut..]] {
                chunked
                    .feed(part, |data| seen.extend_from_slice(data))
                    .unwrap();
            }
            assert_eq!(seen, b"hello world\r\n0\r\n\r", "cut at {cut}");
            assert!(chunked.ended());
        }
    }

    #[test]
    fn what_is_not_chunked_is_told() {
        assert_eq!(Chunked::default().feed(b"hello", |_| {}), Err(Malformed));
        assert_eq!(Chunked::default().feed(b"1\r\nab", |_| {}), Err(Malformed));
        assert_eq!(
            Chunked::default().feed(b"0\r\n\r\nmore", |_| {}),
            Err(Malformed)
        );
    }
}
