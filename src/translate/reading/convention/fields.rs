//! Where the members of an event are, and what they are called.

use crate::translate::part::Text;
use crate::translate::raw::{escaped, id, is_object, member, string, word};
use crate::wire::json;

/// The members that may carry a text, the best one first.
pub(super) const TEXTS: [&str; 8] = [
    "content", "text", "delta", "token", "data", "chunk", "message", "value",
];
/// The members that identify a call.
const IDS: [&str; 9] = [
    "tool_call_id",
    "toolCallId",
    "call_id",
    "callId",
    "tool_use_id",
    "tool_id",
    "id",
    "run_id",
    "runId",
];
const NAMES: [&str; 7] = [
    "name",
    "tool_name",
    "toolName",
    "tool",
    "function_name",
    "function",
    "action",
];

/// The members of an event, some of which may be in an object of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) data: &'a [u8],
    /// The object in `data`, `content` or `tool_call`; empty if there is none.
    inner: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(data: &'a [u8]) -> Self {
        let inner = ["data", "tool_call", "content", "tool"]
            .iter()
            .filter_map(|name| member(data, name))
            .find(|value| is_object(value));
        Self {
            data,
            inner: inner.unwrap_or_default(),
        }
    }

    pub(super) fn is_object(&self) -> bool {
        is_object(self.data)
    }

    /// Returns the first of several members that is there.
    pub(super) fn first(&self, names: &[&str]) -> Option<&'a [u8]> {
        let inner = names.iter().find_map(|name| member(self.inner, name));
        inner.or_else(|| names.iter().find_map(|name| member(self.data, name)))
    }

    /// Returns the first of several members that is a string; empty if there is none.
    pub(super) fn word(&self, names: &[&str]) -> &'a [u8] {
        [self.inner, self.data]
            .into_iter()
            .flat_map(|of| names.iter().map(move |name| word(of, &[name])))
            .find(|word| !word.is_empty())
            .unwrap_or_default()
    }

    /// Returns what identifies the call; empty if nothing does.
    pub(super) fn id(&self) -> &'a [u8] {
        [self.inner, self.data]
            .into_iter()
            .flat_map(|of| IDS.iter().map(move |name| id(of, &[name])))
            .find(|id| !id.is_empty())
            .unwrap_or_default()
    }

    /// Returns the name of the tool: data that is no object is nothing but the name.
    pub(super) fn name(&self) -> Text<'a> {
        if !self.is_object() {
            return self.plain();
        }
        match self.word(&NAMES) {
            b"" => self
                .function()
                .map(|of| word(of, &["name"]))
                .unwrap_or_default()
                .into(),
            name => name.into(),
        }
    }

    fn function(&self) -> Option<&'a [u8]> {
        self.first(&["function"])
            .filter(|function| is_object(function))
    }

    pub(super) fn input_of_function(&self) -> Option<&'a [u8]> {
        member(self.function()?, "arguments")
    }

    /// Returns data that is a string or plain text; empty if it is anything else.
    pub(super) fn plain(&self) -> Text<'a> {
        let start = self.data.trim_ascii_start().first();
        if matches!(start, Some(b'{' | b'[')) {
            return b"".into();
        }
        plain(self.data)
    }
}

/// Returns the text of data that is a JSON string or plain text.
pub(super) fn plain(data: &[u8]) -> Text<'_> {
    match string(data) {
        Some(body) if data.starts_with(b"\"") && json::is_whole(data) => body.into(),
        _ => escaped(data),
    }
}
