//! Lines of a code, a colon and JSON, as the AI SDK of version 4 writes them.
//!
//! The lines themselves are those of [`super::ndjson`]; the code becomes the name of the frame.

use memchr::memchr;

use super::{Frame, Payload};
use crate::event::Span;

/// The same line, parted at its colon. A line without one is left as it is.
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
