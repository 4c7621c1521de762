//! The deadlines of a tunnel. Bytes that move put them off, so a message needs no look at the timer: when it fires,
//! they are compared with when bytes last moved.

use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Tunnel;
use crate::end::End;
use crate::tunnel::close::Why;
use crate::tunnel::way::Way;

/// What a deadline is for.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The tunnel ends.
    Ends(Why),
    /// The end of the tunnel has taken too long.
    IsLate,
    /// Time to check whether the client is still there.
    Looks,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tunnel<S> {
    /// Returns the next deadline, and what it is for.
    fn deadline(&self) -> (Instant, Due) {
        if let Some(ending) = &self.ending {
            return (ending.until.min(ending.at_last), Due::IsLate);
        }
        let limits = &self.limits;
        let ends = |end| Due::Ends(Why::Ended(end));
        let mut next = (limits.total_at, ends(End::TotalTimeout));
        let stalled = |way: &Way| Some(way.blocked()? + limits.stall);
        for (at, due) in [
            (stalled(&self.down), ends(End::ClientStalled)),
            (stalled(&self.up), Due::Ends(Why::AgentStalled)),
            (Some(self.moved_at + limits.idle), ends(End::IdleTimeout)),
            (self.look_at, Due::Looks),
        ] {
            if let Some(at) = at
                && at < next.0
            {
                next = (at, due);
            }
        }
        next
    }

    /// Waits for the next deadline, and acts on it. The timer is reset only when it has fired, or for a deadline that
    /// is earlier.
    pub(super) fn poll_timer(&mut self) -> Poll<()> {
        // Otherwise the deadlines are later than when the timer was set: bytes that move only put them off.
        let may_be_earlier = self.ending.is_some()
            || self.look_at.is_some()
            || self.up.blocked().is_some()
            || self.down.blocked().is_some();
        if !self.wake_flags.timer.take() && !may_be_earlier {
            return Poll::Pending;
        }
        loop {
            let (at, due) = self.deadline();
            if at < self.timer.deadline() {
                self.timer.as_mut().reset(at);
            }
            ready!(
                self.timer
                    .as_mut()
                    .poll(&mut self.wake_flags.timer.context())
            );
            if at > Instant::now() {
                self.timer.as_mut().reset(at);
                continue;
            }
            match due {
                Due::Ends(why) => self.end(why),
                Due::IsLate => self.is_late = true,
                // That is done with the next move.
                Due::Looks => self.look_at = None,
            }
            // It has fired, and is not set.
            self.wake_flags.timer.set();
            return Poll::Ready(());
        }
    }
}
