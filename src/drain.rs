//! Graceful shutdown: readiness is off at once; after `delay` new requests are refused and WebSockets are closed;
//! streams are ended at `limit`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::App;
use crate::end::End;

/// How often to check whether the last request has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time for terminal events to reach their clients, and for callers to respond, before the process exits.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The state of the shutdown, shared by the signal handlers and the admin listener.
#[derive(Debug)]
pub struct Drain {
    begun: watch::Sender<u32>,
    finished: watch::Sender<bool>,
    /// Each caller that waits for the end holds a clone.
    callers: Arc<()>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            begun: watch::Sender::new(0),
            finished: watch::Sender::new(false),
            callers: Arc::default(),
        }
    }
}

impl Drain {
    /// Begins to drain. A second call skips the delay.
    pub fn begin_or_hurry(&self) {
        self.begun.send_modify(|times| *times += 1);
    }

    /// Begins to drain. Has no effect if draining has begun.
    pub fn begin(&self) {
        self.begun.send_if_modified(|times| {
            let first = *times == 0;
            *times += u32::from(first);
            first
        });
    }

    /// Waits until draining begins.
    pub async fn has_begun(&self) {
        let mut begun = self.begun.subscribe();
        // The sender lives as long as `self`.
        let _ = begun.wait_for(|times| *times > 0).await;
    }

    /// Waits until nothing runs any more. The process stays until the returned value is dropped, for 0.5 s at
    /// most, so that the caller's response can be sent.
    pub async fn finished(&self) -> Arc<()> {
        let caller = Arc::clone(&self.callers);
        let mut finished = self.finished.subscribe();
        // The sender lives as long as `self`.
        let _ = finished.wait_for(|finished| *finished).await;
        caller
    }

    /// Waits until draining begins, then until it is over. Returns how many streams had to be ended, and when the limit
    /// of the drain is reached, which may have been before.
    pub async fn run(&self, app: &Arc<App>) -> (usize, Instant) {
        let mut begun = self.begun.subscribe();
        self.has_begun().await;
        let started = Instant::now();
        let settings = app.loaded().config.drain;
        let limit_at = started + settings.limit;
        app.draining.store(true, Ordering::Relaxed);
        app.metrics.draining.set(1);
        tracing::info!(streams = app.streams.len(), "draining");
        tokio::select! {
            () = sleep(settings.delay) => {}
            _ = begun.wait_for(|times| *times > 1) => tracing::info!("drain delay skipped"),
        }
        app.refusing.store(true, Ordering::Relaxed);
        // A WebSocket does not end by itself, and its client can come back to another instance.
        let live = app.streams.list();
        for tunnel in live.iter().filter(|live| live.traffic().is_some()) {
            tunnel.stop(End::Drained);
        }
        let idle = async {
            while app.requests.load(Ordering::Relaxed) > 0 || !app.streams.is_empty() {
                sleep(LOOK_EVERY).await;
            }
        };
        tokio::pin!(idle);
        let mut ended = 0;
        tokio::select! {
            () = &mut idle => {}
            () = sleep_until(limit_at) => {
                app.cut.send_replace(true);
                for live in app.streams.list() {
                    live.stop(End::Drained);
                    ended += 1;
                }
                app.resumables.end_viewers();
                // A client that does not read its terminal event in time is not waited for.
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, idle).await;
            }
        }
        self.finished.send_replace(true);
        let told = async {
            while Arc::strong_count(&self.callers) > 1 {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, told).await;
        (ended, limit_at)
    }
}
