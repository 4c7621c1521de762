//! The raw configuration file: declares every section and key once. The decoder, the schema and the docs are generated
//! from this table.
//!
//! The doc comment of a key is the sentence that operators read in the docs and in their editor. `policy` has the
//! sections of `defaults`, `resume` and `journals` what streams are resumed with, `route` the conditions of a route,
//! and this file everything else.

mod journals;
mod policy;
mod resume;
mod route;
mod websocket;

pub(crate) use journals::{Journals, Redis};
pub(crate) use policy::{Deadlines, Hide, Policy, Reply};
pub(crate) use resume::Resume;
use route::Route;
pub(crate) use route::{Match, Merge};
pub(crate) use websocket::WebSocket;

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use crate::config::address;
use crate::config::choices;
use crate::config::collector;
use crate::config::defaults::{self as preset, Preset};
use crate::config::group::{Named, Section, Sections, group, label};
use crate::config::hook_url::{self, HookUrl};
use crate::config::listen::{ListenEntry, file, listen_text};
use crate::config::number::{Count, Share, Size, Time};
use crate::config::secret::{self, Source};
use crate::config::talk::{self, Message};
use crate::config::text::{Flag, OneOf, Text};
use crate::config::wrap::{Fields, OneOrMany, OrAuto, OrNull, OrOff, Preferred};
use crate::config::{Address, Endpoint, LogAccess, LogFormat, Opening, Roots};

const MS: Duration = Duration::from_millis(1);
const NONE: Duration = Duration::ZERO;
const MINUTES_10: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Allowed times between two exports of metrics.
pub(crate) const METRICS_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), HOUR);
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

group! {
    /// The top level of the file.
    Root {
        /// Address to listen on for clients: `host:port`, `:port`, `unix:/path`, a section with `address` and `tls`, or
        /// a list of these. Read only at start.
        listen: Preferred<OneOrMany<ListenEntry>> =
            Preferred { inner: OneOrMany { inner: ListenEntry }, preset: preset::LISTEN };
        /// Listener for metrics, health checks, the page of live streams, and drain requests. Read only at start.
        admin: Section<Admin> = Section(PhantomData);
        /// Number of worker threads. Read only at start.
        workers: OrAuto<Count> =
            OrAuto {
                inner: Count { preset: preset::WORKERS, range: (1, 1024) },
                why: preset::WORKERS_WHY,
            };
        /// Format and level of the log, and which requests are in it. Read only at start.
        log: Section<Log> = Section(PhantomData);
        /// Export of OpenTelemetry spans and metrics; see `docs/traces.md`. Read only at start.
        traces: Section<Traces> = Section(PhantomData);
        /// Records of finished streams, sent to a webhook or a file; see `docs/records.md`. Read only at start.
        complete: Section<Complete> = Section(PhantomData);
        /// Where the journals of streams are kept that clients can come back to (`resume` of a route). Read only at
        /// start.
        resume: Section<Journals> = Section(PhantomData);
        /// Whether `/.weir/probe` of the traffic port serves a scripted stream for `weir doctor`; see `docs/doctor.md`.
        probe: Flag = Flag { preset: preset::PROBE };
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
        /// Host names by which the listener may be asked, besides addresses and `localhost`: a name, or a list of
        /// names, without ports. Requests with another `Host` get 403, except for `/healthz` and `/readyz`.
        hosts: OrNull<OneOrMany<Text<String>>> =
            OrNull {
                inner: OneOrMany { inner: Text { form: "a host name", parse: address::host_name, preset: None } },
                why: preset::ADMIN_HOSTS_WHY,
            };
        /// Token that requests which drain Weir or stop a stream must carry as `Authorization: Bearer`. Says where it
        /// is read from: `env:NAME` is an environment variable, `file:PATH` is a file.
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
            OneOf { choices: choices::LOG_FORMATS.to_vec(), preset: preset::LOG_FORMAT };
        /// Log level: `off`, `error`, `warn`, `info`, `debug` or `trace`, or filter directives such as
        /// `info,weir::config=debug`.
        level: Text<String> =
            Text {
                form: "a log level",
                parse: address::log_level,
                preset: Some(preset::LOG_LEVEL),
            };
        /// Which requests get a line: `all`, `streams` (streams, WebSockets, clients that came back to a stream, and
        /// what did not end well), or `errors` (only what did not end well).
        access: OneOf<LogAccess> =
            OneOf { choices: choices::LOG_ACCESSES.to_vec(), preset: preset::LOG_ACCESS };
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
        /// Whether metrics of finished streams are exported as well, by the names of the OpenTelemetry GenAI
        /// conventions. Builds without the cargo feature `otel` accept only `false`.
        metrics: Flag = Flag { preset: preset::METRICS_EXPORT };
        /// URL of the OTLP/HTTP collector of metrics. `/v1/metrics` is appended unless the URL ends with it. If `null`,
        /// it comes from `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, or else metrics go where the spans go.
        metrics_endpoint: OrNull<Text<Endpoint>> =
            OrNull {
                inner: Text { form: "a URL such as `http://collector:4318`", parse: collector::metrics_collector, preset: None },
                why: preset::METRICS_ENDPOINT_WHY,
            };
        /// Time between two exports of metrics. If `null`, it comes from `OTEL_METRIC_EXPORT_INTERVAL` (milliseconds),
        /// or else it is 1m.
        metrics_interval: OrNull<Time> =
            OrNull {
                inner: Time { preset: preset::METRICS_INTERVAL, range: METRICS_INTERVALS },
                why: preset::METRICS_INTERVAL.why,
            };
        /// TLS to the collectors, for `https://` endpoints.
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
        /// Secret that requests to the webhook are signed with: `whsec_` and 24 to 64 random bytes in base64. Says
        /// where it is read from: `env:NAME` is an environment variable, `file:PATH` is a file.
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
        /// Header by which a caller says what the record contains as `metadata`, up to 4 KiB. It is not passed on to
        /// the agent.
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
        /// Maximum number of simultaneous requests of every kind, streams included. Further ones are rejected with 503.
        max_requests: OrAuto<Count> =
            OrAuto {
                inner: count(Preset { value: 0, why: "" }, 1, 1_000_000),
                why: preset::MAX_REQUESTS_WHY,
            };
        /// Maximum number of calls to agents that continue although their client has left (MCP).
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
        /// URLs of interchangeable agents: HTTP, HTTPS, WebSocket or Unix socket.
        endpoints: OneOrMany<Text<Endpoint>> =
            OneOrMany {
                inner: Text { form: "a URL such as `http://127.0.0.1:8000`", parse: address::agent, preset: None },
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
        /// Messages to agents that speak only WebSocket, for `ws://` and `wss://` endpoints; see `docs/websocket.md`.
        websocket: Section<Talk> = Section(PhantomData);
    }
}

group! {
    /// The section `upstreams.<name>.websocket`.
    Talk {
        /// First message to the agent: JSON in which the value `$body` stands for the body of the request. `null` sends
        /// the body as it is.
        open: OrNull<Message<Opening>> =
            OrNull { inner: Message { parse: Opening::parse }, why: preset::TALK_OPEN_WHY };
        /// Message that the agent gets before the WebSocket is closed because the client has left, such as
        /// `{type: interrupt}`.
        interrupt: OrNull<Message<String>> =
            OrNull { inner: Message { parse: talk::any }, why: preset::TALK_INTERRUPT_WHY };
    }
}

group! {
    /// The sections `upstreams.<name>.tls`, `traces.tls`, `complete.tls` and `resume.redis.tls`.
    UpstreamTls {
        /// Trusted certificate authorities: `bundled` is Mozilla's list, `system` is the certificate store of the
        /// machine, `none` trusts only `ca_file`.
        roots: OneOf<Roots> = OneOf { choices: choices::ROOTS.to_vec(), preset: preset::ROOTS };
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

fn maybe_file() -> OrNull<Text<PathBuf>> {
    OrNull {
        inner: file(),
        why: preset::NO_FILE_WHY,
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
