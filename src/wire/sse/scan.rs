//! Finds the end of each block, and what its lines are.

use memchr::{memchr, memchr2};

/// The scanner's state for the unfinished block. Offsets are relative to the block's first byte.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Scan {
    /// How much of the block was already searched for a line end.
    searched: usize,
    /// Inside a comment at the start of a block. Such a comment is discarded as it arrives.
    pub(super) in_comment: bool,
    /// The last line end found is a CR that is the last byte of the buffer.
    pub(super) ended_at_cr: bool,
    line_start: usize,
    shape: Shape,
}

/// What the lines of a block are, as far as they have been seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// It may leave as it came.
    pub(super) canonical: bool,
    /// Where the value of its `event` field lies.
    pub(super) name: Option<(usize, usize)>,
    /// Where the value of its only `data` field lies.
    pub(super) data: Option<(usize, usize)>,
    /// It has an `id` field.
    pub(super) id: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            canonical: true,
            name: None,
            data: None,
            id: false,
        }
    }
}

/// What comes next in a buffer.
pub(super) enum Step {
    /// A block of this many bytes, blank line included.
    Block(usize, Shape),
    /// A complete comment of this many bytes before the block.
    Comment(usize),
    /// The buffer holds no further line end.
    More,
    /// This many bytes have no meaning: a blank line, or a part of a comment.
    Skip(usize),
}

/// Returns the position of the first line end. The first byte is checked separately, because blank lines are as
/// common as long ones.
fn line_end(rest: &[u8]) -> Option<usize> {
    match rest.first() {
        Some(b'\n' | b'\r') => Some(0),
        _ => memchr2(b'\n', b'\r', rest),
    }
}

impl Scan {
    /// Finds a complete block of one data line with a single search. Most models send such blocks.
    pub(super) fn plain(&self, buffer: &[u8]) -> Option<(usize, Shape)> {
        const START: usize = b"data: ".len();
        if self.searched > 0 || self.in_comment {
            return None;
        }
        let value = buffer.strip_prefix(b"data: ")?;
        let end = START + memchr2(b'\n', b'\r', value)?;
        buffer.get(end..)?.starts_with(b"\n\n").then_some(())?;
        let shape = Shape {
            data: Some((START, end)),
            ..Shape::default()
        };
        Some((end + 2, shape))
    }

    /// Finds the next step in `buffer`, which starts at the beginning of a block.
    pub(super) fn next(&mut self, buffer: &[u8]) -> Step {
        loop {
            let starts_comment = self.line_start == 0 && buffer.first() == Some(&b':');
            let Some(found) = buffer.get(self.searched..).and_then(line_end) else {
                if (self.in_comment || starts_comment) && !buffer.is_empty() {
                    self.in_comment = true;
                    self.searched = 0;
                    return Step::Skip(buffer.len());
                }
                self.searched = buffer.len();
                return Step::More;
            };
            let end = self.searched + found;
            let is_cr = buffer.get(end) == Some(&b'\r');
            self.ended_at_cr = is_cr && end + 1 == buffer.len();
            let next = end
                + if is_cr && buffer.get(end + 1) == Some(&b'\n') {
                    2
                } else {
                    1
                };
            if self.in_comment || starts_comment {
                self.in_comment = false;
                self.searched = 0;
                return Step::Comment(next);
            }
            self.shape.canonical &= !is_cr;
            if end == self.line_start {
                let shape = std::mem::take(&mut self.shape);
                let is_blank = self.line_start == 0;
                self.line_start = 0;
                self.searched = 0;
                return if is_blank {
                    Step::Skip(next)
                } else {
                    Step::Block(next, shape)
                };
            }
            if let Some(line) = buffer.get(self.line_start..end) {
                self.shape.note(line, self.line_start);
            }
            self.line_start = next;
            self.searched = next;
        }
    }
}

impl Shape {
    fn note(&mut self, line: &[u8], at: usize) {
        let value = |field: &[u8]| {
            (line.get(field.len()..)?.starts_with(b": ")).then_some(at + field.len() + 2)
        };
        let end = at + line.len();
        if line.starts_with(b"data") {
            // Several data lines are joined by `rebuild`.
            self.canonical &= self.data.is_none();
            self.data = value(b"data").map(|start| (start, end));
            self.canonical &= self.data.is_some();
        } else if line.starts_with(b"event") {
            self.name = value(b"event").map(|start| (start, end));
            self.canonical &= self.name.is_some();
        } else if line.starts_with(b"id") {
            self.id = true;
            self.canonical &= value(b"id").is_some() && memchr(0, line).is_none();
        } else {
            // Comments, `retry`, `error` and unknown fields are rare: the block is rewritten.
            self.canonical = false;
        }
    }
}
