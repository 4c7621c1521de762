//! What the model writes: the head and the events of an OpenAI-style response, as uvicorn and vLLM write them.

use std::io::Write;
use std::ops::Range;

use crate::stamp::{self, Stamp};

pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    server: uvicorn\r\n\
    cache-control: no-cache\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// The head of a model that compresses.
pub(super) const GZIP_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    server: uvicorn\r\n\
    cache-control: no-cache\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    content-encoding: gzip\r\n\
    vary: accept-encoding\r\n\
    transfer-encoding: chunked\r\n\r\n";

pub(super) const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

pub(super) const DONE: &str = "data: [DONE]\n\n";

/// Encoded events, each in its own HTTP chunk.
#[derive(Debug)]
pub(super) struct Text {
    first: Event,
    next: Event,
    end: Vec<u8>,
}

#[derive(Debug)]
struct Event {
    chunk: Vec<u8>,
    /// The position of the stamp.
    at: usize,
    /// The event itself, without what makes it a chunk.
    data: Range<usize>,
}

impl Text {
    pub(super) fn new() -> Self {
        let mut end = chunk(&finish());
        end.extend(chunk(DONE));
        end.extend_from_slice(b"0\r\n\r\n");
        Self {
            first: Event::new("\"role\":\"assistant\","),
            next: Event::new(""),
            end,
        }
    }

    fn of(&self, stamp: Stamp) -> &Event {
        if stamp.sequence == 0 {
            &self.first
        } else {
            &self.next
        }
    }

    /// Adds one event with a stamp, as it is compressed.
    pub(super) fn data(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let Event { chunk, at, data } = self.of(stamp);
        let at = out.len() + at - data.start;
        out.extend_from_slice(&chunk[data.clone()]);
        stamp.write(&mut out[at..]);
    }

    /// Adds one event with a stamp, as a chunk.
    pub(super) fn event(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let Event { chunk, at, .. } = self.of(stamp);
        let at = out.len() + at;
        out.extend_from_slice(chunk);
        stamp.write(&mut out[at..]);
    }

    /// Adds the event with the finish reason, `[DONE]`, and the end of the body.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.end);
    }
}

impl Event {
    fn new(role: &str) -> Self {
        let hole = " ".repeat(stamp::LEN);
        let event = event(&format!("{{{role}\"content\":\"{hole} \"}}"), "null");
        let chunk = chunk(&event);
        // A line break follows the data.
        let end = chunk.len() - 2;
        let data = end - event.len()..end;
        let at = chunk
            .windows(stamp::LEN)
            .position(|window| window == hole.as_bytes())
            .unwrap_or_default();
        Self { chunk, at, data }
    }
}

/// Returns the event with the finish reason.
pub(super) fn finish() -> String {
    event("{}", "\"stop\"")
}

/// Returns an answer that is no stream, whose body has this size or is the shortest that there is.
pub(super) fn answer(size: u32) -> Vec<u8> {
    let head = "{\"id\":\"chatcmpl-8a1f0c35d7e94b62\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\
                \"message\":{\"role\":\"assistant\",\"content\":\"";
    let tail = "\"},\"finish_reason\":\"stop\"}]}";
    let text = "y".repeat((size as usize).saturating_sub(head.len() + tail.len()));
    format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{head}{text}{tail}",
        head.len() + text.len() + tail.len()
    )
    .into_bytes()
}

fn event(delta: &str, reason: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-8a1f0c35d7e94b62\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\
         \"model\":\"mock7\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n"
    )
}

fn chunk(data: &str) -> Vec<u8> {
    let mut chunk = Vec::new();
    // Writing to a `Vec` cannot fail.
    let _ = write!(chunk, "{:x}\r\n{data}\r\n", data.len());
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chunks_of_the_usual_size_with_a_stamp() {
        let text = Text::new();
        let mut out = Vec::new();
        let stamps = [
            Stamp {
                sequence: 0,
                sent: 5,
            },
            Stamp {
                sequence: 1,
                sent: 6,
            },
        ];
        for stamp in stamps {
            text.event(stamp, &mut out);
        }
        let mut seen = Vec::new();
        stamp::Finder::default().feed(&out, |stamp| seen.push(stamp.unwrap()));
        assert_eq!(seen, stamps);
        let mut one = Vec::new();
        text.event(stamps[1], &mut one);
        let (size, rest) = one.split_at(2);
        assert_eq!(
            usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16),
            Ok(rest.len() - 4)
        );
        assert_eq!(rest.len() - 4, 207);
        let mut data = Vec::new();
        text.data(stamps[1], &mut data);
        assert_eq!(&rest[2..rest.len() - 2], data);
    }

    #[test]
    fn answers_have_their_size() {
        let whole = answer(300);
        let at = memchr::memmem::find(&whole, b"\r\n\r\n").unwrap() + 4;
        assert_eq!(whole.len() - at, 300);
        assert!(memchr::memmem::find(&whole, b"content-length: 300\r\n").is_some());
    }
}
