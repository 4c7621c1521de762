//! Reads an event of the application: an event of the model's provider that it carries, or data of any shape with a
//! piece of text in it.

use std::ops::Range;

use super::super::markers::Kind;
use super::leaves::{Leaves, key};
use crate::dialect::{Classifier, Dialect, detect};
use crate::event::{Class, Event, Span};
use crate::wire::json::{Cursor, Kind as Value};
use crate::wire::{Frame, Payload};

/// What an event of the application holds.
#[derive(Debug)]
pub(super) enum Copy {
    /// Data, with this text.
    Data(Text),
    /// An event of this dialect, with its lane and its place in the block.
    Carried(Dialect, Event),
    /// Something of this kind, by its own words.
    Tells(Kind),
    /// Text in a form that cannot be searched, such as JSON within a string.
    Unreadable,
}

/// The text in data of any shape.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// Identifies the text, which goes on from event to event.
    pub(super) lane: u64,
    /// Where its pieces lie in the payload, in order; none if there is no text.
    pub(super) pieces: Vec<Range<usize>>,
    /// Where other strings lie, which may repeat it.
    pub(super) others: Vec<Range<usize>>,
}

/// Reads the application's events in one stream.
#[derive(Debug, Default)]
pub(in crate::filter) struct Copies {
    /// Classifies the provider's events that others carry.
    provider: Option<Classifier>,
}

impl Copies {
    /// Reads an event of `dialect` whose payload only the application understands.
    pub(super) fn read(&mut self, dialect: Dialect, frame: &Frame<'_>) -> Copy {
        let span = match &frame.data {
            Some(Payload::InBlock(span)) => span,
            // Plain text in several lines.
            Some(Payload::Joined(_)) => return Copy::Unreadable,
            None => return Copy::Data(Text::default()),
        };
        let data = frame.data();
        let carried = dialect
            .hide_facts()
            .carries
            .and_then(|carries| carried(data, carries.kind, carries.member));
        if let Some(range) = carried
            && let Some((dialect, inner)) = self.inner(data.get(range.clone()).unwrap_or_default())
        {
            let start = span.start as usize + range.start;
            let is_last = matches!(inner.class, Class::Done | Class::Error);
            return Copy::Carried(
                dialect,
                Event {
                    class: if is_last { Class::Opaque } else { inner.class },
                    text: inner.text.and_then(|text| text.shifted(start)),
                    lane: key("carried", inner.lane),
                    merge: None,
                    varying: None,
                    terminal: None,
                    ..inner
                },
            );
        }
        let mut leaves = Leaves::default();
        let path = key("payload", frame.name());
        let mut cursor = Cursor::new(data);
        let read = leaves.read(data, &mut cursor, b"", path, 0);
        if read.is_none() || !cursor.at_end() {
            // It is not JSON: all of it is text.
            return Copy::Data(Text {
                lane: path,
                pieces: std::iter::once(0..data.len()).collect(),
                others: Vec::new(),
            });
        }
        if let Some(kind) = leaves.tells {
            return Copy::Tells(kind);
        }
        if leaves.nested {
            return Copy::Unreadable;
        }
        let Some(best) = leaves.best else {
            return Copy::Data(Text::default());
        };
        Copy::Data(Text {
            lane: key(best.path, leaves.names),
            pieces: best.pieces,
            others: leaves.others,
        })
    }

    /// Returns the meaning of a provider's event and its dialect, `None` if no dialect knows it.
    fn inner(&mut self, inner: &[u8]) -> Option<(Dialect, Event)> {
        let frame = Frame {
            block: inner.into(),
            name: None,
            data: Some(Payload::InBlock(Span::new(0..inner.len())?)),
            whole: true,
            raw: false,
        };
        let known = self.provider.as_ref().map(Classifier::dialect);
        if !known.is_some_and(|known| detect::fits(known, &frame)) {
            let dialect = detect::from_any_frame(&frame);
            if dialect.is_opaque() {
                return None;
            }
            self.provider = Some(Classifier::new(dialect));
        }
        let provider = self.provider.as_mut()?;
        let event = *provider.classify(&frame, &mut None);
        (event.class != Class::Opaque).then_some((provider.dialect(), event))
    }
}

/// Returns where the event lies that an object of this `kind` carries in `member`.
fn carried(data: &[u8], kind: &[u8], member: &[u8]) -> Option<Range<usize>> {
    let mut cursor = Cursor::new(data);
    cursor.enter_object()?;
    let (mut found, mut is_kind) = (None, false);
    while let Some(name) = cursor.next_key()? {
        if name == b"type" {
            let word = cursor.string_or_skip()?;
            is_kind = word.and_then(|range| data.get(range)) == Some(kind);
        } else if name == member && cursor.kind()? == Value::Object {
            found = Some(cursor.skip()?);
        } else {
            cursor.skip()?;
        }
    }
    found.filter(|_| is_kind)
}
