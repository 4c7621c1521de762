//! What is sent for one exchange of a recording: made once, and played for each request.

use bytes::Bytes;
use http::StatusCode;

use super::faults::Faults;
use crate::recording::{BodyFraming, Ending, Exchange, Fields, Piece, field, latin1_bytes, lists};

/// Headers of the recorded connection, which has ended. The framing of the body is written again.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    Chunks,
    /// The end of the connection.
    Close,
    /// The announced length, or that there is no body.
    Length,
}

/// The response of one exchange.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What requests it answers.
    pub(super) method: String,
    pub(super) path: String,
    /// When the head is sent, in microseconds after the request.
    pub(super) head_at: u64,
    /// The status line and the headers, without those that the delimiter needs.
    head: Vec<u8>,
    delimiter: Delimiter,
    /// The length of the body, as it was announced.
    length: Option<String>,
    /// There is no body.
    pub(super) is_empty: bool,
    /// The connection ended with the response.
    closes: bool,
    pub(super) gzip: bool,
    pub(super) loops: bool,
    pub(super) pieces: Vec<Piece>,
    pub(super) end_at: u64,
    pub(super) how: Ending,
}

impl Script {
    /// Makes the script of an exchange.
    ///
    /// # Errors
    /// If a fault does not fit the response.
    pub(super) fn new(exchange: &Exchange, faults: &Faults, loops: bool) -> Result<Self, String> {
        let response = &exchange.response;
        let mut script = Self {
            method: exchange.request.method.clone(),
            path: exchange.request.path().to_owned(),
            head_at: response.at,
            head: head(response.status, &response.reason, &response.fields),
            delimiter: match response.framing {
                BodyFraming::Chunked => Delimiter::Chunks,
                BodyFraming::Close => Delimiter::Close,
                BodyFraming::Length | BodyFraming::None => Delimiter::Length,
            },
            length: field(&response.fields, "content-length").map(ToOwned::to_owned),
            is_empty: response.framing == BodyFraming::None,
            closes: lists(&response.fields, "connection", "close"),
            gzip: false,
            loops: false,
            pieces: exchange.reads.clone(),
            end_at: exchange.end.at,
            how: exchange.end.how,
        };
        script.correct_length();
        if let Some(status) = faults.status {
            script.fail_with(status);
        }
        let has_body = script.pieces.iter().any(|piece| !piece.bytes.is_empty());
        script.loops = loops && has_body && faults.status.is_none();
        if faults.gzip && !script.is_empty {
            if faults.status.is_none()
                && let Some(coding) = field(&response.fields, "content-encoding")
            {
                return Err(format!(
                    "--fault `gzip`: exchange {} is compressed already ({coding})",
                    exchange.number
                ));
            }
            script.gzip = true;
            script
                .head
                .extend(b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
        }
        if (script.gzip || script.loops) && script.delimiter == Delimiter::Length {
            // Nobody knows the length.
            script.delimiter = Delimiter::Chunks;
            script.length = None;
        }
        Ok(script)
    }

    /// Announces the length that the body has. It is another one if somebody has changed the texts of the recording.
    fn correct_length(&mut self) {
        let is_whole = self.how == Ending::Clean && !self.is_empty;
        if self.delimiter == Delimiter::Length && is_whole {
            let length: u64 = self
                .pieces
                .iter()
                .map(|piece| piece.bytes.len() as u64)
                .sum();
            self.length = Some(length.to_string());
        }
    }

    /// Answers with an error instead.
    fn fail_with(&mut self, status: u16) {
        // Both the clients of OpenAI and of Anthropic read it.
        let body = serde_json::json!({
            "type": "error",
            "error": {
                "type": if status == 529 { "overloaded_error" } else { "api_error" },
                "code": "replayed_fault",
                "message": format!("weir replay: --fault status={status}"),
            },
        })
        .to_string();
        let reason = StatusCode::from_u16(status)
            .ok()
            .and_then(|code| code.canonical_reason())
            .unwrap_or("Replayed Fault");
        let kind = ("Content-Type".to_owned(), "application/json".to_owned());
        self.head = head(status, reason, &vec![kind]);
        self.delimiter = Delimiter::Length;
        self.length = Some(body.len().to_string());
        self.is_empty = false;
        self.end_at = self.head_at;
        self.how = Ending::Clean;
        self.pieces = vec![Piece {
            at: self.head_at,
            bytes: Bytes::from(body),
        }];
    }

    /// Returns how the body is delimited for a client, which may speak HTTP/1.0 only.
    pub(super) fn delimiter(&self, is_old: bool) -> Delimiter {
        if is_old && self.delimiter == Delimiter::Chunks {
            Delimiter::Close
        } else {
            self.delimiter
        }
    }

    /// Reports whether the connection ends with the response, although its client wants to keep it.
    pub(super) fn closes(&self, delimiter: Delimiter) -> bool {
        self.closes || delimiter == Delimiter::Close
    }

    /// Returns the head as it is sent.
    pub(super) fn head(&self, delimiter: Delimiter, closes: bool) -> Vec<u8> {
        let mut head = self.head.clone();
        match (delimiter, &self.length) {
            (Delimiter::Chunks, _) => head.extend(b"Transfer-Encoding: chunked\r\n"),
            (Delimiter::Length, Some(length)) => {
                head.extend(format!("Content-Length: {length}\r\n").as_bytes());
            }
            (Delimiter::Length, None) | (Delimiter::Close, _) => {}
        }
        if closes {
            head.extend(b"Connection: close\r\n");
        }
        head.extend(b"\r\n");
        head
    }
}

/// Returns the status line and the headers, without those of the connection.
fn head(status: u16, reason: &str, fields: &Fields) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} ").into_bytes();
    head.extend(latin1_bytes(reason));
    head.extend(b"\r\n");
    for (name, value) in fields {
        let is_of_connection = OF_CONNECTION
            .iter()
            .any(|one| name.eq_ignore_ascii_case(one))
            || lists(fields, "connection", name);
        if !is_of_connection {
            head.extend(name.as_bytes());
            head.extend(b": ");
            head.extend(latin1_bytes(value));
            head.extend(b"\r\n");
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Ended, Request, Response};

    fn exchange(fields: &[(&str, &str)], framing: BodyFraming) -> Exchange {
        Exchange {
            number: 1,
            request: Request {
                method: "POST".into(),
                target: "/a?b".into(),
                ..Request::default()
            },
            response: Response {
                at: 5,
                status: 200,
                reason: "OK".into(),
                fields: fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                framing,
            },
            reads: vec![Piece {
                at: 6,
                bytes: Bytes::from_static(b"abc"),
            }],
            end: Ended {
                at: 7,
                how: Ending::Clean,
                reason: None,
            },
        }
    }

    fn shown(script: &Script, is_old: bool) -> String {
        let delimiter = script.delimiter(is_old);
        String::from_utf8(script.head(delimiter, script.closes(delimiter))).unwrap()
    }

    #[test]
    fn a_head_is_as_it_was_without_the_old_connection() {
        let fields = [
            ("content-type", "text/event-stream"),
            ("connection", "keep-alive, x-hop"),
            ("X-Hop", "1"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "[redacted]"),
        ];
        let one = exchange(&fields, BodyFraming::Chunked);
        let script = Script::new(&one, &Faults::default(), false).unwrap();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nset-cookie: [redacted]\r\n";
        assert_eq!(
            shown(&script, false),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n")
        );
        assert_eq!(
            shown(&script, true),
            format!("{head}Connection: close\r\n\r\n")
        );
        assert_eq!((script.path.as_str(), script.head_at), ("/a", 5));
    }

    #[test]
    fn a_body_of_another_length_is_chunked() {
        let one = exchange(&[("content-length", "3")], BodyFraming::Length);
        let plain = Script::new(&one, &Faults::default(), false).unwrap();
        assert!(shown(&plain, false).contains("Content-Length: 3\r\n"));
        let gzip = Faults {
            gzip: true,
            ..Faults::default()
        };
        for (faults, loops) in [(&gzip, false), (&Faults::default(), true)] {
            let script = Script::new(&one, faults, loops).unwrap();
            let head = shown(&script, false);
            assert!(
                head.contains("chunked") && !head.contains("Content-Length"),
                "{head}"
            );
        }
        let coded = exchange(&[("content-encoding", "br")], BodyFraming::Close);
        assert!(
            Script::new(&coded, &gzip, false)
                .unwrap_err()
                .contains("br")
        );
    }

    #[test]
    fn a_body_that_was_changed_has_its_own_length() {
        let announced = |how| {
            let mut one = exchange(&[("content-length", "9")], BodyFraming::Length);
            one.end.how = how;
            shown(
                &Script::new(&one, &Faults::default(), false).unwrap(),
                false,
            )
        };
        let head = announced(Ending::Clean);
        assert!(head.contains("Content-Length: 3\r\n"), "{head}");
        let head = announced(Ending::Truncated);
        assert!(head.contains("Content-Length: 9\r\n"), "{head}");
    }

    #[test]
    fn an_error_takes_the_place_of_the_response() {
        let one = exchange(&[("set-cookie", "a")], BodyFraming::Chunked);
        let faults = Faults {
            status: Some(529),
            ..Faults::default()
        };
        let script = Script::new(&one, &faults, true).unwrap();
        let head = shown(&script, false);
        assert!(
            head.starts_with("HTTP/1.1 529 Replayed Fault\r\nContent-Type: application/json\r\n")
        );
        assert!(!head.contains("set-cookie") && !script.loops);
        let length = format!("Content-Length: {}\r\n", script.pieces[0].bytes.len());
        assert!(head.contains(&length), "{head}");
    }
}
