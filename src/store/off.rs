//! Stand-ins for a build without Redis: types of the same names, of which there is no store.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::config::RedisSettings;

/// The class of a block that Weir has written.
pub const WRITTEN_BY_WEIR: u8 = 255;

/// Is told what happens to the store.
pub trait Watch: Send + Sync + fmt::Debug {
    /// The store can be used, or cannot.
    fn up(&self, up: bool);
    /// Something failed.
    fn error(&self);
    /// A stream was broken off.
    fn broken(&self);
}

/// The store of journals, of which this build makes none.
#[derive(Debug)]
pub struct Store(());

/// Writes a stream to the store.
#[derive(Debug)]
pub struct Writer(());

/// Follows a stream in the store.
#[derive(Debug)]
pub struct Follower(());

/// The store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down;

/// What is known of a stream.
#[derive(Clone, Debug)]
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
    /// Other headers of the response.
    pub headers: Vec<(String, String)>,
    /// The process that runs the stream.
    pub owner: String,
    /// How far the stream is.
    pub state: RemoteState,
    /// The number of the first event that is stored.
    pub first: u64,
    /// The number of the last event that is stored.
    pub last: u64,
    /// Whatever the caller wants to find again.
    pub extra: String,
}

/// How far a stream is.
#[derive(Clone, Debug)]
pub enum RemoteState {
    /// It runs.
    Live,
    /// It has ended.
    Ended {
        /// How.
        outcome: String,
    },
    /// Something of it is missing.
    Gap,
}

/// The bounds of what is stored of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it stays after the stream's end.
    pub keep: Duration,
    /// How long it stays if nothing is written any more.
    pub live: Duration,
    /// About how many events are kept.
    pub max_events: usize,
    /// About how many bytes are kept.
    pub max_bytes: usize,
}

/// What is asked of the process that runs a stream.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub enum Followed {
    /// Events in order.
    Events(Vec<(u64, u8, Bytes)>),
    /// The stream has ended.
    Ended {
        /// How.
        outcome: String,
        /// Whether the response ended as the protocol says.
        clean: bool,
    },
    /// What comes next is not stored.
    Gap {
        /// The number of the next event that may be.
        first: u64,
    },
    /// The process that ran the stream is gone.
    OwnerGone,
    /// The store could not be asked for some time.
    Down,
}

impl Store {
    /// Returns `None`: the configuration rejects a store in this build.
    pub fn start(_: &RedisSettings, _: usize, _: Arc<dyn Watch>) -> Option<Arc<Self>> {
        None
    }

    /// Does nothing.
    pub async fn run(self: Arc<Self>, _: usize) {
        std::future::pending::<()>().await;
    }

    /// It cannot be used.
    pub const fn is_up(&self) -> bool {
        false
    }

    /// Returns no name.
    pub const fn instance(&self) -> &str {
        ""
    }

    /// Returns a writer that keeps nothing.
    pub fn open(self: &Arc<Self>, _: usize, _: &str, _: Meta, _: Bounds) -> Writer {
        Writer(())
    }

    /// Returns a follower of nothing.
    pub fn follow(self: &Arc<Self>, _: usize, _: &str, _: u64) -> Follower {
        Follower(())
    }

    /// Finds nothing.
    ///
    /// # Errors
    /// Always.
    pub async fn find(&self, _: &str) -> Result<Option<Meta>, Down> {
        std::future::ready(Err(Down)).await
    }

    /// Remembers nothing.
    pub const fn remember(&self, _: usize, _: &str, _: &str, _: Duration) {}

    /// Remembers nothing.
    ///
    /// # Errors
    /// Always.
    pub async fn remember_first(
        &self,
        _: &str,
        _: &str,
        _: Duration,
    ) -> Result<Option<String>, Down> {
        std::future::ready(Err(Down)).await
    }

    /// Recalls nothing.
    ///
    /// # Errors
    /// Always.
    pub async fn recall(&self, _: &str) -> Result<Option<String>, Down> {
        std::future::ready(Err(Down)).await
    }

    /// Asks nobody.
    ///
    /// # Errors
    /// Always.
    pub async fn ask(&self, _: &str, _: Control) -> Result<(), Down> {
        std::future::ready(Err(Down)).await
    }

    /// There is none.
    ///
    /// # Errors
    /// Always.
    pub async fn keep_shared_key(&self, _: [u8; 32]) -> Result<[u8; 32], Down> {
        std::future::ready(Err(Down)).await
    }

    /// There is none.
    ///
    /// # Errors
    /// Always.
    pub async fn shared_key(&self) -> Result<[u8; 32], Down> {
        std::future::ready(Err(Down)).await
    }
}

impl Writer {
    /// Keeps nothing.
    pub const fn append(&mut self, _: u64, _: &[(u8, u32)], _: &[u8]) {}

    /// Keeps nothing.
    pub fn update(&mut self, _: Meta) {}

    /// Keeps nothing.
    pub fn end(self, _: &str, _: &[u8], _: bool) {}

    /// Nobody asks.
    pub const fn poll_control(&mut self, _: &mut Context<'_>) -> Poll<Control> {
        Poll::Pending
    }
}

impl Follower {
    /// Nothing comes.
    pub const fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Followed> {
        Poll::Ready(Followed::Down)
    }
}
