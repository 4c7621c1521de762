//! LangGraph Platform: the event name is a stream mode. A run may be streamed in several modes at once.
//!
//! This file finds the mode, and reads ends and errors. Everything else is in one file for each group of modes:
//! `messages`, `state` and `actions`; `protocol` is the thread protocol, which has these modes in frames of its own.

mod actions;
mod messages;
mod protocol;
mod state;

use actions::custom;
use messages::pair;

use super::langchain::{Message, Messages, usage};
use super::{Reading, langserve};
use crate::event::Event;
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{is_json, member, string, word};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct LangGraph {
    messages: Messages,
    /// What the mode `events` holds; `None` before its first event.
    objects: Option<Box<langserve::LangServe>>,
    /// Hashes of the interrupts that were told.
    interrupts: Vec<u64>,
    /// Whether a snapshot of the state was seen.
    has_snapshot: bool,
    /// In the thread protocol: the message that each namespace writes.
    open: Vec<(Vec<u8>, Vec<u8>)>,
    /// In the thread protocol: hashes of the content blocks whose text comes in pieces.
    blocks: Vec<u64>,
}

impl Reading for LangGraph {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if data.starts_with(b"{")
            && word(data, &["type"]) == b"event"
            && let Some(method) = member(data, "method").and_then(string)
        {
            return self.protocol(method, data, event, parts);
        }
        let mut path = frame.name().split(|byte| *byte == b'|');
        match path.next().unwrap_or_default() {
            b"messages" | b"messages-tuple" => self.message(data, event, parts),
            b"messages/partial" => {
                let (message, _) = pair(data);
                let message = Message::read(message);
                self.messages.partial(message.id, &message, parts);
                usage(event, message.counts(), parts);
            }
            b"messages/complete" => {
                let (message, _) = pair(data);
                let message = Message::read(message);
                self.messages.whole(message.id, &message, parts);
            }
            b"metadata" => parts(Part::Start {
                run: word(data, &["run_id"]).into(),
                thread: word(data, &["thread_id"]).into(),
                model: b"".into(),
            }),
            b"updates" => self.updates(data, parts),
            b"values" => self.values(data, parts),
            b"custom" => custom(data, parts),
            b"tasks" => self.task(data, parts),
            b"tools" => self.tool(data, parts),
            b"events" => (self.objects.get_or_insert_default()).read(frame, event, parts),
            b"error" => parts(error(data)),
            b"end" => self.end(Reason::Stop, parts),
            name if is_json(data) => parts(Part::Raw {
                name: name.into(),
                data: data.into(),
            }),
            _ => {}
        }
    }
}

impl LangGraph {
    fn end(&mut self, reason: Reason, parts: &mut dyn FnMut(Part<'_>)) {
        self.messages.close_all(parts);
        let reason = match reason {
            Reason::Stop if !self.interrupts.is_empty() => Reason::Interrupt,
            reason => reason,
        };
        parts(Part::Finish {
            reason,
            scope: Scope::Run,
        });
    }
}

fn error(data: &[u8]) -> Part<'_> {
    let message = word(data, &["message"]);
    let code = word(data, &["error"]);
    if message.is_empty() {
        // Older servers put all of it in one member.
        return Part::Error {
            code: b"".into(),
            message: code.into(),
        };
    }
    Part::Error {
        code: code.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    pub(super) fn read(bytes: &[u8]) -> Vec<Part<'static>> {
        let mut reading = LangGraph::default();
        parts_of(&mut reading, Dialect::LangGraph, Framing::Sse, bytes)
    }

    #[test]
    fn cumulative_messages_tell_what_they_add() {
        let parts = read(&fixture("langgraph", "partials.sse"));
        assert_eq!(text_of(&parts), "RainB");
        assert!(parts.contains(&Part::Interrupt {
            id: b"".into(),
            reason: b"interrupt".into(),
            payload: b"\"ok?\"".into(),
        }));
    }
}
