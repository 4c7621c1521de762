//! The defaults of the configuration, each with the reason for it.
//!
//! The reasons are part of the program, because the tables in `docs/configuration.md` are generated from them.

use std::time::Duration;

/// A default and the reason for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset<T> {
    /// The default.
    pub(crate) value: T,
    /// The reason for it.
    pub(crate) why: &'static str,
}

const fn preset<T: Copy>(value: T, why: &'static str) -> Preset<T> {
    Preset { value, why }
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `listen`
pub(crate) const LISTEN: Preset<&str> = preset(
    "0.0.0.0:8080",
    "A proxy in a container is reached from outside it; 8080 needs no privilege.",
);
/// `admin.listen`
pub(crate) const ADMIN_LISTEN: Preset<&str> = preset(
    "127.0.0.1:9464",
    "Loopback, because the page shows live streams; 9464 is the usual port of OpenTelemetry's Prometheus exporter.",
);
/// `workers`
pub(crate) const WORKERS_WHY: &str =
    "One thread for each core that the process may use; a stream stays on its thread.";
/// Placeholder for the numeric form of `workers`. Never used, because the default is `auto`.
pub(crate) const WORKERS: Preset<u64> = preset(1, WORKERS_WHY);
/// `log.format`
pub(crate) const LOG_FORMAT: Preset<&str> = preset(
    "auto",
    "People read a terminal, programs read everything else.",
);
/// `log.level`
pub(crate) const LOG_LEVEL: Preset<&str> = preset(
    "info",
    "One line for each finished stream; nothing for each event.",
);

/// `traces.endpoint`
pub(crate) const TRACES_WHY: &str = "Nobody is sent anything who was not named.";
/// `traces.headers`
pub(crate) const TRACE_HEADERS_WHY: &str = "Collectors inside a cluster ask for none; what others ask for is a secret, which stays out of the file.";
/// `traces.service_name`
pub(crate) const SERVICE_NAME_WHY: &str =
    "Operators of OpenTelemetry set it for all programs alike, by variables.";
/// `traces.sample`
pub(crate) const SAMPLE: Preset<f64> = preset(
    1.0,
    "One span for each request is little; collectors can choose later, by what happened.",
);

/// `drain.delay`
pub(crate) const DRAIN_DELAY: Preset<Duration> = preset(
    secs(5),
    "Load balancers go on sending for some seconds after readiness turned false.",
);
/// `drain.limit`
pub(crate) const DRAIN_LIMIT: Preset<Duration> = preset(
    secs(25),
    "Five seconds below the 30 s after which Kubernetes kills a pod.",
);

/// `limits.max_connections` if the limit of open files is unknown or `unlimited`.
pub(crate) const MAX_CONNECTIONS: u64 = 10_000;
/// `limits.max_connections`
pub(crate) const MAX_CONNECTIONS_WHY: &str = "A little below half the limit of open files, because a stream needs a socket on each side; 10000 where that limit is unknown.";
/// `limits.memory`
pub(crate) const MEMORY_WHY: &str = "The memory limit of the container or service (its control group), page cache that can be given back not counted; none where there is no such limit.";
/// `limits.max_streams`
pub(crate) const MAX_STREAMS: Preset<u64> = preset(
    10_000,
    "Far above what one agent process serves; with it the queues together stay below 10 GiB.",
);
/// `limits.max_header_bytes`
pub(crate) const MAX_HEADER_BYTES: Preset<u64> = preset(
    64 * KIB,
    "Room for large cookies and tokens; other proxies stop between 8 and 64 KiB.",
);
/// `limits.max_headers`
pub(crate) const MAX_HEADERS: Preset<u64> = preset(
    100,
    "Browsers send 20 to 30; chains of proxies add some more.",
);
/// `limits.request_head`
pub(crate) const REQUEST_HEAD: Preset<Duration> = preset(
    secs(10),
    "Slower than any real client, fast enough to stop slow-header attacks.",
);
/// `limits.request_body`
pub(crate) const REQUEST_BODY: Preset<Duration> = preset(
    secs(60),
    "A mobile upload may pause for some seconds, not for a minute.",
);
/// `limits.keep_alive`
pub(crate) const KEEP_ALIVE: Preset<Duration> = preset(
    secs(75),
    "Longer than the 60 s of common load balancers, so that they close first and never hit a closing connection.",
);

/// `upstreams.*.pool_idle`
pub(crate) const POOL_IDLE: Preset<Duration> = preset(
    secs(4),
    "Below the 5 s after which uvicorn closes idle connections, so that no request meets a closing one.",
);
/// `upstreams.*.connect_budget`
pub(crate) const CONNECT_BUDGET: Preset<Duration> = preset(
    secs(0),
    "A refused connection fails at once; set it where the agent starts together with Weir.",
);
/// `upstreams.*.http2`
pub(crate) const HTTP2: Preset<bool> = preset(
    false,
    "A connection for each stream makes cancellation exact, and one agent's trouble its own.",
);
/// `upstreams.*.tls.roots`
pub(crate) const ROOTS: Preset<&str> =
    preset("bundled", "Works in images without a certificate store.");
/// `upstreams.*.tls.ca_file`, `cert`, `key`
pub(crate) const NO_FILE_WHY: &str =
    "Needed for private certificate authorities and for client certificates only.";
/// `upstreams.*.tls.server_name`
pub(crate) const SERVER_NAME_WHY: &str =
    "The host of the endpoint is the name that its certificate carries.";
/// `upstreams.*.eject.failures`
pub(crate) const EJECT_FAILURES: Preset<u64> =
    preset(5, "One or two failures are noise, five in a row are not.");
/// `upstreams.*.eject.for`
pub(crate) const EJECT_FOR: Preset<Duration> = preset(
    secs(10),
    "About the time in which a crashed agent is started again.",
);
/// `upstreams.*.health.path`
pub(crate) const HEALTH_PATH_WHY: &str =
    "Agents have no common health path; passive ejection works without one.";
/// `upstreams.*.health.interval`
pub(crate) const HEALTH_INTERVAL: Preset<Duration> = preset(
    secs(5),
    "Sees a recovered agent soon, and costs it next to nothing.",
);

/// `dialect`
pub(crate) const DIALECT: Preset<&str> = preset(
    "auto",
    "Request, response head and first event tell the dialects apart.",
);
/// `deadlines.connect`
pub(crate) const CONNECT: Preset<Duration> = preset(
    secs(5),
    "Two lost SYN packets are survived; a dead host is found before a user gives up.",
);
/// `deadlines.head`
pub(crate) const HEAD: Preset<Duration> = preset(
    secs(120),
    "Some agents answer only when the first token exists.",
);
/// `deadlines.first_event`
pub(crate) const FIRST_EVENT: Preset<Duration> = preset(
    secs(120),
    "Long prompts and cold models need a minute; nobody waits longer than two.",
);
/// `deadlines.idle`
pub(crate) const IDLE: Preset<Duration> =
    preset(secs(300), "Tools of an agent may be silent for minutes.");
/// `deadlines.progress`
pub(crate) const PROGRESS: Preset<Duration> = preset(
    secs(600),
    "Catches agents that only send heartbeats, after the longest usual tool call.",
);
/// `deadlines.total`
pub(crate) const TOTAL: Preset<Duration> =
    preset(secs(3600), "Ends loops; no interactive run takes longer.");
/// `deadlines.client_stall`
pub(crate) const CLIENT_STALL: Preset<Duration> =
    preset(secs(30), "A phone that changes networks is back in less.");
/// `heartbeat`
pub(crate) const HEARTBEAT: Preset<Duration> = preset(
    secs(15),
    "A quarter of the 60 s after which common proxies and load balancers cut silence.",
);
/// `queue.max_events`
pub(crate) const MAX_EVENTS: Preset<u64> = preset(256, "Some seconds of a fast model.");
/// `queue.max_bytes`
pub(crate) const MAX_BYTES: Preset<u64> = preset(
    MIB,
    "Bounds the memory of one slow client; ordinary tokens never reach it.",
);
/// `queue.merge`
pub(crate) const MERGE: Preset<bool> = preset(
    true,
    "Joining neighbouring tokens loses nothing, dropping them does.",
);
/// `queue.overflow`
pub(crate) const OVERFLOW: Preset<&str> = preset(
    "drop_oldest",
    "A slow client neither stops the agent nor loses what matters: only tokens, reasoning and status may leave.",
);
/// `max_event_bytes`
pub(crate) const MAX_EVENT_BYTES: Preset<u64> = preset(
    16 * MIB,
    "Room for an event that carries an image or a whole state.",
);
/// `max_request_bytes`
pub(crate) const MAX_REQUEST_BYTES: Preset<u64> =
    preset(64 * MIB, "Room for some attached images and documents.");
/// `forwarded`
pub(crate) const FORWARDED: Preset<bool> = preset(
    false,
    "The `X-Forwarded-*` fields are what agents read, and they are always sent.",
);
/// `commit_after`
pub(crate) const COMMIT_AFTER_WHY: &str =
    "Until the head is sent, a failure can still be a real status code.";
/// Placeholder for `commit_after` as a duration. Never used, because the default is `off`.
pub(crate) const COMMIT_AFTER: Preset<Duration> = preset(secs(0), COMMIT_AFTER_WHY);
/// `preamble_bytes`
pub(crate) const PREAMBLE_BYTES: Preset<u64> = preset(
    0,
    "Needed only behind intermediaries that hold the first kilobytes back.",
);
/// `retry.attempts`
pub(crate) const RETRY_WHY: &str = "One request starts at most one run of the agent.";
/// `on_disconnect`
pub(crate) const ON_DISCONNECT_WHY: &str = "An answer that nobody reads costs money.";
/// `hide.reasoning`, `hide.tools`
pub(crate) const HIDE: Preset<&str> = preset(
    "keep",
    "Weir changes nothing of a stream unless it is told to.",
);
/// `hide.markers`
pub(crate) const MARKERS: Preset<&str> = preset(
    "auto",
    "The marks of the families do not get into each other's way.",
);
/// `hide.starts_hidden`
pub(crate) const STARTS_HIDDEN: Preset<bool> = preset(
    false,
    "Most templates leave the opening marker to the model.",
);

/// `routes[].match.path_prefix`
pub(crate) const PATH_PREFIX: Preset<&str> = preset("/", "Every path.");
/// `routes[].match.host`, `methods`, `headers`
pub(crate) const ANY_WHY: &str = "No condition.";
