//! What its head says an answer is: a stream or not, and how it is coded.

use http::{StatusCode, header, response};

use crate::dialect::Dialect;
use crate::wire::Framing;

fn content_type(head: &response::Parts) -> Option<&str> {
    head.headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// The framing of a response that is a stream, `spoken` being the dialect it is expected in.
pub(super) fn framing(head: &response::Parts, spoken: Option<Dialect>) -> Option<Framing> {
    if !head.status.is_success() || head.status == StatusCode::NO_CONTENT {
        return None;
    }
    let value = content_type(head)?;
    Framing::from_content_type(value).or_else(|| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        // A length is known of what is whole.
        let may_stream = !head.headers.contains_key(header::CONTENT_LENGTH);
        spoken.filter(|_| may_stream)?.framing(essence)
    })
}

/// Whether it is text of no particular kind, which a stream can hide behind.
pub(super) fn is_plain_text(head: &response::Parts) -> bool {
    content_type(head).is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/plain")
    })
}
