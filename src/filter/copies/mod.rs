//! Filters the application's own events, in which it may repeat what the model wrote.

mod leaves;
mod read;

use std::borrow::Cow;

pub(super) use read::Copies;
use read::Copy;

use super::markers::Kind;
use super::redact::Redactor;
use super::{Filter, add, block_of, edit};
use crate::dialect::Dialect;
use crate::event::{Class, Content, Event, Span};
use crate::wire::{Frame, Payload};

impl Filter {
    /// Filters an event of the application, which may repeat what the model wrote. It is never merged or dropped for
    /// a slow client, whatever it repeats.
    pub(super) fn take_copy<'f>(
        &mut self,
        dialect: Dialect,
        frame: Cow<'f, Frame<'f>>,
        event: &Event,
        sink: &mut impl FnMut(Cow<'_, [u8]>, &Event),
    ) {
        let (flat, _) = edit::flat(frame);
        let (text, is_carried) = match self.copies.read(dialect, &flat, event) {
            Copy::Data(text) => (text, false),
            Copy::Tells(kind) if self.rules.of(kind).hides() => {
                self.leave_out(kind, flat.data(), &flat, sink);
                return;
            }
            Copy::Tells(_) => (*event, false),
            Copy::Unreadable => {
                let kind = if self.rules.reasoning.hides() {
                    Kind::Reasoning
                } else {
                    Kind::Tool
                };
                self.leave_out(kind, flat.data(), &flat, sink);
                return;
            }
            Copy::Carried(dialect, inner) => {
                self.flush_before(dialect, &inner, sink);
                // A copy need not be kept for the text beside a call.
                let is_call = inner.class == Class::Tool && self.rules.tools.hides();
                let kind = self
                    .side(dialect, &inner)
                    .or_else(|| is_call.then_some(Kind::Tool));
                if let Some(kind) = kind {
                    let hidden = inner
                        .text
                        .map_or(b"".as_slice(), |text| text.of(&flat.block));
                    self.leave_out(kind, hidden, &flat, sink);
                    return;
                }
                let is_text = inner.content == Content::Token;
                let text = Event {
                    class: event.class,
                    content: event.content,
                    side: event.side,
                    text: inner.text.filter(|_| is_text),
                    ..inner
                };
                (text, true)
            }
        };
        let had_text = text.text.is_some_and(|text| !text.is_empty());
        let Some((frame, text)) = self.without_marks(flat, text, sink) else {
            return;
        };
        if is_carried && had_text && text.text.is_some_and(Span::is_empty) {
            return;
        }
        let start = match &frame.data {
            Some(Payload::InBlock(span)) => span.start as usize,
            _ => 0,
        };
        let scrub = Redactor {
            reasoning: self.rules.reasoning.hides(),
            tools: self.rules.tools.hides(),
            marks: Some(&self.rules.marks),
            skip: text.text.and_then(|text| text.within(start)),
            traces: false,
            all_texts: !is_carried,
        };
        let scrubbed = scrub.run(frame.data());
        add(&mut self.hidden.characters, scrubbed.hidden);
        match edit::apply(&frame, &scrubbed.edits).filter(|_| !scrubbed.edits.is_empty()) {
            Some(changed) => sink(
                changed.block,
                &Event {
                    merge: None,
                    ..*event
                },
            ),
            None => {
                let merge = event.merge.filter(|_| matches!(frame, Cow::Borrowed(_)));
                sink(block_of(frame), &Event { merge, ..*event });
            }
        }
    }
}
