//! Both directions of a tunnel in one task, their deadlines, and how they end.
//!
//! A tunnel ends by itself when both ends have, or when the ends have closed it (RFC 6455, 7) and one of them has gone.
//! If Weir ends it, each end gets a close frame at the next end of a frame, and has a moment to answer. A message
//! concerns only the direction whose wake flag is set.

mod clock;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::close::{self, Why};
use super::report::{Account, Closer, Ended};
use super::wake_flags::WakeFlags;
use super::way::{Failed, Way, Went};
use crate::client_conn::ClientConn;
use crate::end::End;
use crate::session::traffic::Totals;
use crate::tasks;
use crate::upstream::Upgraded;
use crate::wire::websocket::Sender;

/// How long the ends may take to answer a close frame of Weir. The bytes in front of it may stand still as long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take to the end of a frame that has begun, even if its bytes keep coming.
const LAST_FRAME: Duration = Duration::from_secs(10);
/// How often it is looked whether a client over HTTP/2 is still there that sends nothing more.
const LOOK: Duration = Duration::from_millis(100);

/// The time limits of a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long no byte may pass, in either direction.
    pub(crate) idle: Duration,
    /// How long an end may take nothing of what waits for it.
    pub(crate) stall: Duration,
    /// When it must have ended.
    pub(crate) total_at: Instant,
}

/// A tunnel whose client has not been told yet.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) agent: Upgraded,
    pub(crate) limits: Limits,
    pub(crate) account: Account,
}

/// What is left of the client when a tunnel is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The client is to be told that nothing more comes.
    Closed,
    /// The client has left.
    Left,
}

/// The end of a tunnel that has begun.
#[derive(Clone, Copy, Debug)]
struct Ending {
    why: Why,
    /// When the tunnel is over, unless bytes move before a close frame.
    until: Instant,
    /// When the tunnel is over in any case.
    at_last: Instant,
    /// The ends get close frames.
    closes: bool,
}

/// A tunnel. Dropping it closes the connection to the agent.
pub(crate) struct Tunnel<S> {
    client: S,
    agent: Upgraded,
    /// From the client to the agent.
    up: Way,
    /// From the agent to the client.
    down: Way,
    limits: Limits,
    /// When bytes last moved.
    moved_at: Instant,
    /// Who has woken the task.
    wake_flags: WakeFlags,
    timer: Pin<Box<Sleep>>,
    ending: Option<Ending>,
    /// Who sent the first close frame.
    closer: Option<Closer>,
    /// Whose bytes ended first; `true` is the client.
    first_is_client: Option<bool>,
    client_left: bool,
    /// When it is looked again whether the client is still there, if that has to be done.
    look_at: Option<Instant>,
    /// The time of the end has passed.
    is_late: bool,
    /// `None` over HTTP/2.
    conn: Option<Arc<ClientConn>>,
    account: Account,
}

impl<S> std::fmt::Debug for Tunnel<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl<S> Tunnel<S> {
    /// Begins a tunnel. `early` are the bytes that followed the client's request. `conn` is the client's connection, if
    /// it carries nothing else.
    pub(crate) fn new(
        client: S,
        early: Bytes,
        start: Start,
        conn: Option<Arc<ClientConn>>,
    ) -> Self {
        let Start {
            agent,
            limits,
            account,
        } = start;
        if let Some(conn) = &conn {
            conn.set_tunnel(true);
        }
        let now = Instant::now();
        Self {
            client,
            agent,
            up: Way::new(Sender::Client, early),
            down: Way::new(Sender::Server, Bytes::new()),
            // Those of the task replace them when it is known.
            wake_flags: WakeFlags::new(Waker::noop()),
            timer: Box::pin(sleep_until(limits.total_at.min(now + limits.idle))),
            limits,
            moved_at: now,
            ending: None,
            closer: None,
            first_is_client: None,
            client_left: false,
            look_at: None,
            is_late: false,
            conn,
            account,
        }
    }

    /// Returns the client's side, once the tunnel is over.
    pub(crate) fn into_client(self) -> S {
        if let Some(conn) = &self.conn {
            conn.set_tunnel(false);
        }
        self.client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tunnel<S> {
    /// Drives the tunnel. Ready when it is over and reported.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Over> {
        tasks::rehearse_defect(|| "tunnel".to_owned());
        if !self.wake_flags.wakes(cx.waker()) {
            self.wake_flags = WakeFlags::new(cx.waker());
        }
        if self.ending.is_none() && self.wake_flags.stop.take() {
            let stopped = self.account.poll_stop(&mut self.wake_flags.stop.context());
            if let Poll::Ready(end) = stopped {
                self.end(Why::Ended(end));
            }
        }
        loop {
            let more = self.copy();
            if let Some(over) = self.over() {
                // What has moved before a socket failed counts, too.
                self.account.note(self.totals(), Instant::now());
                self.account.report(self.ended());
                return Poll::Ready(over);
            }
            if self.poll_timer().is_pending() {
                if more {
                    // Other tasks have their turn.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    /// Moves what can be moved. Reports whether there is more, for which nobody wakes the task.
    fn copy(&mut self) -> bool {
        let up = self.copy_up();
        let up = up.unwrap_or_else(|failed| self.failed(failed == Failed::Source, failed));
        let down = self.copy_down();
        let down = down.unwrap_or_else(|failed| self.failed(failed == Failed::Receiver, failed));
        self.look();
        if let Some(conn) = &self.conn {
            // Unread bytes are in the way of the client's end. A flush then looks for it.
            let listens = self.up.blocked().is_none();
            conn.note_listening(listens);
            if !listens && self.down.blocked().is_none() && self.flush_fails() {
                self.failed(true, Failed::Source);
            }
        } else if self.ending.is_none() && (self.up.has_ended() || self.up.blocked().is_some()) {
            // Nobody reads, so nobody is woken for a reset.
            self.look_for_reset();
        }
        if up.moved || down.moved {
            let now = Instant::now();
            self.moved_at = now;
            self.account.note(self.totals(), now);
            if let Some(ending) = &mut self.ending
                && !(self.up.is_told() && self.down.is_told())
            {
                ending.until = now + CLOSE_TIMEOUT;
            }
        }
        if self.up.follower.refuses() && self.ending.is_none() {
            self.end(Why::Violation);
            return true;
        }
        if up.more {
            self.wake_flags.up.set();
        }
        if down.more {
            self.wake_flags.down.set();
        }
        up.more || down.more
    }

    /// Moves bytes to the agent, if one of the sockets may have become ready for that.
    fn copy_up(&mut self) -> Result<Went, Failed> {
        if !self.wake_flags.up.take() {
            return Ok(Went::default());
        }
        let cx = &mut self.wake_flags.up.context();
        self.up.poll(cx, &mut self.client, &mut self.agent)
    }

    /// Moves bytes to the client, if one of the sockets may have become ready for that.
    fn copy_down(&mut self) -> Result<Went, Failed> {
        // While both directions wait, nobody reads the client, and nothing may be flushed: only a write finds its end.
        let looks =
            self.conn.is_some() && self.up.blocked().is_some() && self.down.blocked().is_some();
        if !self.wake_flags.down.take() && !looks {
            return Ok(Went::default());
        }
        let cx = &mut self.wake_flags.down.context();
        self.down.poll(cx, &mut self.agent, &mut self.client)
    }

    /// Reports whether a flush shows that the client has gone. A socket wakes only the last one who waited to write to
    /// it, and that has to remain the direction to the client.
    fn flush_fails(&mut self) -> bool {
        let cx = &mut self.wake_flags.down.context();
        matches!(
            Pin::new(&mut self.client).poll_flush(cx),
            Poll::Ready(Err(_))
        )
    }

    /// Looks whether a client over HTTP/2 has reset its stream. A reset may read like an end, and nobody is woken for
    /// one that follows an end. A flush fails after it.
    fn look_for_reset(&mut self) {
        if self.flush_fails() {
            self.failed(true, Failed::Source);
        } else {
            self.look_at = Some(Instant::now() + LOOK);
        }
    }

    /// Notes who has ended, and who has closed.
    fn look(&mut self) {
        if self.first_is_client.is_none() && (self.up.has_ended() || self.down.has_ended()) {
            self.first_is_client = Some(self.up.has_ended());
        }
        if self.closer.is_none() && self.ending.is_none() {
            if self.up.follower.has_closed() {
                self.closer = Some(Closer::Client);
            } else if self.down.follower.has_closed() {
                self.closer = Some(Closer::Agent);
            }
        }
    }

    /// Handles a socket that failed: the client's, or the agent's.
    fn failed(&mut self, is_client: bool, failed: Failed) -> Went {
        self.look();
        let why = if is_client {
            // The operating system gives a stalled client up as well, and may be first.
            if self.up.is_given_up() || self.down.is_given_up() {
                End::ClientStalled
            } else {
                End::ClientGone
            }
        } else {
            End::UpstreamReset
        };
        if self.ending.is_none() {
            let now = Instant::now();
            self.ending = Some(Ending {
                why: Why::Ended(why),
                until: now + CLOSE_TIMEOUT,
                at_last: now + LAST_FRAME,
                closes: false,
            });
            self.client_left = is_client;
        }
        self.up.abandon();
        if is_client {
            self.down.abandon();
        } else if failed == Failed::Source {
            // The client gets what has come, and then the end.
            self.down.source_ended();
        }
        self.wake_flags.set_both_ways();
        Went {
            moved: false,
            more: true,
        }
    }

    /// Ends the tunnel: each end gets a close frame, unless it takes nothing.
    fn end(&mut self, why: Why) {
        let now = Instant::now();
        self.ending = Some(Ending {
            why,
            until: now + CLOSE_TIMEOUT,
            at_last: now + LAST_FRAME,
            closes: true,
        });
        match why {
            Why::AgentStalled => self.up.abandon(),
            Why::Ended(End::ClientStalled) => self.down.abandon(),
            Why::Ended(_) | Why::Violation => {}
        }
        let ended = self.ended();
        self.account.expect(ended);
        let word = why.code();
        self.up
            .close(close::frame(Sender::Client, why.for_agent(), word));
        self.down
            .close(close::frame(Sender::Server, why.for_client(), word));
        self.wake_flags.set_both_ways();
    }

    /// Returns what is left if the tunnel is over.
    fn over(&self) -> Option<Over> {
        if self.client_left {
            return Some(Over::Left);
        }
        let (up, down) = (&self.up, &self.down);
        let is_over = match &self.ending {
            _ if self.is_late => true,
            Some(ending) => {
                let answered = |way: &Way| way.has_ended() || way.follower.has_closed();
                // A client that takes nothing cannot answer.
                let is_heard = ending.why == Why::Ended(End::ClientStalled) || answered(up);
                up.is_told() && down.is_told() && is_heard && answered(down)
            }
            None => {
                let closed = up.has_passed_close() && down.has_passed_close();
                let shut = (up.is_shut(), down.is_shut());
                shut == (true, true) || (closed && shut != (false, false))
            }
        };
        is_over.then_some(Over::Closed)
    }

    /// Returns how it ended. What the ends have agreed on counts, whatever became of their connections.
    fn ended(&self) -> Ended {
        let closed = match (self.closer, &self.ending) {
            (Some(Closer::Client), _) => Some((Closer::Client, self.up.follower.close_code())),
            (Some(closer), _) => Some((closer, self.down.follower.close_code())),
            (None, Some(ending)) if ending.closes => {
                Some((Closer::Weir, Some(ending.why.for_client())))
            }
            (None, _) => None,
        };
        match (&self.ending, closed) {
            (Some(ending), _) if ending.closes => Ended {
                end: ending.why.end(),
                code: ending.why.code(),
                closed,
            },
            (_, Some((closer, code))) => Ended {
                closed,
                ..close::outcome(closer == Closer::Agent, code).into()
            },
            (Some(ending), None) => ending.why.end().into(),
            // Nobody closed it, so whoever ended first has vanished (RFC 6455, 7.1.5).
            (None, None) if self.first_is_client == Some(true) => End::ClientGone.into(),
            (None, None) => End::Truncated.into(),
        }
    }

    const fn totals(&self) -> Totals {
        Totals {
            frames_in: self.up.follower.frames(),
            frames_out: self.down.follower.frames(),
            bytes_in: self.up.bytes(),
            bytes_out: self.down.bytes(),
        }
    }
}
