//! HTTP/1.1 messages: their heads, and what delimits their bodies.

use thiserror::Error;

use super::{BodyFraming, Fields, field, latin1, lists};
use crate::wire::chunked::Chunked;

/// The most headers of one message.
const MAX_FIELDS: usize = 256;

/// Which part of a message is no HTTP/1.1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Malformed(pub String);

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: String,
    /// The request target, which is the path and the query.
    pub target: String,
    /// HTTP/1.0.
    pub is_old: bool,
    /// The headers.
    pub fields: Fields,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// HTTP/1.0.
    pub is_old: bool,
    /// The headers.
    pub fields: Fields,
}

impl RequestHead {
    /// Reports whether the connection ends with this exchange.
    pub fn closes(&self) -> bool {
        closes(self.is_old, &self.fields)
    }
}

impl ResponseHead {
    /// Reports whether the connection ends with this exchange.
    pub fn closes(&self) -> bool {
        closes(self.is_old, &self.fields)
    }
}

fn closes(is_old: bool, fields: &Fields) -> bool {
    lists(fields, "connection", "close") || (is_old && !lists(fields, "connection", "keep-alive"))
}

/// Reads the head of a request at the beginning of `bytes`, and returns its length, too; `None` if it is not complete.
///
/// # Errors
/// If it is no head of a request.
pub fn request_head(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Malformed(format!("the head of a request: {error}"))),
    };
    let head = RequestHead {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        is_old: parsed.version == Some(0),
        fields: owned(parsed.headers),
    };
    Ok(Some((head, length)))
}

/// Reads the head of a response at the beginning of `bytes`, and returns its length, too; `None` if it is not complete.
///
/// # Errors
/// If it is no head of a response.
pub fn response_head(bytes: &[u8]) -> Result<Option<(ResponseHead, usize)>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Malformed(format!("the head of a response: {error}"))),
    };
    let status = parsed.code.unwrap_or_default();
    if status < 100 {
        return Err(Malformed(format!(
            "the head of a response: expected a status from 100 to 999, not {status:03}"
        )));
    }
    let head = ResponseHead {
        status,
        reason: parsed.reason.unwrap_or_default().to_owned(),
        is_old: parsed.version == Some(0),
        fields: owned(parsed.headers),
    };
    Ok(Some((head, length)))
}

fn owned(fields: &[httparse::Header<'_>]) -> Fields {
    fields
        .iter()
        .map(|one| (one.name.to_owned(), latin1(one.value)))
        .collect()
}

/// Returns what delimits the body of a response to a request with this method.
pub fn framing(status: u16, fields: &Fields, method: &str) -> BodyFraming {
    if method == "HEAD" || status == 204 || status == 304 || status < 200 {
        BodyFraming::None
    } else if lists(fields, "transfer-encoding", "chunked") {
        BodyFraming::Chunked
    } else if field(fields, "content-length").is_some() {
        BodyFraming::Length
    } else {
        BodyFraming::Close
    }
}

/// Returns the announced length of a body, which may be announced several times.
///
/// # Errors
/// If it is no length, or there are different ones.
pub fn content_length(fields: &Fields) -> Result<Option<u64>, String> {
    let mut announced: Option<u64> = None;
    let values = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .flat_map(|(_, value)| value.split(','));
    for value in values {
        let value = value.trim();
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let length: Option<u64> = is_number.then(|| value.parse().ok()).flatten();
        let length = length.ok_or("the Content-Length is not a number of bytes")?;
        if announced.is_some_and(|other| other != length) {
            return Err("there are several Content-Lengths, which differ".to_owned());
        }
        announced = Some(length);
    }
    Ok(announced)
}

/// Takes the framing of a transfer from the bytes of a body.
#[derive(Debug)]
pub struct BodyReader(State);

#[derive(Debug)]
enum State {
    Chunked(Box<Chunked>),
    Close,
    Left(u64),
}

/// What became of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The bytes of the body.
    pub body: Vec<u8>,
    /// How many bytes belong to the message: all, unless it ended.
    pub used: usize,
    /// What is malformed after them.
    pub broken: Option<&'static str>,
}

impl BodyReader {
    /// Returns the reader of a request's body.
    ///
    /// # Errors
    /// If the length of the body is not clear.
    pub fn of_request(head: &RequestHead) -> Result<Self, Malformed> {
        if lists(&head.fields, "transfer-encoding", "chunked") {
            return Self::new(BodyFraming::Chunked, &head.fields);
        }
        if field(&head.fields, "transfer-encoding").is_some() {
            return Err(Malformed(
                "the transfer coding of a request: expected `chunked`".to_owned(),
            ));
        }
        let framing = match field(&head.fields, "content-length") {
            Some(_) => BodyFraming::Length,
            None => BodyFraming::None,
        };
        Self::new(framing, &head.fields)
    }

    /// Returns the reader of a body that is delimited like this.
    ///
    /// # Errors
    /// If the announced length is not valid.
    pub fn new(framing: BodyFraming, fields: &Fields) -> Result<Self, Malformed> {
        Ok(Self(match framing {
            BodyFraming::Chunked => State::Chunked(Box::default()),
            BodyFraming::Close => State::Close,
            BodyFraming::Length => {
                State::Left(content_length(fields).map_err(Malformed)?.unwrap_or(0))
            }
            BodyFraming::None => State::Left(0),
        }))
    }

    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) -> Taken {
        match &mut self.0 {
            State::Close => Taken {
                body: bytes.to_vec(),
                used: bytes.len(),
                broken: None,
            },
            State::Left(left) => {
                let used = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= used as u64;
                Taken {
                    body: bytes.get(..used).unwrap_or_default().to_vec(),
                    used,
                    broken: None,
                }
            }
            State::Chunked(chunked) => {
                let mut copy = bytes.to_vec();
                let undone = chunked.undo(&mut copy);
                Taken {
                    body: copy.get(undone.body).unwrap_or_default().to_vec(),
                    used: undone.used,
                    broken: undone.broken.map(|malformed| malformed.0),
                }
            }
        }
    }

    /// Reports whether the body is complete. One that ends with its connection never is.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            State::Chunked(chunked) => chunked.is_done(),
            State::Close => false,
            State::Left(left) => *left == 0,
        }
    }

    /// Reports whether the body is complete if the connection ends here.
    pub fn may_close(&self) -> bool {
        matches!(self.0, State::Close) || self.is_done()
    }
}

/// Checks a method.
///
/// # Errors
/// If it is not valid.
pub fn check_method(method: &str) -> Result<(), String> {
    if is_token(method) {
        Ok(())
    } else {
        Err(format!("expected a method such as `POST`, not {method:?}"))
    }
}

/// Checks the target of a request.
///
/// # Errors
/// If it is not a path.
pub fn check_target(target: &str) -> Result<(), String> {
    let is_path = target.starts_with('/')
        // Clients should not send other characters than ASCII, but some do, and they do no harm.
        && !target.contains(|one: char| one.is_ascii_control() || one == ' ');
    if is_path || target == "*" {
        Ok(())
    } else {
        Err(format!(
            "expected a target that begins with `/`, such as `/v1/chat/completions`, not {target:?}"
        ))
    }
}

/// Checks the name of a header.
///
/// # Errors
/// If it is not valid.
pub fn check_name(name: &str) -> Result<(), String> {
    if is_token(name) {
        Ok(())
    } else {
        Err(format!("expected the name of a header, not {name:?}"))
    }
}

/// Checks the value of the header `name`, or another text in a line of a head.
///
/// # Errors
/// If it has a line break, or another character that HTTP does not allow.
pub fn check_value(name: &str, value: &str) -> Result<(), String> {
    // Characters above ASCII stand for bytes of any encoding.
    let fits = |one: char| matches!(one, '\t' | ' '..='~' | '\u{80}'..='\u{ff}');
    if value.chars().all(fits) {
        Ok(())
    } else {
        Err(format!(
            "the value of `{name}` has a line break or another character that HTTP does not allow"
        ))
    }
}

fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = b"POST /v1 HTTP/1.1\r\nHost: a\r\nX-Odd: caf\xe9\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..text.len() - 2 {
            assert_eq!(request_head(&text[..cut]).unwrap(), None, "{cut}");
        }
        let (head, used) = request_head(text).unwrap().unwrap();
        assert_eq!(
            (head.method.as_str(), head.target.as_str()),
            ("POST", "/v1")
        );
        assert_eq!(used, text.len() - 2);
        assert_eq!(field(&head.fields, "x-odd"), Some("caf\u{e9}"));
        assert!(!head.closes() && !head.is_old);
        let mut body = BodyReader::of_request(&head).unwrap();
        assert!(!body.is_done());
        assert_eq!(body.take(b"{}GET").used, 2);
        assert!(body.is_done());
        let (head, _) = response_head(b"HTTP/1.0 529 \r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status, head.reason.as_str()), (529, ""));
        assert!(head.closes());
        assert!(response_head(b"SSH-2.0\r\n").is_err());
        assert!(response_head(b"HTTP/1.1 099 Odd\r\n\r\n").is_err());
    }

    #[test]
    fn characters_that_http_does_not_allow_are_refused() {
        for good in ["", "a b\t~", "\u{e2}\u{80}\u{94}"] {
            assert_eq!(check_value("x", good), Ok(()), "{good:?}");
        }
        for wrong in ["a\r\nb: c", "\0", "\u{7f}", "\u{2014}"] {
            assert!(check_value("x", wrong).is_err(), "{wrong:?}");
        }
        assert!(check_target("/a?b=[redacted]").is_ok() && check_target("*").is_ok());
        assert!(check_target("/a\u{3000}b").is_ok());
        assert!(check_target("/a b").is_err() && check_target("a").is_err());
        assert!(check_name("x-y").is_ok() && check_name("x y").is_err());
        assert!(check_method("GET").is_ok() && check_method("").is_err());
    }

    #[test]
    fn the_framing_is_taken_off_however_the_bytes_are_cut() {
        let fields = vec![("Transfer-Encoding".to_owned(), "chunked".to_owned())];
        assert_eq!(framing(200, &fields, "GET"), BodyFraming::Chunked);
        let wire = b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\nHTTP";
        for size in 1..wire.len() {
            let mut reader = BodyReader::new(BodyFraming::Chunked, &fields).unwrap();
            let (mut body, mut used) = (Vec::new(), 0);
            for part in wire.chunks(size) {
                let taken = reader.take(part);
                assert_eq!(taken.broken, None);
                body.extend(taken.body);
                used += taken.used;
                if reader.is_done() {
                    break;
                }
                assert!(!reader.may_close());
            }
            assert_eq!(
                (body.as_slice(), used),
                (b"hello!".as_slice(), wire.len() - 4)
            );
        }
    }

    #[test]
    fn what_delimits_a_body_depends_on_status_and_method() {
        let length = vec![("content-length".to_owned(), "3".to_owned())];
        let none = Vec::new();
        assert_eq!(framing(200, &length, "HEAD"), BodyFraming::None);
        assert_eq!(framing(204, &none, "GET"), BodyFraming::None);
        assert_eq!(framing(200, &length, "GET"), BodyFraming::Length);
        assert_eq!(framing(200, &none, "GET"), BodyFraming::Close);
        let announced = |values: &[&str]| {
            let fields = values
                .iter()
                .map(|value| ("Content-Length".to_owned(), (*value).to_owned()))
                .collect();
            content_length(&fields)
        };
        assert_eq!(announced(&["3, 3", "3"]), Ok(Some(3)));
        assert_eq!(announced(&[]), Ok(None));
        for wrong in [&["+3"][..], &["3", "4"], &["3, 4"], &[""], &["3,"]] {
            assert!(announced(wrong).is_err(), "{wrong:?}");
        }
    }
}
