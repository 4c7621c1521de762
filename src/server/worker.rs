//! One worker: a thread with its own runtime and its own socket of each TCP listener. A stream stays on one worker.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::accept::{self, Acceptor, Arrival, Turn};
use super::listener::Share;
use crate::app::App;
use crate::certificate::ReloadingCertificate;
use crate::stream::pump::coalesce;
use crate::tasks::{self, Failing};

/// How often a worker shows that it is alive, and closes idle upstream connections.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long the end of a worker waits for name look-ups.
const SHUTDOWN: Duration = Duration::from_millis(100);

/// What a worker's thread serves. It outlives the thread, so that another one can take over after a panic: the
/// listening sockets stay open meanwhile, and connections wait in their backlogs.
pub(super) struct Worker {
    pub(super) app: Arc<App>,
    pub(super) index: usize,
    pub(super) shares: Vec<(Share, Option<Arc<ReloadingCertificate>>)>,
    /// Connections that other workers accepted. Locked by the thread for as long as it runs.
    pub(super) arrivals: Mutex<mpsc::Receiver<Arrival>>,
    pub(super) acceptor: Acceptor,
    /// Set when the process ends.
    pub(super) stop: watch::Receiver<bool>,
}

/// Why a worker's thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The process ends.
    Stopped,
    /// The worker panicked, or could not use its runtime or a listener.
    Failed,
}

/// The thread of a worker.
pub(super) struct Thread {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<Ended>,
}

impl Thread {
    /// Waits until the thread has ended.
    pub(super) async fn ended(self) -> Ended {
        // A thread that could not even say so has panicked.
        let ended = self.ended.await.unwrap_or(Ended::Failed);
        // Only its very last steps are left.
        let _ = self.thread.join();
        ended
    }
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// When the system does not allow another one.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<Thread> {
        let (tell, ended) = oneshot::channel();
        let worker = Arc::clone(self);
        let thread = thread::Builder::new()
            .name(format!("weir-{}", self.index))
            .spawn(move || {
                let _ = tell.send(worker.run());
            })?;
        Ok(Thread { thread, ended })
    }

    /// Returns once the process ends.
    pub(super) async fn stopped(&self) {
        // Without a sender the process ends, too.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }

    /// Records whether the worker serves its listeners.
    pub(super) fn set_down(&self, is_down: bool) {
        if let Some(load) = self.app.load.get(self.index) {
            load.set_down(is_down);
        }
    }

    fn run(&self) -> Ended {
        let worker = self.index;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(coalesce::end_turn)
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, worker, "a worker cannot start");
                return Ended::Failed;
            }
        };
        let (ended, _failing) = match tasks::contained(|| runtime.block_on(self.serve())) {
            Ok(Ok(())) => (Ended::Stopped, None),
            Ok(Err(error)) => {
                tracing::error!(%error, worker, "a listener cannot be used");
                (Ended::Failed, None)
            }
            Err(_) => {
                self.set_down(true);
                (Ended::Failed, Some(Failing::begin()))
            }
        };
        // Drops the remaining tasks. A panic may have left the runtime in a state that it does not expect itself.
        let _ = tasks::contained(|| runtime.shutdown_timeout(SHUTDOWN));
        self.app.loaded().forget_connections(worker);
        ended
    }

    /// Serves until the process ends.
    async fn serve(&self) -> io::Result<()> {
        for (share, tls) in &self.shares {
            let listener = Arc::new(accept::Listener::new(share)?);
            let (acceptor, tls) = (self.acceptor.clone(), tls.clone());
            tasks::keep_running(
                "the accept loop of a worker",
                &self.app.metrics.worker_restarts,
                move || accept::accept(acceptor.clone(), Arc::clone(&listener), tls.clone()),
            );
        }
        if let Some(store) = &self.app.store {
            let (store, worker) = (Arc::clone(store), self.index);
            tasks::keep_running(
                "the store of a worker",
                &self.app.metrics.worker_restarts,
                move || Arc::clone(&store).run(worker),
            );
        }
        self.set_down(false);
        let mut arrivals = self.arrivals.lock().await;
        let mut turn = Turn::default();
        let mut sweep = tokio::time::interval(BEAT_EVERY);
        loop {
            tokio::select! {
                Some(arrival) = arrivals.recv() => {
                    self.acceptor.take_over(arrival);
                    turn.note().await;
                }
                _ = sweep.tick() => {
                    if let Some(load) = self.app.load.get(self.index) {
                        load.beat();
                    }
                    tasks::rehearse_defect(|| format!("worker-{}", self.index));
                    self.app.loaded().prune(self.index);
                }
                () = self.stopped() => return Ok(()),
            }
        }
    }
}
