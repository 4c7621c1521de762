//! Strands Agents' `stream_async` events, and Bedrock's Converse events.
//!
//! An agent tells each piece of the model twice: as the model's event, and as its own.

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{
    at, elements, id, is_object, is_true, member, members, number, string, word,
};
use crate::wire::{Frame, json};

/// A tool call.
#[derive(Debug)]
struct Call {
    node: Vec<u8>,
    /// The number of its block, raw.
    index: Vec<u8>,
    id: Vec<u8>,
    /// Whether further arguments may follow.
    open: bool,
}

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Strands {
    /// The nodes whose model's events are in the stream. A single agent is the node without a name.
    models: Vec<Vec<u8>>,
    calls: Vec<Call>,
    /// Whether text came since the last whole message.
    has_text: bool,
    /// Whether reasoning came since the last whole message.
    has_thought: bool,
    /// How many calls had no id.
    unnamed: u64,
}

impl Reading for Strands {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        // An event that the agent could not write as JSON is a string, or nothing that can be read.
        if !is_object(data) || !json::is_whole(data) {
            return;
        }
        let node = word(data, &["node_id"]);
        let outer = member(data, "event").filter(|event| is_object(event));
        let inner = outer.and_then(|outer| member(outer, "event").filter(|event| is_object(event)));
        match word(data, &["type"]) {
            kind @ (b"multiagent_node_start" | b"multiagent_node_stop") => parts(Part::Step {
                kind: b"node".into(),
                name: node.into(),
                ends: kind == b"multiagent_node_stop",
                detail: data.into(),
            }),
            b"multiagent_handoff" | b"multiagent_node_cancel" => {
                parts(Part::Status {
                    name: b"node".into(),
                    text: word(data, &["message"]).into(),
                    detail: data.into(),
                });
            }
            b"multiagent_node_interrupt" => parts(Part::Interrupt {
                id: node.into(),
                reason: b"interrupt".into(),
                payload: data.into(),
            }),
            b"multiagent_result" => parts(Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Run,
            }),
            _ => {
                let what = inner.or(outer).unwrap_or(data);
                for (name, value) in members(what) {
                    if value != b"null" {
                        self.member(node, (name, value), what, event, parts);
                    }
                }
            }
        }
    }
}

impl Strands {
    /// Reads one member of an event. The first that says something is usually the only one.
    fn member(
        &mut self,
        node: &[u8],
        (name, value): (&[u8], &[u8]),
        all: &[u8],
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        match name {
            b"contentBlockDelta" => self.delta(node, value, parts),
            b"data" | b"reasoningText" => {
                let Some(text) = string(value).filter(|text| !text.is_empty()) else {
                    return;
                };
                if !self.has_model(node) {
                    self.tell(node, name == b"data", text, parts);
                }
            }
            b"contentBlockStart" => {
                self.note_model(node);
                if let Some(call) = at(value, &["start", "toolUse"]) {
                    let index = id(value, &["contentBlockIndex"]);
                    self.begin(node, index, call, parts);
                }
            }
            b"contentBlockStop" => {
                self.close(node, Some(id(value, &["contentBlockIndex"])), parts);
                parts(Part::TextEnd);
            }
            b"messageStart" => self.note_model(node),
            b"messageStop" => {
                self.close(node, None, parts);
                parts(Part::Finish {
                    reason: Reason::of(word(value, &["stopReason"])),
                    scope: Scope::Choice,
                });
            }
            b"metadata" => {
                let cached = number(value, &["usage", "cacheReadInputTokens"]);
                shared::usage(event, cached, parts);
            }
            b"init_event_loop" => parts(Part::Start {
                run: b"".into(),
                thread: b"".into(),
                model: b"".into(),
            }),
            b"message" if is_object(value) => self.message(node, value, parts),
            b"tool_stream_event" => parts(Part::ToolResult {
                id: word(value, &["tool_use", "toolUseId"]).into(),
                name: word(value, &["tool_use", "name"]).into(),
                ok: true,
                content: member(value, "data").unwrap_or(b"null").into(),
                partial: true,
            }),
            b"current_tool_use" if !self.has_model(node) => self.current(node, value, all, parts),
            b"tool_interrupt_event" => parts(Part::Interrupt {
                id: word(value, &["tool_use", "toolUseId"]).into(),
                reason: b"interrupt".into(),
                payload: value.into(),
            }),
            // The end of a node is not the end of the graph.
            b"result" if node.is_empty() => {
                self.close(node, None, parts);
                let told = word(value, &["stop_reason"]);
                parts(Part::Finish {
                    reason: if told.is_empty() {
                        reason_in(string(value).unwrap_or_default())
                    } else {
                        Reason::of(told)
                    },
                    scope: Scope::Run,
                });
            }
            b"error" if value != b"false" => parts(Part::Error {
                code: word(all, &["error_type"]).into(),
                message: string(value)
                    .unwrap_or_else(|| word(value, &["message"]))
                    .into(),
            }),
            b"force_stop" if is_true(all, &["force_stop"]) => parts(Part::Error {
                code: b"force_stop".into(),
                message: word(all, &["force_stop_reason"]).into(),
            }),
            name if name.ends_with(b"Exception") => parts(Part::Error {
                code: name.into(),
                message: word(value, &["message"]).into(),
            }),
            b"event_loop_throttled_delay" => parts(Part::Status {
                name: b"throttled".into(),
                text: b"".into(),
                detail: all.into(),
            }),
            b"redactContent" | b"citation" | b"structured_output" | b"tool_cancel_event" => {
                parts(Part::Raw {
                    name: name.into(),
                    data: value.into(),
                });
            }
            _ => {}
        }
    }

    fn has_model(&self, node: &[u8]) -> bool {
        self.models.iter().any(|known| known == node)
    }

    fn note_model(&mut self, node: &[u8]) {
        if !self.has_model(node) {
            shared::remember(&mut self.models, node.to_vec());
        }
    }

    fn tell(&mut self, msg: &[u8], is_text: bool, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        self.has_text |= is_text;
        self.has_thought |= !is_text;
        parts(if is_text {
            Part::Text {
                msg: msg.into(),
                text: text.into(),
            }
        } else {
            Part::Reasoning {
                msg: msg.into(),
                text: text.into(),
            }
        });
    }

    /// Reads a piece of the model's output.
    fn delta(&mut self, node: &[u8], value: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        self.note_model(node);
        let delta = member(value, "delta").unwrap_or_default();
        let text = word(delta, &["text"]);
        if !text.is_empty() {
            self.tell(node, true, text, parts);
        }
        let thought = word(delta, &["reasoningContent", "text"]);
        if !thought.is_empty() {
            self.tell(node, false, thought, parts);
        }
        let input = word(delta, &["toolUse", "input"]);
        if !input.is_empty() {
            let index = id(value, &["contentBlockIndex"]);
            let is_it = |call: &&Call| call.open && call.node == node && call.index == index;
            let call = self.calls.iter().rfind(is_it);
            parts(Part::ToolArgs {
                id: call
                    .map(|call| call.id.as_slice())
                    .unwrap_or_default()
                    .into(),
                text: input.into(),
            });
        }
    }

    fn begin(&mut self, node: &[u8], index: &[u8], call: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let told = word(call, &["toolUseId"]);
        let call_id = if told.is_empty() {
            self.unnamed += 1;
            format!("call-{}", self.unnamed).into_bytes()
        } else {
            told.to_vec()
        };
        parts(Part::ToolStart {
            msg: node.into(),
            id: (&call_id).into(),
            name: word(call, &["name"]).into(),
            by: By::Agent,
        });
        let call = Call {
            node: node.to_vec(),
            index: index.to_vec(),
            id: call_id,
            open: true,
        };
        shared::remember(&mut self.calls, call);
    }

    /// Tells that the arguments of the open calls of a node, or of one block, are complete.
    fn close(&mut self, node: &[u8], index: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
        for call in self.calls.iter_mut().filter(|call| call.node == node) {
            if index.is_some_and(|index| call.index != index) {
                continue;
            }
            if std::mem::replace(&mut call.open, false) {
                parts(Part::ToolReady {
                    msg: node.into(),
                    id: call.id.as_slice().into(),
                    name: b"".into(),
                    args: None,
                    by: By::Agent,
                });
            }
        }
    }

    /// Reads the call that an agent is writing, where the model's own events are left out.
    fn current(&mut self, node: &[u8], call: &[u8], all: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let told = word(call, &["toolUseId"]);
        if !self.calls.iter().any(|known| known.id == told) {
            self.close(node, None, parts);
            self.begin(node, told, call, parts);
        }
        let input = word(all, &["delta", "toolUse", "input"]);
        if !input.is_empty() {
            parts(Part::ToolArgs {
                id: told.into(),
                text: input.into(),
            });
        }
    }

    /// Reads a whole message, whose text and calls may have been told before.
    fn message(&mut self, node: &[u8], message: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let is_answer = word(message, &["role"]) == b"assistant";
        let is_told = self.has_text;
        let is_thought = self.has_thought;
        let mut joined = Vec::new();
        for block in member(message, "content").map(elements).unwrap_or_default() {
            let text = word(block, &["text"]);
            if is_answer && is_told {
                joined.extend_from_slice(text);
            } else if is_answer && !text.is_empty() {
                self.tell(node, true, text, parts);
            }
            let thought = word(block, &["reasoningContent", "reasoningText", "text"]);
            if is_answer && !is_thought && !thought.is_empty() {
                self.tell(node, false, thought, parts);
            }
            if let Some(call) = member(block, "toolUse") {
                self.whole_call(node, call, parts);
            }
            if let Some(result) = member(block, "toolResult") {
                self.close(node, None, parts);
                parts(Part::ToolResult {
                    id: word(result, &["toolUseId"]).into(),
                    name: b"".into(),
                    ok: word(result, &["status"]) != b"error",
                    content: member(result, "content").unwrap_or(b"null").into(),
                    partial: false,
                });
            }
        }
        if !joined.is_empty() {
            parts(Part::Message {
                msg: node.into(),
                role: b"assistant".into(),
                text: joined.into(),
                duplicate: true,
            });
        }
        if is_answer {
            (self.has_text, self.has_thought) = (false, false);
            parts(Part::TextEnd);
        }
    }

    fn whole_call(&mut self, node: &[u8], call: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let told = word(call, &["toolUseId"]);
        if let Some(known) = self.calls.iter_mut().find(|known| known.id == told) {
            if std::mem::replace(&mut known.open, false) {
                parts(Part::ToolReady {
                    msg: node.into(),
                    id: told.into(),
                    name: b"".into(),
                    args: member(call, "input").map(Into::into),
                    by: By::Agent,
                });
            }
            return self.close(node, None, parts);
        }
        if told.is_empty() {
            return self.close(node, None, parts);
        }
        parts(Part::ToolReady {
            msg: node.into(),
            id: told.into(),
            name: word(call, &["name"]).into(),
            args: Some(member(call, "input").unwrap_or(b"{}").into()),
            by: By::Agent,
        });
        let call = Call {
            node: node.to_vec(),
            index: Vec::new(),
            id: told.to_vec(),
            open: false,
        };
        shared::remember(&mut self.calls, call);
    }
}

/// Returns the reason in a result that was written as Python writes it.
fn reason_in(result: &[u8]) -> Reason {
    let start = b"stop_reason='";
    let from = result
        .windows(start.len())
        .position(|window| window == start);
    let rest = from.and_then(|at| result.get(at + start.len()..));
    let reason = rest.and_then(|rest| rest.split(|byte| *byte == b'\'').next());
    reason.map_or(Reason::Stop, Reason::of)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    const STOP: Part<'static> = Part::Finish {
        reason: Reason::Stop,
        scope: Scope::Run,
    };

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Strands::default();
        let bytes = fixture("strands", name);
        parts_of(&mut reading, Dialect::Strands, Framing::Sse, &bytes)
    }

    #[test]
    fn each_piece_is_told_once() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\""#);
        assert_eq!(parts.last(), Some(&STOP));
        assert_eq!(text_of(&read("agent.sse")), "Rain in");
        assert_eq!(text_of(&read("converse.sse")), "Rain");
        assert_eq!(text_of(&read("graph.sse")), "Rain");
    }

    #[test]
    fn calls_have_results() {
        let parts = read("tools.sse");
        assert_eq!(text_of(&parts), "Rain");
        assert!(parts.contains(&Part::ToolStart {
            msg: b"".into(),
            id: b"c1".into(),
            name: b"weather".into(),
            by: By::Agent,
        }));
        let readies = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolReady { .. }));
        assert_eq!(readies.count(), 2);
        assert!(parts.contains(&Part::ToolResult {
            id: b"c1".into(),
            name: b"".into(),
            ok: true,
            content: br#"[{"text": "4 C"}]"#.into(),
            partial: false,
        }));
        assert_eq!(parts.last(), Some(&STOP));
    }
}
