//! Decides from the head of a response whether it is a stream, and with which framing.

use http::{StatusCode, header, response};

use crate::dialect::{Dialect, detect};
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
        let spoken = spoken?;
        // A response with a known length is complete, and so not a stream, unless its head says that it is one.
        let may_stream = !head.headers.contains_key(header::CONTENT_LENGTH)
            || detect::from_answer(&head.headers) == Some(spoken);
        spoken.framing(essence).filter(|_| may_stream)
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

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[test]
    fn a_response_with_a_length_is_a_stream_if_its_head_says_so() {
        let kind = |fields: &[(&str, &str)], spoken| {
            let mut response = Response::builder();
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let (head, ()) = response.body(()).unwrap().into_parts();
            framing(&head, Some(spoken))
        };
        let (v4, length) = (("x-vercel-ai-data-stream", "v1"), ("content-length", "0"));
        let text = ("content-type", "text/plain; charset=utf-8");
        let lines = Some(Framing::Lines);
        assert_eq!(kind(&[text, v4], Dialect::VercelV4), lines);
        assert_eq!(kind(&[text, v4, length], Dialect::VercelV4), lines);
        assert_eq!(kind(&[text, length], Dialect::VercelV4), None);
        let json = ("content-type", "application/json");
        assert_eq!(kind(&[json], Dialect::Gemini), Some(Framing::JsonArray));
        assert_eq!(kind(&[json, length], Dialect::Gemini), None);
    }
}
