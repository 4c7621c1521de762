//! The state that all workers share: the configuration in force, the live streams, the metrics, the drain state.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::capacity::Capacity;
use crate::certificate::ReloadingCertificate;
use crate::config::{Config, Route, Upstream};
use crate::memory::Memory;
use crate::metrics::{Metrics, RouteMetrics};
use crate::outbox::Outbox;
use crate::probe::Probes;
use crate::session::detached::DetachedCalls;
use crate::session::registry::Registry;
use crate::session::resumable::Resumables;
use crate::store::Store;
use crate::tasks;
use crate::traces::Traces;
use crate::upstream::hops::Hop;
use crate::upstream::{self, Client, Endpoints, Sockets, connector};

/// How many characters of the problems of a rejected configuration are kept. The log has all.
const MAX_WHY: usize = 2000;

/// The shared state of the process.
#[derive(Debug)]
pub struct App {
    loaded: ArcSwap<Loaded>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Exports spans; `None` if they are not exported.
    pub traces: Option<Traces>,
    /// Sends records of finished streams; `None` if there are none.
    pub outbox: Option<Arc<Outbox>>,
    /// The live streams.
    pub streams: Arc<Registry>,
    /// The streams that clients can come back to.
    pub resumables: Arc<Resumables>,
    /// The streams of the probe, if the configuration has it.
    pub probes: Arc<Probes>,
    /// Keeps streams where other instances find them; `None` if they are kept in memory alone.
    pub store: Option<Arc<Store>>,
    /// The process drains: it reports that it is not ready (graceful shutdown).
    pub draining: AtomicBool,
    /// New requests are refused, because the process drains.
    pub refusing: AtomicBool,
    /// Shows whether memory is short.
    pub memory: Arc<Memory>,
    /// Set when requests that are still in progress must end.
    pub cut: watch::Sender<bool>,
    /// The number of requests in progress, including streams, and those that are being refused.
    pub requests: Arc<AtomicUsize>,
    /// The requests in progress that count towards `limits.max_requests`: those that were admitted.
    pub admitted: Arc<Capacity>,
    /// The calls that continue without their client.
    pub detached: Arc<DetachedCalls>,
    /// The open connections to agents.
    pub sockets: Arc<Sockets>,
    /// The number of open client connections.
    pub connections: AtomicUsize,
    /// The certificates of the listeners, by address.
    pub certificates: Vec<(String, Arc<ReloadingCertificate>)>,
    /// What each forwarded request says of the process, so that loops end.
    pub hop: Hop,
    /// The load of each worker.
    pub load: Vec<Load>,
    /// When the process began to serve.
    pub started: Instant,
    /// Locked to be copied, or once for each reload.
    reloads: Mutex<Reloads>,
}

/// Which configuration is in force, and what came of the last reload.
#[derive(Clone, Debug)]
pub struct Reloads {
    /// How many configurations have been in force, this one included.
    pub generation: u64,
    /// Since when this one has been in force.
    pub since: SystemTime,
    /// When the file was last read again, and why that was of no effect, if it was; `None` if it has not been.
    pub last: Option<(SystemTime, Option<String>)>,
}

/// The number of connections and requests of one worker. It decides which worker serves the next connection.
#[derive(Debug, Default)]
pub struct Load {
    count: Arc<AtomicUsize>,
    /// How often the worker has shown that it is alive.
    beats: AtomicU64,
    /// The worker has failed, and is not replaced yet.
    is_down: AtomicBool,
}

impl Load {
    /// Returns the number.
    pub fn get(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one more until the guard is dropped.
    pub fn enter(&self) -> UnderWay {
        UnderWay::enter(&self.count)
    }

    /// Records that the worker is alive.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often the worker has shown that it is alive.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Reports whether the worker has failed and is not replaced yet: it serves nothing.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Records whether the worker has failed.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }
}

/// A configuration, with everything that is built from it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The metrics of each route, in the order of the routes.
    pub metrics: Vec<Arc<RouteMetrics>>,
    /// For each worker, its client for each upstream.
    clients: Vec<HashMap<Arc<str>, Arc<Client>>>,
    /// The endpoints of each upstream, shared by all workers.
    endpoints: Vec<(Arc<str>, Arc<Endpoints>)>,
    longest_stall: Duration,
}

impl Loaded {
    /// Builds clients and metric handles, and starts the health checks of the endpoints in this runtime.
    ///
    /// # Errors
    /// If a TLS file of an upstream cannot be used.
    pub fn new(config: Config, metrics: &Metrics, sockets: &Arc<Sockets>) -> io::Result<Self> {
        let share = config.limits.descriptors;
        let budget = Sockets::budget(sockets, share.agents, share.idle);
        let mut clients: Vec<HashMap<Arc<str>, Arc<Client>>> =
            vec![HashMap::new(); config.workers.max(1)];
        let mut all = Vec::new();
        for upstream in &config.upstreams {
            let endpoints = Arc::new(Endpoints::new(upstream));
            all.push((Arc::clone(&upstream.name), Arc::clone(&endpoints)));
            let connector = connector(upstream).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("upstreams.{}.tls: {error}", upstream.name),
                )
            })?;
            for check in upstream::checks(upstream, &endpoints, connector.as_ref()) {
                tasks::keep_running("a health check", &metrics.worker_restarts, check);
            }
            for worker in &mut clients {
                let client = Client::new(
                    Arc::clone(upstream),
                    Arc::clone(&endpoints),
                    connector.clone(),
                    budget.clone(),
                );
                worker.insert(Arc::clone(&upstream.name), Arc::new(client));
            }
        }
        let handles = config
            .routes
            .iter()
            .map(|route| {
                let handles = metrics.route(&route.name);
                let agents = route.merge.iter().flat_map(|merge| &merge.agents);
                agents.for_each(|agent| handles.expect_agent(&agent.name));
                handles
            })
            .collect();
        let stalls = config
            .routes
            .iter()
            .map(|route| route.policy.deadlines.client_stall);
        Ok(Self {
            longest_stall: stalls.max().unwrap_or(Duration::from_secs(30)),
            config,
            metrics: handles,
            clients,
            endpoints: all,
        })
    }

    /// Returns the name and the endpoints of each upstream.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, &Arc<Endpoints>)> {
        self.endpoints
            .iter()
            .map(|(name, endpoints)| (&**name, endpoints))
    }

    /// Returns the longest time for which any route allows its clients to stall.
    pub const fn longest_stall(&self) -> Duration {
        self.longest_stall
    }

    /// Returns a worker's client for the upstream of `route`.
    pub fn client(&self, worker: usize, route: &Route) -> Option<Arc<Client>> {
        self.client_of(worker, &route.upstream)
    }

    /// Returns a worker's client for an upstream that some route uses.
    pub fn client_of(&self, worker: usize, upstream: &Upstream) -> Option<Arc<Client>> {
        let clients = self.clients.get(worker).or_else(|| self.clients.first())?;
        clients.get(&upstream.name).map(Arc::clone)
    }

    /// Closes all idle upstream connections, and keeps none from here on, because another configuration is in force.
    fn retire(&self) {
        for client in self.clients.iter().flat_map(HashMap::values) {
            client.retire();
        }
    }

    /// Closes the idle upstream connections of a worker that are too old.
    pub fn prune(&self, worker: usize) {
        for client in self.clients.get(worker).into_iter().flatten() {
            client.1.prune();
        }
    }

    /// Drops all upstream connections that a worker keeps, because its runtime, which drives them, has ended.
    pub fn forget_connections(&self, worker: usize) {
        for client in self.clients.get(worker).into_iter().flatten() {
            client.1.forget_connections();
        }
    }
}

impl App {
    /// Creates the state of a process with the configuration `loaded`.
    pub fn new(
        loaded: Loaded,
        sockets: Arc<Sockets>,
        metrics: Arc<Metrics>,
        traces: Option<Traces>,
        certificates: Vec<(String, Arc<ReloadingCertificate>)>,
    ) -> Self {
        let workers = loaded.config.workers.max(1);
        let resumables = Resumables::new(loaded.config.journals.total_bytes);
        Self {
            resumables: Arc::new(resumables),
            load: (0..workers).map(|_| Load::default()).collect(),
            loaded: ArcSwap::from_pointee(loaded),
            metrics,
            traces,
            outbox: None,
            probes: Arc::default(),
            store: None,
            certificates,
            hop: Hop::random(),
            streams: Arc::default(),
            draining: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            memory: Arc::default(),
            cut: watch::Sender::new(false),
            requests: Arc::default(),
            admitted: Arc::default(),
            detached: Arc::default(),
            sockets,
            connections: AtomicUsize::new(0),
            started: Instant::now(),
            reloads: Mutex::new(Reloads {
                generation: 1,
                since: SystemTime::now(),
                last: None,
            }),
        }
    }

    /// Sends records of finished streams to this outbox.
    pub fn recording_in(self, outbox: Option<Arc<Outbox>>) -> Self {
        Self { outbox, ..self }
    }

    /// Keeps streams in this store, too.
    pub fn storing_in(self, store: Option<Arc<Store>>) -> Self {
        Self { store, ..self }
    }

    /// Returns the configuration in force. Running streams keep the one they started with.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Replaces the configuration in force.
    pub fn replace(&self, loaded: Loaded) {
        self.loaded.swap(Arc::new(loaded)).retire();
        let now = SystemTime::now();
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.generation += 1;
        reloads.since = now;
        reloads.last = Some((now, None));
    }

    /// Notes that the configuration was not replaced, and why.
    pub fn reload_rejected(&self, why: &str) {
        let why: String = why.trim_end().chars().take(MAX_WHY).collect();
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.last = Some((SystemTime::now(), Some(why)));
    }

    /// Returns which configuration is in force, and what came of the last reload.
    pub fn reloads(&self) -> Reloads {
        let reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.clone()
    }

    /// Is ready when requests that are still in progress must end.
    pub async fn cut_off(&self) {
        // The sender lives as long as `self`.
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }

    /// Counts a request on `worker` as in progress until the guards are dropped.
    pub fn request(&self, worker: usize) -> InProgress {
        let load = self.load.get(worker).map(Load::enter);
        (UnderWay::enter(&self.requests), load)
    }
}

/// Counts a request as in progress, in the process and on its worker.
pub type InProgress = (UnderWay, Option<UnderWay>);

/// Counts something as in progress until it is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
