//! Starts tasks on the current worker's runtime, and contains their panics. No other module starts tasks.
//!
//! A task holds guards (connection, request, stream). Their counters show drain (graceful shutdown) what is still
//! running.
//!
//! A panic is a defect in Weir. It ends the task in which it occurs, and nothing else: what must run for as long as the
//! process is started again ([`keep_running`]), and a worker whose thread panics is replaced (`server::workers`).
//! Guards that report why something ended ask [`is_failing`], so that a defect is not reported as a client that left.

mod backoff;
mod failing;
#[cfg(debug_assertions)]
mod rehearsal;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prometheus::IntCounter;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub use backoff::Backoff;
pub use failing::{Failing, is_failing};

/// Starts a task. The task ends by itself when its connection closes, its stream ends, or its runtime stops.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the function that all other code must call"
)]
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task)
}

/// Starts a task that must run for as long as its runtime. If it panics, it is started again, after a pause if it
/// panicked before. `part` names it in the log, and `restarts` counts.
pub fn keep_running<F>(
    part: &'static str,
    restarts: &IntCounter,
    start: impl Fn() -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let restarts = restarts.clone();
    spawn(async move {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            if !matches!(spawn(start()).await, Err(error) if error.is_panic()) {
                return;
            }
            let pause = backoff.pause(began.elapsed());
            tracing::error!(
                part,
                ?pause,
                "a part failed by a defect in Weir, it is started again"
            );
            sleep(pause).await;
            restarts.inc();
        }
    })
}

/// Calls `f`, and returns its panic as an error. Whatever a panic has left unfinished must not be used any more.
///
/// # Errors
/// If `f` panicked.
#[inline]
pub fn contained<T>(f: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Panics if a test of a debug build wants a defect at `place`; see `rehearsal`. Release builds have nothing of this.
#[inline]
pub fn rehearse_defect(place: impl FnOnce() -> String) {
    #[cfg(debug_assertions)]
    rehearsal::rehearse(place);
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_started_again_and_what_ends_is_not() {
        let restarts = IntCounter::new("x", "x").unwrap();
        let starts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&starts);
        let kept = keep_running("a test", &restarts, move || {
            let start = count.fetch_add(1, Ordering::Relaxed);
            async move { assert!(start == 3, "a mistake") }
        });
        kept.await.unwrap();
        assert_eq!(starts.load(Ordering::Relaxed), 4);
        assert_eq!(restarts.get(), 3);
    }

    #[test]
    fn a_panic_is_an_error_and_nothing_fails_afterwards() {
        assert_eq!(contained(|| 1).unwrap(), 1);
        let seen = std::cell::Cell::new(None);
        struct Guard<'a>(&'a std::cell::Cell<Option<bool>>);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.set(Some(is_failing()));
            }
        }
        let panicked = contained::<()>(|| {
            let _guard = Guard(&seen);
            panic!("a mistake");
        });
        assert!(panicked.is_err());
        assert_eq!(seen.get(), Some(true));
        assert!(!is_failing());
    }
}
