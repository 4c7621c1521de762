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
    "A proxy in a container must be reachable from outside; port 8080 needs no privileges.",
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
    "Logs one line for each finished stream, and none for single events.",
);

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
/// Most requests that `limits.max_requests: auto` allows, unless `limits.max_streams` is set to more than half of it.
pub(crate) const MAX_REQUESTS: usize = 20_000;
/// `limits.max_requests`
pub(crate) const MAX_REQUESTS_WHY: &str = "As many as there are file descriptors for connections to agents: somewhat below half the limit of open files (100 requests share one if all upstreams use HTTP/2). At most 20000, or twice `limits.max_streams` if that is more.";
/// `limits.max_detached: auto` is `limits.max_requests` divided by this.
pub(crate) const DETACHED_PART: usize = 10;
/// `limits.max_detached`
pub(crate) const MAX_DETACHED_WHY: &str = "A tenth of `limits.max_requests`, at least 1. Such calls must not take the place of clients that wait.";
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

/// `dialect`
pub(crate) const DIALECT: Preset<&str> = preset(
    "auto",
    "The request, the response head and the first event identify the dialect.",
);
/// `deadlines.connect`
pub(crate) const CONNECT: Preset<Duration> = preset(
    secs(5),
    "Long enough to survive two lost SYN packets, short enough to detect a dead host before a user gives up.",
);
/// `deadlines.head`
pub(crate) const HEAD: Preset<Duration> = preset(
    secs(120),
    "Some agents send the response head only with the first token.",
);
/// `deadlines.first_event`
pub(crate) const FIRST_EVENT: Preset<Duration> = preset(
    secs(120),
    "Long prompts and cold models need a minute, and users do not wait longer than two.",
);
/// `deadlines.idle`
pub(crate) const IDLE: Preset<Duration> = preset(
    secs(300),
    "An agent's tool calls may be silent for minutes.",
);
/// `deadlines.progress`
pub(crate) const PROGRESS: Preset<Duration> = preset(
    secs(600),
    "Detects agents that send only heartbeats, but allows for the longest usual tool call.",
);
/// `deadlines.after_end`
pub(crate) const AFTER_END: Preset<Duration> = preset(
    secs(3),
    "Some agents never close the body. Raise it for agents that are silent for longer between two answers of one run.",
);
/// `deadlines.total`
pub(crate) const TOTAL: Preset<Duration> = preset(
    secs(3600),
    "Ends agents that loop. No interactive run takes longer.",
);
/// `deadlines.client_stall`
pub(crate) const CLIENT_STALL: Preset<Duration> =
    preset(secs(30), "A phone that changes networks reconnects sooner.");
/// `heartbeat`
pub(crate) const HEARTBEAT: Preset<Duration> = preset(
    secs(15),
    "A quarter of the 60 s after which common proxies and load balancers close silent connections.",
);
/// `queue.max_events`
pub(crate) const MAX_EVENTS: Preset<u64> =
    preset(256, "A few seconds of output from a fast model.");
/// `queue.max_bytes`
pub(crate) const MAX_BYTES: Preset<u64> = preset(
    MIB,
    "Limits the memory of one slow client. Ordinary tokens never reach it.",
);
/// `queue.merge`
pub(crate) const MERGE: Preset<bool> = preset(
    true,
    "Merging neighbouring tokens loses nothing, while dropping them does.",
);
/// `queue.overflow`
pub(crate) const OVERFLOW: Preset<&str> = preset(
    "drop_oldest",
    "A slow client neither stops the agent nor loses important events: only tokens, reasoning and status events may be dropped.",
);
/// `max_event_bytes`
pub(crate) const MAX_EVENT_BYTES: Preset<u64> = preset(
    16 * MIB,
    "Enough for an event that contains an image or a whole state.",
);
/// `max_request_bytes`
pub(crate) const MAX_REQUEST_BYTES: Preset<u64> = preset(
    64 * MIB,
    "Enough for several attached images and documents.",
);
/// `probe`
pub(crate) const PROBE: Preset<bool> = preset(
    false,
    "It answers anybody who reaches the listener, so it is there only for those who want it.",
);
/// `forwarded`
pub(crate) const FORWARDED: Preset<bool> = preset(
    false,
    "Agents read the `X-Forwarded-*` headers, which are always sent.",
);
/// `commit_after`
pub(crate) const COMMIT_AFTER_WHY: &str =
    "Until the head is sent, a failure can still be reported by its status code.";
/// Placeholder for `commit_after` as a duration. Never used, because the default is `off`.
pub(crate) const COMMIT_AFTER: Preset<Duration> = preset(secs(0), COMMIT_AFTER_WHY);
/// `preamble_bytes`
pub(crate) const PREAMBLE_BYTES: Preset<u64> = preset(
    0,
    "Needed only behind intermediaries that buffer the first kilobytes.",
);
/// `retry.attempts`
pub(crate) const RETRY_WHY: &str = "A request starts at most one run of the agent.";
/// `resume.enabled`
pub(crate) const RESUME: Preset<bool> = preset(
    false,
    "A journal holds what users and models say, even after the stream has ended.",
);
/// `resume.ids`
pub(crate) const IDS: Preset<&str> = preset(
    "auto",
    "An id where a client does not expect one may confuse it.",
);
/// `resume.keep`
pub(crate) const KEEP: Preset<Duration> = preset(
    secs(120),
    "A phone that lost its network, or a page that is loaded again, is back by then.",
);
/// `resume.max_events`
pub(crate) const JOURNAL_EVENTS: Preset<u64> =
    preset(10_000, "More than long answers have tokens.");
/// `resume.max_bytes`
pub(crate) const JOURNAL_BYTES: Preset<u64> =
    preset(4 * MIB, "Twice what 10000 events of about 200 bytes take.");
/// `resume.max_viewers`
pub(crate) const MAX_VIEWERS: Preset<u64> = preset(
    16,
    "The tabs and devices of one user. Each viewer has a queue of its own.",
);
/// `resume.bind`
pub(crate) const BIND_WHY: &str = "Whoever learns the id of a stream still cannot read it without the credentials that started it.";
/// `resume.idempotency`
pub(crate) const IDEMPOTENCY: Preset<bool> = preset(
    false,
    "A client that sends the same key twice may expect two runs, unless it was written for this.",
);
/// `resume.chats.path`
pub(crate) const CHATS_WHY: &str =
    "Only the AI SDK asks for a chat, not for a stream, and its path is chosen by the application.";
/// `resume.chats.member`
pub(crate) const CHAT_MEMBER: Preset<&str> = preset("id", "The name that `useChat` sends.");
/// Placeholder for `on_disconnect.grace`. Never used, because the default is `cancel`.
pub(crate) const GRACE: Preset<Duration> = preset(secs(30), ON_DISCONNECT_WHY);
/// `on_disconnect`
pub(crate) const ON_DISCONNECT_WHY: &str = "Generating a response that nobody reads costs money.";
/// `websocket`
pub(crate) const WEBSOCKET: Preset<&str> = preset(
    "tunnel",
    "An agent that accepts a WebSocket wants it, and any other agent refuses it itself.",
);
/// `websocket.ack`
pub(crate) const ACK: Preset<&str> = preset(
    "optional",
    "Clients that know nothing of acknowledgements are bounded by the queue, as all others are.",
);
/// `websocket.ack_window`
pub(crate) const ACK_WINDOW: Preset<u64> = preset(256, "As many events as a queue holds.");
/// `websocket.ack_timeout`
pub(crate) const ACK_TIMEOUT: Preset<Duration> = preset(
    secs(5),
    "A client that is there shows an event sooner, and one that is not can come back.",
);
/// `websocket.origins`
pub(crate) const ORIGINS_WHY: &str =
    "Browsers let a page of any site open a WebSocket, with the cookies of its user.";
/// `websocket.interrupted`
pub(crate) const INTERRUPTED: Preset<bool> = preset(
    false,
    "Every stream ends with `finish` or `error`, so clients need to know no other end.",
);
/// `hide.reasoning`, `hide.tools`
pub(crate) const HIDE: Preset<&str> = preset(
    "keep",
    "Weir removes nothing from a stream unless configured to.",
);
/// `hide.markers`
pub(crate) const MARKERS: Preset<&str> =
    preset("auto", "The markers of the families do not conflict.");
/// `hide.starts_hidden`
pub(crate) const STARTS_HIDDEN: Preset<bool> = preset(
    false,
    "With most chat templates, the model writes the opening marker itself.",
);

/// `reply.as`
pub(crate) const REPLY: Preset<&str> = preset(
    "same",
    "A client that was written for its agent needs no translation.",
);
/// `request.from`
pub(crate) const REQUEST_WHY: &str = "Most clients and agents agree on the form of requests.";
/// Placeholder for `request.from` as a word. Never used, because the default is `null`.
pub(crate) const REQUEST_FROM: Preset<&str> = preset("ai-sdk", REQUEST_WHY);
/// `request.to`
pub(crate) const REQUEST_TO: Preset<&str> = preset(
    "openai-chat",
    "The form that most agents and model servers read.",
);
/// `reply.status`
pub(crate) const STATUS: Preset<&str> =
    preset("names", "Only clients that show such texts need them.");
/// `reply.aggregate`
pub(crate) const AGGREGATE: Preset<bool> =
    preset(false, "What a client does not ask for is not changed.");
/// `reply.unstream`
pub(crate) const UNSTREAM: Preset<&str> = preset(
    "pass",
    "Nearly every agent that is asked for a stream sends one.",
);
/// `batch.max_delay`
pub(crate) const BATCH_WHY: &str = "Each piece is shown as soon as it comes.";
/// Placeholder for `batch.max_delay` as a duration. Never used, because the default is `off`.
pub(crate) const BATCH_DELAY: Preset<Duration> = preset(secs(0), BATCH_WHY);
/// `batch.max_chars`
pub(crate) const BATCH_CHARS: Preset<u64> =
    preset(20, "Some five tokens. Has no effect without `max_delay`.");
/// `pace.max_delay`
pub(crate) const PACE_WHY: &str = "Most agents write at an even pace.";
/// Placeholder for `pace.max_delay` as a duration. Never used, because the default is `off`.
pub(crate) const PACE_DELAY: Preset<Duration> = preset(secs(0), PACE_WHY);
/// `reply.offer`
pub(crate) const OFFER_WHY: &str = "The client gets what `reply.as` says.";

/// `routes[].match.path_prefix`
pub(crate) const PATH_PREFIX: Preset<&str> = preset("/", "Matches every path.");
/// `routes[].match.host`, `methods`, `headers`
pub(crate) const ANY_WHY: &str = "No condition.";
/// `routes[].merge.finish`
pub(crate) const MERGE_FINISH: Preset<&str> = preset(
    "all",
    "Whoever asks several agents wants to hear all of them.",
);
/// `routes[].merge.fail`
pub(crate) const MERGE_FAIL: Preset<&str> = preset(
    "continue",
    "What the others say is of use without the one that failed.",
);
/// `routes[].merge.max_agents`
pub(crate) const MERGE_AGENTS: Preset<u64> = preset(
    16,
    "Each request costs as many calls. A longer list is probably a mistake.",
);
/// `routes[].merge.agents[].path`
pub(crate) const MERGE_PATH_WHY: &str = "Agents with the same API have the same paths.";
/// `routes[].merge.agents[].body`
pub(crate) const MERGE_BODY_WHY: &str = "Each agent gets the request as the client sent it.";
