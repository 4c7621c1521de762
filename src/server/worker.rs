//! Workers: each is a thread with its own runtime and its own socket of each TCP listener. A stream stays on
//! one worker.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::accept::{self, Acceptor, Arrival};
use super::listener::{Bound, Share};
use crate::app::App;
use crate::certificate::ReloadingCertificate;
use crate::stream::pump::coalesce;
use crate::tasks;

/// Connections that may wait for another worker to take them over. Beyond that, the worker that accepted them
/// serves them.
const MAX_HANDED_OVER: usize = 256;
/// How often idle upstream connections are checked.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What one worker starts with.
struct WorkerSetup {
    worker: usize,
    shares: Vec<(Share, Option<Arc<ReloadingCertificate>>)>,
    /// Connections that other workers accepted.
    arrivals: mpsc::Receiver<Arrival>,
    acceptor: Acceptor,
}

/// Starts the workers. They run until `stop` is set.
///
/// # Errors
/// When a thread cannot be started.
pub fn start(
    app: &Arc<App>,
    bound: Vec<Bound>,
    workers: usize,
    stop: &watch::Receiver<bool>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let workers = workers.max(1);
    let (others, arrivals): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| mpsc::channel(MAX_HANDED_OVER)).unzip();
    let others: Arc<[mpsc::Sender<Arrival>]> = others.into();
    let mut setups: Vec<WorkerSetup> = (arrivals.into_iter().enumerate())
        .map(|(worker, arrivals)| WorkerSetup {
            worker,
            shares: Vec::new(),
            arrivals,
            acceptor: Acceptor::new(Arc::clone(app), worker, Arc::clone(&others)),
        })
        .collect();
    for listener in bound {
        let tls = listener.tls.clone();
        for (setup, share) in setups.iter_mut().zip(listener.shares(workers)) {
            setup.shares.extend(share.map(|share| (share, tls.clone())));
        }
    }
    let start = |setup: WorkerSetup| {
        let (app, stop) = (Arc::clone(app), stop.clone());
        std::thread::Builder::new()
            .name(format!("weir-{}", setup.worker))
            .spawn(move || work(&app, setup, stop))
    };
    setups.into_iter().map(start).collect()
}

fn work(app: &Arc<App>, setup: WorkerSetup, mut stop: watch::Receiver<bool>) {
    let WorkerSetup {
        worker,
        shares,
        mut arrivals,
        acceptor,
    } = setup;
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(coalesce::end_turn)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, worker, "a worker cannot start");
            return;
        }
    };
    runtime.block_on(async {
        for (share, tls) in shares {
            match accept::Listener::new(share) {
                Ok(listener) => drop(tasks::spawn(accept::accept(
                    acceptor.clone(),
                    listener,
                    tls,
                ))),
                Err(error) => tracing::error!(%error, worker, "a listener cannot be used"),
            }
        }
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                Some(arrival) = arrivals.recv() => acceptor.take_over(arrival),
                _ = sweep.tick() => app.loaded().prune(worker),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
    });
    // Ends the remaining tasks without waiting for name look-ups.
    runtime.shutdown_timeout(Duration::from_millis(100));
}
