//! The check of a body: its stamps, and its end.

use crate::ask::Ask;
use crate::stamp::{Finder, Stamp};

/// The end of every body over HTTP, whatever transfer coding a proxy uses.
const DONE: &[u8] = b"data: [DONE]\n\n";
/// The end of such a body if events have ids, which may follow the data.
const DONE_WITH_ID: &[u8] = b"data: [DONE]\nid: ";
/// Holds the last event, with the longest id.
const TAIL: usize = 96;

#[derive(Debug)]
pub(super) struct Body {
    finder: Finder,
    /// The number of stamps so far, which is the sequence number of the next one.
    next: u32,
    gaps: u64,
    wrong: u64,
    tail: [u8; TAIL],
}

impl Default for Body {
    fn default() -> Self {
        Self {
            finder: Finder::default(),
            next: 0,
            gaps: 0,
            wrong: 0,
            tail: [0; TAIL],
        }
    }
}

impl Body {
    /// Returns the number of stamps so far.
    pub(super) fn received(&self) -> u32 {
        self.next
    }

    pub(super) fn feed(&mut self, data: &[u8], found: &mut impl FnMut(Stamp)) {
        let Self {
            finder,
            next,
            gaps,
            wrong,
            ..
        } = self;
        finder.feed(data, |stamp| match stamp {
            Some(stamp) if stamp.sequence >= *next => {
                *gaps += u64::from(stamp.sequence - *next);
                *next = stamp.sequence + 1;
                found(stamp);
            }
            _ => *wrong += 1,
        });
        let length = self.tail.len();
        if let Some(tail) = data.len().checked_sub(length).and_then(|at| data.get(at..)) {
            self.tail.copy_from_slice(tail);
        } else {
            self.tail.copy_within(data.len().., 0);
            self.tail[length - data.len()..].copy_from_slice(data);
        }
    }

    /// Returns what is not as it was asked, once the body has ended.
    pub(super) fn wrong(&self, ask: &Ask) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.wrong > 0 {
            wrong.push("stream with stamps that are repeated or unreadable".to_owned());
        }
        if self.gaps > 0 {
            wrong.push("stream with events missing".to_owned());
        }
        if ask.events > 0 && self.gaps == 0 && self.next != ask.events {
            wrong.push("stream with the wrong number of events".to_owned());
        }
        if ask.message == 0 && !self.is_done() {
            wrong.push("stream that does not end with [DONE]".to_owned());
        }
        wrong
    }

    fn is_done(&self) -> bool {
        self.tail.ends_with(DONE)
            || (self.tail.ends_with(b"\n\n")
                && memchr::memmem::find(&self.tail, DONE_WITH_ID).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_may_have_an_id() {
        let ask = Ask::default();
        for (end, right) in [
            ("data: [DONE]\n\n", true),
            ("id: 7\ndata: [DONE]\n\n", true),
            ("data: [DONE]\nid: 0123456789abcdef.7\n\n", true),
            ("data: [DONE]\nid: 7\n", false),
            ("data: [OOPS]\n\n", false),
        ] {
            let mut body = Body::default();
            for byte in end.as_bytes() {
                body.feed(&[*byte], &mut |_| {});
            }
            assert_eq!(body.wrong(&ask).is_empty(), right, "{end:?}");
        }
    }
}
