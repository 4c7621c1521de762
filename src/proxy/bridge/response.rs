//! What a response is for the client of a bridge: a stream, or why there is none.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body::Body as _;
use serde_json::Value;
use tokio::time::timeout;

use crate::bridge::{Answer, Refusal};
use crate::reply::body::Body;
use crate::reply::head::STREAM_ID;
use crate::session::stream_id::StreamId;

/// Maximum number of bytes of an answer that is no stream: it only has to say what went wrong.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// How long such an answer may take to arrive.
const REFUSAL_TIME: Duration = Duration::from_secs(10);
/// Maximum number of characters of a message that is taken from it.
const MAX_MESSAGE: usize = 512;

/// Returns what the client is told of a stream that it has asked for by its id.
pub(super) fn answered(read: Option<Read>) -> Answer {
    match read {
        Some(Read::Stream(answer)) => answer,
        Some(Read::Whole { status, body, .. }) if status != StatusCode::NOT_FOUND => {
            Answer::Refused(refusal(status, &body, false))
        }
        // Nobody may learn whether there is none, or it is another caller's.
        None | Some(Read::Whole { .. }) => Answer::Refused(unknown()),
    }
}

/// A response, as far as a bridge cares.
pub(super) enum Read {
    Stream(Answer),
    Whole {
        status: StatusCode,
        body: Bytes,
        /// The response is Weir's own.
        is_own: bool,
    },
}

pub(super) async fn read(response: Response<Body>) -> Read {
    let (head, mut body) = response.into_parts();
    let (status, is_own) = (head.status, body.is_fixed());
    if body.is_stream() {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let is_sse = kind.trim_start().starts_with("text/event-stream");
        let id = text(STREAM_ID).and_then(StreamId::parse);
        return match body.into_stream() {
            Some(stream) => Read::Stream(Answer::Stream {
                id: id.unwrap_or_else(StreamId::random),
                is_sse,
                stream,
            }),
            None => Read::Whole {
                status,
                body: Bytes::new(),
                is_own,
            },
        };
    }
    let mut whole = BytesMut::new();
    let reading = async {
        while whole.len() < MAX_REFUSAL_BYTES {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        whole.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) | None => break,
            }
        }
    };
    // What has come by then says enough, or nothing does.
    let _ = timeout(REFUSAL_TIME, reading).await;
    Read::Whole {
        status,
        body: whole.freeze(),
        is_own,
    }
}

pub(super) fn unknown() -> Refusal {
    Refusal {
        code: "not_found".to_owned(),
        message: "No such stream.".to_owned(),
        status: None,
        is_retryable: false,
        by_agent: false,
    }
}

pub(super) fn no_stream(status: StatusCode) -> Refusal {
    Refusal {
        code: "not_a_stream".to_owned(),
        message: "The agent answered with no stream.".to_owned(),
        status: Some(status.as_u16()),
        is_retryable: false,
        by_agent: true,
    }
}

/// Reads from an answer why there is no stream.
pub(super) fn refusal(status: StatusCode, body: &[u8], by_agent: bool) -> Refusal {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = |pointers: &[&str]| {
        let mut found = pointers.iter().filter_map(|pointer| value.pointer(pointer));
        let text = found
            .find_map(Value::as_str)
            .filter(|text| !text.is_empty());
        text.map(|text| text.chars().take(MAX_MESSAGE).collect::<String>())
    };
    let code =
        texts(&["/code", "/error/code", "/error/type", "/type"]).filter(|code| !code.contains(':'));
    let message = texts(&[
        "/detail",
        "/message",
        "/error/message",
        "/error",
        "/detail/message",
        "/detail/0/msg",
    ]);
    let reason = status.canonical_reason().unwrap_or("an unknown status");
    Refusal {
        code: code.unwrap_or_else(|| format!("status_{}", status.as_u16())),
        message: message.unwrap_or_else(|| {
            let who = if by_agent { "The agent" } else { "Weir" };
            format!("{who} answered {} ({reason}).", status.as_u16())
        }),
        status: Some(status.as_u16()),
        is_retryable: status.is_server_error()
            || matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            ),
        by_agent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_found_in_the_forms_of_agents() {
        for (status, body, code, message) in [
            (
                503,
                "{\"type\":\"about:blank\",\"title\":\"T\",\"status\":503,\"detail\":\"ask again\",\"code\":\"overloaded\"}",
                "overloaded",
                "ask again",
            ),
            (
                401,
                "{\"error\":{\"message\":\"no key\",\"type\":\"auth\",\"code\":null}}",
                "auth",
                "no key",
            ),
            (400, "{\"error\":\"bad\"}", "status_400", "bad"),
            (404, "{\"detail\":\"Not Found\"}", "status_404", "Not Found"),
            (
                422,
                "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"Field required\"}]}",
                "status_422",
                "Field required",
            ),
            (
                502,
                "<html>",
                "status_502",
                "The agent answered 502 (Bad Gateway).",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = refusal(status, body.as_bytes(), true);
            assert_eq!((&*found.code, &*found.message), (code, message), "{body}");
            assert_eq!(found.is_retryable, status.is_server_error(), "{body}");
            assert_eq!(found.status, Some(status.as_u16()));
        }
        let long = format!("{{\"detail\":\"{}\"}}", "x".repeat(5_000));
        let found = refusal(StatusCode::BAD_REQUEST, long.as_bytes(), true);
        assert_eq!(found.message.len(), MAX_MESSAGE);
    }
}
