//! The plain data of the store: the same with Redis and in a build without it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

/// The class of an event that Weir itself wrote at the end of a stream.
pub const WRITTEN_BY_WEIR: u8 = u8::MAX;

/// The store cannot be asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the store of streams cannot be asked")]
pub struct Down;

/// What is known of a stream without its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The digest of the caller's credentials.
    pub caller: [u8; 32],
    /// The name of the route.
    pub route: String,
    /// The dialect that the client gets.
    pub dialect: String,
    /// The framing that the client gets.
    pub framing: String,
    /// The content type of the response.
    pub content_type: String,
    /// Other headers of the response that are sent again.
    pub headers: Vec<(String, String)>,
    /// The process that runs the stream. The store sets it.
    pub owner: String,
    /// How far the stream is. Known from its events, not stored.
    pub state: RemoteState,
    /// The number of the first event that is stored.
    pub first: u64,
    /// The number of the last event that is stored; zero if there is none.
    pub last: u64,
    /// Whatever the caller wants to find again. It should be small.
    pub extra: String,
}

/// How far a stream is, as its events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteState {
    /// The stream runs, as far as is known.
    Live,
    /// The stream has ended.
    Ended {
        /// How.
        outcome: String,
    },
    /// What came after the last event was not stored.
    Gap,
}

/// The bounds of what is stored of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long it stays after the stream's end.
    pub keep: Duration,
    /// How long it stays if nothing is written any more: longer than a stream can live. Renewed while it lives, so that
    /// at least half of it is left.
    pub live: Duration,
    /// About how many events are kept.
    pub max_events: usize,
    /// About how many bytes are kept.
    pub max_bytes: usize,
}

/// What is asked of the process that runs a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The run is to be stopped.
    Stop,
    /// A viewer came to another process.
    ViewerCame {
        /// Which.
        instance: String,
    },
    /// A viewer of another process left.
    ViewerLeft {
        /// Which.
        instance: String,
    },
}

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Events in order, each once: its number, its class, its block.
    Events(Vec<(u64, u8, Bytes)>),
    /// The stream has ended.
    Ended {
        /// How.
        outcome: String,
        /// Whether the response ended as the protocol says.
        clean: bool,
    },
    /// What comes next is not stored. `first` is the number of the next event that may be.
    Gap {
        /// The number of that event.
        first: u64,
    },
    /// The process that ran the stream is gone.
    OwnerGone,
    /// The store could not be asked for some time.
    Down,
}

/// Is told what happens to the store. Called on any thread, and must not block.
pub trait Watch: Send + Sync + fmt::Debug {
    /// The store can be used, or cannot. Called when that changes.
    fn up(&self, up: bool);

    /// Something failed.
    fn error(&self);

    /// A stream was broken off: something of it is not stored.
    fn broken(&self);
}
