//! Writes the members that several kinds of events share, and those of agents that are one of several.

use super::AgUi;
use crate::translate::action::Action;
use crate::translate::part::{Reason, StateOp};
use crate::translate::raw::{elements, is_object};
use crate::translate::writer::{Out, or, to_detail};

impl AgUi {
    /// Writes the beginning or the end of a step. `detail` is what the agent says about it.
    pub(super) fn step(&self, kind: &[u8], name: &[u8], detail: &[u8], out: &mut Out<'_>) {
        out.data(&[
            b"{\"type\":\"",
            kind,
            b"\",\"stepName\":\"",
            self.voice.prefix(),
            name,
            if detail.is_empty() {
                b"\""
            } else {
                b"\",\"rawEvent\":"
            },
            detail,
            self.voice.tag(),
            b"}",
        ]);
    }

    pub(super) fn status(&self, name: &[u8], text: &[u8], detail: &[u8], out: &mut Out<'_>) {
        out.data(&[
            b"{\"type\":\"CUSTOM\",\"name\":\"weir.status\",\"value\":{",
            self.voice.named(),
            b"\"name\":\"",
            name,
            b"\",\"text\":\"",
            text,
            to_detail(detail),
            detail,
            b"}",
            self.voice.tag(),
            b"}",
        ]);
    }

    /// Writes the state of the agent. That of one of several is not the state that clients keep.
    pub(super) fn state(&self, op: StateOp, value: &[u8], out: &mut Out<'_>) {
        if self.voice.agent().is_some() {
            out.data(&[
                b"{\"type\":\"CUSTOM\",\"name\":\"weir.state\",\"value\":{",
                self.voice.named(),
                match op {
                    StateOp::Snapshot => b"\"op\":\"snapshot\",\"value\":",
                    StateOp::Patch => b"\"op\":\"patch\",\"value\":",
                    StateOp::Update => b"\"op\":\"update\",\"value\":",
                },
                value,
                b"}",
                self.voice.tag(),
                b"}",
            ]);
            return;
        }
        let start: &[u8] = match op {
            StateOp::Patch if !is_patch(value) => {
                b"{\"type\":\"CUSTOM\",\"name\":\"weir.state\",\"value\":"
            }
            StateOp::Snapshot => b"{\"type\":\"STATE_SNAPSHOT\",\"snapshot\":",
            StateOp::Patch => b"{\"type\":\"STATE_DELTA\",\"delta\":",
            StateOp::Update => b"{\"type\":\"CUSTOM\",\"name\":\"weir.state\",\"value\":",
        };
        out.data(&[start, value, b"}"]);
    }

    /// Writes an event of the message with this id. `rest` follows the id.
    pub(super) fn message_event(
        &self,
        kind: &[u8],
        message: &[u8],
        rest: &[u8],
        out: &mut Out<'_>,
    ) {
        out.data(&[
            b"{\"type\":\"",
            kind,
            b"\",\"messageId\":\"",
            message,
            b"\"",
            rest,
            self.voice.tag(),
            b"}",
        ]);
    }

    pub(super) fn arguments(&self, id: &[u8], text: &[u8], out: &mut Out<'_>) {
        out.data(&[
            b"{\"type\":\"TOOL_CALL_ARGS\",\"toolCallId\":\"",
            id,
            b"\",\"delta\":\"",
            text,
            b"\"",
            self.voice.tag(),
            b"}",
        ]);
    }

    /// Writes the result of a call. `content` is the raw body of a JSON string.
    pub(super) fn result(&self, id: &[u8], content: &[u8], out: &mut Out<'_>) {
        out.data(&[
            b"{\"type\":\"TOOL_CALL_RESULT\",\"messageId\":\"",
            id,
            b"-result\",\"toolCallId\":\"",
            id,
            b"\",\"content\":\"",
            content,
            b"\",\"role\":\"tool\"",
            self.voice.tag(),
            b"}",
        ]);
    }

    /// Writes what happens to one of several agents as a whole. Returns false if it is something else.
    pub(super) fn of_agent(&mut self, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        if !matches!(
            action,
            Action::Start | Action::End(_) | Action::Error { .. }
        ) {
            return false;
        }
        let Some(voice) = self.voice.agent().cloned() else {
            return false;
        };
        let tag = self
            .voice
            .tag()
            .strip_prefix(b",")
            .unwrap_or_default()
            .to_vec();
        match action {
            Action::Start => {
                let ensemble = voice.ensemble();
                self.ids = [ensemble.thread().into(), ensemble.run().into()];
            }
            Action::End(reason @ (Reason::Cancelled | Reason::Error)) => {
                self.end_step(b"", out);
                let reason = reason.as_str().as_bytes();
                out.data(&[
                    b"{\"type\":\"SUBAGENT_ERROR\",",
                    &tag,
                    b",\"message\":\"The agent ended: ",
                    reason,
                    b".\",\"code\":\"",
                    reason,
                    b"\"}",
                ]);
            }
            Action::End(_) => {
                self.end_step(b"", out);
                out.data(&[
                    b"{\"type\":\"SUBAGENT_FINISHED\",",
                    &tag,
                    b",\"outcome\":{\"type\":\"success\"}}",
                ]);
            }
            Action::Error { code, message } => {
                self.end_step(b"", out);
                out.data(&[
                    b"{\"type\":\"SUBAGENT_ERROR\",",
                    &tag,
                    b",\"message\":\"",
                    or(message, b"The agent has failed."),
                    b"\",\"code\":\"",
                    or(code, b"upstream_error"),
                    b"\"}",
                ]);
            }
            _ => return false,
        }
        true
    }

    /// Writes that the agents of a run begin, if it has several.
    pub(super) fn start_agents(&self, out: &mut Out<'_>) {
        let Some(voice) = self.voice.run() else {
            return;
        };
        for name in voice.ensemble().names() {
            out.data(&[
                b"{\"type\":\"SUBAGENT_STARTED\",\"subagentRunId\":\"",
                voice.ensemble().run(),
                b".",
                name,
                b"\",\"name\":\"",
                name,
                b"\"}",
            ]);
        }
    }
}

/// Reports whether clients accept a value as a patch: they raise on anything but a list of objects.
fn is_patch(value: &[u8]) -> bool {
    value.trim_ascii_start().starts_with(b"[") && elements(value).into_iter().all(is_object)
}
