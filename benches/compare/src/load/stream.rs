//! One stream of the load: its request, and a check of the response.

use crate::ask::Ask;
use crate::net::Moved;
use crate::stamp::Stamp;
use crate::websocket::{self, Frames};

use super::Reader;
use super::body::Body;
use super::chunked::Chunked;
use super::wire::Wire;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) wire: Wire,
    pub(super) ask: Ask,
    pub(super) reader: Reader,
    request: Vec<u8>,
    written: usize,
    head: Vec<u8>,
    begun: bool,
    framing: Framing,
    body: Body,
}

/// How the data of a body are framed.
#[derive(Debug)]
enum Framing {
    Chunks(Chunked),
    Messages(Frames),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// The response head has arrived.
    Begins,
    /// The body has ended; `began` if the head arrived with it.
    Ended {
        began: bool,
        wrong: Vec<String>,
    },
    /// The response does not answer the request.
    Broken(String),
}

impl Stream {
    /// Prepares a request. With `in_body`, its body says what is asked, too.
    pub(super) fn new(wire: Wire, ask: Ask, reader: Reader, in_body: bool) -> Self {
        let (request, framing) = if ask.message > 0 {
            (upgrade(&ask), Framing::Messages(Frames::default()))
        } else {
            (post(&ask, in_body), Framing::Chunks(Chunked::default()))
        };
        Self {
            wire,
            ask,
            reader,
            request: request.into_bytes(),
            written: 0,
            head: Vec::new(),
            begun: false,
            framing,
            body: Body::default(),
        }
    }

    /// Reports whether part of the request is not written yet.
    pub(super) fn writing(&self) -> bool {
        self.written < self.request.len() || self.wire.waits()
    }

    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    pub(super) fn received(&self) -> u32 {
        self.body.received()
    }

    pub(super) fn write(&mut self) -> Progress {
        match self.wire.write(&self.request[self.written..]) {
            Moved::Bytes(count) => self.written += count,
            Moved::Nothing => {}
            Moved::Closed => return Progress::Broken("connection refused".to_owned()),
        }
        if self.reader == Reader::Stalled && !self.writing() {
            self.begun = true;
            return Progress::Begins;
        }
        Progress::Nothing
    }

    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(Stamp)) -> Progress {
        let mut progress = Progress::Nothing;
        if !self.begun {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else {
                return Progress::Nothing;
            };
            let head = std::mem::take(&mut self.head);
            if let Err(what) = self.accepted(&head[..end + 4]) {
                return Progress::Broken(what);
            }
            bytes = &bytes[end + 4 - before..];
            self.begun = true;
            progress = Progress::Begins;
        }
        let Self { framing, body, .. } = self;
        let data = |data: &[u8]| body.feed(data, &mut found);
        if let Err(what) = framing.feed(bytes, data) {
            return self.broken(&progress, what);
        }
        if self.framing.ended() {
            if self.ask.message > 0 {
                // The connection ends in any case. A proxy that got no answer might count it as broken.
                self.wire.write(websocket::CLOSE_ANSWER);
            }
            return Progress::Ended {
                began: progress == Progress::Begins,
                wrong: self.body.wrong(&self.ask),
            };
        }
        progress
    }

    pub(super) fn closed(&self) -> Progress {
        Progress::Broken(
            if self.begun {
                "body cut short"
            } else {
                "no answer"
            }
            .to_owned(),
        )
    }

    /// Ends a stream that is broken. If the bytes that break it also begin it, the caller does not see it begin.
    fn broken(&mut self, progress: &Progress, what: &str) -> Progress {
        if *progress == Progress::Begins {
            self.begun = false;
        }
        Progress::Broken(what.to_owned())
    }

    fn accepted(&self, head: &[u8]) -> Result<(), String> {
        let (expected, field, otherwise) = match self.framing {
            Framing::Chunks(_) => (
                "200",
                "transfer-encoding: chunked",
                "answer that is not chunked",
            ),
            Framing::Messages(_) => ("101", websocket::ACCEPT, "answer to another key"),
        };
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != expected {
            return Err(format!("status {status}"));
        }
        if !head.contains(field) {
            return Err(otherwise.to_owned());
        }
        Ok(())
    }
}

impl Framing {
    /// Calls `data` for each piece of data, or says what cannot be read.
    fn feed(&mut self, bytes: &[u8], data: impl FnMut(&[u8])) -> Result<(), &'static str> {
        match self {
            Self::Chunks(chunked) => chunked.feed(bytes, data).map_err(|_| "malformed chunks"),
            Self::Messages(frames) => frames.feed(bytes, data).map_err(|_| "malformed frames"),
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Chunks(chunked) => chunked.ended(),
            Self::Messages(frames) => frames.ended(),
        }
    }
}

/// Returns the body of a request. With `in_body`, it repeats what is asked in a member that OpenAI's API has.
pub(super) fn body(ask: &Ask, in_body: bool) -> String {
    let user = if in_body {
        format!(r#""user":"{ask}","#)
    } else {
        String::new()
    };
    format!(
        r#"{{"model":"mock7","stream":true,{user}"messages":[{{"role":"user","content":"Go on."}}]}}"#
    )
}

fn post(ask: &Ask, in_body: bool) -> String {
    let body = body(ask, in_body);
    format!(
        "POST {ask} HTTP/1.1\r\nHost: model.test\r\nUser-Agent: compare\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn upgrade(ask: &Ask) -> String {
    format!(
        "GET {ask} HTTP/1.1\r\nHost: model.test\r\nUser-Agent: compare\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        websocket::KEY
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(ask: Ask) -> Stream {
        // These tests move no bytes, so any descriptor will do.
        Stream::new(
            Wire::Plain(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap()),
            ask,
            Reader::Eager,
            false,
        )
    }

    fn answer(stamps: &[u32], end: &str) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let mut body = Vec::new();
        for sequence in stamps {
            let at = body.len();
            body.resize(at + crate::stamp::LEN, 0);
            Stamp {
                sequence: *sequence,
                sent: 1,
            }
            .write(&mut body[at..]);
        }
        body.extend_from_slice(end.as_bytes());
        answer.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        answer.extend(body);
        answer.extend_from_slice(b"\r\n0\r\n\r\n");
        answer
    }

    fn messages(stamps: &[u32]) -> Vec<u8> {
        let mut answer = websocket::ACCEPTED.to_vec();
        for sequence in stamps {
            let stamp = Stamp {
                sequence: *sequence,
                sent: 1,
            };
            websocket::message(stamp, 130, &mut answer);
        }
        answer.extend_from_slice(websocket::CLOSE);
        answer
    }

    fn outcome(answer: &[u8], cut: usize) -> Vec<String> {
        outcome_of(0, answer, cut)
    }

    fn outcome_of(message: u32, answer: &[u8], cut: usize) -> Vec<String> {
        let mut stream = stream(Ask {
            events: 3,
            message,
            ..Ask::default()
        });
        let mut count = 0;
        for part in [&answer[..cut], &answer[cut..]] {
            match stream.read(part, |_| count += 1) {
                Progress::Ended { wrong, .. } => return wrong,
                Progress::Broken(what) => return vec![what],
                _ => {}
            }
        }
        vec!["no end".to_owned()]
    }

    #[test]
    fn a_whole_stream_is_right_whatever_the_cut() {
        let answer = answer(&[0, 1, 2], "data: [DONE]\n\n");
        for cut in 0..answer.len() {
            assert!(outcome(&answer, cut).is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn messages_are_right_whatever_the_cut() {
        let whole = messages(&[0, 1, 2]);
        for cut in 0..whole.len() {
            assert!(outcome_of(130, &whole, cut).is_empty(), "cut at {cut}");
        }
        assert_eq!(
            outcome_of(130, &messages(&[0, 2]), 60),
            ["stream with events missing"]
        );
        let refusal = b"HTTP/1.1 501 Not Implemented\r\n\r\n";
        assert_eq!(outcome_of(130, refusal, 3), ["status 501"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |stamps: &[u32], end| outcome(&answer(stamps, end), 60).join(", ");
        assert_eq!(
            told(&[0, 2], "data: [DONE]\n\n"),
            "stream with events missing"
        );
        assert_eq!(
            told(&[0, 1], "data: [DONE]\n\n"),
            "stream with the wrong number of events"
        );
        assert_eq!(
            told(&[0, 1, 2], "data: [OOPS]\n\n"),
            "stream that does not end with [DONE]"
        );
        assert_eq!(
            outcome(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", 3),
            ["status 502"]
        );
    }
}
