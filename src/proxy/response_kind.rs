//! Decides from the head of a response whether it is a stream, and with which framing.

use http::{StatusCode, header, response};

use crate::dialect::Dialect;
use crate::wire::Framing;

fn content_type(head: &response::Parts) -> Option<&str> {
    head.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Returns the framing of a response, or `None` if it is not a stream. `spoken` is the expected dialect.
pub(crate) fn framing(head: &response::Parts, spoken: Option<Dialect>) -> Option<Framing> {
    if !head.status.is_success() || head.status == StatusCode::NO_CONTENT || is_part(head) {
        return None;
    }
    let value = content_type(head)?;
    Framing::from_content_type(value).or_else(|| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        // A response with a known length is complete, and so not a stream.
        let may_stream = !head.headers.contains_key(header::CONTENT_LENGTH);
        spoken.filter(|_| may_stream)?.framing(essence)
    })
}

/// Reports whether a response is a range of something: the client puts the ranges together, byte for byte.
fn is_part(head: &response::Parts) -> bool {
    head.status == StatusCode::PARTIAL_CONTENT || head.headers.contains_key(header::CONTENT_RANGE)
}

/// Reports whether a response is plain text, which may turn out to be a stream.
pub(super) fn is_plain_text(head: &response::Parts) -> bool {
    !is_part(head)
        && content_type(head).is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("text/plain")
        })
}
