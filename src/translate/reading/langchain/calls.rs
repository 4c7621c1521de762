//! Which tool calls and answers of tools were told, and which calls may still get arguments.

use std::borrow::Cow;

use super::message::{Message, each_element};
use super::{Messages, hash};
use crate::translate::part::{By, Part};
use crate::translate::raw::{id, member, word};
use crate::translate::reading::shared;

/// How a tool has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate::reading) enum Answer {
    Failed,
    /// More follows.
    Partial,
    Succeeded,
}

/// A tool call.
#[derive(Debug)]
pub(super) struct Call {
    msg: Vec<u8>,
    /// The number of the call in the message, raw.
    index: Vec<u8>,
    id: Vec<u8>,
    /// The name of the tool.
    name: Vec<u8>,
    /// Whether further arguments may follow.
    open: bool,
    /// Whether the tool has begun to run.
    runs: bool,
}

impl Messages {
    /// Tells the answer of a tool, if it was not told before.
    pub(in crate::translate::reading) fn result(
        &mut self,
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let how = if message.has_failed() {
            Answer::Failed
        } else {
            Answer::Succeeded
        };
        let content = message.content.unwrap_or(b"null");
        self.answer(message.call, message.name, how, content, parts);
    }

    /// Tells the answer of a tool, if it was not told before.
    pub(in crate::translate::reading) fn answer(
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
            ready(known, None, parts);
        }
        parts(Part::ToolResult {
            id: call.into(),
            name: name.into(),
            ok: how != Answer::Failed,
            content: content.into(),
            partial,
        });
    }

    /// Tells a complete call, and what was missing if a part of it was told before.
    pub(in crate::translate::reading) fn whole_call(
        &mut self,
        msg: &[u8],
        call: &[u8],
        name: &[u8],
        args: Option<&[u8]>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        match self.calls.iter_mut().find(|known| known.id == call) {
            Some(known) => ready(known, args, parts),
            None => self.call(msg, call, name, args, parts),
        }
    }

    /// Tells a call that runs, if it was not told before. The tool may have got more than the model has written.
    pub(in crate::translate::reading) fn call(
        &mut self,
        msg: &[u8],
        call: &[u8],
        name: &[u8],
        args: Option<&[u8]>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if let Some(known) = self.calls.iter_mut().find(|known| known.id == call) {
            return ready(known, None, parts);
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
    pub(in crate::translate::reading) fn fragment(
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
            ready(other, None, parts);
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
    pub(in crate::translate::reading) fn run(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let mut calls = self.calls.iter_mut();
        let call = calls.find(|call| !call.runs && call.name == name)?;
        call.runs = true;
        Some(call.id.clone())
    }

    /// Tells that all arguments of a message are complete.
    pub(in crate::translate::reading) fn close(
        &mut self,
        msg: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        for call in self.calls.iter_mut().filter(|call| call.msg == msg) {
            ready(call, None, parts);
        }
    }

    /// Tells that all arguments are complete.
    pub(in crate::translate::reading) fn close_all(&mut self, parts: &mut dyn FnMut(Part<'_>)) {
        for call in &mut self.calls {
            ready(call, None, parts);
        }
    }

    /// Tells that the arguments of one call are complete. `args` are all of them, if they are told.
    pub(in crate::translate::reading) fn close_at(
        &mut self,
        msg: &[u8],
        index: &[u8],
        args: Option<&[u8]>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let is_it = |call: &&mut Call| call.msg == msg && call.index == index;
        for call in self.calls.iter_mut().filter(is_it) {
            ready(call, args, parts);
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
    pub(super) fn block(
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

    /// Tells the complete calls of a message.
    pub(super) fn whole_calls(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        each_element(message.calls, |call| {
            let told = word(call, &["id"]);
            let args = member(call, "args");
            if told.is_empty() {
                // Only the position tells it from the calls of other messages.
                let made = format!("call-{:x}", hash((msg, call))).into_bytes();
                self.whole_call(msg, &made, word(call, &["name"]), args, parts);
            } else {
                self.whole_call(msg, told, word(call, &["name"]), args, parts);
            }
        });
    }

    /// Tells what is missing of the calls of a message that came in pieces. Calls without an id are those of the
    /// pieces.
    pub(in crate::translate::reading) fn ended(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        each_element(message.calls, |call| {
            let told = word(call, &["id"]);
            if !told.is_empty() {
                let (name, args) = (word(call, &["name"]), member(call, "args"));
                self.whole_call(msg, told, name, args, parts);
            }
        });
    }

    /// Notes a call.
    pub(super) fn know(&mut self, msg: &[u8], index: &[u8], id: &[u8], name: &[u8], open: bool) {
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
}

/// Tells that the arguments of a call are complete, if they were not before. `args` are all of them, if they are told.
fn ready(call: &mut Call, args: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
    if std::mem::replace(&mut call.open, false) {
        parts(Part::ToolReady {
            msg: call.msg.as_slice().into(),
            id: call.id.as_slice().into(),
            name: b"".into(),
            args: args.map(Into::into),
            by: By::Agent,
        });
    }
}
