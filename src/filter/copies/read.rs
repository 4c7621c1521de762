//! Reads an event of the application: an event of the model's provider that it carries, or data of any shape with a
//! piece of text in it.

use std::ops::Range;

use super::super::markers::Kind;
use super::leaves::{Leaf, Leaves, key};
use super::nested;
use crate::dialect::{Classifier, Dialect, detect};
use crate::event::{Class, Event, Side, Span};
use crate::wire::json::{Cursor, Kind as Value};
use crate::wire::{Frame, Payload};

/// What an event of the application holds.
#[derive(Debug)]
pub(super) enum Copy {
    /// Data, with these texts.
    Data(Data),
    /// An event of this dialect, with its lane and its place in the block.
    Carried(Dialect, Event),
    /// Something of this kind, by its own words.
    Tells(Kind),
    /// Text in a form that cannot be searched, such as JSON within a string.
    Unreadable,
}

/// Data of any shape.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) texts: Vec<Text>,
    /// Strings for whose places there was no room: they are scanned each by itself.
    pub(super) rest: Vec<Range<usize>>,
    /// What the data says that it is, if that is a thought or a call.
    pub(super) tells: Option<Kind>,
    /// What cannot be searched, and what is empty in its place.
    pub(super) unread: Vec<(Range<usize>, &'static [u8])>,
    /// Whether it takes the place of what an earlier event said, so that its texts are whole.
    pub(super) is_whole: bool,
}

/// A text in data of any shape.
#[derive(Debug)]
pub(super) struct Text {
    /// Identifies the text, which goes on from event to event.
    pub(super) lane: u64,
    /// Where its pieces lie in the payload, in order.
    pub(super) pieces: Vec<Range<usize>>,
}

/// Reads the application's events in one stream.
#[derive(Debug, Default)]
pub(in crate::filter) struct Copies {
    /// Classifies the provider's events that others carry.
    provider: Option<Classifier>,
}

impl Data {
    /// Takes what was found in the part of a payload with this number.
    fn of(leaves: Leaves, lane: u64) -> Self {
        let part = key(leaves.names, lane);
        let text = |leaf: Leaf| Text {
            lane: key(leaf.path, part),
            pieces: leaf.pieces,
        };
        Self {
            texts: leaves.texts.into_iter().map(text).collect(),
            rest: leaves.rest,
            tells: leaves.tells,
            unread: leaves.unread,
            is_whole: false,
        }
    }

    /// Reads the data in the member `name` of an event in this lane. Its place is `range`.
    pub(super) fn in_member(data: &[u8], name: &[u8], range: &Range<usize>, lane: u64) -> Self {
        let inner = data.get(range.clone()).unwrap_or_default();
        let mut leaves = Leaves {
            is_dialects: true,
            ..Leaves::default()
        };
        let path = key("member", name);
        // The event was read as JSON already.
        let _ = leaves.read(inner, &mut Cursor::new(inner), name, path, 0);
        let mut found = Self::of(leaves, lane);
        let places = (found.texts.iter_mut())
            .flat_map(|text| &mut text.pieces)
            .chain(&mut found.rest)
            .chain(found.unread.iter_mut().map(|(place, _)| place));
        for place in places {
            *place = place.start + range.start..place.end + range.start;
        }
        found
    }
}

impl Copies {
    /// Reads an event of `dialect` whose payload may have any shape.
    pub(super) fn read(&mut self, dialect: Dialect, frame: &Frame<'_>, event: &Event) -> Copy {
        let is_applications = event.side == Side::Application;
        let span = match &frame.data {
            Some(Payload::InBlock(span)) => span,
            // Plain text in several lines.
            Some(Payload::Joined(_)) => return Copy::Unreadable,
            None => return Copy::Data(Data::default()),
        };
        let data = frame.data();
        let carried = dialect
            .hide_facts()
            .carries
            .filter(|_| is_applications)
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
        let mut leaves = Leaves {
            // Of an event that the dialect does not know, any member may be data.
            wraps: match event.side {
                Side::Application | Side::Data => dialect.hide_facts().wraps,
                Side::Answer | Side::Reasoning | Side::Tool => &[],
            },
            is_dialects: event.side == Side::Data,
            ..Leaves::default()
        };
        let path = key("payload", frame.name());
        let mut cursor = Cursor::new(data);
        let read = leaves.read(data, &mut cursor, b"", path, 0);
        if read.is_none() || !cursor.at_end() {
            // It is not JSON: all of it is text.
            let text = Text {
                lane: path,
                pieces: std::iter::once(0..data.len()).collect(),
            };
            return Copy::Data(Data {
                texts: is_applications.then_some(text).into_iter().collect(),
                ..Data::default()
            });
        }
        if is_applications {
            if let Some(kind) = leaves.tells {
                return Copy::Tells(kind);
            }
            if !leaves.unread.is_empty() {
                let is_plain = |(range, _): &(Range<usize>, &[u8])| {
                    nested::is_plain(data.get(range.clone()).unwrap_or_default())
                };
                let asks = asks(data, dialect.hide_facts().asks);
                if !asks || !leaves.unread.iter().all(is_plain) {
                    return Copy::Unreadable;
                }
                leaves.unread.clear();
            }
        }
        // Of an event of the application, the lane may be new with each event.
        let lane = if is_applications { 0 } else { event.lane };
        Copy::Data(Data {
            is_whole: is_snapshot(data),
            ..Data::of(leaves, lane)
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

/// Reports whether an event has this name, under which an agent asks the user something and waits for the answer.
fn asks(data: &[u8], question: &[u8]) -> bool {
    let mut cursor = Cursor::new(data);
    let mut is_question = false;
    let mut read = || {
        cursor.enter_object()?;
        while let Some(name) = cursor.next_key()? {
            let word = cursor.string_or_skip()?.and_then(|range| data.get(range));
            is_question |= name == b"name" && word == Some(question);
        }
        Some(())
    };
    !question.is_empty() && read().is_some() && is_question
}

/// Reports whether an event takes the place of an earlier one: a snapshot of an activity of AG-UI, or a data part of the
/// AI SDK with an id.
fn is_snapshot(data: &[u8]) -> bool {
    let mut cursor = Cursor::new(data);
    let (mut is_snapshot, mut is_part, mut has_id) = (false, false, false);
    let mut read = || {
        cursor.enter_object()?;
        while let Some(name) = cursor.next_key()? {
            match name {
                b"type" => {
                    let word = cursor.string_or_skip()?.and_then(|range| data.get(range));
                    is_snapshot = word == Some(b"ACTIVITY_SNAPSHOT");
                    is_part = word.is_some_and(|word| word.starts_with(b"data-"));
                }
                b"id" => has_id = cursor.string_or_skip()?.is_some(),
                _ => {
                    cursor.skip()?;
                }
            }
        }
        Some(())
    };
    // What is no JSON is no snapshot.
    let _ = read();
    is_snapshot || (is_part && has_id)
}
