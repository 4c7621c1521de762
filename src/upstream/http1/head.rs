//! HTTP/1.1 heads: encodes requests, parses responses, and determines the length of a response body.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version, request, response};

use crate::upstream::error::Malformed;
use crate::upstream::fields::{MAX_FIELDS, content_length};

/// Maximum number of bytes in one response head.
pub(super) const MAX_HEAD_BYTES: usize = 256 * 1024;

/// About how many fields Weir adds to a response head: room for them is reserved, so that the map need not grow.
const ADDED: usize = 6;

/// What determines the end of a body (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The chunked transfer coding.
    Chunked,
    /// The end of the connection.
    Close,
    /// The number of its bytes.
    Exact(u64),
}

/// A response head, and what it says about its connection.
#[derive(Debug)]
pub struct Head {
    /// Status and headers.
    pub parts: response::Parts,
    /// The length of its body.
    pub length: Length,
    /// Whether the connection may carry another request afterwards.
    pub keep_alive: bool,
}

/// Writes a request head. `length` is the length of its body: 0 without a body, `None` (chunked) if it is unknown.
pub(super) fn encode(parts: &request::Parts, length: Option<u64>, out: &mut BytesMut) {
    let target = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    out.reserve(512);
    for part in [parts.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.put_slice(part.as_bytes());
    }
    for (name, value) in &parts.headers {
        // The length is written below, from what is really sent.
        if name != header::CONTENT_LENGTH {
            put_field(name.as_str(), value.as_bytes(), out);
        }
    }
    match length {
        None => put_field("transfer-encoding", b"chunked", out),
        // Only with these methods does a server expect a body, so that its absence must be stated (RFC 9110, 8.6).
        Some(0)
            if !matches!(parts.method, Method::POST | Method::PUT | Method::PATCH)
                && !parts.headers.contains_key(header::CONTENT_LENGTH) => {}
        Some(length) => put_field("content-length", length.to_string().as_bytes(), out),
    }
    out.put_slice(b"\r\n");
}

/// Writes the end of a chunked body, with its trailers.
pub(super) fn encode_end(trailers: Option<&HeaderMap>) -> Bytes {
    let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) else {
        return Bytes::from_static(b"0\r\n\r\n");
    };
    let mut out = BytesMut::from(&b"0\r\n"[..]);
    for (name, value) in trailers {
        put_field(name.as_str(), value.as_bytes(), &mut out);
    }
    out.put_slice(b"\r\n");
    out.freeze()
}

fn put_field(name: &str, value: &[u8], out: &mut BytesMut) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.put_slice(part);
    }
}

/// Parses one response head at the start of `bytes`. Returns the head and its size in bytes, or `None` if it is not
/// complete yet.
///
/// # Errors
/// If it is not an HTTP/1 response head, or the length of its body is ambiguous (response smuggling).
pub fn parse(bytes: &[u8], is_head: bool) -> Result<Option<(Head, usize)>, Malformed> {
    let mut found = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut found);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(Malformed("a head beyond 256 KiB")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("more than 256 fields")),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            return Err(Malformed("a field of the response head"));
        }
        Err(_) => return Err(Malformed("the status line")),
    };
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.version = match response.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let code = response.code.unwrap_or_default();
    parts.status = StatusCode::from_u16(code).map_err(|_| Malformed("the status code"))?;
    parts.headers = fields(response.headers)?;
    let keep_alive = keeps_alive(&parts);
    let length = length(&mut parts, is_head)?;
    let head = Head {
        keep_alive: keep_alive && length != Length::Close,
        parts,
        length,
    };
    Ok(Some((head, size)))
}

/// Parses the trailer section of a body.
///
/// # Errors
/// If it contains anything but headers, or too many of them.
#[inline(never)]
pub(super) fn trailers(section: &[u8]) -> Result<Option<HeaderMap>, Malformed> {
    if section.len() <= 2 {
        return Ok(None);
    }
    let mut found = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match httparse::parse_headers(section, &mut found) {
        Ok(httparse::Status::Complete((_, found))) => fields(found).map(Some),
        _ => Err(Malformed("the trailers of a chunked body")),
    }
}

/// Converts parsed headers to a map.
fn fields(found: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(found.len() + ADDED);
    for field in found {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Malformed("a field"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// Reports whether the version and `Connection` allow another request (keep-alive).
fn keeps_alive(parts: &response::Parts) -> bool {
    let says = |word: &str| {
        let values = parts.headers.get_all(header::CONNECTION).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    match parts.version {
        Version::HTTP_10 => says("keep-alive"),
        _ => !says("close"),
    }
}

/// Determines the length of the body. A message that gives it twice, or in a coding that is not supported, is refused,
/// because what follows it could be taken for another response (response smuggling).
fn length(parts: &mut response::Parts, is_head: bool) -> Result<Length, Malformed> {
    let length = content_length(&mut parts.headers)?;
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let chunked = match coding {
        None => false,
        Some(_) if codings.next().is_some() => return Err(TRANSFER_ENCODING),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        Some(_) => return Err(TRANSFER_ENCODING),
    };
    let status = parts.status;
    let is_empty = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match (chunked, length) {
        (true, Some(_)) => Err(Malformed("Content-Length beside Transfer-Encoding")),
        (true, None) if parts.version == Version::HTTP_10 => {
            Err(Malformed("Transfer-Encoding in HTTP/1.0"))
        }
        _ if is_empty => Ok(Length::Exact(0)),
        (true, None) => Ok(Length::Chunked),
        (false, Some(length)) => Ok(Length::Exact(length)),
        (false, None) => Ok(Length::Close),
    }
}

const TRANSFER_ENCODING: Malformed = Malformed("Transfer-Encoding other than chunked");

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn read(head: &str) -> Result<Head, Malformed> {
        let whole = format!("HTTP/1.1 200 OK\r\n{head}\r\n");
        let (head, size) = parse(whole.as_bytes(), false)?.expect("a whole head");
        assert_eq!(size, whole.len());
        Ok(head)
    }

    #[test]
    fn lengths() {
        let length = |head: &str| read(head).unwrap().length;
        assert_eq!(length("content-length: 7\r\n"), Length::Exact(7));
        assert_eq!(length("Transfer-Encoding: Chunked\r\n"), Length::Chunked);
        assert_eq!(length(""), Length::Close);
        let twice = read("content-length: 7\r\ncontent-length: 7, 7\r\n").unwrap();
        assert_eq!(
            twice.parts.headers.get_all("content-length").iter().count(),
            1
        );
        let empty = |whole: &str, is_head| {
            let (head, _) = parse(whole.as_bytes(), is_head).unwrap().unwrap();
            head.length
        };
        let claim = "content-length: 7\r\n\r\n";
        for status in ["204 No Content", "304 Not Modified", "103 Early Hints"] {
            let whole = format!("HTTP/1.1 {status}\r\n{claim}");
            assert_eq!(empty(&whole, false), Length::Exact(0), "{status}");
        }
        assert_eq!(
            empty(&format!("HTTP/1.1 200 OK\r\n{claim}"), true),
            Length::Exact(0)
        );
    }

    #[test]
    fn a_head_with_two_readings_is_refused() {
        for head in [
            "content-length: 1\r\ncontent-length: 2\r\n",
            "content-length: 1, 2\r\n",
            "content-length: -1\r\n",
            "content-length: +1\r\n",
            "content-length: 0x1\r\n",
            "content-length: 1 1\r\n",
            "content-length:\r\n",
            "content-length: 1,\r\n",
            "content-length: 18446744073709551621\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked, identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding: \"chunked\"\r\n",
            "transfer-encoding:\r\n",
            "transfer-encoding : chunked\r\n",
            "x: a\0b\r\n",
            "x: 1\r\n folded: 2\r\n",
            "nonsense\r\n",
        ] {
            assert!(read(head).is_err(), "{head:?}");
        }
        for whole in [
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/3.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 No\r\n\r\n",
            "HTTP/1.1 1000 No\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ] {
            assert!(parse(whole.as_bytes(), false).is_err(), "{whole:?}");
        }
    }

    #[test]
    fn connections_are_kept_as_both_versions_say() {
        let keeps = |whole: &str| {
            parse(whole.as_bytes(), false)
                .unwrap()
                .unwrap()
                .0
                .keep_alive
        };
        let length = "content-length: 1\r\n\r\n";
        assert!(keeps(&format!("HTTP/1.1 200 OK\r\n{length}")));
        assert!(!keeps(&format!(
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\n{length}"
        )));
        assert!(!keeps(&format!("HTTP/1.0 200 OK\r\n{length}")));
        assert!(keeps(&format!(
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n{length}"
        )));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"), "it ends with its body");
    }

    #[test]
    fn a_head_that_grows_is_bounded() {
        let long = [
            b"HTTP/1.1 200 OK\r\nx: ".as_slice(),
            &[b'x'; MAX_HEAD_BYTES],
        ]
        .concat();
        assert!(parse(&long, false).is_err());
        assert!(parse(&long[..1000], false).unwrap().is_none());
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "x: 1\r\n".repeat(MAX_FIELDS + 1)
        );
        assert!(parse(many.as_bytes(), false).is_err());
    }

    #[test]
    fn trailers_are_fields() {
        assert_eq!(trailers(b"\r\n").unwrap(), None);
        assert_eq!(
            trailers(b"x-sum: 1\r\n\r\n").unwrap().unwrap()["x-sum"],
            "1"
        );
        assert!(trailers(b"nonsense\r\n\r\n").is_err());
        assert!(trailers(&[&b"x:1\r\n".repeat(300), &b"\r\n"[..]].concat()).is_err());
    }

    #[test]
    fn a_request_says_its_length_once() {
        let encoded = |method: &str, length, named: Option<&str>| {
            let mut builder = Request::builder()
                .method(method)
                .uri("/a?b")
                .header("host", "h");
            if let Some(named) = named {
                builder = builder.header("content-length", named);
            }
            let mut out = BytesMut::new();
            encode(&builder.body(()).unwrap().into_parts().0, length, &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let head = "/a?b HTTP/1.1\r\nhost: h\r\n";
        assert_eq!(encoded("GET", Some(0), None), format!("GET {head}\r\n"));
        assert_eq!(
            encoded("POST", Some(0), None),
            format!("POST {head}content-length: 0\r\n\r\n")
        );
        assert_eq!(
            encoded("GET", Some(0), Some("0")),
            format!("GET {head}content-length: 0\r\n\r\n")
        );
        assert_eq!(
            encoded("PUT", Some(12), Some("12")),
            format!("PUT {head}content-length: 12\r\n\r\n")
        );
        assert_eq!(
            encoded("POST", None, None),
            format!("POST {head}transfer-encoding: chunked\r\n\r\n")
        );
    }
}
