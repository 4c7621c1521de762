//! Anthropic Messages.

use super::Reading;
use super::shared::{finish, remember, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{at, escaped, is_object, is_true, member, number, string, word};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Anthropic {
    /// The id of the message.
    message: Vec<u8>,
    /// Why the message ends.
    reason: Option<Reason>,
    /// The calls whose blocks are open.
    calls: Vec<Call>,
    /// The number of calls that had no id.
    nameless: u64,
}

/// A call of a tool.
#[derive(Debug)]
struct Call {
    /// The index of its block.
    index: u64,
    id: Vec<u8>,
    by: By,
    /// The arguments with which the block began: an empty object, if they follow in pieces.
    input: Vec<u8>,
    /// Whether pieces of the arguments have come.
    has_pieces: bool,
}

impl Reading for Anthropic {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        if event.class == Class::Heartbeat {
            return;
        }
        let data = frame.data();
        let name = match frame.name() {
            b"" | b"message" => word(data, &["type"]),
            name => name,
        };
        match name {
            b"content_block_delta" => self.delta(data, parts),
            b"content_block_start" => self.block(data, parts),
            b"content_block_stop" => {
                let index = number(data, &["index"]).unwrap_or_default();
                let at = self.calls.iter().position(|call| call.index == index);
                match at {
                    Some(at) => self.calls.remove(at).ready(parts),
                    None => parts(Part::TextEnd),
                }
            }
            b"error" => error(data, parts),
            b"message_delta" => {
                let told = at(data, &["delta", "stop_reason"]).and_then(string);
                if told.is_some() {
                    self.end_calls(parts);
                }
                let cached = number(data, &["usage", "cache_read_input_tokens"]);
                usage(event, cached, parts);
                if let Some(word) = told {
                    let reason = Reason::of(word);
                    self.reason = Some(reason);
                    finish(reason, Scope::Choice, parts);
                }
            }
            b"message_start" => {
                self.end_calls(parts);
                let message = member(data, "message").unwrap_or_default();
                self.message = word(message, &["id"]).to_vec();
                self.reason = None;
                parts(Part::Start {
                    run: (&self.message).into(),
                    thread: b"".into(),
                    model: word(message, &["model"]).into(),
                });
                let cached = number(message, &["usage", "cache_read_input_tokens"]);
                usage(event, cached, parts);
            }
            b"message_stop" => {
                self.end_calls(parts);
                finish(self.reason.unwrap_or(Reason::Stop), Scope::Run, parts);
            }
            _ => unknown(name, data, parts),
        }
    }
}

impl Anthropic {
    /// Reads a piece of a block.
    fn delta(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let delta = member(data, "delta").unwrap_or_default();
        match word(delta, &["type"]) {
            b"text_delta" => self.say(word(delta, &["text"]), parts),
            b"thinking_delta" => self.think(word(delta, &["thinking"]), parts),
            b"input_json_delta" => {
                let text = word(delta, &["partial_json"]);
                if text.is_empty() {
                    return;
                }
                let index = number(data, &["index"]).unwrap_or_default();
                let call = self.calls.iter_mut().find(|call| call.index == index);
                let id: &[u8] = match call {
                    Some(call) => {
                        call.has_pieces = true;
                        &call.id
                    }
                    None => b"",
                };
                parts(Part::ToolArgs {
                    id: id.into(),
                    text: text.into(),
                });
            }
            kind => unknown(kind, data, parts),
        }
    }

    /// Reads the beginning of a block, which is all of it if nothing follows in pieces.
    fn block(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let block = member(data, "content_block").unwrap_or_default();
        match word(block, &["type"]) {
            b"text" => self.say(word(block, &["text"]), parts),
            b"thinking" => self.think(word(block, &["thinking"]), parts),
            b"tool_use" => self.call(data, block, By::Client, parts),
            kind if kind.ends_with(b"_tool_use") => self.call(data, block, By::Agent, parts),
            kind if kind.ends_with(b"tool_result") => {
                let is_error = is_true(block, &["is_error"])
                    || word(block, &["content", "type"]).ends_with(b"_error");
                parts(Part::ToolResult {
                    id: word(block, &["tool_use_id"]).into(),
                    name: b"".into(),
                    ok: !is_error,
                    content: member(block, "content").unwrap_or(b"null").into(),
                    partial: false,
                });
            }
            kind => unknown(kind, block, parts),
        }
    }

    fn say(&self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !text.is_empty() {
            parts(Part::Text {
                msg: (&self.message).into(),
                text: text.into(),
            });
        }
    }

    fn think(&self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !text.is_empty() {
            parts(Part::Reasoning {
                msg: (&self.message).into(),
                text: text.into(),
            });
        }
    }

    /// Reads the beginning of a call.
    fn call(&mut self, data: &[u8], block: &[u8], by: By, parts: &mut dyn FnMut(Part<'_>)) {
        let id = match word(block, &["id"]) {
            b"" => {
                let number = self.nameless;
                self.nameless += 1;
                format!("call-{number}").into_bytes()
            }
            id => id.to_vec(),
        };
        parts(Part::ToolStart {
            msg: (&self.message).into(),
            id: (&id).into(),
            name: word(block, &["name"]).into(),
            by,
        });
        let input = member(block, "input").filter(|input| is_object(input));
        remember(
            &mut self.calls,
            Call {
                index: number(data, &["index"]).unwrap_or_default(),
                id,
                by,
                input: input.unwrap_or(b"{}").to_vec(),
                has_pieces: false,
            },
        );
    }

    /// Passes on that the arguments of all open calls are complete.
    fn end_calls(&mut self, parts: &mut dyn FnMut(Part<'_>)) {
        for call in self.calls.drain(..) {
            call.ready(parts);
        }
    }
}

impl Call {
    /// Passes on that the arguments are complete.
    fn ready(self, parts: &mut dyn FnMut(Part<'_>)) {
        parts(Part::ToolReady {
            msg: b"".into(),
            id: self.id.into(),
            name: b"".into(),
            args: (!self.has_pieces).then(|| self.input.into()),
            by: self.by,
        });
    }
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
    parts(Part::Error {
        code: word(error, &["type"]).into(),
        message: string(error)
            .unwrap_or_else(|| word(error, &["message"]))
            .into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Anthropic::default();
        let bytes = fixture("anthropic", name);
        parts_of(&mut reading, Dialect::Anthropic, Framing::Sse, &bytes)
    }

    #[test]
    fn blocks_are_texts_and_thoughts() {
        let parts = read("reasoning.sse");
        assert_eq!(text_of(&parts), "Rain");
        let thoughts = |part: &Part<'_>| match part {
            Part::Reasoning { text, .. } => String::from_utf8(text.to_vec()).ok(),
            _ => None,
        };
        let thoughts: Vec<String> = parts.iter().filter_map(thoughts).collect();
        assert_eq!(thoughts, ["Let me", " see"]);
        assert_eq!(text_of(&read("unknown.sse")), "Hi");
        assert_eq!(text_of(&read("usage.sse")), "Rain in Oslo");
    }

    #[test]
    fn tools_run_at_the_client_or_at_the_server() {
        let parts = read("tools.sse");
        let start = |id: &'static [u8], name: &'static [u8], by: By| Part::ToolStart {
            msg: b"m1".into(),
            id: id.into(),
            name: name.into(),
            by,
        };
        assert!(parts.contains(&start(b"t1", b"wx", By::Client)));
        assert!(parts.contains(&start(b"t2", b"web_search", By::Agent)));
        assert!(parts.contains(&Part::ToolResult {
            id: b"t2".into(),
            name: b"".into(),
            ok: true,
            content: b"[]".into(),
            partial: false,
        }));
        let end = Part::Finish {
            reason: Reason::ToolCalls,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }

    #[test]
    fn an_error_may_be_plain_text() {
        let error = Part::Error {
            code: b"".into(),
            message: b"upstream exploded".into(),
        };
        assert_eq!(read("error_text.sse").last(), Some(&error));
    }
}
