//! OpenAI Responses, also as the OpenAI Agents SDK wraps its events.

use super::Reading;
use super::shared::{finish, remember, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{
    at, elements, escaped, id, is_object, member, number, quoted, string, word,
};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct OpenAiResponses {
    started: bool,
    /// The number of responses that began. Each counts its items from zero.
    responses: u64,
    /// Whether the events come from the Agents SDK: it runs the tools, and a response is one step.
    wrapped: bool,
    /// Whether any piece of an answer has come.
    said: bool,
    /// Whether any piece of reasoning has come.
    thought: bool,
    /// Whether the run is over.
    finished: bool,
    /// The last items, in the order in which they began.
    items: Vec<Item>,
    /// The number of calls that had no id.
    nameless: u64,
}

impl Reading for OpenAiResponses {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if event.class == Class::Heartbeat {
            return;
        }
        if data.starts_with(b"[DONE]") {
            if !std::mem::replace(&mut self.finished, true) {
                finish(Reason::Stop, Scope::Run, parts);
            }
            return;
        }
        match word(data, &["type"]) {
            b"agent_updated_stream_event" => {
                self.wrapped = true;
                parts(Part::Status {
                    name: b"agent".into(),
                    text: word(data, &["new_agent", "name"]).into(),
                    detail: data.into(),
                });
            }
            b"raw_response_event" => {
                self.wrapped = true;
                let inner = member(data, "data").unwrap_or_default();
                self.event(inner, word(inner, &["type"]), event, parts);
            }
            b"run_item_stream_event" => {
                self.wrapped = true;
                self.run_item(data, parts);
            }
            b"" => self.event(data, frame.name(), event, parts),
            kind => self.event(data, kind, event, parts),
        }
    }
}

impl OpenAiResponses {
    /// Reads an event of the API.
    fn event(&mut self, data: &[u8], kind: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let Some(short) = kind.strip_prefix(b"response.") else {
            return if kind == b"error" {
                error(member(data, "error").unwrap_or(data), parts);
            } else {
                unknown(kind, data, parts);
            };
        };
        match short {
            b"output_text.delta" | b"refusal.delta" => {
                self.piece(data, Lane::Answer, word(data, &["delta"]), parts);
            }
            b"reasoning_text.delta" => {
                self.piece(data, Lane::Thought, word(data, &["delta"]), parts);
            }
            b"reasoning_summary_text.delta" => {
                self.piece(data, Lane::Summary, word(data, &["delta"]), parts);
            }
            b"code_interpreter_call_code.delta"
            | b"custom_tool_call_input.delta"
            | b"function_call_arguments.delta"
            | b"mcp_call_arguments.delta" => {
                self.argument(data, short, word(data, &["delta"]), parts);
            }
            b"output_text.done" => self.whole(data, Lane::Answer, word(data, &["text"]), parts),
            b"refusal.done" => self.whole(data, Lane::Answer, word(data, &["refusal"]), parts),
            b"reasoning_text.done" => {
                self.whole(data, Lane::Thought, word(data, &["text"]), parts);
            }
            b"reasoning_summary_text.done" => {
                self.whole(data, Lane::Summary, word(data, &["text"]), parts);
            }
            b"function_call_arguments.done" | b"mcp_call_arguments.done" => {
                self.arguments(data, short, word(data, &["arguments"]), parts);
            }
            b"custom_tool_call_input.done" => {
                self.arguments(data, short, word(data, &["input"]), parts);
            }
            b"code_interpreter_call_code.done" => {
                self.arguments(data, short, word(data, &["code"]), parts);
            }
            b"output_item.added" => {
                if let Some(item) = member(data, "item") {
                    self.added(number(data, &["output_index"]), item, parts);
                }
            }
            b"output_item.done" => {
                if let Some(item) = member(data, "item") {
                    self.done(number(data, &["output_index"]), item, parts);
                    if matches!(word(item, &["type"]), b"message" | b"reasoning") {
                        parts(Part::TextEnd);
                    }
                }
            }
            // What they contain comes in other events.
            b"content_part.added"
            | b"content_part.done"
            | b"reasoning_summary_part.added"
            | b"reasoning_summary_part.done"
            | b"reasoning_part.added"
            | b"reasoning_part.done" => {}
            b"created" => {
                self.responses += 1;
                self.finished = false;
                self.start(data, parts);
            }
            b"in_progress" => self.start(data, parts),
            b"queued" => {
                self.start(data, parts);
                parts(Part::Status {
                    name: b"response".into(),
                    text: short.into(),
                    detail: b"".into(),
                });
            }
            b"cancelled" | b"completed" | b"failed" | b"incomplete" => {
                self.end(data, short, event, parts);
            }
            _ if is_progress(short) => parts(Part::Status {
                name: b"tool".into(),
                text: short.into(),
                detail: data.into(),
            }),
            _ => unknown(kind, data, parts),
        }
    }

    /// Begins the run, if it has not begun yet.
    fn start(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: word(data, &["response", "id"]).into(),
                thread: word(data, &["response", "conversation", "id"]).into(),
                model: word(data, &["response", "model"]).into(),
            });
        }
    }

    /// Reads the end of a response.
    fn end(
        &mut self,
        data: &[u8],
        word_of_end: &[u8],
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        self.start(data, parts);
        let response = member(data, "response").unwrap_or_default();
        let number_of_response = self.responses;
        let is_new = |item: &Item| item.response == number_of_response;
        if !self.items.iter().any(is_new) {
            // Nothing of it was streamed.
            let output = member(response, "output").map(elements).unwrap_or_default();
            for (place, item) in (0..).zip(output) {
                self.done(Some(place), item, parts);
            }
        }
        let mut calls_client = false;
        for item in self.items.iter_mut().filter(|item| is_new(item)) {
            if let Some(call) = &mut item.call {
                calls_client |= call.by == By::Client;
                call.ready(b"", None, parts);
            }
        }
        let cached = number(
            response,
            &["usage", "input_tokens_details", "cached_tokens"],
        );
        usage(event, cached, parts);
        let reason = match word_of_end {
            b"failed" => {
                self.finished = true;
                return error(member(response, "error").unwrap_or_default(), parts);
            }
            b"cancelled" => Reason::Cancelled,
            b"incomplete" => Reason::of(word(response, &["incomplete_details", "reason"])),
            _ if calls_client => Reason::ToolCalls,
            _ => Reason::Stop,
        };
        if self.wrapped {
            finish(reason, Scope::Step, parts);
        } else {
            self.finished = true;
            finish(reason, Scope::Run, parts);
        }
    }

    /// Reads a piece of an answer or of reasoning.
    fn piece(&mut self, data: &[u8], lane: Lane, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if text.is_empty() {
            return;
        }
        let part = number(data, &[lane.index()]).unwrap_or_default();
        let place = number(data, &["output_index"]);
        self.say(place, word(data, &["item_id"]), (lane, part), text, parts);
    }

    /// Reads a whole text, of which the pieces have come before, or none has.
    fn whole(&mut self, data: &[u8], lane: Lane, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let part = number(data, &[lane.index()]).unwrap_or_default();
        let place = number(data, &["output_index"]);
        let id = word(data, &["item_id"]);
        let has_come = (self.item(place, id)).is_some_and(|item| item.has_said(lane, part));
        if !has_come {
            self.say(place, id, (lane, part), text, parts);
        }
    }

    fn say(
        &mut self,
        place: Option<u64>,
        id: &[u8],
        (lane, part): (Lane, u64),
        text: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if text.is_empty() {
            return;
        }
        match lane {
            Lane::Answer => self.said = true,
            Lane::Summary | Lane::Thought => self.thought = true,
        }
        let Some(item) = self.item(place, id) else {
            return;
        };
        let msg = item.say(lane, part).into();
        let text = text.into();
        parts(match lane {
            Lane::Answer => Part::Text { msg, text },
            Lane::Summary | Lane::Thought => Part::Reasoning { msg, text },
        });
    }

    /// Reads a piece of the input of a call.
    fn argument(&mut self, data: &[u8], kind: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let place = number(data, &["output_index"]);
        if let Some(call) = self.call(place, word(data, &["item_id"]), kind, parts) {
            call.piece(text, parts);
        }
    }

    /// Reads the whole input of a call.
    fn arguments(
        &mut self,
        data: &[u8],
        kind: &[u8],
        text: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let place = number(data, &["output_index"]);
        if let Some(call) = self.call(place, word(data, &["item_id"]), kind, parts) {
            call.ready(text, None, parts);
        }
    }

    /// Returns the call that an event of this kind belongs to. It begins here if its item has not.
    fn call(
        &mut self,
        place: Option<u64>,
        id: &[u8],
        kind: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Option<&mut Call> {
        let has_begun = (self.item(place, id)).is_some_and(|item| item.call.is_some());
        if !has_begun {
            let (input, by, name): (_, _, &[u8]) = match kind.first() {
                Some(b'c') if kind.starts_with(b"code_") => {
                    (Input::Code, By::Agent, b"code_interpreter")
                }
                Some(b'c') => (Input::Plain, self.runner(), b""),
                Some(b'm') => (Input::Json, By::Agent, b""),
                _ => (Input::Json, self.runner(), b""),
            };
            let call = self.begin(id, name, input, by, parts);
            self.item(place, id)?.call = Some(call);
        }
        self.item(place, id)?.call.as_mut()
    }

    /// Returns who runs the functions: the client of the API, or the Agents SDK.
    const fn runner(&self) -> By {
        if self.wrapped { By::Agent } else { By::Client }
    }

    /// Returns a new call.
    fn begin(
        &mut self,
        id: &[u8],
        name: &[u8],
        input: Input,
        by: By,
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Call {
        let id = if id.is_empty() {
            let number = self.nameless;
            self.nameless += 1;
            format!("call-{number}").into_bytes()
        } else {
            id.to_vec()
        };
        parts(Part::ToolStart {
            msg: b"".into(),
            id: (&id).into(),
            name: name.into(),
            by,
        });
        Call {
            id,
            by,
            input,
            has_input: false,
            is_ready: false,
        }
    }

    /// Reads an item that begins.
    fn added(&mut self, place: Option<u64>, item: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let id = word(item, &["id"]);
        let is_known = self.find(place, id).and_then(|at| self.items.get(at));
        if is_known.is_none_or(|known| known.id != id) {
            // Some servers give every item the same place.
            self.push(place, id);
        }
        let Some(tool) = Tool::of(item, self.runner()) else {
            return;
        };
        if (self.item(place, id)).is_some_and(|item| item.call.is_none()) {
            let call = self.begin(tool.id, tool.name, tool.input, tool.by, parts);
            if let Some(item) = self.item(place, id) {
                item.call = Some(call);
            }
        }
    }

    /// Reads an item that is complete.
    fn done(&mut self, place: Option<u64>, item: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let kind = word(item, &["type"]);
        let id = word(item, &["id"]);
        match kind {
            b"message" => return self.message(place, item, parts),
            b"reasoning" => {
                for (lane, name) in [(Lane::Summary, "summary"), (Lane::Thought, "content")] {
                    self.contents(place, item, lane, name, parts);
                }
                return;
            }
            b"mcp_approval_request" => {
                return parts(Part::Interrupt {
                    id: id.into(),
                    reason: b"approval".into(),
                    payload: item.into(),
                });
            }
            b"mcp_list_tools" => {
                return parts(Part::Status {
                    name: b"tool".into(),
                    text: kind.into(),
                    detail: item.into(),
                });
            }
            _ if kind.ends_with(b"_call_output") => {
                return parts(Part::ToolResult {
                    id: word(item, &["call_id"]).into(),
                    name: b"".into(),
                    ok: word(item, &["status"]) != b"failed",
                    content: member(item, "output").unwrap_or(item).into(),
                    partial: false,
                });
            }
            _ => {}
        }
        let Some(tool) = Tool::of(item, self.runner()) else {
            return unknown(kind, item, parts);
        };
        if self.find_call(tool.id, place, id).is_none() {
            self.added(place, item, parts);
        }
        let at = self.find_call(tool.id, place, id);
        let known = at.and_then(|at| self.items.get_mut(at));
        let Some(call) = known.and_then(|item| item.call.as_mut()) else {
            return;
        };
        match kind {
            b"custom_tool_call" => call.ready(word(item, &["input"]), None, parts),
            b"code_interpreter_call" => call.ready(word(item, &["code"]), None, parts),
            b"function_call" | b"mcp_call" => call.ready(word(item, &["arguments"]), None, parts),
            b"file_search_call" => {
                let queries = member(item, "queries").unwrap_or(b"[]");
                let input = [&b"{\"queries\":"[..], queries, b"}"].concat();
                call.ready(b"", Some(&input), parts);
            }
            _ => {
                let input = member(item, "action").or_else(|| member(item, "operation"));
                call.ready(b"", Some(input.unwrap_or(b"{}")), parts);
            }
        }
        if tool.by == By::Agent && kind != b"function_call" && kind != b"custom_tool_call" {
            let failure = member(item, "error");
            let content = ["output", "outputs", "results", "result"]
                .iter()
                .find_map(|name| member(item, name));
            parts(Part::ToolResult {
                id: (&call.id).into(),
                name: tool.name.into(),
                ok: failure.is_none() && word(item, &["status"]) != b"failed",
                content: content.or(failure).unwrap_or(item).into(),
                partial: false,
            });
        }
    }

    /// Reads a complete message.
    fn message(&mut self, place: Option<u64>, item: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let text = self.contents(place, item, Lane::Answer, "content", parts);
        if !text.is_empty() {
            let role: &[u8] = match word(item, &["role"]) {
                b"" => b"assistant",
                role => role,
            };
            parts(Part::Message {
                msg: word(item, &["id"]).into(),
                role: role.into(),
                text: text.into(),
                duplicate: true,
            });
        }
    }

    /// Reads the texts in the list `name` of a complete item. Returns all of them, joined.
    fn contents(
        &mut self,
        place: Option<u64>,
        item: &[u8],
        lane: Lane,
        name: &str,
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Vec<u8> {
        let id = word(item, &["id"]);
        let mut joined = Vec::new();
        let contents = member(item, name).map(elements).unwrap_or_default();
        for (number, content) in (0..).zip(contents) {
            let text = match word(content, &["text"]) {
                b"" => word(content, &["refusal"]),
                text => text,
            };
            joined.extend_from_slice(text);
            let has_come = (self.item(place, id)).is_some_and(|item| item.has_said(lane, number));
            if !has_come {
                self.say(place, id, (lane, number), text, parts);
            }
        }
        joined
    }

    /// Reads an item of the Agents SDK. It repeats what the events of the API said before, if the
    /// server forwards them.
    fn run_item(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let name = word(data, &["name"]);
        let item = member(data, "item").unwrap_or_default();
        let raw = member(item, "raw_item").unwrap_or_default();
        match name {
            b"message_output_created" if self.said || !is_object(raw) => {}
            b"message_output_created" => {
                if word(raw, &["id"]).is_empty() {
                    self.push(None, b"");
                }
                let text = self.contents(None, raw, Lane::Answer, "content", parts);
                // The next message comes as a whole, too.
                self.said &= text.is_empty();
            }
            b"reasoning_item_created" if self.thought || !is_object(raw) => {}
            b"reasoning_item_created" => {
                self.contents(None, raw, Lane::Summary, "summary", parts);
                self.thought = false;
            }
            b"tool_called" => {
                let told = Tool::of(raw, By::Agent)
                    .map(|tool| tool.id)
                    .unwrap_or_default();
                let is_told = |item: &Item| item.call.as_ref().is_some_and(|call| call.id == told);
                if !told.is_empty() && !self.items.iter().any(is_told) {
                    self.done(None, raw, parts);
                }
            }
            b"tool_output" => {
                let output = member(item, "output").or_else(|| member(raw, "output"));
                parts(Part::ToolResult {
                    id: word(raw, &["call_id"]).into(),
                    name: b"".into(),
                    ok: true,
                    content: output.unwrap_or(item).into(),
                    partial: false,
                });
            }
            b"handoff_occured" | b"handoff_occurred" | b"handoff_requested" => {
                parts(Part::Status {
                    name: b"handoff".into(),
                    text: word(item, &["target_agent", "name"]).into(),
                    detail: item.into(),
                });
            }
            b"mcp_approval_requested" => parts(Part::Interrupt {
                id: word(raw, &["id"]).into(),
                reason: b"approval".into(),
                payload: item.into(),
            }),
            _ => unknown(name, data, parts),
        }
    }

    /// Returns the item at a place of the response, or with this id. It is new if there is none.
    fn item(&mut self, place: Option<u64>, id: &[u8]) -> Option<&mut Item> {
        let at = match self.find(place, id) {
            Some(at) => at,
            None => self.push(place, id),
        };
        self.items.get_mut(at)
    }

    /// Finds an item. Some servers give every event another id, others give every item the same
    /// place.
    fn find(&self, place: Option<u64>, id: &[u8]) -> Option<usize> {
        let find = |is: &dyn Fn(&Item) -> bool| {
            (self.items.iter()).rposition(|item| item.response == self.responses && is(item))
        };
        if place.is_none() {
            return find(&|item| item.id == id);
        }
        find(&|item| item.place == place && item.id == id)
            .or_else(|| find(&|item| item.place == place))
    }

    /// Finds the item of a call, by the id of the call or by that of the item.
    fn find_call(&self, call: &[u8], place: Option<u64>, id: &[u8]) -> Option<usize> {
        let is_it = |item: &Item| item.call.as_ref().is_some_and(|known| known.id == call);
        if !call.is_empty()
            && let Some(at) = self.items.iter().rposition(is_it)
        {
            return Some(at);
        }
        let at = self.find(place, id)?;
        let item = self.items.get(at)?;
        (item.id == id && item.call.is_some()).then_some(at)
    }

    /// Adds an item. Returns where it is.
    fn push(&mut self, place: Option<u64>, id: &[u8]) -> usize {
        remember(
            &mut self.items,
            Item {
                response: self.responses,
                place,
                id: id.to_vec(),
                ..Item::default()
            },
        );
        self.items.len() - 1
    }
}

/// Passes on an error.
fn error(error: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let code = match id(error, &["code"]) {
        b"" => id(error, &["type"]),
        code => code,
    };
    parts(Part::Error {
        code: code.into(),
        message: string(error)
            .unwrap_or_else(|| word(error, &["message"]))
            .into(),
    });
}

/// Reports whether an event tells how far a tool of the server is.
fn is_progress(kind: &[u8]) -> bool {
    let ends: [&[u8]; 6] = [
        b".completed",
        b".failed",
        b".generating",
        b".in_progress",
        b".interpreting",
        b".searching",
    ];
    let is_tool = kind.starts_with(b"mcp_") || kind.windows(6).any(|part| part == b"_call.");
    is_tool && ends.iter().any(|end| kind.ends_with(end))
}

/// A kind of text in an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Answer,
    Summary,
    Thought,
}

impl Lane {
    /// Returns the member of an event that says which text of the item it belongs to.
    const fn index(self) -> &'static str {
        match self {
            Self::Answer | Self::Thought => "content_index",
            Self::Summary => "summary_index",
        }
    }
}

/// An item of a response.
#[derive(Debug, Default)]
struct Item {
    response: u64,
    place: Option<u64>,
    id: Vec<u8>,
    /// Which texts of each kind have come: one bit for each.
    answers: u64,
    summaries: u64,
    thoughts: u64,
    /// The text that the last piece belongs to, and what identifies it.
    open: Option<(Lane, u64)>,
    msg: Vec<u8>,
    call: Option<Call>,
}

impl Item {
    fn said(&mut self, lane: Lane) -> &mut u64 {
        match lane {
            Lane::Answer => &mut self.answers,
            Lane::Summary => &mut self.summaries,
            Lane::Thought => &mut self.thoughts,
        }
    }

    /// Reports whether pieces of a text have come.
    fn has_said(&mut self, lane: Lane, number: u64) -> bool {
        *self.said(lane) & bit(number) != 0
    }

    /// Notes that a piece of a text has come. Returns what identifies the text.
    fn say(&mut self, lane: Lane, number: u64) -> &[u8] {
        if self.open != Some((lane, number)) {
            self.open = Some((lane, number));
            *self.said(lane) |= bit(number);
            let place = match (lane, number) {
                (Lane::Answer | Lane::Thought, 0) => String::new(),
                (Lane::Answer | Lane::Thought, number) => format!("-{number}"),
                (Lane::Summary, number) => format!("-summary-{number}"),
            };
            self.msg = [self.id.as_slice(), place.as_bytes()].concat();
        }
        &self.msg
    }
}

/// Returns the bit of a text. Texts beyond the 64th share one.
fn bit(number: u64) -> u64 {
    1 << number.min(63)
}

/// A call of a tool.
#[derive(Debug)]
struct Call {
    id: Vec<u8>,
    by: By,
    input: Input,
    /// Whether pieces of the input have come.
    has_input: bool,
    is_ready: bool,
}

/// What the input of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// The text of a program, which becomes a member of an object.
    Code,
    /// JSON.
    Json,
    /// Any text, which becomes a JSON string.
    Plain,
}

impl Input {
    /// Returns what stands before and after the text in the JSON text of the arguments, as the raw
    /// bodies of JSON strings.
    const fn edges(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Code => (b"{\\\"code\\\":\\\"", b"\\\"}"),
            Self::Json => (b"", b""),
            Self::Plain => (b"\\\"", b"\\\""),
        }
    }
}

impl Call {
    /// Passes on a piece of the input.
    fn piece(&mut self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if text.is_empty() || self.is_ready {
            return;
        }
        let is_first = !std::mem::replace(&mut self.has_input, true);
        let text = match self.input {
            Input::Json => text.into(),
            Input::Code | Input::Plain if is_first => {
                let (before, _) = self.input.edges();
                [before, &escaped(text)].concat().into()
            }
            Input::Code | Input::Plain => escaped(text),
        };
        parts(Part::ToolArgs {
            id: (&self.id).into(),
            text,
        });
    }

    /// Passes on that the input is complete. If no piece has come, it is `text`, or the JSON value
    /// `input`.
    fn ready(&mut self, text: &[u8], input: Option<&[u8]>, parts: &mut dyn FnMut(Part<'_>)) {
        if self.is_ready {
            return;
        }
        if !self.has_input {
            self.piece(text, parts);
        }
        self.is_ready = true;
        let (_, after) = self.input.edges();
        if self.has_input && !after.is_empty() {
            parts(Part::ToolArgs {
                id: (&self.id).into(),
                text: after.into(),
            });
        }
        let input = input.map(<[u8]>::to_vec).or_else(|| match self.input {
            Input::Code | Input::Json => None,
            Input::Plain => Some(quoted(b"")),
        });
        parts(Part::ToolReady {
            msg: b"".into(),
            id: (&self.id).into(),
            name: b"".into(),
            args: input.filter(|_| !self.has_input).map(Into::into),
            by: self.by,
        });
    }
}

/// What an item says about the tool that it calls.
#[derive(Debug)]
struct Tool<'a> {
    id: &'a [u8],
    name: &'a [u8],
    input: Input,
    by: By,
}

impl<'a> Tool<'a> {
    /// Reads an item; `None` if it is no call. `runner` runs the tools that the server does not.
    fn of(item: &'a [u8], runner: By) -> Option<Self> {
        let kind = word(item, &["type"]);
        let of = kind.strip_suffix(b"_call")?;
        let id = match word(item, &["call_id"]) {
            b"" => word(item, &["id"]),
            id => id,
        };
        let (input, by) = match of {
            b"code_interpreter" => (Input::Code, By::Agent),
            b"custom_tool" => (Input::Plain, runner),
            b"file_search" | b"image_generation" | b"mcp" | b"web_search" => {
                (Input::Json, By::Agent)
            }
            _ => (Input::Json, runner),
        };
        let name = at(item, &["name"]).and_then(string).unwrap_or(of);
        Some(Self {
            id,
            name,
            input,
            by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = OpenAiResponses::default();
        let bytes = fixture("openai_responses", name);
        parts_of(&mut reading, Dialect::OpenAiResponses, Framing::Sse, &bytes)
    }

    #[test]
    fn a_text_comes_once() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\"\n"#);
        let is_copy = |part: &Part<'_>| {
            matches!(part, Part::Message { duplicate: true, text, .. }
                if &**text == br#"Rain in \"Oslo\"\n"#)
        };
        assert_eq!(parts.iter().filter(|part| is_copy(part)).count(), 1);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }

    #[test]
    fn pieces_of_arguments_go_to_their_calls() {
        let parts = read("tools.sse");
        let pieces_of = |call: &[u8]| {
            let mut joined = Vec::new();
            for part in &parts {
                if let Part::ToolArgs { id, text } = part
                    && &**id == call
                {
                    joined.extend_from_slice(text);
                }
            }
            String::from_utf8(joined).unwrap()
        };
        assert_eq!(pieces_of(b"call_0"), r#"{\"c\":\"Oslo\"}"#);
        assert_eq!(pieces_of(b"call_1"), "{}");
        assert_eq!(pieces_of(b"ct_1"), r#"\"ls\""#);
        assert_eq!(pieces_of(b"ci_1"), r#"{\"code\":\"1+1\"}"#);
        let begun = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolStart { .. }));
        let ready = parts
            .iter()
            .filter(|part| matches!(part, Part::ToolReady { .. }));
        assert_eq!((begun.count(), ready.count()), (6, 6));
        let end = Part::Finish {
            reason: Reason::ToolCalls,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }

    #[test]
    fn a_response_of_the_agents_sdk_is_a_step() {
        let parts = read("agents_sdk.sse");
        assert_eq!(text_of(&parts), "Rain.");
        let is_step = |part: &&Part<'_>| {
            matches!(
                part,
                Part::Finish {
                    reason: Reason::Stop,
                    scope: Scope::Step
                }
            )
        };
        assert_eq!(parts.iter().filter(is_step).count(), 2);
    }
}
