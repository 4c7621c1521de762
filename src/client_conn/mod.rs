//! Tracks one client connection and its deadlines: whether it waits for a request head, is idle, or its client stalls.
//!
//! ```text
//! accepted ── head ──► request ──► response ──► idle ── first byte ──► head ──► request ...
//!    request_head                              keep_alive          request_head
//! ```
//!
//! This module only computes deadlines, as the one for streams does. The connection sets its one timer to
//! `ClientConn::next` and calls `ClientConn::overdue` when the timer fires. Times are stored as microseconds after
//! `epoch`, so that they fit in an atomic.

mod refused;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::capacity::Share;
use crate::stream::pump::Reader;
use refused::Refused;

/// Stands for "not set".
const NEVER: u64 = u64::MAX;
/// How long a connection stays open after `client_stalled`, so that the client can still read the reason.
pub(crate) const AFTER_STALL: Duration = Duration::from_secs(1);
/// How long a connection may take to close once it was told to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the socket is checked for a disconnected client while no task reads from it. A disconnect has to be
/// noticed within a second.
const LOOK: Duration = Duration::from_millis(500);
/// Maximum number of bytes of interim responses that wait for a client.
const MAX_INTERIM_BYTES: usize = 64 * 1024;

/// Why a connection is closed by its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The client did not send a request head in time.
    Head,
    /// The client did not send another request in time (keep-alive).
    Idle,
    /// The client takes none of the data that waits for it.
    Stalled,
    /// The response takes too long.
    Total,
    /// Nothing is overdue yet: it is time to check whether the client is still connected.
    Unseen,
}

/// A point in time, in microseconds after the `epoch` of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The state of one connection, shared by its socket, its timer and its requests.
///
/// The fields that every event reads come first: with ten thousand streams, loading a cache line costs more than the
/// work done with it. Its allocation has three cache lines, which the allocator gives to nothing else.
///
/// How it works: `server::connection` creates one `ClientConn` for each connection. The socket, the HTTP
/// engine, the requests and the pumps of their streams share it, and it lives as long as the last of them.
/// They record here what happens; the connection's task enforces the deadlines: after each poll of its engine
/// it sets its timer to `next`, and it calls `overdue` when the timer has fired. `ClientConn` itself wakes no
/// task. The wakers of the timer and of the client's side of the socket (`FlagWaker`) set `rung` or `heard`
/// here and then wake the connection's task. A deadline that anything else changes takes effect at that
/// task's next poll. Time is bounded by `head`, `keep_alive`, `stall` and `until`; memory by
/// `MAX_INTERIM_BYTES`, as everything but the interim responses has a fixed size.
#[derive(Debug)]
#[repr(C)]
pub struct ClientConn {
    /// When the client last took data, while more data waits for it; otherwise [`NEVER`].
    blocked: AtomicU64,
    /// How long ago `blocked` may be, in microseconds.
    stall: AtomicU64,
    /// When the response must be complete.
    until: AtomicU64,
    /// When the socket was last checked for a disconnected client.
    looked: AtomicU64,
    /// How many requests are in progress.
    open: AtomicUsize,
    multiplexed: AtomicBool,
    /// A task waits for bytes from the client, and so notices a disconnect as well. No task waits while unread
    /// bytes are in the way: bytes that came too early, or that the upstream does not take yet.
    listening: AtomicBool,
    /// The socket must be checked for a disconnected client.
    look: AtomicBool,
    /// All data given to the connection has been written.
    flushed: AtomicBool,
    has_interim: AtomicBool,
    /// The socket reported data or a disconnect from the client.
    heard: AtomicBool,
    /// The connection's timer has fired.
    rung: AtomicBool,
    /// The last response was written; whatever the client still sends is discarded (lingering close).
    closing: AtomicBool,
    /// The time of the lingering close is over.
    enough: AtomicBool,
    /// The connection carries a tunnel, whose directions end one by one.
    is_tunnel: AtomicBool,
    epoch: Instant,
    head: Duration,
    /// The keep-alive timeout, in microseconds.
    keep_alive: AtomicU64,
    /// When the awaited request head began to arrive, or the connection was accepted; otherwise [`NEVER`].
    speaking: AtomicU64,
    /// When the connection became idle.
    resting: AtomicU64,
    /// Interim responses that wait until they can be written between two messages.
    interim: Mutex<Option<Box<BytesMut>>>,
    /// The request that was refused before its head was read.
    pub(crate) refused: Refused,
    /// The connection's share of the requests in progress and of the live streams.
    pub(crate) share: Share,
}

impl ClientConn {
    /// Creates the state of a connection that was just accepted and must send a request head within `head`.
    pub(crate) fn new(head: Duration, keep_alive: Duration) -> Self {
        Self {
            epoch: Instant::now(),
            head,
            keep_alive: AtomicU64::new(micros(keep_alive)),
            open: AtomicUsize::new(0),
            multiplexed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            enough: AtomicBool::new(false),
            speaking: AtomicU64::new(0),
            resting: AtomicU64::new(0),
            blocked: AtomicU64::new(NEVER),
            stall: AtomicU64::new(NEVER),
            until: AtomicU64::new(NEVER),
            listening: AtomicBool::new(true),
            looked: AtomicU64::new(0),
            look: AtomicBool::new(false),
            flushed: AtomicBool::new(true),
            interim: Mutex::default(),
            has_interim: AtomicBool::new(false),
            is_tunnel: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            rung: AtomicBool::new(false),
            refused: Refused::default(),
            share: Share::default(),
        }
    }

    /// Records that a request head was read. The request is in progress until the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>, multiplexed: bool) -> Open {
        self.multiplexed.store(multiplexed, Ordering::Relaxed);
        if self.open.fetch_add(1, Ordering::Relaxed) == 0 {
            self.stall.store(NEVER, Ordering::Relaxed);
            self.looked.store(self.now(), Ordering::Relaxed);
        }
        self.speaking.store(NEVER, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Returns since when the head of a request is awaited that has begun, or of the first request.
    pub(crate) fn awaits_head(&self) -> Option<Instant> {
        let is_resting = self.open.load(Ordering::Relaxed) == 0 && !self.is_multiplexed();
        let since = self.speaking.load(Ordering::Relaxed);
        self.instant(since).filter(|_| is_resting)
    }

    /// Records that a tunnel begins on the connection, or is over.
    pub(crate) fn set_tunnel(&self, is_tunnel: bool) {
        self.is_tunnel.store(is_tunnel, Ordering::Relaxed);
    }

    /// Reports whether the connection carries a tunnel.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Relaxed)
    }

    /// Reports whether several requests share the connection, as in HTTP/2.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Allows the client to stall for `limit`. If several requests set a limit, the longest one applies.
    pub(crate) fn allow_stall(&self, limit: Duration) {
        let limit = micros(limit + AFTER_STALL);
        let now = self.stall.load(Ordering::Relaxed);
        if now == NEVER || now < limit {
            self.stall.store(limit, Ordering::Relaxed);
        }
    }

    /// Returns a value that changes when [`ClientConn::allowed_stall`] does, and costs less.
    pub(crate) fn stall_mark(&self) -> u64 {
        self.stall.load(Ordering::Relaxed)
    }

    /// Returns how long the client may stall; `None` if no request has set a limit, or the client was given up.
    pub(crate) fn allowed_stall(&self) -> Option<Duration> {
        match self.stall.load(Ordering::Relaxed) {
            NEVER | 0 => None,
            limit => Some(Duration::from_micros(limit).saturating_sub(AFTER_STALL)),
        }
    }

    /// Sets the time at which the response to the only request in progress must be complete.
    pub(crate) fn end_by(&self, at: Instant) {
        let until = micros(at.saturating_duration_since(self.epoch));
        self.until.store(until, Ordering::Relaxed);
    }

    /// Queues an interim (1xx) response, to be sent before the response if it can still be. Drops it if too many
    /// bytes are waiting.
    pub(crate) fn interim(&self, head: &[u8]) {
        let mut waiting = self.lock();
        let waiting = waiting.get_or_insert_default();
        if waiting.len() + head.len() <= MAX_INTERIM_BYTES {
            waiting.extend_from_slice(head);
            self.has_interim.store(true, Ordering::Release);
        }
    }

    /// Takes the interim responses to write now, if there are any.
    pub(crate) fn take_interim(&self) -> Option<Bytes> {
        if !self.has_interim.swap(false, Ordering::Acquire) {
            return None;
        }
        let waiting = self.lock().take()?;
        Some(waiting.freeze())
    }

    /// Records that bytes came from the client.
    pub(crate) fn note_read(&self) {
        // HTTP/2 frames are not parsed here, so it is unknown whether they begin a request.
        if self.open.load(Ordering::Relaxed) == 0
            && self.speaking.load(Ordering::Relaxed) == NEVER
            && !self.is_multiplexed()
        {
            self.speaking.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Records a read from the socket, and whether the reading task now waits for more bytes.
    pub(crate) fn note_listening(&self, waits: bool) {
        self.listening.store(waits, Ordering::Relaxed);
    }

    /// Records that the client sent something or disconnected, so that the task that streams to it reads the socket.
    pub(crate) fn note_heard(&self) {
        self.heard.store(true, Ordering::Release);
    }

    /// Reports whether the client sent something or disconnected since the last call.
    pub(crate) fn take_heard(&self) -> bool {
        take(&self.heard)
    }

    /// Records that the timer has fired.
    pub(crate) fn note_rung(&self) {
        self.rung.store(true, Ordering::Release);
    }

    /// Reports whether the timer has fired since the last call.
    pub(crate) fn take_rung(&self) -> bool {
        take(&self.rung)
    }

    /// Requests a check for a disconnected client when the socket is next used.
    pub(crate) fn look(&self) {
        self.looked.store(self.now(), Ordering::Relaxed);
        self.look.store(true, Ordering::Relaxed);
    }

    /// Reports whether such a check was requested since the last call.
    pub(crate) fn take_look(&self) -> bool {
        self.look.load(Ordering::Relaxed) && self.look.swap(false, Ordering::Relaxed)
    }

    /// Records that the socket accepts no more data (back-pressure).
    pub(crate) fn note_full(&self) {
        if self.blocked.load(Ordering::Relaxed) == NEVER {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Records that the socket accepted some data.
    pub(crate) fn note_written(&self) {
        if self.blocked.load(Ordering::Relaxed) != NEVER {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Records that the socket accepted all data.
    pub(crate) fn note_flushed(&self) {
        if self.blocked.load(Ordering::Relaxed) != NEVER {
            self.blocked.store(NEVER, Ordering::Relaxed);
            self.resting.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Reports whether all data given to the connection has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    /// Records that data was given to the connection (`false`), or that all of it was written (`true`).
    pub(crate) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }

    /// Records that the connection was told to close, and limits the time that it may still take.
    pub(crate) fn hurry(&self) {
        self.speaking.store(NEVER, Ordering::Relaxed);
        self.resting.store(self.now(), Ordering::Relaxed);
        self.keep_alive
            .store(micros(CLOSE_TIMEOUT), Ordering::Relaxed);
    }

    /// Records that the last response was written. The client has a short time to close as well (lingering close).
    pub(crate) fn note_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.hurry();
    }

    /// Ends the lingering close. Returns `false` if it had not begun, or had already ended.
    pub(crate) fn end_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) && !self.enough.swap(true, Ordering::Relaxed)
    }

    /// Reports whether the lingering close has ended, so that nothing more needs to be read from the client.
    pub(crate) fn has_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// Returns the time of the next deadline, or `None` if there is none.
    pub(crate) fn next(&self) -> Option<Moment> {
        let (at, _) = self.deadline();
        (at != NEVER).then_some(Moment(at))
    }

    /// Returns the deadline that has passed at `now`, if any.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let (at, overdue) = self.deadline();
        self.instant(at).filter(|at| *at <= now).map(|_| overdue)
    }

    /// Converts a moment of this connection to an `Instant`, for a timer.
    pub(crate) fn at(&self, moment: Moment) -> Instant {
        self.epoch + Duration::from_micros(moment.0)
    }

    /// Returns the earliest deadline and its meaning. The time is [`NEVER`] if there is none.
    fn deadline(&self) -> (u64, Overdue) {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let client = self.client_deadline();
        if self.open.load(Ordering::Relaxed) == 0 {
            return client;
        }
        let mut first = (read(&self.until), Overdue::Total);
        if client.0 < first.0 {
            first = client;
        }
        if !self.listening.load(Ordering::Relaxed) {
            let unseen = read(&self.looked).saturating_add(micros(LOOK));
            if unseen < first.0 {
                first = (unseen, Overdue::Unseen);
            }
        }
        first
    }

    /// Returns the earliest deadline for the client: to take data, or to send a request.
    fn client_deadline(&self) -> (u64, Overdue) {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let blocked = read(&self.blocked);
        if blocked != NEVER {
            let limit = match read(&self.stall) {
                // No request set a limit: the data that waits is the end of a response.
                NEVER => micros(self.head),
                limit => limit,
            };
            return (blocked.saturating_add(limit), Overdue::Stalled);
        }
        if self.open.load(Ordering::Relaxed) > 0 {
            return (NEVER, Overdue::Stalled);
        }
        match read(&self.speaking) {
            NEVER => {
                let at = read(&self.resting).saturating_add(read(&self.keep_alive));
                (at, Overdue::Idle)
            }
            since => (since.saturating_add(micros(self.head)), Overdue::Head),
        }
    }

    fn now(&self) -> u64 {
        micros(self.epoch.elapsed())
    }

    fn instant(&self, since: u64) -> Option<Instant> {
        (since != NEVER).then(|| self.epoch + Duration::from_micros(since))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<BytesMut>>> {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for ClientConn {
    /// Returns `None` on a multiplexed connection, where the progress may belong to another request.
    fn last_progress(&self) -> Option<Instant> {
        if self.is_multiplexed() {
            return None;
        }
        self.instant(self.blocked.load(Ordering::Relaxed))
    }

    fn is_shared(&self) -> bool {
        self.is_multiplexed()
    }

    fn give_up(&self) {
        if !self.is_multiplexed() {
            self.stall.store(0, Ordering::Relaxed);
        }
    }
}

/// Reads and clears a flag. The flag is seldom set, so a plain load comes before the swap.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Acquire)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(NEVER - 1)
}

/// A guard for a request in progress on a connection.
#[derive(Debug)]
pub(crate) struct Open(Arc<ClientConn>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.resting.store(self.0.now(), Ordering::Relaxed);
        self.0.until.store(NEVER, Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
