//! Anthropic Messages.
//!
//! Source: anthropic-sdk-python `types/raw_*`. The SSE name decides; its data says the same in `type`.

use super::key;
use crate::event::{Class, Content, Event, Keep, Merge, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::{self, Cursor, Kind};

pub(super) fn classify(frame: &Frame) -> Event {
    let data = frame.data();
    match frame.name() {
        b"content_block_delta" => delta(frame).unwrap_or(Event::opaque()),
        b"content_block_start" => block_start(data),
        b"content_block_stop" => Event::bare(Class::Structure),
        b"error" => Event::bare(Class::Error).ending(Terminal::Error),
        b"message_delta" => Event {
            usage: usage_under(data, &[]),
            ..Event::bare(Class::Finish)
        },
        b"message_start" => Event {
            usage: usage_under(data, &["message"]),
            ..Event::bare(Class::Structure)
        },
        b"message_stop" => Event::bare(Class::Done).ending(Terminal::Done),
        b"ping" => Event::bare(Class::Heartbeat),
        _ => Event::opaque(),
    }
}

fn delta(frame: &Frame) -> Option<Event> {
    let data = frame.data();
    let mut index = 0;
    let (mut class, mut content, mut kind) = (Class::Opaque, Content::Other, 0);
    let mut text = None;
    let mut cursor = Cursor::new(data);
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"index" => index = cursor.u64_or_skip()?.unwrap_or(0),
            b"delta" if cursor.kind()? == Kind::Object => {
                cursor.enter_object()?;
                while let Some(name) = cursor.next_key()? {
                    match name {
                        b"type" => {
                            let range = cursor.string_or_skip()?.unwrap_or_default();
                            (class, content, kind) = match data.get(range).unwrap_or_default() {
                                b"text_delta" => (Class::Token, Content::Token, 1),
                                b"thinking_delta" => (Class::Reasoning, Content::Reasoning, 2),
                                b"input_json_delta" => (Class::Tool, Content::Tool, 3),
                                b"signature_delta" | b"citations_delta" => {
                                    (Class::Structure, Content::None, 0)
                                }
                                _ => (Class::Opaque, Content::Other, 0),
                            };
                        }
                        b"text" | b"thinking" | b"partial_json" => {
                            text = cursor.string_or_skip()?;
                        }
                        _ => {
                            cursor.skip()?;
                        }
                    }
                }
            }
            _ => {
                cursor.skip()?;
            }
        }
    }
    if kind == 0 {
        return Some(Event {
            content,
            ..Event::bare(class)
        });
    }
    let empty = text.as_ref().is_none_or(|range| range.is_empty());
    let text = text.and_then(|range| frame.in_block(range));
    let merge = text.map(|text| Merge {
        key: key(kind, index, 0),
        text,
        keep: Keep::First,
    });
    let content = if empty { Content::None } else { content };
    Some(Event {
        content,
        text: text.filter(|_| !empty),
        merge,
        ..Event::bare(class)
    })
}

/// A tool block opens with its name; results of server tools come whole.
fn block_start(data: &[u8]) -> Event {
    let kind = json::string_at(data, &["content_block", "type"]);
    let kind = kind.and_then(|range| data.get(range)).unwrap_or_default();
    if kind.ends_with(b"tool_use") || kind.ends_with(b"tool_result") {
        return Event {
            content: Content::Tool,
            ..Event::bare(Class::Tool)
        };
    }
    Event::bare(Class::Structure)
}

/// The usage object below `path`; output tokens are cumulative, so the last one counts.
fn usage_under(data: &[u8], path: &[&str]) -> Option<Usage> {
    let mut cursor = Cursor::new(data);
    for name in path.iter().copied().chain(["usage"]) {
        cursor.enter_object()?;
        while cursor.next_key()?? != name.as_bytes() {
            cursor.skip()?;
        }
    }
    let mut usage = Usage::default();
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"input_tokens" => usage.input = cursor.u64_or_skip()?,
            b"output_tokens" => usage.output = cursor.u64_or_skip()?,
            _ => {
                cursor.skip()?;
            }
        }
    }
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::frame;

    fn of(name: &str, data: &str) -> Event {
        classify(&frame(&format!("event: {name}\ndata: {data}\n\n")))
    }

    #[test]
    fn deltas_are_told_by_their_type() {
        for (kind, field, class, content) in [
            ("text_delta", "text", Class::Token, Content::Token),
            (
                "thinking_delta",
                "thinking",
                Class::Reasoning,
                Content::Reasoning,
            ),
            (
                "input_json_delta",
                "partial_json",
                Class::Tool,
                Content::Tool,
            ),
        ] {
            let data = format!(
                r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"{kind}","{field}":"ab"}}}}"#
            );
            let event = of("content_block_delta", &data);
            assert_eq!((event.class, event.content), (class, content));
            let text = frame(&format!("event: content_block_delta\ndata: {data}\n\n"));
            assert_eq!(event.text.unwrap().of(&text.block), b"ab");
            let empty = of("content_block_delta", &data.replace("\"ab\"", "\"\""));
            assert_eq!((empty.class, empty.content), (class, Content::None));
        }
        let signature = r#"{"index":0,"delta":{"type":"signature_delta","signature":"s"}}"#;
        assert_eq!(of("content_block_delta", signature).class, Class::Structure);
    }

    #[test]
    fn the_frame_of_a_message_is_critical() {
        let start = of(
            "message_start",
            r#"{"message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#,
        );
        assert_eq!(
            start.usage,
            Some(Usage {
                input: Some(9),
                output: Some(1),
                reasoning: None
            })
        );
        let delta = of(
            "message_delta",
            r#"{"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#,
        );
        assert_eq!(
            (delta.class, delta.usage.unwrap().output),
            (Class::Finish, Some(4))
        );
        assert_eq!(of("message_stop", "{}").terminal, Some(Terminal::Done));
        assert_eq!(of("error", "{}").terminal, Some(Terminal::Error));
        assert_eq!(
            of(
                "content_block_start",
                r#"{"index":1,"content_block":{"type":"tool_use"}}"#
            )
            .class,
            Class::Tool
        );
        assert_eq!(of("ping", "{}").class, Class::Heartbeat);
        assert_eq!(of("brand_new", "{}").class, Class::Opaque);
    }
}
