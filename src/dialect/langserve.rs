//! LangServe: names `metadata`, `data`, `error` and a data-less `end`; `astream_events` objects inside.
//!
//! Source: langserve `api_handler.py`, langchain-core `runnables/schema.py`.

use super::hash;
use crate::event::{Class, Content, Event, Keep, Merge, Terminal};
use crate::wire::Frame;
use crate::wire::json::{self, Cursor, Kind};

pub(super) fn classify(frame: &Frame) -> Event {
    match frame.name() {
        b"end" => Event::bare(Class::Done).ending(Terminal::Done),
        b"error" => Event::bare(Class::Error).ending(Terminal::Error),
        b"metadata" => Event::bare(Class::Structure),
        b"data" => data(frame),
        _ => Event::opaque(),
    }
}

/// A chunk of whatever the runnable yields; a bare string is a token.
fn data(frame: &Frame) -> Event {
    let data = frame.data();
    let other = |class| Event {
        content: Content::Other,
        ..Event::bare(class)
    };
    if Cursor::new(data).kind() == Some(Kind::String) {
        let text = Cursor::new(data).string();
        return token(frame, text, &[b"data"]);
    }
    let member = |path: &[&str]| json::string_at(data, path);
    let Some(event) = member(&["event"]).and_then(|range| data.get(range)) else {
        // Serialised messages, or any shape at all: the content may be the answer.
        let text = member(&["content"]).filter(|range| !range.is_empty());
        let is_chunk =
            member(&["type"]).and_then(|range| data.get(range)) == Some(b"AIMessageChunk");
        return if is_chunk && text.is_some() {
            token(frame, text, &[])
        } else {
            other(Class::Opaque)
        };
    };
    let run = member(&["run_id"])
        .and_then(|range| data.get(range))
        .unwrap_or_default();
    match event {
        b"on_chat_model_stream" | b"on_llm_stream" => {
            if memchr::memmem::find(data, b"\"tool_call_chunks\":[{").is_some() {
                return Event {
                    content: Content::Tool,
                    ..Event::bare(Class::Tool)
                };
            }
            let paths: [&[&str]; 3] = [
                &["data", "chunk", "content"],
                &["data", "chunk", "kwargs", "content"],
                &["data", "chunk", "text"],
            ];
            match paths.into_iter().find_map(member) {
                Some(text) if text.is_empty() => Event::bare(Class::Structure),
                text @ Some(_) => token(frame, text, &[event, run]),
                None => other(Class::Opaque),
            }
        }
        b"on_tool_start" | b"on_tool_end" | b"on_tool_error" => Event {
            content: Content::Tool,
            ..Event::bare(Class::Tool)
        },
        // Repeats the model's text at each enclosing level; critical, not counted.
        b"on_chain_stream" | b"on_parser_stream" => other(Class::State),
        b"on_chat_model_end" | b"on_llm_end" => other(Class::Usage),
        b"on_chain_end" => other(Class::Finish),
        _ if event.starts_with(b"on_") => other(Class::Status),
        _ => Event::opaque(),
    }
}

fn token(frame: &Frame, text: Option<std::ops::Range<usize>>, same: &[&[u8]]) -> Event {
    let span = text
        .filter(|range| !range.is_empty())
        .and_then(|range| frame.in_block(range));
    let merge = span.filter(|_| !same.is_empty()).map(|text| Merge {
        key: hash(same),
        text,
        keep: Keep::First,
    });
    let content = if span.is_some() {
        Content::Token
    } else {
        Content::None
    };
    Event {
        content,
        text: span,
        merge,
        ..Event::bare(Class::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::frame;

    fn of(data: &str) -> Event {
        classify(&frame(&format!("event: data\ndata: {data}\n\n")))
    }

    #[test]
    fn strings_events_and_the_end_are_known() {
        assert_eq!(of(r#""Rain""#).class, Class::Token);
        let event =
            of(r#"{"event":"on_chat_model_stream","run_id":"r","data":{"chunk":{"content":"a"}}}"#);
        assert_eq!((event.class, event.merge.is_some()), (Class::Token, true));
        assert_eq!(
            of(r#"{"event":"on_tool_start","data":{}}"#).class,
            Class::Tool
        );
        assert_eq!(
            of(r#"{"event":"on_chain_stream","data":{}}"#).class,
            Class::State
        );
        assert_eq!(of(r#"{"ops":[]}"#).class, Class::Opaque);
        assert_eq!(
            classify(&frame("event: end\n\n")).terminal,
            Some(Terminal::Done)
        );
    }
}
