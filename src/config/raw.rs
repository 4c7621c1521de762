//! The raw configuration file: declares every section and key once. The decoder, the schema and the docs are generated
//! from this table.
//!
//! The doc comment of a key is the sentence that operators read in the docs and in their editor.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::json;

use crate::config::address;
use crate::config::collector;
use crate::config::defaults::{self as preset, Preset};
use crate::config::error::{Path, Report};
use crate::config::group::{Group, Named, Section, Sections, group, label};
use crate::config::hook_url::{self, HookUrl};
use crate::config::kind::Key;
use crate::config::listen::{ListenEntry, file, listen_text};
use crate::config::number::{Count, Share, Size, Time};
use crate::config::secret::{self, Source};
use crate::config::text::{Flag, OneOf, Text, Unbuilt};
use crate::config::tree::Node;
use crate::config::words::{self, Marker};
use crate::config::wrap::{Fields, OneOrMany, OrAuto, OrNull, OrOff, Preferred, field_value};
use crate::config::{Address, Endpoint, LogFormat, Roots};
use crate::dialect::Choice;
use crate::filter::Hide as HideMode;
use crate::queue::Overflow;
use crate::request_map::RequestForm;
use crate::translate::Target;

const MS: Duration = Duration::from_millis(1);
const NONE: Duration = Duration::ZERO;
const MINUTES_10: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Longest deadline. A run that takes longer is a batch job, not a stream.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

group! {
    /// The top level of the file.
    Root {
        /// Address to listen on for clients: `host:port`, `:port`, `unix:/path`, a section with `address` and `tls`, or
        /// a list of these.
        listen: Preferred<OneOrMany<ListenEntry>> =
            Preferred { inner: OneOrMany { inner: ListenEntry }, preset: preset::LISTEN };
        /// Listener for metrics, health checks, the page of live streams, and drain requests.
        admin: Section<Admin> = Section(PhantomData);
        /// Number of worker threads. Read only at start.
        workers: OrAuto<Count> =
            OrAuto {
                inner: Count { preset: preset::WORKERS, range: (1, 1024) },
                why: preset::WORKERS_WHY,
            };
        /// Format and level of the log.
        log: Section<Log> = Section(PhantomData);
        /// Export of OpenTelemetry spans; see `docs/traces.md`. Read only at start.
        traces: Section<Traces> = Section(PhantomData);
        /// Records of finished streams, sent to a webhook or a file; see `docs/records.md`. Read only at start.
        complete: Section<Complete> = Section(PhantomData);
        /// Graceful shutdown.
        drain: Section<Drain> = Section(PhantomData);
        /// Limits of the whole process.
        limits: Section<Limits> = Section(PhantomData);
        /// Groups of equal agents, by name. At least one is required, here or by `--upstream`.
        upstreams: Named<Upstream> = Named(PhantomData);
        /// Settings of all routes. A route can override each key separately.
        defaults: Section<Policy> = Section(PhantomData);
        /// Routing rules. The first route that matches takes the request; if none matches, the response is 404. Without
        /// routes, all requests go to the only upstream.
        routes: Sections<Route> = Sections(PhantomData);
    }
}

group! {
    /// The section `admin`.
    Admin {
        /// Address of the admin listener: `host:port`, `unix:/path` or `off`.
        listen: OrOff<Text<Address>> =
            OrOff {
                inner: Text { preset: Some(preset::ADMIN_LISTEN), ..listen_text() },
                off: None,
            };
        /// Host names by which the listener may be asked, besides addresses and `localhost`: a name, or a list of names,
        /// without ports. Requests with another `Host` get 403, except for `/healthz` and `/readyz`.
        hosts: OrNull<OneOrMany<Text<String>>> =
            OrNull {
                inner: OneOrMany { inner: Text { form: "a host name", parse: address::host_name, preset: None } },
                why: preset::ADMIN_HOSTS_WHY,
            };
        /// Token that requests which change something (`/drain`) must carry as `Authorization: Bearer`. Says where it is
        /// read from: `env:NAME` is an environment variable, `file:PATH` is a file.
        token: OrNull<Text<Source>> =
            OrNull {
                inner: Text { form: "`env:NAME` or `file:PATH`", parse: secret::source, preset: None },
                why: preset::ADMIN_TOKEN_WHY,
            };
    }
}

group! {
    /// The section `log`.
    Log {
        /// Log format: `json` writes one object per line, `text` is meant for people, `auto` chooses `text` on a
        /// terminal and `json` otherwise.
        format: OneOf<LogFormat> =
            OneOf { words: words::LOG_FORMATS.to_vec(), preset: preset::LOG_FORMAT };
        /// Log level: `off`, `error`, `warn`, `info`, `debug` or `trace`, or filter directives such as
        /// `info,weir::config=debug`.
        level: Text<String> =
            Text {
                form: "a log level",
                parse: address::log_level,
                preset: Some(preset::LOG_LEVEL),
            };
    }
}

group! {
    /// The section `traces`.
    Traces {
        /// URL of the OTLP/HTTP collector, such as `http://collector:4318`. `/v1/traces` is appended unless the URL
        /// ends with it. `null` disables the export. Builds without the cargo feature `otel` accept only `null`.
        endpoint: OrNull<Text<Endpoint>> =
            OrNull {
                inner: Text { form: "a URL such as `http://collector:4318`", parse: collector::collector, preset: None },
                why: preset::TRACES_WHY,
            };
        /// Headers sent with each export, such as `authorization`. Each value says where it is read from: `env:NAME` is
        /// an environment variable, `file:PATH` is a file.
        headers: Fields<Source> =
            Fields {
                form: "`env:NAME` or `file:PATH`",
                parse: secret::source,
                why: preset::TRACE_HEADERS_WHY,
            };
        /// `service.name` of the spans. If `null`, it comes from `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`, or
        /// else it is `weir`.
        service_name: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a name", parse: collector::service_name, preset: None },
                why: preset::SERVICE_NAME_WHY,
            };
        /// Share of the traces beginning at Weir that are recorded. Traces that begin at a caller keep the caller's
        /// sampling decision.
        sample: Share = Share { preset: preset::SAMPLE };
        /// TLS to the collector, for an `https://` endpoint.
        tls: Section<UpstreamTls> = Section(PhantomData);
    }
}

group! {
    /// The section `complete`.
    Complete {
        /// URL of a webhook that receives a signed POST for each record. Requires `secret`.
        url: OrNull<Text<HookUrl>> =
            OrNull {
                inner: Text { form: "a URL such as `https://app/hooks/weir`", parse: hook_url::url, preset: None },
                why: preset::RECORDS_WHY,
            };
        /// Secret that requests to the webhook are signed with: `whsec_` and 24 to 64 random bytes in base64. Says where
        /// it is read from: `env:NAME` is an environment variable, `file:PATH` is a file.
        secret: OrNull<Text<Source>> =
            OrNull {
                inner: Text { form: "`env:NAME` or `file:PATH`", parse: secret::source, preset: None },
                why: preset::RECORDS_SECRET_WHY,
            };
        /// File that records are appended to, one in each line. Not together with `url`.
        file: OrNull<Text<PathBuf>> = OrNull { inner: file(), why: preset::RECORDS_WHY };
        /// Names of the routes whose streams are recorded: a name, or a list of names.
        routes: OrNull<OneOrMany<Text<String>>> =
            OrNull {
                inner: OneOrMany { inner: Text { form: "the name of a route", parse: label, preset: None } },
                why: preset::RECORDS_ROUTES_WHY,
            };
        /// Header by which a caller says what the record contains as `metadata`, up to 4 KiB. It is not passed on to the
        /// agent.
        metadata: Text<HeaderName> =
            Text { form: "the name of a header", parse: hook_url::field, preset: Some(preset::METADATA) };
        /// Maximum size of the text in a record, and of everything else that was said. A record that leaves something
        /// out has `truncated`.
        max_text_bytes: Size = size(preset::RECORD_TEXT, KIB, 64 * 1024 * KIB);
        /// TLS to the webhook, for an `https://` URL.
        tls: Section<UpstreamTls> = Section(PhantomData);
    }
}

group! {
    /// The section `drain`.
    Drain {
        /// How long new requests are still served after the drain begins. Readiness turns false at once.
        delay: Time = time(preset::DRAIN_DELAY, NONE, MINUTES_10);
        /// Time after the start of the drain at which remaining streams are ended as `drained`. Keep it below the pod's
        /// grace period.
        limit: Time = time(preset::DRAIN_LIMIT, NONE, DAY);
    }
}

group! {
    /// The section `limits`.
    Limits {
        /// Maximum number of simultaneous client connections, over all listeners. Further ones are closed at once.
        max_connections: OrAuto<Count> =
            OrAuto {
                inner: count(Preset { value: 0, why: "" }, 1, 1_000_000),
                why: preset::MAX_CONNECTIONS_WHY,
            };
        /// Maximum number of simultaneous requests of every kind, streams included. Further ones are rejected with 503,
        /// and so are those of an HTTP/2 connection beyond its share, which depends on how many are free.
        max_requests: OrAuto<Count> =
            OrAuto {
                inner: count(Preset { value: 0, why: "" }, 1, 1_000_000),
                why: preset::MAX_REQUESTS_WHY,
            };
        /// Maximum number of calls to agents that continue although their client has left (MCP). Beyond it, leaving
        /// cancels the call. One client address gets at most half of them. They count as requests, too.
        max_detached: OrAuto<Count> =
            OrAuto {
                inner: count(Preset { value: 0, why: "" }, 0, 1_000_000),
                why: preset::MAX_DETACHED_WHY,
            };
        /// Maximum number of simultaneous streams, over all routes. Further ones are rejected with 503, as with
        /// `max_requests`.
        max_streams: Count = count(preset::MAX_STREAMS, 1, 1_000_000);
        /// Maximum size of a request head. Larger heads are rejected with 431.
        max_header_bytes: Size = size(preset::MAX_HEADER_BYTES, 8 * KIB, 1024 * KIB);
        /// Maximum number of headers in a request head.
        max_headers: Count = count(preset::MAX_HEADERS, 10, 1_000);
        /// Time limit for receiving a request head, including the TLS handshake.
        request_head: Time = time(preset::REQUEST_HEAD, MS, HOUR);
        /// Maximum silence while a request body is being received.
        request_body: Time = time(preset::REQUEST_BODY, MS, HOUR);
        /// Keep-alive timeout: how long an idle client connection is kept open.
        keep_alive: Time = time(preset::KEEP_ALIVE, MS, DAY);
        /// Memory limit of the process, for load shedding. From 85 % on, new requests are rejected with 503. From 95 %
        /// on, streams whose clients do not read are ended.
        memory: OrAuto<OrOff<Size>> =
            OrAuto {
                inner: OrOff {
                    inner: size(Preset { value: 0, why: "" }, 16 * 1024 * KIB, 1024 * GIB),
                    off: None,
                },
                why: preset::MEMORY_WHY,
            };
    }
}

group! {
    /// One upstream, `upstreams.<name>`.
    Upstream requires ["endpoints"] {
        /// URLs of interchangeable agents: `http://`, `https://`, `dns+http://`, `dns+https://` or `unix:/path`. Host
        /// names are resolved for each new connection. A path in the URL is put in front of each request path.
        endpoints: OneOrMany<Text<Endpoint>> =
            OneOrMany {
                inner: Text { form: "a URL such as `http://127.0.0.1:8000`", parse: address::endpoint, preset: None },
            };
        /// How long an idle connection to the agent is kept for reuse. Keep it below the agent's own keep-alive
        /// timeout. `0s` keeps none.
        pool_idle: Time = time(preset::POOL_IDLE, NONE, HOUR);
        /// How long connecting is retried if the agent refuses connections, for example because it is still starting.
        connect_budget: Time = time(preset::CONNECT_BUDGET, NONE, MINUTES_10);
        /// Use HTTP/2 to the agent, with up to 100 streams on each connection: over TLS negotiated by ALPN, otherwise
        /// with prior knowledge. There is no fallback to HTTP/1.1: an agent that does not speak HTTP/2 is an error.
        http2: Flag = Flag { preset: preset::HTTP2 };
        /// TLS to the agent, for `https://` endpoints.
        tls: Section<UpstreamTls> = Section(PhantomData);
        /// Passive ejection: an endpoint that keeps failing gets no requests for a while. The last remaining endpoint
        /// is never ejected.
        eject: Section<Eject> = Section(PhantomData);
        /// Active health checks of each endpoint.
        health: Section<Health> = Section(PhantomData);
    }
}

group! {
    /// The sections `upstreams.<name>.tls`, `traces.tls` and `complete.tls`.
    UpstreamTls {
        /// Trusted certificate authorities: `bundled` is Mozilla's list, `system` is the certificate store of the
        /// machine, `none` trusts only `ca_file`.
        roots: OneOf<Roots> = OneOf { words: words::ROOTS.to_vec(), preset: preset::ROOTS };
        /// PEM file with additional trusted certificate authorities.
        ca_file: OrNull<Text<PathBuf>> = maybe_file();
        /// PEM file with the client certificate chain. Requires `key`.
        cert: OrNull<Text<PathBuf>> = maybe_file();
        /// PEM file with the private key of the client certificate. Requires `cert`.
        key: OrNull<Text<PathBuf>> = maybe_file();
        /// Name that the server's certificate must contain, if it is not the host of the endpoint.
        server_name: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a host name", parse: address::host_name, preset: None },
                why: preset::SERVER_NAME_WHY,
            };
    }
}

group! {
    /// The section `upstreams.<name>.eject`.
    Eject {
        /// Number of consecutive failures after which an endpoint is ejected. 0 disables ejection.
        failures: Count = count(preset::EJECT_FAILURES, 0, 1_000);
        /// How long an endpoint stays ejected.
        pause("for"): Time = time(preset::EJECT_FOR, MS, HOUR);
    }
}

group! {
    /// The section `upstreams.<name>.health`.
    Health {
        /// Path to request. Any status below 400 counts as healthy. `null` disables the checks.
        path: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a path that begins with `/`", parse: address::request_path, preset: None },
                why: preset::HEALTH_PATH_WHY,
            };
        /// Time between two checks of an endpoint.
        interval: Time = time(preset::HEALTH_INTERVAL, Duration::from_millis(100), HOUR);
    }
}

group! {
    /// The section `defaults`, and the same keys in a route.
    Policy {
        /// Dialect of the streams: the protocol and event format of the agent. `auto` detects it.
        dialect: OneOf<Choice> = OneOf { words: words::dialects(), preset: preset::DIALECT };
        /// Time limits of a stream. Each ends the stream with an outcome of its own.
        deadlines: Section<Deadlines> = Section(PhantomData);
        /// How long the client receives nothing before a heartbeat is sent, or `off`.
        heartbeat: OrOff<Time> =
            OrOff { inner: time(preset::HEARTBEAT, Duration::from_millis(10), HOUR), off: None };
        /// Queue of the events that wait for a slow client.
        queue: Section<Queue> = Section(PhantomData);
        /// Maximum size of one event. A larger one ends the stream as `too_large`.
        max_event_bytes: Size = size(preset::MAX_EVENT_BYTES, KIB, GIB);
        /// Maximum size of a request body. Larger bodies are rejected with 413.
        max_request_bytes: Size = size(preset::MAX_REQUEST_BYTES, 0, 1024 * GIB);
        /// Whether to send the agent the `Forwarded` header (RFC 7239) in addition to `X-Forwarded-*`.
        forwarded: Flag = Flag { preset: preset::FORWARDED };
        /// Send the response head after this time even if the agent has not responded, for intermediaries that limit
        /// the wait for a head. Later failures can no longer be reported by the status code.
        commit_after: OrOff<Time> =
            OrOff {
                inner: time(preset::COMMIT_AFTER, MS, MINUTES_10),
                off: Some(preset::COMMIT_AFTER_WHY),
            };
        /// Size of a comment sent ahead of the stream, for intermediaries that buffer the first bytes. 0 disables it.
        preamble_bytes: Size = size(preset::PREAMBLE_BYTES, 0, 64 * KIB);
        /// Retries of failed requests.
        retry: Section<Retry> = Section(PhantomData);
        /// What happens to the agent's run when the client disconnects.
        on_disconnect: Unbuilt = unbuilt("cancel", preset::ON_DISCONNECT_WHY);
        /// Parts of a stream that are hidden from the client.
        hide: Section<Hide> = Section(PhantomData);
        /// Dialect in which the client gets its stream, whatever the agent speaks.
        reply: Section<Reply> = Section(PhantomData);
        /// Translation of requests: the client sends them in its own form, and the agent reads another one.
        request: Section<Request> = Section(PhantomData);
        /// Pieces of text that leave together, which saves clients work.
        batch: Section<Batch> = Section(PhantomData);
        /// Bursts of text that are spread over time, which reads better.
        pace: Section<Pace> = Section(PhantomData);
    }
}

group! {
    /// The section `request`.
    Request {
        /// The form in which clients send their requests: `ai-sdk` (`useChat`) or `ag-ui` (`RunAgentInput`). `null` passes
        /// them on as they are.
        from: OrNull<OneOf<RequestForm>> =
            OrNull {
                inner: OneOf { words: words::REQUEST_FORMS.to_vec(), preset: preset::REQUEST_FROM },
                why: preset::REQUEST_WHY,
            };
        /// The form that the agent reads.
        to: OneOf<()> = OneOf { words: words::REQUEST_TARGETS.to_vec(), preset: preset::REQUEST_TO };
    }
}

group! {
    /// The section `batch`.
    Batch {
        /// How long a piece of text waits for those that follow, or `off`. The first piece never waits.
        max_delay: OrOff<Time> =
            OrOff {
                inner: time(preset::BATCH_DELAY, MS, Duration::from_secs(1)),
                off: Some(preset::BATCH_WHY),
            };
        /// They leave sooner once they have this many characters together.
        max_chars: Count = count(preset::BATCH_CHARS, 1, 65_536);
    }
}

group! {
    /// The section `pace`.
    Pace {
        /// How long a piece of text that came with others is held back at most, or `off`. The first piece is not.
        max_delay: OrOff<Time> =
            OrOff {
                inner: time(preset::PACE_DELAY, MS, Duration::from_secs(5)),
                off: Some(preset::PACE_WHY),
            };
    }
}

group! {
    /// The section `reply`.
    Reply {
        /// Dialect of the client's stream: `same` passes on the agent's; the others translate it.
        form("as"): OneOf<Option<Target>> = OneOf { words: words::replies(), preset: preset::REPLY };
        /// Dialects that a client may ask for instead, with the header `Weir-Reply` or the query parameter `weir.reply`.
        offer: OrNull<OneOrMany<OneOf<Option<Target>>>> =
            OrNull {
                inner: OneOrMany { inner: OneOf { words: words::replies(), preset: preset::REPLY } },
                why: preset::OFFER_WHY,
            };
        /// What clients of a translation are told about what is going on, where their dialect has words for it: `names`
        /// is what the agent says; `visible` also that the model thinks although that is hidden, which tool is used,
        /// and, instead of heartbeats, for how long the agent has been silent.
        status: OneOf<bool> = OneOf { words: words::STATUSES.to_vec(), preset: preset::STATUS };
        /// Whether a client that asks for no stream gets one JSON answer made of the agent's stream. The agent is asked for
        /// a stream, so that no deadline between Weir and the agent ever sees silence.
        aggregate: Flag = Flag { preset: preset::AGGREGATE };
        /// What becomes of a whole JSON answer to a request that asked for a stream: `pass` passes it on, `synthesize`
        /// writes it as a stream.
        unstream: OneOf<bool> = OneOf { words: words::UNSTREAMS.to_vec(), preset: preset::UNSTREAM };
    }
}

group! {
    /// The section `deadlines`.
    Deadlines {
        /// Time limit for connecting to the agent, including the TLS handshake.
        connect: Time = time(preset::CONNECT, MS, MINUTES_10);
        /// Time limit from the end of the request to the response head.
        head: Time = time(preset::HEAD, MS, WEEK);
        /// Time limit from the end of the request to the first event with content. It takes effect once the response
        /// head has arrived.
        first_event: Time = time(preset::FIRST_EVENT, MS, WEEK);
        /// Maximum silence of the agent after the first content. Every byte counts, including the agent's heartbeats.
        idle: Time = time(preset::IDLE, MS, WEEK);
        /// Maximum time between two events with content.
        progress: Time = time(preset::PROGRESS, MS, WEEK);
        /// Maximum silence of the agent once the response may be complete: after a finish reason, a final answer or a
        /// `done` event. The stream then ends as finished. The agent's heartbeats count as silence; further content
        /// means that the response was not complete.
        after_end: Time = time(preset::AFTER_END, MS, WEEK);
        /// Maximum duration of the whole stream.
        total: Time = time(preset::TOTAL, MS, WEEK);
        /// Maximum time that data waits for the client while the client accepts none of it.
        client_stall: Time = time(preset::CLIENT_STALL, MS, WEEK);
    }
}

group! {
    /// The section `queue`.
    Queue {
        /// Maximum number of queued events.
        max_events: Count = count(preset::MAX_EVENTS, 1, 65_536);
        /// Maximum size of the queue. From 64 KiB on, one eighth of it is reserved for bookkeeping and fragmentation. A
        /// single event may be larger; it is then queued alone.
        max_bytes: Size = size(preset::MAX_BYTES, 1, GIB);
        /// Whether neighbouring tokens are merged before any is dropped.
        merge: Flag = Flag { preset: preset::MERGE };
        /// What happens when the queue is full: `drop_oldest` drops the oldest token, `block` stops reading from the
        /// agent (back-pressure), `disconnect` ends the stream as `client_stalled`.
        overflow: OneOf<Overflow> =
            OneOf { words: words::OVERFLOWS.to_vec(), preset: preset::OVERFLOW };
    }
}

group! {
    /// The section `retry`.
    Retry {
        /// How often a request is retried before its first event.
        attempts: Unbuilt =
            Unbuilt { preset: Preset { value: "0", why: preset::RETRY_WHY }, json: json!(0) };
    }
}

group! {
    /// The section `hide`.
    Hide {
        /// What happens to reasoning: `keep` passes it on, `drop` removes it, `status` removes it and tells the client
        /// so if the dialect has an event for that.
        reasoning: OneOf<HideMode> = OneOf { words: words::HIDES.to_vec(), preset: preset::HIDE };
        /// What happens to tool calls and their results. Takes the same values as `reasoning`.
        tools: OneOf<HideMode> = OneOf { words: words::HIDES.to_vec(), preset: preset::HIDE };
        /// Markers of reasoning and tool calls in text: `auto` for all families, or a list of families (see
        /// `docs/leakage.md`) and of custom pairs, written `OPEN ... CLOSE`.
        markers: OneOrMany<Text<Marker>> =
            OneOrMany {
                inner: Text {
                    form: "a family of markers, or `OPEN ... CLOSE`",
                    parse: words::marker,
                    preset: Some(preset::MARKERS),
                },
            };
        /// Whether each text begins inside reasoning, because the prompt already contains the opening marker.
        starts_hidden: Flag = Flag { preset: preset::STARTS_HIDDEN };
    }
}

group! {
    /// One route, `routes[]`, without the keys that it shares with `defaults`.
    RouteHead requires ["name"] {
        /// Name of the route in metrics and logs. Must be unique.
        name: Text<String> = Text { form: "a name", parse: label, preset: None };
        /// Conditions that a request must meet. All of them must hold.
        matches("match"): Section<Match> = Section(PhantomData);
        /// Name of the upstream that receives the requests.
        upstream: Text<String> =
            Text { form: "the name of an upstream", parse: label, preset: None };
    }
}

group! {
    /// The section `routes[].match`.
    Match {
        /// Path prefix, matched by whole segments: `/v1` matches `/v1` and `/v1/x`, but not `/v10`.
        path_prefix: Text<String> =
            Text {
                form: "a path that begins with `/`",
                parse: address::path_prefix,
                preset: Some(preset::PATH_PREFIX),
            };
        /// Host of the request, without the port. `*.example.com` matches every subdomain.
        host: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a host name", parse: address::host_pattern, preset: None },
                why: preset::ANY_WHY,
            };
        /// HTTP method, or a list of methods.
        methods: OrNull<OneOrMany<Text<Method>>> =
            OrNull {
                inner: OneOrMany { inner: Text { form: "a method", parse: address::method, preset: None } },
                why: preset::ANY_WHY,
            };
        /// Headers that must be present with exactly these values.
        headers: Fields<HeaderValue> =
            Fields {
                form: "the value of a header field",
                parse: field_value,
                why: preset::ANY_WHY,
            };
    }
}

/// One route, `routes[]`: its own keys, and those that it shares with `defaults`.
#[derive(Default)]
pub(crate) struct Route {
    /// Name, conditions and upstream.
    pub(crate) head: RouteHead,
    /// Keys that override `defaults`.
    pub(crate) policy: Policy,
}

impl Group for Route {
    fn keys() -> Vec<Key> {
        let mut keys = RouteHead::keys();
        keys.extend(Policy::keys());
        keys
    }

    fn take(&mut self, name: &str, node: &Node, path: &Path, report: &mut Report) -> bool {
        self.head.take(name, node, path, report) || self.policy.take(name, node, path, report)
    }

    fn required() -> &'static [&'static str] {
        RouteHead::required()
    }
}

fn maybe_file() -> OrNull<Text<PathBuf>> {
    OrNull {
        inner: file(),
        why: preset::NO_FILE_WHY,
    }
}

fn unbuilt(word: &'static str, why: &'static str) -> Unbuilt {
    Unbuilt {
        preset: Preset { value: word, why },
        json: json!(word),
    }
}

fn time(preset: Preset<Duration>, low: Duration, high: Duration) -> Time {
    Time {
        preset,
        range: (low, high),
    }
}

fn size(preset: Preset<u64>, low: u64, high: u64) -> Size {
    Size {
        preset,
        range: (low, high),
    }
}

fn count(preset: Preset<u64>, low: u64, high: u64) -> Count {
    Count {
        preset,
        range: (low, high),
    }
}
