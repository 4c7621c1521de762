//! Which dialect a stream speaks: by its request, and by its first event.

use http::HeaderMap;

use super::{Dialect, convention};
use crate::wire::Frame;
use crate::wire::json;

/// What the request says. The strongest evidence, and the only one before the upstream has answered.
pub fn from_request(path: &str, headers: &HeaderMap) -> Option<Dialect> {
    let path = path.trim_end_matches('/');
    if path.ends_with("/chat/completions") {
        return Some(Dialect::OpenAiChat);
    }
    if path.ends_with("/v1/messages") || headers.contains_key("anthropic-version") {
        return Some(Dialect::Anthropic);
    }
    if path.ends_with("/api/chat") || path.ends_with("/api/generate") {
        return Some(Dialect::Ollama);
    }
    let in_runs =
        path.ends_with("/stream") && (path.contains("/runs/") || path.contains("/threads/"));
    if in_runs || path.ends_with("/runs/stream") {
        return Some(Dialect::LangGraph);
    }
    None
}

/// What the first event shows.
pub fn from_frame(frame: &Frame) -> Dialect {
    let data = frame.data();
    let member = |name: &str| {
        json::string_at(data, &[name])
            .and_then(|range| data.get(range))
            .unwrap_or_default()
    };
    match frame.name() {
        b"message_start" if member("type") == b"message_start" => return Dialect::Anthropic,
        b"metadata" if json::string_at(data, &["run_id"]).is_some() => return Dialect::LangGraph,
        b"data" => return Dialect::LangServe,
        name if name.starts_with(b"messages") || name == b"values" || name == b"updates" => {
            return Dialect::LangGraph;
        }
        _ => {}
    }
    if member("object") == b"chat.completion.chunk" {
        return Dialect::OpenAiChat;
    }
    if frame.name().is_empty()
        && !member("model").is_empty()
        && memchr::memmem::find(data, b"\"done\":").is_some()
    {
        return Dialect::Ollama;
    }
    if convention::is_one(frame) {
        Dialect::Convention
    } else {
        Dialect::Opaque
    }
}

/// Whether the first event can be of the dialect that the request announced.
pub fn fits(dialect: Dialect, frame: &Frame) -> bool {
    let data = frame.data();
    let has = |needle: &[u8]| memchr::memmem::find(data, needle).is_some();
    match dialect {
        Dialect::Anthropic => !frame.name().is_empty() && has(b"\"type\""),
        Dialect::LangGraph => !frame.name().is_empty(),
        Dialect::LangServe => matches!(frame.name(), b"metadata" | b"data" | b"error" | b"end"),
        Dialect::Ollama => has(b"\"done\"") || has(b"\"error\""),
        Dialect::OpenAiChat => {
            has(b"\"choices\"") || has(b"\"error\"") || data.starts_with(b"[DONE]")
        }
        Dialect::Convention | Dialect::Opaque => true,
    }
}

/// After `metadata` with a `run_id`, LangServe and LangGraph look alike; the path tells them apart.
pub fn is_langserve_path(path: &str) -> bool {
    ["/stream", "/stream_log", "/stream_events"]
        .iter()
        .any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::frame;

    #[test]
    fn requests_name_their_dialect() {
        let of = |path: &str| from_request(path, &HeaderMap::new());
        assert_eq!(of("/v1/chat/completions"), Some(Dialect::OpenAiChat));
        assert_eq!(of("/v1/messages"), Some(Dialect::Anthropic));
        assert_eq!(of("/api/generate"), Some(Dialect::Ollama));
        assert_eq!(of("/threads/1/runs/stream"), Some(Dialect::LangGraph));
        assert_eq!(of("/agent"), None);
    }

    #[test]
    fn first_events_name_their_dialect() {
        for (block, dialect) in [
            (
                "data: {\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\n",
                Dialect::OpenAiChat,
            ),
            (
                "event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
                Dialect::Anthropic,
            ),
            (
                "event: metadata\ndata: {\"run_id\":\"r\"}\n\n",
                Dialect::LangGraph,
            ),
            ("event: data\ndata: \"x\"\n\n", Dialect::LangServe),
            ("{\"model\":\"m\",\"done\":false}\n", Dialect::Ollama),
            (
                "data: {\"type\":\"token\",\"content\":\"a\"}\n\n",
                Dialect::Convention,
            ),
            ("data: {\"tick\":1}\n\n", Dialect::Opaque),
        ] {
            assert_eq!(from_frame(&frame(block)), dialect, "{block}");
        }
    }
}
