//! Conventions of tutorials and agent templates: a word says what an event is, in many spellings.

use std::hash::{DefaultHasher, Hasher};

use super::Reading;
use super::shared::{finish, json, remember, unknown, usage};
use crate::event::{Class, Event, Terminal};
use crate::translate::part::{By, Part, Reason, Scope, StateOp, Text};
use crate::translate::raw::{
    elements, escaped, id, is_object, is_true, member, quoted, string, unescaped, word,
};
use crate::wire::{Frame, json as wire_json};

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Convention {
    started: bool,
    /// Whether any text has come.
    said: bool,
    /// Whether pieces have come since the last whole text and the last result of a tool.
    in_pieces: bool,
    /// Hashes of the last whole texts: some agents repeat the answer under several words.
    wholes: Vec<u64>,
    /// The calls without a result: name, id, and whether the arguments are complete.
    calls: Vec<(Vec<u8>, Vec<u8>, bool)>,
    /// The number of calls that had no id.
    nameless: u64,
}

/// The members that may carry a text, the best one first.
const TEXTS: [&str; 8] = [
    "content", "text", "delta", "token", "data", "chunk", "message", "value",
];
/// The members that may carry a whole answer.
const ANSWERS: [&str; 9] = [
    "content",
    "text",
    "answer",
    "final_answer",
    "response",
    "output",
    "result",
    "message",
    "value",
];
/// The members that say in which message, or by whom, something is said.
const AUTHORS: [&str; 17] = [
    "message_id",
    "messageId",
    "agent",
    "agent_id",
    "agentId",
    "agent_name",
    "agentName",
    "author",
    "branch",
    "langgraph_node",
    "node",
    "node_name",
    "name",
    "sender",
    "source",
    "speaker",
    "worker",
];
/// The members that identify a call.
const IDS: [&str; 9] = [
    "tool_call_id",
    "toolCallId",
    "call_id",
    "callId",
    "tool_use_id",
    "tool_id",
    "id",
    "run_id",
    "runId",
];
const NAMES: [&str; 7] = [
    "name",
    "tool_name",
    "toolName",
    "tool",
    "function_name",
    "function",
    "action",
];
const INPUTS: [&str; 9] = [
    "args",
    "arguments",
    "input",
    "tool_input",
    "toolInput",
    "parameters",
    "params",
    "action_input",
    "query",
];
const RESULTS: [&str; 10] = [
    "output",
    "result",
    "tool_output",
    "observation",
    "content",
    "response",
    "data",
    "text",
    "error",
    "message",
];

impl Reading for Convention {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        match event.class {
            Class::Heartbeat => return,
            Class::Reasoning | Class::Token => return self.piece(frame, event, parts),
            _ => {}
        }
        let kind = normal(kind(frame));
        let fields = Fields::of(data);
        match event.class {
            Class::Done => {
                self.answer_at_end(&fields, parts);
                usage(event, None, parts);
                let told = fields.word(&["finish_reason", "finishReason", "reason", "stop_reason"]);
                let reason = match told {
                    b"" => Reason::Stop,
                    told => Reason::of(told),
                };
                // Anything but a sentinel may be the end of a step only.
                let scope = match event.terminal {
                    Some(Terminal::Done) => Scope::Run,
                    _ => Scope::Step,
                };
                finish(reason, scope, parts);
            }
            Class::Error => error(data, parts),
            Class::State => self.state(&kind, &fields, parts),
            Class::Structure => self.whole(&kind, &fields, parts),
            Class::Tool => self.tool(&kind, &fields, parts),
            Class::Usage => usage(event, None, parts),
            _ => unknown(&kind, data, parts),
        }
    }
}

impl Convention {
    /// Reads a piece of the answer or of reasoning.
    fn piece(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        let text = piece_of(data);
        if text.is_empty() {
            return;
        }
        // Without an author, all pieces are of the same lane.
        let author: &[u8] = match event.lane {
            0 => b"",
            _ => AUTHORS
                .iter()
                .map(|name| id(data, &[name]))
                .find(|id| !id.is_empty())
                .unwrap_or_default(),
        };
        let msg = author.into();
        parts(if event.class == Class::Reasoning {
            Part::Reasoning { msg, text }
        } else {
            (self.said, self.in_pieces) = (true, true);
            Part::Text { msg, text }
        });
    }

    /// Passes on a whole text: as the answer, unless it repeats what has come before.
    fn say_whole(
        &mut self,
        msg: &[u8],
        role: &[u8],
        text: Text<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if text.is_empty() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&text);
        let hash = hasher.finish();
        let is_known = self.wholes.contains(&hash);
        let duplicate = std::mem::take(&mut self.in_pieces) || is_known;
        if !is_known {
            remember(&mut self.wholes, hash);
        }
        let msg = msg.into();
        if duplicate {
            return parts(Part::Message {
                msg,
                role: role.into(),
                text,
                duplicate,
            });
        }
        self.said = true;
        parts(Part::Text { msg, text });
        parts(Part::TextEnd);
    }

    /// Reads the answer in the event that ends the stream. It repeats what was said, if anything
    /// was.
    fn answer_at_end(&mut self, fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        if self.said {
            return;
        }
        let text = fields.first(&ANSWERS).and_then(string).unwrap_or_default();
        self.say_whole(b"", b"assistant", text.into(), parts);
    }

    /// Reads an event that carries a whole text.
    fn whole(&mut self, kind: &[u8], fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        let answer = ANSWERS.iter().find_map(|name| member(fields.data, name));
        let Some(value) = answer.or_else(|| member(fields.data, "data")) else {
            let text = fields.plain();
            return if text.is_empty() {
                unknown(kind, fields.data, parts);
            } else {
                self.say_whole(b"", b"assistant", text, parts);
            };
        };
        let message = if is_object(value) { value } else { fields.data };
        let role = match word(message, &["role"]) {
            b"" if is_object(value) => word(message, &["type"]),
            role => role,
        };
        let msg = match id(message, &["id"]) {
            b"" => id(fields.data, &["message_id"]),
            msg => msg,
        };
        let text = match string(value) {
            Some(text) => text,
            None => TEXTS
                .iter()
                .map(|name| word(message, &[name]))
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
        };
        match role {
            b"" | b"ai" | b"assistant" | b"AIMessage" | b"agent" | b"model" | b"text" => {
                if text.is_empty() && string(value).is_none() && !is_object(value) {
                    unknown(kind, fields.data, parts);
                }
                self.say_whole(msg, b"assistant", text.into(), parts);
                let calls = member(message, "tool_calls")
                    .map(elements)
                    .unwrap_or_default();
                for call in calls {
                    self.call(&Fields::of(call), parts);
                }
            }
            b"tool" | b"ToolMessage" => self.result(&Fields::of(message), true, parts),
            b"human" | b"user" | b"system" | b"HumanMessage" => parts(Part::Message {
                msg: msg.into(),
                role: role.into(),
                text: text.into(),
                duplicate: false,
            }),
            _ => unknown(role, value, parts),
        }
    }

    /// Reads an event about a tool.
    fn tool(&mut self, kind: &[u8], fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        let ends = || {
            let status = fields.word(&["status", "phase", "state"]);
            matches!(
                status,
                b"completed"
                    | b"complete"
                    | b"done"
                    | b"end"
                    | b"error"
                    | b"failed"
                    | b"finished"
                    | b"result"
                    | b"success"
            ) || fields.first(&["output", "result", "observation"]).is_some()
        };
        match kind {
            b"observation" | b"tool_output" | b"tool_result" => self.result(fields, true, parts),
            b"tool_error" => self.result(fields, false, parts),
            b"tool_args" => {
                let Some(value) = fields.first(&INPUTS).or_else(|| fields.first(&TEXTS)) else {
                    return unknown(kind, fields.data, parts);
                };
                let Some(text) = string(value) else {
                    let last = self.calls.last().map(|(_, id, _)| id.clone());
                    let is_of_last = fields.id().is_empty() && fields.name().is_empty();
                    return match last.filter(|_| is_of_last) {
                        Some(id) => parts(Part::ToolReady {
                            msg: b"".into(),
                            id: id.into(),
                            name: b"".into(),
                            args: Some(value.into()),
                            by: By::Agent,
                        }),
                        None => self.call(fields, parts),
                    };
                };
                let id = fields.id();
                let last = self.calls.last().map(|(_, id, _)| id.as_slice());
                parts(Part::ToolArgs {
                    id: if id.is_empty() {
                        last.unwrap_or_default()
                    } else {
                        id
                    }
                    .into(),
                    text: text.into(),
                });
            }
            b"tool_complete" | b"tool_end" => {
                if fields.first(&RESULTS).is_some() {
                    self.result(fields, true, parts);
                } else {
                    self.ready(fields, parts);
                }
            }
            _ if ends() => self.result(fields, true, parts),
            _ => self.call(fields, parts),
        }
    }

    /// Reads the beginning of a call, with its arguments if they are there.
    fn call(&mut self, fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        let name = fields.name();
        let told = fields.id();
        let known = self
            .calls
            .iter()
            .rposition(|(_, id, _)| !told.is_empty() && id == told);
        let id = if told.is_empty() {
            let number = self.nameless;
            self.nameless += 1;
            format!("call-{number}").into_bytes()
        } else {
            told.to_vec()
        };
        let input = fields.first(&INPUTS).or_else(|| fields.input_of_function());
        let args = input.map(|input| match string(input) {
            Some(body) => {
                let text = unescaped(body);
                if is_object(&text) && wire_json::is_whole(&text) {
                    text
                } else {
                    input.to_vec()
                }
            }
            None => input.to_vec(),
        });
        let is_ready = args.is_some();
        let (msg, by) = (b"".into(), By::Agent);
        parts(if is_ready {
            Part::ToolReady {
                msg,
                id: (&id).into(),
                name,
                args: args.map(Into::into),
                by,
            }
        } else {
            Part::ToolStart {
                msg,
                id: (&id).into(),
                name,
                by,
            }
        });
        match known.and_then(|at| self.calls.get_mut(at)) {
            Some((_, _, ready)) => *ready |= is_ready,
            None => {
                remember(&mut self.calls, (fields.name().into_owned(), id, is_ready));
            }
        }
    }

    /// Reads the end of the arguments of a call.
    fn ready(&mut self, fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        if let Some((_, id, ready)) = self.find(fields).and_then(|at| self.calls.get_mut(at))
            && !std::mem::replace(ready, true)
        {
            parts(Part::ToolReady {
                msg: b"".into(),
                id: (&*id).into(),
                name: b"".into(),
                args: None,
                by: By::Agent,
            });
        }
    }

    /// Reads the result of a call.
    fn result(&mut self, fields: &Fields<'_>, ok: bool, parts: &mut dyn FnMut(Part<'_>)) {
        self.in_pieces = false;
        let call = self.find(fields).map(|at| self.calls.remove(at));
        let id = match call {
            Some((_, id, _)) => id,
            None if fields.id().is_empty() => {
                let number = self.nameless;
                self.nameless += 1;
                format!("call-{number}").into_bytes()
            }
            None => fields.id().to_vec(),
        };
        let failed = is_true(fields.data, &["is_error"])
            || fields
                .first(&["error"])
                .is_some_and(|error| !matches!(error, b"false" | b"\"\""))
            || ["success", "ok"]
                .iter()
                .any(|name| member(fields.data, name).is_some_and(|ok| ok == b"false"))
            || matches!(fields.word(&["status"]), b"error" | b"failed");
        let content = fields.first(&RESULTS);
        parts(Part::ToolResult {
            id: id.into(),
            name: fields.name(),
            ok: ok && !failed,
            content: match content {
                Some(content) => content.into(),
                None if fields.is_object() || fields.data.is_empty() => b"null".into(),
                None => json(fields.data),
            },
            partial: false,
        });
    }

    /// Finds the call of an event: by its id, or by the name of the tool, or the last one if the
    /// event tells neither.
    fn find(&self, fields: &Fields<'_>) -> Option<usize> {
        let told = fields.id();
        if !told.is_empty() {
            return self.calls.iter().rposition(|(_, id, _)| id == told);
        }
        let name = fields.name();
        if !name.is_empty() && fields.is_object() {
            return self.calls.iter().position(|(of, _, _)| **of == *name);
        }
        self.calls.len().checked_sub(1)
    }

    /// Reads an event about the state or the progress of the agent, or a question to the user.
    fn state(&mut self, kind: &[u8], fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
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
        parts(Part::Status {
            name: name.into(),
            text,
            detail: if fields.is_object() { data } else { b"" }.into(),
        });
    }
}

/// The members of an event, some of which may be in an object of their own.
#[derive(Clone, Copy, Debug)]
struct Fields<'a> {
    data: &'a [u8],
    /// The object in `data`, `content` or `tool_call`; empty if there is none.
    inner: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(data: &'a [u8]) -> Self {
        let inner = ["data", "tool_call", "content", "tool"]
            .iter()
            .filter_map(|name| member(data, name))
            .find(|value| is_object(value));
        Self {
            data,
            inner: inner.unwrap_or_default(),
        }
    }

    fn is_object(&self) -> bool {
        is_object(self.data)
    }

    /// Returns the first of several members that is there.
    fn first(&self, names: &[&str]) -> Option<&'a [u8]> {
        let inner = names.iter().find_map(|name| member(self.inner, name));
        inner.or_else(|| names.iter().find_map(|name| member(self.data, name)))
    }

    /// Returns the first of several members that is a string; empty if there is none.
    fn word(&self, names: &[&str]) -> &'a [u8] {
        [self.inner, self.data]
            .into_iter()
            .flat_map(|of| names.iter().map(move |name| word(of, &[name])))
            .find(|word| !word.is_empty())
            .unwrap_or_default()
    }

    /// Returns what identifies the call; empty if nothing does.
    fn id(&self) -> &'a [u8] {
        [self.inner, self.data]
            .into_iter()
            .flat_map(|of| IDS.iter().map(move |name| id(of, &[name])))
            .find(|id| !id.is_empty())
            .unwrap_or_default()
    }

    /// Returns the name of the tool: data that is no object is nothing but the name.
    fn name(&self) -> Text<'a> {
        if !self.is_object() {
            return self.plain();
        }
        match self.word(&NAMES) {
            b"" => self
                .function()
                .map(|of| word(of, &["name"]))
                .unwrap_or_default()
                .into(),
            name => name.into(),
        }
    }

    fn function(&self) -> Option<&'a [u8]> {
        self.first(&["function"])
            .filter(|function| is_object(function))
    }

    fn input_of_function(&self) -> Option<&'a [u8]> {
        member(self.function()?, "arguments")
    }

    /// Returns data that is a string or plain text; empty if it is anything else.
    fn plain(&self) -> Text<'a> {
        let start = self.data.trim_ascii_start().first();
        if matches!(start, Some(b'{' | b'[')) {
            return b"".into();
        }
        plain(self.data)
    }
}

/// Returns the text of data that is a JSON string or plain text.
fn plain(data: &[u8]) -> Text<'_> {
    match string(data) {
        Some(body) if data.starts_with(b"\"") && wire_json::is_whole(data) => body.into(),
        _ => escaped(data),
    }
}

/// Returns the text of a piece.
fn piece_of(data: &[u8]) -> Text<'_> {
    match data.trim_ascii_start().first() {
        Some(b'{') => {
            let first = TEXTS.iter().find_map(|name| {
                let value = member(data, name)?;
                match *name {
                    "data" if is_object(value) => ["content", "text", "token", "chunk"]
                        .iter()
                        .find_map(|name| member(value, name).and_then(string)),
                    _ => string(value),
                }
            });
            first.unwrap_or_default().into()
        }
        Some(b'[') if wire_json::is_whole(data) => b"".into(),
        _ => plain(data),
    }
}

/// Returns the word that says what an event is; empty if there is none.
fn kind<'a>(frame: &'a Frame<'_>) -> &'a [u8] {
    let name = match frame.name() {
        b"data" | b"message" => b"",
        name => name,
    };
    if !name.is_empty() {
        return name;
    }
    ["type", "event", "kind"]
        .iter()
        .map(|name| word(frame.data(), &[name]))
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

/// Returns a word in the spelling in which it is compared.
fn normal(word: &[u8]) -> Vec<u8> {
    word.iter()
        .map(|byte| match byte {
            b'-' | b'.' => b'_',
            byte => byte.to_ascii_lowercase(),
        })
        .collect()
}

/// Passes on an error, whose data may be plain text.
fn error(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let fields = Fields::of(data);
    let nested = member(data, "error")
        .filter(|error| is_object(error))
        .unwrap_or_default();
    let code = ["code", "type"]
        .iter()
        .map(|name| id(nested, &[name]))
        .find(|code| !code.is_empty())
        .unwrap_or_else(|| id(data, &["code"]));
    let message = match word(data, &["message"]) {
        b"" => match word(nested, &["message"]) {
            b"" => fields.word(&["error", "content", "detail", "text", "data"]),
            message => message,
        },
        message => message,
    };
    parts(Part::Error {
        code: code.into(),
        message: match message {
            b"" => fields.plain(),
            message => message.into(),
        },
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str, framing: Framing) -> Vec<Part<'static>> {
        let mut reading = Convention::default();
        let bytes = fixture("convention", name);
        parts_of(&mut reading, Dialect::Convention, framing, &bytes)
    }

    #[test]
    fn plain_text_is_escaped() {
        let parts = read("plain.sse", Framing::Sse);
        assert_eq!(text_of(&parts), r#"Rain in\nOsloquoted too42"#);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }

    #[test]
    fn a_whole_text_after_pieces_is_a_copy() {
        let parts = read("text.sse", Framing::Sse);
        assert_eq!(text_of(&parts), "Rainx");
        assert!(parts.contains(&Part::Message {
            msg: b"".into(),
            role: b"assistant".into(),
            text: b"Rain".into(),
            duplicate: true,
        }));
    }

    #[test]
    fn results_find_their_calls() {
        let parts = read("tools.sse", Framing::Sse);
        assert_eq!(text_of(&parts), "Let me look.Dry.");
        let result = |id: &'static [u8], content: &'static [u8]| Part::ToolResult {
            id: id.into(),
            name: b"wx".into(),
            ok: true,
            content: content.into(),
            partial: false,
        };
        assert!(parts.contains(&result(b"b", br#""wet""#)));
        assert!(parts.contains(&result(b"a", br#""dry""#)));
        assert!(parts.contains(&result(b"call-0", br#""dry""#)));
    }

    #[test]
    fn lines_are_read_like_events() {
        assert_eq!(text_of(&read("lines.ndjson", Framing::Ndjson)), "Rain");
    }
}
