//! Mastra: the chunks of agents, of networks of agents and of workflows.

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{at, id, is_object, member, number, string, word};
use crate::wire::{Frame, json};

/// The prefix that a network puts before the chunk types of its agents, whose chunks are its payloads.
const OF_AGENT: &[u8] = b"agent-execution-event-";

/// The state that is kept between chunks.
#[derive(Debug, Default)]
pub(super) struct Mastra {
    /// Whether text came since the agent of a network, or the network, began to write.
    has_text: bool,
    /// Whether text came since the last step of an agent was over.
    has_step_text: bool,
    /// Whether the end of the run was told.
    is_over: bool,
    /// Whether the run waits for a person.
    waits: bool,
}

impl Reading for Mastra {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if data.starts_with(b"[DONE]") {
            if !self.is_over {
                self.finish(Reason::Stop, parts);
            }
            return;
        }
        if !json::is_whole(data) {
            return;
        }
        let kind = word(data, &["type"]);
        let payload = member(data, "payload").unwrap_or_default();
        if let Some(kind) = kind.strip_prefix(OF_AGENT) {
            let inner = member(payload, "payload").unwrap_or_default();
            // The network goes on after its agents.
            match kind {
                b"finish" | b"abort" | b"tripwire" | b"start" | b"step-finish" => {}
                b"error" => raw(kind, data, parts),
                _ if self.agent(kind, inner, parts) => {}
                _ => raw(kind, data, parts),
            }
        } else if !self.agent(kind, payload, parts) {
            self.other(kind, data, payload, parts);
        }
        let cached = [
            &["output", "usage", "cachedInputTokens"][..],
            &["usage", "cachedInputTokens"],
        ];
        let cached = cached.into_iter().find_map(|path| number(payload, path));
        shared::usage(event, cached, parts);
        match kind {
            b"step-finish" => {
                let output = member(payload, "output").unwrap_or_default();
                if !self.has_step_text {
                    self.tell(true, output, parts);
                }
                self.has_step_text = false;
                parts(Part::Finish {
                    reason: reason_of(word(payload, &["stepResult", "reason"])),
                    scope: Scope::Step,
                });
            }
            b"finish" => {
                let reason = reason_of(word(payload, &["stepResult", "reason"]));
                self.finish(reason, parts);
            }
            b"network-execution-event-finish" => self.finish(Reason::Stop, parts),
            b"workflow-finish" => {
                let reason = match word(payload, &["workflowStatus"]) {
                    b"suspended" | b"paused" => Reason::Interrupt,
                    status => reason_of(status),
                };
                self.finish(reason, parts);
            }
            b"abort" | b"workflow-canceled" => self.finish(Reason::Cancelled, parts),
            b"tripwire" => self.finish(Reason::ContentFilter, parts),
            _ => {}
        }
    }
}

/// Returns what a word of Mastra means, which may be left out.
fn reason_of(word: &[u8]) -> Reason {
    match word {
        b"" => Reason::Stop,
        b"tripwire" => Reason::ContentFilter,
        word => Reason::of(word),
    }
}

fn raw(kind: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::Raw {
        name: kind.into(),
        data: data.into(),
    });
}

impl Mastra {
    fn finish(&mut self, reason: Reason, parts: &mut dyn FnMut(Part<'_>)) {
        self.is_over = true;
        let reason = match reason {
            Reason::Stop if self.waits => Reason::Interrupt,
            reason => reason,
        };
        parts(Part::Finish {
            reason,
            scope: Scope::Run,
        });
    }

    fn tell(&mut self, is_text: bool, payload: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let text = word(payload, &["text"]);
        if text.is_empty() {
            return;
        }
        self.has_text |= is_text;
        self.has_step_text |= is_text;
        let msg = word(payload, &["id"]);
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

    /// Reads a chunk of an agent. Returns whether it is one.
    fn agent(&mut self, kind: &[u8], payload: &[u8], parts: &mut dyn FnMut(Part<'_>)) -> bool {
        let call = || word(payload, &["toolCallId"]);
        let name = || word(payload, &["toolName"]);
        match kind {
            b"text-delta" => self.tell(true, payload, parts),
            b"reasoning-delta" => self.tell(false, payload, parts),
            b"text-start" | b"reasoning-start" => {}
            b"text-end" | b"reasoning-end" => parts(Part::TextEnd),
            b"tool-call-input-streaming-start" => parts(Part::ToolStart {
                msg: b"".into(),
                id: call().into(),
                name: name().into(),
                by: By::Agent,
            }),
            b"tool-call-delta" => {
                let text = word(payload, &["argsTextDelta"]);
                if !text.is_empty() {
                    parts(Part::ToolArgs {
                        id: call().into(),
                        text: text.into(),
                    });
                }
            }
            // The chunk `tool-call` follows, with all of the arguments.
            b"tool-call-input-streaming-end" => {}
            b"tool-call" => parts(Part::ToolReady {
                msg: b"".into(),
                id: call().into(),
                name: name().into(),
                args: member(payload, "args").map(Into::into),
                by: By::Agent,
            }),
            b"tool-result" | b"tool-error" | b"tool-output-denied" => {
                if let Some(args) = member(payload, "args") {
                    // The call may not have been told.
                    parts(Part::ToolReady {
                        msg: b"".into(),
                        id: call().into(),
                        name: name().into(),
                        args: Some(args.into()),
                        by: By::Agent,
                    });
                }
                let result = member(payload, "result").or_else(|| member(payload, "error"));
                let failed = at(payload, &["isError"]) == Some(b"true");
                parts(Part::ToolResult {
                    id: call().into(),
                    name: name().into(),
                    ok: kind == b"tool-result" && !failed,
                    content: result.unwrap_or(b"null").into(),
                    partial: false,
                });
            }
            b"tool-output" => parts(Part::ToolResult {
                id: call().into(),
                name: name().into(),
                ok: true,
                content: member(payload, "output").unwrap_or(b"null").into(),
                partial: true,
            }),
            b"tool-call-approval" | b"tool-call-suspended" => {
                self.waits = true;
                let is_approval = kind == b"tool-call-approval";
                parts(Part::Interrupt {
                    id: call().into(),
                    reason: if is_approval {
                        b"approval".as_slice()
                    } else {
                        b"suspended"
                    }
                    .into(),
                    payload: payload.into(),
                });
            }
            b"step-start" => parts(Part::Status {
                name: b"step".into(),
                text: b"".into(),
                detail: b"".into(),
            }),
            _ => return false,
        }
        true
    }

    /// Reads a chunk that is not one of an agent within a network.
    fn other(&mut self, kind: &[u8], data: &[u8], payload: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let status = |name: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)| {
            let detail = Some(payload).filter(|payload| is_object(payload));
            parts(Part::Status {
                name: name.into(),
                text: text.into(),
                detail: detail.unwrap_or_default().into(),
            });
        };
        let step = |kind: &[u8], member: &str, ends: bool, parts: &mut dyn FnMut(Part<'_>)| {
            let detail = Some(payload).filter(|payload| is_object(payload));
            parts(Part::Step {
                kind: kind.into(),
                name: word(payload, &[member]).into(),
                ends,
                detail: detail.unwrap_or_default().into(),
            });
        };
        match kind {
            b"start" | b"workflow-start" => {
                self.is_over = false;
                parts(Part::Start {
                    run: word(data, &["runId"]).into(),
                    thread: b"".into(),
                    model: b"".into(),
                });
            }
            // Their end is told after their counts.
            b"finish" | b"abort" | b"step-finish" | b"workflow-canceled" | b"workflow-finish" => {}
            b"error" => {
                let error = member(payload, "error").unwrap_or_default();
                parts(Part::Error {
                    code: id(error, &["code"]).into(),
                    message: string(error)
                        .unwrap_or_else(|| word(error, &["message"]))
                        .into(),
                });
            }
            b"tripwire" => status(b"tripwire", word(payload, &["reason"]), parts),
            b"routing-agent-text-start" => self.has_text = false,
            b"routing-agent-text-delta" => self.tell(true, payload, parts),
            b"agent-execution-start" => {
                self.has_text = false;
                step(b"agent", "agentId", false, parts);
            }
            b"routing-agent-start" => {
                parts(Part::Start {
                    run: word(data, &["runId"]).into(),
                    thread: b"".into(),
                    model: b"".into(),
                });
                step(b"agent", "agentId", false, parts);
            }
            b"routing-agent-end" => status(b"routing", word(payload, &["selectionReason"]), parts),
            b"agent-execution-end" | b"network-execution-event-finish" => {
                self.result(word(payload, &["result"]), parts);
            }
            b"workflow-step-start" => step(b"step", "id", false, parts),
            b"workflow-step-suspended" | b"workflow-paused" => {
                self.waits = true;
                parts(Part::Interrupt {
                    id: word(payload, &["id"]).into(),
                    reason: b"suspended".into(),
                    payload: member(payload, "suspendPayload").unwrap_or(payload).into(),
                });
            }
            b"workflow-step-output" | b"step-output" => {
                let output = member(payload, "output").unwrap_or_default();
                let inner = member(output, "payload").unwrap_or_default();
                match word(output, &["type"]) {
                    b"finish" | b"start" | b"step-finish" => {}
                    kind if self.agent(kind, inner, parts) => {}
                    _ => raw(kind, data, parts),
                }
            }
            b"workflow-step-result" | b"workflow-step-finish" => {
                step(b"step", "id", true, parts);
            }
            b"object" | b"object-result" => {
                let object = member(data, "object").or_else(|| member(payload, "object"));
                if let Some(object) = object {
                    parts(Part::State {
                        op: StateOp::Update,
                        value: [b"{\"object\":".as_slice(), object, b"}"].concat().into(),
                    });
                }
            }
            b"tool-execution-start" => {
                let args = member(payload, "args").unwrap_or_default();
                let inner = member(args, "args").unwrap_or(args);
                let args = Some(inner).filter(|args| is_object(args));
                parts(Part::ToolReady {
                    msg: b"".into(),
                    id: execution(payload).into(),
                    name: execution_name(payload).into(),
                    args: Some(args.unwrap_or(b"{}").into()),
                    by: By::Agent,
                });
            }
            b"tool-execution-end" => parts(Part::ToolResult {
                id: execution(payload).into(),
                name: execution_name(payload).into(),
                ok: true,
                content: member(payload, "result").unwrap_or(b"null").into(),
                partial: false,
            }),
            kind if kind.starts_with(b"data-") => {
                let name = kind.strip_prefix(b"data-").unwrap_or(kind);
                let value = member(data, "data").unwrap_or_default();
                let detail = if is_object(value) { value } else { data };
                parts(Part::Status {
                    name: name.into(),
                    text: string(value).unwrap_or_default().into(),
                    detail: detail.into(),
                });
            }
            kind => raw(kind, data, parts),
        }
    }

    /// Reads the whole text of an agent of a network, or of the network.
    fn result(&mut self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if text.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.has_text, true) {
            parts(Part::Message {
                msg: b"".into(),
                role: b"assistant".into(),
                text: text.into(),
                duplicate: true,
            });
        } else {
            parts(Part::Text {
                msg: b"".into(),
                text: text.into(),
            });
        }
    }
}

/// Returns the id of the call that a network makes.
fn execution(payload: &[u8]) -> &[u8] {
    let paths: [&[&str]; 3] = [&["toolCallId"], &["args", "toolCallId"], &["runId"]];
    paths
        .into_iter()
        .map(|path| word(payload, path))
        .find(|call| !call.is_empty())
        .unwrap_or_default()
}

/// Returns the name of the tool that a network calls.
fn execution_name(payload: &[u8]) -> &[u8] {
    let paths: [&[&str]; 3] = [&["toolName"], &["args", "toolName"], &["primitiveId"]];
    paths
        .into_iter()
        .map(|path| word(payload, path))
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn finish(reason: Reason) -> Part<'static> {
        Part::Finish {
            reason,
            scope: Scope::Run,
        }
    }

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Mastra::default();
        let bytes = fixture("mastra", name);
        parts_of(&mut reading, Dialect::Mastra, Framing::Sse, &bytes)
    }

    #[test]
    fn the_deltas_are_the_text() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\""#);
        assert_eq!(parts.last(), Some(&finish(Reason::Stop)));
        assert_eq!(text_of(&read("network.sse")), "RainIt rains");
        assert_eq!(text_of(&read("workflow.sse")), "Rain");
    }

    #[test]
    fn calls_have_results() {
        let parts = read("tools.sse");
        assert_eq!(text_of(&parts), "Rain");
        assert!(parts.contains(&Part::ToolReady {
            msg: b"".into(),
            id: b"c1".into(),
            name: b"weather".into(),
            args: Some(br#"{"city":"Oslo"}"#.into()),
            by: By::Agent,
        }));
        assert!(parts.contains(&Part::ToolResult {
            id: b"c2".into(),
            name: b"clock".into(),
            ok: false,
            content: br#"{"message":"no clock"}"#.into(),
            partial: false,
        }));
    }

    #[test]
    fn an_agent_may_wait_or_be_stopped() {
        let parts = read("approval.sse");
        assert!(
            parts
                .iter()
                .any(|part| matches!(part, Part::Interrupt { id, .. } if **id == *b"c1"))
        );
        assert_eq!(parts.last(), Some(&finish(Reason::Interrupt)));
        assert_eq!(read("abort.sse").last(), Some(&finish(Reason::Cancelled)));
    }
}
