//! The pool of idle (keep-alive) HTTP/1.1 connections of one worker.
//!
//! An idle connection has no task: it is checked when it is taken from the pool, and dropped when it is too
//! old. The age limit is below uvicorn's keep-alive timeout of 5 s, so an upstream hardly ever closes a connection
//! while a request is being sent on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::endpoint::Picked;
use super::exchange::Exchange;
use super::http1::Connection;
use super::socket::Io;
use super::sockets::{Budget, Counted};
use super::upgraded::Upgraded;
use super::websocket::conversation::Conversation;

/// Idle connections of one upstream, by endpoint.
#[derive(Debug)]
pub(super) struct Pool {
    /// Locked only for a push or a pop.
    idle: Mutex<Vec<Idle>>,
    max_age: Duration,
    budget: Budget,
    /// Another configuration is in force: this pool keeps no more connections.
    retired: AtomicBool,
}

/// Most idle connections per upstream and worker, if the process has file descriptors for as many. More than a burst
/// reuses would only cost descriptors.
const MAX_IDLE: usize = 64;

#[derive(Debug)]
struct Idle {
    wire: Connection,
    /// Counts the connection as open.
    socket: Counted,
    /// Counts it as idle.
    _kept: Counted,
    endpoint: usize,
    since: Instant,
}

impl Pool {
    pub(super) const fn new(max_age: Duration, budget: Budget) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            max_age,
            budget,
            retired: AtomicBool::new(false),
        }
    }

    /// Takes an idle connection to `endpoint` that is still open.
    pub(super) fn take(
        &self,
        endpoint: usize,
        cx: &mut Context<'_>,
    ) -> Option<(Connection, Counted)> {
        let now = Instant::now();
        loop {
            let Idle {
                mut wire, socket, ..
            } = {
                let mut idle = self.lock();
                let at = idle
                    .iter()
                    .rposition(|one| one.endpoint == endpoint && now < one.since + self.max_age)?;
                idle.swap_remove(at)
            };
            if wire.is_ready(cx) {
                return Some((wire, socket));
            }
        }
    }

    /// Closes all idle connections, and keeps none from here on.
    pub(super) fn retire(&self) {
        let mut idle = self.lock();
        self.retired.store(true, Ordering::Relaxed);
        idle.clear();
        idle.shrink_to_fit();
    }

    /// Closes idle connections that are too old.
    pub(super) fn prune(&self) {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.retain(|one| now < one.since + self.max_age);
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
    }

    /// Drops all idle connections.
    pub(super) fn clear(&self) {
        *self.lock() = Vec::new();
    }

    fn put(&self, wire: Connection, socket: Counted, endpoint: usize) {
        let mut idle = self.lock();
        let keeps = !self.max_age.is_zero() && !self.retired.load(Ordering::Relaxed);
        if idle.len() < MAX_IDLE
            && keeps
            && let Some(kept) = self.budget.keep()
        {
            idle.push(Idle {
                wire,
                socket,
                _kept: kept,
                endpoint,
                since: Instant::now(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange under way, with its place on the endpoint. Dropping it closes the connection, or resets the stream on a
/// shared one.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Lease {
    pub(super) exchange: Exchange,
    pub(super) picked: Picked,
    pub(super) pool: Arc<Pool>,
    /// Counts the connection as open; `None` for a shared one, which is counted by itself.
    pub(super) socket: Option<Counted>,
}

impl Lease {
    /// Ends the exchange after the last read. An HTTP/1.1 connection returns to the pool if it can take another
    /// request.
    pub(super) fn give_back(self, cx: &mut Context<'_>) {
        match self.exchange {
            Exchange::Own(mut wire) => {
                if wire.is_ready(cx)
                    && let Some(socket) = self.socket
                {
                    self.pool.put(wire, socket, self.picked.index);
                }
            }
            Exchange::Shared(stream) => stream.finish(),
            // Dropped, it closes its WebSocket.
            Exchange::Talk(_) => {}
        }
    }

    /// Returns the connection of an exchange that has switched protocols; `None` for a stream of a shared one.
    pub(super) fn into_upgraded(self) -> Option<Upgraded> {
        match self.exchange {
            Exchange::Own(wire) => {
                self.picked.succeeded();
                let (io, early) = wire.into_unread();
                Some(Upgraded::new(io, early, self.picked, self.socket))
            }
            Exchange::Shared(_) | Exchange::Talk(_) => None,
        }
    }

    /// Returns the same lease with the conversation that `start` makes of its connection, after a 101; `None` for a
    /// stream of a shared one.
    pub(super) fn converse(
        self,
        start: impl FnOnce(Io, Bytes, Option<Counted>) -> Conversation,
    ) -> Option<Self> {
        let Exchange::Own(wire) = self.exchange else {
            return None;
        };
        let (io, early) = wire.into_unread();
        let talk = start(io, early, self.socket);
        Some(Self {
            exchange: Exchange::Talk(Box::new(talk)),
            picked: self.picked,
            pool: self.pool,
            // The conversation keeps it until it is closed.
            socket: None,
        })
    }

    /// Counts a failure against the endpoint. A shared connection that breaks counts once, not once per stream.
    pub(super) fn failed(&self) {
        if self.exchange.is_first_to_fail() {
            self.picked.failed();
        }
    }
}
