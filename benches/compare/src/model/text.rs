//! What the model writes: the head and the events of an OpenAI-style response, as uvicorn and vLLM write them.

use std::io::Write;

use crate::stamp::{self, Stamp};

pub(super) const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    server: uvicorn\r\n\
    cache-control: no-cache\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

pub(super) const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

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
}

impl Text {
    pub(super) fn new() -> Self {
        let mut end = chunk(&event("{}", "\"stop\""));
        end.extend(chunk("data: [DONE]\n\n"));
        end.extend_from_slice(b"0\r\n\r\n");
        Self {
            first: Event::new("\"role\":\"assistant\","),
            next: Event::new(""),
            end,
        }
    }

    /// Adds one event with a stamp.
    pub(super) fn event(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let Event { chunk, at } = if stamp.sequence == 0 {
            &self.first
        } else {
            &self.next
        };
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
        let chunk = chunk(&event(
            &format!("{{{role}\"content\":\"{hole} \"}}"),
            "null",
        ));
        let at = chunk
            .windows(stamp::LEN)
            .position(|window| window == hole.as_bytes())
            .unwrap_or_default();
        Self { chunk, at }
    }
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
    }
}
