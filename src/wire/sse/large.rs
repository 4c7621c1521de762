//! Takes in a large block as its bytes arrive.
//!
//! A block of many reads is written in canonical form at once, and never held twice: not raw and rewritten, and not
//! with a list of its lines. When it ends, its buffer is handed on.

use memchr::memchr2;

use super::build::Builder;
use crate::wire::buffer;

/// An unfinished large block.
#[derive(Debug)]
pub(super) struct Large {
    builder: Builder,
    at: Place,
    /// The current line so far, if it is not known to be a `data` line.
    line: Vec<u8>,
    /// How many bytes of the block have arrived.
    arrived: usize,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a line that may be any field.
    Line,
    /// After `data:`, before the space that may follow.
    Space,
    /// In the value of a `data` line that begins here in the block.
    Value(usize),
}

/// What a piece of the input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fed {
    /// How many bytes of the piece belong to the block.
    pub(super) used: usize,
    /// The block is complete.
    pub(super) done: bool,
    /// The last byte used is a CR at the end of the piece. An LF that follows belongs to the same line end.
    pub(super) at_cr: bool,
}

impl Large {
    /// Begins with the bytes of the block that have arrived, from its first line on.
    pub(super) fn new(tail: &[u8], retry: Option<&[u8]>, limit: usize) -> Self {
        let mut large = Self {
            builder: Builder::new(0, retry),
            at: Place::Line,
            line: Vec::new(),
            arrived: 0,
        };
        large.feed(tail, limit);
        large
    }

    /// Returns how many bytes of the block have arrived.
    pub(super) const fn arrived(&self) -> usize {
        self.arrived
    }

    /// Takes in the bytes of `piece` up to the end of the block. `limit` is the size of the largest block.
    pub(super) fn feed(&mut self, piece: &[u8], limit: usize) -> Fed {
        // In canonical form a block may be larger, by two bytes a line.
        let most = limit.saturating_mul(2);
        buffer::reserve(&mut self.builder.block, piece.len(), most);
        let mut used = 0;
        let mut fed = Fed {
            used: piece.len(),
            done: false,
            at_cr: false,
        };
        while let Some(rest) = piece.get(used..).filter(|rest| !rest.is_empty()) {
            if self.at == Place::Space {
                used += usize::from(rest.first() == Some(&b' '));
                self.at = Place::Value(self.builder.begin_data());
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.part_of_line(rest);
                break;
            };
            let (text, end_of_line) = rest.split_at_checked(end).unwrap_or((rest, b""));
            used += end
                + if end_of_line.starts_with(b"\r\n") {
                    2
                } else {
                    1
                };
            fed.at_cr = end_of_line == b"\r";
            if self.end_line(text) {
                fed.done = true;
                break;
            }
        }
        if fed.done {
            fed.used = used;
        }
        self.arrived += fed.used;
        fed
    }

    /// Takes in bytes that end no line.
    fn part_of_line(&mut self, bytes: &[u8]) {
        const DATA: &[u8] = b"data:";
        match self.at {
            Place::Value(_) => self.builder.block.extend_from_slice(bytes),
            Place::Line | Place::Space => {
                self.line.extend_from_slice(bytes);
                if let Some(value) = self.line.strip_prefix(DATA) {
                    let (text, is_empty) =
                        (value.strip_prefix(b" ").unwrap_or(value), value.is_empty());
                    if is_empty {
                        self.at = Place::Space;
                    } else {
                        let start = self.builder.begin_data();
                        self.builder.block.extend_from_slice(text);
                        self.at = Place::Value(start);
                    }
                    self.line = Vec::new();
                }
            }
        }
    }

    /// Ends the current line, whose last bytes are `text`. Returns whether it was the blank line that ends the block.
    fn end_line(&mut self, text: &[u8]) -> bool {
        if let Place::Value(start) = self.at {
            self.builder.block.extend_from_slice(text);
            self.builder.end_data(start);
            self.at = Place::Line;
            return false;
        }
        if self.line.is_empty() {
            self.builder.line(text);
            return text.is_empty();
        }
        self.line.extend_from_slice(text);
        self.builder.line(&std::mem::take(&mut self.line));
        false
    }

    /// Returns the complete block.
    pub(super) fn into_builder(self) -> Builder {
        self.builder
    }

    /// Returns the bytes of a block that lacks its end, and whether the last line has ended.
    pub(super) fn into_unfinished(self) -> (Vec<u8>, bool) {
        let mut bytes = self.builder.block;
        let ended = match self.at {
            Place::Value(_) => false,
            Place::Space => {
                bytes.extend_from_slice(b"data:");
                false
            }
            Place::Line => self.line.is_empty(),
        };
        bytes.extend_from_slice(&self.line);
        (bytes, ended)
    }
}
