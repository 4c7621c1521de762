//! Splits lines of a code, a colon and JSON, as AI SDK version 4 writes them.
//!
//! [`super::ndjson`] finds the lines; the code becomes the name of the frame.

use memchr::memchr;

use super::{Frame, Payload};
use crate::event::Span;

/// Splits the line at its first colon into name and payload. A line without a colon is returned unchanged.
pub(super) fn part(frame: Frame<'_>) -> Frame<'_> {
    let Some(colon) = memchr(b':', frame.data()) else {
        return frame;
    };
    let end = frame.data().len();
    let name = Span::new(0..colon);
    let data = Span::new(colon + 1..end).map(Payload::InBlock);
    Frame {
        name,
        data,
        ..frame
    }
}
