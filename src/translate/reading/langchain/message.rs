//! What one message consists of. It is plain, or wrapped in `lc` and `kwargs`.

use std::borrow::Cow;

use crate::translate::raw::{is_object, member, string, word};
use crate::wire::json::Cursor;

/// The members of a message, raw. Empty where there is none.
#[derive(Debug, Default)]
pub(in crate::translate::reading) struct Message<'a> {
    /// `AIMessageChunk`, `ai`, `tool`, ...
    pub(in crate::translate::reading) kind: &'a [u8],
    /// The raw body of its id.
    pub(in crate::translate::reading) id: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) content: Option<&'a [u8]>,
    text: &'a [u8],
    /// What a model adds in ways of its own.
    additional: &'a [u8],
    /// Pieces of tool calls.
    pub(super) fragments: &'a [u8],
    /// Complete tool calls.
    pub(super) calls: &'a [u8],
    /// The call that a tool's message answers.
    pub(super) call: &'a [u8],
    status: &'a [u8],
    usage: Option<&'a [u8]>,
    pub(super) response: &'a [u8],
    pub(super) is_last: bool,
    /// The last part of the path of a serialised class.
    class: &'a [u8],
    wrapped: &'a [u8],
}

/// What a message consists of.
pub(super) enum Piece<'a> {
    Text(&'a [u8]),
    Reasoning(&'a [u8]),
    /// A content block of another type, with its type.
    Block(&'a [u8], &'a [u8]),
}

impl<'a> Message<'a> {
    /// Returns the message in a value, empty if the value is not an object.
    pub(in crate::translate::reading) fn read(value: &'a [u8]) -> Self {
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
    pub(in crate::translate::reading) const fn is_message(&self) -> bool {
        self.content.is_some()
    }

    /// Reports whether it is the answer of a tool.
    pub(in crate::translate::reading) const fn is_tool(&self) -> bool {
        matches!(self.kind, b"tool" | b"ToolMessage" | b"ToolMessageChunk")
    }

    /// Reports whether a model wrote it.
    pub(in crate::translate::reading) const fn is_ai(&self) -> bool {
        matches!(
            self.kind,
            b"ai" | b"assistant" | b"AIMessage" | b"AIMessageChunk"
        )
    }

    /// Reports whether it is a piece of a message.
    pub(in crate::translate::reading) const fn is_chunk(&self) -> bool {
        matches!(self.kind, b"AIMessageChunk")
    }

    /// Reports whether the user wrote it.
    pub(in crate::translate::reading) const fn is_human(&self) -> bool {
        matches!(
            self.kind,
            b"human" | b"user" | b"HumanMessage" | b"HumanMessageChunk"
        )
    }

    /// Reports whether it calls tools.
    pub(in crate::translate::reading) const fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Returns what a tool has answered, if it is the answer of a tool.
    pub(in crate::translate::reading) const fn tool_content(&self) -> Option<&'a [u8]> {
        if self.is_tool() { self.content } else { None }
    }

    /// Reports whether it says that a tool has failed.
    pub(in crate::translate::reading) fn has_failed(&self) -> bool {
        self.status == b"error"
    }

    /// Returns LangChain's object with the token counts.
    pub(in crate::translate::reading) const fn counts(&self) -> Option<&'a [u8]> {
        self.usage
    }

    /// Calls `each` with the contents, in order.
    pub(super) fn pieces(&self, each: &mut dyn FnMut(Piece<'a>)) {
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
    pub(super) fn joined(&self, of_reasoning: bool) -> Cow<'a, [u8]> {
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
pub(super) fn each_element<'a>(array: &'a [u8], mut each: impl FnMut(&'a [u8])) {
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
