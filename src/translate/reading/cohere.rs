//! Cohere chat, version 2.

use super::Reading;
use super::shared::{finish, remember, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{at, id, member, number, string, word};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Cohere {
    /// The calls whose arguments are not complete: number and id.
    calls: Vec<(u64, Vec<u8>)>,
    /// The number of calls that had no id.
    nameless: u64,
}

impl Reading for Cohere {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        if event.class == Class::Heartbeat {
            return;
        }
        let data = frame.data();
        if data.starts_with(b"[DONE]") {
            return finish(Reason::Stop, Scope::Run, parts);
        }
        let name = match word(data, &["type"]) {
            b"" => frame.name(),
            kind => kind,
        };
        match name {
            b"content-delta" | b"content-start" => {
                let content = at(data, &["delta", "message", "content"]).unwrap_or_default();
                think(word(content, &["thinking"]), parts);
                let text = word(content, &["text"]);
                if !text.is_empty() {
                    parts(Part::Text {
                        msg: b"".into(),
                        text: text.into(),
                    });
                }
            }
            b"content-end" => parts(Part::TextEnd),
            b"citation-end" => {}
            b"message-end" => self.end(data, event, parts),
            b"message-start" => parts(Part::Start {
                run: word(data, &["id"]).into(),
                thread: b"".into(),
                model: word(data, &["delta", "message", "model"]).into(),
            }),
            b"tool-call-delta" => {
                let index = number(data, &["index"]).unwrap_or_default();
                let text = arguments(data);
                self.piece(index, text, parts);
            }
            b"tool-call-end" => {
                let index = number(data, &["index"]).unwrap_or_default();
                if let Some(at) = self.calls.iter().position(|(of, _)| *of == index) {
                    let (_, id) = self.calls.remove(at);
                    ready(&id, parts);
                }
            }
            b"tool-call-start" => self.call(data, parts),
            b"tool-plan-delta" => think(word(data, &["delta", "message", "tool_plan"]), parts),
            _ => unknown(name, data, parts),
        }
    }
}

impl Cohere {
    /// Reads the beginning of a call.
    fn call(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let index = number(data, &["index"]).unwrap_or_default();
        let call = at(data, &["delta", "message", "tool_calls"]).unwrap_or_default();
        let id = match word(call, &["id"]) {
            b"" => {
                let number = self.nameless;
                self.nameless += 1;
                format!("call-{number}").into_bytes()
            }
            id => id.to_vec(),
        };
        parts(Part::ToolStart {
            msg: b"".into(),
            id: (&id).into(),
            name: word(call, &["function", "name"]).into(),
            by: By::Client,
        });
        remember(&mut self.calls, (index, id));
        self.piece(index, arguments(data), parts);
    }

    /// Reads a piece of the arguments of a call.
    fn piece(&self, index: u64, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let call = self.calls.iter().rfind(|(of, _)| *of == index);
        let id = call.map(|(_, id)| id.as_slice()).unwrap_or_default();
        if !text.is_empty() {
            parts(Part::ToolArgs {
                id: id.into(),
                text: text.into(),
            });
        }
    }

    /// Reads the end of the message, which is the end of the run.
    fn end(&mut self, data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        for (_, id) in self.calls.drain(..) {
            ready(&id, parts);
        }
        let delta = member(data, "delta").unwrap_or_default();
        usage(event, number(delta, &["usage", "cached_tokens"]), parts);
        let told = word(delta, &["finish_reason"]);
        if event.class == Class::Error {
            let error = member(delta, "error").unwrap_or_default();
            return parts(Part::Error {
                code: match id(error, &["code"]) {
                    b"" => told,
                    code => code,
                }
                .into(),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
        }
        let reason = match told {
            b"" => Reason::Stop,
            told => Reason::of(told),
        };
        finish(reason, Scope::Run, parts);
    }
}

/// Returns the arguments in an event, or the piece of them.
fn arguments(data: &[u8]) -> &[u8] {
    word(
        data,
        &["delta", "message", "tool_calls", "function", "arguments"],
    )
}

/// Passes on a piece of reasoning.
fn think(text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if !text.is_empty() {
        parts(Part::Reasoning {
            msg: b"".into(),
            text: text.into(),
        });
    }
}

/// Passes on that the arguments of a call are complete.
fn ready(id: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::ToolReady {
        msg: b"".into(),
        id: id.into(),
        name: b"".into(),
        args: None,
        by: By::Client,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Cohere::default();
        let bytes = fixture("cohere", name);
        parts_of(&mut reading, Dialect::Cohere, Framing::Sse, &bytes)
    }

    #[test]
    fn the_message_ends_the_run() {
        let parts = read("billed.sse");
        assert_eq!(text_of(&parts), "Rain");
        let end = Part::Finish {
            reason: Reason::Length,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
        let error = Part::Error {
            code: b"ERROR".into(),
            message: b"the model failed".into(),
        };
        assert!(read("error.sse").contains(&error));
    }

    #[test]
    fn pieces_of_arguments_go_to_their_calls() {
        let parts = read("tools.sse");
        let mut pieces = Vec::new();
        for part in &parts {
            if let Part::ToolArgs { id, text } = part
                && &**id == b"wx_1"
            {
                pieces.extend_from_slice(text);
            }
        }
        assert_eq!(String::from_utf8(pieces).unwrap(), r#"{\"c\":\"Oslo\"}"#);
        let ready = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolReady { .. }));
        assert_eq!(ready.count(), 2);
        assert!(parts.contains(&Part::Finish {
            reason: Reason::ToolCalls,
            scope: Scope::Run,
        }));
    }
}
