//! LangGraph's thread protocol (`/threads/T/stream/events`), in which each block is one numbered
//! event with a `method`.

use std::ops::Range;

use memchr::memmem;

use super::beside::{Beside, Seen};
use super::first_frame::FirstFrame;
use super::reader::Reader;
use super::text;
use crate::event::{Class, Content, Event, Keep, Side, Terminal, Usage};
use crate::wire::Frame;
use crate::wire::json::Kind;

/// Reports whether the first frame of a stream belongs to the thread protocol.
pub(super) fn match_first_frame(first: &FirstFrame<'_>) -> bool {
    first.word("type") == b"event" && first.has("method") && first.has_object("params")
}

/// Maximum number of concurrent messages that are tracked, one in each subgraph. Beyond it, the
/// oldest is forgotten.
const MAX_OPEN: usize = 64;

/// The message that each subgraph is currently writing. Only the start event of a message carries
/// its id.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Pairs of hashes: of the namespace and of the message's id.
    open: Vec<(u64, u64)>,
}

impl State {
    fn begin(&mut self, namespace: &[u8], message: &[u8]) {
        let namespace = text::key(namespace);
        self.open.retain(|(open, _)| *open != namespace);
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((namespace, text::key(message)));
    }

    fn message(&self, namespace: &[u8]) -> u64 {
        let namespace = text::key(namespace);
        let mut open = self.open.iter();
        open.find(|(open, _)| *open == namespace)
            .map_or(0, |(_, message)| *message)
    }
}

/// Returns the meaning of an event of the protocol, or `None` for any other frame.
pub(super) fn classify(frame: &Frame<'_>, seen: &mut Seen, state: &mut State) -> Option<Event> {
    let data = frame.data();
    // A cheap check: most other frames fail it at their first byte.
    if !data.starts_with(b"{") || memmem::find(data, b"\"method\"").is_none() {
        return None;
    }
    let fields = Fields::read(data)?;
    if fields.kind != b"event" || !fields.has_params {
        return None;
    }
    let of = |class, content| {
        Some(Event {
            content,
            ..Event::bare(class)
        })
    };
    match fields.method {
        b"messages" => fields.message(frame, seen, state),
        b"tools" => of(Class::Tool, Content::Tool),
        b"values" => {
            let event = of(Class::State, Content::Other)?;
            let key = text::key((fields.namespace, seen.key(&fields.envelope)));
            Some(text::superseded(event, frame, key))
        }
        b"updates" | b"input.requested" => of(Class::State, Content::Other),
        b"lifecycle" if fields.event == b"failed" && fields.is_of_the_run() => {
            Some(Event::bare(Class::Error).ending(Terminal::MayFail))
        }
        b"checkpoints" | b"lifecycle" | b"tasks" => of(Class::State, Content::Other),
        // The application's own data.
        b"custom" => of(Class::Opaque, Content::Other).map(|event| event.on(Side::Application)),
        _ => None,
    }
}

/// The contents of one event.
#[derive(Debug, Default)]
struct Fields<'a> {
    kind: &'a [u8],
    method: &'a [u8],
    has_params: bool,
    namespace: &'a [u8],
    /// The step in the life of a message, such as `message-start`.
    event: &'a [u8],
    /// The `type` of a content block.
    block: &'a [u8],
    /// The `type` of a delta.
    delta: &'a [u8],
    text: Option<Range<usize>>,
    usage: Option<Usage>,
    message: &'a [u8],
    /// The index of the block in its message.
    index: u64,
    /// What must be equal outside `data` before two events are merged.
    envelope: Beside,
    /// What must be equal in `data`. A snapshot of the state is replaced by the next one whatever it holds.
    beside: Beside,
    /// How many texts there are.
    texts: usize,
    /// Whether there is something that a merge would lose.
    crowded: bool,
}

impl<'a> Fields<'a> {
    /// Reports whether the event is one of the run itself, not of a subgraph: its namespace is an empty list.
    fn is_of_the_run(&self) -> bool {
        let namespace = self.namespace;
        namespace
            .iter()
            .all(|byte| matches!(byte, b'[' | b']' | b' '))
    }

    fn read(data: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(data);
        reader.object(|reader, key| {
            match key {
                b"type" => fields.kind = reader.word()?,
                b"method" => fields.method = reader.word()?,
                b"params" => {
                    fields.has_params = reader.object(|reader, key| fields.param(reader, key))?;
                }
                // These differ in every event.
                b"seq" | b"event_id" => reader.skip()?,
                _ => fields.envelope.add(key, reader.raw()?),
            }
            Some(())
        })?;
        reader.end()?;
        Some(fields)
    }

    fn param(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"namespace" => self.namespace = reader.raw()?,
            b"timestamp" => reader.skip()?,
            b"data" => {
                reader.object(|reader, key| {
                    match key {
                        b"event" => self.event = reader.word()?,
                        b"usage" => {
                            self.crowded |= reader.clone().says_something()?;
                            self.usage = reader.usage()?;
                        }
                        b"id" | b"message_id" => {
                            let raw = reader.raw()?;
                            self.message = Reader::new(raw).word()?;
                            self.beside.same(key, raw);
                        }
                        b"index" => self.index = self.beside.number(reader, key)?,
                        b"content" => {
                            let raw = reader.raw()?;
                            self.beside.same(key, raw);
                            Reader::new(raw).object(|reader, key| {
                                match key {
                                    b"type" => self.block = reader.word()?,
                                    _ => reader.skip()?,
                                }
                                Some(())
                            })?;
                        }
                        b"delta" => {
                            reader.object(|reader, key| self.delta(reader, key))?;
                        }
                        _ => self.beside.add(key, reader.raw()?),
                    }
                    Some(())
                })?;
            }
            _ => self.envelope.add(key, reader.raw()?),
        }
        Some(())
    }

    fn delta(&mut self, reader: &mut Reader<'a>, key: &'a [u8]) -> Option<()> {
        match key {
            b"type" => self.delta = self.beside.word(reader, key)?,
            b"text" | b"reasoning" | b"args" if reader.kind()? == Kind::String => {
                self.text = reader.string()?;
                self.texts += 1;
                self.beside.tag(text::key(key));
            }
            _ => self.beside.add(key, reader.raw()?),
        }
        Some(())
    }

    fn message(&self, frame: &Frame<'_>, seen: &mut Seen, state: &mut State) -> Option<Event> {
        if self.event == b"message-start" {
            state.begin(self.namespace, self.message);
        }
        let message = state.message(self.namespace);
        let lane = text::key((message, self.index));
        let (class, content) = match (self.event, self.delta) {
            (b"content-block-delta", b"text-delta") => (Class::Token, Content::Token),
            (b"content-block-delta", b"reasoning-delta") => (Class::Reasoning, Content::Reasoning),
            (b"content-block-delta", b"tool-call-delta" | b"block-delta") => {
                (Class::Tool, Content::Tool)
            }
            (b"message-start" | b"content-block-start" | b"content-block-finish", _) => {
                let side = if self.block == b"reasoning" {
                    Side::Reasoning
                } else if self.block.windows(4).any(|part| part == b"tool") {
                    Side::Tool
                } else {
                    Side::Answer
                };
                return Some(Event::bare(Class::Structure).in_lane(lane).on(side));
            }
            // The end of one message, not of the run.
            (b"message-finish", _) => {
                return Some(Event {
                    usage: self.usage.map(|usage| Usage {
                        call: message,
                        ..usage
                    }),
                    ..Event::bare(Class::Finish)
                });
            }
            (b"error", _) => return Some(Event::bare(Class::Error).ending(Terminal::MayFail)),
            _ => return None,
        };
        seen.note_need(&self.beside);
        let Some(range) = self.text.clone() else {
            return Some(Event {
                content,
                ..Event::bare(class)
            });
        };
        let event = text::event(frame, class, content, range).in_lane(lane);
        let beside = (seen.key(&self.envelope), seen.key(&self.beside));
        if self.crowded || self.texts > 1 {
            return Some(event);
        }
        let key = (self.delta, self.namespace, lane, beside);
        Some(text::joining(event, Keep::Last, text::key(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Classifier, Dialect};
    use crate::wire::{Decoder, Framing};

    #[test]
    fn a_run_that_fails_has_failed() {
        let read = |namespace: &str, event: &str| {
            let block = format!(
                "event: lifecycle\ndata: {{\"type\":\"event\",\"method\":\"lifecycle\",\"params\":{{\"namespace\":{namespace},\"data\":{{\"event\":\"{event}\"}}}}}}\n\n"
            );
            let mut found = None;
            let mut keep = |frame: Frame<'_>| {
                found = Some(*Classifier::new(Dialect::LangGraph).classify(&frame, &mut None));
            };
            Decoder::new(Framing::Sse, 1 << 10)
                .feed(block.as_bytes(), &mut keep)
                .unwrap();
            let event = found.unwrap();
            (event.class, event.terminal)
        };
        let failed = (Class::Error, Some(Terminal::MayFail));
        assert_eq!(read("[]", "failed"), failed);
        // A subgraph's failure may be caught.
        assert_eq!(read("[\"a:1\"]", "failed"), (Class::State, None));
        assert_eq!(read("[]", "completed"), (Class::State, None));
    }
}
