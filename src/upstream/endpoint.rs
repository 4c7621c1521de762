//! Load balancing: the next stream goes to the endpoint with the fewest streams, among those that are not ejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Eject, Endpoint, Target, Upstream};

/// The endpoints of one upstream, shared by all workers.
#[derive(Debug)]
pub struct Endpoints {
    upstream: Arc<str>,
    epoch: Instant,
    eject: Eject,
    states: Vec<State>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct State {
    endpoint: Endpoint,
    active: AtomicUsize,
    /// Consecutive failures.
    failures: AtomicU32,
    /// Until when the endpoint is ejected, in milliseconds after `epoch`.
    ejected_until: AtomicU64,
    /// Whether the active checks succeed; `true` without them.
    well: AtomicBool,
}

/// What the load balancing knows of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The endpoint's URL, or `unix:` and its path.
    pub url: String,
    /// How many streams it serves.
    pub active: usize,
    /// Consecutive failures.
    pub failures: u32,
    /// For how long it is still ejected; zero if it is not.
    pub ejected_for: Duration,
    /// Whether the active checks succeed; `true` without them.
    pub is_well: bool,
}

impl Endpoints {
    /// Creates the endpoints of `upstream`, none of them ejected.
    pub fn new(upstream: &Upstream) -> Self {
        let state = |endpoint: &Endpoint| State {
            endpoint: endpoint.clone(),
            active: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            well: AtomicBool::new(true),
        };
        Self {
            upstream: Arc::clone(&upstream.name),
            epoch: Instant::now(),
            eject: upstream.eject,
            states: upstream.endpoints.iter().map(state).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Picks the endpoint for the next stream. `avoid` is one that just failed. If this leaves none, any endpoint may
    /// be picked, ejected or not: the least loaded is better than none.
    pub(super) fn pick(self: &Arc<Self>, avoid: Option<usize>) -> Option<Picked> {
        let now = self.now();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.states.len();
        let order = (0..count).map(|offset| turn.wrapping_add(offset) % count);
        let load = |index: usize| {
            self.states
                .get(index)
                .map(|state| state.active.load(Ordering::Relaxed))
        };
        let is_in = |index: usize| {
            let state = self.states.get(index);
            state.is_some_and(|state| state.is_in(now))
        };
        let best = (order
            .clone()
            .filter(|index| is_in(*index) && Some(*index) != avoid))
        .min_by_key(|index| load(*index))
        .or_else(|| order.min_by_key(|index| load(*index)))?;
        self.states
            .get(best)?
            .active
            .fetch_add(1, Ordering::Relaxed);
        Some(Picked {
            endpoints: Arc::clone(self),
            index: best,
        })
    }

    /// Returns how many endpoints are currently ejected or fail their checks.
    pub fn left_out(&self) -> usize {
        let now = self.now();
        (self.states.iter())
            .filter(|state| !state.is_in(now))
            .count()
    }

    /// Returns what is known of each endpoint, in the order of the configuration.
    pub fn status(&self) -> Vec<EndpointStatus> {
        let now = self.now();
        let status = |state: &State| EndpointStatus {
            url: url(&state.endpoint),
            active: state.active.load(Ordering::Relaxed),
            failures: state.failures.load(Ordering::Relaxed),
            ejected_for: Duration::from_millis(
                (state.ejected_until.load(Ordering::Relaxed)).saturating_sub(now),
            ),
            is_well: state.well.load(Ordering::Relaxed),
        };
        self.states.iter().map(status).collect()
    }

    /// Returns all endpoints in the order of the configuration.
    pub(super) fn list(&self) -> impl Iterator<Item = &Endpoint> {
        self.states.iter().map(|state| &state.endpoint)
    }

    /// Records the result of an active check. Reports whether it differs from the last one.
    pub(super) fn found(&self, index: usize, well: bool) -> bool {
        let state = self.states.get(index);
        state.is_some_and(|state| state.well.swap(well, Ordering::Relaxed) != well)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns the URL of an endpoint, as the configuration writes it.
fn url(endpoint: &Endpoint) -> String {
    let scheme = match (endpoint.websocket, endpoint.tls) {
        (false, false) => "http",
        (false, true) => "https",
        (true, false) => "ws",
        (true, true) => "wss",
    };
    match &endpoint.target {
        Target::Tcp(..) => format!("{scheme}://{}{}", endpoint.authority, endpoint.path_prefix),
        Target::Unix(path) => format!("unix:{}", path.display()),
    }
}

impl State {
    fn is_in(&self, now: u64) -> bool {
        self.well.load(Ordering::Relaxed) && self.ejected_until.load(Ordering::Relaxed) <= now
    }
}

/// A place on an endpoint, counted as a stream until dropped.
#[derive(Debug)]
pub(super) struct Picked {
    endpoints: Arc<Endpoints>,
    /// Index among the upstream's endpoints.
    pub(super) index: usize,
}

impl Picked {
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.state().map(|state| &state.endpoint)
    }

    pub(super) fn succeeded(&self) {
        if let Some(state) = self.state() {
            state.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure, and ejects the endpoint after too many. The last endpoint left is never ejected.
    pub(super) fn failed(&self) {
        let Some(state) = self.state() else { return };
        // The only endpoint is never ejected, and may fail for ever.
        let failures = state
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        let eject = self.endpoints.eject;
        let others_left = self.endpoints.left_out() + 1 < self.endpoints.states.len();
        if eject.failures > 0 && failures >= eject.failures && others_left {
            let pause = u64::try_from(eject.pause.as_millis()).unwrap_or(u64::MAX);
            state.ejected_until.store(
                self.endpoints.now().saturating_add(pause),
                Ordering::Relaxed,
            );
            state.failures.store(0, Ordering::Relaxed);
            let (upstream, endpoint) = (&*self.endpoints.upstream, &state.endpoint.authority);
            tracing::warn!(
                upstream,
                endpoint,
                failures,
                "an endpoint is left out for a while"
            );
        }
    }

    fn state(&self) -> Option<&State> {
        self.endpoints.states.get(self.index)
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if let Some(state) = self.state() {
            state.active.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
