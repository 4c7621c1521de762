//! The defaults of the configuration, each with the reason for it.
//!
//! The reasons are part of the program, because the tables in `docs/configuration.md` are generated from them.

mod policy;
mod preset;

pub(crate) use policy::{
    ACK, ACK_TIMEOUT, ACK_WINDOW, AFTER_END, AGGREGATE, ANY_WHY, BATCH_CHARS, BATCH_DELAY,
    BATCH_WHY, BIND_WHY, CHAT_MEMBER, CHATS_WHY, CLIENT_STALL, COMMIT_AFTER, COMMIT_AFTER_WHY,
    CONNECT, DIALECT, FIRST_EVENT, FORWARDED, GRACE, HEAD, HEARTBEAT, HIDE, IDEMPOTENCY, IDLE, IDS,
    INTERRUPTED, JOURNAL_BYTES, JOURNAL_EVENTS, KEEP, MARKERS, MAX_BYTES, MAX_EVENT_BYTES,
    MAX_EVENTS, MAX_REQUEST_BYTES, MAX_VIEWERS, MERGE, MERGE_AGENTS, MERGE_BODY_WHY, MERGE_FAIL,
    MERGE_FINISH, MERGE_PATH_WHY, OFFER_WHY, ON_DISCONNECT_WHY, ORIGINS_WHY, OVERFLOW, PACE_DELAY,
    PACE_WHY, PATH_PREFIX, PREAMBLE_BYTES, PROGRESS, REPLY, REQUEST_FROM, REQUEST_TO, REQUEST_WHY,
    RESUME, RETRY_WHY, STARTS_HIDDEN, STATUS, TOTAL, UNSTREAM, WEBSOCKET,
};
pub(crate) use preset::Preset;

use std::time::Duration;

use preset::{KIB, MIB, preset, secs};

/// `listen`
pub(crate) const LISTEN: Preset<&str> = preset(
    "0.0.0.0:8080",
    "A proxy in a container must be reachable from outside; port 8080 needs no privileges.",
);
/// `probe`
pub(crate) const PROBE: Preset<bool> = preset(
    false,
    "It answers anybody who reaches the listener, so it is there only for those who want it.",
);
/// `admin.listen`
pub(crate) const ADMIN_LISTEN: Preset<&str> = preset(
    "127.0.0.1:9464",
    "Loopback, because the admin page shows live streams. 9464 is the usual port of OpenTelemetry's Prometheus exporter.",
);
/// `admin.hosts`
pub(crate) const ADMIN_HOSTS_WHY: &str = "A web page can be served under a name that resolves to this listener (DNS rebinding). Only names that are known to be yours are safe.";
/// `admin.token`
pub(crate) const ADMIN_TOKEN_WHY: &str = "Hooks of the kubelet can carry no secret. Requests that a web page can send are refused without a token, too.";
/// `workers`
pub(crate) const WORKERS_WHY: &str =
    "One thread for each core that the process may use. A stream stays on its thread.";
/// Placeholder for the numeric form of `workers`. Never used, because the default is `auto`.
pub(crate) const WORKERS: Preset<u64> = preset(1, WORKERS_WHY);
/// `log.format`
pub(crate) const LOG_FORMAT: Preset<&str> = preset(
    "auto",
    "A terminal is read by people, any other output by programs.",
);
/// `log.level`
pub(crate) const LOG_LEVEL: Preset<&str> = preset(
    "info",
    "Logs one line for each request, and none for single events.",
);
/// `log.access`
pub(crate) const LOG_ACCESS: Preset<&str> =
    preset("all", "Every request can be found by its `X-Request-Id`.");

/// `traces.endpoint`
pub(crate) const TRACES_WHY: &str = "Weir sends spans only to a collector that is configured.";
/// `traces.headers`
pub(crate) const TRACE_HEADERS_WHY: &str = "Collectors inside a cluster need no headers. Others need a secret, which does not belong in the file.";
/// `traces.service_name`
pub(crate) const SERVICE_NAME_WHY: &str =
    "OpenTelemetry deployments usually set it by environment variables, for all programs alike.";
/// `traces.sample`
pub(crate) const SAMPLE: Preset<f64> = preset(
    1.0,
    "One span for each request is cheap, and collectors can sample later by outcome (tail sampling).",
);

/// `traces.metrics`
pub(crate) const METRICS_EXPORT: Preset<bool> = preset(
    false,
    "The admin listener has these figures and many more for Prometheus. A second way is for those who have no Prometheus.",
);
/// `traces.metrics_endpoint`
pub(crate) const METRICS_ENDPOINT_WHY: &str =
    "Most collectors take spans and metrics at one address.";
/// `traces.metrics_interval`
pub(crate) const METRICS_INTERVAL: Preset<Duration> = preset(
    secs(60),
    "OpenTelemetry's own default. Deployments usually set it by an environment variable, for all programs alike.",
);

/// `complete.url`, `complete.file`
pub(crate) const RECORDS_WHY: &str =
    "What users and models say leaves Weir only where it is told to go.";
/// `complete.secret`
pub(crate) const RECORDS_SECRET_WHY: &str = "Needed only for `url`.";
/// `complete.routes`
pub(crate) const RECORDS_ROUTES_WHY: &str = "The streams of all routes are recorded.";
/// `complete.metadata`
pub(crate) const METADATA: Preset<&str> =
    preset("weir-metadata", "No agent expects a header of this name.");
/// `complete.max_text_bytes`
pub(crate) const RECORD_TEXT: Preset<u64> = preset(
    MIB,
    "Longer than any answer. What is recorded is held in memory until the stream ends.",
);

/// `resume.total_bytes`
pub(crate) const JOURNALS: Preset<u64> = preset(
    256 * MIB,
    "Holds more than a thousand answers of 1000 tokens, at about 200 bytes an event.",
);
/// `resume.store`
pub(crate) const STORE: Preset<&str> = preset(
    "memory",
    "A single process needs no server beside it. Replicas behind one address do, unless clients always reach the same one.",
);
/// `resume.redis.url`, `urls`
pub(crate) const REDIS_URL_WHY: &str = "Needed only for `store: redis`.";
/// `resume.redis.mode`
pub(crate) const REDIS_MODE: Preset<&str> = preset(
    "standalone",
    "One server, or a managed one behind one address.",
);
/// `resume.redis.master`
pub(crate) const REDIS_MASTER_WHY: &str = "Needed only for `mode: sentinel`.";
/// `resume.redis.username`
pub(crate) const REDIS_USERNAME_WHY: &str =
    "A server without users of its own knows only `default`.";
/// `resume.redis.password`
pub(crate) const REDIS_PASSWORD_WHY: &str =
    "Some servers ask for none. Others need a secret, which does not belong in the file.";
/// `resume.redis.sentinel_username`
pub(crate) const SENTINEL_USERNAME_WHY: &str = "Needed only for sentinels with users of their own.";
/// `resume.redis.sentinel_password`
pub(crate) const SENTINEL_PASSWORD_WHY: &str = "Most sentinels ask for none, and their password is often another one than that of the servers.";
/// `resume.redis.prefix`
pub(crate) const REDIS_PREFIX: Preset<&str> = preset(
    "weir:",
    "Keeps the keys apart from those of other programs, and lets an ACL name them (`~weir:*`).",
);
/// `resume.redis.encrypt`
pub(crate) const ENCRYPT_WHY: &str = "A server of your own needs no key. Set one if its operators must not read what users and models say.";
/// `resume.redis.encrypt_old`
pub(crate) const ENCRYPT_OLD_WHY: &str = "Needed only while one key replaces another.";

/// `drain.delay`
pub(crate) const DRAIN_DELAY: Preset<Duration> = preset(
    secs(5),
    "Load balancers keep sending requests for some seconds after readiness turns false.",
);
/// `drain.limit`
pub(crate) const DRAIN_LIMIT: Preset<Duration> = preset(
    secs(25),
    "Five seconds less than the 30 s after which Kubernetes kills a pod.",
);

/// `limits.max_connections` if the limit of open files is unknown or `unlimited`.
pub(crate) const MAX_CONNECTIONS: usize = 10_000;
/// `limits.max_connections`
pub(crate) const MAX_CONNECTIONS_WHY: &str = "Somewhat below half the limit of open files, because a request needs a socket on each side; 10000 if that limit is unknown.";
/// Maximum number of requests that `limits.max_requests: auto` allows, unless `limits.max_streams` is set to more than
/// half of it.
pub(crate) const MAX_REQUESTS: usize = 20_000;
/// `limits.max_requests`
pub(crate) const MAX_REQUESTS_WHY: &str =
    "Somewhat below half the limit of open files, because each call to an agent needs one.";
/// `limits.max_detached: auto` is `limits.max_requests` divided by this.
pub(crate) const DETACHED_PART: usize = 10;
/// `limits.max_detached`
pub(crate) const MAX_DETACHED_WHY: &str = "A tenth of `limits.max_requests`, so that such calls do not take the place of clients that wait.";
/// `limits.memory`
pub(crate) const MEMORY_WHY: &str = "The memory limit of the container or service (its control group). Reclaimable page cache does not count as used. Without such a limit, memory is not limited.";
/// `limits.max_streams`
pub(crate) const MAX_STREAMS: Preset<u64> = preset(
    10_000,
    "Far more than one agent process serves, and all queues together stay below 10 GiB.",
);
/// `limits.max_header_bytes`
pub(crate) const MAX_HEADER_BYTES: Preset<u64> = preset(
    64 * KIB,
    "Enough for large cookies and tokens. Other proxies allow between 8 and 64 KiB.",
);
/// `limits.max_headers`
pub(crate) const MAX_HEADERS: Preset<u64> = preset(
    100,
    "Browsers send 20 to 30 headers, and chains of proxies add a few.",
);
/// `limits.request_head`
pub(crate) const REQUEST_HEAD: Preset<Duration> = preset(
    secs(10),
    "Longer than any real client needs, and short enough to stop slow-header attacks (Slowloris).",
);
/// `limits.request_body`
pub(crate) const REQUEST_BODY: Preset<Duration> = preset(
    secs(60),
    "A mobile upload may pause for some seconds, but not for a minute.",
);
/// `limits.keep_alive`
pub(crate) const KEEP_ALIVE: Preset<Duration> = preset(
    secs(75),
    "Longer than the 60 s of common load balancers, so that they close first and never send a request on a closing connection.",
);

/// `upstreams.*.pool_idle`
pub(crate) const POOL_IDLE: Preset<Duration> = preset(
    secs(4),
    "Less than the 5 s after which uvicorn closes idle connections, so that no request is sent on a closing one.",
);
/// `upstreams.*.connect_budget`
pub(crate) const CONNECT_BUDGET: Preset<Duration> = preset(
    secs(0),
    "A refused connection fails at once. Set this if the agent starts together with Weir.",
);
/// `upstreams.*.http2`
pub(crate) const HTTP2: Preset<bool> = preset(
    false,
    "One connection for each stream makes cancellation exact, and a connection failure affects only one stream.",
);
/// `upstreams.*.tls.roots`
pub(crate) const ROOTS: Preset<&str> =
    preset("bundled", "Works in images without a certificate store.");
/// `upstreams.*.tls.ca_file`, `cert`, `key`
pub(crate) const NO_FILE_WHY: &str =
    "Needed only for private certificate authorities and for client certificates.";
/// `upstreams.*.tls.server_name`
pub(crate) const SERVER_NAME_WHY: &str =
    "Certificates normally contain the host name of the endpoint.";
/// `upstreams.*.eject.failures`
pub(crate) const EJECT_FAILURES: Preset<u64> =
    preset(5, "One or two failures are noise; five in a row are not.");
/// `upstreams.*.eject.for`
pub(crate) const EJECT_FOR: Preset<Duration> = preset(
    secs(10),
    "About the time that a crashed agent needs to restart.",
);
/// `upstreams.*.health.path`
pub(crate) const HEALTH_PATH_WHY: &str =
    "Agents have no common health path, and passive ejection works without one.";
/// `upstreams.*.health.interval`
pub(crate) const HEALTH_INTERVAL: Preset<Duration> = preset(
    secs(5),
    "Notices a recovered agent soon and causes almost no load.",
);

/// `upstreams.*.websocket.open`
pub(crate) const TALK_OPEN_WHY: &str =
    "Most agents read the question itself from the first message.";
/// `upstreams.*.websocket.interrupt`
pub(crate) const TALK_INTERRUPT_WHY: &str =
    "Agents notice that the WebSocket is closed, and have no common word for it.";
