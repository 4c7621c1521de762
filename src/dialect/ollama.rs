//! Ollama `/api/chat` and `/api/generate`.
//!
//! Source: ollama `api/types.go`. The last line has `done: true`, the counts, and sometimes the last text.

use std::ops::Range;

use super::key;
use crate::event::{Class, Content, Event, Keep, Merge, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::{Cursor, Kind};

#[derive(Default)]
struct Line {
    error: bool,
    done: bool,
    tool: bool,
    extra: bool,
    text: Option<Range<usize>>,
    thinking: Option<Range<usize>>,
    usage: Usage,
}

pub(super) fn classify(frame: &Frame) -> Event {
    let mut line = Line::default();
    let mut cursor = Cursor::new(frame.data());
    if object(&mut cursor, frame.data(), &mut line).is_none() {
        return Event::opaque();
    }
    if line.error {
        return Event::bare(Class::Error).ending(Terminal::Error);
    }
    let has = |range: &Option<Range<usize>>| range.as_ref().is_some_and(|range| !range.is_empty());
    let (has_text, has_thinking) = (has(&line.text), has(&line.thinking));
    let (class, content, kind, text) = match () {
        () if line.tool => (Class::Tool, Content::Tool, 0, None),
        () if has_text => (Class::Token, Content::Token, 1, line.text),
        () if has_thinking => (Class::Reasoning, Content::Reasoning, 2, line.thinking),
        () => (Class::Structure, Content::None, 0, None),
    };
    let text = text.and_then(|range| frame.in_block(range));
    if line.done {
        let event = Event {
            content,
            text,
            usage: Some(line.usage),
            ..Event::bare(Class::Done)
        };
        return event.ending(Terminal::Done);
    }
    let joins = kind > 0 && !line.extra && !(has_text && has_thinking);
    let merge = text.filter(|_| joins).map(|text| Merge {
        key: key(kind, 0, 0),
        text,
        keep: Keep::Last,
    });
    Event {
        content,
        text,
        merge,
        ..Event::bare(class)
    }
}

/// Reads a line, or the `message` in it: their interesting members have different names.
fn object(cursor: &mut Cursor<'_>, data: &[u8], line: &mut Line) -> Option<()> {
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"content" | b"response" => {
                line.text = cursor.string_or_skip()?.or_else(|| line.text.take());
            }
            b"done" => {
                let value = cursor.skip()?;
                line.done = data.get(value)? == b"true";
            }
            b"error" => line.error |= cursor.truthy_or_skip()?,
            b"eval_count" => line.usage.output = cursor.u64_or_skip()?,
            b"logprobs" | b"images" => {
                line.extra |= cursor.kind()? != Kind::Null;
                cursor.skip()?;
            }
            b"message" if cursor.kind()? == Kind::Object => object(cursor, data, line)?,
            b"prompt_eval_count" => line.usage.input = cursor.u64_or_skip()?,
            b"thinking" => line.thinking = cursor.string_or_skip()?,
            b"tool_calls" => {
                let value = cursor.skip()?;
                line.tool |= value.len() > 2;
            }
            _ => {
                cursor.skip()?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::frame;

    fn of(line: &str) -> Event {
        classify(&frame(&format!("{line}\n")))
    }

    #[test]
    fn lines_are_told_by_their_members() {
        let chat =
            of(r#"{"model":"m","message":{"role":"assistant","content":"Rain"},"done":false}"#);
        assert_eq!(
            (chat.class, chat.content, chat.merge.is_some()),
            (Class::Token, Content::Token, true)
        );
        assert_eq!(of(r#"{"response":"x","done":false}"#).class, Class::Token);
        assert_eq!(
            of(r#"{"message":{"content":"","thinking":"hm"},"done":false}"#).class,
            Class::Reasoning
        );
        assert_eq!(
            of(r#"{"message":{"content":"","tool_calls":[{}]},"done":false}"#).class,
            Class::Tool
        );
        assert_eq!(
            of(r#"{"message":{"content":""},"done":false}"#).class,
            Class::Structure
        );
        assert_eq!(of(r#"{"error":"boom"}"#).terminal, Some(Terminal::Error));
        let done =
            of(r#"{"message":{"content":"."},"done":true,"prompt_eval_count":9,"eval_count":4}"#);
        assert_eq!(
            (done.class, done.content, done.terminal),
            (Class::Done, Content::Token, Some(Terminal::Done))
        );
        assert_eq!(
            done.usage,
            Some(Usage {
                input: Some(9),
                output: Some(4),
                reasoning: None
            })
        );
    }
}
