//! An upstream as configured: the agents that requests are sent to, and how.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Talk;

/// A group of interchangeable agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The key under `upstreams`.
    pub name: Arc<str>,
    /// The agent processes. At least one.
    pub endpoints: Vec<Endpoint>,
    /// Idle time after which a keep-alive connection is closed. The default is below uvicorn's 5 s.
    pub pool_idle: Duration,
    /// How long connecting to an agent that is still starting is retried.
    pub connect_budget: Duration,
    /// Whether to speak HTTP/2, and only HTTP/2, to the upstream.
    pub http2: bool,
    /// TLS settings of the client side.
    pub tls: UpstreamTls,
    /// Passive ejection of failing endpoints.
    pub eject: Eject,
    /// Active health checks.
    pub health: Health,
    /// What agents are told that speak only WebSocket.
    pub talk: Talk,
}

impl Upstream {
    /// Returns the upstream of a single server that Weir itself sends to. Nothing checks its health, and no connection
    /// is kept.
    pub(crate) fn single(name: &str, endpoint: Endpoint, tls: UpstreamTls) -> Self {
        Self {
            name: name.into(),
            endpoints: vec![endpoint],
            pool_idle: Duration::ZERO,
            connect_budget: Duration::ZERO,
            http2: false,
            tls,
            eject: Eject {
                failures: 0,
                pause: Duration::ZERO,
            },
            health: Health {
                path: None,
                interval: Duration::ZERO,
            },
            talk: Talk::default(),
        }
    }

    /// Reports whether its agents speak WebSocket, and only that.
    pub fn is_websocket(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.websocket)
    }
}

/// One agent process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// How to reach it.
    pub target: Target,
    /// Whether to use TLS.
    pub tls: bool,
    /// Sent as `Host` if the request has none; also the default TLS server name.
    pub authority: String,
    /// Prepended to each request path. Empty, or `/prefix` without a trailing slash. The path of every request in the
    /// case of a WebSocket, unless it is empty.
    pub path_prefix: String,
    /// Whether the agent speaks WebSocket, and only that.
    pub websocket: bool,
}

/// How to reach an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Host name or IP address, and port. Names are resolved at each connect.
    Tcp(String, u16),
    /// Unix socket path.
    Unix(PathBuf),
}

/// TLS settings for connections to an upstream or a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The trusted root certificates.
    pub roots: Roots,
    /// PEM file with additional root certificates.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the client certificate chain.
    pub cert: Option<PathBuf>,
    /// PEM file with the client key.
    pub key: Option<PathBuf>,
    /// Overrides the name that the server certificate must carry.
    pub server_name: Option<String>,
}

/// The source of trusted root certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Mozilla's root certificates, compiled in.
    Bundled,
    /// No roots other than those in `ca_file`.
    None,
    /// The certificate store of the operating system.
    System,
}

/// Passive ejection: an endpoint that fails `failures` times in a row gets no requests for `pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Consecutive failures before ejection; zero switches ejection off.
    pub failures: u32,
    /// How long an endpoint stays ejected (`for` in the file).
    pub pause: Duration,
}

/// Active health checks: a GET of `path` every `interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Path to request; `None` switches the checks off.
    pub path: Option<String>,
    /// Time between checks.
    pub interval: Duration,
}
