//! One chunk of Mastra's streams: its members, and what they mean by themselves.

use std::ops::Range;

use crate::dialect::beside::{Beside, Seen};
use crate::dialect::reader::Reader;
use crate::dialect::text;
use crate::event::{Class, Content, Event, Keep, Side, Step, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

const fn of(class: Class, content: Content) -> Event {
    Event {
        content,
        ..Event::bare(class)
    }
}

/// The prefix that a network puts before the chunk types of its agents, whose chunks are its payloads.
const OF_AGENT: &[u8] = b"agent-execution-event-";

/// The prefixes of the chunk types of networks and workflows that tell how far they are.
const OF_OTHERS: [&[u8]; 5] = [
    b"agent-execution-",
    b"network-",
    b"routing-agent-",
    b"workflow-execution-",
    b"workflow-step-",
];

/// One chunk.
#[derive(Debug, Default)]
pub(super) struct Chunk<'a> {
    pub(super) kind: &'a [u8],
    pub(super) run: &'a [u8],
    id: &'a [u8],
    is_enveloped: bool,
    transient: bool,
    payload: Payload<'a>,
    /// The payload of the chunk in the payload: of another agent, or of the output of a tool or a step.
    inner: Payload<'a>,
    /// The type of the chunk in the output of a tool or a step.
    output: &'a [u8],
    pub(super) usage: Option<Usage>,
    /// What must be equal before two chunks are merged.
    beside: Beside,
    /// A hash of the members that a later chunk replaces.
    replaced: u64,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

/// The members of a payload that matter.
#[derive(Debug, Default)]
struct Payload<'a> {
    /// The id of the text.
    id: &'a [u8],
    call: &'a [u8],
    text: Option<Range<usize>>,
    arguments: Option<Range<usize>>,
}

impl<'a> Chunk<'a> {
    pub(super) fn read(data: &'a [u8]) -> Option<Self> {
        let mut chunk = Self::default();
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"type" => chunk.kind = reader.word()?,
                b"runId" => chunk.run = chunk.beside.word(reader, key)?,
                b"id" => chunk.id = chunk.beside.word(reader, key)?,
                b"transient" => {
                    let raw = reader.raw()?;
                    chunk.transient = Reader::new(raw).truthy()?;
                    chunk.beside.same(key, raw);
                }
                b"from" => {
                    chunk.is_enveloped = true;
                    chunk.beside.same(key, reader.raw()?);
                }
                b"payload" => {
                    reader.object(|reader, key| chunk.payload_member(reader, key))?;
                }
                b"data" | b"object" => chunk.replace(reader, key)?,
                _ => chunk.beside.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        is_object.then_some(chunk)
    }

    fn payload_member(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"usage" => self.usage(reader)?,
            // Another agent's chunk.
            b"payload" => {
                self.beside.tag(1);
                reader.object(|reader, key| self.inner.member(reader, key, &mut self.beside))?;
            }
            b"output" => {
                reader.object(|reader, key| {
                    match key {
                        b"usage" => self.usage(reader)?,
                        b"type" => self.output = self.beside.word(reader, key)?,
                        b"payload" => {
                            let (inner, beside) = (&mut self.inner, &mut self.beside);
                            reader.object(|reader, key| inner.member(reader, key, beside))?;
                        }
                        _ => self.beside.add(key, reader.raw()?),
                    }
                    Some(())
                })?;
            }
            b"object" => self.replace(reader, key)?,
            _ => self.payload.member(reader, key, &mut self.beside)?,
        }
        Some(())
    }

    fn usage(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        self.crowded |= reader.clone().says_something()?;
        self.usage = reader.usage()?.or(self.usage);
        Some(())
    }

    /// Notes a member that the next version of an object or a part replaces.
    fn replace(&mut self, reader: &mut Reader<'a>, key: &[u8]) -> Option<()> {
        self.replaced = text::key((self.replaced, key, reader.raw()?));
        Some(())
    }

    pub(super) fn event(&self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        if self.kind.starts_with(b"data-") {
            return Some(self.data(frame, seen));
        }
        if !self.is_enveloped {
            return None;
        }
        let (event, payload) = match (self.kind.strip_prefix(OF_AGENT), self.kind) {
            (Some(kind), _) => {
                let event = self.of_agent(frame, seen, kind, &self.inner)?;
                // The network goes on after its agents.
                let event = match event.class {
                    Class::Finish | Class::Error => of(Class::State, Content::Other),
                    _ => event,
                };
                let terminal = event.terminal.filter(|it| *it == Terminal::Reopens);
                (Event { terminal, ..event }, &self.inner)
            }
            (_, b"tool-output") => (self.output(frame, seen, Class::Tool), &self.inner),
            (_, b"step-output" | b"workflow-step-output") => {
                (self.output(frame, seen, Class::State), &self.inner)
            }
            (_, kind) => {
                let event = self.of_agent(frame, seen, kind, &self.payload);
                let event = event.or_else(|| self.of_others(frame, seen))?;
                (event, &self.payload)
            }
        };
        Some(event.in_lane(text::key((self.run, payload.id))))
    }

    /// Classifies a chunk of an agent.
    fn of_agent(
        &self,
        frame: &Frame<'_>,
        seen: &mut Seen,
        kind: &[u8],
        payload: &Payload<'_>,
    ) -> Option<Event> {
        let call = |event: Event, step| event.of_call(step, 0, text::key((self.run, payload.call)));
        let tool = of(Class::Tool, Content::Tool);
        Some(match kind {
            b"text-delta" => self.text(frame, seen, payload, Content::Token),
            b"reasoning-delta" => self.text(frame, seen, payload, Content::Reasoning),
            b"tool-call-delta" => {
                let event = match &payload.arguments {
                    Some(range) => {
                        let event = text::event(frame, Class::Tool, Content::Tool, range.clone());
                        self.joining(event, seen)
                    }
                    None => tool,
                };
                call(event, Step::GoesOn)
            }
            b"tool-call-input-streaming-start" => call(tool, Step::Begins),
            b"tool-call-input-streaming-end" | b"tool-call" => call(tool, Step::Ends),
            b"tool-result" | b"tool-error" | b"tool-output-denied" => tool,
            // The run waits for an answer.
            b"tool-call-approval" | b"tool-call-suspended" => {
                tool.ending(Terminal::MayEndWithInput)
            }
            b"start" | b"step-start" | b"text-start" => {
                Event::bare(Class::Structure).ending(Terminal::Reopens)
            }
            b"text-end" | b"step-finish" | b"response-metadata" => Event::bare(Class::Structure),
            b"reasoning-start" => Event::bare(Class::Structure)
                .on(Side::Reasoning)
                .ending(Terminal::Reopens),
            b"reasoning-end"
            | b"reasoning-signature"
            | b"redacted-reasoning"
            | b"reasoning-file" => Event::bare(Class::Structure).on(Side::Reasoning),
            b"source" | b"file" | b"custom" => of(Class::Structure, Content::Other),
            b"finish" | b"abort" => Event::bare(Class::Finish).ending(Terminal::MayEnd),
            // The client shows the reason. The run may try again.
            b"tripwire" => of(Class::Finish, Content::Other).ending(Terminal::MayEnd),
            b"error" => Event::bare(Class::Error).ending(Terminal::MayFail),
            // The object so far.
            b"object" => text::superseded(
                of(Class::State, Content::Other),
                frame,
                text::key((self.kind, self.run, seen.key(&self.beside))),
            ),
            b"object-result" | b"raw" | b"watch" | b"goal" | b"is-task-complete" => {
                of(Class::State, Content::Other)
            }
            b"background-task-output" => tool,
            b"background-task-started" | b"background-task-resumed" => {
                of(Class::State, Content::Other).ending(Terminal::Reopens)
            }
            kind if kind.starts_with(b"background-task-") => of(Class::State, Content::Other),
            _ => return None,
        })
    }

    /// Classifies a chunk of a network or a workflow.
    fn of_others(&self, frame: &Frame<'_>, seen: &mut Seen) -> Option<Event> {
        let state = of(Class::State, Content::Other);
        Some(match self.kind {
            b"routing-agent-text-delta" => self.text(frame, seen, &self.payload, Content::Token),
            b"routing-agent-text-start" | b"workflow-start" => {
                Event::bare(Class::Structure).ending(Terminal::Reopens)
            }
            b"workflow-finish" | b"workflow-canceled" | b"network-execution-event-finish" => {
                Event::bare(Class::Finish).ending(Terminal::MayEnd)
            }
            b"workflow-paused" | b"workflow-step-suspended" => {
                state.ending(Terminal::MayEndWithInput)
            }
            b"network-object" => {
                let key = text::key((self.kind, self.run, seen.key(&self.beside)));
                text::superseded(state, frame, key)
            }
            kind if kind.starts_with(b"tool-execution-") => {
                step(kind, of(Class::Tool, Content::Tool))
            }
            kind if OF_OTHERS.iter().any(|family| kind.starts_with(family)) => step(kind, state),
            _ => return None,
        })
    }

    /// Classifies what a tool or a step puts out while it runs, which may be the chunk of an agent.
    fn output(&self, frame: &Frame<'_>, seen: &mut Seen, class: Class) -> Event {
        let content = match (self.output, class) {
            (b"text-delta" | b"reasoning-delta", Class::Tool) => Content::Tool,
            (b"text-delta", _) => Content::Token,
            (b"reasoning-delta", _) => Content::Reasoning,
            (_, Class::Tool) => return of(class, Content::Tool),
            // What the step itself writes.
            (b"", _) => return of(class, Content::Other).on(Side::Application),
            (kind, _) => return begins(kind, of(class, Content::Other).on(Side::Data)),
        };
        self.text(frame, seen, &self.inner, content)
    }

    /// Classifies the application's own data. A later part with the same id replaces it.
    fn data(&self, frame: &Frame<'_>, seen: &mut Seen) -> Event {
        let event = of(Class::State, Content::Other).on(Side::Application);
        if self.transient || self.id.is_empty() {
            return event;
        }
        let key = text::key((self.kind, self.id, self.run, seen.key(&self.beside)));
        text::superseded(event, frame, key)
    }

    fn text(
        &self,
        frame: &Frame<'_>,
        seen: &mut Seen,
        payload: &Payload<'_>,
        content: Content,
    ) -> Event {
        let class = match content {
            Content::Token => Class::Token,
            Content::Reasoning => Class::Reasoning,
            Content::None | Content::Other | Content::Tool => Class::Tool,
        };
        seen.note_need(&self.beside);
        match &payload.text {
            Some(range) => {
                let event = text::event(frame, class, content, range.clone());
                self.joining(event, seen)
            }
            None => Event::bare(class),
        }
    }

    /// Allows the event of a text to be merged, if it is the only text of the chunk.
    fn joining(&self, event: Event, seen: &mut Seen) -> Event {
        let beside = (seen.key(&self.beside), self.replaced);
        let pieces = [&self.payload, &self.inner]
            .into_iter()
            .flat_map(|payload| [&payload.text, &payload.arguments]);
        if self.crowded || pieces.flatten().count() > 1 {
            return event;
        }
        let ids = [&self.payload, &self.inner].map(|payload| (payload.id, payload.call));
        let key = text::key((self.kind, self.output, self.run, self.id, ids, beside));
        text::joining(event, Keep::First, key)
    }
}

impl<'a> Payload<'a> {
    fn member(
        &mut self,
        reader: &mut Reader<'a>,
        key: &'a [u8],
        beside: &mut Beside,
    ) -> Option<()> {
        match key {
            b"id" => self.id = beside.word(reader, key)?,
            b"toolCallId" => self.call = beside.word(reader, key)?,
            b"text" if reader.kind()? == Kind::String => self.text = reader.string()?,
            b"argsTextDelta" if reader.kind()? == Kind::String => {
                self.arguments = reader.string()?;
            }
            _ => beside.add(key, reader.raw()?),
        }
        Some(())
    }
}

/// Adds what a step of a network or a workflow does to the stream.
fn step(kind: &[u8], event: Event) -> Event {
    if kind.ends_with(b"-approval") || kind.ends_with(b"-suspended") {
        event.ending(Terminal::MayEndWithInput)
    } else {
        begins(kind, event)
    }
}

/// Returns the event of a chunk of this type, with which something begins if its name says so.
fn begins(kind: &[u8], event: Event) -> Event {
    if kind == b"start" || kind.ends_with(b"-start") {
        event.ending(Terminal::Reopens)
    } else {
        event
    }
}
