//! Dify's chats, completions, agents and workflows: unnamed blocks, each an object whose `event` says what it is and
//! whose ids say that it is Dify's. Pings are an event name without data.
//!
//! A chat ends with `message_end`, a workflow with `workflow_finished`. A chatflow has both, in either order, depending
//! on the version of the server; audio may follow.
//!
//! Sources: langgenius/dify, below `api/core/app` (`entities/task_entities.py`, `apps/base_app_generator.py`,
//! `apps/*/generate_task_pipeline.py`, `apps/*/generate_response_converter.py`), and its clients there:
//! `web/service/base.ts` and `sdks/nodejs-client/src/http/sse.ts`.

use std::ops::Range;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::object::Object;
use super::reader::Reader;
use super::request::RequestHead;
use super::spec::{self, DialectSpec, ErrorContext, Failure, GenAi, PLAIN, Parser, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Terminal, TextsOver, Usage};
use crate::wire::json::Kind;
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "dify",
    match_head,
    match_body: |members| Sign::Certain.when(members.has("response_mode")),
    match_first_frame: |first| {
        let is_known = IDS.iter().any(|id| first.has(id));
        Sign::Certain.when(is_known && first.is_understood(Dialect::Dify))
    },
    parser: |_| Box::<State>::default(),
    // Dify's own ping. Its clients read line by line, and every one of them has to skip it.
    heartbeat: |framing| match framing {
        Framing::Sse => Some(b"event: ping\n\n"),
        other => spec::comment(other),
    },
    refusal: Some(|refusal, _| {
        Object::new()
            .text("code", refusal.code)
            .text("message", refusal.message)
            .number("status", refusal.status.into())
            .end()
    }),
    streams_on_request: true,
    gen_ai: GenAi::AGENT,
    failure,
    ..PLAIN
};

/// Members that tell Dify's events from those of tutorials, which use some of the same words.
const IDS: [&str; 4] = [
    "task_id",
    "message_id",
    "workflow_run_id",
    "conversation_id",
];

/// Returns the event that ends a failed stream. The status is 400 whatever happened, because Dify's web clients report
/// an event as an error only if it has that status, as the server's own errors of models have.
fn failure(framing: Framing, failure: &Failure<'_>, _: &ErrorContext) -> Option<String> {
    let error = Object::new()
        .text("event", "error")
        .number("status", 400)
        .text("code", failure.code)
        .text("message", failure.message);
    spec::block(framing, "", &error.end())
}

fn match_head(head: &RequestHead<'_>) -> Sign {
    if head.ends_with("/chat-messages") || head.ends_with("/completion-messages") {
        return Sign::Certain;
    }
    let mut parts = head.parts();
    let is_run = match (parts.next(), parts.next(), parts.next()) {
        (Some("run"), Some("workflows"), _) | (Some("run"), Some(_), Some("workflows")) => true,
        // A run that goes on after a pause, or whose connection broke.
        (Some("events"), Some(_), Some("workflow")) => true,
        _ => false,
    };
    Sign::Likely.when(is_run)
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// Whether the message has ended. In a chatflow the end of the workflow may come before or after it.
    ended: bool,
    /// Whether the answer is spoken: the audio may lag behind the text, and ends with an event of its own.
    speaks: bool,
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let fields = Fields::read(frame.data())?;
        if !fields.is_known && !matches!(fields.word, b"error" | b"ping") {
            return None;
        }
        Some(match fields.word {
            // With files, the server calls pieces of the answer `message_file`, too.
            b"message" | b"agent_message" | b"message_file" | b"text_chunk"
                if fields.text.is_some() =>
            {
                fields.delta(frame, seen)?
            }
            b"message_file" | b"message_replace" | b"text_replace" => {
                of(Class::Structure, Content::Other)
            }
            b"agent_thought" => fields.thought(frame, seen),
            b"agent_log" => fields.log(),
            b"tts_message" => {
                self.speaks = true;
                let audio = of(Class::Structure, Content::Other);
                if self.ended {
                    audio.ending(self.end())
                } else {
                    audio
                }
            }
            b"tts_message_end" => {
                self.speaks = false;
                let end = of(Class::Structure, Content::None);
                if self.ended {
                    end.ending(Terminal::MayEnd)
                } else {
                    end
                }
            }
            b"message_end" => {
                self.ended = true;
                Event {
                    usage: fields.usage,
                    ..of(Class::Finish, Content::None)
                }
                .ending(self.end())
            }
            b"workflow_finished" if fields.failed => {
                of(Class::Error, Content::None).ending(Terminal::MayFail)
            }
            b"workflow_finished" => {
                self.ended |= !fields.is_chat;
                of(Class::Finish, Content::None).ending(self.end())
            }
            b"workflow_paused" => of(Class::State, Content::Other).ending(Terminal::MayEnd),
            b"workflow_started" | b"node_started" => fields
                .step()
                .ending(Terminal::Reopens)
                .with_texts_over(TextsOver::InLane),
            b"error" => of(Class::Error, Content::None).ending(Terminal::Error),
            b"ping" => Event::bare(Class::Heartbeat),
            word if is_step(word) && begins(word) => fields.step().ending(Terminal::Reopens),
            word if is_step(word) => fields.step(),
            _ => return None,
        })
    }
}

impl State {
    /// Returns how the stream may end now that the message or the workflow has ended: not with silence if audio or the
    /// end of the message is to come.
    const fn end(&self) -> Terminal {
        if self.ended && !self.speaks {
            Terminal::MayEnd
        } else {
            Terminal::MayEndWithInput
        }
    }
}

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// Reports whether an event tells how far a workflow is, or asks the user something.
fn is_step(word: &[u8]) -> bool {
    let families: [&[u8]; 6] = [
        b"human_input_",
        b"iteration_",
        b"loop_",
        b"node_",
        b"parallel_branch_",
        b"workflow_",
    ];
    families.iter().any(|family| word.starts_with(family))
}

/// Reports whether a part of a workflow begins with an event, or goes on after it.
fn begins(word: &[u8]) -> bool {
    let ends: [&[u8]; 4] = [b"_filled", b"_next", b"_retry", b"_started"];
    ends.iter().any(|end| word.ends_with(end))
}

/// The members that any of the events may have.
#[derive(Debug, Default)]
struct Fields<'a> {
    word: &'a [u8],
    /// Whether one of [`IDS`] is there.
    is_known: bool,
    /// Whether the event belongs to a message, and not only to a workflow.
    is_chat: bool,
    /// The id of the thought, or of the execution of a node.
    id: &'a [u8],
    text: Option<Range<usize>>,
    /// The variable whose text this is, as JSON.
    variable: &'a [u8],
    thinks: bool,
    calls: bool,
    failed: bool,
    usage: Option<Usage>,
    /// What must be equal before two events are merged.
    beside: Beside,
    /// A hash of the members of which a later version of a round of the agent may know more.
    round: u64,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| fields.member(reader, key))?;
        reader.end()?;
        if fields.is_chat && fields.word != b"message_end" {
            // The end of the message states the sum of all counts.
            fields.usage = None;
        }
        is_object.then_some(fields)
    }

    fn member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"event" => self.word = reader.word()?,
            b"task_id" | b"workflow_run_id" | b"message_id" | b"conversation_id" => {
                let raw = reader.raw()?;
                self.is_known = true;
                self.is_chat |= matches!(key, b"message_id" | b"conversation_id");
                self.beside.same(key, raw);
            }
            b"id" => {
                self.id = self.beside.word(reader, key)?;
                self.beside.tag(text::key((key, self.id)));
            }
            b"answer" => self.text(reader, key)?,
            b"from_variable_selector" => self.variable = reader.raw()?,
            b"thought" => {
                let says = reader.says_something()?;
                self.thinks |= says;
                self.crowded |= says;
            }
            b"tool" | b"tool_input" | b"observation" => {
                let says = reader.says_something()?;
                self.calls |= says;
                self.crowded |= says;
            }
            b"message_files" | b"position" | b"tool_labels" => {
                self.round = text::key((self.round, key, reader.raw()?));
            }
            // The time of the event.
            b"created_at" => reader.skip()?,
            b"metadata" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| match key {
                    b"usage" => {
                        self.usage = reader.usage()?;
                        Some(())
                    }
                    _ => reader.skip(),
                })?;
            }
            b"data" => {
                reader.object(|reader, key| self.datum(reader, key))?;
            }
            _ => self.other(reader, key)?,
        }
        Some(())
    }

    /// Reads a member of `data`: a piece of a workflow's text, or the state of a node.
    fn datum(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"text" if reader.kind()? == Kind::String => self.text(reader, key)?,
            b"from_variable_selector" => self.variable = reader.raw()?,
            b"id" => {
                self.id = self.beside.word(reader, key)?;
                self.beside.tag(text::key((key, self.id)));
            }
            b"status" | b"node_type" | b"label" => {
                let raw = reader.raw()?;
                let word = Reader::new(raw).word()?;
                match key {
                    b"status" => self.failed |= word == b"failed",
                    b"node_type" => self.calls |= word == b"tool",
                    // The log of an agent.
                    _ => self.calls |= word.starts_with(b"CALL "),
                }
                self.beside.same(key, raw);
            }
            b"outputs" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| match key {
                    b"usage" => {
                        self.usage = reader.usage()?;
                        Some(())
                    }
                    _ => reader.skip(),
                })?;
            }
            _ => self.other(reader, key)?,
        }
        Some(())
    }

    fn other(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        self.beside.add(key, reader.raw()?);
        Some(())
    }

    fn text(&mut self, reader: &mut Reader<'a>, key: &[u8]) -> Option<()> {
        self.crowded |= self.text.is_some();
        self.text = reader.string()?;
        self.beside.tag(text::key(key));
        Some(())
    }

    /// Returns the event of a piece of the answer. Each variable of the workflow is a text of its own: several models
    /// may write to one answer, and each may begin with a thought.
    fn delta(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let event = text::event(frame, Class::Token, Content::Token, self.text?)
            .in_lane(text::key(self.variable));
        let beside = (seen.key(&self.beside), self.round);
        if self.crowded {
            return Some(event);
        }
        let key = text::key((self.word, self.variable, beside));
        Some(text::joining(event, Keep::First, key))
    }

    /// Returns the event of a round of an agent. It is sent again, with the same id, each time more is known.
    fn thought(&self, frame: &Frame<'_>, seen: &mut Seen) -> Event {
        let event = if self.calls {
            of(Class::Tool, Content::Tool).on(Side::Tool)
        } else if self.thinks {
            of(Class::State, Content::Reasoning).on(Side::Reasoning)
        } else {
            of(Class::State, Content::None)
        };
        // A round of the agent: what the model writes next is another text.
        let event = event.with_texts_over(TextsOver::InLane);
        let key = text::key((self.id, self.calls, seen.key(&self.beside)));
        text::superseded(event, frame, key)
    }

    /// Returns the event of an agent's log in a workflow. Its entries are rounds, thoughts and calls. Rounds and
    /// thoughts may tell of calls, so they are hidden with either.
    const fn log(&self) -> Event {
        let side = if self.calls {
            Side::Tool
        } else {
            Side::Reasoning
        };
        of(Class::Tool, Content::Tool).on(side)
    }

    /// Returns the event of a step of a workflow.
    fn step(&self) -> Event {
        let event = if self.calls {
            of(Class::Tool, Content::Tool)
        } else {
            of(Class::State, Content::Other)
        };
        Event {
            usage: self.usage.map(|usage| text::of_call(usage, self.id)),
            ..event
        }
    }
}
