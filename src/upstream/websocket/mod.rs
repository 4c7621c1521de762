//! Speaks to agents that know only WebSocket, as if they were asked by HTTP and answered with a stream of events.
//!
//! ```text
//! request body ──► first message         opening
//! request head ──► handshake ──► 101?    handshake   (anything else is the agent's answer)
//!                                  │
//!                                  ▼
//!              messages ──► `data:` blocks of a 200  conversation, messages
//!                    close 1000 ──► the end of the body
//! ```
//!
//! `upstream/converse.rs` takes these steps. A connection is opened for each request, and carries nothing else. Each
//! message is one event, whose text is as the agent wrote it. A message is passed on as it arrives, so that only the
//! pipeline ever holds a whole one. That is why the frames are read here and not by a library: those hand over whole
//! messages, and keep buffers for each connection.

pub(super) mod conversation;
mod frame;
pub(super) mod handshake;
pub mod messages;
pub(super) mod opening;
mod utf8;

use std::time::Duration;

/// What a route allows of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long the agent is silent before it is pinged; zero switches pings off.
    pub ping: Duration,
    /// Maximum size of a message in bytes.
    pub max_message: usize,
}
