//! Decodes server-sent events: splits bytes into blocks.
//!
//! Follows WHATWG HTML "Interpreting an event stream", with the divergences that a proxy needs:
//!
//! - A block with a name but no data is kept. LangServe ends its streams with one.
//! - A block that lacks its blank line at the end of the input is kept as unfinished.
//! - A lone `retry:` is sent as part of the next block.
//! - A field `error:` with a JSON object (older llama.cpp servers) becomes an error event.
//!
//! A block that is already canonical (LF, one space after each colon, no comment) is emitted as the bytes
//! that were read; other blocks are rewritten. Between reads only the unfinished block is buffered.

mod build;
mod large;
mod scan;

use std::borrow::Cow;

use memchr::{memchr2, memmem};

use super::{Error, Flow, Frame, Payload, json};
use crate::event::Span;
use build::Builder;
use large::Large;
use scan::{Scan, Shape, Step};

/// See [`Decoder::large_bytes`].
const LARGE_BYTES: u32 = 256 * 1024;

/// A decoder that splits bytes into blocks.
#[derive(Debug)]
#[repr(C)]
pub struct Decoder {
    /// The last byte read was a CR that ended a line. A following LF belongs to the same line end.
    skip_lf: bool,
    /// How many bytes of a byte order mark were read so far; `None` once the mark was removed or found absent.
    bom: Option<u8>,
    /// An unfinished block of more bytes than this is taken in as [`Large`].
    large_bytes: u32,
    limit: usize,
    comments: u64,
    /// The unfinished block. Invariant: the buffer starts at the beginning of a block.
    tail: Vec<u8>,
    scan: Scan,
    /// The value of a lone `retry` field, which is sent with the next block.
    retry: Option<Box<[u8]>>,
    /// The unfinished block, if it is large. `tail` is empty then.
    large: Option<Box<Large>>,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// The name of LangServe's last event, which has no data.
const DATALESS: &[u8] = b"end";

impl Decoder {
    /// Creates a decoder that rejects blocks larger than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            scan: Scan::default(),
            tail: Vec::new(),
            bom: Some(0),
            skip_lf: false,
            retry: None,
            limit,
            comments: 0,
            large: None,
            large_bytes: LARGE_BYTES,
        }
    }

    /// Passes each block that `chunk` completes to `sink`, until `sink` pauses. Returns how much of `chunk` is used;
    /// the rest must be passed again.
    ///
    /// # Errors
    /// If a block exceeds the size limit.
    pub fn feed<F: Into<Flow>>(
        &mut self,
        chunk: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<usize, Error> {
        let input = if self.skip_lf || self.bom.is_some() {
            self.strip_start(chunk)
        } else {
            chunk
        };
        if input.is_empty() {
            return Ok(chunk.len());
        }
        if let Some(large) = self.large.take() {
            return self.feed_large(large, input, chunk.len(), sink);
        }
        let waited = self.tail.len();
        let (used, flow) = if waited == 0 {
            let (used, flow) = self.blocks(input, sink)?;
            if flow == Flow::Go {
                let rest = input.get(used..).unwrap_or_default();
                self.tail.extend_from_slice(rest);
            }
            (used, flow)
        } else {
            let mut bytes = std::mem::take(&mut self.tail);
            bytes.extend_from_slice(input);
            let (used, flow) = self.blocks(&bytes, sink)?;
            if flow == Flow::Go {
                self.tail = match bytes.get(used..) {
                    Some(rest) if used > 0 => rest.to_vec(),
                    _ => bytes,
                };
            }
            (used, flow)
        };
        self.skip_lf = std::mem::take(&mut self.scan.ended_at_cr);
        match flow {
            Flow::Go => {
                self.check(self.tail.len())?;
                if self.tail.len() > self.large_bytes as usize && !self.scan.in_comment {
                    self.scan = Scan::default();
                    let tail = std::mem::take(&mut self.tail);
                    let large = Large::new(&tail, self.retry.as_deref(), self.limit);
                    self.large = Some(Box::new(large));
                }
                Ok(chunk.len())
            }
            // What waited holds no complete block, so the last one ended in this chunk.
            Flow::Pause => Ok(chunk.len() - (input.len() + waited - used)),
        }
    }

    /// Passes the complete blocks at the start of `bytes` to `sink`, until it pauses. Returns their total length.
    fn blocks<F: Into<Flow>>(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<(usize, Flow), Error> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            if rest.is_empty() {
                return Ok((used, Flow::Go));
            }
            let step = match self.scan.plain(rest) {
                Some((len, shape)) => Step::Block(len, shape),
                None => self.scan.next(rest),
            };
            used += match step {
                Step::More => return Ok((used, Flow::Go)),
                Step::Comment(len) => {
                    self.comments += 1;
                    len
                }
                Step::Skip(len) => len,
                Step::Block(len, shape) => {
                    self.check(len)?;
                    let frame = self.frame(rest.get(..len).unwrap_or_default(), shape);
                    if frame.map(&mut *sink).map(Into::into) == Some(Flow::Pause) {
                        return Ok((used + len, Flow::Pause));
                    }
                    len
                }
            };
        }
    }

    /// Returns the block that is unfinished at the end of the input, with the missing line ends added. Its
    /// `whole` is true if only line ends were missing. A block with a name but no data counts as cut off
    /// before its data, except for the one event that is known to have none.
    pub fn finish(&mut self) -> Option<Frame<'static>> {
        let mut rest = std::mem::take(&mut self.tail);
        let in_comment = std::mem::take(&mut self.scan).in_comment;
        let mut line_ended = matches!(rest.last(), Some(b'\n' | b'\r'));
        if let Some(large) = self.large.take() {
            // It begins with the field that waited for it.
            self.retry = None;
            (rest, line_ended) = large.into_unfinished();
        } else if rest.is_empty() || in_comment {
            return None;
        }
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

    /// Returns how many bytes of an unfinished block are held.
    pub fn pending(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.arrived());
        self.tail.len() + large
    }

    /// Returns how many comments were consumed since the last call.
    pub const fn take_comments(&mut self) -> u64 {
        std::mem::replace(&mut self.comments, 0)
    }

    /// Removes one byte order mark, and the LF of a CRLF that was split across two chunks.
    fn strip_start<'a>(&mut self, mut chunk: &'a [u8]) -> &'a [u8] {
        if self.skip_lf {
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        if !chunk.is_empty() {
            self.skip_lf = false;
        }
        let Some(waiting) = self.bom else {
            return chunk;
        };
        let seen = usize::from(waiting);
        let mark = BOM.get(seen..).unwrap_or_default();
        let matching = (mark.iter().zip(chunk))
            .take_while(|(mark, byte)| mark == byte)
            .count();
        if seen + matching == BOM.len() {
            self.bom = None;
        } else if matching == chunk.len() {
            // The mark has three bytes.
            self.bom = u8::try_from(seen + matching).ok();
        } else {
            // Not a byte order mark: the bytes that looked like its start are ordinary text.
            self.tail
                .extend_from_slice(BOM.get(..seen).unwrap_or_default());
            self.bom = None;
            return chunk;
        }
        chunk.get(matching..).unwrap_or_default()
    }

    fn frame<'a>(&mut self, block: &'a [u8], shape: Shape) -> Option<Frame<'a>> {
        if !shape.canonical || self.retry.is_some() {
            return self.rebuild(block);
        }
        let span = |range: Option<(usize, usize)>| range.and_then(|(from, to)| Span::new(from..to));
        let (name, data) = (span(shape.name), span(shape.data));
        (data.is_some() || name.is_some() || shape.id).then_some(Frame {
            block: Cow::Borrowed(block),
            name,
            data: data.map(Payload::InBlock),
            whole: true,
            raw: false,
        })
    }

    /// Rewrites a block in canonical form, line by line. Returns `None` if the block holds no event.
    fn rebuild(&mut self, raw: &[u8]) -> Option<Frame<'static>> {
        let retry = self.retry.take();
        let mut builder = Builder::new(raw.len(), retry.as_deref());
        let mut rest = raw;
        while let Some((line, after)) = split_line(rest) {
            rest = after;
            builder.line(line);
        }
        self.built(builder, retry)
    }

    /// Returns the block of a builder, or `None` if it holds no event. `retry` is the lone `retry` field before it,
    /// which then waits for the next block.
    fn built(&mut self, builder: Builder, retry: Option<Box<[u8]>>) -> Option<Frame<'static>> {
        builder
            .finish()
            .map_err(|own| self.retry = own.or(retry))
            .ok()
    }

    /// Takes in `input` while a large block is unfinished. `given` is the size of the chunk that it is the end of.
    fn feed_large<F: Into<Flow>>(
        &mut self,
        mut large: Box<Large>,
        input: &[u8],
        given: usize,
        sink: &mut impl FnMut(Frame<'_>) -> F,
    ) -> Result<usize, Error> {
        let fed = large.feed(input, self.limit);
        self.check(large.arrived())?;
        self.skip_lf = fed.at_cr && fed.used == input.len();
        if !fed.done {
            self.large = Some(large);
            return Ok(given);
        }
        let retry = self.retry.take();
        let frame = self.built(large.into_builder(), retry);
        let before = given - input.len() + fed.used;
        let rest = input.get(fed.used..).unwrap_or_default();
        let flow = frame.map(&mut *sink).map(Into::into);
        if rest.is_empty() || flow == Some(Flow::Pause) {
            return Ok(before);
        }
        self.feed(rest, sink).map(|used| before + used)
    }

    const fn check(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.limit {
            Err(Error::TooLarge { limit: self.limit })
        } else {
            Ok(())
        }
    }
}

/// Returns the first line of `bytes` without its line end, and the rest. Returns `None` if there is no line end.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr2(b'\n', b'\r', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    let crlf = rest.starts_with(b"\r\n");
    Some((line, rest.get(if crlf { 2 } else { 1 }..)?))
}

/// Reports whether `text` may be used in a comment or field value: it has no line end and no NUL.
pub fn is_one_line(text: &[u8]) -> bool {
    memmem::find(text, b"\0").is_none() && memchr2(b'\n', b'\r', text).is_none()
}

#[cfg(test)]
mod tests;
