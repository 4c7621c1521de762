//! The raw configuration file: declares every section and key once. The decoder, the schema and the docs are generated
//! from this table.
//!
//! The doc comment of a key is the sentence that operators read in the docs and in their editor.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Method};
use serde_json::json;

use crate::config::address;
use crate::config::collector;
use crate::config::defaults::{self as preset, Preset};
use crate::config::error::{Path, Report};
use crate::config::group::{Group, Named, Section, Sections, group, label};
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
        /// Where clients connect: `host:port`, `:port`, `unix:/path`, a section with `address` and
        /// `tls`, or a list of these.
        listen: Preferred<OneOrMany<ListenEntry>> =
            Preferred { inner: OneOrMany { inner: ListenEntry }, preset: preset::LISTEN };
        /// The listener for metrics, health, live streams and drain.
        admin: Section<Admin> = Section(PhantomData);
        /// Worker threads. Read at start only.
        workers: OrAuto<Count> =
            OrAuto {
                inner: Count { preset: preset::WORKERS, range: (1, 1024) },
                why: preset::WORKERS_WHY,
            };
        /// Log lines.
        log: Section<Log> = Section(PhantomData);
        /// Spans for OpenTelemetry, see `docs/traces.md`. Read at start only.
        traces: Section<Traces> = Section(PhantomData);
        /// How a stopping process treats what still runs.
        drain: Section<Drain> = Section(PhantomData);
        /// Bounds of the whole process.
        limits: Section<Limits> = Section(PhantomData);
        /// Agents by name. At least one, here or by `--upstream`.
        upstreams: Named<Upstream> = Named(PhantomData);
        /// What every route has unless it says otherwise, key by key.
        defaults: Section<Policy> = Section(PhantomData);
        /// Which request goes where. The first match wins; no match is answered with 404. Without
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
    }
}

group! {
    /// The section `log`.
    Log {
        /// `json` is one object per line, `text` is for people, `auto` is text on a terminal and
        /// JSON otherwise.
        format: OneOf<LogFormat> =
            OneOf { words: words::LOG_FORMATS.to_vec(), preset: preset::LOG_FORMAT };
        /// `off`, `error`, `warn`, `info`, `debug` or `trace`, or filter directives such as
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
        /// Collector that takes OTLP/HTTP, such as `http://collector:4318`; `/v1/traces` is appended unless the URL ends
        /// with it. `null` exports nothing. Builds without the cargo feature `otel` take only `null`.
        endpoint: OrNull<Text<Endpoint>> =
            OrNull {
                inner: Text { form: "a URL such as `http://collector:4318`", parse: collector::collector, preset: None },
                why: preset::TRACES_WHY,
            };
        /// Header fields of each export, such as `authorization`. A value is `env:NAME`, the variable that holds it, or
        /// `file:PATH`, the file that does.
        headers: Fields<Source> =
            Fields {
                form: "`env:NAME` or `file:PATH`",
                parse: secret::source,
                why: preset::TRACE_HEADERS_WHY,
            };
        /// `service.name` of the spans. `null` takes it from `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`, or is
        /// `weir`.
        service_name: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a name", parse: collector::service_name, preset: None },
                why: preset::SERVICE_NAME_WHY,
            };
        /// Share of the traces that begin at Weir which are recorded. Traces that begin before it keep what was decided
        /// there.
        sample: Share = Share { preset: preset::SAMPLE };
        /// TLS towards the collector, for an `https://` endpoint.
        tls: Section<UpstreamTls> = Section(PhantomData);
    }
}

group! {
    /// The section `drain`.
    Drain {
        /// How long new requests are still served after a drain began. Readiness is false from the
        /// start.
        delay: Time = time(preset::DRAIN_DELAY, NONE, MINUTES_10);
        /// When streams that still run are ended as `drained`, counted from the start of the drain.
        /// Keep it below the pod's grace period.
        limit: Time = time(preset::DRAIN_LIMIT, NONE, DAY);
    }
}

group! {
    /// The section `limits`.
    Limits {
        /// Client connections at one time, over all listeners.
        max_connections: OrAuto<Count> =
            OrAuto {
                inner: count(Preset { value: preset::MAX_CONNECTIONS, why: "" }, 1, 1_000_000),
                why: preset::MAX_CONNECTIONS_WHY,
            };
        /// Streams at one time, over all routes. More are answered with 503.
        max_streams: Count = count(preset::MAX_STREAMS, 1, 1_000_000);
        /// Bytes of one request head. Longer heads are answered with 431.
        max_header_bytes: Size = size(preset::MAX_HEADER_BYTES, 8 * KIB, 1024 * KIB);
        /// Header fields in one request head.
        max_headers: Count = count(preset::MAX_HEADERS, 10, 1_000);
        /// Longest time for a request head to arrive, TLS handshake included.
        request_head: Time = time(preset::REQUEST_HEAD, MS, HOUR);
        /// Longest silence while a request body arrives.
        request_body: Time = time(preset::REQUEST_BODY, MS, HOUR);
        /// How long an idle client connection is kept.
        keep_alive: Time = time(preset::KEEP_ALIVE, MS, DAY);
        /// Memory of the process. From 85 % on requests are answered with 503, from 95 % on streams are ended whose
        /// clients take nothing.
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
        /// Equal agents: `http://`, `https://`, `dns+http://`, `dns+https://` or `unix:/path`.
        /// Names are resolved at each connect. A path is put before each request path.
        endpoints: OneOrMany<Text<Endpoint>> =
            OneOrMany {
                inner: Text { form: "a URL such as `http://127.0.0.1:8000`", parse: address::endpoint, preset: None },
            };
        /// How long an unused connection to the agent is kept. Keep it below the agent's own
        /// keep-alive time. `0s` keeps none.
        pool_idle: Time = time(preset::POOL_IDLE, NONE, HOUR);
        /// How long connecting is tried again while the agent refuses, as it does when it still
        /// starts.
        connect_budget: Time = time(preset::CONNECT_BUDGET, NONE, MINUTES_10);
        /// HTTP/2 towards the agent, up to 100 streams on each connection: over TLS by ALPN, else with prior
        /// knowledge. An agent that speaks only HTTP/1.1 is an error then.
        http2: Flag = Flag { preset: preset::HTTP2 };
        /// TLS towards the agent, for `https://` endpoints.
        tls: Section<UpstreamTls> = Section(PhantomData);
        /// Leaving out an endpoint that fails. The last one left is never left out.
        eject: Section<Eject> = Section(PhantomData);
        /// Asking each endpoint whether it is well.
        health: Section<Health> = Section(PhantomData);
    }
}

group! {
    /// The sections `upstreams.<name>.tls` and `traces.tls`.
    UpstreamTls {
        /// Which authorities are trusted: `bundled` is Mozilla's list, `system` the store of the
        /// machine, `none` only `ca_file`.
        roots: OneOf<Roots> = OneOf { words: words::ROOTS.to_vec(), preset: preset::ROOTS };
        /// More authorities, a PEM file.
        ca_file: OrNull<Text<PathBuf>> = maybe_file();
        /// Client certificate chain, a PEM file. Goes with `key`.
        cert: OrNull<Text<PathBuf>> = maybe_file();
        /// Client key, a PEM file. Goes with `cert`.
        key: OrNull<Text<PathBuf>> = maybe_file();
        /// Name that the agent's certificate must carry, if it is not the host of the endpoint.
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
        /// Failures in a row after which an endpoint is left out. 0 is off.
        failures: Count = count(preset::EJECT_FAILURES, 0, 1_000);
        /// How long it is left out.
        pause("for"): Time = time(preset::EJECT_FOR, MS, HOUR);
    }
}

group! {
    /// The section `upstreams.<name>.health`.
    Health {
        /// Path that is asked for; any status below 400 is well. `null` is off.
        path: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a path that begins with `/`", parse: address::request_path, preset: None },
                why: preset::HEALTH_PATH_WHY,
            };
        /// Time between two checks.
        interval: Time = time(preset::HEALTH_INTERVAL, Duration::from_millis(100), HOUR);
    }
}

group! {
    /// The section `defaults`, and the same keys in a route.
    Policy {
        /// Which kind of stream to expect.
        dialect: OneOf<Choice> = OneOf { words: words::dialects(), preset: preset::DIALECT };
        /// Time limits of a stream. Each ends the stream under its own name.
        deadlines: Section<Deadlines> = Section(PhantomData);
        /// Silence towards the client after which a heartbeat is sent, or `off`.
        heartbeat: OrOff<Time> =
            OrOff { inner: time(preset::HEARTBEAT, Duration::from_millis(10), HOUR), off: None };
        /// What may wait for a slow client.
        queue: Section<Queue> = Section(PhantomData);
        /// Bytes of one event. A longer one ends the stream as `too_large`.
        max_event_bytes: Size = size(preset::MAX_EVENT_BYTES, KIB, GIB);
        /// Bytes of one request body. Longer ones are answered with 413.
        max_request_bytes: Size = size(preset::MAX_REQUEST_BYTES, 0, 1024 * GIB);
        /// Also tell the agent who asked by the `Forwarded` field of RFC 7239.
        forwarded: Flag = Flag { preset: preset::FORWARDED };
        /// Send the response head after this time even if the agent has not answered, for
        /// intermediaries that wait only so long for a head. Failures after it can no longer be
        /// status codes.
        commit_after: OrOff<Time> =
            OrOff {
                inner: time(preset::COMMIT_AFTER, MS, MINUTES_10),
                off: Some(preset::COMMIT_AFTER_WHY),
            };
        /// Size of a comment sent first, for intermediaries that hold the first bytes back. 0 is
        /// off.
        preamble_bytes: Size = size(preset::PREAMBLE_BYTES, 0, 64 * KIB);
        /// Sending a request again.
        retry: Section<Retry> = Section(PhantomData);
        /// What happens to the run when its client leaves.
        on_disconnect: Unbuilt = unbuilt("cancel", preset::ON_DISCONNECT_WHY);
        /// Hiding parts of a stream from the client.
        hide: Section<Hide> = Section(PhantomData);
    }
}

group! {
    /// The section `deadlines`.
    Deadlines {
        /// TCP and TLS to the agent.
        connect: Time = time(preset::CONNECT, MS, MINUTES_10);
        /// From the end of the request to the response head.
        head: Time = time(preset::HEAD, MS, WEEK);
        /// From the end of the request to the first event with content; acts once the head is there.
        first_event: Time = time(preset::FIRST_EVENT, MS, WEEK);
        /// Longest silence after the first content; every byte counts, heartbeats of the agent
        /// included.
        idle: Time = time(preset::IDLE, MS, WEEK);
        /// Longest time between two events with content.
        progress: Time = time(preset::PROGRESS, MS, WEEK);
        /// The whole stream.
        total: Time = time(preset::TOTAL, MS, WEEK);
        /// Longest time that something waits for the client while the client takes nothing.
        client_stall: Time = time(preset::CLIENT_STALL, MS, WEEK);
    }
}

group! {
    /// The section `queue`.
    Queue {
        /// Most events that may wait.
        max_events: Count = count(preset::MAX_EVENTS, 1, 65_536);
        /// Most bytes that may wait; from 64 KiB on, one eighth of them is for notes and room to move. A single event may be larger; it then waits alone.
        max_bytes: Size = size(preset::MAX_BYTES, 1, GIB);
        /// Whether neighbouring tokens are joined before any is dropped.
        merge: Flag = Flag { preset: preset::MERGE };
        /// What happens when the queue is full: `drop_oldest` loses the oldest token, `block` stops
        /// reading the agent, `disconnect` ends the stream as `client_stalled`.
        overflow: OneOf<Overflow> =
            OneOf { words: words::OVERFLOWS.to_vec(), preset: preset::OVERFLOW };
    }
}

group! {
    /// The section `retry`.
    Retry {
        /// How often a request is sent again before its first event.
        attempts: Unbuilt =
            Unbuilt { preset: Preset { value: "0", why: preset::RETRY_WHY }, json: json!(0) };
    }
}

group! {
    /// The section `hide`.
    Hide {
        /// What happens to reasoning: `drop` leaves it out, `status` also says so where the dialect can.
        reasoning: OneOf<HideMode> = OneOf { words: words::HIDES.to_vec(), preset: preset::HIDE };
        /// What happens to calls of tools and their results.
        tools: OneOf<HideMode> = OneOf { words: words::HIDES.to_vec(), preset: preset::HIDE };
        /// How models mark either in their text: `auto` for all families, or a list of families
        /// (see `docs/leakage.md`) and of own pairs as `OPEN ... CLOSE`.
        markers: OneOrMany<Text<Marker>> =
            OneOrMany {
                inner: Text {
                    form: "a family of markers, or `OPEN ... CLOSE`",
                    parse: words::marker,
                    preset: Some(preset::MARKERS),
                },
            };
        /// Whether each text begins inside a thought, because the opening marker stands in the
        /// prompt.
        starts_hidden: Flag = Flag { preset: preset::STARTS_HIDDEN };
    }
}

group! {
    /// One route, `routes[]`, without the keys that it shares with `defaults`.
    RouteHead requires ["name"] {
        /// Name in metrics and logs. Each name once.
        name: Text<String> = Text { form: "a name", parse: label, preset: None };
        /// Which requests the route takes. All conditions must hold.
        matches("match"): Section<Match> = Section(PhantomData);
        /// Name of the upstream.
        upstream: Text<String> =
            Text { form: "the name of an upstream", parse: label, preset: None };
    }
}

group! {
    /// The section `routes[].match`.
    Match {
        /// Beginning of the path, at a segment border: `/v1` takes `/v1` and `/v1/x`, not `/v10`.
        path_prefix: Text<String> =
            Text {
                form: "a path that begins with `/`",
                parse: address::path_prefix,
                preset: Some(preset::PATH_PREFIX),
            };
        /// Host of the request without port; `*.example.com` takes every subdomain.
        host: OrNull<Text<String>> =
            OrNull {
                inner: Text { form: "a host name", parse: address::host_pattern, preset: None },
                why: preset::ANY_WHY,
            };
        /// One method, or a list of methods.
        methods: OrNull<OneOrMany<Text<Method>>> =
            OrNull {
                inner: OneOrMany { inner: Text { form: "a method", parse: address::method, preset: None } },
                why: preset::ANY_WHY,
            };
        /// Header fields that must be present with exactly these values.
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
