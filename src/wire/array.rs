//! Decodes a streamed JSON array: emits `[`, then one element at a time, then `]`.
//!
//! Each frame is a piece of the array as it is sent to the client: a bracket by itself, or an element together with
//! the comma that separates it from the previous one. Elements are found by nesting depth; their content is not parsed.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Error, Flow, Frame, Payload, buffer};
use crate::event::Span;

/// The separator written between two elements.
const COMMA: &[u8] = b",\n";

/// A decoder that splits an array into its elements.
#[derive(Debug)]
pub(super) struct Decoder {
    at: Place,
    /// The unfinished element, after the comma that separates it from the previous one.
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

    /// Passes each piece that `chunk` completes to `sink`, until `sink` pauses. Returns how much of `chunk` is used;
    /// the rest must be passed again.
    ///
    /// # Errors
    /// If an element exceeds the size limit.
    pub(super) fn feed<F: Into<Flow>>(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<usize, Error> {
        // Where the unfinished element begins in the chunk.
        let mut start = 0;
        let mut pos = 0;
        while let Some(byte) = chunk.get(pos).copied() {
            pos += 1;
            let mut flow = Flow::Go;
            match (self.at, byte) {
                (Place::Start, b'[') => {
                    self.at = Place::Between;
                    flow = sink(bracket(b"[")).into();
                }
                (Place::Between, b']') => {
                    self.at = Place::End;
                    flow = sink(bracket(b"]")).into();
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
                    flow = self.complete(chunk.get(start..pos).unwrap_or_default(), sink)?;
                }
                (Place::Element(depth), b'}' | b']') => {
                    self.at = Place::Element(depth.saturating_sub(1));
                    if depth <= 1 {
                        flow = self.complete(chunk.get(start..pos).unwrap_or_default(), sink)?;
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
            if flow == Flow::Pause {
                return Ok(pos);
            }
        }
        if !matches!(self.at, Place::Start | Place::Between | Place::End) {
            let rest = chunk.get(start..).unwrap_or_default();
            self.grow(rest)?;
        }
        Ok(chunk.len())
    }

    /// Returns an incomplete frame if the input ended before the closing bracket.
    pub(super) fn finish(&self) -> Option<Frame<'static>> {
        (self.at != Place::End).then(|| Frame {
            whole: false,
            ..bracket(b"")
        })
    }

    fn complete<F: Into<Flow>>(
        &mut self,
        rest: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<Flow, Error> {
        self.at = Place::Between;
        self.grow(rest)?;
        let start = self.comma().len();
        self.count += 1;
        let mut block = std::mem::take(&mut self.tail);
        // White space before the next comma is not part of the element.
        block.truncate(block.trim_ascii_end().len());
        let Some(data) = Span::new(start..block.len()) else {
            return Ok(Flow::Go);
        };
        let flow = sink(Frame {
            data: Some(Payload::InBlock(data)),
            block: Cow::Owned(block),
            name: None,
            whole: true,
            raw: false,
        });
        Ok(flow.into())
    }

    /// Returns what separates the current element from the previous one.
    const fn comma(&self) -> &'static [u8] {
        if self.count == 0 { b"" } else { COMMA }
    }

    /// Appends `more` to the unfinished element.
    fn grow(&mut self, more: &[u8]) -> Result<(), Error> {
        let comma = self.comma();
        if self.tail.is_empty() {
            self.tail.reserve_exact(comma.len() + more.len());
            self.tail.extend_from_slice(comma);
        }
        self.check(self.tail.len() - comma.len() + more.len())?;
        buffer::reserve(&mut self.tail, more.len(), self.limit);
        self.tail.extend_from_slice(more);
        Ok(())
    }

    /// Returns how many bytes of an unfinished element are held.
    pub(super) const fn pending(&self) -> usize {
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
