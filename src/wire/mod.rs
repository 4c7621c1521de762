//! Decodes the bytes of a response into frames: detects the framing and defines what a frame is.
//!
//! The decoders are synchronous and accept input that is split at any byte. They emit frames in canonical
//! form (LF, one space after the colon, no byte order mark, no comments) and never change the payload.

mod array;
mod buffer;
pub mod chunked;
mod decoder;
pub mod encoding;
mod flow;
pub mod json;
pub mod json_complete;
mod json_nesting;
pub mod json_prefix;
mod lines;
pub mod members;
pub mod ndjson;
pub mod sse;
pub mod websocket;

use std::borrow::Cow;

use thiserror::Error;

use crate::event::Span;
pub use decoder::Decoder;
pub use flow::Flow;

/// How a stream separates its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON array, streamed element by element.
    JsonArray,
    /// A code, a colon and one JSON value per line.
    Lines,
    /// One JSON value per line.
    Ndjson,
    /// No framing, whatever the response announced: the bytes are passed on as they arrive.
    Raw,
    /// Server-sent events, as WHATWG HTML defines them.
    Sse,
}

impl Framing {
    /// Returns the framing that a `Content-Type` value announces, if it announces a stream.
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

    /// Detects the framing of a `text/plain` body from its first bytes. Returns `None` if they show none.
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

    /// Returns the name used in metrics and logs.
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

/// One block of the framing. It usually borrows the buffer that it was read into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The block as it is sent to the client, terminator included.
    pub block: Cow<'a, [u8]>,
    /// The value of the last `event` field.
    pub name: Option<Span>,
    /// The payload; `None` if the block has none.
    pub data: Option<Payload>,
    /// Whether the frame is complete: its block ended as the framing requires, or its payload was complete
    /// and only the terminator had to be added. Only the last frame of a stream can be incomplete.
    pub whole: bool,
    /// Whether the block holds bytes of a body without any framing.
    pub raw: bool,
}

/// Where a frame's payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// On one line of the block.
    InBlock(Span),
    /// Spread over several `data` lines, which are joined with LF here.
    Joined(Vec<u8>),
}

/// Returns the frame of a block that is in the canonical form of its framing.
pub fn canonical(framing: Framing, block: &[u8]) -> Frame<'_> {
    let mut name = None;
    let mut data = None;
    let mut start = 0;
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let at = |skip: usize| Span::new(start + skip..start + text.len());
        if framing != Framing::Sse {
            // An element of an array has a comma or a bracket before it.
            let skip = text.iter().position(|byte| *byte == b'{').unwrap_or(0);
            data = data.or_else(|| at(skip).map(Payload::InBlock));
        } else if let Some(value) = text.strip_prefix(b"data: ") {
            data = match data.take() {
                None => at(b"data: ".len()).map(Payload::InBlock),
                Some(Payload::InBlock(first)) => {
                    Some(Payload::Joined([first.of(block), value].join(&b'\n')))
                }
                Some(Payload::Joined(first)) => Some(Payload::Joined([&first, value].join(&b'\n'))),
            };
        } else if text.starts_with(b"event: ") {
            name = at(b"event: ".len());
        }
        start += line.len();
    }
    Frame {
        block: Cow::Borrowed(block),
        name,
        data,
        whole: true,
        raw: framing == Framing::Raw,
    }
}

impl Frame<'_> {
    /// Returns the frame with its own copy of the block.
    pub fn into_owned(self) -> Frame<'static> {
        Frame {
            block: Cow::Owned(self.block.into_owned()),
            ..self
        }
    }

    /// Returns a frame without anything.
    pub const fn empty() -> Self {
        Self {
            block: Cow::Borrowed(&[]),
            name: None,
            data: None,
            whole: true,
            raw: false,
        }
    }

    /// Returns the payload, empty if there is none.
    pub fn data(&self) -> &[u8] {
        match &self.data {
            Some(Payload::InBlock(span)) => span.of(&self.block),
            Some(Payload::Joined(joined)) => joined,
            None => &[],
        }
    }

    /// Returns the event name, empty if there is none.
    pub fn name(&self) -> &[u8] {
        self.name
            .map(|span| span.of(&self.block))
            .unwrap_or_default()
    }

    /// Converts a range of the payload to a range of the block. Returns `None` if the payload is not
    /// contiguous in the block.
    pub fn in_block(&self, range: std::ops::Range<usize>) -> Option<Span> {
        match self.data {
            Some(Payload::InBlock(data)) => Span::new(range)?.shifted(data.start as usize),
            _ => None,
        }
    }
}

/// Why bytes could not be decoded into frames.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// One event exceeds the size limit.
    #[error("one event exceeds max_event_bytes ({limit})")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}
