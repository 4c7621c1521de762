//! Bridges: clients speak WebSocket with Weir, and Weir speaks HTTP with the agent.
//!
//! ```text
//!            ┌─────────────── Socket: one task, one timer ───────────────┐
//!   client ──┤ Frames ──► message ──► Run ── Requests (the proxy) ───────┼──► agent
//!          ◄─┤ Frames ◄── event ◄── lines ◄── its stream ◄── queue ◄─────┤
//!            └───────────────────────────────────────────────────────────┘
//! ```
//!
//! A message becomes a request like any other, and takes the same way: limits, deadlines, filters, translation,
//! journal, metrics and log are those of any stream. A bridge only turns messages into requests, and events into
//! messages.
//!
//! | file | what |
//! |---|---|
//! | `socket` | one WebSocket: what is read, whose turn it is, how it ends |
//! | `frames` | messages over the connection |
//! | `message` | what clients say |
//! | `members` | the JSON objects that they say it with |
//! | `ai_sdk` | the same, in the words of the AI SDK's transport |
//! | `run` | one answer on its way to the client |
//! | `lines` | the events in what a queue hands out |
//! | `event` | how events are written as messages |
//! | `acks` | what the client has not acknowledged |
//! | `close` | why a bridge ends, and with which code |
//! | `origin` | which pages may open one |
//!
//! What does not fit into the connection is not taken from the queues, so they merge and drop for a slow client as they
//! do for one that reads server-sent events. A client that acknowledges events is also held to `ack_window`.

mod acks;
pub mod ai_sdk;
mod close;
mod event;
mod frames;
mod lines;
pub mod members;
pub mod message;
mod origin;
mod run;
mod socket;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::client_conn::ClientConn;
use crate::config;
use crate::metrics::RouteMetrics;
use crate::reply::stream::Stream;
use crate::session::stream_id::StreamId;
use crate::tunnel::Account;

pub(crate) use origin::is_allowed;
pub(crate) use socket::Socket;

/// The subprotocol of native events.
pub(crate) const PROTOCOL: &str = "weir.v1";

/// In whose words the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The transport of the AI SDK.
    AiSdk,
    /// Native events.
    Native,
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum BridgeRequest {
    /// The newest stream of a chat, from its beginning.
    Chat {
        id: String,
        /// What the client wants to have said instead of, or beside, what it said at the upgrade.
        headers: HeaderMap,
    },
    /// A stream, after an event.
    Resume { id: StreamId, after: u64 },
    /// A run of the agent.
    Run {
        form: Form,
        body: Bytes,
        headers: HeaderMap,
    },
    /// The end of a stream that this socket does not show.
    Stop { id: StreamId },
}

/// The answer to a request of a bridge.
pub(crate) enum Answer {
    /// There is a stream, and the client has all of it.
    Complete,
    /// The request was done, or there is nothing to continue.
    Nothing,
    /// The request was refused, by Weir or by the agent.
    Refused(Refusal),
    /// Events.
    Stream {
        id: StreamId,
        /// The events are server-sent events, not lines.
        is_sse: bool,
        stream: Box<Stream>,
    },
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
    /// The status of the answer; `None` where it says no more than the code.
    pub(crate) status: Option<u16>,
    pub(crate) is_retryable: bool,
    /// The agent has refused, not Weir.
    pub(crate) by_agent: bool,
}

/// An answer that is awaited. Dropping it is leaving.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Turns what clients ask for into requests. The proxy does.
pub(crate) trait Requests: Send + Sync {
    /// Asks. `conn` stands for the connection of a client that asks for nothing else.
    fn ask(&self, request: BridgeRequest, conn: Arc<ClientConn>) -> Asking;

    /// Stops a stream of this process that the socket shows. Reports whether there is one.
    fn stop(&self, id: StreamId) -> bool;
}

/// A bridge whose client has not been told yet.
pub(crate) struct Start {
    pub(crate) requests: Arc<dyn Requests>,
    pub(crate) settings: Arc<config::Bridge>,
    /// How long nothing comes before the client gets a ping; zero is never.
    pub(crate) heartbeat: Duration,
    /// How long the client may take nothing of what waits for it.
    pub(crate) stall: Duration,
    pub(crate) max_message_bytes: usize,
    /// How long the client may pause in the middle of a message.
    pub(crate) message_pause: Duration,
    pub(crate) metrics: Arc<RouteMetrics>,
    pub(crate) account: Account,
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

/// Carries a bridge to the connection, as an extension of the response that accepts it.
#[derive(Clone, Debug)]
pub(crate) struct Accepted(Arc<Mutex<Option<Box<Start>>>>);

impl Accepted {
    pub(crate) fn new(start: Start) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(start)))))
    }

    /// Takes the bridge out. `None` if it was taken before.
    pub(crate) fn take(&self) -> Option<Box<Start>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
