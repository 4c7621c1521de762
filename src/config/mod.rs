//! The checked configuration: every default applied, every rule between keys verified, routes compiled.
//!
//! `load` turns text (file), environment and flags into a [`Config`] or into *all* problems found at once.
//! Nothing in here is optional unless the feature itself is: what the program reads is complete.

mod address;
mod check;
mod defaults;
mod effective;
mod error;
mod group;
mod kind;
mod listen;
mod number;
mod overrides;
mod pem;
mod raw;
mod routes;
mod schema;
mod secret;
mod text;
mod traces;
mod tree;
mod units;
mod upstreams;
mod warnings;
mod words;
mod wrap;

pub use check::{load, load_file, reload_file};
pub use effective::{effective, queue_bytes, worst_case_bytes};
pub use error::{Place, Problem, Problems};
pub use overrides::Overrides;
pub use schema::{KeyDoc, keys, schema};
pub use secret::Source as SecretSource;
#[cfg(feature = "otel")]
pub(crate) use traces::FRAMING;
pub(crate) use units::rough_size;
pub use warnings::warnings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::Choice;
use crate::filter::Rules;
use crate::queue::Limits as QueueLimits;

/// Everything Weir runs on. Built once per load, shared as an `Arc`, never changed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect. At least one.
    pub listen: Vec<Listen>,
    /// The admin listener.
    pub admin: Admin,
    /// Worker threads, one runtime each.
    pub workers: usize,
    /// How log lines look and which are written.
    pub log: Log,
    /// Where spans go.
    pub traces: Traces,
    /// How a stopping process treats what still runs.
    pub drain: Drain,
    /// Process-wide bounds.
    pub limits: Limits,
    /// Routes in order; the first match wins. At least one.
    pub routes: Vec<Arc<Route>>,
    /// Upstreams that routes refer to, each once.
    pub upstreams: Vec<Arc<Upstream>>,
}

/// One client-facing listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP address or Unix socket path.
    pub address: Address,
    /// TLS settings; `None` is plain text.
    pub tls: Option<ListenTls>,
}

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8080`, `[::1]:8080`, `:8080` (all IPv4 interfaces), `localhost:8080`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// Server side TLS. Files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// Certificate chain, PEM, leaf first.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// When set, clients must show a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

/// The admin listener; `None` address switches it off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where metrics, health and drain are served.
    pub listen: Option<Address>,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `auto` is text on a terminal, JSON otherwise.
    pub format: LogFormat,
    /// A level or a tracing filter directive.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Export of spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Who takes them, with the whole path; `None` is off.
    pub collector: Option<Endpoint>,
    /// Fields of each export.
    pub headers: Vec<SecretField>,
    /// What Weir is called there; `None` leaves it to the environment.
    pub service_name: Option<String>,
    /// Share of the traces that Weir starts itself, 0 to 1.
    pub sample: f64,
    /// TLS towards the collector.
    pub tls: UpstreamTls,
}

/// A header field whose value is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretField {
    /// Its name.
    pub name: http::HeaderName,
    /// Where its value was read from.
    pub source: SecretSource,
    /// Its value, marked as sensitive.
    pub value: http::HeaderValue,
}

/// Draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// New requests are still served this long after drain began.
    pub delay: Duration,
    /// Streams still running this long after drain began end as `drained`.
    pub limit: Duration,
}

/// Process-wide bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at one time, over all listeners.
    pub max_connections: usize,
    /// Streams at one time, over all routes.
    pub max_streams: usize,
    /// Bytes of one request head.
    pub max_header_bytes: usize,
    /// Fields in one request head.
    pub max_headers: usize,
    /// Longest time for a request head to arrive, TLS handshake included.
    pub request_head: Duration,
    /// Longest silence while a request body arrives.
    pub request_body: Duration,
    /// Longest idle time of a kept-alive client connection.
    pub keep_alive: Duration,
    /// Memory at which requests are refused.
    pub memory: MemoryLimit,
}

/// How much memory there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// What the control group of the process may use.
    Auto,
    /// So many bytes, resident in memory.
    Bytes(u64),
    /// As much as anybody wants.
    Off,
}

/// A route: which requests it takes and what happens to them.
#[derive(Clone, Debug)]
pub struct Route {
    /// Metric label and log field.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matches: Match,
    /// Where they go.
    pub upstream: Arc<Upstream>,
    /// How they are treated.
    pub policy: Policy,
}

/// Conditions of a route; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The path begins with this, at a segment border: `/v1` takes `/v1` and `/v1/x`, not `/v10`.
    pub path_prefix: String,
    /// Lower-case host without port; `*.example.com` takes every subdomain.
    pub host: Option<String>,
    /// One of these methods.
    pub methods: Option<Vec<http::Method>>,
    /// Each of these fields is present with exactly this value.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// How one route treats its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which dialect to expect.
    pub dialect: Choice,
    /// All stream deadlines.
    pub deadlines: Deadlines,
    /// Silence towards the client after which a heartbeat is sent; zero is off.
    pub heartbeat: Duration,
    /// BodyDeadline and overflow rule of the queue.
    pub queue: QueueLimits,
    /// Bytes of one event.
    pub max_event_bytes: usize,
    /// Bytes of one request body.
    pub max_request_bytes: u64,
    /// Send `Forwarded`, too.
    pub forwarded: bool,
    /// Send the head after this time even if the upstream has not answered; `None` is off.
    pub commit_after: Option<Duration>,
    /// Size of a leading comment for intermediaries that hold the first bytes back; zero is off.
    pub preamble_bytes: usize,
    /// What the client does not get.
    pub hide: Arc<Rules>,
    /// The markers of `hide`, as they were written.
    pub markers: Vec<String>,
}

/// Stream deadlines. See `docs/behaviour.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP and TLS to the upstream.
    pub connect: Duration,
    /// Request sent to response head.
    pub head: Duration,
    /// Request sent to first event with content.
    pub first_event: Duration,
    /// Longest silence of the upstream after first content.
    pub idle: Duration,
    /// Longest time between events with content.
    pub progress: Duration,
    /// Whole stream.
    pub total: Duration,
    /// Longest time that something waits for the client without the client taking anything.
    pub client_stall: Duration,
}

/// A group of equal agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Key under `upstreams`.
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// Idle time after which a kept-alive connection is closed. Below uvicorn's 5 s.
    pub pool_idle: Duration,
    /// How long to retry connecting to an agent that is still starting.
    pub connect_budget: Duration,
    /// HTTP/2, and nothing else, towards the upstream.
    pub http2: bool,
    /// TLS towards the upstream.
    pub tls: UpstreamTls,
    /// Passive ejection.
    pub eject: Eject,
    /// Active checks.
    pub health: Health,
}

/// One agent process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// How to reach it.
    pub target: Target,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Sent as `Host` when the request has none, and the default TLS server name.
    pub authority: String,
    /// Prepended to each request path; empty or `/prefix` without a trailing slash.
    pub path_prefix: String,
}

/// How to reach an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Host name or address, and port. Names are resolved at each connect.
    Tcp(String, u16),
    /// Unix socket path.
    Unix(PathBuf),
}

/// TLS towards the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Where trust comes from.
    pub roots: Roots,
    /// More roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain, PEM.
    pub cert: Option<PathBuf>,
    /// Client key, PEM.
    pub key: Option<PathBuf>,
    /// Overrides the name that the certificate must carry.
    pub server_name: Option<String>,
}

/// Where trust comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Mozilla's list, compiled in.
    Bundled,
    /// Only `ca_file`.
    None,
    /// The operating system's store.
    System,
}

/// Passive ejection: an endpoint that fails `failures` times in a row is left out `pause` long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Consecutive failures; zero switches ejection off.
    pub failures: u32,
    /// How long it is left out (`for` in the file).
    pub pause: Duration,
}

/// Active checks: GET `path` each `interval`; off without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Path to ask for.
    pub path: Option<String>,
    /// Time between checks.
    pub interval: Duration,
}
