//! One JSON array, element by element: `[`, then an element at a time, then `]`.
//!
//! Each frame is a piece of the array as it is sent on: the brackets by themselves, elements with the comma that
//! parts them from the one before. Elements are found by their depth; what they hold is not looked at.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Error, Frame, Payload};
use crate::event::Span;

/// What stands between two elements.
const COMMA: &[u8] = b",\n";

/// Splits an array into its elements.
#[derive(Debug)]
pub(super) struct Decoder {
    at: Place,
    /// The unfinished element.
    tail: Vec<u8>,
    /// Elements so far.
    count: u64,
    limit: usize,
}

/// Where in the array the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In front of the bracket.
    Start,
    /// Between two elements.
    Between,
    /// In an element, outside of its strings, so many brackets deep.
    Element(usize),
    /// In a string of an element.
    String(usize),
    /// Behind a backslash in a string.
    Escape(usize),
    /// Behind the last bracket.
    End,
}

impl Decoder {
    /// A decoder that refuses elements beyond `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            at: Place::Start,
            tail: Vec::new(),
            count: 0,
            limit,
        }
    }

    /// Gives `sink` each piece that `chunk` completes.
    ///
    /// # Errors
    /// When an element grows beyond its bound.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), Error> {
        // Where the element that goes on begins in the chunk.
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
                    // Look at it again, as the first byte of an element.
                    pos -= 1;
                    start = pos;
                    self.at = Place::Element(0);
                }
                (Place::Element(depth), b'"') => self.at = Place::String(depth),
                (Place::Element(depth), b'{' | b'[') => self.at = Place::Element(depth + 1),
                (Place::Element(0), b',' | b']') => {
                    // A number or a word ends in front of what follows it.
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

    /// What the end of the input leaves torn: an element, or the array itself.
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
        // White space in front of a comma belongs to nothing.
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
