//! Lets another thread read a large event.

use std::panic::resume_unwind;
use std::pin::Pin;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::stream::large_event::{ReadEvent, Unread};

/// How many large events are read at once, so that the threads that serve the streams are not left without processors.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A large event that another thread reads.
pub(super) type Reading = Pin<Box<dyn Future<Output = ReadEvent> + Send>>;

/// Reads an event on a thread for blocking work. A panic there continues here: it ends this stream.
pub(super) fn reading(unread: Unread) -> Reading {
    Box::pin(async {
        // Nothing closes the semaphore.
        let turn = TURNS.acquire().await;
        let job = move || {
            let event = unread.read();
            drop(turn);
            event
        };
        match spawn_blocking(job).await {
            Ok(event) => event,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The worker ends, and with it this stream.
                Err(_) => std::future::pending().await,
            },
        }
    })
}
