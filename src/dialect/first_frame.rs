//! The first frame of a stream, parsed once so that every dialect can inspect it.

use super::Dialect;
use super::beside::Seen;
use super::reader::Reader;
use crate::event::{Class, Side};
use crate::wire::{Frame, Payload};

/// How many members of the first object are kept. Real events have fewer.
const MAX_MEMBERS: usize = 48;

/// A frame and the members of its JSON object.
#[derive(Debug)]
pub(super) struct FirstFrame<'a> {
    frame: &'a Frame<'a>,
    /// Keys and raw values; `None` if the payload is not an object.
    members: Option<Vec<(&'a [u8], &'a [u8])>>,
}

impl<'a> FirstFrame<'a> {
    pub(super) fn new(frame: &'a Frame<'a>) -> Self {
        Self {
            frame,
            members: members(frame.data()),
        }
    }

    pub(super) const fn frame(&self) -> &Frame<'_> {
        self.frame
    }

    /// Returns the event name, empty if there is none.
    pub(super) fn name(&self) -> &[u8] {
        self.frame.name()
    }

    /// Reports whether the payload is an object.
    pub(super) const fn is_object(&self) -> bool {
        self.members.is_some()
    }

    /// Reports whether the frame is a single line (NDJSON) instead of an SSE block.
    pub(super) fn is_line(&self) -> bool {
        matches!(self.frame.data, Some(Payload::InBlock(span)) if span.start == 0)
    }

    /// Returns the raw value of a member, empty if there is none.
    pub(super) fn raw(&self, key: &str) -> &'a [u8] {
        let mut members = self.members.iter().flatten();
        members
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| *value)
            .unwrap_or_default()
    }

    /// Returns the raw body of a string member, empty for any other value.
    pub(super) fn word(&self, key: &str) -> &'a [u8] {
        let body = self.raw(key).strip_prefix(b"\"");
        body.and_then(|body| body.strip_suffix(b"\""))
            .unwrap_or_default()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        !self.raw(key).is_empty()
    }

    pub(super) fn has_object(&self, key: &str) -> bool {
        self.raw(key).starts_with(b"{")
    }

    pub(super) fn has_array(&self, key: &str) -> bool {
        self.raw(key).starts_with(b"[")
    }

    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.members.as_ref().map_or(0, Vec::len)
    }

    /// Reports whether all members, each given as its key and raw value, are as `wanted`.
    pub(super) fn all(&self, wanted: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let mut members = self.members.iter().flatten();
        members.all(|(key, raw)| wanted(key, raw))
    }

    /// Reports whether `dialect` recognises the frame.
    pub(super) fn is_understood(&self, dialect: Dialect) -> bool {
        is_understood(dialect, self.frame)
    }
}

/// Reports whether `dialect` recognises `frame`.
pub(super) fn is_understood(dialect: Dialect, frame: &Frame<'_>) -> bool {
    let event = dialect.parser().classify(frame, &mut Seen::default());
    event.is_some_and(|event| event.class != Class::Opaque)
}

/// Reports whether `dialect` has a place for `frame`: it recognises it, or knows that it is the application's own.
pub(super) fn has_place(dialect: Dialect, frame: &Frame<'_>) -> bool {
    let event = dialect.parser().classify(frame, &mut Seen::default());
    event.is_some_and(|event| event.class != Class::Opaque || event.side == Side::Application)
}

fn members(data: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut members = Vec::new();
    let mut reader = Reader::new(data);
    let is_object = reader.object(|reader, key| {
        let value = reader.raw()?;
        if members.len() < MAX_MEMBERS {
            members.push((key, value));
        }
        Some(())
    })?;
    reader.end()?;
    is_object.then_some(members)
}
