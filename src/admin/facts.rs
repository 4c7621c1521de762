//! The part of `/streams` about the process as a whole: its version, memory, configuration, agents, and the last
//! minutes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::Instant;

use crate::app::{App, Reloads};
use crate::memory;
use crate::release::{VERSION, features};
use crate::session::recent::{PERIOD, Period};
use crate::upstream::EndpointStatus;

/// What is to be known of the process.
#[derive(Serialize)]
pub(super) struct Facts {
    requests: usize,
    connections: usize,
    detached: usize,
    draining: bool,
    refusing: bool,
    version: &'static str,
    features: Vec<&'static str>,
    uptime_ms: u64,
    now_ms: u64,
    memory: Memory,
    config: Config,
    upstreams: Vec<Upstream>,
    recent: Recent,
    ended_total: u64,
}

impl Facts {
    pub(super) fn of(app: &App) -> Self {
        Self {
            requests: app.admitted.len(),
            connections: app.connections.load(Ordering::Relaxed),
            detached: app.detached.len(),
            draining: app.draining.load(Ordering::Relaxed),
            refusing: app.refusing.load(Ordering::Relaxed),
            version: VERSION,
            features: features(),
            uptime_ms: millis(Instant::now().saturating_duration_since(app.started)),
            now_ms: unix_millis(SystemTime::now()),
            memory: Memory::of(app),
            config: app.reloads().into(),
            upstreams: upstreams(app),
            recent: Recent::of(&app.streams.recent.periods()),
            ended_total: app.streams.recent.count(),
        }
    }
}

/// The memory of the process.
#[derive(Serialize)]
struct Memory {
    resident_bytes: Option<u64>,
    /// What counts towards the limit, which may be that of several processes.
    used_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    shedding: bool,
}

impl Memory {
    fn of(app: &App) -> Self {
        let known = |gauge: i64| u64::try_from(gauge).ok().filter(|bytes| *bytes > 0);
        Self {
            resident_bytes: memory::resident(),
            used_bytes: known(app.metrics.memory_used.get()),
            limit_bytes: known(app.metrics.memory_limit.get()),
            shedding: app.memory.is_short(),
        }
    }
}

/// Which configuration is in force.
#[derive(Serialize)]
struct Config {
    generation: u64,
    since_ms: u64,
    last_reload: Option<Reload>,
}

/// What came of the last reload.
#[derive(Serialize)]
struct Reload {
    at_ms: u64,
    ok: bool,
    problem: Option<String>,
}

impl From<Reloads> for Config {
    fn from(reloads: Reloads) -> Self {
        Self {
            generation: reloads.generation,
            since_ms: unix_millis(reloads.since),
            last_reload: reloads.last.map(|(at, problem)| Reload {
                at_ms: unix_millis(at),
                ok: problem.is_none(),
                problem,
            }),
        }
    }
}

/// The agents behind one upstream.
#[derive(Serialize)]
struct Upstream {
    name: String,
    endpoints: Vec<Endpoint>,
}

/// One agent.
#[derive(Serialize)]
struct Endpoint {
    url: String,
    state: &'static str,
    ejected_ms: u64,
    active: usize,
    failures: u32,
}

fn upstreams(app: &App) -> Vec<Upstream> {
    let loaded = app.loaded();
    let of = |status: EndpointStatus| Endpoint {
        state: state(&status),
        ejected_ms: millis(status.ejected_for),
        url: status.url,
        active: status.active,
        failures: status.failures,
    };
    let all = loaded.endpoints().map(|(name, endpoints)| Upstream {
        name: name.to_owned(),
        endpoints: endpoints.status().into_iter().map(of).collect(),
    });
    all.collect()
}

const fn state(status: &EndpointStatus) -> &'static str {
    if status.is_well && status.ejected_for.is_zero() {
        "in"
    } else if status.is_well {
        "ejected"
    } else {
        "unhealthy"
    }
}

/// The last minutes, in periods, oldest first.
#[derive(Serialize)]
struct Recent {
    period_ms: u64,
    ttft_p50_ms: Vec<Option<f64>>,
    ttft_p95_ms: Vec<Option<f64>>,
    /// How many ended.
    ended: Vec<u32>,
    /// How many ended for each reason that there was.
    ends: BTreeMap<&'static str, Vec<u32>>,
}

impl Recent {
    fn of(periods: &[Period]) -> Self {
        let share = |share: f64| -> Vec<Option<f64>> {
            let of = |period: &Period| period.ttft(share).map(rounded);
            periods.iter().map(of).collect()
        };
        let mut ends: BTreeMap<&'static str, Vec<u32>> = BTreeMap::new();
        let mut ended = Vec::with_capacity(periods.len());
        for (at, period) in periods.iter().enumerate() {
            let mut sum = 0_u32;
            for (end, count) in period.ends() {
                let counts = ends.entry(end);
                let counts = counts.or_insert_with(|| vec![0; periods.len()]);
                if let Some(slot) = counts.get_mut(at) {
                    *slot = count;
                }
                sum = sum.saturating_add(count);
            }
            ended.push(sum);
        }
        Self {
            period_ms: millis(PERIOD),
            ttft_p50_ms: share(0.5),
            ttft_p95_ms: share(0.95),
            ended,
            ends,
        }
    }
}

/// Returns whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns milliseconds since the beginning of 1970, UTC.
pub(super) fn unix_millis(at: SystemTime) -> u64 {
    millis(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Rounds to one decimal, because further ones carry no information.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
