//! Encodes a stream for its client: the events, and all bytes that Weir itself adds.
//!
//! An [`Encoder`] is a plain value: a dialect and a framing. The pump, its shutdown and the queue's ring use it for
//! heartbeats, error events, drop notices, the preamble and the content type; none of them needs the input pipeline for
//! that. Only the encoder knows how the client receives an event. The identity encoder passes the upstream's own
//! dialect on unchanged; a translation is written before, by `translate`.
//!
//! A translated stream is the exception: its translator is the last stage of the input pipeline, and it alone knows
//! which parts of the answer are open. The pump therefore asks it for the waiting status and for the end of the
//! translation.
//!
//! | file | what is written |
//! |---|---|
//! | `heartbeat` | bytes that keep a silent connection alive |
//! | `error_event` | how a client is told that its stream failed |
//! | `event_id` | by which a client says where it was, when it comes back |
//! | `drop_notice` | how many events and characters a slow client has lost |
//! | `preamble` | padding against intermediaries that buffer the first bytes |

mod drop_notice;
mod error_event;
mod event_id;
mod heartbeat;
mod preamble;

use crate::dialect::Dialect;
use crate::event::Event;
use crate::translate::Target;
use crate::wire::Framing;
pub use event_id::{id_prefix, write_with_id};
pub use preamble::comment;

/// Encodes a stream for one client. Cheap to copy: four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    dialect: Dialect,
    framing: Framing,
    /// The client gets a translation: what the upstream turns out to send does not change the encoder.
    fixed: bool,
    /// The client gets one answer in this form, not a stream.
    whole: Option<Target>,
}

impl Encoder {
    /// Creates the encoder of a client that gets its stream in another dialect than the upstream's.
    pub const fn translated(dialect: Dialect, framing: Framing) -> Self {
        Self {
            dialect,
            framing,
            fixed: true,
            whole: None,
        }
    }

    /// Creates the encoder of a client that gets one answer at the end of its stream.
    pub const fn whole(target: Target) -> Self {
        Self {
            dialect: target.dialect(),
            framing: Framing::Ndjson,
            fixed: true,
            whole: Some(target),
        }
    }

    /// Creates the identity encoder: the client gets what the upstream sends. `dialect` is the dialect known so far.
    pub fn identity(dialect: Option<Dialect>, framing: Framing) -> Self {
        Self {
            dialect: dialect.unwrap_or(Dialect::Opaque),
            framing,
            fixed: false,
            whole: None,
        }
    }

    /// Adopts the dialect and the framing that the first events show, which may differ from those that the heads
    /// announced. Returns whether anything changed.
    pub fn follow(&mut self, dialect: Dialect, framing: Framing) -> bool {
        if self.fixed {
            return false;
        }
        let found = Self {
            dialect,
            framing,
            fixed: false,
            whole: None,
        };
        let changed = *self != found;
        *self = found;
        changed
    }

    /// Returns the bytes that the client gets for an event. The identity encoder returns the block unchanged.
    pub const fn event<'a>(self, block: &'a [u8], _: &Event) -> &'a [u8] {
        block
    }

    /// Returns the content type for a head that is sent before the upstream's head is known.
    pub const fn content_type(self) -> &'static str {
        match self.framing {
            _ if self.whole.is_some() => "application/json",
            Framing::JsonArray => "application/json",
            Framing::Lines => "text/plain; charset=utf-8",
            Framing::Ndjson => "application/x-ndjson",
            Framing::Sse | Framing::Raw => "text/event-stream; charset=utf-8",
        }
    }

    /// Returns the dialect of the client's stream.
    pub const fn dialect(self) -> Dialect {
        self.dialect
    }

    /// Reports whether the client gets another dialect than the upstream's.
    pub const fn is_translated(self) -> bool {
        self.fixed
    }

    /// Returns the framing of the client's stream.
    pub const fn framing(self) -> Framing {
        self.framing
    }

    /// Reports whether the client skips SSE comments, so that one may be written between two events.
    const fn knows_comments(self) -> bool {
        matches!(self.framing, Framing::Sse) && self.dialect.tolerates_comments()
    }
}

#[cfg(test)]
mod tests;
