//! Messages of LangChain, as LangGraph and LangServe serialise them: plain, or wrapped in `lc` and `kwargs`.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::shared;
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{elements, id, is_object, member, number, string, word};
use crate::wire::json::Cursor;

/// How a tool has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Failed,
    /// More follows.
    Partial,
    Succeeded,
}

/// Returns a hash.
pub(super) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Calls `each` with the members of an object, in order, except those that are `null`.
fn each_member<'a>(object: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) {
    let mut cursor = Cursor::new(object);
    if cursor.enter_object().is_none() {
        return;
    }
    while let Some(Some(name)) = cursor.next_key() {
        let Some(value) = cursor.skip().and_then(|range| object.get(range)) else {
            return;
        };
        if value != b"null" {
            each(name, value);
        }
    }
}

/// Calls `each` with the elements of an array, in order.
fn each_element<'a>(array: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    let mut cursor = Cursor::new(array);
    if cursor.enter_array().is_none() {
        return;
    }
    while let Some(true) = cursor.next_element() {
        let Some(value) = cursor.skip().and_then(|range| array.get(range)) else {
            return;
        };
        each(value);
    }
}

/// The members of a message, raw. Empty where there is none.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    /// `AIMessageChunk`, `ai`, `tool`, ...
    pub(super) kind: &'a [u8],
    /// The raw body of its id.
    pub(super) id: &'a [u8],
    name: &'a [u8],
    content: Option<&'a [u8]>,
    text: &'a [u8],
    /// What a model adds in ways of its own.
    additional: &'a [u8],
    /// Pieces of tool calls.
    fragments: &'a [u8],
    /// Complete tool calls.
    calls: &'a [u8],
    /// The call that a tool's message answers.
    call: &'a [u8],
    status: &'a [u8],
    usage: Option<&'a [u8]>,
    response: &'a [u8],
    is_last: bool,
    /// The last part of the path of a serialised class.
    class: &'a [u8],
    wrapped: &'a [u8],
}

/// What a message consists of.
enum Piece<'a> {
    Text(&'a [u8]),
    Reasoning(&'a [u8]),
    /// A content block of another type, with its type.
    Block(&'a [u8], &'a [u8]),
}

impl<'a> Message<'a> {
    /// Returns the message in a value, empty if the value is not an object.
    pub(super) fn read(value: &'a [u8]) -> Self {
        let mut message = Self::default();
        each_member(value, |name, value| message.member(name, value));
        let wrapped = message.wrapped;
        each_member(wrapped, |name, value| message.member(name, value));
        if matches!(message.kind, b"" | b"constructor") {
            message.kind = message.class;
        }
        message
    }

    fn member(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b"type" => self.kind = string(value).unwrap_or_default(),
            b"id" => match string(value) {
                Some(id) => self.id = id,
                None => each_element(value, |part| self.class = string(part).unwrap_or_default()),
            },
            b"name" => self.name = string(value).unwrap_or_default(),
            b"content" => self.content = Some(value),
            b"text" => self.text = string(value).unwrap_or_default(),
            b"additional_kwargs" if value != b"{}" => self.additional = value,
            b"tool_call_chunks" if value != b"[]" => self.fragments = value,
            b"tool_calls" if value != b"[]" => self.calls = value,
            b"tool_call_id" => self.call = string(value).unwrap_or_default(),
            b"status" => self.status = string(value).unwrap_or_default(),
            b"usage_metadata" => self.usage = Some(value),
            b"response_metadata" if value != b"{}" => self.response = value,
            b"chunk_position" => self.is_last = value == b"\"last\"",
            b"kwargs" => self.wrapped = value,
            _ => {}
        }
    }

    /// Reports whether there is a member for content.
    pub(super) const fn is_message(&self) -> bool {
        self.content.is_some()
    }

    /// Reports whether it is the answer of a tool.
    pub(super) const fn is_tool(&self) -> bool {
        matches!(self.kind, b"tool" | b"ToolMessage" | b"ToolMessageChunk")
    }

    /// Reports whether a model wrote it.
    pub(super) const fn is_ai(&self) -> bool {
        matches!(
            self.kind,
            b"ai" | b"assistant" | b"AIMessage" | b"AIMessageChunk"
        )
    }

    /// Reports whether it is a piece of a message.
    pub(super) const fn is_chunk(&self) -> bool {
        matches!(self.kind, b"AIMessageChunk")
    }

    /// Reports whether the user wrote it.
    pub(super) const fn is_human(&self) -> bool {
        matches!(
            self.kind,
            b"human" | b"user" | b"HumanMessage" | b"HumanMessageChunk"
        )
    }

    /// Reports whether it calls tools.
    pub(super) const fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Returns what a tool has answered, if it is the answer of a tool.
    pub(super) const fn tool_content(&self) -> Option<&'a [u8]> {
        if self.is_tool() { self.content } else { None }
    }

    /// Reports whether it says that a tool has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.status == b"error"
    }

    /// Returns LangChain's object with the token counts.
    pub(super) const fn counts(&self) -> Option<&'a [u8]> {
        self.usage
    }

    /// Calls `each` with the contents, in order.
    fn pieces(&self, each: &mut dyn FnMut(Piece<'a>)) {
        if !self.additional.is_empty() {
            each_member(self.additional, |name, value| {
                if matches!(name, b"reasoning" | b"reasoning_content") {
                    thought(value, each);
                }
            });
        }
        let Some(content) = self.content else {
            return each(Piece::Text(self.text));
        };
        if let Some(text) = string(content) {
            return each(Piece::Text(text));
        }
        each_element(content, |block| match string(block) {
            Some(text) => each(Piece::Text(text)),
            None => piece_of_block(block, each),
        });
    }

    /// Returns the whole text of the answer, or of the reasoning.
    fn joined(&self, of_reasoning: bool) -> Cow<'a, [u8]> {
        let mut joined: Cow<'a, [u8]> = Cow::Borrowed(b"");
        self.pieces(&mut |piece| {
            let text = match piece {
                Piece::Text(text) if !of_reasoning => text,
                Piece::Reasoning(text) if of_reasoning => text,
                _ => return,
            };
            if joined.is_empty() {
                joined = Cow::Borrowed(text);
            } else if !text.is_empty() {
                joined.to_mut().extend_from_slice(text);
            }
        });
        joined
    }
}

fn piece_of_block<'a>(block: &'a [u8], each: &mut dyn FnMut(Piece<'a>)) {
    let mut kind: &[u8] = b"";
    let mut is_read = false;
    each_member(block, |name, value| match name {
        b"type" => kind = string(value).unwrap_or_default(),
        b"text" => {
            if let Some(text) = string(value) {
                each(Piece::Text(text));
                is_read = true;
            }
        }
        b"reasoning" | b"reasoning_content" | b"summary" | b"thinking" => {
            thought(value, each);
            is_read = true;
        }
        _ => {}
    });
    if !is_read
        && !matches!(
            kind,
            b"text" | b"thinking" | b"reasoning" | b"reasoning_content"
        )
    {
        each(Piece::Block(kind, block));
    }
}

/// Calls `each` with the texts of a thought: a text, a list of texts, or an object with either.
fn thought<'a>(value: &'a [u8], each: &mut dyn FnMut(Piece<'a>)) {
    if let Some(text) = string(value) {
        return each(Piece::Reasoning(text));
    }
    let list = if is_object(value) {
        if let Some(text) = member(value, "text").and_then(string) {
            return each(Piece::Reasoning(text));
        }
        member(value, "summary").unwrap_or_default()
    } else {
        value
    };
    each_element(list, |part| {
        let text = string(part).unwrap_or_else(|| word(part, &["text"]));
        each(Piece::Reasoning(text));
    });
}

/// How the text of a message was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// In pieces.
    Chunks,
    /// In messages each of which has all of the text so far.
    Partials,
    /// At once.
    Whole,
    /// Before this run.
    Earlier,
}

/// A message that was told.
#[derive(Debug)]
struct Told {
    msg: Vec<u8>,
    how: How,
    /// The length and the hash of the text so far, if it does not come in chunks.
    text: (usize, u64),
    /// The same for the reasoning.
    thought: (usize, u64),
    /// Whether the whole message was told as well.
    repeated: bool,
}

/// A tool call.
#[derive(Debug)]
struct Call {
    msg: Vec<u8>,
    /// Its number in the message, raw.
    index: Vec<u8>,
    id: Vec<u8>,
    /// The name of the tool.
    name: Vec<u8>,
    /// Whether further arguments may follow.
    open: bool,
    /// Whether the tool has begun to run.
    runs: bool,
}

/// What was told about the messages of one stream.
#[derive(Debug, Default)]
pub(super) struct Messages {
    told: Vec<Told>,
    calls: Vec<Call>,
    /// The calls that have a result.
    results: Vec<Vec<u8>>,
    /// How many calls had no id.
    unnamed: u64,
}

impl Messages {
    /// Reports whether no message was told yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Tells a piece of a message.
    pub(super) fn chunk(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let how = self.find(msg).map(|told| told.how);
        if matches!(how, Some(How::Partials | How::Whole)) && !msg.is_empty() {
            return;
        }
        let has_fragments = !message.fragments.is_empty();
        let mut is_content = has_fragments;
        message.pieces(&mut |piece| match piece {
            Piece::Text(b"") | Piece::Reasoning(b"") => {}
            Piece::Text(text) => {
                is_content = true;
                parts(Part::Text {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
            Piece::Reasoning(text) => {
                is_content = true;
                parts(Part::Reasoning {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
            Piece::Block(kind, block) => self.block(msg, kind, block, has_fragments, parts),
        });
        if is_content && how.is_none() {
            self.tell(msg, How::Chunks);
        }
        if has_fragments {
            each_element(message.fragments, |call| {
                let args = word(call, &["args"]);
                self.fragment(msg, id(call, &["index"]), call, args, parts);
            });
        } else if message.has_calls() {
            self.whole_calls(msg, message, parts);
        }
        let finish = word(message.response, &["finish_reason"]);
        let stop = word(message.response, &["stop_reason"]);
        let reason = if finish.is_empty() { stop } else { finish };
        if message.is_last || !reason.is_empty() {
            self.close(msg, parts);
        }
        if !reason.is_empty() {
            parts(Part::Finish {
                reason: Reason::of(reason),
                scope: Scope::Choice,
            });
        }
    }

    /// Tells what a message with all of the text so far adds to the one before it.
    pub(super) fn partial(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        match self.find(msg).map(|told| told.how) {
            Some(How::Partials) => {}
            Some(How::Chunks | How::Whole | How::Earlier) => return,
            None => self.tell(msg, How::Partials),
        }
        let (thought, text) = (message.joined(true), message.joined(false));
        if let Some(told) = self.find_mut(msg) {
            if let Some(text) = added(&mut told.thought, &thought) {
                parts(Part::Reasoning {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
            if let Some(text) = added(&mut told.text, &text) {
                parts(Part::Text {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
        }
    }

    /// Tells a whole message, whose text and calls may have been told before.
    pub(super) fn whole(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if message.is_tool() {
            return self.result(message, parts);
        }
        if !message.is_ai() {
            return;
        }
        if self.find(msg).is_some_and(|told| told.how == How::Earlier) {
            return;
        }
        // What is missing at the end of the partial messages.
        if self.find(msg).is_some_and(|told| told.how == How::Partials) {
            self.partial(msg, message, parts);
        }
        let text = message.joined(false);
        let seal = (text.len(), hash(&text));
        let known = self.find(msg).is_some_and(|told| {
            // Without an id of its own, the message may be another one of the same author.
            told.how != How::Whole || !message.id.is_empty() || told.text == seal
        });
        if known {
            self.close(msg, parts);
            let is_first = self
                .find_mut(msg)
                .is_some_and(|told| !std::mem::replace(&mut told.repeated, true));
            if is_first && !text.is_empty() {
                parts(Part::Message {
                    msg: msg.into(),
                    role: b"assistant".into(),
                    text,
                    duplicate: true,
                });
            }
        } else {
            self.told.retain(|told| told.msg != msg);
            self.tell(msg, How::Whole);
            if let Some(told) = self.find_mut(msg) {
                told.text = seal;
                told.repeated = true;
            }
            message.pieces(&mut |piece| match piece {
                Piece::Text(b"") | Piece::Reasoning(b"") | Piece::Block(..) => {}
                Piece::Text(text) => parts(Part::Text {
                    msg: msg.into(),
                    text: text.into(),
                }),
                Piece::Reasoning(text) => parts(Part::Reasoning {
                    msg: msg.into(),
                    text: text.into(),
                }),
            });
            if let Some(usage) = message.usage {
                parts(Part::Usage {
                    input: number(usage, &["input_tokens"]),
                    output: number(usage, &["output_tokens"]),
                    reasoning: number(usage, &["output_token_details", "reasoning"]),
                    cached: number(usage, &["input_token_details", "cache_read"]),
                    call: hash(msg),
                });
            }
        }
        self.whole_calls(msg, message, parts);
    }

    /// Notes a message of an earlier run.
    pub(super) fn earlier(&mut self, msg: &[u8], message: &Message<'_>) {
        if message.is_tool() {
            shared::remember(&mut self.results, message.call.to_vec());
        } else if self.find(msg).is_none() {
            self.tell(msg, How::Earlier);
            for call in elements(message.calls) {
                self.know(msg, b"", word(call, &["id"]), word(call, &["name"]), false);
            }
        }
    }

    /// Tells the answer of a tool, if it was not told before.
    pub(super) fn result(&mut self, message: &Message<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        let how = if message.has_failed() {
            Answer::Failed
        } else {
            Answer::Succeeded
        };
        let content = message.content.unwrap_or(b"null");
        self.answer(message.call, message.name, how, content, parts);
    }

    /// Tells the answer of a tool, if it was not told before.
    pub(super) fn answer(
        &mut self,
        call: &[u8],
        name: &[u8],
        how: Answer,
        content: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let partial = how == Answer::Partial;
        if self.results.iter().any(|told| told == call) {
            return;
        }
        if !partial {
            shared::remember(&mut self.results, call.to_vec());
        }
        for known in self.calls.iter_mut().filter(|known| known.id == call) {
            ready(known, parts);
        }
        parts(Part::ToolResult {
            id: call.into(),
            name: name.into(),
            ok: how != Answer::Failed,
            content: content.into(),
            partial,
        });
    }

    /// Tells a complete call, if it was not told before.
    pub(super) fn call(
        &mut self,
        msg: &[u8],
        call: &[u8],
        name: &[u8],
        args: Option<&[u8]>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if let Some(known) = self.calls.iter_mut().find(|known| known.id == call) {
            return ready(known, parts);
        }
        self.know(msg, b"", call, name, false);
        parts(Part::ToolReady {
            msg: msg.into(),
            id: call.into(),
            name: name.into(),
            args: Some(args.unwrap_or(b"{}").into()),
            by: By::Agent,
        });
    }

    /// Tells a piece of a call. The first has an id and a name.
    pub(super) fn fragment(
        &mut self,
        msg: &[u8],
        index: &[u8],
        call: &[u8],
        args: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let told = word(call, &["id"]);
        let mut known = self
            .calls
            .iter()
            .rposition(|known| known.open && known.msg == msg && known.index == index);
        if let Some(other) = known.and_then(|at| self.calls.get_mut(at))
            && !told.is_empty()
            && other.id != told
        {
            // Some models number all of their calls zero.
            ready(other, parts);
            known = None;
        }
        let call_id = match known.and_then(|at| self.calls.get(at)) {
            Some(call) => Cow::Borrowed(call.id.as_slice()),
            None => Cow::Owned(self.begin(msg, index, told, word(call, &["name"]), parts)),
        };
        if !args.is_empty() {
            parts(Part::ToolArgs {
                id: call_id,
                text: args.into(),
            });
        }
    }

    /// Returns the id of the oldest call of a tool that does not run yet, and notes that it runs.
    pub(super) fn run(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let mut calls = self.calls.iter_mut();
        let call = calls.find(|call| !call.runs && call.name == name)?;
        call.runs = true;
        Some(call.id.clone())
    }

    /// Tells that all arguments of a message are complete.
    pub(super) fn close(&mut self, msg: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        for call in self.calls.iter_mut().filter(|call| call.msg == msg) {
            ready(call, parts);
        }
    }

    /// Tells that all arguments are complete.
    pub(super) fn close_all(&mut self, parts: &mut dyn FnMut(Part<'_>)) {
        for call in &mut self.calls {
            ready(call, parts);
        }
    }

    /// Tells that the arguments of one call are complete.
    pub(super) fn close_at(&mut self, msg: &[u8], index: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let is_it = |call: &&mut Call| call.msg == msg && call.index == index;
        for call in self.calls.iter_mut().filter(is_it) {
            ready(call, parts);
        }
    }

    /// Reports whether a message was told, or a part of it.
    pub(super) fn has(&self, msg: &[u8]) -> bool {
        self.find(msg).is_some()
    }

    /// Notes that the text of a message comes in pieces.
    pub(super) fn note_pieces(&mut self, msg: &[u8]) {
        if self.find(msg).is_none() {
            self.tell(msg, How::Chunks);
        }
    }

    fn begin(
        &mut self,
        msg: &[u8],
        index: &[u8],
        told: &[u8],
        name: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Vec<u8> {
        let id = if told.is_empty() {
            self.unnamed += 1;
            format!("call-{}", self.unnamed).into_bytes()
        } else {
            told.to_vec()
        };
        parts(Part::ToolStart {
            msg: msg.into(),
            id: (&id).into(),
            name: name.into(),
            by: By::Agent,
        });
        self.know(msg, index, &id, name, true);
        id
    }

    /// Tells a content block that is no text. Blocks of calls repeat the fragments, if there are any.
    fn block(
        &mut self,
        msg: &[u8],
        kind: &[u8],
        block: &[u8],
        has_fragments: bool,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let index = id(block, &["index"]);
        match kind {
            b"tool_use" | b"tool_call" | b"tool_call_chunk" | b"input_json_delta" => {
                if has_fragments {
                    return;
                }
                let args = ["partial_json", "args", "input"]
                    .into_iter()
                    .map(|name| word(block, &[name]))
                    .find(|args| !args.is_empty());
                self.fragment(msg, index, block, args.unwrap_or_default(), parts);
            }
            _ => parts(Part::Raw {
                name: kind.into(),
                data: block.into(),
            }),
        }
    }

    fn whole_calls(&mut self, msg: &[u8], message: &Message<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        each_element(message.calls, |call| {
            let told = word(call, &["id"]);
            let args = member(call, "args");
            if told.is_empty() {
                // Only the position tells it from the calls of other messages.
                let made = format!("call-{:x}", hash((msg, call))).into_bytes();
                self.call(msg, &made, word(call, &["name"]), args, parts);
            } else {
                self.call(msg, told, word(call, &["name"]), args, parts);
            }
        });
    }

    fn know(&mut self, msg: &[u8], index: &[u8], id: &[u8], name: &[u8], open: bool) {
        let call = Call {
            msg: msg.to_vec(),
            index: index.to_vec(),
            id: id.to_vec(),
            name: name.to_vec(),
            open,
            runs: false,
        };
        shared::remember(&mut self.calls, call);
    }

    fn tell(&mut self, msg: &[u8], how: How) {
        let told = Told {
            msg: msg.to_vec(),
            how,
            text: (0, hash(b"".as_slice())),
            thought: (0, hash(b"".as_slice())),
            repeated: false,
        };
        shared::remember(&mut self.told, told);
    }

    fn find(&self, msg: &[u8]) -> Option<&Told> {
        self.told.iter().rev().find(|told| told.msg == msg)
    }

    fn find_mut(&mut self, msg: &[u8]) -> Option<&mut Told> {
        self.told.iter_mut().rev().find(|told| told.msg == msg)
    }
}

/// Tells that the arguments of a call are complete, if they were not before.
fn ready(call: &mut Call, parts: &mut dyn FnMut(Part<'_>)) {
    if std::mem::replace(&mut call.open, false) {
        parts(Part::ToolReady {
            msg: call.msg.as_slice().into(),
            id: call.id.as_slice().into(),
            name: b"".into(),
            args: None,
            by: By::Agent,
        });
    }
}

/// Returns what a text adds to the one before it, of which the length and the hash are known.
fn added<'a>(before: &mut (usize, u64), text: &'a [u8]) -> Option<&'a [u8]> {
    let (length, seal) = *before;
    let (head, more) = text.split_at_checked(length)?;
    if more.is_empty() || hash(head) != seal {
        return None;
    }
    *before = (text.len(), hash(text));
    Some(more)
}

/// Tells the token counts of an event. `counts` is LangChain's own object with them.
pub(super) fn usage(event: &Event, counts: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
    let cached = counts.and_then(|counts| number(counts, &["input_token_details", "cache_read"]));
    shared::usage(event, cached, parts);
}
