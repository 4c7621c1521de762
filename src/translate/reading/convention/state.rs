//! What the agent is doing: its state, its progress, and its questions to the user.

use super::Convention;
use super::fields::Fields;
use crate::translate::part::{Part, StateOp};
use crate::translate::raw::{member, quoted, word};
use crate::translate::reading::shared::json;

impl Convention {
    /// Reads an event about the state or the progress of the agent, or a question to the user.
    pub(super) fn state(
        &mut self,
        kind: &[u8],
        fields: &Fields<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let data = fields.data;
        match kind {
            b"approval" | b"approval_required" | b"human_input" | b"input_required"
            | b"interrupt" => {
                let reason: &[u8] = match fields.word(&["reason"]) {
                    b"" if kind.starts_with(b"approval") => b"approval",
                    b"" => b"input",
                    reason => reason,
                };
                parts(Part::Interrupt {
                    id: fields.id().into(),
                    reason: reason.into(),
                    payload: json(data),
                });
            }
            b"state" | b"update" | b"updates" | b"values" => {
                let op = if kind.starts_with(b"update") {
                    StateOp::Update
                } else {
                    StateOp::Snapshot
                };
                let places = [
                    "state", "values", "updates", "update", "data", "content", "value",
                ];
                let value = places.iter().find_map(|name| member(data, name));
                parts(Part::State {
                    op,
                    value: value.map_or_else(|| json(data), Into::into),
                });
            }
            b"" => {
                // An object with a node and its state.
                let node = quoted(word(data, &["node"]));
                let state = member(data, "state").unwrap_or(b"null");
                parts(Part::State {
                    op: StateOp::Update,
                    value: [&b"{"[..], &node, b":", state, b"}"].concat().into(),
                });
            }
            _ => self.status(kind, fields, parts),
        }
    }

    /// Reads an event about what the agent is doing.
    fn status(&mut self, kind: &[u8], fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        let data = fields.data;
        let run = fields.word(&["run_id", "runId"]);
        let thread = fields.word(&["thread_id", "threadId", "conversation_id", "session_id"]);
        if matches!(kind, b"metadata" | b"run_id" | b"start")
            && !std::mem::replace(&mut self.started, true)
        {
            parts(Part::Start {
                run: run.into(),
                thread: thread.into(),
                model: word(data, &["model"]).into(),
            });
        }
        let name: &[u8] = match kind {
            b"agent_end" | b"agent_start" => b"agent",
            b"node" | b"node_end" | b"node_start" => b"node",
            b"step" | b"step_completed" | b"step_started" => b"step",
            _ => kind,
        };
        if name == b"start" {
            return;
        }
        let places = [
            "message", "text", "content", "node", "step", "agent", "name", "status",
        ];
        let text = match fields.word(&places) {
            b"" => fields.plain(),
            text => text.into(),
        };
        let detail = if fields.is_object() { data } else { b"" };
        // What is written for people is no name.
        let is_named = fields.word(&["node", "step", "agent", "name"]) == &*text;
        parts(match name {
            b"agent" | b"node" | b"step" if is_named => Part::Step {
                kind: name.into(),
                name: text,
                ends: kind.ends_with(b"_end") || kind.ends_with(b"_completed"),
                detail: detail.into(),
            },
            _ => Part::Status {
                name: name.into(),
                text,
                detail: detail.into(),
            },
        });
    }
}
