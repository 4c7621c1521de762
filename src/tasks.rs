//! Starts tasks on the current worker's runtime. No other module does so.
//!
//! A task holds guards (connection, request, stream). Their counters show drain (graceful shutdown) what is still
//! running.

use tokio::task::JoinHandle;

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
