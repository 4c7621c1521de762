//! The texts of a stream: when each ends or begins anew, and when what is held back of it leaves.

use std::borrow::Cow;

use super::markers::Kind;
use super::scan::{Scanner, Visible};
use super::{Filter, MAX_TEMPLATE_BYTES, add, block_of, rewrite_text};
use crate::dialect::Dialect;
use crate::event::{Class, Content, Event, Step, TextsOver};
use crate::wire::{Frame, Framing};

/// The scan of one text. A stream may interleave several texts.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: u64,
    pub(super) scanner: Scanner,
    /// A hidden call began, and the client was not told yet because the name of the tool may follow.
    pub(super) untold: bool,
    /// The last event of this text: the template for an event that carries what is still held when the text ends.
    pub(super) last: Option<(Frame<'static>, Event)>,
}

impl Lane {
    /// Reports whether its template is large even without a text. A stream keeps one of these.
    pub(super) fn has_large_template(&self) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|(frame, _)| frame.block.len() > MAX_TEMPLATE_BYTES)
    }
}

impl Filter {
    /// Releases the text that `event` ends or interrupts, before `event` itself is sent.
    pub(super) fn flush_before(
        &mut self,
        dialect: Dialect,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        if event.texts_over == TextsOver::All {
            for at in 0..self.lanes.len() {
                self.interrupt(at, sink);
            }
        }
        if event.class == Class::Tool
            || event.content == Content::Tool
            || event.texts_over != TextsOver::None
        {
            self.begin_anew(event.lane, sink);
        }
        if event.text.is_some() && event.content == Content::Token {
            // The text goes on, even if this is its last piece.
            return;
        }
        // A possible end of one agent's text is none of the others'.
        let is_of_one = event.texts_over == TextsOver::InLane && event.lane != 0;
        let ends_all = matches!(event.class, Class::Done | Class::Error)
            || (event.ends_stream() && !is_of_one);
        let Some(at) = self.lanes.iter().position(|lane| lane.id == event.lane) else {
            if ends_all || event.class == Class::Finish {
                self.finish(sink);
            }
            return;
        };
        if ends_all {
            self.finish(sink);
            return;
        }
        // In the other dialects an empty piece of text has the same class as the end of a text.
        let has_brackets = dialect.hide_facts().closes_texts;
        let is_end = event.class == Class::Finish
            || event.texts_over == TextsOver::InLane
            || (event.class == Class::Structure && has_brackets)
            || event.call.is_some_and(|call| call.step == Step::Ends);
        if is_end {
            let lane = self.lanes.remove(at);
            self.end(lane, sink);
        } else if event.class == Class::Tool
            || (event.class == Class::Structure && event.content != Content::None)
        {
            self.interrupt(at, sink);
        }
    }

    /// Lets texts begin anew after an event that is in another lane, `own`: a model writes again after its tool has
    /// answered, and few dialects say to which text the tool belonged. What is held back of the only text leaves now,
    /// unless the event is known to be another's. Of several texts nobody can say which one it interrupts, so what may
    /// become a marker stays held.
    fn begin_anew(&mut self, own: u64, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        let only = self.lanes.len() == 1 && own == 0;
        for at in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(at) else {
                return;
            };
            if lane.id == own || !lane.scanner.is_visible() {
                continue;
            }
            if only {
                self.interrupt(at, sink);
            } else if !lane.scanner.holds() {
                lane.scanner.restart(&self.rules.marks);
            }
        }
    }

    /// Releases the held part of a text that another event interrupts, because it cannot become a marker any more, and
    /// lets the text begin anew. Inside a hidden span it goes on.
    pub(super) fn interrupt(&mut self, at: usize, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        let mut visible = Visible::of(b"");
        let Some(lane) = self
            .lanes
            .get_mut(at)
            .filter(|lane| lane.scanner.is_visible())
        else {
            return;
        };
        lane.scanner.finish(&mut visible);
        lane.scanner.restart(&self.rules.marks);
        let last = lane.last.take();
        self.carry(last, visible.changed(), sink);
    }

    /// Releases what is held back of texts whose templates are large, so that a stream keeps only one of these.
    pub(super) fn release_large_templates(&mut self, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        for at in 0..self.lanes.len() {
            if self.lanes.get(at).is_some_and(Lane::has_large_template) {
                self.interrupt(at, sink);
            }
            if let Some(lane) = self
                .lanes
                .get_mut(at)
                .filter(|lane| lane.has_large_template())
            {
                // Within a hidden span nothing that is held is visible.
                lane.last = None;
            }
        }
    }

    /// Ends a text: sends what is held of it in an event like its last one.
    pub(super) fn end(&mut self, mut lane: Lane, sink: &mut impl FnMut(Cow<'_, [u8]>, &Event)) {
        let mut visible = Visible::of(b"");
        lane.scanner.finish(&mut visible);
        add(&mut self.hidden.characters, lane.scanner.hidden);
        if lane.untold {
            self.note_run(Kind::Tool, None, sink);
        }
        self.carry(lane.last, visible.changed(), sink);
    }

    /// Sends a text, if there is one, in an event like the one given.
    pub(super) fn carry(
        &self,
        like: Option<(Frame<'static>, Event)>,
        text: Option<Vec<u8>>,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let (Some((frame, event)), Some(text)) = (like, text) else {
            return;
        };
        let Some((mut frame, event)) = rewrite_text::with_text(&frame, &event, text) else {
            return;
        };
        // Everything else in that event was sent with the event itself.
        let mut event = Event {
            usage: None,
            terminal: None,
            call: None,
            ..event
        };
        if self.framing == Framing::JsonArray && !frame.block.starts_with(b",") {
            // The template is the first element of the array, so it needs a comma now.
            frame.block = Cow::Owned([b",\n", &*frame.block].concat());
            frame.data = None;
            event = Event {
                text: None,
                merge: None,
                ..event
            };
        }
        let (frame, event) = self
            .reindex
            .counted(self.reader.dialect(), Cow::Owned(frame), event);
        sink(block_of(frame), &event);
    }
}
