//! The one way to start a task on this worker's runtime.
//!
//! A task holds guards (connection, request, stream) whose counters tell drain what is still running.

use tokio::task::JoinHandle;

/// Starts a task. It ends by itself: its connection closes, its stream ends, or its runtime stops.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place all others are sent to"
)]
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task)
}
