//! Recordings of what agents answer: one file with the head, the bytes and the times of each response.
//!
//! `docs/recordings.md` describes the format. A file consists of JSON lines. Each line is complete by itself, so a file
//! that was cut off can still be read. Reading and writing are pure: the callers pass in the time, and own the file.

mod lines;
pub mod message;
pub mod read;
pub mod redact;
pub mod response_reader;
pub mod write;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The version of the format, in the first line of each file.
pub const VERSION: u32 = 1;

/// The headers of a message, in order: name and value as they were sent. A value has one character for each byte
/// (ISO 8859-1).
pub type Fields = Vec<(String, String)>;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The exchanges, in the order in which their responses began.
    pub exchanges: Vec<Exchange>,
}

/// A request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The number of the exchange in the file.
    pub number: u64,
    /// What was asked.
    pub request: Request,
    /// The head of the response.
    pub response: Response,
    /// The body of the response, in the pieces in which it came.
    pub reads: Vec<Piece>,
    /// How the response ended.
    pub end: Ended,
}

/// The head of a request, without its credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The headers.
    pub fields: Fields,
    /// The dialect that the request asks for, by its head and its body, if that is known.
    pub asks_for: Option<String>,
}

impl Request {
    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// Returns the query without its question mark, empty if there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// When it came, in microseconds after the request was sent.
    pub at: u64,
    /// The status.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub reason: String,
    /// The headers.
    pub fields: Fields,
    /// What delimits the body.
    pub framing: BodyFraming,
}

/// Some bytes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When they came, in microseconds after the request was sent.
    pub at: u64,
    /// The bytes, without the framing of the transfer, and still compressed if the body is.
    pub bytes: Bytes,
}

/// How a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When, in microseconds after the request was sent.
    pub at: u64,
    /// How.
    pub how: Ending,
    /// Why a body is incomplete, if that is known.
    pub reason: Option<String>,
}

impl Ended {
    /// Reports whether the recording ended before the response did, so that nobody knows how the response ended.
    pub fn is_of_recorder(&self) -> bool {
        let reasons = [CLIENT_LEFT, INTERRUPTED, MAX_SIZE, UNFINISHED, UPGRADED];
        self.reason
            .as_deref()
            .is_some_and(|reason| reasons.contains(&reason))
    }
}

/// The reason of an end: the connection was closed before the body was complete.
pub const CLOSED: &str = "closed";
/// The reason of an end: the client of a tap left.
pub const CLIENT_LEFT: &str = "client_left";
/// The reason of an end: the recorder was stopped.
pub const INTERRUPTED: &str = "interrupted";
/// The reason of an end: the framing of the body is malformed.
pub const MALFORMED: &str = "malformed";
/// The reason of an end: the file has reached its largest size.
pub const MAX_SIZE: &str = "max_size";
/// The reason of an end: the file itself ends before it.
pub const UNFINISHED: &str = "unfinished";
/// The reason of an end: the connection is no longer HTTP.
pub const UPGRADED: &str = "upgraded";

/// The kinds of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The body was complete.
    Clean,
    /// The connection broke.
    Reset,
    /// The body was not complete.
    Truncated,
}

impl Ending {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
        }
    }
}

/// What delimits a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// Chunks.
    Chunked,
    /// The end of the connection.
    Close,
    /// `Content-Length`.
    Length,
    /// There is no body.
    None,
}

impl BodyFraming {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chunked => "chunked",
            Self::Close => "close",
            Self::Length => "length",
            Self::None => "none",
        }
    }
}

/// Returns the first value of a header.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields
        .iter()
        .find(|(one, _)| one.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Reports whether a header that is a list contains `word`.
pub fn lists(fields: &Fields, name: &str, word: &str) -> bool {
    fields
        .iter()
        .filter(|(one, _)| one.eq_ignore_ascii_case(name))
        .flat_map(|(_, value)| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(word))
}

/// Returns the headers as a map, without those that HTTP does not allow.
pub fn header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(&latin1_bytes(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

/// Returns the text with one character for each byte.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the bytes of such a text. A character that is no byte becomes a question mark.
pub fn latin1_bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|one| u8::try_from(u32::from(one)).unwrap_or(b'?'))
        .collect()
}
