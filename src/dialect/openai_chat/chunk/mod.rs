//! Reads one chunk: which texts, calls and counts it has, and what stands beside them.

mod details;

use std::ops::Range;

use crate::dialect::beside::Beside;
use crate::dialect::reader::{self, Reader};
use crate::dialect::text;
use crate::event::{Content, LISTS, Step, Usage};
use crate::wire::json::Kind;

/// Returns the first counts, or the others if the first ones say nothing: Groq adds an empty `usage`.
fn more_telling(first: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    match (first, other) {
        (Some(empty), Some(_)) if empty == Usage::default() => other,
        _ => first.or(other),
    }
}

/// Returns the bit of a choice. All indices from 63 on share the last one.
pub(super) const fn bit(choice: u64) -> u64 {
    1 << if choice < 63 { choice } else { 63 }
}

/// The rarer names of a thought that is a string.
const THOUGHTS: [&[u8]; 7] = [
    b"reasoningContent",
    b"reasoningText",
    b"reasoning_summary",
    b"think",
    b"thinking",
    b"thinking_content",
    b"thought",
];

/// A member that carries text.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Field {
    Arguments,
    Content,
    FunctionArguments,
    Reasoning,
    ReasoningContent,
    ReasoningText,
    Refusal,
    Text,
    Thinking,
    /// A thought under one of the rarer names: the name is among what must be equal.
    Thought,
}

/// The contents of one chunk.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Whether there is a top-level `error`.
    pub(super) failed: bool,
    /// A hash of the id of the completion; zero if there is none.
    pub(super) id: u32,
    pub(super) has_choices: bool,
    pub(super) usage: Option<Usage>,
    pub(super) choices: usize,
    /// The index of the last choice.
    pub(super) choice: u64,
    /// The choices of the chunk, one bit each.
    pub(super) begun: u64,
    /// The choices with a finish reason.
    pub(super) finished: u64,
    pub(super) tool_index: u64,
    /// What must be equal before two chunks are merged: the model, citations, search results, ...
    pub(super) beside: Beside,
    pub(super) text: Option<(Field, Range<usize>)>,
    pub(super) texts: usize,
    /// The text of a thought among the parts of a content array.
    pub(super) thought: Option<Range<usize>>,
    /// In how many further members the chunk has the text of its thought.
    pub(super) copies: u8,
    /// The text in the details of a thought, and in how many places it is there.
    detail: Option<Range<usize>>,
    detail_count: u8,
    /// Whether the content is a thought (Google).
    thinks: bool,
    pub(super) content: Content,
    pub(super) role: bool,
    /// Whether the text is the result of a tool, which an agent ran itself.
    pub(super) result: bool,
    pub(super) tool: bool,
    /// The number of tool calls in all choices.
    pub(super) calls: usize,
    /// Whether one of the calls has a name.
    pub(super) opens: bool,
    pub(super) finish: bool,
    /// Whether there are annotations or images: parts of the answer that are not text.
    pub(super) annotated: bool,
    /// Whether there is audio, or content of an unknown shape.
    pub(super) strange: bool,
    /// Whether there is something that a merge would lose: ids and names of calls, unknown members.
    pub(super) crowded: bool,
    /// Whether there are log probabilities or token ids.
    pub(super) lists: bool,
}

impl Chunk {
    /// Reads the data of an event. `None` if it is not an object.
    ///
    /// In place, because a chunk is too large to be moved for each event.
    pub(super) fn read(&mut self, data: &[u8]) -> Option<()> {
        let chunk = self;
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                // Some servers give each chunk an id of its own.
                b"id" => {
                    let raw = reader.raw()?;
                    let hash = chunk.beside.may_vary(key, raw);
                    chunk.id = if raw.starts_with(b"\"") { hash } else { 0 };
                }
                b"object" | b"model" => chunk.beside.same(key, reader.raw()?),
                // The time of the chunk, llama.cpp's measurements up to it, and the build of the server that wrote it,
                // which changes where several serve one completion.
                b"created" | b"timings" | b"system_fingerprint" => reader.skip()?,
                b"choices" => {
                    chunk.has_choices = reader.kind()? == Kind::Array;
                    chunk.choices = reader.array(|reader, _| chunk.choice(reader))?;
                }
                b"error" => chunk.failed = reader.truthy()?,
                b"usage" if reader.kind()? == Kind::Object => {
                    chunk.usage = more_telling(reader.usage()?, chunk.usage);
                }
                // Groq states the counts here, in the last chunk.
                b"x_groq" => {
                    let raw = reader.raw()?;
                    Reader::new(raw).object(|reader, key| match key {
                        b"usage" => {
                            chunk.usage = more_telling(chunk.usage, reader.usage()?);
                            Some(())
                        }
                        _ => reader.skip(),
                    })?;
                    chunk.beside.same(key, raw);
                }
                // Vendors' members, which are on one chunk or on every chunk.
                _ => chunk.beside.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        if chunk.detail_count > 0 {
            chunk.settle_details(data);
        }
        if chunk.thinks {
            chunk.settle_thought();
        }
        is_object.then_some(())
    }

    fn choice(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let (mut index, mut finished) = (0, false);
        reader.object(|reader, key| {
            match key {
                b"index" => index = self.beside.number(reader, key)?,
                b"delta" => {
                    reader.object(|reader, key| self.delta(reader, key))?;
                }
                b"text" => self.text(reader, Field::Text, Content::Token)?,
                b"finish_reason" => finished = reader.truthy()?,
                // Moonshot states the counts in the last chunk of a choice.
                b"usage" if reader.kind()? == Kind::Object => {
                    self.usage = more_telling(self.usage, reader.usage()?);
                }
                // Azure's verdicts, on every chunk.
                b"content_filter_results" => self.beside.same(key, reader.raw()?),
                key if LISTS.contains(&key) => self.lists |= reader.says_something()?,
                _ => self.beside.inner(key, reader.raw()?),
            }
            Some(())
        })?;
        self.choice = index;
        self.begun |= bit(index);
        self.finish |= finished;
        self.finished |= if finished { bit(index) } else { 0 };
        Some(())
    }

    fn delta(&mut self, reader: &mut Reader<'_>, key: &[u8]) -> Option<()> {
        match key {
            b"role" => {
                let raw = reader.raw()?;
                self.role |= reader::says_something(raw);
                self.result |= raw == b"\"tool\"";
                self.beside.same(key, raw);
            }
            b"content" => self.text(reader, Field::Content, Content::Token)?,
            b"refusal" => self.text(reader, Field::Refusal, Content::Token)?,
            b"reasoning" => self.text(reader, Field::Reasoning, Content::Reasoning)?,
            b"reasoning_content" => {
                self.text(reader, Field::ReasoningContent, Content::Reasoning)?;
            }
            // Copilot's names; the second one is encrypted.
            b"reasoning_text" => self.text(reader, Field::ReasoningText, Content::Reasoning)?,
            b"reasoning_opaque" => self.sealed(reader)?,
            b"reasoning_details" | b"thinking_blocks" => self.details(reader, key)?,
            // LiteLLM repeats there what it found in the provider's own format.
            b"provider_specific_fields" => self.provider_fields(reader, key)?,
            b"extra_content" => self.extra(reader, key)?,
            b"tool_calls" => {
                let calls = reader.array(|reader, _| self.tool_call(reader))?;
                self.tool |= calls > 0;
                self.calls += calls;
                self.crowded |= calls > 1;
            }
            b"function_call" => {
                let is_call = reader
                    .object(|reader, key| self.function(reader, key, Field::FunctionArguments))?;
                self.tool |= is_call;
                self.calls += usize::from(is_call);
            }
            b"audio" => self.strange |= reader.says_something()?,
            b"annotations" | b"images" => self.annotated |= reader.says_something()?,
            _ if THOUGHTS.contains(&key) && reader.kind()? == Kind::String => {
                if reader.clone().says_something()? {
                    self.beside.tag(text::key(key));
                }
                self.text(reader, Field::Thought, Content::Reasoning)?;
            }
            // Such as Groq's channel, and padding of random length.
            _ => self.beside.inner(key, reader.raw()?),
        }
        Some(())
    }

    fn tool_call(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        reader.object(|reader, key| {
            match key {
                b"index" => self.tool_index = self.beside.number(reader, key)?,
                // On every fragment, or only on the first.
                b"type" => match reader.raw()? {
                    b"\"function\"" => {}
                    other => self.beside.same(key, other),
                },
                b"function" => {
                    reader.object(|reader, key| self.function(reader, key, Field::Arguments))?;
                }
                // The id, and vendor-specific signatures.
                _ => {
                    if reader.says_something()? {
                        self.crowded = true;
                        self.adds(Content::Tool);
                    }
                }
            }
            Some(())
        })?;
        Some(())
    }

    fn function(&mut self, reader: &mut Reader<'_>, key: &[u8], field: Field) -> Option<()> {
        if key == b"arguments" && reader.kind()? == Kind::String {
            let range = reader.string()?.unwrap_or_default();
            if !range.is_empty() {
                self.adds(Content::Tool);
            }
            self.text = Some((field, range));
            self.texts += 1;
        } else if reader.says_something()? {
            self.opens |= key == b"name";
            self.crowded = true;
            self.adds(Content::Tool);
        }
        Some(())
    }

    /// Returns what the chunk does to a tool call.
    pub(super) const fn step(&self) -> Option<Step> {
        let is_clear = self.choices == 1 && self.calls <= 1 && self.texts <= 1;
        match (self.tool, self.finish) {
            (false, false) => None,
            // A whole call together with a finish reason, and a finish in a chunk with several
            // choices, are handled as several steps, too.
            _ if !is_clear && self.tool => Some(Step::Several),
            (true, true) if self.opens => Some(Step::Several),
            (false, true) if self.choices > 1 => Some(Step::Several),
            (false, true) => Some(Step::GroupEnds),
            (true, true) => Some(Step::Last),
            (true, false) if self.opens => Some(Step::Begins),
            (true, false) => Some(Step::GoesOn),
        }
    }

    /// Reads a text member. A value that is neither a string nor empty counts as strange.
    fn text(&mut self, reader: &mut Reader<'_>, field: Field, content: Content) -> Option<()> {
        if reader.kind()? != Kind::String {
            return self.no_text(reader, field, content);
        }
        let range = reader.string()?.unwrap_or_default();
        if !range.is_empty() {
            if let Some((_, known)) = &self.text
                && content == Content::Reasoning
                && self.content == content
                && reader.is_same(known.clone(), range.clone())
            {
                // The same thought under another name (vLLM).
                self.beside.tag(text::key(field));
                self.copies = self.copies.saturating_add(1);
                return Some(());
            }
            self.text = Some((field, range));
            self.texts += 1;
            self.adds(content);
        }
        Some(())
    }

    /// Reads a text member that is no string: `null`, or an array of parts. Not inlined: it is not the
    /// common case.
    #[inline(never)]
    fn no_text(&mut self, reader: &mut Reader<'_>, field: Field, content: Content) -> Option<()> {
        if reader.kind()? == Kind::Array && content == Content::Token {
            let parts = reader.array(|reader, _| self.part(reader, field))?;
            // A merge would lose all but one, or turn a string into an array.
            self.crowded |= parts > 1;
            self.beside.tag(text::key((b"parts", parts > 0)));
        } else {
            self.strange |= reader.says_something()?;
        }
        Some(())
    }

    /// Reads a part of a content array (Mistral): `{"type":"text","text":...}`, or a thought, which
    /// is an array of texts itself.
    fn part(&mut self, reader: &mut Reader<'_>, field: Field) -> Option<()> {
        let (mut known, mut text) = (false, None);
        let is_object = reader.object(|reader, key| {
            match key {
                b"type" => known = matches!(reader.word()?, b"text" | b"thinking"),
                b"text" if reader.kind()? == Kind::String => text = reader.string()?,
                b"thinking" => self.thought(reader)?,
                _ => {
                    let raw = reader.raw()?;
                    self.crowded |= reader::says_something(raw);
                    self.beside.needs(key, raw);
                }
            }
            Some(())
        })?;
        self.strange |= !(is_object && known);
        if let Some(range) = text.filter(|range| !range.is_empty()) {
            self.text = Some((field, range));
            self.texts += 1;
            self.adds(Content::Token);
        }
        Some(())
    }

    /// Reads the thought of a part: an array of texts, mostly of one.
    fn thought(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let raw = reader.clone();
        let is_said = reader.says_something()?;
        if !is_said {
            return Some(());
        }
        self.adds(Content::Reasoning);
        let mut reader = raw;
        let mut only = None;
        let texts = if reader.kind()? == Kind::Array {
            reader.array(|reader, _| {
                let is_object = reader.object(|reader, key| {
                    match key {
                        b"text" if reader.kind()? == Kind::String => only = reader.string()?,
                        b"type" => self.crowded |= reader.word()? != b"text",
                        _ => self.crowded |= reader.says_something()?,
                    }
                    Some(())
                })?;
                self.crowded |= !is_object;
                Some(())
            })?
        } else {
            0
        };
        self.crowded |= texts != 1;
        self.thought = only.filter(|only| !only.is_empty());
        Some(())
    }

    fn adds(&mut self, content: Content) {
        self.content = text::more_telling(self.content, content);
    }
}
