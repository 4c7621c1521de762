//! Filters data of any shape, in which the application may repeat what the model wrote: its own events, events that the
//! dialect does not know, and members of others.

mod data;
mod lanes;
mod leaves;
mod nested;
mod read;

use std::borrow::Cow;

use data::touches;
pub(super) use lanes::Lanes;
pub(super) use read::Copies;
use read::{Copy, Data};

use super::markers::Kind;
use super::redact::Redactor;
use super::{Filter, add, block_of, edit};
use crate::dialect::Dialect;
use crate::event::{Class, Content, Event, Span};
use crate::wire::{Frame, Payload};

impl Filter {
    /// Filters an event with data of any shape, which may repeat what the model wrote. It is never merged or dropped for
    /// a slow client, whatever it repeats.
    pub(super) fn take_copy<'f>(
        &mut self,
        dialect: Dialect,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let (flat, _) = edit::flat(frame);
        match self.copies.read(dialect, &flat, event) {
            Copy::Data(data) => self.take_data(flat, event, &data, sink),
            Copy::Tells(kind) if self.rules.of(kind).hides() => {
                self.leave_out(kind, flat.data(), &flat, sink);
            }
            Copy::Tells(_) => self.take_data(flat, event, &Data::default(), sink),
            Copy::Unreadable => {
                let kind = if self.rules.reasoning.hides() {
                    Kind::Reasoning
                } else {
                    Kind::Tool
                };
                self.leave_out(kind, flat.data(), &flat, sink);
            }
            Copy::Carried(dialect, inner) => {
                self.take_carried(flat, event, (dialect, &inner), sink);
            }
        }
    }

    /// Filters an event that carries one of the model's provider, `inner`, as that provider's own stream is filtered.
    fn take_carried<'f>(
        &mut self,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        (dialect, inner): (Dialect, &Event),
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        self.flush_before(dialect, inner, sink);
        self.end_spans(inner, sink);
        // A copy need not be kept for the text beside a call.
        let is_call = inner.class == Class::Tool && self.rules.tools.hides();
        let kind = self
            .side(dialect, inner)
            .or_else(|| is_call.then_some(Kind::Tool));
        if let Some(kind) = kind {
            let hidden = inner
                .text
                .map_or(b"".as_slice(), |text| text.of(&frame.block));
            self.leave_out(kind, hidden, &frame, sink);
            return;
        }
        let start = match &frame.data {
            Some(Payload::InBlock(span)) => span.start as usize,
            _ => 0,
        };
        let is_text = inner.content == Content::Token;
        let place = inner
            .text
            .filter(|_| is_text)
            .and_then(|text| text.within(start));
        // First what is hidden whatever the text is: what is held of it leaves in an event like this one.
        let redacted = Redactor {
            reasoning: self.rules.reasoning.hides(),
            tools: self.rules.tools.hides(),
            marks: Some(&self.rules.marks),
            skip: place.as_slice(),
            beside: &[],
            traces: false,
            all_texts: false,
            is_state: inner.class == Class::State,
        }
        .run(frame.data());
        add(&mut self.hidden.characters, redacted.hidden);
        let text = place
            .filter(|place| !touches(&redacted.edits, place))
            .and_then(|place| {
                let moved = edit::moved(&redacted.edits, place.start);
                let at = (start + place.start).checked_add_signed(moved)?;
                Span::new(at..at + place.len())
            });
        let changed = (!redacted.edits.is_empty()).then(|| edit::apply(&frame, &redacted.edits));
        let frame: Cow<'f, Frame<'f>> = match changed.flatten() {
            Some(changed) => Cow::Owned(changed),
            None => frame,
        };
        let had_text = text.is_some_and(|text| !text.is_empty());
        let text = Event {
            class: event.class,
            content: event.content,
            side: event.side,
            text,
            ..*inner
        };
        let Some((frame, text)) = self.without_marks(frame, text, sink) else {
            return;
        };
        if had_text && text.text.is_some_and(Span::is_empty) {
            return;
        }
        let merge = event.merge.filter(|_| matches!(frame, Cow::Borrowed(_)));
        sink(block_of(frame), &Event { merge, ..*event });
    }
}
