//! The deadlines of a socket: of its client's messages, acknowledgements, pongs and reads, and of its end.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Socket;
use crate::bridge::close::Why;
use crate::bridge::run::Run;
use crate::stream::pump::Reader as _;

/// How many pings in a row may stay unanswered.
const MAX_MISSED: u8 = 2;
/// A timer that is set for nothing.
pub(super) const NEVER: Duration = Duration::from_secs(86_400);

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Returns the next deadline.
    fn deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return Some(ending.until);
        }
        let held = self.is_held();
        let timeout = self.start.settings.ack_timeout;
        let acks = self.runs.iter();
        let acks = acks.filter_map(|run| run.gives_up_at(held, timeout));
        let stall = self.stalled_since().map(|since| since + self.start.stall);
        let half = self.frames.half_since();
        let half = half.map(|since| since + self.start.message_pause);
        acks.chain(stall).chain(half).chain(self.ping_at).min()
    }

    /// Returns since when the client has taken nothing.
    fn stalled_since(&self) -> Option<Instant> {
        let since = self.frames.blocked()?;
        // The socket may have taken more of what it was given.
        let taken = self.conn.as_ref().and_then(|conn| conn.last_progress());
        Some(taken.map_or(since, |taken| taken.max(since)))
    }

    /// Waits for the next deadline, and acts on it. The timer is reset only when it has fired, or for a deadline that
    /// is earlier.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let at = self.deadline().unwrap_or_else(|| now + NEVER);
            if at < self.timer.deadline() {
                self.timer.as_mut().reset(at);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if at > now {
                self.timer.as_mut().reset(at);
                continue;
            }
            self.act(cx, now);
            return Poll::Ready(());
        }
    }

    /// Acts on the deadlines that have passed.
    fn act(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(ending) = &self.ending {
            self.is_late |= ending.until <= now;
            return;
        }
        let (held, timeout) = (self.is_held(), self.start.settings.ack_timeout);
        let is_late = |run: &Run| run.gives_up_at(held, timeout).is_some_and(|at| at <= now);
        if self.runs.iter().any(is_late) {
            self.end(cx, Why::Unacknowledged);
            return;
        }
        let stall = self.stalled_since();
        if stall.is_some_and(|since| since + self.start.stall <= now) {
            self.end(cx, Why::Stalled);
            return;
        }
        let half = self.frames.half_since();
        if half.is_some_and(|since| since + self.start.message_pause <= now) {
            self.end(cx, Why::Unfinished);
            return;
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + self.start.heartbeat);
            if self.frames.blocked().is_some() {
                // It could not answer: its answer would not be read.
                return;
            }
            if self.missed >= MAX_MISSED {
                self.end(cx, Why::NoPong);
                return;
            }
            self.missed += 1;
            self.frames.ping(cx);
        }
    }
}
