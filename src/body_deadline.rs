//! Enforces the deadlines of a plain response on a multiplexed (HTTP/2) connection: its total time, and how long its
//! client may stall.
//!
//! While a client grants no flow-control window, HTTP/2 does not poll the body of the stream, so the body cannot
//! enforce deadlines. The task that runs the stream does so instead: the body records what it hands out, and when a
//! deadline has passed, the task drops the stream. That resets the stream and closes the connection to the upstream.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::client_conn::{AFTER_STALL, Overdue};

tokio::task_local! {
    static CURRENT: Arc<BodyDeadline>;
}

/// The deadlines of a plain response. There are none until the response begins.
#[derive(Debug, Default)]
pub(crate) struct BodyDeadline {
    /// Locked for a single read or write. Used by one task only.
    times: Mutex<Option<Times>>,
}

#[derive(Debug)]
struct Times {
    /// When the response must be complete.
    total: Instant,
    /// How long the client may take no data.
    stall: Duration,
    /// When data was last handed out; `None` if the client has asked for more since.
    handed: Option<Instant>,
}

impl BodyDeadline {
    /// Returns the deadlines of this task's response. Returns `None` on a connection that serves one request at a
    /// time, because such a connection enforces these deadlines itself.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Begins the response, which must be complete at `total`, and whose client may stall for `stall`.
    pub(crate) fn begin(&self, total: Instant, stall: Duration) {
        *self.lock() = Some(Times {
            total,
            stall: stall + AFTER_STALL,
            handed: Some(Instant::now()),
        });
    }

    /// Records that data was handed to the client. The client must now make progress.
    pub(crate) fn note_handed(&self) {
        self.note(Some(Instant::now()));
    }

    /// Records that the client wants more data than there is. The upstream must now make progress.
    pub(crate) fn note_wanted(&self) {
        self.note(None);
    }

    fn note(&self, handed: Option<Instant>) {
        if let Some(times) = &mut *self.lock() {
            times.handed = handed;
        }
    }

    /// Returns the earliest deadline, if any.
    fn next(&self) -> Option<Instant> {
        let times = self.lock();
        let times = times.as_ref()?;
        let stalled = times.handed.map(|handed| handed + times.stall);
        Some(stalled.map_or(times.total, |stalled| stalled.min(times.total)))
    }

    /// Returns the deadline that has passed, if any.
    pub(crate) fn missed(&self) -> Option<Overdue> {
        let now = Instant::now();
        let times = self.lock();
        let times = times.as_ref()?;
        let stalled = times.handed.map(|handed| handed + times.stall);
        if times.total <= now {
            Some(Overdue::Total)
        } else {
            stalled
                .is_some_and(|at| at <= now)
                .then_some(Overdue::Stalled)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Times>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one stream of a multiplexed connection, and drops it when its response misses a deadline.
pub(crate) async fn enforce(stream: impl Future<Output = ()>) {
    let deadline = Arc::<BodyDeadline>::default();
    let mut stream = pin!(CURRENT.scope(Arc::clone(&deadline), stream));
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(next) = deadline.next() else {
                return Poll::Pending;
            };
            // The timer is reset lazily: only when it has fired, or when a deadline is earlier than the timer.
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if timer.is_elapsed() || next < timer.deadline() {
                timer.as_mut().reset(next);
            }
            ready!(timer.as_mut().poll(cx));
            if deadline.next().is_some_and(|next| next <= Instant::now()) {
                return Poll::Ready(());
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns how long a stream runs that begins a response with a total time of 100 s and a stall limit of 9 s,
    /// and then does `what`.
    async fn lasts<F: Future<Output = ()>>(what: impl FnOnce(Arc<BodyDeadline>) -> F) -> Duration {
        let started = Instant::now();
        enforce(async {
            let deadline = BodyDeadline::current().unwrap();
            deadline.begin(started + 100 * SECOND, 9 * SECOND);
            what(deadline).await;
        })
        .await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_the_client_does_not_take_ends() {
        let never = |_| std::future::pending();
        assert_eq!(lasts(never).await, 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_stalled_while_its_client_takes_it_or_the_upstream_is_silent() {
        let slow = |deadline: Arc<BodyDeadline>| async move {
            for _ in 0..5 {
                sleep(8 * SECOND).await;
                deadline.note_handed();
            }
            deadline.note_wanted();
            sleep(40 * SECOND).await;
        };
        assert_eq!(lasts(slow).await, 80 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn total_ends_an_answer_whatever_happens() {
        let endless = |deadline: Arc<BodyDeadline>| async move {
            loop {
                sleep(SECOND).await;
                deadline.note_handed();
            }
        };
        assert_eq!(lasts(endless).await, 100 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_plain_answer_has_other_bounds() {
        let started = Instant::now();
        enforce(sleep(1000 * SECOND)).await;
        assert_eq!(started.elapsed(), 1000 * SECOND);
        assert!(BodyDeadline::current().is_none());
    }
}
