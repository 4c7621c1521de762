//! The tool calls of a conversation: started, filled with arguments, ready, answered.

use super::{Act, Conversation, whole};
use crate::translate::action::{Action, Args, Call, Pieces};
use crate::translate::few;
use crate::translate::part::By;
use crate::translate::raw;

/// The most calls that are remembered. Beyond that the oldest is forgotten.
const MAX_CALLS: usize = 256;
/// The most bytes of arguments that are remembered until a call is ready.
const MAX_ARGS_BYTES: usize = 1024 * 1024;

impl Conversation {
    /// Returns the place of a call: the one with this id, or the last one if the id is empty.
    pub(super) fn place(&self, id: &[u8]) -> Option<usize> {
        let calls = &self.facts.calls;
        if id.is_empty() {
            return calls.len().checked_sub(1);
        }
        calls.iter().rposition(|call| call.source == id)
    }

    /// Starts a call, unless it has started. Returns its place.
    pub(super) fn start_call(
        &mut self,
        msg: &[u8],
        id: &[u8],
        name: &[u8],
        by: By,
        act: Act<'_>,
    ) -> Option<usize> {
        let known = (!id.is_empty()).then(|| self.place(id)).flatten();
        let is_over = |at: usize| (self.facts.calls.get(at)).is_some_and(|call| call.answered);
        if let Some(at) = known.filter(|at| !is_over(*at)) {
            return Some(at);
        }
        self.speak(msg, act);
        self.end_texts(act);
        if self.facts.calls.len() == MAX_CALLS {
            // Nobody closes a call that is forgotten.
            self.ready(Some(0), b"", None, act);
            self.facts.calls.remove(0);
        }
        let number = self.call_count;
        self.call_count += 1;
        let own = || format!("tool-{}", number + 1).into_bytes();
        let (source, id) = match known {
            _ if id.is_empty() => (own(), own()),
            Some(_) => (id.to_vec(), [id, b"-", &*own()].concat()),
            None => (id.to_vec(), id.to_vec()),
        };
        let (id, msg) = (self.own(id), self.own(msg.to_vec()));
        let call = Call {
            id,
            source,
            name: name.to_vec(),
            msg,
            by,
            number,
            args: Vec::new(),
            is_full: false,
            ready: false,
            answered: false,
        };
        few::push(&mut self.facts.calls, call);
        let call = self.facts.calls.last()?;
        act(&self.facts, &Action::ToolStart(call));
        self.facts.calls.len().checked_sub(1)
    }

    pub(super) fn args(&mut self, id: &[u8], text: &[u8], act: Act<'_>) {
        if text.is_empty() {
            return;
        }
        let at = match self.place(id) {
            Some(at) => Some(at),
            None => self.start_call(b"", id, b"", By::Agent, act),
        };
        let Some(call) = at.and_then(|at| self.facts.calls.get_mut(at)) else {
            return;
        };
        // A piece that still fits would leave a gap.
        call.is_full |= call.args.len() + text.len() > MAX_ARGS_BYTES;
        if call.ready || call.is_full {
            return;
        }
        call.args.extend_from_slice(text);
        if let Some(call) = at.and_then(|at| self.facts.calls.get(at)) {
            act(&self.facts, &Action::ToolArgs(call, text));
        }
    }

    /// Makes a call ready. `whole` are its arguments as the agent tells them at the end: a JSON value, or text that
    /// should have been one.
    pub(super) fn ready(
        &mut self,
        at: Option<usize>,
        name: &[u8],
        whole: Option<&[u8]>,
        act: Act<'_>,
    ) {
        let Some(call) = at.and_then(|at| self.facts.calls.get_mut(at)) else {
            return;
        };
        if std::mem::replace(&mut call.ready, true) {
            return;
        }
        if call.name.is_empty() {
            call.name.extend_from_slice(name);
        }
        let body = std::mem::take(&mut call.args);
        let Some(call) = at.and_then(|at| self.facts.calls.get(at)) else {
            return;
        };
        let came = raw::unescaped(&body);
        let end = whole::end(&came, whole);
        if !body.is_empty()
            && let Some(rest) = end.rest
        {
            act(&self.facts, &Action::ToolArgs(call, &raw::escaped(&rest)));
        }
        let text;
        let args = if whole::is_json(end.text) {
            Args::Json(end.text.trim_ascii())
        } else if end.text == came {
            Args::Broken(&body)
        } else {
            text = raw::escaped(end.text);
            Args::Broken(&text)
        };
        let pieces = match end.pieces {
            _ if body.is_empty() => Pieces::None,
            pieces => pieces,
        };
        act(&self.facts, &Action::ToolReady { call, args, pieces });
    }

    pub(super) fn result(
        &mut self,
        at: Option<usize>,
        ok: bool,
        content: &[u8],
        partial: bool,
        act: Act<'_>,
    ) {
        let Some(call) = at.and_then(|at| self.facts.calls.get(at)) else {
            return;
        };
        if call.answered {
            return;
        }
        if !call.ready {
            self.ready(at, b"", None, act);
        }
        self.end_texts(act);
        if let Some(call) = at.and_then(|at| self.facts.calls.get_mut(at)) {
            call.answered = !partial;
        }
        self.answered |= !partial;
        if let Some(call) = at.and_then(|at| self.facts.calls.get(at)) {
            let result = Action::ToolResult {
                call,
                ok,
                content: if content.is_empty() { b"null" } else { content },
                partial,
            };
            act(&self.facts, &result);
        }
    }

    /// Closes whatever is open.
    pub(super) fn close(&mut self, act: Act<'_>) {
        self.end_texts(act);
        for at in 0..self.facts.calls.len() {
            self.ready(Some(at), b"", None, act);
        }
    }

    /// Closes whatever is open of one of several agents, which has not come to its end. The arguments of a call that is
    /// cut off may look complete, but nobody should run it.
    pub(super) fn cut(&mut self, act: Act<'_>) {
        self.end_texts(act);
        for at in 0..self.facts.calls.len() {
            let Some(call) = self.facts.calls.get_mut(at) else {
                continue;
            };
            if std::mem::replace(&mut call.ready, true) {
                continue;
            }
            let text = std::mem::take(&mut call.args);
            if let Some(call) = self.facts.calls.get(at) {
                let pieces = if text.is_empty() {
                    Pieces::None
                } else {
                    Pieces::All
                };
                let args = Args::Cut(&text);
                act(&self.facts, &Action::ToolReady { call, args, pieces });
            }
        }
    }
}
