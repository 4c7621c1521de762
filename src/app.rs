//! What all workers share: the configuration in force, the live streams, the metrics, the drain state.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::config::{Config, Route};
use crate::metrics::{Metrics, RouteMetrics};
use crate::stream::registry::Registry;
use crate::upstream::{Client, Endpoints, connector};

/// The process, as every request sees it.
#[derive(Debug)]
pub struct App {
    loaded: ArcSwap<Loaded>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Live streams.
    pub streams: Arc<Registry>,
    /// Draining: readiness is off.
    pub draining: AtomicBool,
    /// New requests are refused.
    pub refusing: AtomicBool,
    /// Requests under way, streams included.
    pub requests: Arc<AtomicUsize>,
    /// Open client connections.
    pub connections: AtomicUsize,
}

/// A configuration with everything built from it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Handles of each route, in the order of the routes.
    pub metrics: Vec<Arc<RouteMetrics>>,
    /// For each worker: its client of each upstream.
    clients: Vec<HashMap<Arc<str>, Arc<Client>>>,
}

impl Loaded {
    /// Builds clients and metric handles.
    ///
    /// # Errors
    /// When a TLS file of an upstream cannot be used.
    pub fn new(config: Config, metrics: &Metrics) -> io::Result<Self> {
        let mut clients: Vec<HashMap<Arc<str>, Arc<Client>>> =
            vec![HashMap::new(); config.workers.max(1)];
        for upstream in &config.upstreams {
            let endpoints = Arc::new(Endpoints::new(upstream));
            let connector = connector(upstream).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("upstreams.{}.tls: {error}", upstream.name),
                )
            })?;
            for worker in &mut clients {
                let client = Client::new(
                    Arc::clone(upstream),
                    Arc::clone(&endpoints),
                    connector.clone(),
                );
                worker.insert(Arc::clone(&upstream.name), Arc::new(client));
            }
        }
        let handles = config
            .routes
            .iter()
            .map(|route| metrics.route(&route.name))
            .collect();
        Ok(Self {
            config,
            metrics: handles,
            clients,
        })
    }

    /// A worker's client for the upstream of `route`.
    pub fn client(&self, worker: usize, route: &Route) -> Option<Arc<Client>> {
        let clients = self.clients.get(worker).or_else(|| self.clients.first())?;
        clients.get(&route.upstream.name).map(Arc::clone)
    }

    /// Closes a worker's idle upstream connections that are too old.
    pub fn prune(&self, worker: usize) {
        for client in self.clients.get(worker).into_iter().flatten() {
            client.1.prune();
        }
    }
}

impl App {
    /// A process that runs on `loaded`.
    pub fn new(loaded: Loaded, metrics: Arc<Metrics>) -> Self {
        Self {
            loaded: ArcSwap::from_pointee(loaded),
            metrics,
            streams: Arc::default(),
            draining: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            requests: Arc::default(),
            connections: AtomicUsize::new(0),
        }
    }

    /// The configuration in force; running streams keep the one they started with.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Puts another configuration in force.
    pub fn replace(&self, loaded: Loaded) {
        self.loaded.store(Arc::new(loaded));
    }

    /// Counts a request as under way until the guard is dropped.
    pub fn request(&self) -> UnderWay {
        self.requests.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.requests))
    }
}

/// A request under way.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
