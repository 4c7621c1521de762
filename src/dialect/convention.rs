//! The shapes that tutorials and agent templates use: a name or a `type` that says what the event is.

use std::ops::Range;

use super::hash;
use crate::event::{Class, Content, Event, Keep, Merge, Span, Terminal};
use crate::wire::Frame;
use crate::wire::json::{self, Cursor, Kind};

pub(super) fn classify(frame: &Frame) -> Event {
    let data = frame.data();
    if data.starts_with(b"[DONE]") {
        return Event::bare(Class::Done).ending(Terminal::Done);
    }
    let word = word(frame);
    let kind = Cursor::new(data).kind();
    let Some(word) = word else {
        return match kind {
            Some(Kind::Object | Kind::Array) => unnamed(data),
            // A bare JSON string, or text that is no JSON: a token.
            Some(Kind::String) if json::is_whole(data) => {
                text(frame, Class::Token, Cursor::new(data).string())
            }
            _ if data.is_empty() => Event::bare(Class::Structure),
            _ => Event {
                content: Content::Token,
                text: frame.in_block(0..data.len()),
                ..Event::bare(Class::Token)
            },
        };
    };
    let class = class_of(&word).unwrap_or(Class::Opaque);
    match class {
        Class::Token | Class::Reasoning => {
            if class == Class::Reasoning && json::string_at(data, &["status"]).is_some() {
                return Event {
                    content: Content::Other,
                    ..Event::bare(Class::Status)
                };
            }
            let found = if kind == Some(Kind::String) {
                Cursor::new(data).string()
            } else {
                text_at(data)
            };
            match found {
                Some(range) => text(frame, class, Some(range)),
                None if kind.is_some_and(|kind| matches!(kind, Kind::Object)) => Event {
                    content: Content::Other,
                    ..Event::bare(class)
                },
                None => Event {
                    content: content_of(class),
                    text: frame.in_block(0..data.len()),
                    ..Event::bare(class)
                },
            }
        }
        Class::Done => Event::bare(Class::Done).ending(Terminal::Done),
        Class::Error => Event::bare(Class::Error).ending(Terminal::Error),
        Class::Tool => Event {
            content: Content::Tool,
            ..Event::bare(class)
        },
        Class::Heartbeat | Class::Usage => Event::bare(class),
        _ => Event {
            content: Content::Other,
            ..Event::bare(class)
        },
    }
}

/// Whether its shape is one of these: the evidence when nothing else names the dialect.
pub(super) fn is_one(frame: &Frame) -> bool {
    word(frame).is_some_and(|word| class_of(&word).is_some())
}

const fn content_of(class: Class) -> Content {
    match class {
        Class::Reasoning => Content::Reasoning,
        Class::Token => Content::Token,
        _ => Content::Other,
    }
}

/// `{"node": …, "state": …}` and other objects without a word.
fn unnamed(data: &[u8]) -> Event {
    let is_error = json::string_at(data, &["error"]).is_some();
    if is_error {
        return Event::bare(Class::Error).ending(Terminal::Error);
    }
    Event::opaque()
}

fn text(frame: &Frame, class: Class, range: Option<Range<usize>>) -> Event {
    let span = range.and_then(|range| frame.in_block(range));
    let empty = span.is_none_or(Span::is_empty);
    let rest = |span: Span| {
        let head = frame.block.get(..span.start as usize)?;
        Some((head, frame.block.get(span.end as usize..)?))
    };
    // Everything outside the text must agree: a counter or a time stamp makes events unlike.
    let merge = span.filter(|_| !empty).and_then(|span| {
        let (head, tail) = rest(span)?;
        Some(Merge {
            key: hash(&[head, tail]),
            text: span,
            keep: Keep::First,
        })
    });
    let content = if empty {
        Content::None
    } else {
        content_of(class)
    };
    Event {
        content,
        text: span.filter(|_| !empty),
        merge,
        ..Event::bare(class)
    }
}

fn text_at(data: &[u8]) -> Option<Range<usize>> {
    let paths: [&[&str]; 12] = [
        &["content"],
        &["text"],
        &["delta"],
        &["token"],
        &["data"],
        &["data", "content"],
        &["data", "text"],
        &["data", "token"],
        &["data", "chunk"],
        &["chunk"],
        &["message"],
        &["value"],
    ];
    paths
        .into_iter()
        .find_map(|path| json::string_at(data, path))
}

/// The longest word in the table is shorter than this.
const LONGEST: usize = 24;

/// What says what the event is: the SSE name, else `type`, `event` or `kind`; lower case, `_` for `-` and `.`.
fn word(frame: &Frame) -> Option<Word> {
    let name = frame.name();
    let named = !matches!(name, b"" | b"message" | b"data");
    let data = frame.data();
    let member = |name: &str| json::string_at(data, &[name]).and_then(|range| data.get(range));
    let raw = if named {
        Some(name)
    } else {
        ["type", "event", "kind"].into_iter().find_map(member)
    }?;
    let mut word = Word {
        bytes: [0; LONGEST],
        len: raw.len(),
    };
    for (to, from) in word.bytes.get_mut(..raw.len())?.iter_mut().zip(raw) {
        *to = if matches!(from, b'-' | b'.') {
            b'_'
        } else {
            from.to_ascii_lowercase()
        };
    }
    Some(word)
}

struct Word {
    bytes: [u8; LONGEST],
    len: usize,
}

fn class_of(word: &Word) -> Option<Class> {
    Some(match word.bytes.get(..word.len)? {
        b"token" | b"text" | b"delta" | b"chunk" | b"content" | b"text_delta"
        | b"message_chunk" | b"answer_delta" | b"llm_token" | b"stream" => Class::Token,
        b"reasoning" | b"thinking" | b"thought" | b"reasoning_delta" | b"thinking_delta" => {
            Class::Reasoning
        }
        b"tool" | b"tool_call" | b"tool_start" | b"tool_use" | b"tool_args" | b"tool_end"
        | b"tool_result" | b"tool_output" | b"tool_error" | b"tool_complete" | b"action"
        | b"observation" | b"function_call" => Class::Tool,
        b"status" | b"progress" | b"node" | b"node_start" | b"node_end" | b"step"
        | b"step_started" | b"step_completed" | b"agent_start" | b"agent_end" | b"info"
        | b"metadata" | b"start" | b"run_id" => Class::Status,
        b"state" | b"values" | b"update" | b"updates" => Class::State,
        b"interrupt" | b"approval" | b"approval_required" | b"human_input" | b"input_required" => {
            Class::State
        }
        b"message" | b"response" | b"answer" | b"final_answer" | b"output" | b"result" => {
            Class::Structure
        }
        b"usage" => Class::Usage,
        b"done" | b"end" | b"finish" | b"final" | b"complete" | b"completed" | b"stop" => {
            Class::Done
        }
        b"error" | b"exception" | b"failed" | b"fail" => Class::Error,
        b"ping" | b"heartbeat" | b"keepalive" | b"keep_alive" => Class::Heartbeat,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::frame;

    fn of(block: &str) -> Event {
        classify(&frame(block))
    }

    #[test]
    fn words_decide_wherever_they_stand() {
        assert_eq!(
            of("data: {\"type\":\"token\",\"content\":\"a\"}\n\n").class,
            Class::Token
        );
        assert_eq!(
            of("event: token\ndata: {\"type\":\"x\",\"text\":\"a\"}\n\n").class,
            Class::Token
        );
        assert_eq!(of("event: Tool-Call\ndata: {}\n\n").class, Class::Tool);
        assert_eq!(
            of("event: message\ndata: {\"event\":\"node.start\"}\n\n").class,
            Class::Status
        );
        assert_eq!(of("data: plain text\n\n").class, Class::Token);
        assert_eq!(of("data: \"quoted\"\n\n").class, Class::Token);
        assert_eq!(
            of("event: done\ndata: {}\n\n").terminal,
            Some(Terminal::Done)
        );
        assert_eq!(of("data: [DONE]\n\n").terminal, Some(Terminal::Done));
        assert_eq!(of("data: {\"x\":1}\n\n").class, Class::Opaque);
        assert_eq!(
            of("event: thinking\ndata: {\"status\":\"busy\"}\n\n").class,
            Class::Status
        );
    }

    #[test]
    fn only_events_that_differ_in_text_alone_are_alike() {
        let key = |block: &str| of(block).merge.unwrap().key;
        let one = key("data: {\"type\":\"token\",\"content\":\"a\",\"n\":1}\n\n");
        assert_eq!(
            one,
            key("data: {\"type\":\"token\",\"content\":\"bcd\",\"n\":1}\n\n")
        );
        assert_ne!(
            one,
            key("data: {\"type\":\"token\",\"content\":\"a\",\"n\":2}\n\n")
        );
    }
}
