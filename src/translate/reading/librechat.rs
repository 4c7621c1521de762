//! LibreChat: the steps and deltas of its agents.

use super::Reading;
use super::shared::{finish, remember, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Json, Part, Reason, Scope};
use crate::translate::raw::{
    at, elements, escaped, id, is_object, is_true, member, number, string, unescaped, word,
};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct LibreChat {
    /// Whether any piece of the answer has come.
    said: bool,
    /// Whether any piece of reasoning has come.
    thought: bool,
    /// Whether the texts go on with those that the stream began with, because it was resumed.
    resumed: bool,
    calls: Vec<Call>,
    /// The number of calls that had no id.
    nameless: u64,
}

/// A call of a tool.
#[derive(Debug)]
struct Call {
    /// The step that it belongs to, and its number there.
    step: Vec<u8>,
    number: u64,
    id: Vec<u8>,
    is_ready: bool,
}

impl Reading for LibreChat {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        match event.class {
            Class::Heartbeat => return,
            Class::Error => return error(data, parts),
            Class::Opaque => return unknown(frame.name(), data, parts),
            _ => {}
        }
        if frame.name() == b"attachment" {
            return unknown(frame.name(), data, parts);
        }
        let inner = member(data, "data").unwrap_or_default();
        match word(data, &["event"]) {
            b"on_message_delta" | b"on_reasoning_delta" => self.delta(inner, parts),
            b"on_run_step_delta" => {
                let calls = at(inner, &["delta", "tool_calls"]).map(elements);
                for (place, call) in (0..).zip(calls.unwrap_or_default()) {
                    let number = number(call, &["index"]).unwrap_or(place);
                    self.call(word(inner, &["id"]), number, call, parts);
                }
            }
            b"on_run_step" => {
                self.resumed = false;
                parts(Part::TextEnd);
                let calls = at(inner, &["stepDetails", "tool_calls"]).map(elements);
                for (number, call) in (0..).zip(calls.unwrap_or_default()) {
                    self.call(word(inner, &["id"]), number, call, parts);
                }
            }
            b"on_run_step_completed" => self.completed(inner, parts),
            b"on_run_step_closed" => parts(Part::TextEnd),
            b"on_token_usage" => {
                let cached = number(inner, &["input_token_details", "cache_read"]);
                usage(event, cached, parts);
            }
            b"on_agent_update" | b"on_subagent_update" => parts(Part::Status {
                name: b"agent".into(),
                text: word(inner, &["message"]).into(),
                detail: inner.into(),
            }),
            b"" if is_true(data, &["final"]) => self.end(data, parts),
            b"" if is_true(data, &["created"]) => parts(Part::Start {
                run: word(data, &["message", "messageId"]).into(),
                thread: word(data, &["message", "conversationId"]).into(),
                model: b"".into(),
            }),
            b"" if is_true(data, &["sync"]) => {
                self.resumed = true;
                let content = at(data, &["resumeState", "aggregatedContent"]);
                for part in content.map(elements).unwrap_or_default() {
                    self.content(b"", part, parts);
                }
            }
            name if name.starts_with(b"on_") => parts(Part::Status {
                name: name.strip_prefix(b"on_").unwrap_or(name).into(),
                text: b"".into(),
                detail: if is_object(inner) { inner } else { b"" }.into(),
            }),
            name => unknown(name, data, parts),
        }
    }
}

impl LibreChat {
    /// Reads pieces of texts and thoughts.
    fn delta(&mut self, inner: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let step: &[u8] = if self.resumed {
            b""
        } else {
            word(inner, &["id"])
        };
        let Some(content) = at(inner, &["delta", "content"]) else {
            return;
        };
        if let Some(text) = string(content) {
            return self.say(step, text, parts);
        }
        for part in elements(content) {
            self.content(step, part, parts);
        }
    }

    /// Reads a content: a text, a thought, or something else.
    fn content(&mut self, step: &[u8], content: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let mut is_known = false;
        for name in ["think", "thinking", "reasoning"] {
            let thought = word(content, &[name]);
            if !thought.is_empty() {
                (is_known, self.thought) = (true, true);
                parts(Part::Reasoning {
                    msg: step.into(),
                    text: thought.into(),
                });
            }
        }
        if let Some(text) = member(content, "text") {
            is_known = true;
            let text = string(text).unwrap_or_else(|| word(text, &["value"]));
            self.say(step, text, parts);
        }
        let kind = word(content, &["type"]);
        if !is_known && !matches!(kind, b"" | b"text" | b"think") {
            unknown(kind, content, parts);
        }
    }

    fn say(&mut self, step: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !text.is_empty() {
            self.said = true;
            parts(Part::Text {
                msg: step.into(),
                text: text.into(),
            });
        }
    }

    /// Reads a call, or a piece of one.
    fn call(&mut self, step: &[u8], number: u64, call: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let told = word(call, &["id"]);
        let is_it = |known: &Call| {
            (!told.is_empty() && known.id == told)
                || (told.is_empty() && known.step == step && known.number == number)
        };
        let place = match self.calls.iter().rposition(is_it) {
            Some(place) => place,
            None => {
                let id = if told.is_empty() {
                    let number = self.nameless;
                    self.nameless += 1;
                    format!("call-{number}").into_bytes()
                } else {
                    told.to_vec()
                };
                parts(Part::ToolStart {
                    msg: b"".into(),
                    id: (&id).into(),
                    name: word(call, &["name"]).into(),
                    by: By::Agent,
                });
                remember(
                    &mut self.calls,
                    Call {
                        step: step.to_vec(),
                        number,
                        id,
                        is_ready: false,
                    },
                );
                self.calls.len() - 1
            }
        };
        let Some(known) = self.calls.get_mut(place) else {
            return;
        };
        let Some(args) = member(call, "args") else {
            return;
        };
        match string(args) {
            Some(text) => known.piece(text, parts),
            None if args != b"{}" => known.ready(Some(args), parts),
            // They may follow.
            None => {}
        }
    }

    /// Reads the result of a call, with all of its arguments.
    fn completed(&mut self, inner: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let result = member(inner, "result").unwrap_or_default();
        let Some(call) = member(result, "tool_call") else {
            return;
        };
        let told = word(call, &["id"]);
        match self.calls.iter_mut().rfind(|known| known.id == told) {
            Some(known) => known.ready(member(call, "args"), parts),
            // Nothing of it was told.
            None => parts(Part::ToolReady {
                msg: b"".into(),
                id: told.into(),
                name: word(call, &["name"]).into(),
                args: member(call, "args").map(whole),
                by: By::Agent,
            }),
        }
        parts(Part::ToolResult {
            id: told.into(),
            name: word(call, &["name"]).into(),
            ok: true,
            content: member(call, "output").unwrap_or(b"null").into(),
            partial: false,
        });
    }

    /// Reads the end of the run, which repeats the whole answer.
    fn end(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let response = member(data, "responseMessage").unwrap_or_default();
        if is_true(response, &["error"]) {
            return parts(Part::Error {
                code: b"".into(),
                message: word(response, &["text"]).into(),
            });
        }
        if !self.said {
            let contents = member(response, "content")
                .map(elements)
                .unwrap_or_default();
            let tells_thoughts = !self.thought;
            for content in contents {
                match word(content, &["type"]) {
                    b"text" => self.content(b"", content, parts),
                    b"think" if tells_thoughts => self.content(b"", content, parts),
                    _ => {}
                }
            }
            if !self.said {
                self.say(b"", word(response, &["text"]), parts);
            }
        }
        let is_aborted = is_true(data, &["aborted"]) || is_true(response, &["unfinished"]);
        let reason = if is_aborted {
            Reason::Cancelled
        } else {
            Reason::Stop
        };
        finish(reason, Scope::Run, parts);
    }
}

impl Call {
    /// Passes on a piece of the arguments.
    fn piece(&self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !text.is_empty() && !self.is_ready {
            parts(Part::ToolArgs {
                id: (&self.id).into(),
                text: text.into(),
            });
        }
    }

    /// Passes on that the arguments are complete: `args`, or what the pieces add up to.
    fn ready(&mut self, args: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
        if !std::mem::replace(&mut self.is_ready, true) {
            parts(Part::ToolReady {
                msg: b"".into(),
                id: (&self.id).into(),
                name: b"".into(),
                args: args.map(whole),
                by: By::Agent,
            });
        }
    }
}

/// Returns whole arguments, which may be a value or its text.
fn whole(args: &[u8]) -> Json<'_> {
    string(args).map_or_else(|| args.into(), |text| unescaped(text).into())
}

/// Passes on an error, whose data may be plain text.
fn error(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if !is_object(data) {
        return parts(Part::Error {
            code: b"".into(),
            message: string(data).map_or_else(|| escaped(data), Into::into),
        });
    }
    let error = member(data, "error").unwrap_or(data);
    let message = string(error).unwrap_or_else(|| match word(error, &["message"]) {
        b"" => word(error, &["text"]),
        message => message,
    });
    parts(Part::Error {
        code: id(error, &["code"]).into(),
        message: message.into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = LibreChat::default();
        let bytes = fixture("librechat", name);
        parts_of(&mut reading, Dialect::LibreChat, Framing::Sse, &bytes)
    }

    #[test]
    fn the_end_repeats_the_text() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\""#);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }

    #[test]
    fn a_resumed_stream_begins_with_the_text_so_far() {
        assert_eq!(text_of(&read("resumed.sse")), "Rain");
    }

    #[test]
    fn pieces_of_arguments_go_to_their_calls() {
        let parts = read("tools.sse");
        let mut pieces = Vec::new();
        for part in &parts {
            if let Part::ToolArgs { id, text } = part
                && &**id == b"c1"
            {
                pieces.extend_from_slice(text);
            }
        }
        assert_eq!(String::from_utf8(pieces).unwrap(), r#"{\"city\":\"Oslo\"}"#);
        assert!(parts.contains(&Part::ToolResult {
            id: b"c1".into(),
            name: b"weather".into(),
            ok: true,
            content: br#""4 C""#.into(),
            partial: false,
        }));
        assert_eq!(text_of(&parts), "Rain");
    }
}
