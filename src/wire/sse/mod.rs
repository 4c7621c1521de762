//! Server-sent events: bytes to blocks.
//!
//! Follows WHATWG HTML "Interpreting an event stream", with the divergences a proxy needs: a block that
//! carries a name but no data is kept (LangServe ends its streams with one), a block without its blank
//! line at the end of the input is kept as unfinished, a lone `retry:` is glued to the next block, and a
//! field `error:` with a JSON object (older llama.cpp servers) becomes an error event.
//!
//! A block that is already canonical (LF, one space after each colon, no comment) leaves as a slice of
//! the bytes that came in; only others are written anew. Between reads only the unfinished tail is kept.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2, memmem};

use super::{Error, Frame, Payload, json};
use crate::event::Span;

/// Splits bytes into blocks.
#[derive(Debug)]
pub struct Decoder {
    scan: Scan,
    /// The unfinished block. Invariant: starts at the beginning of a block.
    tail: BytesMut,
    /// Bytes of the byte order mark seen so far; `None` once the first other byte was read.
    bom: Option<usize>,
    /// The last line ended at a CR that was the last byte read: a following LF belongs to it.
    skip_lf: bool,
    /// A `retry` field waiting for the next block.
    retry: Option<Bytes>,
    limit: usize,
    comments: u64,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// LangServe's last event.
const DATALESS: &[u8] = b"end";

impl Decoder {
    /// A decoder that refuses blocks beyond `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            scan: Scan::default(),
            tail: BytesMut::new(),
            bom: Some(0),
            skip_lf: false,
            retry: None,
            limit,
            comments: 0,
        }
    }

    /// Appends to `out` each block that `chunk` completes.
    pub fn feed(&mut self, mut chunk: Bytes, out: &mut Vec<Frame>) -> Result<(), Error> {
        self.strip_start(&mut chunk);
        if self.tail.is_empty() {
            loop {
                match self.scan.next(&chunk) {
                    Step::More => break,
                    Step::Comment(len) => self.comment(|| chunk.advance(len)),
                    Step::Skip(len) => chunk.advance(len),
                    Step::Block(len, shape) => {
                        let block = chunk.split_to(len);
                        self.block(block, shape, out)?;
                    }
                }
            }
            self.tail.extend_from_slice(&chunk);
        } else {
            let before = out.len();
            self.tail.extend_from_slice(&chunk);
            drop(chunk);
            loop {
                match self.scan.next(&self.tail) {
                    Step::More => break,
                    Step::Comment(len) => {
                        self.comments += 1;
                        self.tail.advance(len);
                    }
                    Step::Skip(len) => self.tail.advance(len),
                    Step::Block(len, shape) => {
                        let block = self.tail.split_to(len).freeze();
                        self.block(block, shape, out)?;
                    }
                }
            }
            if self.tail.is_empty() {
                // Lets go of the allocation that the blocks just handed out share.
                self.tail = BytesMut::new();
            } else if out.len() > before {
                // The same, of which only this is left.
                self.tail = BytesMut::from(&*self.tail);
            }
        }
        self.skip_lf = std::mem::take(&mut self.scan.ended_at_cr);
        self.check(self.tail.len())
    }

    /// The block that the end of the input leaves unfinished, completed and judged: `whole` is true when
    /// nothing but line ends was missing. A name alone was cut before its data, but for the one that is
    /// known to come without.
    pub fn finish(&mut self) -> Option<Frame> {
        let mut rest = std::mem::take(&mut self.tail);
        let in_comment = std::mem::take(&mut self.scan).in_comment;
        if rest.is_empty() || in_comment {
            return None;
        }
        let line_ended = matches!(rest.last(), Some(b'\n' | b'\r'));
        rest.extend_from_slice(b"\n\n");
        let frame = self.rebuild(&rest)?;
        let whole = match frame.data().trim_ascii_start().first() {
            _ if frame.data.is_none() => line_ended && frame.name() == DATALESS,
            Some(b'{' | b'"') => json::is_whole(frame.data()),
            Some(b'[') => {
                json::is_whole(frame.data())
                    && (line_ended || frame.data() == b"[DONE]" || frame.data().ends_with(b"]"))
            }
            _ => line_ended,
        };
        Some(Frame { whole, ..frame })
    }

    /// Comments consumed since the last call.
    pub const fn take_comments(&mut self) -> u64 {
        std::mem::replace(&mut self.comments, 0)
    }

    fn comment(&mut self, advance: impl FnOnce()) {
        self.comments += 1;
        advance();
    }

    /// Removes what belongs to the past: one byte order mark, the LF of a CRLF that was cut in two.
    fn strip_start(&mut self, chunk: &mut Bytes) {
        if self.skip_lf && chunk.first() == Some(&b'\n') {
            chunk.advance(1);
        }
        if !chunk.is_empty() {
            self.skip_lf = false;
        }
        let Some(seen) = self.bom else { return };
        let rest = BOM.get(seen..).unwrap_or_default();
        let matching = rest
            .iter()
            .zip(chunk.iter())
            .take_while(|(mark, byte)| mark == byte)
            .count();
        if seen + matching == BOM.len() {
            chunk.advance(matching);
            self.bom = None;
        } else if matching == chunk.len() {
            chunk.advance(matching);
            self.bom = Some(seen + matching);
        } else {
            // Not a mark after all: what looked like one is ordinary text.
            self.tail
                .extend_from_slice(BOM.get(..seen).unwrap_or_default());
            self.bom = None;
        }
    }

    fn block(&mut self, block: Bytes, shape: Shape, out: &mut Vec<Frame>) -> Result<(), Error> {
        self.check(block.len())?;
        if shape.canonical && self.retry.is_none() {
            let data = shape
                .data
                .and_then(|(start, end)| Span::new(start..end))
                .map(Payload::InBlock);
            let name = shape.name.and_then(|(start, end)| Span::new(start..end));
            if data.is_some() || name.is_some() || shape.id {
                out.push(Frame {
                    block,
                    name,
                    data,
                    whole: true,
                });
            }
        } else {
            out.extend(self.rebuild(&block));
        }
        Ok(())
    }

    /// Writes a block anew, line by line, in canonical form. `None` if nothing of it is an event.
    fn rebuild(&mut self, raw: &[u8]) -> Option<Frame> {
        let mut block = BytesMut::with_capacity(raw.len() + 16);
        let mut name = None;
        let mut payloads: Vec<(usize, usize)> = Vec::new();
        let mut has_id = false;
        let retry = self.retry.take();
        if let Some(retry) = &retry {
            put_field(&mut block, b"retry", retry);
        }
        let mut own_retry = None;
        let mut rest = raw;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            let (field, value) = split_field(line);
            match field {
                // A comment, or the blank line.
                b"" => {}
                b"data" => payloads.push(put_field(&mut block, field, value)),
                b"error" if value.first() == Some(&b'{') && json::is_whole(value) => {
                    let text = [b"{\"error\":", value, b"}"].concat();
                    payloads.push(put_field(&mut block, b"data", &text));
                }
                b"event" => {
                    let (start, end) = put_field(&mut block, field, value);
                    name = Span::new(start..end);
                }
                b"id" => {
                    if memchr(0, value).is_none() {
                        put_field(&mut block, field, value);
                        has_id = true;
                    }
                }
                b"retry" => own_retry = Some(Bytes::copy_from_slice(value)),
                _ => {
                    put_field(&mut block, field, value);
                }
            }
        }
        if payloads.is_empty() && name.is_none() && !has_id {
            self.retry = own_retry.or(retry);
            return None;
        }
        if let Some(retry) = own_retry {
            put_field(&mut block, b"retry", &retry);
        }
        block.put_u8(b'\n');
        let block = block.freeze();
        let data = match payloads.as_slice() {
            [] => None,
            [(start, end)] => Span::new(*start..*end).map(Payload::InBlock),
            many => {
                let lines: Vec<&[u8]> = many
                    .iter()
                    .filter_map(|(start, end)| block.get(*start..*end))
                    .collect();
                Some(Payload::Joined(Bytes::from(lines.join(&b'\n'))))
            }
        };
        Some(Frame {
            block,
            name,
            data,
            whole: true,
        })
    }

    const fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.limit {
            Err(Error::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

/// What the scanner knows about the unfinished block; offsets are relative to its first byte.
#[derive(Debug, Default)]
struct Scan {
    shape: Shape,
    line_start: usize,
    /// Bytes of the current line already searched for a line end.
    searched: usize,
    /// A comment at the start of a block is thrown away as it comes; this one has no end yet.
    in_comment: bool,
    /// The last line end found was a CR at the very end of the buffer.
    ended_at_cr: bool,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    canonical: bool,
    name: Option<(usize, usize)>,
    data: Option<(usize, usize)>,
    id: bool,
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

enum Step {
    /// A block of this many bytes, blank line included.
    Block(usize, Shape),
    /// A whole comment of this many bytes in front of the block.
    Comment(usize),
    /// No further line end.
    More,
    /// This many bytes mean nothing: a blank line, a part of a comment.
    Skip(usize),
}

/// Where the first line end is. A blank line is met as often as a long one.
fn line_end(rest: &[u8]) -> Option<usize> {
    match rest.first() {
        Some(b'\n' | b'\r') => Some(0),
        _ => memchr2(b'\n', b'\r', rest),
    }
}

impl Scan {
    /// Finds the next thing in `buffer`, which starts at the beginning of a block.
    fn next(&mut self, buffer: &[u8]) -> Step {
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
            // A second data line is joined by the rebuild.
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
            // Comments, `retry`, `error`, unknown fields: rare enough to write anew.
            self.canonical = false;
        }
    }
}

/// Writes `field: value` and returns where the value lies.
fn put_field(block: &mut BytesMut, field: &[u8], value: &[u8]) -> (usize, usize) {
    block.put_slice(field);
    block.put_slice(b": ");
    let start = block.len();
    block.put_slice(value);
    block.put_u8(b'\n');
    (start, start + value.len())
}

/// The first line of `bytes` without its end, and what follows; `None` without a line end.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr2(b'\n', b'\r', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    let crlf = rest.starts_with(b"\r\n");
    Some((line, rest.get(if crlf { 2 } else { 1 }..)?))
}

/// Field name and value of a line: the value loses one leading space.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else {
        return (line, b"");
    };
    let (field, value) = line.split_at_checked(colon).unwrap_or((line, b""));
    let value = value.get(1..).unwrap_or_default();
    (field, value.strip_prefix(b" ").unwrap_or(value))
}

/// Whether `text` may stand in a comment or field value: one line, no NUL.
pub fn is_one_line(text: &[u8]) -> bool {
    memmem::find(text, b"\0").is_none() && memchr2(b'\n', b'\r', text).is_none()
}

#[cfg(test)]
mod tests;
