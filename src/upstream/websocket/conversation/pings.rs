//! Pings, which show whether a silent agent lives.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Pings without an answer after which the agent is taken for dead, once as much time has passed again.
const MAX_MISSED: u32 = 2;

/// When the agent is pinged.
#[derive(Debug)]
pub(super) struct Pings {
    every: Duration,
    timer: Pin<Box<Sleep>>,
    /// Something has arrived since the timer was set.
    heard: bool,
    missed: u32,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// The agent has answered none of the last pings.
    Dead,
}

impl Pings {
    /// Creates pings of an agent that is silent for `every`; `None` if that is zero.
    pub(super) fn new(every: Duration) -> Option<Self> {
        (!every.is_zero()).then(|| Self {
            every,
            timer: Box::pin(sleep(every)),
            heard: false,
            missed: 0,
        })
    }

    /// Notes that something has arrived: whoever talks need not be asked.
    pub(super) const fn heard(&mut self) {
        self.heard = true;
    }

    /// Is ready when something is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            self.timer.as_mut().reset(Instant::now() + self.every);
            if !std::mem::take(&mut self.heard) {
                break;
            }
            self.missed = 0;
        }
        if self.missed >= MAX_MISSED {
            return Poll::Ready(Due::Dead);
        }
        self.missed += 1;
        Poll::Ready(Due::Ping)
    }
}
