//! Decodes NDJSON: splits bytes into lines.
//!
//! A line ends at LF. A CR before the LF is removed, and empty lines are dropped. The last line may lack its
//! LF if its JSON is complete.

use std::borrow::Cow;

use memchr::memchr;

use super::{Error, Flow, Frame, Payload, buffer, json};
use crate::event::Span;

/// A decoder that splits bytes into lines.
#[derive(Debug)]
pub struct Decoder {
    /// The unfinished line. Invariant: it holds no LF.
    tail: Vec<u8>,
    limit: usize,
}

impl Decoder {
    /// Creates a decoder that rejects lines larger than `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            tail: Vec::new(),
            limit,
        }
    }

    /// Passes each line that `chunk` completes to `sink`, until `sink` pauses. Returns how much of `chunk` is used; the
    /// rest must be passed again.
    ///
    /// # Errors
    /// If a line exceeds the size limit.
    pub fn feed<F: Into<Flow>>(
        &mut self,
        mut chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<usize, Error> {
        let given = chunk.len();
        while let Some((line, rest)) =
            memchr(b'\n', chunk).and_then(|end| chunk.split_at_checked(end + 1))
        {
            chunk = rest;
            let line = if self.tail.is_empty() {
                Cow::Borrowed(line)
            } else {
                buffer::reserve(&mut self.tail, line.len(), self.limit);
                self.tail.extend_from_slice(line);
                Cow::Owned(std::mem::take(&mut self.tail))
            };
            self.check(line.len())?;
            if frame(line).map(&mut *sink).map(Into::into) == Some(Flow::Pause) {
                return Ok(given - chunk.len());
            }
        }
        self.check(self.tail.len() + chunk.len())?;
        buffer::reserve(&mut self.tail, chunk.len(), self.limit);
        self.tail.extend_from_slice(chunk);
        Ok(given)
    }

    /// Returns the last line if it lacks its LF. Its `whole` is true if its JSON is complete.
    pub fn finish(&mut self) -> Option<Frame<'static>> {
        let mut line = std::mem::take(&mut self.tail);
        let whole = json::is_whole(&line);
        line.extend_from_slice(b"\n");
        frame(line.into()).map(|frame| Frame { whole, ..frame })
    }

    /// Returns how many bytes of an unfinished line are held.
    pub const fn pending(&self) -> usize {
        self.tail.len()
    }

    const fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.limit {
            Err(Error::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

/// Builds the frame of `line`, which ends with LF. Returns `None` for an empty line.
fn frame(line: Cow<'_, [u8]>) -> Option<Frame<'_>> {
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return None;
    }
    let len = text.len();
    let data = Some(Payload::InBlock(Span::new(0..len)?));
    let block = match line {
        line if len + 1 == line.len() => line,
        Cow::Borrowed(_) => Cow::Owned([text, b"\n"].concat()),
        Cow::Owned(mut line) => {
            line.truncate(len);
            line.push(b'\n');
            Cow::Owned(line)
        }
    };
    Some(Frame {
        block,
        name: None,
        data,
        whole: true,
        raw: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut decoder = Decoder::new(64);
        let mut out = Vec::new();
        for chunk in chunks {
            let mut keep = |frame: Frame<'_>| out.push(frame.into_owned());
            decoder.feed(chunk, &mut keep).unwrap();
        }
        out.extend(decoder.finish());
        out.iter()
            .map(|frame| {
                (
                    String::from_utf8(frame.block.to_vec()).unwrap(),
                    frame.whole,
                )
            })
            .collect()
    }

    #[test]
    fn every_split_yields_the_same_lines() {
        let input = b"{\"a\":1}\r\n\n{\"b\":\"\xC3\xA9\"}\n{\"c\":3}";
        let whole = lines(&[input]);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0], ("{\"a\":1}\n".into(), true));
        assert_eq!(whole[2], ("{\"c\":3}\n".into(), true));
        for cut in 0..=input.len() {
            assert_eq!(
                lines(&[&input[..cut], &input[cut..]]),
                whole,
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(lines(&bytes), whole);
    }

    #[test]
    fn a_torn_last_line_is_told() {
        assert_eq!(lines(&[b"{\"a\":"]), [("{\"a\":\n".into(), false)]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused_before_it_is_whole() {
        let mut decoder = Decoder::new(8);
        assert!(decoder.feed(b"12345678", &mut |_| {}).is_ok());
        assert_eq!(
            decoder.feed(b"9", &mut |_| {}),
            Err(Error::TooLarge { limit: 8 })
        );
    }
}
