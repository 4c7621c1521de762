//! Which dialect a stream speaks: first a guess from the request, then proof from the first event.
//!
//! The request decides first because the shape of an error must be known even if no event ever comes.

use http::HeaderMap;

use super::reader::Reader;
use super::{Classifier, Dialect};
use crate::event::Class;
use crate::wire::json::Kind;
use crate::wire::{Frame, Payload};

/// The dialect that a request for `path` asks for, if it can be told.
pub fn from_request(path: &str, headers: &HeaderMap) -> Option<Dialect> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    let has = |name: &str| headers.contains_key(name);
    if path.contains(":streamGenerateContent") {
        Some(Dialect::Gemini)
    } else if path.ends_with("/chat/completions") || path.ends_with("/completions") {
        Some(Dialect::OpenAiChat)
    } else if path.ends_with("/v1/messages")
        || (has("anthropic-version") && path.ends_with("/messages"))
    {
        Some(Dialect::Anthropic)
    } else if path.ends_with("/api/chat") || path.ends_with("/api/generate") {
        Some(Dialect::Ollama)
    } else if is_langgraph_run(path) {
        Some(Dialect::LangGraph)
    } else if ["/stream", "/stream_log", "/stream_events"]
        .iter()
        .any(|end| path.ends_with(end))
    {
        Some(Dialect::LangServe)
    } else {
        None
    }
}

/// `/runs/stream`, `/threads/T/runs/stream`, `.../runs/R/stream`, `/threads/T/stream`.
fn is_langgraph_run(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next() == Some("stream")
        && match parts.next() {
            Some("runs") => true,
            Some(id) if !id.is_empty() => matches!(parts.next(), Some("runs" | "threads")),
            _ => false,
        }
}

/// The dialect that the first frame with data shows; [`Dialect::Opaque`] if it shows none.
pub fn from_frame(frame: &Frame<'_>) -> Dialect {
    let first = First::read(frame.data());
    let name = frame.name();
    let is_line = matches!(frame.data, Some(Payload::InBlock(span)) if span.start == 0);
    if let Some(first) = &first {
        if first.is_openai || (first.is_error && name.is_empty() && !is_line) {
            return Dialect::OpenAiChat;
        }
        if is_line && first.is_ollama {
            return Dialect::Ollama;
        }
        if first.is_astream {
            return Dialect::LangServe;
        }
        if first.is_gemini && name.is_empty() && !is_line {
            return Dialect::Gemini;
        }
        if first.is_foreign {
            return Dialect::Opaque;
        }
    }
    let is_object = first.is_some();
    let first = first.unwrap_or_default();
    let candidates: &[Dialect] = match name {
        // Lines that are no objects show nothing.
        b"" if is_line && !is_object => &[],
        b"" if frame.data().starts_with(b"[DONE]") => &[Dialect::OpenAiChat],
        b"" if first.is_anthropic => &[Dialect::Anthropic],
        b"data" | b"end" => &[Dialect::LangServe, Dialect::Convention],
        b"metadata" if first.has_attempt => &[Dialect::LangGraph],
        b"metadata" => &[Dialect::LangServe],
        b"error" if first.is_error => &[Dialect::Anthropic],
        // Words that the tutorials use, too.
        b"" | b"error" | b"ping" | b"tools" => &[Dialect::Convention],
        _ => &[Dialect::Anthropic, Dialect::LangGraph, Dialect::Convention],
    };
    candidates
        .iter()
        .copied()
        .find(|dialect| is_understood(*dialect, frame))
        .unwrap_or(Dialect::Opaque)
}

/// Whether `frame` opens streams of two dialects: LangGraph's `metadata` looks like LangServe's where the server
/// does not count attempts. The next frame tells.
pub fn is_ambiguous(frame: &Frame<'_>) -> bool {
    frame.name() == b"metadata" && !First::read(frame.data()).is_some_and(|first| first.has_attempt)
}

/// Whether `frame` may belong to a stream of `dialect`; if not, a guess from the request was wrong and
/// [`from_frame`] decides. Gemini's paths are its own, and its clients raise on what others tolerate.
pub fn fits(dialect: Dialect, frame: &Frame<'_>) -> bool {
    frame.data.is_none()
        || matches!(dialect, Dialect::Gemini | Dialect::Opaque)
        || is_understood(dialect, frame)
}

fn is_understood(dialect: Dialect, frame: &Frame<'_>) -> bool {
    Classifier::new(dialect).classify(frame).class != Class::Opaque
}

/// What the members of the first object give away.
#[derive(Debug, Default)]
struct First {
    has_attempt: bool,
    is_anthropic: bool,
    is_astream: bool,
    is_error: bool,
    /// A dialect with words of its own that are easily mistaken.
    is_foreign: bool,
    is_gemini: bool,
    is_ollama: bool,
    is_openai: bool,
}

impl First {
    fn read(data: &[u8]) -> Option<Self> {
        let mut first = Self::default();
        let (mut has_done, mut has_model) = (false, false);
        let (mut has_message_id, mut is_start) = (false, false);
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"choices" => first.is_openai |= reader.array(|reader, _| reader.skip())? > 0,
                b"object" => {
                    let word = reader.word()?;
                    first.is_openai |=
                        matches!(word, b"chat.completion.chunk" | b"text_completion");
                }
                b"error" => {
                    first.is_error |= reader.kind()? == Kind::Object;
                    reader.skip()?;
                }
                b"event" => first.is_astream |= reader.word()?.starts_with(b"on_"),
                b"ops" => {
                    first.is_astream |= reader.kind()? == Kind::Array;
                    reader.skip()?;
                }
                b"attempt" => {
                    first.has_attempt = true;
                    reader.skip()?;
                }
                b"model" => {
                    has_model = true;
                    reader.skip()?;
                }
                b"done" => {
                    has_done = true;
                    reader.skip()?;
                }
                b"candidates" => {
                    first.is_foreign = true;
                    reader.array(|reader, _| {
                        reader.object(|reader, key| {
                            first.is_gemini |= matches!(key, b"content" | b"finishReason");
                            reader.skip()
                        })?;
                        Some(())
                    })?;
                }
                b"jsonrpc" => {
                    first.is_foreign = true;
                    reader.skip()?;
                }
                b"messageId" => {
                    has_message_id = true;
                    reader.skip()?;
                }
                b"type" => {
                    let word = reader.word()?;
                    is_start = word == b"start";
                    first.is_anthropic = word == b"message_start";
                }
                _ => reader.skip()?,
            }
            Some(())
        })?;
        reader.end()?;
        // The AI SDK's streams begin like this; their `finish` may come early.
        first.is_foreign |= is_start && has_message_id;
        first.is_ollama = has_model && has_done;
        is_object.then_some(first)
    }
}
