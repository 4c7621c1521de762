//! All workers of the process: starts them, and replaces one that fails.
//!
//! A panic in a task ends that task, which is one connection or one stream. A panic in the code that runs a worker
//! itself ends all of its connections. The other workers go on, and the failed one is replaced by a new thread with the
//! same listening sockets. Until then other workers hand it no connections, and the process reports that it is not
//! ready.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::accept::Acceptor;
use super::listener::Bound;
use super::worker::{self, Ended, Thread, Worker};
use crate::app::App;
use crate::tasks::{self, Backoff};

/// Connections that may wait for another worker to take them over. Beyond that, the worker that accepted them
/// serves them.
const MAX_HANDED_OVER: usize = 256;

/// How often each worker that is alive shows it, in `App::load`.
pub const BEAT_EVERY: Duration = worker::BEAT_EVERY;

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    kept: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts as many workers as the configuration says. They run until they are stopped.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(app: &Arc<App>, bound: Vec<Bound>) -> io::Result<Self> {
        let count = app.load.len();
        let (others, arrivals): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::channel(MAX_HANDED_OVER)).unzip();
        let others: Arc<[_]> = others.into();
        let (stop, stopped) = watch::channel(false);
        let mut shares: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for listener in bound {
            let tls = listener.tls.clone();
            for (shares, share) in shares.iter_mut().zip(listener.shares(count)) {
                shares.extend(share.map(|share| (share, tls.clone())));
            }
        }
        let workers = (arrivals.into_iter().zip(shares)).enumerate();
        let kept = workers.map(|(index, (arrivals, shares))| {
            let worker = Arc::new(Worker {
                app: Arc::clone(app),
                index,
                shares,
                arrivals: Mutex::new(arrivals),
                acceptor: Acceptor::new(Arc::clone(app), index, Arc::clone(&others)),
                stop: stopped.clone(),
            });
            let thread = worker.start()?;
            Ok(tasks::spawn(keep(worker, thread)))
        });
        let kept = kept.collect::<io::Result<_>>()?;
        Ok(Self { stop, kept })
    }

    /// Stops the workers, and waits until their threads have ended.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for kept in self.kept {
            // An error is a panic, which is logged where it occurs.
            let _ = kept.await;
        }
    }
}

/// Replaces the thread of a worker each time it fails, until the process ends.
async fn keep(worker: Arc<Worker>, thread: Thread) {
    let index = worker.index;
    let mut thread = Some(thread);
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        if let Some(thread) = thread.take()
            && thread.ended().await == Ended::Stopped
        {
            return;
        }
        worker.set_down(true);
        let pause = backoff.pause(began.elapsed());
        tracing::error!(worker = index, ?pause, "a worker failed, it is replaced");
        tokio::select! {
            biased;
            () = worker.stopped() => return,
            () = sleep(pause) => {}
        }
        match worker.start() {
            Ok(new) => {
                worker.app.metrics.worker_restarts.inc();
                thread = Some(new);
            }
            Err(error) => tracing::error!(%error, worker = index, "a worker cannot start"),
        }
    }
}
