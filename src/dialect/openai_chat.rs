//! OpenAI chat completions and legacy completions, including compatible servers.
//!
//! A chunk may carry several things. It gets the class of the most critical one, and it is merged
//! with its neighbour only if it carries exactly one text and nothing else.

use std::ops::Range;

use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::{self, Reader};
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
    chat_or_completion,
};
use super::text;
use crate::event::{Class, Content, Event, Keep, LISTS, Step, Terminal, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "openai_chat",
    match_head: |head| Sign::Certain.when(head.ends_with("/completions")),
    match_first_frame,
    parser: |_| Box::<State>::default(),
    refusal: Some(|refusal, _| error(refusal.code, refusal.message)),
    streams_on_request: true,
    hide: HideFacts::MIXES_CALLS_WITH_TEXT,
    gen_ai: GenAi {
        provider: Some("openai"),
        operation: Some(chat_or_completion),
        paths: &["/completions"],
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    spec::block(framing, "", &error(failure.code, failure.message))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let object = first.word("object");
    let has_choices = first.has_array("choices") && first.raw("choices") != b"[]";
    if has_choices || matches!(object, b"chat.completion.chunk" | b"text_completion") {
        return Sign::Certain;
    }
    let is_bare = first.name().is_empty() && !first.is_line();
    let is_done = first.frame().data().starts_with(b"[DONE]");
    Sign::Likely.when(is_bare && (first.has_object("error") || is_done))
}

/// Returns an error object for a failure that Weir itself reports.
pub(super) fn error(code: &str, message: &str) -> String {
    let error = Object::new()
        .text("message", message)
        .text("type", code)
        .raw("param", "null")
        .text("code", code);
    Object::new().raw("error", &error.end()).end()
}

/// The state that is kept between chunks.
#[derive(Debug, Default)]
struct State {
    /// The choices whose role was sent, one bit each. Only the first role of a choice makes a chunk
    /// critical, because some servers repeat the role on every chunk.
    roles: u64,
    /// The choices that have begun, one bit each.
    begun: u64,
    /// The choices whose finish reason was sent.
    finished: u64,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let data = frame.data();
        // The SDKs compare only the start of the data.
        if data.starts_with(b"[DONE]") {
            return Some(Event::bare(Class::Done).ending(Terminal::Done));
        }
        let chunk = Chunk::read(data)?;
        if chunk.failed {
            return Some(Event::bare(Class::Error).ending(Terminal::Error));
        }
        let (begun, finished) = (chunk.begun, chunk.finished);
        let mut event = self.event(frame, chunk, seen);
        if finished != 0 || begun & !self.begun != 0 {
            event.terminal = self.end(begun, finished);
        }
        Some(event)
    }
}

impl State {
    fn event(&mut self, frame: &Frame<'_>, chunk: Chunk, seen: &mut Seen) -> Event {
        // Chunks without text count, too: they repeat the id of their completion.
        let beside = seen.key(&chunk.beside);
        let opens = chunk.role && self.is_first_role(chunk.choice);
        let class = if chunk.strange || !(chunk.has_choices || chunk.usage.is_some()) {
            Class::Opaque
        } else if chunk.tool {
            Class::Tool
        } else if chunk.finish {
            Class::Finish
        } else if chunk.usage.is_some() {
            // With or without text: the counts must be neither dropped nor lost in a merge.
            Class::Usage
        } else if opens || chunk.annotated {
            Class::Structure
        } else {
            match chunk.content {
                Content::Token => Class::Token,
                Content::Reasoning => Class::Reasoning,
                Content::None | Content::Other | Content::Tool => Class::Structure,
            }
        };
        let content = match (class, chunk.content) {
            (Class::Opaque, Content::None) => Content::Other,
            (_, content) => content,
        };
        let event = Event {
            content,
            usage: chunk.usage,
            lane: chunk.choice,
            ..Event::bare(class)
        };
        let event = match chunk.step() {
            Some(step) => {
                let group = u32::try_from(chunk.choice).unwrap_or(u32::MAX);
                event.of_call(step, group, chunk.tool_index)
            }
            None => event,
        };
        let thought = chunk.thought.map(|range| (Field::Thinking, range));
        let Some((field, range)) = chunk.text.or(thought) else {
            return event;
        };
        if chunk.texts > 1 {
            return event;
        }
        let event = Event {
            text: frame.in_block(range),
            ..event
        };
        let joins = matches!(class, Class::Token | Class::Reasoning | Class::Tool)
            && chunk.choices == 1
            && !(chunk.crowded || chunk.finish || chunk.usage.is_some());
        if !joins {
            return event;
        }
        let key = text::key((field, chunk.choice, chunk.tool_index, beside));
        text::with_lists(text::joining(event, Keep::First, key), chunk.lists)
    }

    /// Returns what a chunk means for the end in which these choices begin or finish. After the finish reason of every
    /// choice that has begun, `[DONE]` is optional, because some servers never send it.
    #[inline(never)]
    const fn end(&mut self, begun: u64, finished: u64) -> Option<Terminal> {
        let is_new = begun & !self.begun != 0;
        self.begun |= begun;
        self.finished |= finished;
        if finished != 0 && self.begun & !self.finished == 0 {
            Some(Terminal::MayEnd)
        } else if is_new && self.finished != 0 {
            Some(Terminal::Reopens)
        } else {
            None
        }
    }

    const fn is_first_role(&mut self, choice: u64) -> bool {
        let bit = bit(choice);
        let is_first = self.roles & bit == 0;
        self.roles |= bit;
        is_first
    }
}

/// Returns the first counts, or the others if the first ones say nothing: Groq adds an empty `usage`.
fn more_telling(first: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    match (first, other) {
        (Some(empty), Some(_)) if empty == Usage::default() => other,
        _ => first.or(other),
    }
}

/// Returns the bit of a choice. All indices from 63 on share the last one.
const fn bit(choice: u64) -> u64 {
    1 << if choice < 63 { choice } else { 63 }
}

/// A member that carries text.
#[derive(Clone, Copy, Debug, Hash)]
enum Field {
    Arguments,
    Content,
    FunctionArguments,
    Reasoning,
    ReasoningContent,
    ReasoningText,
    Refusal,
    Text,
    Thinking,
}

/// The contents of one chunk.
#[derive(Debug, Default)]
struct Chunk {
    /// Whether there is a top-level `error`.
    failed: bool,
    has_choices: bool,
    usage: Option<Usage>,
    choices: usize,
    /// The index of the last choice.
    choice: u64,
    /// The choices of the chunk, one bit each.
    begun: u64,
    /// Those of them with a finish reason.
    finished: u64,
    tool_index: u64,
    /// What must be equal before two chunks are merged: the model, citations, search results, ...
    beside: Beside,
    text: Option<(Field, Range<usize>)>,
    texts: usize,
    /// The text of a thought among the parts of a content array.
    thought: Option<Range<usize>>,
    content: Content,
    role: bool,
    tool: bool,
    /// The number of tool calls in all choices.
    calls: usize,
    /// Whether one of the calls has a name.
    opens: bool,
    finish: bool,
    /// Whether there are annotations or images: parts of the answer that are not text.
    annotated: bool,
    /// Whether there is audio, or content of an unknown shape.
    strange: bool,
    /// Whether there is something that a merge would lose: ids and names of calls, unknown members.
    crowded: bool,
    /// Whether there are log probabilities or token ids.
    lists: bool,
}

impl Chunk {
    fn read(data: &[u8]) -> Option<Self> {
        let mut chunk = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                // Some servers give each chunk an id of its own.
                b"id" => chunk.beside.may_vary(key, reader.raw()?),
                b"object" | b"model" => chunk.beside.same(key, reader.raw()?),
                // The time of the chunk, llama.cpp's measurements up to it, and the build of the server that wrote it, which
                // changes where several serve one completion.
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
        is_object.then_some(chunk)
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
                // Azure's verdicts, on every chunk.
                b"content_filter_results" => self.beside.same(key, reader.raw()?),
                key if LISTS.contains(&key) => self.lists |= reader.says_something()?,
                _ => self.crowded |= !self.beside.scalar(key, reader.raw()?),
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
            b"reasoning_details" | b"reasoning_opaque" => {
                if reader.says_something()? {
                    self.crowded = true;
                    self.adds(Content::Reasoning);
                }
            }
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
            // Padding of random length.
            b"nonce" | b"obfuscation" | b"p" => reader.skip()?,
            b"audio" => self.strange |= reader.says_something()?,
            b"annotations" | b"images" => self.annotated |= reader.says_something()?,
            _ => self.crowded |= reader.says_something()?,
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
    const fn step(&self) -> Option<Step> {
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
                _ => self.crowded |= reader.says_something()?,
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
