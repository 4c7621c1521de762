//! LangGraph Platform / Agent Server: the SSE name is the stream mode, with an optional namespace.
//!
//! Source: langgraph-sdk `sse.py`, langgraph-api `stream.py`. The end of input is the normal end.

use super::hash;
use crate::event::{Class, Content, Event, Keep, Merge, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::{Cursor, Kind};

pub(super) fn classify(frame: &Frame) -> Event {
    let name = frame.name();
    let mode = name.split(|byte| *byte == b'|').next().unwrap_or_default();
    let other = |class| Event {
        content: Content::Other,
        ..Event::bare(class)
    };
    match mode {
        b"custom" | b"messages/metadata" | b"tasks" | b"checkpoints" | b"debug" | b"lifecycle" => {
            other(Class::Status)
        }
        b"end" => Event::bare(Class::Done).ending(Terminal::Done),
        b"error" => Event::bare(Class::Error).ending(Terminal::Error),
        b"messages" => message(frame).unwrap_or(Event::opaque()),
        b"messages/complete" | b"command" | b"updates" | b"values" => other(Class::State),
        b"messages/partial" => partial(frame).unwrap_or(Event::opaque()),
        b"metadata" => Event::bare(Class::Structure),
        b"tools" => Event {
            content: Content::Tool,
            ..Event::bare(Class::Tool)
        },
        _ => Event::opaque(),
    }
}

/// `[message, metadata]`: a chunk of one message.
fn message(frame: &Frame) -> Option<Event> {
    let data = frame.data();
    let mut cursor = Cursor::new(data);
    cursor.enter_array()?;
    cursor.next_element()?.then_some(())?;
    let (mut kind, mut id, mut text) = (None, None, None);
    let (mut reasoning, mut tools, mut blocks, mut extra) = (false, false, false, false);
    let mut usage = None;
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"additional_kwargs" => {
                let value = data.get(cursor.skip()?)?;
                reasoning |= memchr::memmem::find(value, b"\"reasoning_content\"").is_some();
                extra |= value.len() > 2;
            }
            b"content" if cursor.kind()? == Kind::Array => {
                let value = data.get(cursor.skip()?)?;
                blocks = memchr::memmem::find(value, b"\"text\"").is_some();
                reasoning |= memchr::memmem::find(value, b"\"thinking\"").is_some()
                    || memchr::memmem::find(value, b"\"reasoning\"").is_some();
            }
            b"content" => text = cursor.string_or_skip()?,
            b"id" => id = cursor.string_or_skip()?,
            b"tool_call_chunks" | b"tool_calls" => tools |= cursor.skip()?.len() > 2,
            b"type" => kind = cursor.string_or_skip()?,
            b"usage_metadata" if cursor.kind()? == Kind::Object => {
                usage = Some(counts(&mut cursor)?);
            }
            _ => {
                cursor.skip()?;
            }
        }
    }
    let kind = kind.and_then(|range| data.get(range)).unwrap_or_default();
    if kind == b"tool" || kind == b"ToolMessage" || tools {
        return Some(Event {
            content: Content::Tool,
            usage,
            ..Event::bare(Class::Tool)
        });
    }
    if kind != b"AIMessageChunk" && kind != b"ai" {
        return Some(Event {
            content: Content::Other,
            usage,
            ..Event::bare(Class::State)
        });
    }
    let text = text.filter(|range| !range.is_empty());
    let span = text.clone().and_then(|range| frame.in_block(range));
    let (class, content) = match () {
        () if text.is_some() || blocks => (Class::Token, Content::Token),
        () if reasoning => (Class::Reasoning, Content::Reasoning),
        () => (Class::Structure, Content::None),
    };
    // A whole message, or one with counts, is no delta: critical.
    let class = if usage.is_some() || kind == b"ai" {
        Class::State
    } else {
        class
    };
    let id = id.and_then(|range| data.get(range)).unwrap_or_default();
    let joins = class == Class::Token && !extra && !id.is_empty();
    let merge = span.filter(|_| joins).map(|text| Merge {
        key: hash(&[frame.name(), id]),
        text,
        keep: Keep::Last,
    });
    Some(Event {
        content,
        text: span,
        merge,
        usage,
        ..Event::bare(class)
    })
}

/// The whole message so far: the later one contains the earlier one.
fn partial(frame: &Frame) -> Option<Event> {
    let data = frame.data();
    let mut cursor = Cursor::new(data);
    cursor.enter_array()?;
    cursor.next_element()?.then_some(())?;
    cursor.enter_object()?;
    let mut id: &[u8] = b"";
    let mut empty = false;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"id" => {
                id = cursor
                    .string_or_skip()?
                    .and_then(|range| data.get(range))
                    .unwrap_or_default();
            }
            b"content" => empty = cursor.skip()?.len() <= 2,
            _ => {
                cursor.skip()?;
            }
        }
    }
    let text = frame.in_block(0..data.len());
    let merge = text.map(|text| Merge {
        key: hash(&[frame.name(), id]),
        text,
        keep: Keep::Replace,
    });
    // Never dropped: only the last one has the whole text, and nobody knows which that is.
    let content = if empty { Content::None } else { Content::Token };
    Some(Event {
        content,
        merge,
        ..Event::bare(Class::State)
    })
}

fn counts(cursor: &mut Cursor<'_>) -> Option<Usage> {
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
    fn modes_and_messages_are_told_apart() {
        let token = of(
            "messages|a:1",
            r#"[{"type":"AIMessageChunk","id":"a","content":"Rain"},{"langgraph_node":"x"}]"#,
        );
        assert_eq!((token.class, token.merge.is_some()), (Class::Token, true));
        let tool = of(
            "messages",
            r#"[{"type":"AIMessageChunk","content":"","tool_call_chunks":[{"name":"wx"}]},{}]"#,
        );
        assert_eq!(tool.class, Class::Tool);
        assert_eq!(
            of("messages", r#"[{"type":"tool","content":"4 C"},{}]"#).class,
            Class::Tool
        );
        let blocks = of(
            "messages",
            r#"[{"type":"AIMessageChunk","content":[{"type":"text","text":"a"}]},{}]"#,
        );
        assert_eq!(blocks.class, Class::Token);
        assert_eq!(of("updates", r#"{"agent":{}}"#).class, Class::State);
        assert_eq!(
            of("messages/partial", r#"[{"id":"a","content":"Ra"}]"#)
                .merge
                .unwrap()
                .keep,
            Keep::Replace
        );
        assert_eq!(
            of("error", r#"{"error":"X"}"#).terminal,
            Some(Terminal::Error)
        );
        assert_eq!(of("metadata", r#"{"run_id":"r"}"#).class, Class::Structure);
        assert_eq!(of("surprise", "{}").class, Class::Opaque);
    }
}
