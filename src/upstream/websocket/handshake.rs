//! The opening handshake (RFC 6455, 4.1) as a client performs it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version, request, response};

use crate::upstream::accept::{accepting, lists};
use crate::upstream::error::Malformed;
use crate::upstream::fields::strip_hop_by_hop;

/// Fields of the client's request that the handshake does not have: those of its body, which becomes a message, of the
/// answer's form, and of a WebSocket of its own.
const NOT_ASKED: [HeaderName; 13] = [
    header::ACCEPT,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::RANGE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::TRAILER,
];

/// Fields of the agent's 101 that the stream does not have, besides those of its connection.
const NOT_ANSWERED: [HeaderName; 6] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
];

/// Turns a client's request into one for a WebSocket, and returns its key; `None` if the system has no random bytes.
/// Extensions are not offered: compressed messages would have to be unpacked, and secrets in them could be guessed from
/// their sizes.
pub(in crate::upstream) fn ask(parts: &mut request::Parts) -> Option<HeaderValue> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    let key = HeaderValue::from_str(&BASE64_STANDARD.encode(random)).ok()?;
    for name in &NOT_ASKED {
        parts.headers.remove(name);
    }
    parts.method = Method::GET;
    parts.headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
    let version = HeaderValue::from_static("13");
    parts.headers.insert(header::SEC_WEBSOCKET_VERSION, version);
    Some(key)
}

/// Checks that a 101 accepts the request with `key`.
pub(in crate::upstream) fn check(headers: &HeaderMap, key: &HeaderValue) -> Result<(), Malformed> {
    if !lists(headers, &header::UPGRADE, b"websocket")
        || !lists(headers, &header::CONNECTION, b"upgrade")
    {
        return Err(Malformed("a 101 to another protocol than WebSocket"));
    }
    let mut accepted = headers.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
    let accept = accepted.next().filter(|_| accepted.next().is_none());
    if accept.is_none_or(|accept| accept.as_bytes() != accepting(key).as_bytes()) {
        return Err(Malformed("the Sec-WebSocket-Accept of a 101"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        || headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
    {
        return Err(Malformed("a 101 with what was not offered"));
    }
    Ok(())
}

/// Turns the head of a 101 into that of a stream.
pub(in crate::upstream) fn answer(mut head: response::Parts) -> response::Parts {
    strip_hop_by_hop(&mut head.headers);
    for name in &NOT_ANSWERED {
        head.headers.remove(name);
    }
    let events = HeaderValue::from_static("text/event-stream; charset=utf-8");
    head.headers.insert(header::CONTENT_TYPE, events);
    head.status = StatusCode::OK;
    head.version = Version::HTTP_11;
    head
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    /// The example of RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");
    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    fn head(fields: &[(&str, &str)]) -> response::Parts {
        let mut response = Response::builder().status(101);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_becomes_a_handshake_with_its_credentials() {
        let request = Request::post("/chat?x=1")
            .header("authorization", "Bearer k")
            .header("cookie", "a=b")
            .header("x-request-id", "r")
            .header("content-type", "application/json")
            .header("content-length", "2")
            .header("expect", "100-continue")
            .header("sec-websocket-extensions", "permessage-deflate");
        let mut parts = request.body(()).unwrap().into_parts().0;
        let key = ask(&mut parts).unwrap();
        assert_eq!(BASE64_STANDARD.decode(key.as_bytes()).unwrap().len(), 16);
        assert_eq!(parts.method, Method::GET);
        let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "authorization",
                "cookie",
                "sec-websocket-key",
                "sec-websocket-version",
                "x-request-id"
            ]
        );
        assert_ne!(ask(&mut parts), Some(key), "each request has its own");
    }

    #[test]
    fn only_what_was_asked_is_accepted() {
        let checked =
            |fields: &[(&str, &str)]| check(&head(fields).headers, &HeaderValue::from_static(KEY));
        assert_eq!(checked(&[UPGRADE, CONNECTION, ACCEPT]), Ok(()));
        for fields in [
            &[CONNECTION, ACCEPT][..],
            &[UPGRADE, ACCEPT],
            &[UPGRADE, CONNECTION],
            &[UPGRADE, CONNECTION, ACCEPT, ACCEPT],
            &[("upgrade", "h2c"), CONNECTION, ACCEPT],
            &[UPGRADE, CONNECTION, ("sec-websocket-accept", "x")],
            &[
                UPGRADE,
                CONNECTION,
                ACCEPT,
                ("sec-websocket-extensions", "x"),
            ],
            &[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-protocol", "x")],
        ] {
            assert!(checked(fields).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn a_101_becomes_the_head_of_a_stream() {
        let cookie = ("set-cookie", "a=b");
        let head = answer(head(&[UPGRADE, CONNECTION, ACCEPT, cookie]));
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers.len(), 2, "{:?}", head.headers);
        assert_eq!(head.headers["set-cookie"], "a=b");
        assert_eq!(
            head.headers["content-type"],
            "text/event-stream; charset=utf-8"
        );
    }
}
