//! OpenAI chat completions, and vLLM, LiteLLM, OpenRouter, DeepSeek, llama.cpp, Ollama `/v1` behind it.
//!
//! Source: openai-python `types/chat/chat_completion_chunk.py`. One chunk may carry several things, so it
//! is classified by field; a chunk with a finish reason or usage is never droppable, whatever else it has.

use std::ops::Range;

use super::key;
use crate::event::{Class, Content, Event, Keep, Merge, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::{Cursor, Kind};

/// What one chunk carries.
#[derive(Default)]
struct Chunk {
    error: bool,
    choices: u64,
    index: u64,
    finish: bool,
    /// Anything that cannot be joined: role, logprobs, token ids, audio, unknown fields.
    extra: bool,
    audio: bool,
    tool: Option<Tool>,
    text: Option<Range<usize>>,
    reasoning: Option<Range<usize>>,
    usage: Option<Usage>,
}

#[derive(Default)]
struct Tool {
    calls: u64,
    index: u64,
    /// Has an id or a name: opens a call.
    opens: bool,
    arguments: Option<Range<usize>>,
}

pub(super) fn classify(frame: &Frame) -> Event {
    let data = frame.data();
    if data.starts_with(b"[DONE]") {
        return Event::bare(Class::Done).ending(Terminal::Done);
    }
    let Some(chunk) = read(data) else {
        return Event::opaque();
    };
    event(frame, chunk)
}

fn event(frame: &Frame, chunk: Chunk) -> Event {
    if chunk.error {
        return Event::bare(Class::Error).ending(Terminal::Error);
    }
    let span = |range: Option<Range<usize>>| {
        range
            .filter(|range| !range.is_empty())
            .and_then(|range| frame.in_block(range))
    };
    let has = |range: &Option<Range<usize>>| range.as_ref().is_some_and(|range| !range.is_empty());
    let has_text = has(&chunk.text);
    let has_reasoning = has(&chunk.reasoning);
    let content = match () {
        () if has_text => Content::Token,
        () if chunk.tool.is_some() => Content::Tool,
        () if has_reasoning => Content::Reasoning,
        () if chunk.audio => Content::Other,
        () => Content::None,
    };
    let class = match () {
        () if chunk.audio => Class::Opaque,
        () if chunk.finish => Class::Finish,
        () if chunk.tool.is_some() => Class::Tool,
        () if chunk.choices == 0 && chunk.usage.is_some() => Class::Usage,
        () if has_text => Class::Token,
        () if has_reasoning => Class::Reasoning,
        () => Class::Structure,
    };
    let alone = chunk.choices == 1 && !chunk.extra && !chunk.finish && chunk.usage.is_none();
    let mut event = Event {
        content,
        usage: chunk.usage,
        ..Event::bare(class)
    };
    match chunk.tool {
        Some(tool) => {
            event.text = span(tool.arguments);
            if alone && tool.calls == 1 && !tool.opens && !has_text && !has_reasoning {
                event.merge = joins(event, key(3, chunk.index, tool.index));
            }
        }
        None if has_text => {
            event.text = span(chunk.text);
            if alone && !has_reasoning {
                event.merge = joins(event, key(1, chunk.index, 0));
            }
        }
        None => {
            event.text = span(chunk.reasoning);
            if alone && has_reasoning {
                event.merge = joins(event, key(2, chunk.index, 0));
            }
        }
    }
    event
}

fn joins(event: Event, key: u64) -> Option<Merge> {
    event.text.map(|text| Merge {
        key,
        text,
        keep: Keep::First,
    })
}

fn read(data: &[u8]) -> Option<Chunk> {
    let mut chunk = Chunk::default();
    let mut cursor = Cursor::new(data);
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"choices" if cursor.kind()? == Kind::Array => {
                cursor.enter_array()?;
                while cursor.next_element()? {
                    chunk.choices += 1;
                    choice(&mut cursor, &mut chunk)?;
                }
            }
            b"error" => chunk.error |= cursor.truthy_or_skip()?,
            b"usage" if cursor.kind()? == Kind::Object => chunk.usage = Some(usage(&mut cursor)?),
            _ => {
                cursor.skip()?;
            }
        }
    }
    Some(chunk)
}

fn choice(cursor: &mut Cursor<'_>, chunk: &mut Chunk) -> Option<()> {
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"index" => chunk.index = cursor.u64_or_skip()?.unwrap_or(0),
            b"delta" if cursor.kind()? == Kind::Object => delta(cursor, chunk)?,
            b"finish_reason" => chunk.finish |= present(cursor)?,
            _ => chunk.extra |= present(cursor)?,
        }
    }
    Some(())
}

fn delta(cursor: &mut Cursor<'_>, chunk: &mut Chunk) -> Option<()> {
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"content" => chunk.text = cursor.string_or_skip()?,
            b"refusal" => match cursor.string_or_skip()? {
                Some(text) if !text.is_empty() => {
                    // Another channel than content: never joined with it.
                    chunk.extra = true;
                    chunk.text = Some(text);
                }
                _ => {}
            },
            b"reasoning" | b"reasoning_content" => {
                let text = cursor.string_or_skip()?.filter(|text| !text.is_empty());
                // Both keys in one chunk: the text is the same, and must not be cut in one place only.
                chunk.extra |= chunk.reasoning.is_some() && text.is_some();
                chunk.reasoning = text.or_else(|| chunk.reasoning.take());
            }
            b"reasoning_details" => {
                let value = cursor.skip()?;
                if value.len() > 4 {
                    chunk.extra = true;
                    chunk.reasoning.get_or_insert(value);
                }
            }
            b"tool_calls" if cursor.kind()? == Kind::Array => {
                cursor.enter_array()?;
                while cursor.next_element()? {
                    let tool = chunk.tool.get_or_insert_with(Tool::default);
                    tool.calls += 1;
                    tool_call(cursor, tool)?;
                }
            }
            b"function_call" if cursor.kind()? == Kind::Object => {
                chunk.tool.get_or_insert_with(Tool::default).opens = true;
                cursor.skip()?;
            }
            b"audio" => {
                let is_present = present(cursor)?;
                chunk.audio |= is_present;
            }
            _ => chunk.extra |= present(cursor)?,
        }
    }
    Some(())
}

fn tool_call(cursor: &mut Cursor<'_>, tool: &mut Tool) -> Option<()> {
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"index" => tool.index = cursor.u64_or_skip()?.unwrap_or(0),
            b"id" => tool.opens |= present(cursor)?,
            b"function" if cursor.kind()? == Kind::Object => {
                cursor.enter_object()?;
                while let Some(name) = cursor.next_key()? {
                    match name {
                        b"arguments" => tool.arguments = cursor.string_or_skip()?,
                        b"name" => tool.opens |= present(cursor)?,
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
    Some(())
}

/// Steps over a value; whether it was anything but `null`.
fn present(cursor: &mut Cursor<'_>) -> Option<bool> {
    let is_null = cursor.kind()? == Kind::Null;
    cursor.skip()?;
    Some(!is_null)
}

fn usage(cursor: &mut Cursor<'_>) -> Option<Usage> {
    let mut usage = Usage::default();
    cursor.enter_object()?;
    while let Some(name) = cursor.next_key()? {
        match name {
            b"prompt_tokens" => usage.input = cursor.u64_or_skip()?,
            b"completion_tokens" => usage.output = cursor.u64_or_skip()?,
            b"completion_tokens_details" if cursor.kind()? == Kind::Object => {
                cursor.enter_object()?;
                while let Some(name) = cursor.next_key()? {
                    if name == b"reasoning_tokens" {
                        usage.reasoning = cursor.u64_or_skip()?;
                    } else {
                        cursor.skip()?;
                    }
                }
            }
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

    fn of(json: &str) -> Event {
        classify(&frame(&format!("data: {json}\n\n")))
    }

    fn choice(delta: &str, finish: &str) -> Event {
        of(&format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
        ))
    }

    #[test]
    fn each_kind_of_chunk_has_its_class() {
        use {Class as K, Content as C};
        for (delta, finish, class, content, merges) in [
            (
                r#"{"role":"assistant","content":""}"#,
                "null",
                K::Structure,
                C::None,
                false,
            ),
            (r#"{"content":"Hi"}"#, "null", K::Token, C::Token, true),
            (
                r#"{"content":"Hi","refusal":null}"#,
                "null",
                K::Token,
                C::Token,
                true,
            ),
            (
                r#"{"role":"assistant","content":"Hi"}"#,
                "null",
                K::Token,
                C::Token,
                false,
            ),
            (
                r#"{"content":"Hi"}"#,
                r#""stop""#,
                K::Finish,
                C::Token,
                false,
            ),
            (r#"{}"#, r#""stop""#, K::Finish, C::None, false),
            (
                r#"{"reasoning_content":"hm"}"#,
                "null",
                K::Reasoning,
                C::Reasoning,
                true,
            ),
            (
                r#"{"reasoning":"hm","content":null}"#,
                "null",
                K::Reasoning,
                C::Reasoning,
                true,
            ),
            (
                r#"{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":""}}]}"#,
                "null",
                K::Tool,
                C::Tool,
                false,
            ),
            (
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]}"#,
                "null",
                K::Tool,
                C::Tool,
                true,
            ),
            (
                r#"{"audio":{"data":"x"}}"#,
                "null",
                K::Opaque,
                C::Other,
                false,
            ),
        ] {
            let event = choice(delta, finish);
            assert_eq!(
                (event.class, event.content),
                (class, content),
                "{delta} {finish}"
            );
            assert_eq!(event.merge.is_some(), merges, "{delta} {finish}");
        }
    }

    #[test]
    fn usage_errors_and_the_sentinel_are_known() {
        let event = of(
            r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":1}}}"#,
        );
        assert_eq!(event.class, Class::Usage);
        assert_eq!(
            event.usage,
            Some(Usage {
                input: Some(9),
                output: Some(4),
                reasoning: Some(1)
            })
        );
        assert_eq!(
            of(r#"{"error":{"message":"x"}}"#).terminal,
            Some(Terminal::Error)
        );
        assert_eq!(of(r#"{"error":null,"choices":[]}"#).terminal, None);
        assert_eq!(of("[DONE]").terminal, Some(Terminal::Done));
        assert_eq!(of("not json").class, Class::Opaque);
    }

    #[test]
    fn logprobs_are_never_joined_away() {
        let event = of(
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]},"finish_reason":null}]}"#,
        );
        assert_eq!(event.class, Class::Token);
        assert_eq!(event.merge, None);
    }

    #[test]
    fn choices_and_tools_are_kept_apart() {
        let at = |index| {
            of(&format!(
                r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}}}}]}}"#
            ))
            .merge
            .unwrap()
            .key
        };
        assert_ne!(at(0), at(1));
        assert_eq!(at(1), at(1));
    }
}
