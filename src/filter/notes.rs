//! Counts what was left out, and tells the client of it where the route says so.

use std::borrow::Cow;

use super::markers::Kind;
use super::{Filter, Hide, characters, tool_name};
use crate::event::{Class, Content, Event};
use crate::wire::Frame;

impl Filter {
    /// Notes an event that does not leave, and what it hides.
    pub(super) fn leave_out(
        &mut self,
        kind: Kind,
        hidden: &[u8],
        frame: &Frame<'_>,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        if let Some(total) = self.hidden.characters.get_mut(kind as usize) {
            *total += characters(hidden);
        }
        self.note_event(kind, frame, sink);
    }

    /// Notes that an event, or the part of it that is of `kind`, is left out.
    pub(super) fn note_event(
        &mut self,
        kind: Kind,
        frame: &Frame<'_>,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let is_told = kind == Kind::Tool && self.rules.tools == Hide::Status;
        let name = is_told.then(|| tool_name::in_event(frame.data())).flatten();
        self.note_run(kind, name, sink);
    }

    /// Notes that output of `kind` is left out. If the route sends statuses, the client gets one for the first output
    /// left out after something visible, and one for each other tool name.
    pub(super) fn note_run(
        &mut self,
        kind: Kind,
        name: Option<&str>,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let goes_on = self.run == Some(kind);
        if goes_on && name.is_none_or(|name| name == self.told) {
            return;
        }
        self.run = Some(kind);
        name.unwrap_or_default().clone_into(&mut self.told);
        if let Some(spans) = self.hidden.spans.get_mut(kind as usize) {
            *spans += u64::from(!goes_on);
        }
        if self.rules.of(kind) != Hide::Status {
            return;
        }
        let words = match (kind, name) {
            (Kind::Reasoning, _) => "Thinking...".to_owned(),
            (Kind::Tool, None) => "Using a tool...".to_owned(),
            (Kind::Tool, Some(name)) => format!("Using {name}..."),
        };
        if let Some(block) = self.reader.dialect().status(self.framing, &words) {
            let event = Event {
                content: Content::Other,
                ..Event::bare(Class::Status)
            };
            sink(block.into_bytes().into(), &event);
        }
    }
}
