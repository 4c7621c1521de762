//! Cohere chat, `/v2/chat`: named events, each with an object whose `type` repeats the name. `message-end` is the last
//! event, and `[DONE]` follows.
//!
//! Sources: `cohere-openapi.yaml` of cohere-developer-experience, and the clients cohere-python (`v2/raw_client.py`,
//! `core/http_sse`) and cohere-typescript (`core/stream/Stream.ts`).

use std::ops::Range;

use super::Dialect;
use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::object::Object;
use super::reader::{self, Reader};
use super::spec::{DialectSpec, GenAi, HideFacts, PLAIN, Parser, Sign};
use super::text;
use crate::event::{Class, Content, Event, Keep, LISTS, Side, Step, Terminal, TextsOver, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "cohere",
    match_head: |head| Sign::Certain.when(head.ends_with("/v2/chat")),
    match_first_frame,
    parser: |_| Box::<State>::default(),
    // No event makes the clients raise: they yield a `message-end` that reports an error like any other, and skip
    // what they do not know. They do raise if the body breaks.
    failure: |_, _, _| None,
    refusal: Some(|refusal, _| Object::new().text("message", &refusal.with_code()).end()),
    streams_on_request: true,
    // Contents, tool calls and citations are numbered separately, and the clients use the numbers as names only: they
    // stay as they are when a content is left out.
    hide: HideFacts::CLOSES_TEXTS,
    gen_ai: GenAi {
        provider: Some("cohere"),
        operation: Some(|_| "chat"),
        paths: &["/v2/chat"],
    },
    ..PLAIN
};

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let kind = first.word("type");
    let is_named = first.name().is_empty() || kind.is_empty() || first.name() == kind;
    let begins = kind == b"message-start" || first.name() == b"message-start";
    match first.name() {
        // An error, or an end without a message.
        b"" if first.frame().data().starts_with(b"[DONE]") => Sign::None,
        _ if !is_named || !first.is_understood(Dialect::Cohere) => Sign::None,
        _ if begins => Sign::Certain,
        _ => Sign::Likely,
    }
}

/// The state that is kept between events.
#[derive(Debug, Default)]
struct State {
    /// The lanes of the open contents that are thoughts.
    thoughts: Vec<u64>,
    /// Whether the upstream reported an error. The stream then counts as failed, whatever follows.
    failed: bool,
}

/// Maximum number of open thoughts that are tracked. Contents are open one at a time, so more than a few are a server
/// error.
const MAX_OPEN: usize = 16;

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if frame.data().starts_with(b"[DONE]") {
            let terminal = if self.failed {
                Terminal::Error
            } else {
                Terminal::Done
            };
            return Some(Event::bare(Class::Done).ending(terminal));
        }
        let message = Message::read(frame.data())?;
        let name = match message.kind {
            b"" => frame.name(),
            kind => kind,
        };
        Some(match name {
            b"content-start" => self.content_start(&message),
            b"content-delta" => message.content_delta(frame, seen)?,
            b"content-end" => self.content_end(&message),
            b"tool-plan-delta" => message.plan_delta(frame, seen)?,
            b"tool-call-start" => message.call(frame, seen, Step::Begins),
            b"tool-call-delta" => message.call(frame, seen, Step::GoesOn),
            b"tool-call-end" => message.call(frame, seen, Step::Ends),
            // A citation belongs to the text before it.
            b"citation-start" => Event {
                content: Content::Other,
                ..Event::bare(Class::Structure)
            },
            // Of another call of the model, if one has ended.
            b"message-start" => Event::bare(Class::Structure).ending(Terminal::Reopens),
            b"citation-end" | b"debug" => Event::bare(Class::Structure),
            b"message-end" => self.message_end(&message),
            _ => return None,
        })
    }
}

impl State {
    fn content_start(&mut self, message: &Message<'_>) -> Event {
        let lane = message.lane();
        let is_thought = message.part == b"thinking";
        if is_thought && !self.thoughts.contains(&lane) && self.thoughts.len() < MAX_OPEN {
            self.thoughts.push(lane);
        }
        let has_text = (message.text.as_ref()).is_some_and(|(_, range)| !range.is_empty());
        let content = match has_text {
            false => Content::None,
            true if is_thought => Content::Reasoning,
            true => Content::Token,
        };
        let side = if is_thought {
            Side::Reasoning
        } else {
            Side::Answer
        };
        Event {
            content,
            ..Event::bare(Class::Structure)
        }
        .ending(Terminal::Reopens)
        .in_lane(lane)
        .on(side)
    }

    fn content_end(&mut self, message: &Message<'_>) -> Event {
        let lane = message.lane();
        let event = Event::bare(Class::Structure).in_lane(lane);
        match self.thoughts.iter().position(|open| *open == lane) {
            Some(at) => {
                self.thoughts.remove(at);
                event.on(Side::Reasoning)
            }
            None => event,
        }
    }

    fn message_end(&mut self, message: &Message<'_>) -> Event {
        self.failed |= message.failed;
        let (class, terminal) = if message.failed {
            (Class::Error, Terminal::MayFail)
        } else {
            (Class::Finish, Terminal::MayEnd)
        };
        Event {
            usage: message.tokens.or(message.billed),
            ..Event::bare(class).ending(terminal)
        }
    }
}

/// The members that any of the events may have.
#[derive(Debug, Default)]
struct Message<'a> {
    kind: &'a [u8],
    index: u64,
    /// The type of a content.
    part: &'a [u8],
    /// The member name and the range of the text.
    text: Option<(&'a [u8], Range<usize>)>,
    /// How many texts there are.
    texts: usize,
    failed: bool,
    tokens: Option<Usage>,
    billed: Option<Usage>,
    /// What must be equal before two deltas are merged.
    beside: Beside,
    /// Whether there is something that a merge would lose.
    crowded: bool,
    /// Whether there are log probabilities.
    lists: bool,
}

impl<'a> Message<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut message = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"type" => message.kind = message.beside.word(reader, key)?,
                b"index" => message.index = message.beside.number(reader, key)?,
                b"delta" => {
                    reader.object(|reader, key| message.delta(reader, key))?;
                }
                key if LISTS.contains(&key) => message.lists |= reader.says_something()?,
                _ => message.beside.inner(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(message)
    }

    fn delta(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"message" => {
                reader.object(|reader, key| self.part(reader, key))?;
            }
            b"finish_reason" => {
                let reason = reader.raw()?;
                self.failed |= matches!(reason, b"\"ERROR\"" | b"\"TIMEOUT\"");
                self.crowded |= reader::says_something(reason);
            }
            b"error" => {
                self.crowded |= reader.clone().says_something()?;
                self.failed |= reader.truthy()?;
            }
            b"usage" => {
                self.crowded |= reader.clone().says_something()?;
                reader.object(|reader, key| {
                    match key {
                        b"tokens" => self.tokens = counts(reader)?,
                        b"billed_units" => self.billed = counts(reader)?,
                        _ => reader.skip()?,
                    }
                    Some(())
                })?;
            }
            _ => self.beside.inner(key, reader.raw()?),
        }
        Some(())
    }

    /// Reads a member of the message that the delta extends. A content and a tool call are objects there, not lists.
    fn part(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"content" => {
                reader.object(|reader, key| match key {
                    b"type" => {
                        let raw = reader.raw()?;
                        self.part = Reader::new(raw).word()?;
                        self.beside.same(key, raw);
                        Some(())
                    }
                    b"text" | b"thinking" => self.text(reader, key),
                    _ => {
                        self.beside.inner(key, reader.raw()?);
                        Some(())
                    }
                })?;
            }
            b"tool_plan" => self.text(reader, key)?,
            b"tool_calls" => {
                reader.object(|reader, key| match key {
                    b"function" => reader
                        .object(|reader, key| match key {
                            b"arguments" => self.text(reader, key),
                            _ => self.other(reader),
                        })
                        .map(drop),
                    _ => self.other(reader),
                })?;
            }
            _ => self.beside.inner(key, reader.raw()?),
        }
        Some(())
    }

    fn text(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        if reader.kind()? != Kind::String {
            return self.other(reader);
        }
        let range = reader.string()?.unwrap_or_default();
        self.texts += 1;
        // If there are both, the answer takes precedence over the thought.
        if self.texts == 1 || key != b"thinking" {
            self.text = Some((key, range));
        }
        Some(())
    }

    fn other(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        self.crowded |= reader.says_something()?;
        Some(())
    }

    /// Identifies the text of a content. The numbers of tool calls and citations must not be taken for it.
    fn lane(&self) -> u64 {
        text::key(("content", self.index))
    }

    fn content_delta(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let lane = self.lane();
        let (class, content) = match self.text.as_ref()? {
            (b"text", _) => (Class::Token, Content::Token),
            (b"thinking", _) => (Class::Reasoning, Content::Reasoning),
            _ => return None,
        };
        Some(self.joined(frame, seen, class, content).in_lane(lane))
    }

    fn plan_delta(self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let is_plan = matches!(self.text.as_ref()?, (b"tool_plan", _));
        is_plan.then(|| {
            self.joined(frame, seen, Class::Reasoning, Content::Reasoning)
                .in_lane(text::key("plan"))
        })
    }

    fn call(self, frame: &Frame<'_>, seen: &mut Seen, step: Step) -> Event {
        let index = self.index;
        let event = match step {
            Step::GoesOn => self.joined(frame, seen, Class::Tool, Content::Tool),
            Step::Begins => Event {
                content: Content::Tool,
                text: (self.text)
                    .filter(|(_, range)| !range.is_empty())
                    .and_then(|(_, range)| frame.in_block(range)),
                texts_over: TextsOver::InLane,
                ..Event::bare(Class::Tool)
            },
            _ => Event::bare(Class::Tool),
        };
        event.of_call(step, 0, index)
    }

    fn joined(self, frame: &Frame<'_>, seen: &mut Seen, class: Class, content: Content) -> Event {
        let beside = seen.key(&self.beside);
        let Some((field, range)) = self.text.filter(|_| self.texts == 1) else {
            return Event {
                content,
                ..Event::bare(class)
            };
        };
        let event = text::event(frame, class, content, range);
        if self.crowded {
            return event;
        }
        let key = text::key((self.kind, self.index, field, beside));
        text::with_lists(text::joining(event, Keep::First, key), self.lists)
    }
}

/// Reads token counts; `None` if there are none.
fn counts(reader: &mut Reader<'_>) -> Option<Option<Usage>> {
    let usage = reader.usage()?;
    Some(usage.filter(|usage| *usage != Usage::default()))
}
