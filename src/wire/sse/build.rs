//! Writes a block anew in canonical form, line by line.

use memchr::memchr;

use super::super::{Frame, Payload, json};
use crate::event::Span;

/// A block that is written line by line.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) block: Vec<u8>,
    name: Option<Span>,
    has_id: bool,
    /// The value of the block's own `retry` field, which is written last.
    retry: Option<Box<[u8]>>,
    /// The value of the first `data` line.
    data: Option<(usize, usize)>,
    data_lines: usize,
    /// The lengths of the values of all `data` lines together.
    data_bytes: usize,
}

impl Builder {
    /// Begins a block of about `bytes` bytes. `retry` is the value of a lone `retry` field that came before the block.
    pub(super) fn new(bytes: usize, retry: Option<&[u8]>) -> Self {
        let mut block = Vec::with_capacity(bytes + 16);
        if let Some(retry) = retry {
            put_field(&mut block, b"retry", retry);
        }
        Self {
            block,
            ..Self::default()
        }
    }

    /// Adds a line, given without its line end. Empty lines and comments are left out.
    pub(super) fn line(&mut self, line: &[u8]) {
        let (field, value) = split_field(line);
        match field {
            // A comment, or the blank line.
            b"" => {}
            b"data" => {
                let start = self.begin_data();
                self.block.extend_from_slice(value);
                self.end_data(start);
            }
            b"error" if value.first() == Some(&b'{') && json::is_whole(value) => {
                let start = self.begin_data();
                for part in [b"{\"error\":", value, b"}"] {
                    self.block.extend_from_slice(part);
                }
                self.end_data(start);
            }
            b"event" => {
                let (start, end) = put_field(&mut self.block, field, value);
                self.name = Span::new(start..end);
            }
            b"id" => {
                if memchr(0, value).is_none() {
                    put_field(&mut self.block, field, value);
                    self.has_id = true;
                }
            }
            b"retry" => self.retry = Some(value.into()),
            _ => {
                put_field(&mut self.block, field, value);
            }
        }
    }

    /// Begins a `data` line whose value the caller appends to the block. Returns where the value begins.
    pub(super) fn begin_data(&mut self) -> usize {
        self.block.extend_from_slice(b"data: ");
        self.block.len()
    }

    /// Ends the `data` line whose value begins at `start`.
    pub(super) fn end_data(&mut self, start: usize) {
        let end = self.block.len();
        self.block.push(b'\n');
        self.data.get_or_insert((start, end));
        self.data_lines += 1;
        self.data_bytes += end - start;
    }

    /// Ends the block, and returns its bytes, the event name and the payload. If it holds no event, returns the value
    /// of its `retry` field.
    pub(super) fn finish(mut self) -> Result<Frame<'static>, Option<Box<[u8]>>> {
        if self.data.is_none() && self.name.is_none() && !self.has_id {
            return Err(self.retry);
        }
        if let Some(retry) = self.retry.take() {
            put_field(&mut self.block, b"retry", &retry);
        }
        self.block.push(b'\n');
        let data = match self.data {
            Some(_) if self.data_lines > 1 => Some(Payload::Joined(self.joined())),
            Some((start, end)) => Span::new(start..end).map(Payload::InBlock),
            None => None,
        };
        Ok(Frame {
            block: self.block.into(),
            name: self.name,
            data,
            whole: true,
            raw: false,
        })
    }

    /// Joins the values of the `data` lines. They are found in the block again: a list of millions of short lines would
    /// be larger than the block.
    fn joined(&self) -> Vec<u8> {
        let mut joined = Vec::with_capacity(self.data_bytes + self.data_lines);
        let lines = self.block.split(|byte| *byte == b'\n');
        for value in lines.filter_map(|line| line.strip_prefix(b"data: ")) {
            joined.extend_from_slice(value);
            joined.push(b'\n');
        }
        joined.pop();
        joined
    }
}

/// Appends `field: value` and returns the range of the value.
fn put_field(block: &mut Vec<u8>, field: &[u8], value: &[u8]) -> (usize, usize) {
    block.extend_from_slice(field);
    block.extend_from_slice(b": ");
    let start = block.len();
    block.extend_from_slice(value);
    block.push(b'\n');
    (start, start + value.len())
}

/// Splits a line into field name and value, and removes one leading space from the value.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else {
        return (line, b"");
    };
    let (field, value) = line.split_at_checked(colon).unwrap_or((line, b""));
    let value = value.get(1..).unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}
