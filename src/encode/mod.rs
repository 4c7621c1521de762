//! The client's voice: every byte of a stream that Weir itself writes, and how an event reaches the client.
//!
//! An [`Encoder`] is a plain value: a dialect and a framing. The pump, its shutdown and the queue's ring ask it for
//! heartbeats, error events, drop notices, the preamble and the content type; none of them asks the input pipeline. It
//! is the only place that knows whether the client gets the upstream's own dialect (identity, which passes blocks
//! untouched) or another one (a writer for that dialect, one file each in this folder).
//!
//! | file | what is written |
//! |---|---|
//! | `heartbeat` | bytes that keep a silent connection alive |
//! | `drop_notice` | how many tokens a slow client has lost |
//! | `preamble` | padding against intermediaries that hold the first bytes back |

mod drop_notice;
mod heartbeat;
mod preamble;

use crate::dialect::{Dialect, ErrorContext};
use crate::event::Event;
use crate::wire::Framing;

/// Writes a stream for one client. Copied freely: two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    dialect: Dialect,
    framing: Framing,
}

impl Encoder {
    /// The identity encoder: the client gets what the upstream sends. `dialect` is what is known of it so far.
    pub fn identity(dialect: Option<Dialect>, framing: Framing) -> Self {
        Self {
            dialect: dialect.unwrap_or(Dialect::Opaque),
            framing,
        }
    }

    /// The first events may show another dialect or framing than the heads announced: the identity encoder adopts
    /// them. Returns whether anything changed.
    pub fn follow(&mut self, dialect: Dialect, framing: Framing) -> bool {
        let found = Self { dialect, framing };
        let changed = *self != found;
        *self = found;
        changed
    }

    /// What the client gets for an event: identity passes its block untouched.
    pub const fn event<'a>(self, block: &'a [u8], _: &Event) -> &'a [u8] {
        block
    }

    /// The event that ends a stream as failed, given what its client has `seen`. `None` if the dialect has none: then
    /// only a body that breaks tells the client.
    pub fn failure(self, seen: &ErrorContext, code: &str, message: &str) -> Option<String> {
        self.dialect.failure(self.framing, seen, code, message)
    }

    /// The content type of a head that is sent before the upstream's head is known.
    pub const fn content_type(self) -> &'static str {
        match self.framing {
            Framing::JsonArray => "application/json",
            Framing::Lines => "text/plain; charset=utf-8",
            Framing::Ndjson => "application/x-ndjson",
            Framing::Sse | Framing::Raw => "text/event-stream; charset=utf-8",
        }
    }

    /// How the client's stream is framed.
    pub const fn framing(self) -> Framing {
        self.framing
    }

    /// Whether the client skips SSE comments, so that one may be put between two events.
    const fn knows_comments(self) -> bool {
        matches!(self.framing, Framing::Sse) && self.dialect.tolerates_comments()
    }
}

#[cfg(test)]
mod tests;
