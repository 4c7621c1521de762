//! Bytes to frames: which framing a response has, and what one frame of it is.
//!
//! Decoders are synchronous values that survive any split of their input. What leaves them is framed
//! canonically (LF, one space after the colon, no BOM, no comments); the payload is never touched.

mod array;
pub mod chunked;
mod decoder;
pub mod encoding;
pub mod json;
pub mod json_complete;
mod lines;
pub mod members;
pub mod ndjson;
pub mod sse;

use std::borrow::Cow;

use thiserror::Error;

use crate::event::Span;
pub use decoder::Decoder;

/// How a stream separates its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON array, sent element by element.
    JsonArray,
    /// A code, a colon and one JSON value per line.
    Lines,
    /// One JSON value per line.
    Ndjson,
    /// None, whatever was announced: the bytes pass as they come.
    Raw,
    /// Server-sent events, as WHATWG HTML defines them.
    Sse,
}

impl Framing {
    /// The framing that a `Content-Type` value announces, if it announces a stream.
    pub fn from_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("text/event-stream") {
            return Some(Self::Sse);
        }
        let lines = [
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/stream+json",
        ];
        lines.into_iter().any(is).then_some(Self::Ndjson)
    }

    /// The framing that the first bytes of a `text/plain` body show, if they show one.
    pub fn from_first_bytes(bytes: &[u8]) -> Option<Self> {
        let text = bytes
            .strip_prefix(b"\xEF\xBB\xBF")
            .unwrap_or(bytes)
            .trim_ascii_start();
        if text.starts_with(b"{") {
            return Some(Self::Ndjson);
        }
        let fields: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
        fields
            .into_iter()
            .any(|field| text.starts_with(field))
            .then_some(Self::Sse)
    }

    /// The word used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonArray => "json_array",
            Self::Lines => "lines",
            Self::Ndjson => "ndjson",
            Self::Raw => "raw",
            Self::Sse => "sse",
        }
    }
}

/// One block of the framing, as a rule where it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The block as it is sent on, terminator included.
    pub block: Cow<'a, [u8]>,
    /// The value of the last `event` field.
    pub name: Option<Span>,
    /// The payload; `None` for a block without one.
    pub data: Option<Payload>,
    /// Whether the block ended as the framing demands, or was completed because its payload was whole.
    /// Only the last frame of a stream can be torn.
    pub whole: bool,
    /// Bytes of a body without any framing.
    pub raw: bool,
}

/// Where a frame's payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// On one line of the block.
    InBlock(Span),
    /// Spread over several `data` lines: here they are joined with LF.
    Joined(Vec<u8>),
}

impl Frame<'_> {
    /// The same, wherever it was read.
    pub fn into_owned(self) -> Frame<'static> {
        Frame {
            block: Cow::Owned(self.block.into_owned()),
            ..self
        }
    }

    /// The payload, empty if there is none.
    pub fn data(&self) -> &[u8] {
        match &self.data {
            Some(Payload::InBlock(span)) => span.of(&self.block),
            Some(Payload::Joined(joined)) => joined,
            None => &[],
        }
    }

    /// The event name, empty if there is none.
    pub fn name(&self) -> &[u8] {
        self.name
            .map(|span| span.of(&self.block))
            .unwrap_or_default()
    }

    /// A range of the payload as a range of the block; `None` when the payload is not contiguous there.
    pub fn in_block(&self, range: std::ops::Range<usize>) -> Option<Span> {
        match self.data {
            Some(Payload::InBlock(data)) => Span::new(range)?.shifted(data.start as usize),
            _ => None,
        }
    }
}

/// Why bytes are not a stream of frames.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// One event grew beyond its bound.
    #[error("one event exceeds max_event_bytes ({limit})")]
    TooLarge {
        /// The bound, bytes.
        limit: usize,
    },
}
