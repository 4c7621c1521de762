//! Detects the dialect of a stream: first from the request, then from the first event.
//!
//! The request comes first because the shape of an error must be known even if no event ever
//! arrives.

use http::{HeaderMap, Method, header, request};

use super::Dialect;
pub use super::abridge::abridged;
use super::beside::{is_identity, varies};
use super::first_frame::{self, FirstFrame};
use super::request::{Members, RequestHead};
use super::spec::{DialectSpec, Sign};
use super::strands;
use crate::wire::Frame;

/// Returns the dialect that the head of a request asks for, if it can be detected.
pub fn from_request(head: &RequestHead<'_>) -> Option<Dialect> {
    surest(|spec| (spec.match_head)(head)).map(|(dialect, _)| dialect)
}

/// Returns the dialect that the body of a request asks for. `hinted` is the one that its head asks
/// for, if any.
pub fn from_body(members: &Members, hinted: Option<Dialect>) -> Option<Dialect> {
    match hinted {
        Some(Dialect::A2a | Dialect::Mcp) => hinted,
        _ => surest(|spec| (spec.match_body)(members)).map_or(hinted, |(dialect, _)| Some(dialect)),
    }
}

/// Returns the dialect that the head of a response announces, if any.
pub fn from_answer(headers: &HeaderMap) -> Option<Dialect> {
    surest(|spec| (spec.match_response)(headers)).map(|(dialect, _)| dialect)
}

/// Reports whether a request is one of those with which a client of MCP opens a stream for whatever may come: their
/// servers need not give it a session, and then nothing but the path tells it from others.
pub fn subscribes(parts: &request::Parts) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let wants_events = |accept: &http::HeaderValue| {
        let mut places = accept.as_bytes().windows(EVENTS.len());
        places.any(|place| place.eq_ignore_ascii_case(EVENTS))
    };
    let path = parts.uri.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    parts.method == Method::GET
        && matches!(path.rsplit('/').next(), Some("mcp" | "sse"))
        && parts
            .headers
            .get_all(header::ACCEPT)
            .iter()
            .any(wants_events)
}

/// Returns the dialect of the first frame with data, or [`Dialect::Opaque`] if the frame matches
/// none.
pub fn from_frame(frame: &Frame<'_>) -> Dialect {
    let first = FirstFrame::new(frame);
    surest(|spec| (spec.match_first_frame)(&first)).map_or(Dialect::Opaque, |(dialect, _)| dialect)
}

/// Returns the dialect of a frame from the middle of a stream, or [`Dialect::Opaque`] if none knows it.
pub fn from_any_frame(frame: &Frame<'_>) -> Dialect {
    let short = abridged(frame);
    let frame = short.as_ref().unwrap_or(frame);
    let first = from_frame(frame);
    if !first.is_opaque() && !first.is_generic() {
        return first;
    }
    let mut specific = Dialect::ALL
        .into_iter()
        .filter(|dialect| !dialect.is_opaque() && !dialect.is_generic());
    specific
        .find(|dialect| first_frame::is_understood(*dialect, frame))
        .unwrap_or(first)
}

/// Reports whether streams of several dialects may begin with `frame`; then the next frame decides.
/// LangGraph's `metadata` looks like LangServe's if the server does not count attempts, and both
/// the AI SDK, Strands and tutorials begin with a bare `start`, and Strands with a Python value written as text.
pub fn is_ambiguous(frame: &Frame<'_>) -> bool {
    /// A bare `start` is shorter, even with white space.
    const MAX_BARE: usize = 32;
    let data = frame.data();
    match frame.name() {
        // A first frame without data, such as one with only an id.
        _ if data.is_empty() => true,
        b"metadata" => !FirstFrame::new(frame).has("attempt"),
        b"" if strands::is_python(data) => true,
        b"" if data.len() <= MAX_BARE => {
            let first = FirstFrame::new(frame);
            first.len() == 1 && first.word("type") == b"start"
        }
        _ => false,
    }
}

/// The words for a ping, as an event name or as the `type` of an object. The Responses API sends `keepalive`,
/// Anthropic `ping`, others the rest.
const PINGS: [&[u8]; 5] = [
    b"ping",
    b"heartbeat",
    b"keepalive",
    b"keep-alive",
    b"keep_alive",
];

/// Reports whether `frame` only says that the upstream is alive, in whatever dialect: an event of that name, or a small
/// object of that type.
pub fn is_ping(frame: &Frame<'_>) -> bool {
    /// `type`, and a number or a time or both. Among more members there must be nothing else than such and ids.
    const MAX_ANY: usize = 3;
    let is_word = |word: &[u8]| PINGS.iter().any(|ping| ping.eq_ignore_ascii_case(word));
    if !matches!(frame.name(), b"" | b"message") {
        return is_word(frame.name());
    }
    // Nothing with an answer in it is as short.
    if frame.data().len() > 128 {
        return false;
    }
    let first = FirstFrame::new(frame);
    if !first.is_object() {
        return is_word(frame.data()) && !first.is_line();
    }
    // `{"type":"ping"}`, `{"event":"ping"}`, `{"ping":true}`.
    let named = |ping: &[u8]| std::str::from_utf8(ping).is_ok_and(|ping| first.has(ping));
    (first.len() <= MAX_ANY || first.all(says_nothing))
        && (is_word(first.word("type"))
            || is_word(first.word("event"))
            || (first.len() == 1 && PINGS.iter().any(|ping| named(ping))))
}

/// Reports whether a member of a ping says no more than the ping: what it is, its number, its time, or whose it is.
fn says_nothing(name: &[u8], raw: &[u8]) -> bool {
    matches!(name, b"type" | b"event") || varies(name, raw) || is_identity(name)
}

/// Reports whether `frame` may belong to a stream of `dialect`. If not, the detection from the
/// request was wrong, and [`from_frame`] decides.
pub fn fits(dialect: Dialect, frame: &Frame<'_>) -> bool {
    frame.data.is_none() || dialect == Dialect::Opaque || first_frame::has_place(dialect, frame)
}

fn surest(sign: impl Fn(&DialectSpec) -> Sign) -> Option<(Dialect, Sign)> {
    let signs = Dialect::ALL.map(|dialect| (dialect, sign(dialect.spec())));
    // Among equals, the first wins. `max_by_key` would take the last.
    let best = signs.iter().map(|(_, sign)| *sign).max()?;
    let first = signs.into_iter().find(|(_, sign)| *sign == best)?;
    (best > Sign::None).then_some(first)
}
