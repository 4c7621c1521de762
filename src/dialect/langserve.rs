//! LangServe's `data` / `end` / `error` events, and the `astream_events` objects that also come bare.

use super::message::Message;
use super::reader::Reader;
use super::text;
use crate::event::{Class, Content, Event, Keep, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

pub(super) fn classify(frame: &Frame) -> Option<Event> {
    match frame.name() {
        // It has no data.
        b"end" => Some(Event::bare(Class::Done).ending(Terminal::Done)),
        b"error" => Some(Event::bare(Class::Error).ending(Terminal::Error)),
        b"metadata" => Some(Event::bare(Class::Structure)),
        b"data" => chunk(frame),
        b"" if frame.data().starts_with(b"[DONE]") => {
            Some(Event::bare(Class::Done).ending(Terminal::Done))
        }
        // Without names there is no `end` either.
        b"" => Some(astream(frame)?.ending(Terminal::MayEnd)),
        _ => None,
    }
}

/// One chunk of the runnable's output, of any shape.
fn chunk(frame: &Frame) -> Option<Event> {
    let mut reader = Reader::new(frame.data());
    if reader.kind()? != Kind::String {
        let object = Object::read(frame.data())?;
        return if let Some(patch) = object.patch {
            Some(of(Class::State, patch))
        } else if !object.event.is_empty() {
            object.into_event(frame)
        } else {
            // A message by itself: `/stream` of a bare model.
            let message = object.own;
            message
                .is_message()
                .then(|| message.delta(frame, "data", Keep::First))
        };
    }
    let range = reader.string()?.unwrap_or_default();
    reader.end()?;
    let event = text::event(frame, Class::Token, Content::Token, range);
    Some(text::joining(event, Keep::First, text::key("data")))
}

/// An object of `astream_events`: `{"event","run_id","parent_ids","data",...}`.
pub(super) fn astream(frame: &Frame) -> Option<Event> {
    Object::read(frame.data())?.into_event(frame)
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

#[derive(Debug, Default)]
struct Object<'a> {
    event: &'a [u8],
    run_id: &'a [u8],
    /// `parent_ids` is there and empty.
    is_root: bool,
    chunk: Message<'a>,
    usage: Option<Usage>,
    /// `ops` is there (`/stream_log`): what they add.
    patch: Option<Content>,
    /// The object read as a message, for as long as it shows no `event`.
    own: Message<'a>,
}

impl<'a> Object<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut object = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"event" => object.event = reader.word()?,
                b"run_id" => object.run_id = reader.word()?,
                b"parent_ids" => {
                    object.is_root = reader.kind()? == Kind::Array;
                    object.is_root &= reader.array(|reader, _| reader.skip())? == 0;
                }
                b"data" => {
                    reader.object(|reader, key| {
                        match key {
                            b"chunk" => object.chunk = Message::read(reader)?,
                            b"output" => object.usage = Message::read(reader)?.usage,
                            _ => reader.skip()?,
                        }
                        Some(())
                    })?;
                }
                b"ops" => object.patch = patch(reader)?,
                _ if object.event.is_empty() => object.own.member(reader, key)?,
                _ => reader.skip()?,
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(object)
    }

    fn into_event(self, frame: &Frame) -> Option<Event> {
        Some(match self.event {
            b"on_chat_model_stream" | b"on_llm_stream" => {
                let envelope = (self.event, self.run_id);
                self.chunk.delta(frame, envelope, Keep::First)
            }
            b"on_chat_model_end" | b"on_llm_end" => Event {
                usage: self.usage,
                ..Event::bare(Class::Usage)
            },
            // They repeat the model's text at each enclosing level.
            b"on_chain_stream" | b"on_parser_stream" => of(Class::State, Content::Other),
            b"on_chain_end" if self.is_root => Event::bare(Class::Finish).ending(Terminal::MayEnd),
            b"on_tool_start" | b"on_tool_end" | b"on_tool_error" => of(Class::Tool, Content::Tool),
            event if event.starts_with(b"on_") => of(Class::Status, Content::Other),
            _ => return None,
        })
    }
}

/// What a JSON patch adds. Each of its operations counts, so none may be dropped.
fn patch(reader: &mut Reader<'_>) -> Option<Option<Content>> {
    if reader.kind()? != Kind::Array {
        reader.skip()?;
        return Some(None);
    }
    let mut content = Content::Other;
    reader.array(|reader, _| {
        let (mut path, mut has_text): (&[u8], _) = (b"", false);
        reader.object(|reader, key| {
            match key {
                b"path" => path = reader.word()?,
                b"value" => has_text = reader.string()?.is_some_and(|range| !range.is_empty()),
                _ => reader.skip()?,
            }
            Some(())
        })?;
        if has_text && path.ends_with(b"/streamed_output_str/-") {
            content = Content::Token;
        }
        Some(())
    })?;
    Some(Some(content))
}
