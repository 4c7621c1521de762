//! The pool of idle (keep-alive) HTTP/1.1 connections of one worker.
//!
//! An idle connection has no task: it is checked when it is taken from the pool, and dropped when it is too
//! old. The age limit is below uvicorn's keep-alive timeout of 5 s, so an upstream hardly ever closes a connection
//! while a request is being sent on it. After a request with a body it may close it at once, so such a connection is on
//! probation first, unless its endpoint is trusted ([`trust`](super::trust)).

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
use super::trust::{Doubt, PROBATION, Trust};
use super::upgraded::Upgraded;
use super::websocket::conversation::Conversation;

/// Idle connections of one upstream, by endpoint.
#[derive(Debug)]
pub(super) struct Pool {
    /// Locked only for a push or a pop, and for a change of trust.
    kept: Mutex<Kept>,
    max_age: Duration,
    budget: Budget,
    /// Another configuration is in force: this pool keeps no more connections.
    retired: AtomicBool,
}

/// Most connections on probation per endpoint and worker. Beyond that, one of those that have waited longest is used: a
/// burst must not open a connection for each of its requests.
const MAX_ON_PROBATION: usize = 32;

/// Most idle connections per upstream and worker, if the process has file descriptors for as many: those that a burst
/// reuses, and beside them those on probation. More would only cost descriptors.
const MAX_IDLE: usize = 64 + MAX_ON_PROBATION;

#[derive(Debug)]
struct Kept {
    idle: Vec<Idle>,
    trust: Trust,
}

#[derive(Debug)]
struct Idle {
    wire: Connection,
    /// Why its upstream may be about to close it.
    doubt: Option<Doubt>,
    /// Counts the connection as open.
    socket: Counted,
    /// Counts it as idle.
    _kept: Counted,
    endpoint: usize,
    since: Instant,
}

impl Kept {
    /// Removes the connection to `endpoint` that is used next, and reports whether its endpoint is trusted.
    fn pick(
        &mut self,
        endpoint: usize,
        now: Instant,
        max_age: Duration,
        probation: Duration,
    ) -> Option<(Idle, bool)> {
        let Self { idle, trust } = self;
        let trusted = |one: &Idle| one.doubt.is_none_or(|doubt| trust.has(endpoint, doubt));
        let own = |one: &Idle| one.endpoint == endpoint && now < one.since + max_age;
        let free = |one: &Idle| own(one) && (now >= one.since + probation || trusted(one));
        let at = idle.iter().rposition(free).or_else(|| {
            // All of its own are on probation.
            let waiting = idle.iter().filter(|one| own(one)).count();
            if waiting < MAX_ON_PROBATION && idle.len() < MAX_IDLE {
                return None;
            }
            // The first one stays: if none waited to the end of its probation, a busy endpoint would never be trusted.
            let (mut first, mut second) = (None, None);
            for (at, one) in idle.iter().enumerate().filter(|(_, one)| own(one)) {
                let is_before =
                    |other: Option<(usize, Instant)>| other.is_none_or(|it| one.since < it.1);
                if is_before(first) {
                    (first, second) = (Some((at, one.since)), first);
                } else if is_before(second) {
                    second = Some((at, one.since));
                }
            }
            second.or(first).map(|(at, _)| at)
        })?;
        let one = idle.swap_remove(at);
        let trusted = trusted(&one);
        Some((one, trusted))
    }
}

impl Pool {
    pub(super) const fn new(max_age: Duration, budget: Budget) -> Self {
        Self {
            kept: Mutex::new(Kept {
                idle: Vec::new(),
                trust: Trust::new(),
            }),
            max_age,
            budget,
            retired: AtomicBool::new(false),
        }
    }

    /// Takes an idle connection to `endpoint` that is still open and not on probation, unless too many are.
    pub(super) fn take(
        &self,
        endpoint: usize,
        cx: &mut Context<'_>,
    ) -> Option<(Connection, Counted)> {
        let now = Instant::now();
        // Where connections are kept for less than a second, they are of use, too.
        let probation = PROBATION.min(self.max_age / 2);
        loop {
            let (mut one, trusted) = self.lock().pick(endpoint, now, self.max_age, probation)?;
            let is_open = one.wire.is_ready(cx);
            if let Some(doubt) = one.doubt {
                let has_waited = now >= one.since + probation;
                if is_open && has_waited && !trusted {
                    self.lock().trust.set(endpoint, doubt, true);
                } else if !is_open && !has_waited && trusted && !one.wire.is_old() {
                    self.lock().trust.set(endpoint, doubt, false);
                }
            }
            if is_open {
                return Some((one.wire, one.socket));
            }
        }
    }

    /// Records that the endpoint at this index has closed a connection while a request was on its way.
    pub(super) fn distrust(&self, endpoint: usize) {
        self.lock().trust.lose(endpoint);
    }

    /// Closes all idle connections, and keeps none from here on.
    pub(super) fn retire(&self) {
        let mut kept = self.lock();
        self.retired.store(true, Ordering::Relaxed);
        kept.idle = Vec::new();
    }

    /// Closes idle connections that are too old.
    pub(super) fn prune(&self) {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.idle.retain(|one| now < one.since + self.max_age);
        if kept.idle.is_empty() {
            kept.idle.shrink_to_fit();
        }
    }

    /// Drops all idle connections.
    pub(super) fn clear(&self) {
        self.lock().idle = Vec::new();
    }

    fn put(&self, wire: Connection, socket: Counted, endpoint: usize) {
        let mut locked = self.lock();
        let keeps = !self.max_age.is_zero() && !self.retired.load(Ordering::Relaxed);
        if locked.idle.len() < MAX_IDLE
            && keeps
            && let Some(kept) = self.budget.keep()
        {
            locked.idle.push(Idle {
                doubt: wire.doubt(),
                wire,
                socket,
                _kept: kept,
                endpoint,
                since: Instant::now(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use http::{Request, request};
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::advance;

    use super::*;
    use crate::upstream::request_body::{Payload, RequestBody, RequestLimits};
    use crate::upstream::sockets::Sockets;

    const AGE: Duration = Duration::from_secs(4);

    fn pool() -> (Pool, Budget) {
        let budget = Sockets::budget(&Arc::default(), 16, 16);
        (Pool::new(AGE, budget.clone()), budget)
    }

    fn post() -> request::Parts {
        let request = Request::post("/x").header("host", "h");
        request.body(()).unwrap().into_parts().0
    }

    fn body(bytes: usize) -> RequestBody {
        let limits = RequestLimits {
            max_bytes: 1 << 20,
            idle: Duration::from_secs(1),
        };
        RequestBody::new(Payload::Whole(vec![b'x'; bytes].into()), limits)
    }

    /// Reads the answer with this status to the end.
    async fn answered(wire: &mut Connection, far: &mut DuplexStream, status: &str) {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
        far.write_all(answer.as_bytes()).await.unwrap();
        poll_fn(|cx| wire.poll_head(cx, |_, _| {})).await.unwrap();
        poll_fn(|cx| wire.poll_body(cx, &mut |_| {})).await.unwrap();
    }

    /// Returns a connection on which a POST with a body of `bytes` bytes was answered, and its other end.
    async fn used(bytes: usize, status: &str) -> (Connection, DuplexStream) {
        let (near, mut far) = duplex(1 << 16);
        let mut wire = Connection::new(Io::Other(Box::new(near)));
        wire.begin(&post(), Some(body(bytes)));
        answered(&mut wire, &mut far, status).await;
        (wire, far)
    }

    async fn take(pool: &Pool) -> Option<(Connection, Counted)> {
        poll_fn(|cx| Poll::Ready(pool.take(0, cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_on_probation_until_its_endpoint_is_trusted() {
        for (bytes, status) in [(2, "200 OK"), (20_000, "200 OK"), (2, "401 No")] {
            let (pool, budget) = pool();
            let mut far_ends = Vec::new();
            for trusted in [false, true] {
                let (wire, far) = used(bytes, status).await;
                far_ends.push(far);
                pool.put(wire, budget.open().unwrap(), 0);
                assert_eq!(take(&pool).await.is_some(), trusted, "{bytes} {status}");
                if !trusted {
                    advance(PROBATION).await;
                    assert!(take(&pool).await.is_some(), "{bytes} {status}");
                }
            }
            // One that closes at once costs the trust.
            let (wire, far) = used(bytes, status).await;
            drop(far);
            pool.put(wire, budget.open().unwrap(), 0);
            assert!(take(&pool).await.is_none(), "closed");
            let (wire, _far) = used(bytes, status).await;
            pool.put(wire, budget.open().unwrap(), 0);
            assert!(take(&pool).await.is_none(), "{bytes} {status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_trusted_until_a_request_is_lost() {
        let (pool, budget) = pool();
        let (near, mut far) = duplex(1 << 16);
        let mut wire = Connection::new(Io::Other(Box::new(near)));
        for trusted in [true, false] {
            wire.begin(&post(), Some(body(20_000)));
            let stream =
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
            far.write_all(stream).await.unwrap();
            poll_fn(|cx| wire.poll_head(cx, |_, _| {})).await.unwrap();
            poll_fn(|cx| wire.poll_body(cx, &mut |_| {})).await.unwrap();
            assert_eq!(wire.doubt(), Some(Doubt::Streamed));
            pool.put(wire, budget.open().unwrap(), 0);
            let taken = take(&pool).await;
            assert_eq!(taken.is_some(), trusted);
            let Some((again, _)) = taken else { break };
            wire = again;
            pool.distrust(0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_on_probation() {
        let budget = Sockets::budget(&Arc::default(), 64, 64);
        let pool = Pool::new(AGE, budget.clone());
        let mut far_ends = Vec::new();
        for number in 1..=MAX_ON_PROBATION {
            assert!(take(&pool).await.is_none(), "{number}");
            let (wire, far) = used(2, "200 OK").await;
            far_ends.push(far);
            pool.put(wire, budget.open().unwrap(), 0);
        }
        assert!(take(&pool).await.is_some());
        assert!(take(&pool).await.is_none(), "one has made room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_endpoint_is_trusted_as_well() {
        let budget = Sockets::budget(&Arc::default(), 64, 64);
        let pool = Pool::new(AGE, budget.clone());
        let mut far_ends = Vec::new();
        for _ in 0..MAX_ON_PROBATION {
            let (wire, far) = used(2, "200 OK").await;
            far_ends.push(far);
            pool.put(wire, budget.open().unwrap(), 0);
        }
        // So often that, in turns, each would be used again before its probation is over.
        let pause = PROBATION / 4 / 32;
        for _ in 0..32 * 5 {
            advance(pause).await;
            assert!(take(&pool).await.is_some());
            let (wire, far) = used(2, "200 OK").await;
            far_ends.push(far);
            pool.put(wire, budget.open().unwrap(), 0);
        }
        for number in 0..MAX_ON_PROBATION {
            assert!(take(&pool).await.is_some(), "{number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_body_and_a_slow_answer_leave_no_doubt() {
        let (near, mut far) = duplex(1 << 16);
        let mut wire = Connection::new(Io::Other(Box::new(near)));
        wire.begin(&post(), None);
        answered(&mut wire, &mut far, "200 OK").await;
        assert_eq!(wire.doubt(), None);
        for (wait, doubt) in [(Duration::ZERO, Some(Doubt::Small)), (PROBATION, None)] {
            wire.begin(&post(), Some(body(2)));
            let sent = poll_fn(|cx| Poll::Ready(wire.poll_head(cx, |_, _| {}).is_pending()));
            assert!(sent.await);
            advance(wait).await;
            answered(&mut wire, &mut far, "200 OK").await;
            assert_eq!(wire.doubt(), doubt);
        }
    }

    #[tokio::test]
    async fn an_answer_before_the_end_of_the_request_is_always_doubtful() {
        let (near, mut far) = duplex(1 << 10);
        let mut wire = Connection::new(Io::Other(Box::new(near)));
        wire.begin(&post(), Some(body(20_000)));
        answered(&mut wire, &mut far, "200 OK").await;
        assert_eq!(wire.doubt(), Some(Doubt::Early));
    }
}
