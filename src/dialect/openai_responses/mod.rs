//! OpenAI Responses: named events whose payload repeats the name as `type` and has a sequence
//! number.
//!
//! The OpenAI Agents SDK wraps them. Servers that forward its events send `raw_response_event` with
//! the model's event under `data`, and also `run_item_stream_event` and
//! `agent_updated_stream_event`.

mod fields;
mod server_tool;

use super::beside::Seen;
use super::first_frame::FirstFrame;
use super::object::Object;
use super::openai_chat;
use super::request::{Members, RequestHead};
use super::spec::{
    self, BlockIndex, DialectSpec, ErrorContext, Failure, GenAi, HideFacts, PLAIN, Parser, Sign,
};
use super::text;
use crate::event::{Class, Content, Event, Terminal};
use crate::wire::{Frame, Framing};
use fields::Fields;

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "openai_responses",
    match_head,
    match_first_frame,
    parser: |members| Box::new(State::new(members)),
    single_reply: is_api,
    refusal: Some(|refusal, _| openai_chat::error(refusal.code, refusal.message)),
    streams_on_request: true,
    hide: HideFacts {
        closes_texts: true,
        block_index: Some(BlockIndex {
            member: b"output_index",
            opened_by: b"\"response.output_item.added\"",
        }),
        ..HideFacts::NONE
    },
    gen_ai: GenAi {
        provider: Some("openai"),
        operation: Some(|_| "chat"),
        paths: &["/responses"],
    },
    failure,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, seen: &ErrorContext) -> Option<String> {
    if seen.wrapped {
        return spec::block(framing, "", &spec::plain_error(failure).end());
    }
    // The SDKs raise on the nested object only; they merely deliver the outer members, which other
    // clients read.
    let error = Object::new()
        .text("type", failure.code)
        .text("code", failure.code)
        .text("message", failure.message)
        .raw("param", "null");
    let number = seen.sequence.map_or(0, |last| last.saturating_add(1));
    let event = Object::new()
        .text("type", "error")
        .number("sequence_number", number)
        .text("code", failure.code)
        .text("message", failure.message)
        .raw("param", "null")
        .raw("error", &error.end());
    spec::block(framing, "error", &event.end())
}

/// Matches `/responses`, and requests that resume a stream.
fn match_head(head: &RequestHead<'_>) -> Sign {
    Sign::Certain.when(head.ends_with("/responses") || resumes(head))
}

/// Reports whether it is `GET /responses/R?stream=true`.
fn resumes(head: &RequestHead<'_>) -> bool {
    head.parts().nth(1) == Some("responses") && head.queries("stream=true")
}

/// Reports whether the path is that of OpenAI's API, `/v1/responses`, or Azure's, `/openai/responses`: what it answers
/// is one response. Servers of agents have `/responses` alone (MLflow's), and may forward every response of a run
/// there, and their own data after the last.
fn is_api(head: &RequestHead<'_>) -> bool {
    let mut parts = head.parts().skip(usize::from(resumes(head)));
    parts.next() == Some("responses") && matches!(parts.next(), Some("openai" | "v1"))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let kind = first.word("type");
    let is_named = matches!(first.name(), b"" | b"message") || first.name() == kind;
    let is_error = kind == b"error" && first.has("sequence_number");
    let is_wrapped = wrapper(kind).is_some();
    Sign::Certain.when(is_named && (kind.starts_with(b"response.") || is_error || is_wrapped))
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// The sequence number of the last event. An error takes the next one.
    number: Option<u64>,
    /// Whether the events come from the Agents SDK, whose clients do not know the API's error
    /// event.
    wrapped: bool,
    /// Whether the response has called a tool of the agent: its output is part of the run, and takes its time.
    calls: bool,
    /// Whether the response has called the tool of the Agents SDK that hands the run over to another agent.
    hands_over: bool,
    /// Whether the last response of the run is complete.
    completed: bool,
    /// A hash of the id of the last response that is complete.
    complete: u64,
    /// The number of responses that began. Each counts its items from zero.
    responses: u64,
    /// Whether the stream is one response, and ends with it.
    alone: bool,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if frame.data().starts_with(b"[DONE]") {
            return Some(Event::bare(Class::Done).ending(Terminal::Done));
        }
        let mut fields = Fields::read(frame.data())?;
        self.responses += u64::from(fields.kind == b"response.created");
        fields.response_number = self.responses;
        // Neither a run of the Agents SDK nor several responses are one, whatever the request says.
        self.alone &= fields.wrapper.is_empty() && self.responses <= 1;
        fields.alone = self.alone;
        self.number = fields.number.or(self.number);
        if let Some(event) = wrapper(fields.wrapper) {
            self.wrapped = true;
            return match event {
                Wrapper::Raw => match fields.event(frame, seen) {
                    Some(event) => Some(self.in_run(event, &fields)),
                    None => Some(of(Class::State, Content::Other)),
                },
                Wrapper::Item if fields.item_name.starts_with(b"tool_") => {
                    let event = of(Class::Tool, Content::Tool);
                    // A run may end with the output of a tool.
                    Some(if self.completed {
                        event.ending(Terminal::MayEndWithInput)
                    } else {
                        event
                    })
                }
                // Another agent is to go on, or does.
                Wrapper::Item if fields.item_name.starts_with(b"handoff_") => Some(self.go_on()),
                Wrapper::Agent => Some(self.go_on()),
                // The whole message again, or a request for approval.
                Wrapper::Item => Some(of(Class::State, Content::Other)),
            };
        }
        let event = fields.event(frame, seen)?;
        // An application may forward the events of each response of a run as they are.
        Some(if self.alone {
            event
        } else {
            self.in_run(event, &fields)
        })
    }

    fn note_varying(&mut self, varying: &[u8]) {
        let digits = std::str::from_utf8(varying).ok();
        self.number = digits
            .and_then(|digits| digits.parse().ok())
            .or(self.number);
    }

    fn error_context(&self) -> ErrorContext {
        ErrorContext {
            sequence: self.number,
            wrapped: self.wrapped,
            ..ErrorContext::default()
        }
    }
}

impl State {
    fn new(members: &Members) -> Self {
        Self {
            alone: members.has_single_reply(),
            ..Self::default()
        }
    }

    /// Returns an event of one response of a run. A response that called a tool may be the last one, but the run is
    /// silent for as long as the tool works. It is not the last one if it has handed the run over.
    fn in_run(&mut self, event: Event, fields: &Fields<'_>) -> Event {
        match (fields.kind, event.terminal) {
            (b"response.created", _) => self.begin(),
            (b"response.queued" | b"response.in_progress", _)
                if self.completed && text::key(fields.response) != self.complete =>
            {
                self.begin();
                return event.ending(Terminal::Reopens);
            }
            (b"response.output_item.added" | b"response.output_item.done", _) => {
                self.calls |= server_tool::leaves_the_call_to_others(fields.item_kind);
                self.hands_over |= self.wrapped
                    && fields.item_kind == b"function_call"
                    && fields.function.starts_with(HANDOFF);
            }
            (_, Some(Terminal::MayEnd)) => {
                self.complete = text::key(fields.response);
                self.completed = !self.hands_over;
                if self.hands_over {
                    return event.ending(Terminal::Reopens);
                }
                if self.calls {
                    return event.ending(Terminal::MayEndWithInput);
                }
            }
            _ => {}
        }
        event
    }

    const fn begin(&mut self) {
        (self.calls, self.hands_over, self.completed) = (false, false, false);
    }

    /// Returns an event of the Agents SDK after which its run goes on, although a response has ended.
    const fn go_on(&mut self) -> Event {
        self.completed = false;
        of(Class::State, Content::Other).ending(Terminal::Reopens)
    }
}

/// How the Agents SDK names the tools with which one agent hands over to another.
const HANDOFF: &[u8] = b"transfer_to_";

/// The event types of the Agents SDK.
#[derive(Clone, Copy, Debug)]
enum Wrapper {
    Agent,
    Item,
    Raw,
}

const fn wrapper(kind: &[u8]) -> Option<Wrapper> {
    Some(match kind {
        b"agent_updated_stream_event" => Wrapper::Agent,
        b"run_item_stream_event" => Wrapper::Item,
        b"raw_response_event" => Wrapper::Raw,
        _ => return None,
    })
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}
