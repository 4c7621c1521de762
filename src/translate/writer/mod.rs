//! Writes a conversation in the words of a target: one file for each.
//!
//! A writer gets actions in an order that its target accepts. What a target cannot say it leaves out, and says that it
//! did.

pub(super) mod ag_ui;
pub(super) mod ai_sdk;
pub(super) mod anthropic;
pub(super) mod events;
mod lines;
pub(super) mod openai_chat;
pub(super) mod whole;

use super::action::{Action, Facts};
use crate::event::Span;

/// Writes the events of one stream.
pub(super) trait Writer: std::fmt::Debug + Send {
    /// Writes an action: any number of blocks. Returns false if the target cannot say it.
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool;

    /// Reports whether the target tells a run that was stopped from one that has failed.
    fn tells_stop(&self) -> bool {
        false
    }
}

/// Takes the blocks that a writer writes, one after the other.
pub(super) struct Out<'a> {
    block: &'a mut Vec<u8>,
    /// The next block must not be dropped, although it looks like text.
    keeps: bool,
    sink: &'a mut dyn FnMut(Block<'_>),
}

/// A complete block, and where its name and its payload lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) name: Option<Span>,
    pub(super) data: Option<Span>,
    /// The block must not be dropped, although it looks like text.
    pub(super) keeps: bool,
}

impl<'a> Out<'a> {
    /// Creates one that passes each block to `sink`. `block` is where blocks are put together.
    pub(super) fn new(block: &'a mut Vec<u8>, sink: &'a mut dyn FnMut(Block<'_>)) -> Self {
        Self {
            block,
            keeps: false,
            sink,
        }
    }

    /// Says that the next block must not be dropped, although it looks like text.
    pub(super) const fn keep_next(&mut self) {
        self.keeps = true;
    }

    /// Writes an SSE event without a name.
    pub(super) fn data(&mut self, payload: &[&[u8]]) {
        self.event(b"", payload);
    }

    /// Writes an SSE event.
    pub(super) fn event(&mut self, name: &[u8], payload: &[&[u8]]) {
        self.block.clear();
        let mut at = None;
        if !name.is_empty() {
            self.put(&[b"event: "]);
            let start = self.block.len();
            self.put(&[name]);
            at = Span::new(start..self.block.len());
            self.put(&[b"\n"]);
        }
        self.put(&[b"data: "]);
        let data = self.payload(payload);
        self.put(&[b"\n\n"]);
        self.end(at, data);
    }

    /// Writes a line of NDJSON.
    pub(super) fn line(&mut self, payload: &[&[u8]]) {
        self.block.clear();
        let data = self.payload(payload);
        self.put(&[b"\n"]);
        self.end(None, data);
    }

    fn payload(&mut self, payload: &[&[u8]]) -> Option<Span> {
        let start = self.block.len();
        self.put(payload);
        if let Some(line) = self.block.get_mut(start..)
            && memchr::memchr2(b'\n', b'\r', line).is_some()
        {
            // A raw value may have line breaks between its tokens.
            for byte in line {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        Span::new(start..self.block.len())
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.block.extend_from_slice(part);
        }
    }

    fn end(&mut self, name: Option<Span>, data: Option<Span>) {
        (self.sink)(Block {
            bytes: self.block,
            name,
            data,
            keeps: std::mem::take(&mut self.keeps),
        });
    }
}

/// The digits of a number, without an allocation.
pub(super) struct Digits {
    /// Filled from its end.
    bytes: [u8; 20],
    start: usize,
}

impl std::ops::Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Returns the digits of a number.
pub(super) fn digits(mut number: u64) -> Digits {
    let mut digits = Digits {
        bytes: [b'0'; 20],
        start: 19,
    };
    loop {
        if let Some(place) = digits.bytes.get_mut(digits.start) {
            *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        }
        number /= 10;
        if number == 0 || digits.start == 0 {
            return digits;
        }
        digits.start -= 1;
    }
}

/// Returns `value`, or `other` if it is empty.
pub(super) const fn or<'a>(value: &'a [u8], other: &'a [u8]) -> &'a [u8] {
    if value.is_empty() { other } else { value }
}

/// Returns what follows the text of a status: the end of its string, and the name of the member `detail` if there is
/// one.
pub(super) const fn to_detail(detail: &[u8]) -> &'static [u8] {
    if detail.is_empty() {
        b"\""
    } else {
        b"\",\"detail\":"
    }
}

/// Returns a raw value as the raw body of a JSON string: that of a string, or the JSON text of another value.
pub(super) fn text_of(value: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match super::raw::string(value) {
        Some(body) => body.into(),
        None => super::raw::escaped(value),
    }
}
