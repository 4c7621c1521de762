//! Google ADK, `/run_sse`: each event has the agent that speaks and parts as Gemini has them.
//!
//! Members are named in camel case, or in snake case, as in Python.
//! An event without `partial` repeats the text of the partial events before it. The stream ends without a marker.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Reading, shared};
use crate::event::{Event, Terminal};
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{
    Names, at, either, elements, escaped, id, is_true, member, members, number, said, string, word,
};
use crate::wire::{Frame, json};

const CACHED: Names = ["cachedContentTokenCount", "cached_content_token_count"];
const CALL: Names = ["functionCall", "function_call"];
const CONFIRMATIONS: Names = ["requestedToolConfirmations", "requested_tool_confirmations"];
const LONG_RUNNING: Names = ["longRunningToolIds", "long_running_tool_ids"];
const RUN: Names = ["invocationId", "invocation_id"];

/// The text that an agent has streamed since its last whole event.
#[derive(Debug, Default)]
struct Streamed {
    length: usize,
    hasher: DefaultHasher,
}

impl Streamed {
    fn add(&mut self, text: &[u8]) {
        self.length += text.len();
        self.hasher.write(text);
    }

    /// Returns what a whole text adds, empty if it repeats what was streamed or has changed it.
    fn rest<'a>(&self, whole: &'a [u8]) -> &'a [u8] {
        let Some((head, rest)) = whole.split_at_checked(self.length) else {
            return b"";
        };
        let mut hasher = DefaultHasher::default();
        hasher.write(head);
        if hasher.finish() == self.hasher.finish() {
            rest
        } else {
            b""
        }
    }
}

/// An agent that has streamed.
#[derive(Debug)]
struct Agent {
    /// A hash of the agent, its branch and its run.
    key: u64,
    text: Streamed,
    thought: Streamed,
}

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Adk {
    started: bool,
    /// The agent that spoke last.
    author: Vec<u8>,
    agents: Vec<Agent>,
    /// The calls without a result: id and name.
    calls: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many calls had no id.
    unnamed: u64,
}

impl Reading for Adk {
    /// Returns false, because the whole is compared with what came in pieces.
    fn may_skip_pieces(&self) -> bool {
        false
    }

    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if data.starts_with(b"{\"error\"") && !is_sound(data) {
            return torn_error(data, parts);
        }
        if !json::is_whole(data) {
            return;
        }
        let code = either(data, ["errorCode", "error_code"]).map(|code| id(code, &[]));
        let code = code.unwrap_or_default();
        if let Some(error) = member(data, "error") {
            parts(Part::Error {
                code: code.into(),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
            return;
        }
        let author = word(data, &["author"]);
        self.begin(author, data, parts);
        let partial = is_true(data, &["partial"]);
        self.content(data, partial, parts);
        Self::actions(author, data, parts);
        let cached = either(data, ["usageMetadata", "usage_metadata"])
            .and_then(|usage| either(usage, CACHED))
            .and_then(|count| number(count, &[]));
        shared::usage(event, cached, parts);
        if !code.is_empty() {
            parts(Part::Error {
                code: code.into(),
                message: said(data, ["errorMessage", "error_message"]).into(),
            });
        } else if event.terminal == Some(Terminal::MayEnd) {
            let waits = either(data, LONG_RUNNING).is_some_and(|ids| ids != b"[]");
            let told = said(data, ["finishReason", "finish_reason"]);
            let reason = match told {
                _ if waits => Reason::Interrupt,
                b"" => Reason::Stop,
                told => Reason::of(told),
            };
            parts(Part::Finish {
                reason,
                scope: Scope::Choice,
            });
        }
    }
}

/// Reports whether the members of an object can be read one after another.
fn is_sound(object: &[u8]) -> bool {
    let mut cursor = json::Cursor::new(object);
    if cursor.enter_object().is_none() {
        return false;
    }
    loop {
        match cursor.next_key() {
            Some(Some(_)) if cursor.skip().is_some() => {}
            Some(None) => return true,
            _ => return false,
        }
    }
}

/// Reads an error that the server has written without escaping its message.
fn torn_error(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let Some(rest) = data.strip_prefix(b"{\"error\":") else {
        return;
    };
    let rest = rest.trim_ascii();
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let rest = rest.strip_suffix(b"}").unwrap_or(rest).trim_ascii_end();
    parts(Part::Error {
        code: b"".into(),
        message: escaped(rest.strip_suffix(b"\"").unwrap_or(rest)),
    });
}

impl Adk {
    fn begin(&mut self, author: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: said(data, RUN).into(),
                thread: b"".into(),
                model: said(data, ["modelVersion", "model_version"]).into(),
            });
        }
        if !author.is_empty() && self.author != author {
            self.author = author.to_vec();
            parts(Part::Step {
                kind: b"agent".into(),
                name: author.into(),
                ends: false,
                detail: b"".into(),
            });
        }
    }

    /// Reads the parts of the content.
    fn content(&mut self, data: &[u8], partial: bool, parts: &mut dyn FnMut(Part<'_>)) {
        let list = at(data, &["content", "parts"]).map(elements);
        let mut hasher = DefaultHasher::default();
        for name in ["author", "branch"] {
            word(data, &[name]).hash(&mut hasher);
        }
        said(data, RUN).hash(&mut hasher);
        let key = hasher.finish();
        let known = self.agents.iter().position(|agent| agent.key == key);
        let mut agent = match known {
            Some(at) => self.agents.remove(at),
            None => Agent {
                key,
                text: Streamed::default(),
                thought: Streamed::default(),
            },
        };
        // Agents that run in parallel write one text each.
        let msg = word(data, &["branch"]);
        let (mut text, mut thought) = (Vec::new(), Vec::new());
        for part in list.unwrap_or_default() {
            let piece = word(part, &["text"]);
            let is_thought = is_true(part, &["thought"]);
            if member(part, "text").is_none() {
                // The whole event repeats a call that comes in pieces.
                if !partial || either(part, CALL).is_none() {
                    self.other(part, data, parts);
                }
            } else if !partial {
                let whole: &mut Vec<u8> = if is_thought { &mut thought } else { &mut text };
                whole.extend_from_slice(piece);
                let streamed = if is_thought {
                    &mut agent.thought
                } else {
                    &mut agent.text
                };
                if whole.len() > streamed.length {
                    let rest = streamed.rest(whole).to_vec();
                    streamed.add(&rest);
                    tell(msg, is_thought, &rest, parts);
                }
            } else {
                let streamed = if is_thought {
                    &mut agent.thought
                } else {
                    &mut agent.text
                };
                streamed.add(piece);
                tell(msg, is_thought, piece, parts);
            }
        }
        if partial {
            shared::remember(&mut self.agents, agent);
            return;
        }
        if known.is_some() && !text.is_empty() {
            parts(Part::Message {
                msg: msg.into(),
                role: b"assistant".into(),
                text: text.into(),
                duplicate: true,
            });
        }
        parts(Part::TextEnd);
    }

    /// Reads a part that is no text.
    fn other(&mut self, part: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if let Some(call) = either(part, CALL) {
            let args = member(call, "args").unwrap_or(b"{}");
            self.call(
                word(call, &["id"]),
                word(call, &["name"]),
                args,
                data,
                parts,
            );
        } else if let Some(code) = either(part, ["executableCode", "executable_code"]) {
            self.call(b"", b"code_execution", code, data, parts);
        } else if let Some(result) = either(part, ["functionResponse", "function_response"]) {
            let response = member(result, "response").unwrap_or(b"null");
            let ok = member(response, "error").is_none();
            let (told, name) = (word(result, &["id"]), word(result, &["name"]));
            self.result(told, name, ok, response, parts);
        } else if let Some(result) = either(part, ["codeExecutionResult", "code_execution_result"])
        {
            let outcome = word(result, &["outcome"]);
            let ok = matches!(outcome, b"" | b"OUTCOME_OK");
            self.result(b"", b"code_execution", ok, result, parts);
        } else {
            let mut filled = members(part).into_iter();
            let name = filled.find(|(_, value)| *value != b"null");
            parts(Part::Raw {
                name: name.map(|(name, _)| name).unwrap_or_default().into(),
                data: part.into(),
            });
        }
    }

    fn call(
        &mut self,
        told: &[u8],
        name: &[u8],
        args: &[u8],
        data: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let call = if told.is_empty() {
            self.unnamed += 1;
            format!("call-{}", self.unnamed).into_bytes()
        } else {
            told.to_vec()
        };
        parts(Part::ToolReady {
            msg: word(data, &["branch"]).into(),
            id: (&call).into(),
            name: name.into(),
            args: Some(args.into()),
            by: By::Agent,
        });
        shared::remember(&mut self.calls, (call, name.to_vec()));
    }

    /// Tells a result. One without an id is that of the oldest call of its tool.
    fn result(
        &mut self,
        told: &[u8],
        name: &[u8],
        ok: bool,
        content: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let found = self.calls.iter().position(|(id, of)| {
            if told.is_empty() {
                of == name
            } else {
                id == told
            }
        });
        let call = match found {
            Some(at) => self.calls.remove(at).0,
            None => told.to_vec(),
        };
        parts(Part::ToolResult {
            id: call.into(),
            name: name.into(),
            ok,
            content: content.into(),
            partial: false,
        });
    }

    /// Reads what the agent does besides speaking.
    fn actions(author: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let actions = member(data, "actions").unwrap_or_default();
        let delta = either(actions, ["stateDelta", "state_delta"]);
        if let Some(delta) = delta.filter(|delta| *delta != b"{}") {
            let value = [b"{\"".as_slice(), author, b"\":", delta, b"}"].concat();
            parts(Part::State {
                op: StateOp::Update,
                value: value.into(),
            });
        }
        let confirmations = either(actions, CONFIRMATIONS);
        for (call, payload) in members(confirmations.unwrap_or_default()) {
            parts(Part::Interrupt {
                id: call.into(),
                reason: b"approval".into(),
                payload: payload.into(),
            });
        }
        let waiting = either(data, LONG_RUNNING);
        for call in waiting.map(elements).unwrap_or_default() {
            parts(Part::Interrupt {
                id: string(call).unwrap_or_default().into(),
                reason: b"long_running_tool".into(),
                payload: at(data, &["content"]).unwrap_or(b"null").into(),
            });
        }
    }
}

fn tell(msg: &[u8], is_thought: bool, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if text.is_empty() {
        return;
    }
    parts(if is_thought {
        Part::Reasoning {
            msg: msg.into(),
            text: text.into(),
        }
    } else {
        Part::Text {
            msg: msg.into(),
            text: text.into(),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Adk::default();
        let bytes = fixture("adk", name);
        parts_of(&mut reading, Dialect::Adk, Framing::Sse, &bytes)
    }

    #[test]
    fn the_whole_event_repeats_the_partial_ones() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\""#);
        assert_eq!(text_of(&read("whole.sse")), "Rain");
        assert_eq!(text_of(&read("reasoning.sse")), "Rain.");
        assert_eq!(
            parts.last(),
            Some(&Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Choice,
            })
        );
    }

    #[test]
    fn calls_have_results() {
        let parts = read("tools.sse");
        assert_eq!(text_of(&parts), "4 C");
        assert!(parts.contains(&Part::ToolReady {
            msg: b"".into(),
            id: b"c1".into(),
            name: b"wx".into(),
            args: Some(br#"{"c":"Oslo"}"#.into()),
            by: By::Agent,
        }));
        assert!(parts.contains(&Part::ToolResult {
            id: b"c1".into(),
            name: b"wx".into(),
            ok: true,
            content: br#"{"t":4}"#.into(),
            partial: false,
        }));
    }

    #[test]
    fn members_may_be_in_snake_case() {
        let stream = String::from_utf8(fixture("adk", "tools.sse")).unwrap();
        let endings = ["Call", "Response", "Id", "Delta", "Metadata", "TokenCount"];
        let snake = endings.iter().fold(stream, |stream, ending| {
            let small = ending.replace("TokenC", "token_c").to_ascii_lowercase();
            stream.replace(ending, &format!("_{small}"))
        });
        let mut reading = Adk::default();
        let parts = parts_of(&mut reading, Dialect::Adk, Framing::Sse, snake.as_bytes());
        assert_eq!(parts, read("tools.sse"), "{snake}");
    }

    #[test]
    fn an_error_may_be_no_json() {
        assert!(read("error.sse").contains(&Part::Error {
            code: b"".into(),
            message: br#"no 'x' in \"y\""#.into(),
        }));
    }
}
