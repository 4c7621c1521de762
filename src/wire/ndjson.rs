//! NDJSON: bytes to lines.
//!
//! A line ends at LF; a CR before it is removed, empty lines are dropped. The last line may lack its LF
//! if its JSON is whole.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::{Error, Frame, Payload, json};
use crate::event::Span;

/// Splits bytes into lines.
#[derive(Debug)]
pub struct Decoder {
    /// The unfinished line. Invariant: holds no LF.
    tail: BytesMut,
    limit: usize,
}

impl Decoder {
    /// A decoder that refuses lines beyond `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            tail: BytesMut::new(),
            limit,
        }
    }

    /// Appends to `out` each line that `chunk` completes.
    pub fn feed(&mut self, mut chunk: Bytes, out: &mut Vec<Frame>) -> Result<(), Error> {
        while let Some(end) = memchr(b'\n', &chunk) {
            let mut line = chunk.split_to(end + 1);
            if !self.tail.is_empty() {
                self.tail.extend_from_slice(&line);
                line = std::mem::take(&mut self.tail).freeze();
            }
            self.check(line.len())?;
            out.extend(frame(line));
        }
        self.check(self.tail.len() + chunk.len())?;
        self.tail.extend_from_slice(&chunk);
        Ok(())
    }

    /// The line that lacks its LF, if there is one.
    pub fn finish(&mut self) -> Option<Frame> {
        let mut line = std::mem::take(&mut self.tail);
        let whole = json::is_whole(&line);
        line.extend_from_slice(b"\n");
        frame(line.freeze()).map(|frame| Frame { whole, ..frame })
    }

    const fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.limit {
            Err(Error::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

/// `line` ends with LF.
fn frame(line: Bytes) -> Option<Frame> {
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return None;
    }
    let data = Some(Payload::InBlock(Span::new(0..text.len())?));
    let block = if text.len() + 1 == line.len() {
        line
    } else {
        Bytes::from([text, b"\n"].concat())
    };
    Some(Frame {
        block,
        name: None,
        data,
        whole: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut decoder = Decoder::new(64);
        let mut out = Vec::new();
        for chunk in chunks {
            decoder
                .feed(Bytes::copy_from_slice(chunk), &mut out)
                .unwrap();
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
        let mut out = Vec::new();
        assert!(
            decoder
                .feed(Bytes::from_static(b"12345678"), &mut out)
                .is_ok()
        );
        assert_eq!(
            decoder.feed(Bytes::from_static(b"9"), &mut out),
            Err(Error::TooLarge { limit: 8 })
        );
    }
}
