//! The checked configuration: every default applied, every rule between keys verified, routes compiled.
//!
//! `load` turns the file, the environment and the flags into a [`Config`], or reports *all* problems at once.
//! Defaults are already filled in: a field is an `Option` only if the feature itself is optional.

mod address;
mod admin;
mod chats;
mod check;
mod choices;
mod collector;
mod complete;
mod conflicts;
mod defaults;
mod descriptors;
mod effective;
mod endpoint;
mod error;
mod group;
mod hook_url;
mod journals;
mod json;
mod kind;
mod layers;
mod listen;
mod listening;
mod merge;
mod merge_check;
mod number;
mod overlap;
mod overrides;
mod own_address;
mod pem;
mod raw;
mod redis_check;
mod redis_settings;
mod redis_url;
mod reply;
mod resume;
mod resume_check;
mod routes;
mod schema;
mod scheme;
mod secret;
mod spelling;
mod talk;
mod text;
mod traces;
mod tree;
mod units;
mod upstreams;
mod warnings;
mod websocket;
mod worst_case;
mod wrap;
mod written;
mod yaml;

pub(crate) use address::{endpoint as read_endpoint, listen as read_listen};
pub use check::{load, load_file, reload_file};
pub use complete::Complete;
pub use descriptors::Descriptors;
pub use effective::effective;
pub(crate) use effective::endpoint as shown_endpoint;
pub use endpoint::{Eject, Endpoint, Health, Roots, Target, Upstream, UpstreamTls};
pub use error::{Place, Problem, Problems};
pub use hook_url::HookUrl;
pub use journals::{Journals, Store};
pub use listening::listening;
pub use merge::{Merge, MergeAgent, OnAgentFailure, OnAgentFinish};
pub use overrides::Overrides;
pub use redis_settings::{RedisMode, RedisSettings, sealing_key};
pub use redis_url::RedisUrl;
pub use reply::Reply;
pub use resume::{Bind, Chats, Ids, OnDisconnect, Resume};
pub use schema::{KeyDoc, keys, schema};
pub use secret::Source as SecretSource;
pub(crate) use secret::named as read_secret;
pub use talk::{Opening, Talk};
#[cfg(feature = "otel")]
pub(crate) use traces::FRAMING;
pub(crate) use units::{duration, rough_size, size as read_size};
pub use warnings::warnings;
pub(crate) use websocket::Claimed;
pub use websocket::{Ack, AllowedOrigin, Bridge, WebSocket};
pub use worst_case::{
    REWRITTEN_BYTES, http2_head_bytes, journal_bytes, queue_bytes, worst_case_bytes, worst_case_key,
};
pub use written::Written;
pub use yaml::yaml;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::Choice;
use crate::filter::Rules;
use crate::queue::{Gating, Limits as QueueLimits};
use crate::request_map::RequestForm;

/// The complete configuration. It is built once per load, shared as an `Arc` and never changed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listeners that clients connect to. At least one.
    pub listen: Vec<Listen>,
    /// The admin listener.
    pub admin: Admin,
    /// Number of worker threads, each with its own runtime.
    pub workers: usize,
    /// Format and level of the log, and which requests are in it.
    pub log: Log,
    /// Export of spans.
    pub traces: Traces,
    /// Records of finished streams.
    pub complete: Complete,
    /// Where the journals of streams are kept.
    pub journals: Journals,
    /// Whether the traffic port serves the probe of `weir doctor`.
    pub probe: bool,
    /// Time limits of a graceful shutdown.
    pub drain: Drain,
    /// Process-wide limits.
    pub limits: Limits,
    /// Routes in order; the first match wins. At least one.
    pub routes: Vec<Arc<Route>>,
    /// The upstreams that routes refer to, each once.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Where the file says what, for warnings.
    pub written: Arc<Written>,
}

/// One client-facing listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP address or Unix socket path.
    pub address: Address,
    /// TLS settings; `None` means plain text.
    pub tls: Option<ListenTls>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8080`, `[::1]:8080`, `:8080` (all IPv4 interfaces), `localhost:8080`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// Writes the address as the file does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address that is listened on, and the key that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address.
    pub address: Address,
    /// The key, such as `listen[1].address`.
    pub path: String,
    /// Where its value is written, if it is in the file.
    pub place: Option<Place>,
}

/// Server-side TLS. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// PEM file with the certificate chain, leaf certificate first.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file of certificate authorities. If set, clients must present a certificate signed by one of them.
    pub client_ca: Option<PathBuf>,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Address that serves metrics, health, live streams and drain; `None` switches the listener off.
    pub listen: Option<Address>,
    /// Names that may stand in `Host`, in lower case, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// The token of requests that change something; `None` asks for none.
    pub token: Option<Secret>,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Format of a log line.
    pub format: LogFormat,
    /// A level, or directives of the `tracing` filter.
    pub level: String,
    /// Which requests get a line.
    pub access: LogAccess,
}

/// Which requests get a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAccess {
    /// Each.
    All,
    /// Requests that did not end well.
    Errors,
    /// Streams and WebSockets, and all requests that did not end well.
    Streams,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object per line.
    Json,
    /// Text for people to read.
    Text,
}

/// Export of spans and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The collector that receives the spans, with the full path; `None` switches the export off.
    pub collector: Option<Endpoint>,
    /// Headers of each export request.
    pub headers: Vec<SecretField>,
    /// The `service.name` of the spans; `None` takes it from the environment.
    pub service_name: Option<String>,
    /// Share of the traces started by Weir that are recorded, 0 to 1.
    pub sample: f64,
    /// Export of metrics; `None` switches it off.
    pub metrics: Option<MetricsExport>,
    /// TLS settings for `https://` collectors.
    pub tls: UpstreamTls,
}

/// Export of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsExport {
    /// The collector, with the full path.
    pub collector: Endpoint,
    /// Time between two exports.
    pub interval: Duration,
}

/// A secret value, and where it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where the value was read from.
    pub source: SecretSource,
    /// The value, marked as sensitive.
    pub value: http::HeaderValue,
}

/// A header whose value is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretField {
    /// The name.
    pub name: http::HeaderName,
    /// Where the value was read from.
    pub source: SecretSource,
    /// The value, marked as sensitive.
    pub value: http::HeaderValue,
}

/// Time limits of a graceful shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long new requests are still served after the drain began.
    pub delay: Duration,
    /// Streams that still run this long after the drain began are ended as `drained`.
    pub limit: Duration,
}

/// Process-wide limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of concurrent client connections, over all listeners.
    pub max_connections: usize,
    /// Maximum number of concurrent requests of every kind, over all connections.
    pub max_requests: usize,
    /// Maximum number of upstream calls that continue although their client has left.
    pub max_detached: usize,
    /// Maximum number of concurrent streams, over all routes.
    pub max_streams: usize,
    /// Maximum size of a request head in bytes.
    pub max_header_bytes: usize,
    /// Maximum number of headers in a request head.
    pub max_headers: usize,
    /// Deadline for a request head to arrive, including the TLS handshake.
    pub request_head: Duration,
    /// Longest pause between parts of a request body.
    pub request_body: Duration,
    /// Idle time after which a keep-alive client connection is closed.
    pub keep_alive: Duration,
    /// Memory limit; requests are refused when the process comes close to it (load shedding).
    pub memory: MemoryLimit,
    /// How the file descriptors of the process are divided.
    pub descriptors: Descriptors,
}

impl Limits {
    /// Returns the maximum number of concurrent client connections that the file descriptors allow.
    pub fn connections(&self) -> usize {
        self.max_connections.min(self.descriptors.clients)
    }

    /// Returns the maximum number of concurrent streams that `max_requests` allows: each stream is a request.
    pub fn streams(&self) -> usize {
        self.max_streams.min(self.max_requests)
    }
}

/// The memory limit of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The limit of the process's control group.
    Auto,
    /// A number of bytes, compared with the resident memory.
    Bytes(u64),
    /// No limit.
    Off,
}

/// A route: which requests it matches and how they are handled.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name in metric labels and log fields.
    pub name: Arc<str>,
    /// The requests that the route matches.
    pub matches: Match,
    /// The upstream that serves these requests; if there are several agents, that of the first one.
    pub upstream: Arc<Upstream>,
    /// The agents that all receive each request; `None` if there is only one.
    pub merge: Option<Arc<Merge>>,
    /// How the streams of the route are handled.
    pub policy: Policy,
}

impl Route {
    /// Returns the upstreams that serve its requests. One that serves several agents comes as often.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let agents = self.merge.iter().flat_map(|merge| &merge.agents);
        let of_agents = agents.map(|agent| &agent.upstream);
        let own = Some(&self.upstream).filter(|_| self.merge.is_none());
        own.into_iter().chain(of_agents)
    }
}

/// The conditions of a route. All must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Prefix of the path that ends at a segment boundary: `/v1` matches `/v1` and `/v1/x`, not `/v10`.
    pub path_prefix: String,
    /// Lower-case host without port; `*.example.com` matches every subdomain.
    pub host: Option<String>,
    /// The methods that match; `None` matches all.
    pub methods: Option<Vec<http::Method>>,
    /// Headers that must be present with exactly these values.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// How a route handles its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The dialect to expect.
    pub dialect: Choice,
    /// Deadlines of a stream.
    pub deadlines: Deadlines,
    /// How long nothing is sent to the client before a heartbeat is sent; zero switches heartbeats off.
    pub heartbeat: Duration,
    /// Limits and overflow rule of the queue.
    pub queue: QueueLimits,
    /// Maximum size of an event in bytes.
    pub max_event_bytes: usize,
    /// Maximum size of a request body in bytes.
    pub max_request_bytes: u64,
    /// Whether the `Forwarded` header is sent in addition to `X-Forwarded-*`.
    pub forwarded: bool,
    /// Time after which the response head is sent even if the upstream has not responded; `None` is off.
    pub commit_after: Option<Duration>,
    /// Size of a comment sent first, for intermediaries that buffer the first bytes; zero is off.
    pub preamble_bytes: usize,
    /// Which parts of a stream are hidden from the client.
    pub hide: Arc<Rules>,
    /// The markers of `hide`, as written in the file.
    pub markers: Vec<String>,
    /// The dialects that the client may get.
    pub reply: Reply,
    /// The form of the client's requests, if they are translated for the agent.
    pub request: Option<RequestForm>,
    /// Which text is held back on purpose, and for how long.
    pub gating: Gating,
    /// How clients come back to a stream; `None` if they cannot.
    pub resume: Option<Arc<Resume>>,
    /// What happens to a run whose last client has left.
    pub on_disconnect: OnDisconnect,
    /// What happens to WebSockets.
    pub websocket: WebSocket,
    /// The settings of bridges.
    pub bridge: Arc<Bridge>,
}

/// Stream deadlines. See `docs/behaviour.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP connect and TLS handshake with the upstream.
    pub connect: Duration,
    /// From the end of the request to the response head.
    pub head: Duration,
    /// From the end of the request to the first event with content (time to first token).
    pub first_event: Duration,
    /// Longest silence of the upstream after the first content.
    pub idle: Duration,
    /// Longest time between two events with content.
    pub progress: Duration,
    /// Longest silence of the upstream once the response may be complete.
    pub after_end: Duration,
    /// The whole stream.
    pub total: Duration,
    /// Longest time that data waits for the client while the client reads nothing.
    pub client_stall: Duration,
}
