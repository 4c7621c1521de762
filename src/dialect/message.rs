//! Parses a LangChain message as LangGraph and LangServe serialise it, plain or wrapped in `lc` and
//! `kwargs`.

use std::hash::Hash;
use std::ops::Range;

use super::beside::{self, Beside, Seen};
use super::calls;
use super::reader::{self, Reader};
use super::text;
use crate::event::{Class, Content, Event, Keep, Step, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

/// The contents of one message, or of a chunk of one.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    /// `AIMessageChunk`, `ai`, `tool`, ...
    pub(super) kind: &'a [u8],
    pub(super) id: &'a [u8],
    /// A hash of further members that say who wrote it, or where.
    pub(super) author: u64,
    /// Whether `id` is the run's and not the message's own.
    in_run: bool,
    /// The text that the message goes on with, if not its id but something else says so.
    text_of: Option<u64>,
    usage: Option<Usage>,
    /// Whether there are tool calls or fragments of them.
    pub(super) tool: bool,
    /// Whether there are fragments of tool calls.
    fragments: bool,
    content: Content,
    text: Option<Range<usize>>,
    texts: usize,
    /// Whether there is a member for content, even an empty one.
    has_content: bool,
    /// What must be equal before two chunks are merged.
    pub(super) beside: Beside,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Message<'a> {
    /// Reads the value at `reader`. The message is empty if that value is not an object.
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut message = Self::default();
        reader.object(|reader, key| message.member(reader, key))?;
        Some(message)
    }

    /// Identifies the message by the run that writes it, if the run is known.
    pub(super) fn of_run(self, run: &'a [u8]) -> Self {
        if run.is_empty() {
            return self;
        }
        Self {
            id: run,
            in_run: true,
            ..self
        }
    }

    /// Makes the message a piece of this text, which may have another name than the message.
    pub(super) fn of_text(mut self, text: u64) -> Self {
        if text != text::key(self.id) {
            self.text_of = Some(text);
            // Like any member that has never had a value twice.
            self.beside.word_may_vary(b"id", self.id);
        }
        self
    }

    /// Returns the number of the text that it is a piece of.
    fn name(&self) -> u64 {
        self.text_of.unwrap_or_else(|| text::key(self.id))
    }

    /// Returns what kind of content the message adds.
    pub(super) fn content(&self) -> Content {
        if self.tool || self.is_tool_result() {
            Content::Tool
        } else {
            self.content
        }
    }

    /// Returns the text if there is exactly one.
    pub(super) fn only_text(&self) -> Option<Range<usize>> {
        self.text.clone().filter(|_| self.texts == 1)
    }

    /// Returns the token counts, attributed to the model call that produced this message.
    pub(super) fn usage(&self) -> Option<Usage> {
        let usage = self.usage?;
        Some(match self.text_of {
            Some(call) => Usage { call, ..usage },
            None => text::of_call(usage, self.id),
        })
    }

    /// Reports whether the value is a message: it has a member for content.
    pub(super) const fn is_message(&self) -> bool {
        self.has_content
    }

    pub(super) const fn is_tool_result(&self) -> bool {
        matches!(self.kind, b"tool" | b"ToolMessage" | b"ToolMessageChunk")
    }

    /// Returns the event of a chunk that continues its message. `envelope` is what must be equal
    /// outside the message before two chunks are merged.
    pub(super) fn delta(
        self,
        frame: &Frame<'_>,
        seen: &mut Seen,
        envelope: impl Hash,
        keep: Keep,
    ) -> Event {
        let class = match self.content() {
            Content::Tool => Class::Tool,
            // With or without text: the counts must not be dropped.
            _ if self.usage.is_some() => Class::Usage,
            Content::Token => Class::Token,
            Content::Reasoning => Class::Reasoning,
            Content::None | Content::Other => Class::Structure,
        };
        let name = self.name();
        let event = Event {
            content: self.content(),
            usage: self.usage(),
            lane: name,
            text: self
                .text
                .filter(|_| self.texts == 1)
                .and_then(|range| frame.in_block(range)),
            ..Event::bare(class)
        };
        if self.fragments {
            // Otherwise the group is the message's id, which is read with the calls.
            let group = if self.in_run || self.text_of.is_some() {
                calls::group_of(name)
            } else {
                0
            };
            return event.of_call(Step::Several, group, text::key(envelope));
        }
        if self.crowded || !matches!(class, Class::Token | Class::Reasoning) {
            seen.note_need(&self.beside);
            return event;
        }
        let key = text::key((envelope, self.kind, name, seen.key(&self.beside)));
        text::joining(event, keep, key)
    }

    /// Reads one member of a message.
    pub(super) fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => {
                let raw = reader.raw()?;
                self.kind = Reader::new(raw).word()?;
                self.beside.same(key, raw);
            }
            b"id" if reader.kind()? == Kind::Array => {
                // The path of the serialised class. Its last part is the class name, for messages
                // that have no `type`.
                let raw = reader.raw()?;
                self.beside.same(key, raw);
                Reader::new(raw).array(|reader, _| {
                    self.kind = reader.word()?;
                    Some(())
                })?;
            }
            b"id" => self.id = self.beside.word(reader, key)?,
            b"kwargs" if reader.kind()? == Kind::Object => {
                // Only one level is read: the input must not control the depth of recursion.
                reader.object(|reader, key| match key {
                    b"kwargs" => self.beside(reader, key),
                    _ => self.member(reader, key),
                })?;
            }
            b"content" => self.read_content(reader, key)?,
            // A chunk of a completion model has `text` in place of `content`.
            b"text" if reader.kind()? == Kind::String => {
                self.has_content = true;
                self.text(reader, key, Content::Token)?;
            }
            b"tool_call_chunks" => {
                self.fragments = reader.says_something()?;
                self.tool |= self.fragments;
            }
            b"tool_calls" | b"invalid_tool_calls" => self.tool |= reader.says_something()?,
            b"usage_metadata" if reader.kind()? == Kind::Object => self.usage = reader.usage()?,
            b"additional_kwargs" if reader.kind()? == Kind::Object => {
                reader.object(|reader, key| match key {
                    b"reasoning" | b"reasoning_content" => self.thought(reader, key),
                    b"tool_calls" | b"function_call" => {
                        self.tool |= reader.says_something()?;
                        Some(())
                    }
                    _ => self.beside(reader, key),
                })?;
            }
            // This marks the last chunk, which clients may wait for.
            b"chunk_position" => self.crowded |= reader.says_something()?,
            _ => self.beside(reader, key)?,
        }
        Some(())
    }

    fn read_content(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        self.has_content = true;
        match reader.kind()? {
            Kind::String => self.text(reader, key, Content::Token),
            Kind::Array => {
                let blocks = reader.array(|reader, _| self.block(reader))?;
                self.place(b"blocks");
                self.crowded |= blocks > 1;
                Some(())
            }
            Kind::Null | Kind::Object | Kind::Scalar => self.other(reader, key),
        }
    }

    fn block(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        if reader.kind()? == Kind::String {
            return self.text(reader, b"", Content::Token);
        }
        let mut kind: &[u8] = b"";
        let found = reader.object(|reader, key| match key {
            b"type" => {
                kind = reader.word()?;
                self.place(kind);
                Some(())
            }
            b"text" if reader.kind()? == Kind::String => self.text(reader, key, Content::Token),
            b"reasoning" | b"reasoning_content" | b"summary" | b"thinking" => {
                self.thought(reader, key)
            }
            _ => self.other(reader, key),
        })?;
        match kind {
            b"text" | b"thinking" | b"reasoning" | b"reasoning_content" => {}
            b"tool_use" | b"tool_call" | b"tool_call_chunk" | b"input_json_delta" => {
                self.tool = true;
            }
            _ => self.crowded = true,
        }
        self.crowded |= !found;
        Some(())
    }

    /// Reads a member that holds a thought: a text, a list of texts (the summary of a Responses model, or Mistral's
    /// thinking), or an object with either (Bedrock's reasoning content, or a whole reasoning item).
    fn thought(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match reader.kind()? {
            Kind::String => self.text(reader, key, Content::Reasoning),
            Kind::Array => {
                let parts = reader.array(|reader, _| self.thought_part(reader, key))?;
                self.crowded |= parts > 1;
                Some(())
            }
            Kind::Object => {
                self.place(key);
                reader.object(|reader, key| match key {
                    b"summary" if reader.kind()? == Kind::Array => {
                        let parts = reader.array(|reader, _| self.thought_part(reader, key))?;
                        self.crowded |= parts > 1;
                        Some(())
                    }
                    b"text" if reader.kind()? == Kind::String => {
                        self.text(reader, key, Content::Reasoning)
                    }
                    _ => self.other(reader, key),
                })?;
                Some(())
            }
            Kind::Null | Kind::Scalar => self.other(reader, key),
        }
    }

    /// Reads an element of the list `key`.
    fn thought_part(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        self.place(key);
        if reader.kind()? == Kind::String {
            return self.text(reader, key, Content::Reasoning);
        }
        reader.object(|reader, key| match key {
            b"text" if reader.kind()? == Kind::String => self.text(reader, key, Content::Reasoning),
            _ => self.other(reader, key),
        })?;
        Some(())
    }

    /// Reads the text in the member `key`.
    fn text(&mut self, reader: &mut Reader<'a>, key: &[u8], content: Content) -> Option<()> {
        let range = reader.string()?.unwrap_or_default();
        if range.is_empty() {
            return Some(());
        }
        self.texts += 1;
        if self.content != Content::Token {
            self.content = content;
        }
        self.text = Some(range);
        self.place(key);
        self.beside.tag(content_tag(content));
        Some(())
    }

    /// Notes a part of the way to the text.
    fn place(&mut self, name: &[u8]) {
        self.beside.tag(text::key(name));
    }

    /// Notes a member beside the text of the message.
    fn beside(&mut self, reader: &mut Reader<'a>, key: &[u8]) -> Option<()> {
        let raw = reader.raw()?;
        if beside::is_identity(key) && reader::says_something(raw) {
            self.author = text::key((self.author, key, raw));
        }
        self.beside.add(key, raw);
        Some(())
    }

    /// Notes a member of a content block, whose index and id tell it from others.
    fn other(&mut self, reader: &mut Reader<'a>, key: &[u8]) -> Option<()> {
        let raw = reader.raw()?;
        self.beside.needs(key, raw);
        self.beside.same(key, raw);
        Some(())
    }
}

/// What LangChain says about where a message was written, and by which model: the node of a graph, tags, ... It is the
/// same in all events of a run of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Metadata<'a>(&'a [u8]);

impl<'a> Metadata<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.raw().map(Self)
    }

    /// Returns a hash of what must be equal before two messages are merged, zero if there are no metadata.
    pub(super) fn key(self, seen: &mut Seen) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        seen.group(self.0, || self.beside())
    }

    fn beside(self) -> Beside {
        let mut beside = Beside::default();
        let is_object = Reader::new(self.0).object(|reader, key| {
            let raw = reader.raw()?;
            match key {
                // Another step of the graph runs another node, or the same one again.
                b"langgraph_step" => {
                    beside.may_vary(key, raw);
                }
                // Facts about the graph and the model.
                key if key.starts_with(b"langgraph_") || key.starts_with(b"ls_") => {
                    beside.same(key, raw);
                }
                _ => beside.add(key, raw),
            }
            Some(())
        });
        if is_object != Some(true) {
            beside.same(b"metadata", self.0);
        }
        beside
    }

    /// Returns a hash of the step of the graph, zero if it is not known.
    pub(super) fn step(self) -> u64 {
        let mut step = 0;
        // The rest has been read, and is well formed.
        let _ = Reader::new(self.0).object(|reader, key| {
            if key != b"langgraph_step" {
                return reader.skip();
            }
            step = text::key(reader.raw()?);
            None
        });
        step
    }

    /// Returns where in the graph the message was written: the place or the node, empty if neither is known.
    pub(super) fn node(self) -> &'a [u8] {
        let (mut place, mut node): (&[u8], &[u8]) = (b"", b"");
        let read = Reader::new(self.0).object(|reader, key| {
            match key {
                b"langgraph_checkpoint_ns" => place = reader.word()?,
                b"langgraph_node" => node = reader.word()?,
                _ => reader.skip()?,
            }
            Some(())
        });
        match read {
            Some(_) if !place.is_empty() => place,
            Some(_) => node,
            None => b"",
        }
    }
}

/// Returns the tag that distinguishes reasoning from answer text in the merge key.
const fn content_tag(content: Content) -> u64 {
    match content {
        Content::Reasoning => 1,
        Content::None | Content::Other | Content::Token | Content::Tool => 0,
    }
}
