//! Stand-ins for a build without Redis: types of the same names, of which there is no store.

mod terms;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::config::RedisSettings;
pub use terms::{Bounds, Control, Down, Followed, Meta, RemoteState, WRITTEN_BY_WEIR, Watch};

/// The store of journals, of which this build makes none.
#[derive(Debug)]
pub struct Store(());

/// Writes a stream to the store.
#[derive(Debug)]
pub struct Writer(());

/// Follows a stream in the store.
#[derive(Debug)]
pub struct Follower(());

impl Store {
    /// Returns `None`: the configuration rejects a store in this build.
    pub fn start(_: &RedisSettings, _: usize, _: Arc<dyn Watch>) -> Option<Arc<Self>> {
        None
    }

    /// Does nothing.
    pub async fn run(self: Arc<Self>, _: usize) {
        std::future::pending::<()>().await;
    }

    /// Reports that the store cannot be used.
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

    /// There is nothing to wait for.
    pub async fn settled(&self, _: Duration) {
        std::future::ready(()).await;
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

    /// Never ready, because no other instance can ask.
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
