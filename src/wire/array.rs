//! Decodes a streamed JSON array: emits `[`, then one element at a time, then `]`.
//!
//! Each frame is a piece of the array as it is sent to the client: a bracket by itself, or an element together with
//! the comma that separates it from the previous one. Elements are found by nesting depth; their content is not parsed.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Error, Frame, Payload};
use crate::event::Span;

/// The separator written between two elements.
const COMMA: &[u8] = b",\n";

/// A decoder that splits an array into its elements.
#[derive(Debug)]
pub(super) struct Decoder {
    at: Place,
    /// The unfinished element.
    tail: Vec<u8>,
    /// How many elements are complete.
    count: u64,
    limit: usize,
}

/// The position of the next byte in the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the opening bracket.
    Start,
    /// Between elements.
    Between,
    /// In an element, outside its strings. Holds the number of open brackets.
    Element(usize),
    /// In a string of an element. Holds the number of open brackets.
    String(usize),
    /// After a backslash in a string. Holds the number of open brackets.
    Escape(usize),
    /// After the closing bracket.
    End,
}

impl Decoder {
    /// Creates a decoder that rejects elements larger than `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            at: Place::Start,
            tail: Vec::new(),
            count: 0,
            limit,
        }
    }

    /// Passes each piece that `chunk` completes to `sink`.
    ///
    /// # Errors
    /// If an element exceeds the size limit.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), Error> {
        // Where the unfinished element begins in the chunk.
        let mut start = 0;
        let mut pos = 0;
        while let Some(byte) = chunk.get(pos).copied() {
            pos += 1;
            match (self.at, byte) {
                (Place::Start, b'[') => {
                    self.at = Place::Between;
                    sink(bracket(b"["));
                }
                (Place::Between, b']') => {
                    self.at = Place::End;
                    sink(bracket(b"]"));
                }
                (Place::Between, byte) if byte == b',' || byte.is_ascii_whitespace() => {}
                (Place::Start | Place::End, _) => {}
                (Place::Between, _) => {
                    // Process this byte again, as the first byte of an element.
                    pos -= 1;
                    start = pos;
                    self.at = Place::Element(0);
                }
                (Place::Element(depth), b'"') => self.at = Place::String(depth),
                (Place::Element(depth), b'{' | b'[') => self.at = Place::Element(depth + 1),
                (Place::Element(0), b',' | b']') => {
                    // A number or literal ends before the byte that follows it.
                    pos -= 1;
                    self.complete(chunk.get(start..pos).unwrap_or_default(), sink)?;
                }
                (Place::Element(depth), b'}' | b']') => {
                    self.at = Place::Element(depth.saturating_sub(1));
                    if depth <= 1 {
                        self.complete(chunk.get(start..pos).unwrap_or_default(), sink)?;
                    }
                }
                (Place::Element(_), _) => {}
                (Place::String(depth), b'"') => self.at = Place::Element(depth),
                (Place::String(depth), b'\\') => self.at = Place::Escape(depth),
                (Place::String(_), _) => {
                    let rest = chunk.get(pos..).unwrap_or_default();
                    pos += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                }
                (Place::Escape(depth), _) => self.at = Place::String(depth),
            }
        }
        if !matches!(self.at, Place::Start | Place::Between | Place::End) {
            let rest = chunk.get(start..).unwrap_or_default();
            self.check(self.tail.len() + rest.len())?;
            self.tail.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Returns an incomplete frame if the input ended before the closing bracket.
    pub(super) fn finish(&self) -> Option<Frame<'static>> {
        (self.at != Place::End).then(|| Frame {
            whole: false,
            ..bracket(b"")
        })
    }

    fn complete(&mut self, rest: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Error> {
        self.at = Place::Between;
        self.check(self.tail.len() + rest.len())?;
        let comma = if self.count == 0 { b"" } else { COMMA };
        self.count += 1;
        let mut block = [comma, &self.tail, rest].concat();
        // White space before the next comma is not part of the element.
        block.truncate(block.trim_ascii_end().len());
        self.tail.clear();
        if let Some(data) = Span::new(comma.len()..block.len()) {
            sink(Frame {
                data: Some(Payload::InBlock(data)),
                block: Cow::Owned(block),
                name: None,
                whole: true,
                raw: false,
            });
        }
        Ok(())
    }

    const fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.limit {
            Err(Error::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

const fn bracket(block: &[u8]) -> Frame<'_> {
    Frame {
        block: Cow::Borrowed(block),
        name: None,
        data: None,
        whole: true,
        raw: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(input: &[u8], cut: usize) -> (Vec<String>, bool) {
        let mut decoder = Decoder::new(64);
        let mut out = Vec::new();
        for chunk in input.chunks(cut) {
            let mut keep = |frame: Frame<'_>| {
                let data = frame.data().to_vec();
                assert!(frame.block.ends_with(&data));
                out.push(String::from_utf8(frame.block.into_owned()).unwrap());
            };
            decoder.feed(chunk, &mut keep).unwrap();
        }
        (out, decoder.finish().is_none())
    }

    #[test]
    fn elements_are_found_however_the_bytes_are_cut() {
        let input = br#" [{"a":"]}\"\\"},
            [1,[2]] , 3,"x,]" ,null
            ]
            "#;
        let expected = [
            "[",
            r#"{"a":"]}\"\\"}"#,
            ",\n[1,[2]]",
            ",\n3",
            ",\n\"x,]\"",
            ",\nnull",
            "]",
        ];
        for cut in 1..=input.len() {
            let (found, whole) = pieces(input, cut);
            assert_eq!(found, expected, "cut into {cut}");
            assert!(whole);
        }
    }

    #[test]
    fn what_was_cut_is_torn() {
        for torn in ["", "[", "[{\"a\":1}", "[{\"a\":1},", "[{\"a\":1},{\"b\""] {
            assert!(!pieces(torn.as_bytes(), 3).1, "{torn}");
        }
        assert!(pieces(b"[]", 1).1);
    }

    #[test]
    fn an_element_beyond_the_bound_is_refused_before_it_is_whole() {
        let mut decoder = Decoder::new(8);
        assert!(decoder.feed(b"[{\"a\":123", &mut |_| {}).is_ok());
        assert_eq!(
            decoder.feed(b"4", &mut |_| {}),
            Err(Error::TooLarge { limit: 8 })
        );
    }
}
