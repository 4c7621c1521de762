//! Lets connections that end at the same moment end one after the other.
//!
//! When a network fails, thousands of clients leave within milliseconds. Each connection that ends takes the thread for
//! ten to twenty microseconds: its stream or viewer is taken out of the lists, counted and logged, and its socket closed.
//! The events of all other streams of the worker would wait for all of that. So only a few connections end at once; the
//! rest wait in a queue, and between them the runtime looks at its sockets and timers.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::Instant;

use crate::tasks;

/// So many connections of a worker end without waiting within each [`MOMENT`]. They take a quarter of it at most.
const AT_ONCE: usize = 16;
const MOMENT: Duration = Duration::from_millis(1);
/// So many of those that wait end before the runtime looks at its sockets again.
const TURN: usize = 4;

thread_local! {
    static DEPARTURES: RefCell<Departures> = RefCell::default();
}

/// The connections that end on one thread. A connection waits once at most, so there are no more than connections.
#[derive(Debug, Default)]
struct Departures {
    /// The moment that `ended` is about has begun then.
    began: Option<Instant>,
    /// How many have ended within it.
    ended: usize,
    waiting: VecDeque<Waker>,
    /// A task calls those that wait.
    is_called: bool,
}

impl Departures {
    /// Reports whether one more may end at once.
    fn admits(&mut self, now: Instant) -> bool {
        let is_over = |began: Instant| now.duration_since(began) >= MOMENT;
        if self.began.is_none_or(is_over) {
            (self.began, self.ended) = (Some(now), 0);
        }
        let admits = !self.is_called && self.ended < AT_ONCE;
        self.ended += usize::from(admits);
        admits
    }
}

/// Is ready when a connection may end. If it must wait, the next call is ready, whoever has woken the task.
pub(super) fn poll_turn(cx: &Context<'_>) -> Poll<()> {
    let must_call = DEPARTURES.with_borrow_mut(|departures| {
        if departures.admits(Instant::now()) {
            return None;
        }
        departures.waiting.push_back(cx.waker().clone());
        Some(!std::mem::replace(&mut departures.is_called, true))
    });
    match must_call {
        None => Poll::Ready(()),
        Some(must_call) => {
            if must_call {
                tasks::spawn(call());
            }
            Poll::Pending
        }
    }
}

/// Calls those that wait, until none is left.
async fn call() {
    let _calling = Calling;
    loop {
        let next: Vec<Waker> = DEPARTURES.with_borrow_mut(|departures| {
            let count = departures.waiting.len().min(TURN);
            departures.waiting.drain(..count).collect()
        });
        if next.is_empty() {
            return;
        }
        next.into_iter().for_each(Waker::wake);
        yield_now().await;
    }
}

/// Is dropped with the task that calls, also if its runtime ends: then nobody is left to be called.
struct Calling;

impl Drop for Calling {
    fn drop(&mut self) {
        let left = DEPARTURES.try_with(RefCell::take);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Ends like a connection, and notes that.
    async fn depart(number: usize, ended: Rc<RefCell<Vec<usize>>>) {
        let mut waits = false;
        poll_fn(|cx| {
            if waits {
                return Poll::Ready(());
            }
            waits = true;
            poll_turn(cx)
        })
        .await;
        ended.borrow_mut().push(number);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_end_at_once_and_the_others_in_turns() {
        const ALL: usize = 100;
        let local = LocalSet::new();
        let ended = Rc::default();
        local
            .run_until(async {
                for number in 0..ALL {
                    spawn_local(depart(number, Rc::clone(&ended)));
                }
                let mut seen = Vec::new();
                while ended.borrow().len() < ALL {
                    yield_now().await;
                    seen.push(ended.borrow().len());
                }
                let most = seen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
                assert_eq!(seen[0], AT_ONCE, "{seen:?}");
                assert!(most <= 2 * TURN, "{seen:?}");
            })
            .await;
        assert_eq!(*ended.borrow(), (0..ALL).collect::<Vec<_>>(), "in order");
    }

    #[tokio::test(start_paused = true)]
    async fn each_moment_admits_some_again() {
        let mut departures = Departures::default();
        let now = Instant::now();
        for number in 0..AT_ONCE {
            assert!(departures.admits(now), "{number}");
        }
        assert!(!departures.admits(now));
        assert!(departures.admits(now + MOMENT));
        departures.is_called = true;
        assert!(!departures.admits(now + MOMENT), "nobody overtakes");
    }
}
