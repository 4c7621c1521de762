//! Counts what was left out, and tells the client of it where the route says so.

use std::borrow::Cow;

use super::markers::Kind;
use super::{Filter, Hide, characters, tool_name};
use crate::event::{Class, Content, Event};
use crate::wire::Frame;

/// Output that was left out, which somebody else tells the client of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it was.
    pub kind: Kind,
    /// The tool that is called, if its name is known.
    pub tool: Option<String>,
}

/// Who tells the client what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teller {
    /// The filter, in the words of the stream's dialect.
    Filter,
    /// Whoever takes the notes.
    Other {
        /// Also where the route does not ask for statuses.
        always: bool,
    },
}

impl Filter {
    /// Leaves it to the caller to tell the client what is left out, with [`Filter::take_note`]; `always` also where the
    /// route does not ask for statuses.
    pub const fn leave_notes(&mut self, always: bool) {
        self.teller = Teller::Other { always };
    }

    /// Returns what was left out since the last call, if the client is to be told.
    pub const fn take_note(&mut self) -> Option<Note> {
        self.note.take()
    }

    fn tells(&self, kind: Kind) -> bool {
        self.rules.of(kind) == Hide::Status || self.teller == Teller::Other { always: true }
    }

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
        let is_told = kind == Kind::Tool && self.tells(kind);
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
        if !self.tells(kind) {
            return;
        }
        if self.teller != Teller::Filter {
            self.note = Some(Note {
                kind,
                tool: name.map(str::to_owned),
            });
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
