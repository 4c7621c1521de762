//! One event of OpenAI Responses: its members, and what they mean by themselves.

use std::ops::Range;

use super::{of, server_tool, wrapper};
use crate::dialect::beside::{Beside, Seen};
use crate::dialect::reader::Reader;
use crate::dialect::text;
use crate::event::{Class, Content, Event, Keep, LISTS, Side, Step, Terminal, TextsOver, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

/// The members that any of the events may have.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) wrapper: &'a [u8],
    /// The name of an item of the Agents SDK.
    pub(super) item_name: &'a [u8],
    /// The id of the item that the event belongs to. Some gateways make a new one for each event.
    item: &'a [u8],
    /// The place of the item in the response, which is stable.
    output: Option<u64>,
    /// Which response of the stream it is.
    pub(super) response_number: u64,
    /// Whether the stream is this response, and ends with it.
    pub(super) alone: bool,
    /// The index of the part within the item.
    part: u64,
    pub(super) kind: &'a [u8],
    pub(super) number: Option<u64>,
    number_at: Option<Range<usize>>,
    delta: Option<Range<usize>>,
    usage: Option<Usage>,
    pub(super) response: &'a [u8],
    /// The `type` of the item that the event opens or closes.
    pub(super) item_kind: &'a [u8],
    /// The name of the function that the item calls.
    pub(super) function: &'a [u8],
    /// What must be equal before two events are merged.
    beside: Beside,
    /// Whether there are log probabilities.
    lists: bool,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        // Members have no order: the wrapped event may stand before the type that says that there is one.
        let mut early = None;
        let is_object = reader.object(|reader, key| match key {
            b"data" if reader.kind()? == Kind::Object => {
                if wrapper(fields.kind).is_some() {
                    fields.wrapper = fields.kind;
                    reader.object(|reader, key| fields.member(reader, key))?;
                    return Some(());
                }
                early = Some(reader.clone());
                reader.skip()
            }
            b"name" => {
                let raw = reader.raw()?;
                fields.item_name = Reader::new(raw).word()?;
                fields.beside.same(key, raw);
                Some(())
            }
            _ => fields.member(reader, key),
        })?;
        reader.end()?;
        if fields.wrapper.is_empty() && wrapper(fields.kind).is_some() {
            fields.wrapper = fields.kind;
            if let Some(mut wrapped) = early {
                wrapped.object(|reader, key| fields.member(reader, key))?;
            }
        } else if let Some(mut other) = early {
            fields.member(&mut other, b"data")?;
        }
        is_object.then_some(fields)
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => self.kind = reader.word()?,
            // Some gateways make a new one for each event.
            b"item_id" => {
                let raw = reader.raw()?;
                self.item = Reader::new(raw).word()?;
                self.beside.may_vary(key, raw);
            }
            b"output_index" => {
                let raw = reader.raw()?;
                self.output = Reader::new(raw).count()?;
                self.beside.same(key, raw);
            }
            b"content_index" | b"summary_index" => {
                self.part = self.beside.number(reader, key)?;
                self.beside.tag(u64::from(key == b"summary_index"));
            }
            b"sequence_number" => {
                let (number, at) = reader.count_at()?;
                (self.number, self.number_at) = (number, Some(at));
            }
            b"delta" if reader.kind()? == Kind::String => self.delta = reader.string()?,
            key if LISTS.contains(&key) => self.lists |= reader.says_something()?,
            b"response" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| {
                    match key {
                        b"usage" => self.usage = reader.usage()?,
                        b"id" => self.response = reader.word()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            b"item" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| {
                    match key {
                        b"type" => self.item_kind = reader.word()?,
                        b"name" => self.function = reader.word()?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            _ => self.beside.add(key, reader.raw()?),
        }
        Some(())
    }

    pub(super) fn event(&self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let end = |class, certain, possible| Event {
            usage: self.usage.map(|usage| text::of_call(usage, self.response)),
            ..Event::bare(class).ending(if self.alone { certain } else { possible })
        };
        if self.kind == b"keepalive" {
            return Some(Event::bare(Class::Heartbeat));
        }
        let Some(kind) = self.kind.strip_prefix(b"response.") else {
            let is_error = self.kind == b"error" || frame.name() == b"error";
            return is_error.then(|| Event::bare(Class::Error).ending(Terminal::Error));
        };
        Some(match kind {
            b"output_text.delta" | b"refusal.delta" => {
                self.text(frame, seen, Class::Token, Content::Token)?
            }
            // The last two are older names.
            b"reasoning_text.delta"
            | b"reasoning_summary_text.delta"
            | b"reasoning.delta"
            | b"reasoning_summary.delta"
                if self.delta.is_some() =>
            {
                self.text(frame, seen, Class::Reasoning, Content::Reasoning)?
            }
            b"function_call_arguments.delta" | b"mcp_call_arguments.delta" => self
                .text(frame, seen, Class::Tool, Content::Tool)?
                .of_call(Step::GoesOn, 0, self.item_key()),
            b"function_call_arguments.done" | b"mcp_call_arguments.done" => {
                of(Class::Tool, Content::Tool).of_call(Step::Ends, 0, self.item_key())
            }
            // Their deltas are not JSON.
            b"custom_tool_call_input.delta" | b"code_interpreter_call_code.delta" => {
                self.text(frame, seen, Class::Tool, Content::Tool)?
            }
            b"completed" | b"incomplete" | b"cancelled" => {
                end(Class::Finish, Terminal::Done, Terminal::MayEnd)
            }
            b"failed" => end(Class::Error, Terminal::Error, Terminal::MayFail),
            b"created" => Event::bare(Class::Structure)
                .ending(Terminal::Reopens)
                .with_texts_over(TextsOver::All),
            b"queued" | b"in_progress" | b"compaction.compacting" => Event::bare(Class::Status),
            b"output_item.added" | b"output_item.done"
                if self.item_kind.ends_with(b"_call") || self.item_kind.starts_with(b"mcp_") =>
            {
                of(Class::Structure, Content::Tool).on(Side::Tool)
            }
            b"output_item.added" if self.item_kind == b"reasoning" => Event::bare(Class::Structure)
                .on(Side::Reasoning)
                .ending(Terminal::Reopens),
            b"output_item.done" if self.item_kind == b"reasoning" => {
                Event::bare(Class::Structure).on(Side::Reasoning)
            }
            b"reasoning_summary_part.added" => Event::bare(Class::Structure)
                .on(Side::Reasoning)
                .ending(Terminal::Reopens),
            kind if kind.starts_with(b"reasoning_") || kind.starts_with(b"reasoning.") => {
                Event::bare(Class::Structure).on(Side::Reasoning)
            }
            b"output_item.added" | b"content_part.added" => Event::bare(Class::Structure)
                .ending(Terminal::Reopens)
                .in_lane(self.lane()),
            b"output_item.done"
            | b"content_part.done"
            | b"output_text.annotation.added"
            | b"refusal.done" => Event::bare(Class::Structure).in_lane(self.lane()),
            // These events repeat the text of the deltas.
            kind if kind.ends_with(b"_text.done") => {
                Event::bare(Class::Structure).in_lane(self.lane())
            }
            kind => server_tool::event(kind)?,
        })
    }

    /// Identifies the item: by its place, or by its id where there is no place.
    fn item_key(&self) -> u64 {
        match self.output {
            Some(place) => text::key((self.response_number, place)),
            None => text::key(self.item),
        }
    }

    fn lane(&self) -> u64 {
        text::key((self.item_key(), self.part))
    }

    fn text(
        &self,
        frame: &Frame<'_>,
        seen: &mut Seen,
        class: Class,
        content: Content,
    ) -> Option<Event> {
        let event = text::event(frame, class, content, self.delta.clone()?);
        let event = event.in_lane(self.lane());
        let beside = seen.key(&self.beside);
        if self.crowded {
            return Some(event);
        }
        // A merge keeps the last sequence number: a client that reconnects asks for the events
        // after it.
        let joined = text::joining(
            event,
            Keep::Last,
            text::key((self.wrapper, self.kind, self.item_key(), self.part, beside)),
        );
        let joined = text::with_lists(joined, self.lists);
        let varying = self.number_at.clone();
        Some(Event {
            varying: varying.and_then(|at| frame.in_block(at)),
            ..joined
        })
    }
}
