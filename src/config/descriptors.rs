//! Divides the file descriptors of the process: some are kept back, the others are for connections of clients and for
//! connections to agents.
//!
//! ```text
//! limit of open files ─┬─ in use from the start: listeners, event loops, standard streams
//!                      ├─ kept back: half for the admin listener, half for DNS, health checks, files, spans
//!                      ├─ connections of clients
//!                      └─ connections to agents, of which a part may be idle
//! ```
//!
//! Each part has a limit that it cannot exceed, so whoever takes all of one part leaves the others alone. In
//! particular, the admin listener always has a descriptor for a health check.

use std::sync::Arc;

use crate::config::Upstream;
use crate::config::defaults as preset;

/// Descriptors that are in use from the start, apart from those of the workers.
const AT_START: usize = 16;
/// Descriptors of one worker, apart from its listeners.
const PER_WORKER: usize = 3;
/// Of the descriptors that are free at the start, one in this many is kept back, between [`MIN_KEPT_BACK`] and
/// [`MAX_KEPT_BACK`].
const KEPT_BACK_PART: usize = 16;
/// Maximum number of descriptors kept back: twice the connections that the admin listener ever needs.
const MAX_KEPT_BACK: usize = 512;
/// Minimum number of descriptors kept back.
const MIN_KEPT_BACK: usize = 8;
/// Idle connections to agents may hold one in this many of the descriptors for agents.
const IDLE_PART: usize = 8;
/// Maximum number of requests on one connection to an agent that speaks HTTP/2.
const PER_SHARED: usize = 100;
/// Idle connections that a worker keeps to one upstream.
const PER_POOL: usize = 64;

/// How many file descriptors each part of the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// The limit of open files; `None` if it is unknown or there is none.
    pub limit: Option<usize>,
    /// For connections of clients.
    pub clients: usize,
    /// For connections to agents.
    pub agents: usize,
    /// For those of them that are idle.
    pub idle: usize,
    /// For connections of the admin listener.
    pub admin: usize,
}

/// What the division depends on.
#[derive(Debug)]
pub(crate) struct Users<'a> {
    pub(crate) workers: usize,
    pub(crate) listeners: usize,
    pub(crate) upstreams: &'a [Arc<Upstream>],
    /// `limits.max_connections`, if it is a number.
    pub(crate) max_connections: Option<usize>,
    /// `limits.max_requests`, if it is a number.
    pub(crate) max_requests: Option<usize>,
    pub(crate) max_streams: usize,
    /// The most calls of one request: the agents of a route with several, otherwise one.
    pub(crate) fan_out: usize,
}

impl Descriptors {
    /// Divides `limit` descriptors.
    pub(crate) fn divide(limit: Option<usize>, users: &Users<'_>) -> Self {
        let pools = PER_POOL * users.workers * users.upstreams.len().max(1);
        let Some(files) = limit else {
            return Self {
                limit,
                clients: usize::MAX,
                agents: usize::MAX,
                // The pools have a limit of their own.
                idle: pools,
                admin: MAX_KEPT_BACK / 2,
            };
        };
        let in_use = AT_START + users.workers * (PER_WORKER + users.listeners);
        let free = files.saturating_sub(in_use);
        let kept_back = (free / KEPT_BACK_PART).clamp(MIN_KEPT_BACK, MAX_KEPT_BACK);
        let free = free.saturating_sub(kept_back).max(2);
        // A request needs one connection on each side. Only a side that is configured to need less leaves some to the
        // other one.
        let wanted = (users.max_requests).map_or(free, |requests| {
            let requests = requests.saturating_mul(users.fan_out);
            // Idle connections come on top.
            requests + requests / (IDLE_PART - 1) + 1
        });
        let agents = wanted.min(free / 2).max(1);
        let clients = users.max_connections.unwrap_or(free / 2).min(free - agents);
        let agents = free - clients;
        Self {
            limit,
            clients,
            agents,
            idle: pools.min(agents / IDLE_PART),
            admin: (kept_back / 2).max(1),
        }
    }

    /// Returns the value of `limits.max_connections: auto`.
    pub(crate) fn connections(&self) -> usize {
        match self.limit {
            None => preset::MAX_CONNECTIONS,
            Some(_) => self.clients,
        }
    }

    /// Returns the value of `limits.max_requests: auto`: as many as there may be connections to agents, but no absurd
    /// number of them.
    pub(crate) fn requests(&self, users: &Users<'_>) -> usize {
        let most = preset::MAX_REQUESTS.max(users.max_streams.saturating_mul(2));
        let is_shared = users.upstreams.iter().all(|upstream| upstream.http2);
        let fitting = if is_shared {
            self.agents.saturating_mul(PER_SHARED)
        } else {
            self.agents.saturating_sub(self.idle)
        };
        (fitting / users.fan_out.max(1)).clamp(1, most)
    }
}

/// Returns the soft limit of open files of this process, or `None` if it is unknown or there is none.
pub(crate) fn limit() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    open_files(&text)
}

/// Returns the soft limit of open files in `/proc/self/limits`, or `None` if it is missing or `unlimited`.
fn open_files(limits: &str) -> Option<usize> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: Users<'static> = Users {
        workers: 2,
        listeners: 1,
        upstreams: &[],
        max_connections: None,
        max_requests: None,
        max_streams: 10_000,
        fan_out: 1,
    };

    fn one_upstream(http2: bool) -> Vec<Arc<Upstream>> {
        let text = format!("upstreams: {{ a: {{ endpoints: \"http://a\", http2: {http2} }} }}\n");
        let source = Some(("f", text.as_str()));
        let config = crate::config::load(source, &crate::config::Overrides::default());
        config.unwrap().upstreams
    }

    #[test]
    fn open_files_are_the_soft_limit() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(
            open_files("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(open_files(""), None);
    }

    #[test]
    fn the_parts_never_exceed_the_limit() {
        let upstreams = one_upstream(false);
        for files in [64, 100, 256, 512, 1_024, 4_096, 65_536, 1_048_576] {
            for max_connections in [None, Some(1), Some(100), Some(1_000_000)] {
                for max_requests in [None, Some(1), Some(100), Some(1_000_000)] {
                    let users = Users {
                        max_connections,
                        max_requests,
                        upstreams: &upstreams,
                        ..USERS
                    };
                    let parts = Descriptors::divide(Some(files), &users);
                    let start = AT_START + 2 * (PER_WORKER + 1);
                    let sum = start + parts.admin + parts.clients + parts.agents;
                    assert!(sum <= files, "{files}: {parts:?}");
                    let least = parts.clients.min(parts.agents).min(parts.admin);
                    assert!(least >= 1, "{files}: {parts:?}");
                    let automatic = parts.requests(&users);
                    assert!(automatic <= parts.agents - parts.idle, "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn both_sides_get_the_same_unless_one_needs_less() {
        let parts = |max_connections, max_requests| {
            let users = Users {
                max_connections,
                max_requests,
                ..USERS
            };
            let parts = Descriptors::divide(Some(512), &users);
            (parts.clients, parts.agents)
        };
        assert_eq!(parts(None, None), (229, 229));
        assert_eq!(parts(Some(10_000), Some(10_000)), (229, 229));
        assert_eq!(parts(Some(100), None), (100, 358));
        assert_eq!(parts(Some(10_000), Some(27)), (427, 31));
    }

    #[test]
    fn automatic_requests_fit_the_connections_to_agents() {
        let requests = |files, http2, max_streams| {
            let upstreams = one_upstream(http2);
            let users = Users {
                upstreams: &upstreams,
                max_streams,
                ..USERS
            };
            Descriptors::divide(files, &users).requests(&users)
        };
        assert_eq!(requests(Some(512), false, 10_000), 229 - 28);
        assert_eq!(requests(Some(512), true, 10_000), 20_000);
        assert_eq!(requests(Some(128), true, 10_000), 4_800);
        assert_eq!(requests(Some(1 << 20), false, 10_000), 20_000);
        assert_eq!(requests(Some(1 << 20), false, 50_000), 100_000);
        assert_eq!(requests(None, false, 10), 20_000);
    }
}
