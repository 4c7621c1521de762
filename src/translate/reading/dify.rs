//! Dify: chats, completions, agents, workflows.

use super::Reading;
use super::shared::{finish, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{elements, id, is_object, member, members, string, unescaped, word};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Dify {
    started: bool,
    /// Whether any piece of the answer has come.
    said: bool,
    round: Round,
}

/// A round of an agent. Its event is sent again each time more is known.
#[derive(Debug, Default)]
struct Round {
    id: Vec<u8>,
    /// How much of the thought has come.
    thought: Vec<u8>,
    /// Whether pieces of the answer have come in this round, which the thought repeats at its end.
    spoken: bool,
    called: bool,
    answered: bool,
}

impl Reading for Dify {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        if event.class == Class::Heartbeat {
            return;
        }
        let data = frame.data();
        let name = word(data, &["event"]);
        if event.class != Class::Opaque && !std::mem::replace(&mut self.started, true) {
            let run = ["workflow_run_id", "message_id", "task_id"]
                .iter()
                .map(|name| word(data, &[name]))
                .find(|run| !run.is_empty());
            parts(Part::Start {
                run: run.unwrap_or_default().into(),
                thread: word(data, &["conversation_id"]).into(),
                model: b"".into(),
            });
        }
        let inner = member(data, "data").unwrap_or_default();
        match name {
            b"agent_message" | b"message" | b"message_file"
                if member(data, "answer").and_then(string).is_some() =>
            {
                self.say(word(data, &["message_id"]), word(data, &["answer"]), parts);
            }
            b"text_chunk" => {
                // Each variable of a workflow is a text of its own.
                let places = member(inner, "from_variable_selector").map(elements);
                let first = places.unwrap_or_default().first().copied().and_then(string);
                self.say(first.unwrap_or_default(), word(inner, &["text"]), parts);
            }
            b"message_replace" => self.replace(data, word(data, &["answer"]), parts),
            b"text_replace" => self.replace(data, word(inner, &["text"]), parts),
            b"agent_thought" => self.thought(data, parts),
            b"agent_log" => parts(Part::Status {
                name: b"agent".into(),
                text: word(inner, &["label"]).into(),
                detail: inner.into(),
            }),
            b"message_end" => {
                let resources = member(data, "metadata")
                    .and_then(|metadata| member(metadata, "retriever_resources"))
                    .filter(|resources| *resources != b"[]");
                if let Some(resources) = resources {
                    unknown(b"retriever_resources", resources, parts);
                }
                usage(event, None, parts);
                finish(Reason::Stop, Scope::Run, parts);
            }
            b"human_input_required" => parts(Part::Interrupt {
                id: id(inner, &["form_id"]).into(),
                reason: b"input".into(),
                payload: inner.into(),
            }),
            b"workflow_finished" => self.workflow_finished(data, inner, parts),
            b"workflow_paused" => finish(Reason::Interrupt, Scope::Run, parts),
            b"workflow_started" => {}
            b"error" => parts(Part::Error {
                code: id(data, &["code"]).into(),
                message: word(data, &["message"]).into(),
            }),
            b"node_finished" | b"node_started" => node(name, inner, event, parts),
            b"tts_message_end" => {}
            _ if event.class == Class::State => parts(Part::Status {
                name: b"step".into(),
                text: name.into(),
                detail: if is_object(inner) { inner } else { data }.into(),
            }),
            _ => unknown(name, data, parts),
        }
    }
}

impl Dify {
    /// Passes on a piece of the answer.
    fn say(&mut self, msg: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !text.is_empty() {
            self.said = true;
            self.round.spoken = true;
            parts(Part::Text {
                msg: msg.into(),
                text: text.into(),
            });
        }
    }

    /// Reads a text that stands in for all pieces before.
    fn replace(&mut self, data: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let msg = word(data, &["message_id"]);
        if self.said {
            parts(Part::Message {
                msg: msg.into(),
                role: b"assistant".into(),
                text: text.into(),
                duplicate: true,
            });
        } else {
            self.say(msg, text, parts);
        }
    }

    /// Reads what is known of a round of the agent: its thought, its calls and their results.
    fn thought(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let told = id(data, &["id"]);
        if self.round.id != told {
            self.round = Round {
                id: told.to_vec(),
                ..Round::default()
            };
        }
        let round = &mut self.round;
        let thought = word(data, &["thought"]);
        let more = match thought.strip_prefix(round.thought.as_slice()) {
            Some(more) => more,
            None => {
                parts(Part::TextEnd);
                thought
            }
        };
        if !round.spoken && !more.is_empty() {
            parts(Part::Reasoning {
                msg: told.into(),
                text: more.into(),
            });
        }
        round.thought = thought.to_vec();
        let tools = word(data, &["tool"]);
        if tools.is_empty() {
            return;
        }
        let input = word(data, &["tool_input"]);
        let observation = word(data, &["observation"]);
        let calls = !std::mem::replace(&mut round.called, true);
        let answers = !observation.is_empty() && !std::mem::replace(&mut round.answered, true);
        let (inputs, answer) = (unescaped(input), unescaped(observation));
        // The names are joined by semicolons; inputs and answers are objects with a member for
        // each, or all that there is.
        for (number, name) in tools.split(|byte| *byte == b';').enumerate() {
            let mut id = told.to_vec();
            if number > 0 {
                id.extend_from_slice(format!("-{number}").as_bytes());
            }
            let key = std::str::from_utf8(name).unwrap_or_default();
            if calls {
                let args = match member(&inputs, key) {
                    Some(args) => args,
                    None if is_object(&inputs) => &inputs,
                    None => member(data, "tool_input").unwrap_or(b"{}"),
                };
                parts(Part::ToolReady {
                    msg: b"".into(),
                    id: (&id).into(),
                    name: name.into(),
                    args: Some(args.into()),
                    by: By::Agent,
                });
            }
            if answers {
                let content = member(&answer, key).or_else(|| member(data, "observation"));
                parts(Part::ToolResult {
                    id: id.into(),
                    name: name.into(),
                    ok: true,
                    content: content.unwrap_or(b"null").into(),
                    partial: false,
                });
            }
        }
    }

    /// Reads the end of a workflow. In a chat, the end of the message is the end of the run.
    fn workflow_finished(&mut self, data: &[u8], inner: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let status = word(inner, &["status"]);
        if status == b"failed" {
            return parts(Part::Error {
                code: b"".into(),
                message: word(inner, &["error"]).into(),
            });
        }
        let is_chat = member(data, "message_id").or_else(|| member(data, "conversation_id"));
        let outputs = member(inner, "outputs").filter(|outputs| is_object(outputs));
        let outputs = outputs.unwrap_or_default();
        if !self.said {
            let all = members(outputs);
            let text = match all.as_slice() {
                [(_, only)] => string(only).unwrap_or_default(),
                _ => ["answer", "text", "output", "result"]
                    .iter()
                    .map(|name| word(outputs, &[name]))
                    .find(|text| !text.is_empty())
                    .unwrap_or_default(),
            };
            self.say(word(data, &["message_id"]), text, parts);
        }
        if is_chat.is_none() && !outputs.is_empty() {
            parts(Part::State {
                op: StateOp::Snapshot,
                value: outputs.into(),
            });
        }
        let reason = match status {
            b"stopped" => Reason::Cancelled,
            _ => Reason::Stop,
        };
        let scope = match is_chat {
            // Whoever stops a workflow stops the run.
            Some(_) if reason == Reason::Stop => Scope::Step,
            _ => Scope::Run,
        };
        finish(reason, scope, parts);
    }
}

/// Reads the beginning or the end of a node, which may be a tool.
fn node(name: &[u8], inner: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
    let kind = word(inner, &["node_type"]);
    let title = match word(inner, &["title"]) {
        b"" => kind,
        title => title,
    };
    let has_ended = name == b"node_finished";
    parts(Part::Step {
        kind: b"node".into(),
        name: title.into(),
        ends: has_ended,
        detail: inner.into(),
    });
    if kind == b"tool" {
        let id = word(inner, &["id"]);
        parts(if has_ended {
            Part::ToolResult {
                id: id.into(),
                name: title.into(),
                ok: word(inner, &["status"]) != b"failed",
                content: member(inner, "outputs").unwrap_or(b"null").into(),
                partial: false,
            }
        } else {
            Part::ToolReady {
                msg: b"".into(),
                id: id.into(),
                name: title.into(),
                args: Some(member(inner, "inputs").unwrap_or(b"{}").into()),
                by: By::Agent,
            }
        });
    }
    usage(event, None, parts);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Dify::default();
        let bytes = fixture("dify", name);
        parts_of(&mut reading, Dialect::Dify, Framing::Sse, &bytes)
    }

    #[test]
    fn thoughts_grow() {
        let parts = read("reasoning.sse");
        let thoughts = |part: &Part<'_>| match part {
            Part::Reasoning { text, .. } => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        };
        let thoughts: Vec<String> = parts.iter().filter_map(thoughts).collect();
        assert_eq!(thoughts, ["Let me look", " it up"]);
        assert_eq!(text_of(&parts), "Rain");
    }

    #[test]
    fn a_round_calls_each_tool_once() {
        let parts = read("tools.sse");
        assert_eq!(text_of(&parts), "Rain.");
        let call = |id: &'static [u8], name: &'static [u8]| Part::ToolReady {
            msg: b"".into(),
            id: id.into(),
            name: name.into(),
            args: Some(br#"{"c":"Oslo"}"#.into()),
            by: By::Agent,
        };
        let calls: Vec<_> = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolReady { .. }))
            .cloned()
            .collect();
        assert_eq!(calls, [call(b"t1", b"wx"), call(b"t1-1", b"time")]);
        assert!(parts.contains(&Part::ToolResult {
            id: b"t1-1".into(),
            name: b"time".into(),
            ok: true,
            content: br#""noon""#.into(),
            partial: false,
        }));
    }

    #[test]
    fn a_workflow_ends_the_run() {
        let parts = read("workflow.sse");
        assert_eq!(text_of(&parts), "Rain inNoon");
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }
}
