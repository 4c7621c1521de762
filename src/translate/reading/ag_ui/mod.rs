//! AG-UI: unnamed blocks, each an object whose `type` is in capitals. `snapshot` reads snapshots of the messages.

mod snapshot;

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{elements, id, is_object, member, number, word};
use crate::wire::{Frame, json};

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct AgUi {
    /// The message of the last chunk: chunks without an id go on with it.
    text: Vec<u8>,
    /// The message of the last chunk of reasoning.
    reasoning: Vec<u8>,
    /// The call of the last chunk, which the next event of another kind ends. Empty if there is none.
    call: Vec<u8>,
    /// The messages whose text came in pieces.
    told: Vec<Vec<u8>>,
    /// How many calls had no id.
    unnamed: u64,
    /// How many runs were started: each has its own counts.
    runs: u64,
    /// Something of the current run has come. A snapshot before it has the conversation so far.
    has_begun: bool,
}

impl Reading for AgUi {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        let kind = word(data, &["type"]);
        if kind != b"TOOL_CALL_CHUNK" && !self.call.is_empty() && !kind.is_empty() {
            self.end_call(parts);
        }
        self.has_begun |= begins(kind);
        match kind {
            b"TEXT_MESSAGE_CONTENT" | b"TEXT_MESSAGE_CHUNK" => {
                let told = word(data, &["messageId"]);
                go_on(&mut self.text, told);
                let text = word(data, &["delta"]);
                if text.is_empty() {
                    return;
                }
                if self.told.last() != Some(&self.text) {
                    self.tell();
                }
                parts(Part::Text {
                    msg: self.text.as_slice().into(),
                    text: text.into(),
                });
            }
            b"REASONING_MESSAGE_CONTENT"
            | b"REASONING_MESSAGE_CHUNK"
            | b"THINKING_TEXT_MESSAGE_CONTENT" => {
                go_on(&mut self.reasoning, word(data, &["messageId"]));
                let text = word(data, &["delta"]);
                if !text.is_empty() {
                    parts(Part::Reasoning {
                        msg: self.reasoning.as_slice().into(),
                        text: text.into(),
                    });
                }
            }
            b"TEXT_MESSAGE_START" => go_on(&mut self.text, word(data, &["messageId"])),
            b"REASONING_MESSAGE_START" => {
                go_on(&mut self.reasoning, word(data, &["messageId"]));
            }
            b"TEXT_MESSAGE_END" => parts(Part::TextEnd),
            b"REASONING_MESSAGE_END" | b"THINKING_TEXT_MESSAGE_END" => {
                // What comes next may have no id.
                self.reasoning.clear();
                parts(Part::TextEnd);
            }
            b"REASONING_START" | b"REASONING_END" | b"THINKING_START" | b"THINKING_END" => {}
            b"TOOL_CALL_START" | b"TOOL_CALL_ARGS" | b"TOOL_CALL_CHUNK" | b"TOOL_CALL_END"
            | b"TOOL_CALL_RESULT" => self.call(kind, data, parts),
            b"RUN_STARTED" => {
                self.runs += 1;
                self.has_begun = false;
                parts(Part::Start {
                    run: word(data, &["runId"]).into(),
                    thread: word(data, &["threadId"]).into(),
                    model: b"".into(),
                });
            }
            b"STEP_STARTED" => step(data, false, parts),
            b"STEP_FINISHED" => {
                parts(Part::Finish {
                    reason: Reason::Stop,
                    scope: Scope::Step,
                });
                step(data, true, parts);
            }
            b"STATE_SNAPSHOT" => state(StateOp::Snapshot, member(data, "snapshot"), parts),
            b"STATE_DELTA" => state(StateOp::Patch, member(data, "delta"), parts),
            b"MESSAGES_SNAPSHOT" => self.messages(data, parts),
            b"ACTIVITY_SNAPSHOT" | b"ACTIVITY_DELTA" if is_object(data) => parts(Part::Status {
                name: b"activity".into(),
                text: word(data, &["activityType"]).into(),
                detail: data.into(),
            }),
            b"RUN_FINISHED" => self.finish(data, event, parts),
            b"RUN_ERROR" => {
                self.usage(data, event, parts);
                parts(Part::Error {
                    code: id(data, &["code"]).into(),
                    message: word(data, &["message"]).into(),
                });
            }
            kind if json::is_whole(data) => parts(Part::Raw {
                name: match kind {
                    b"CUSTOM" => word(data, &["name"]),
                    kind => kind,
                }
                .into(),
                data: data.into(),
            }),
            _ => {}
        }
    }
}

/// Notes the id of a message, if it is told.
fn go_on(open: &mut Vec<u8>, told: &[u8]) {
    if !told.is_empty() && open.as_slice() != told {
        open.clear();
        open.extend_from_slice(told);
    }
}

fn step(data: &[u8], ends: bool, parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::Step {
        kind: b"step".into(),
        name: word(data, &["stepName"]).into(),
        ends,
        detail: b"".into(),
    });
}

fn state(op: StateOp, value: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
    if let Some(value) = value {
        parts(Part::State {
            op,
            value: value.into(),
        });
    }
}

impl AgUi {
    /// Notes that the text of the open message comes in pieces.
    fn tell(&mut self) {
        self.told.retain(|told| *told != self.text);
        shared::remember(&mut self.told, self.text.clone());
    }

    fn call(&mut self, kind: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let told = word(data, &["toolCallId"]);
        match kind {
            b"TOOL_CALL_START" => {
                let made;
                let call = if told.is_empty() {
                    made = self.make_id();
                    made.as_slice()
                } else {
                    told
                };
                start(call, data, parts);
            }
            b"TOOL_CALL_ARGS" => {
                let text = word(data, &["delta"]);
                if !text.is_empty() {
                    parts(Part::ToolArgs {
                        id: told.into(),
                        text: text.into(),
                    });
                }
            }
            b"TOOL_CALL_CHUNK" => {
                let is_other = !told.is_empty() && self.call != told;
                if is_other && !self.call.is_empty() {
                    self.end_call(parts);
                }
                if self.call.is_empty() {
                    self.call = if told.is_empty() {
                        self.make_id()
                    } else {
                        told.to_vec()
                    };
                    start(&self.call, data, parts);
                }
                let text = word(data, &["delta"]);
                if !text.is_empty() {
                    parts(Part::ToolArgs {
                        id: self.call.as_slice().into(),
                        text: text.into(),
                    });
                }
            }
            b"TOOL_CALL_END" => ready(told, parts),
            _ => parts(Part::ToolResult {
                id: told.into(),
                name: b"".into(),
                ok: true,
                content: member(data, "content").unwrap_or(b"null").into(),
                partial: false,
            }),
        }
    }

    /// Tells that the arguments of the call that came in chunks are complete.
    fn end_call(&mut self, parts: &mut dyn FnMut(Part<'_>)) {
        ready(&std::mem::take(&mut self.call), parts);
    }

    fn make_id(&mut self) -> Vec<u8> {
        self.unnamed += 1;
        format!("call-{}", self.unnamed).into_bytes()
    }

    fn usage(&self, data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let Some(usage) = event
            .usage
            .filter(|usage| usage.input.is_some() || usage.output.is_some())
        else {
            return;
        };
        // One entry for each model.
        let models = member(data, "usage").map(elements).unwrap_or_default();
        let cached = models
            .into_iter()
            .filter_map(|model| {
                [
                    "cachedInputTokens",
                    "cacheReadTokens",
                    "cacheReadInputTokens",
                ]
                .into_iter()
                .find_map(|name| number(model, &[name]))
            })
            .reduce(u64::saturating_add);
        parts(Part::Usage {
            input: usage.input,
            output: usage.output,
            reasoning: usage.reasoning,
            cached,
            call: self.runs,
        });
    }

    fn finish(&self, data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        const DEFAULT: &[u8] = b"interrupt";
        self.usage(data, event, parts);
        let outcome = member(data, "outcome").unwrap_or_default();
        let interrupts = member(outcome, "interrupts")
            .map(elements)
            .unwrap_or_default();
        let kind = word(outcome, &["type"]);
        let reason = if kind == b"interrupt" || !interrupts.is_empty() {
            Reason::Interrupt
        } else if kind.is_empty() {
            Reason::Stop
        } else {
            Reason::of(kind)
        };
        for interrupt in interrupts {
            let told = word(interrupt, &["reason"]);
            parts(Part::Interrupt {
                id: id(interrupt, &["id"]).into(),
                reason: if told.is_empty() { DEFAULT } else { told }.into(),
                payload: interrupt.into(),
            });
        }
        parts(Part::Finish {
            reason,
            scope: Scope::Run,
        });
    }
}

/// Reports whether an event is what an agent says or does in its run.
fn begins(kind: &[u8]) -> bool {
    let starts: [&[u8]; 5] = [b"REASONING_", b"STEP_", b"TEXT_", b"THINKING_", b"TOOL_"];
    starts.iter().any(|start| kind.starts_with(start))
}

/// Tells that a call begins.
fn start(call: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::ToolStart {
        msg: word(data, &["parentMessageId"]).into(),
        id: call.into(),
        name: word(data, &["toolCallName"]).into(),
        by: By::Agent,
    });
}

/// Tells that the arguments of a call are complete.
fn ready(call: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::ToolReady {
        msg: b"".into(),
        id: call.into(),
        name: b"".into(),
        args: None,
        by: By::Agent,
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = AgUi::default();
        let bytes = fixture("ag_ui", name);
        parts_of(&mut reading, Dialect::AgUi, Framing::Sse, &bytes)
    }

    #[test]
    fn the_contents_are_the_text() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\""#);
        assert!(parts.contains(&Part::Usage {
            input: Some(10),
            output: Some(6),
            reasoning: Some(1),
            cached: None,
            call: 1,
        }));
        assert_eq!(
            parts.last(),
            Some(&Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Run,
            })
        );
    }

    #[test]
    fn chunks_open_and_close_what_they_belong_to() {
        let parts = read("reasoning.sse");
        assert_eq!(text_of(&parts), "Rain.");
        let thoughts: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                Part::Reasoning { text, .. } => Some(text.to_vec()),
                _ => None,
            })
            .collect();
        assert_eq!(thoughts.concat(), b"Look upHm");
        assert!(parts.contains(&Part::ToolReady {
            msg: b"".into(),
            id: b"c".into(),
            name: b"".into(),
            args: None,
            by: By::Agent,
        }));
    }

    #[test]
    fn calls_results_and_interrupts_are_told() {
        let parts = read("tools.sse");
        assert!(parts.contains(&Part::ToolStart {
            msg: b"m".into(),
            id: b"c1".into(),
            name: b"wx".into(),
            by: By::Agent,
        }));
        assert!(parts.contains(&Part::ToolArgs {
            id: b"c1".into(),
            text: br#"{\"c\":"#.into(),
        }));
        assert!(parts.contains(&Part::ToolResult {
            id: b"c1".into(),
            name: b"".into(),
            ok: true,
            content: b"\"4 C\"".into(),
            partial: false,
        }));
        assert_eq!(
            parts.last(),
            Some(&Part::Finish {
                reason: Reason::Interrupt,
                scope: Scope::Run,
            })
        );
    }
}
