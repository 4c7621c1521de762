//! What tasks and tools are doing, and the data that the application itself sends.

use super::LangGraph;
use crate::translate::part::Part;
use crate::translate::raw::{is_json, is_object, member, string, word};
use crate::translate::reading::langchain::{Answer, Message};

impl LangGraph {
    /// Reads the beginning or the end of a task, which runs one node.
    pub(super) fn task(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !is_object(data) || !is_json(data) {
            return;
        }
        parts(Part::Step {
            kind: b"task".into(),
            name: word(data, &["name"]).into(),
            ends: ["result", "error"]
                .into_iter()
                .any(|outcome| member(data, outcome).is_some()),
            detail: data.into(),
        });
        if let Some(interrupts) = member(data, "interrupts") {
            self.interrupt(interrupts, parts);
        }
    }

    /// Reads what a tool does.
    pub(super) fn tool(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let name = ["tool_name", "name"]
            .into_iter()
            .map(|member| word(data, &[member]))
            .find(|name| !name.is_empty())
            .unwrap_or_default();
        let call = ["tool_call_id", "toolCallId"]
            .into_iter()
            .map(|member| word(data, &[member]))
            .find(|call| !call.is_empty())
            .unwrap_or_default();
        if call.is_empty() {
            // The messages have the call as well, with its id.
            if is_object(data) && is_json(data) {
                parts(Part::Status {
                    name: b"tool".into(),
                    text: name.into(),
                    detail: data.into(),
                });
            }
            return;
        }
        match word(data, &["event"]) {
            b"on_tool_start" | b"tool-started" => {
                let input = member(data, "input").filter(|input| is_object(input));
                self.messages.call(b"", call, name, input, parts);
            }
            b"on_tool_event" | b"tool-output-delta" => {
                let output = member(data, "data").or_else(|| member(data, "delta"));
                let output = output.unwrap_or(b"null");
                self.messages
                    .answer(call, name, Answer::Partial, output, parts);
            }
            b"on_tool_end" | b"tool-finished" => {
                let output = member(data, "output").unwrap_or(b"null");
                let message = Message::read(output);
                if message.is_tool() {
                    self.messages.result(&message, parts);
                } else {
                    self.messages
                        .answer(call, name, Answer::Succeeded, output, parts);
                }
            }
            b"on_tool_error" | b"tool-error" => {
                let error = member(data, "error").or_else(|| member(data, "message"));
                let error = error.unwrap_or(b"null");
                self.messages
                    .answer(call, name, Answer::Failed, error, parts);
            }
            event if is_json(data) => parts(Part::Raw {
                name: event.into(),
                data: data.into(),
            }),
            _ => {}
        }
    }
}

/// Tells the application's own data.
pub(super) fn custom(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if let Some(text) = string(data) {
        return parts(Part::Status {
            name: b"custom".into(),
            text: text.into(),
            detail: b"".into(),
        });
    }
    if is_object(data) && is_json(data) {
        let text = ["status", "message", "text", "content"]
            .into_iter()
            .map(|name| word(data, &[name]))
            .find(|text| !text.is_empty());
        return parts(Part::Status {
            name: b"custom".into(),
            text: text.unwrap_or_default().into(),
            detail: data.into(),
        });
    }
    if is_json(data) {
        parts(Part::Raw {
            name: b"custom".into(),
            data: data.into(),
        });
    }
}
