//! One client connection as its socket sees it: since when it speaks, rests, or takes nothing.
//!
//! ```text
//! accepted ── head ──► request ──► answered ──► resting ── first byte ──► head ──► request ...
//!    request_head                                keep_alive           request_head
//! ```
//!
//! Deadlines are data here as they are for streams: the connection keeps one timer for `ClientConn::next` and
//! asks `ClientConn::overdue` when it fires. Times are microseconds after `epoch`, so that they fit an atomic.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::stream::pump::Reader;

/// No such moment.
const NEVER: u64 = u64::MAX;
/// How long a connection detaches a stream that ended as `client_stalled`: its client may still come to
/// read why.
pub(crate) const AFTER_STALL: Duration = Duration::from_secs(1);
/// How long a connection that was told to go may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often the socket is asked for the client's end while nobody reads from it. Clients have to be missed
/// within a second.
const LOOK: Duration = Duration::from_millis(500);
/// Most bytes of interim responses that wait for a client.
const MAX_INTERIM_BYTES: usize = 64 * 1024;

/// Why a connection is closed by its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// No request head in time.
    Head,
    /// No further request in time.
    Idle,
    /// The client takes nothing of what waits for it.
    Stalled,
    /// The answer lasts too long.
    Total,
    /// Nothing yet: it is time to look whether the client is still there.
    Unseen,
}

/// A moment in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The state of one connection, shared by its socket, its timer and its requests.
///
/// What every event looks at lies first, on one cache line: among ten thousand streams each line costs more
/// than the work done with it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ClientConn {
    /// When the client last took something, while more waits for it.
    blocked: AtomicU64,
    /// The longest time that `blocked` may lie back, microseconds.
    stall: AtomicU64,
    /// When the answer must be over.
    until: AtomicU64,
    /// When the socket was last asked whether the client is there.
    looked: AtomicU64,
    /// Requests under way.
    open: AtomicUsize,
    multiplexed: AtomicBool,
    /// The last answer was written; what the client still sends is thrown away.
    closing: AtomicBool,
    /// It had its time.
    enough: AtomicBool,
    /// Somebody waits for bytes of the client, and so sees its end as well. Nobody does while bytes that came
    /// too early, or that the upstream does not take yet, lie in front of it.
    listening: AtomicBool,
    /// The socket is to be asked.
    look: AtomicBool,
    /// All that was given to the connection has been written.
    flushed: AtomicBool,
    has_interim: AtomicBool,
    /// The client's side of the socket rang.
    heard: AtomicBool,
    /// The connection's timer rang.
    rung: AtomicBool,
    epoch: Instant,
    head: Duration,
    /// Microseconds.
    keep_alive: AtomicU64,
    /// When the head that is awaited began to arrive.
    speaking: AtomicU64,
    /// When the last request was over.
    resting: AtomicU64,
    /// Interim responses that wait for a moment between two messages.
    interim: Mutex<BytesMut>,
}

impl ClientConn {
    /// A connection accepted now, from which a request head must come within `head`.
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
            heard: AtomicBool::new(false),
            rung: AtomicBool::new(false),
        }
    }

    /// A request head was read. It is under way until the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>, multiplexed: bool) -> Open {
        self.multiplexed.store(multiplexed, Ordering::Relaxed);
        if self.open.fetch_add(1, Ordering::Relaxed) == 0 {
            self.stall.store(NEVER, Ordering::Relaxed);
            self.looked.store(self.now(), Ordering::Relaxed);
        }
        self.speaking.store(NEVER, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Whether several requests share the connection, as in HTTP/2.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// The client may take nothing for `limit`; of several requests the most patient one counts.
    pub(crate) fn allow_stall(&self, limit: Duration) {
        let limit = micros(limit + AFTER_STALL);
        let now = self.stall.load(Ordering::Relaxed);
        if now == NEVER || now < limit {
            self.stall.store(limit, Ordering::Relaxed);
        }
    }

    /// The answer to the one request under way must be over at `at`.
    pub(crate) fn end_by(&self, at: Instant) {
        let until = micros(at.saturating_duration_since(self.epoch));
        self.until.store(until, Ordering::Relaxed);
    }

    /// Sends an interim (1xx) response ahead of the answer, if there is a moment for it.
    pub(crate) fn interim(&self, head: &[u8]) {
        let mut waiting = self.lock();
        if waiting.len() + head.len() <= MAX_INTERIM_BYTES {
            waiting.extend_from_slice(head);
            self.has_interim.store(true, Ordering::Release);
        }
    }

    /// Interim responses to write now.
    pub(crate) fn take_interim(&self) -> Option<Bytes> {
        if !self.has_interim.swap(false, Ordering::Acquire) {
            return None;
        }
        Some(std::mem::take(&mut *self.lock()).freeze())
    }

    /// Bytes came from the client.
    pub(crate) fn note_read(&self) {
        // Of HTTP/2 frames nobody here knows whether they begin a request.
        if self.open.load(Ordering::Relaxed) == 0
            && self.speaking.load(Ordering::Relaxed) == NEVER
            && !self.is_multiplexed()
        {
            self.speaking.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The socket was asked for bytes: whether the asker now waits for more.
    pub(crate) fn note_listening(&self, waits: bool) {
        self.listening.store(waits, Ordering::Relaxed);
    }

    /// The client sent something, or left: whoever streams to it is to listen.
    pub(crate) fn note_heard(&self) {
        self.heard.store(true, Ordering::Release);
    }

    /// Whether to listen now.
    pub(crate) fn take_heard(&self) -> bool {
        take(&self.heard)
    }

    /// The timer has fired.
    pub(crate) fn note_rung(&self) {
        self.rung.store(true, Ordering::Release);
    }

    /// Whether the timer is to be asked.
    pub(crate) fn take_rung(&self) -> bool {
        take(&self.rung)
    }

    /// Has the socket asked, when next it is used, whether the client is there.
    pub(crate) fn look(&self) {
        self.looked.store(self.now(), Ordering::Relaxed);
        self.look.store(true, Ordering::Relaxed);
    }

    /// Whether to ask the socket now.
    pub(crate) fn take_look(&self) -> bool {
        self.look.load(Ordering::Relaxed) && self.look.swap(false, Ordering::Relaxed)
    }

    /// The socket takes no more.
    pub(crate) fn note_full(&self) {
        if self.blocked.load(Ordering::Relaxed) == NEVER {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The socket took something.
    pub(crate) fn note_written(&self) {
        if self.blocked.load(Ordering::Relaxed) != NEVER {
            self.blocked.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The socket took everything.
    pub(crate) fn note_flushed(&self) {
        if self.blocked.load(Ordering::Relaxed) != NEVER {
            self.blocked.store(NEVER, Ordering::Relaxed);
            self.resting.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether all that was given to the connection has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    /// Something was given to the connection, or all of it was written.
    pub(crate) fn set_flushed(&self, flushed: bool) {
        self.flushed.store(flushed, Ordering::Relaxed);
    }

    /// The connection was told to go: it has a last moment for it.
    pub(crate) fn hurry(&self) {
        self.speaking.store(NEVER, Ordering::Relaxed);
        self.resting.store(self.now(), Ordering::Relaxed);
        self.keep_alive.store(micros(GOODBYE), Ordering::Relaxed);
    }

    /// The last answer was written. The client has a moment to close, too.
    pub(crate) fn note_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.hurry();
    }

    /// The moment is over; `false` if none had begun, or it was over before.
    pub(crate) fn end_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) && !self.enough.swap(true, Ordering::Relaxed)
    }

    /// Whether what the client still sends need not be read any more.
    pub(crate) fn has_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// When a deadline may have passed next; `None` while none runs.
    pub(crate) fn next(&self) -> Option<Moment> {
        let (at, _) = self.deadline();
        (at != NEVER).then_some(Moment(at))
    }

    /// The deadline that has passed at `now`.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Overdue> {
        let (at, overdue) = self.deadline();
        self.instant(at).filter(|at| *at <= now).map(|_| overdue)
    }

    /// A moment of this connection, for a timer.
    pub(crate) fn at(&self, moment: Moment) -> Instant {
        self.epoch + Duration::from_micros(moment.0)
    }

    /// The first deadline of all, and what it means; `NEVER` if none runs.
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

    /// Of what the client has to do.
    fn client_deadline(&self) -> (u64, Overdue) {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let blocked = read(&self.blocked);
        if blocked != NEVER {
            let limit = match read(&self.stall) {
                // Nobody said how long: what waits is the end of an answer.
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

    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for ClientConn {
    /// Only of a connection that serves one request: on a shared one others may be the ones that move.
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

/// Takes a flag back; that is seldom set, so it is read first.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Acquire)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(NEVER - 1)
}

/// A request under way on a connection.
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
