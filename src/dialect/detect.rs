//! Which dialect a stream speaks: first a guess from the request, then proof from the first event.
//!
//! The request decides first because the shape of an error must be known even if no event ever comes.

use http::HeaderMap;

use super::Dialect;
use super::first_frame::{self, FirstFrame};
use super::request::{Members, RequestHead};
use super::spec::{DialectSpec, Sign};
use crate::wire::Frame;

/// The dialect that the head of a request asks for, if it can be told.
pub fn from_request(head: &RequestHead<'_>) -> Option<Dialect> {
    surest(|spec| (spec.match_head)(head)).map(|(dialect, _)| dialect)
}

/// The dialect that a request asks for with its body, if its head only `hinted` at one or at none.
pub fn from_body(members: &Members, hinted: Option<Dialect>) -> Option<Dialect> {
    match hinted {
        Some(Dialect::A2a | Dialect::Mcp) => hinted,
        _ => surest(|spec| (spec.match_body)(members)).map_or(hinted, |(dialect, _)| Some(dialect)),
    }
}

/// The dialect that the head of an answer announces, if it does.
pub fn from_answer(headers: &HeaderMap) -> Option<Dialect> {
    surest(|spec| (spec.match_response)(headers)).map(|(dialect, _)| dialect)
}

/// The dialect that the first frame with data shows; [`Dialect::Opaque`] if it shows none.
pub fn from_frame(frame: &Frame<'_>) -> Dialect {
    let first = FirstFrame::new(frame);
    surest(|spec| (spec.match_first_frame)(&first)).map_or(Dialect::Opaque, |(dialect, _)| dialect)
}

/// Whether `frame` opens streams of several dialects; then the next frame tells. LangGraph's `metadata` looks like
/// LangServe's where the server does not count attempts, and both the AI SDK and tutorials begin with a bare
/// `start`.
pub fn is_ambiguous(frame: &Frame<'_>) -> bool {
    /// A bare start is shorter, however it is spaced.
    const MAX_BARE: usize = 32;
    let data = frame.data();
    match frame.name() {
        // Nothing but an id, to begin with.
        _ if data.is_empty() => true,
        b"metadata" => !FirstFrame::new(frame).has("attempt"),
        b"" if data.len() <= MAX_BARE => {
            let first = FirstFrame::new(frame);
            first.len() == 1 && first.word("type") == b"start"
        }
        _ => false,
    }
}

/// Whether `frame` may belong to a stream of `dialect`; if not, a guess from the request was wrong and
/// [`from_frame`] decides.
pub fn fits(dialect: Dialect, frame: &Frame<'_>) -> bool {
    frame.data.is_none() || dialect == Dialect::Opaque || first_frame::is_understood(dialect, frame)
}

fn surest(sign: impl Fn(&DialectSpec) -> Sign) -> Option<(Dialect, Sign)> {
    let signs = Dialect::ALL.map(|dialect| (dialect, sign(dialect.spec())));
    // Of equals the first: `max_by_key` would take the last.
    let best = signs.iter().map(|(_, sign)| *sign).max()?;
    let first = signs.into_iter().find(|(_, sign)| *sign == best)?;
    (best > Sign::None).then_some(first)
}
