//! Shows a checked configuration: the effective value of every key, without secrets, and the most memory that the
//! configuration allows.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::config::defaults as preset;
use crate::config::units::{show_duration, show_size};
use crate::config::words::{self, word_of};
use crate::config::{
    Address, Complete, Config, Deadlines, Endpoint, Limits, Listen, Match, MemoryLimit, Policy,
    Reply, Route, Target, Traces, Upstream, UpstreamTls,
};
use crate::request_map::RequestForm;

/// Replaces every value that may be secret.
const MASK: &str = "***";

/// Memory of one stream apart from its events: the read and write buffers of two sockets, hyper's state, the task and
/// the timers.
const STREAM_BYTES: u64 = 64 << 10;
/// Additional memory of a stream on an HTTP/2 upstream connection: a full flow-control window.
const WINDOW_BYTES: u64 = 64 << 10;
/// The largest body of a request that is rewritten, in bytes: it is held in memory, and so is what it becomes.
pub const REWRITTEN_BYTES: u64 = 16 << 20;
/// Memory of one request apart from its head: the beginning of its body, which is read ahead, and what is buffered of a
/// plain response.
const REQUEST_BYTES: u64 = 128 << 10;
/// What an entry of a request head takes in addition to its bytes, as received and as sent to the agent.
const HEADER_BYTES: u64 = 512;
/// Memory of one client connection apart from the head that it reads: what an HTTP/2 client has uploaded before the
/// agents take it, a full flow-control window.
const CONNECTION_BYTES: u64 = 1 << 20;

/// Returns the whole configuration in the form of the file, with `auto` resolved where it is a number and the header
/// values in `match.headers` masked. Keys of features that this version does not have are left out.
pub fn effective(config: &Config) -> Json {
    let limits = &config.limits;
    json!({
        "listen": config.listen.iter().map(listen).collect::<Vec<_>>(),
        "admin": {
            "listen": config.admin.listen.as_ref().map_or_else(|| "off".to_owned(), address),
            "hosts": Some(&config.admin.hosts).filter(|hosts| !hosts.is_empty()),
            "token": config.admin.token.as_ref().map(|token| token.source.to_string()),
        },
        "workers": config.workers,
        "log": { "format": word_of(&words::LOG_FORMATS, &config.log.format), "level": config.log.level },
        "traces": traces(&config.traces),
        "complete": complete(&config.complete),
        "drain": { "delay": show_duration(config.drain.delay), "limit": show_duration(config.drain.limit) },
        "limits": {
            "max_connections": limits.max_connections,
            "max_requests": limits.max_requests,
            "max_detached": limits.max_detached,
            "max_streams": limits.max_streams,
            "max_header_bytes": show_size(limits.max_header_bytes as u64),
            "max_headers": limits.max_headers,
            "request_head": show_duration(limits.request_head),
            "request_body": show_duration(limits.request_body),
            "keep_alive": show_duration(limits.keep_alive),
            "memory": match limits.memory {
                MemoryLimit::Auto => "auto".to_owned(),
                MemoryLimit::Bytes(bytes) => show_size(bytes),
                MemoryLimit::Off => "off".to_owned(),
            },
        },
        "upstreams": config.upstreams.iter().map(|one| (one.name.to_string(), upstream(one))).collect::<Map<_, _>>(),
        "routes": config.routes.iter().map(|one| route(one)).collect::<Vec<_>>(),
    })
}

/// Returns the most memory that streams and connections can use at one time:
///
/// `max_streams * (max(queue.max_bytes, max_event_bytes) + 2 * max_event_bytes + preamble_bytes
///  + 2 * complete.max_text_bytes if it is recorded + 64 KiB, or 128 KiB with http2)
///  + max_requests * (2 * max_header_bytes + 512 * max_headers + 128 KiB)
///  + max_connections * (max_header_bytes + 1 MiB)`
///
/// with the values of the most expensive route. Per stream, this covers a queue filled to its limit (or by one event
/// larger than the limit), one event that waits for room in the queue, and one that is still arriving. Real streams
/// use a few KiB; [`queue_bytes`] is the bound that slow clients can reach with ordinary tokens.
pub fn worst_case_bytes(config: &Config) -> u64 {
    let per_stream = |route: &Route| {
        let policy = &route.policy;
        let window = if route.upstream.http2 {
            WINDOW_BYTES
        } else {
            0
        };
        let event = policy.max_event_bytes as u64;
        let queue = (policy.queue.max_bytes as u64).max(event);
        queue
            .saturating_add(event.saturating_mul(2))
            .saturating_add(policy.preamble_bytes as u64)
            .saturating_add(recorded_bytes(config, route))
            .saturating_add(STREAM_BYTES + window)
    };
    let stream = config
        .routes
        .iter()
        .map(|route| per_stream(route))
        .max()
        .unwrap_or_default();
    let rewritten = config
        .routes
        .iter()
        .map(|route| rewritten_bytes(route))
        .max();
    let rewritten = (config.limits.max_requests as u64).saturating_mul(rewritten.unwrap_or(0));
    (config.limits.streams() as u64)
        .saturating_mul(stream)
        .saturating_add(request_bytes(&config.limits))
        .saturating_add(rewritten)
}

/// Returns the most memory that the body of a request takes while it is rewritten: as it was sent, and what it becomes.
fn rewritten_bytes(route: &Route) -> u64 {
    let policy = &route.policy;
    if policy.request.is_some() || policy.reply.aggregates {
        policy
            .max_request_bytes
            .min(REWRITTEN_BYTES)
            .saturating_mul(3)
    } else {
        0
    }
}

/// Returns the most memory that what is recorded of a stream uses: text, and as much of everything else.
fn recorded_bytes(config: &Config, route: &Route) -> u64 {
    if config.complete.records(&route.name) {
        (config.complete.max_text_bytes as u64).saturating_mul(2)
    } else {
        0
    }
}

/// Returns the most memory that requests and connections use at one time, apart from streams.
///
/// A request holds its head twice, as it was received and as it is sent to the agent, until it was sent. A connection
/// holds the head that it reads.
fn request_bytes(limits: &Limits) -> u64 {
    let head = limits.max_header_bytes as u64;
    let fields = (limits.max_headers as u64).saturating_mul(HEADER_BYTES);
    let request = head * 2 + fields + REQUEST_BYTES;
    let requests = (limits.max_requests as u64).saturating_mul(request);
    let connections = (limits.connections() as u64).saturating_mul(head + CONNECTION_BYTES);
    requests.saturating_add(connections)
}

/// Returns the most memory that full queues can use at one time: `max_streams * queue.max_bytes` of the route with the
/// largest queue. There are no more streams than `max_requests`.
pub fn queue_bytes(config: &Config) -> u64 {
    let queue = config
        .routes
        .iter()
        .map(|route| route.policy.queue.max_bytes as u64)
        .max()
        .unwrap_or_default();
    (config.limits.streams() as u64).saturating_mul(queue)
}

fn listen(listen: &Listen) -> Json {
    let tls = listen.tls.as_ref().map(|tls| json!({ "cert": file(&tls.cert), "key": file(&tls.key), "client_ca": tls.client_ca.as_deref().map(file) }));
    json!({ "address": address(&listen.address), "tls": tls })
}

fn address(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn upstream(upstream: &Upstream) -> Json {
    json!({
        "endpoints": upstream.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "pool_idle": show_duration(upstream.pool_idle),
        "connect_budget": show_duration(upstream.connect_budget),
        "http2": upstream.http2,
        "tls": client_tls(&upstream.tls),
        "eject": { "failures": upstream.eject.failures, "for": show_duration(upstream.eject.pause) },
        "health": { "path": upstream.health.path, "interval": show_duration(upstream.health.interval) },
    })
}

fn client_tls(tls: &UpstreamTls) -> Json {
    json!({
        "roots": word_of(&words::ROOTS, &tls.roots),
        "ca_file": tls.ca_file.as_deref().map(file),
        "cert": tls.cert.as_deref().map(file),
        "key": tls.key.as_deref().map(file),
        "server_name": tls.server_name,
    })
}

/// Shows each header with the source of its value, which is not secret.
fn traces(traces: &Traces) -> Json {
    let headers = traces.headers.iter();
    let headers: Map<_, _> = headers
        .map(|field| (field.name.to_string(), json!(field.source.to_string())))
        .collect();
    json!({
        "endpoint": traces.collector.as_ref().map(endpoint),
        "headers": headers,
        "service_name": traces.service_name,
        "sample": traces.sample,
        "tls": client_tls(&traces.tls),
    })
}

/// Shows the secret by its source, and the URL without its path and query, which may hold a token.
fn complete(complete: &Complete) -> Json {
    let url = complete.url.as_ref().map(|url| {
        let path = if url.target == "/" { "" } else { MASK };
        format!("{}/{path}", endpoint(&url.endpoint))
    });
    let routes = complete.routes.as_ref().map(|routes| match &**routes {
        [one] => json!(&**one),
        several => json!(several.iter().map(|name| &**name).collect::<Vec<_>>()),
    });
    json!({
        "url": url,
        "secret": complete.secret.as_ref().map(|secret| secret.source.to_string()),
        "file": complete.file.as_deref().map(file),
        "routes": routes,
        "metadata": complete.metadata.as_str(),
        "max_text_bytes": show_size(complete.max_text_bytes as u64),
        "tls": client_tls(&complete.tls),
    })
}

fn endpoint(endpoint: &Endpoint) -> String {
    match &endpoint.target {
        Target::Unix(path) => format!("unix:{}", path.display()),
        Target::Tcp(..) => {
            let scheme = if endpoint.tls { "https" } else { "http" };
            format!("{scheme}://{}{}", endpoint.authority, endpoint.path_prefix)
        }
    }
}

fn file(path: &Path) -> String {
    path.display().to_string()
}

fn route(route: &Route) -> Json {
    let mut json = policy(&route.policy);
    if let Some(object) = json.as_object_mut() {
        object.insert("name".to_owned(), json!(&*route.name));
        object.insert("match".to_owned(), matches(&route.matches));
        object.insert("upstream".to_owned(), json!(&*route.upstream.name));
    }
    json
}

fn matches(matches: &Match) -> Json {
    let methods = matches
        .methods
        .as_ref()
        .map(|methods| methods.iter().map(http::Method::as_str).collect::<Vec<_>>());
    let headers: Map<_, _> = matches
        .headers
        .iter()
        .map(|(name, _)| (name.to_string(), json!(MASK)))
        .collect();
    json!({ "path_prefix": matches.path_prefix, "host": matches.host, "methods": methods, "headers": headers })
}

fn policy(policy: &Policy) -> Json {
    let queue = &policy.queue;
    json!({
        "dialect": word_of(&words::dialects(), &policy.dialect),
        "deadlines": deadlines(&policy.deadlines),
        "heartbeat": or_off(Some(policy.heartbeat).filter(|time| !time.is_zero())),
        "queue": {
            "max_events": queue.max_events,
            "max_bytes": show_size(queue.max_bytes as u64),
            "merge": queue.merge,
            "overflow": word_of(&words::OVERFLOWS, &queue.overflow),
        },
        "hide": {
            "reasoning": word_of(&words::HIDES, &policy.hide.reasoning),
            "tools": word_of(&words::HIDES, &policy.hide.tools),
            "markers": match &*policy.markers {
                [one] => json!(one),
                several => json!(several),
            },
            "starts_hidden": policy.hide.marks.starts_hidden,
        },
        "reply": {
            "as": Reply::word(policy.reply.preset),
            "offer": match &*policy.reply.offer {
                [] => json!(null),
                targets => json!(targets.iter().map(|target| Reply::word(*target)).collect::<Vec<_>>()),
            },
            "status": word_of(&words::STATUSES, &policy.reply.shows_status),
            "aggregate": policy.reply.aggregates,
            "unstream": word_of(&words::UNSTREAMS, &policy.reply.unstreams),
        },
        "request": {
            "from": policy.request.map(RequestForm::as_str),
            "to": preset::REQUEST_TO.value,
        },
        "batch": {
            "max_delay": or_off(policy.gating.batch.map(|batch| batch.max_delay)),
            "max_chars": (policy.gating.batch).map_or(preset::BATCH_CHARS.value, |batch| batch.max_chars as u64),
        },
        "pace": { "max_delay": or_off(policy.gating.pace) },
        "max_event_bytes": show_size(policy.max_event_bytes as u64),
        "max_request_bytes": show_size(policy.max_request_bytes),
        "forwarded": policy.forwarded,
        "commit_after": or_off(policy.commit_after),
        "preamble_bytes": show_size(policy.preamble_bytes as u64),
    })
}

fn deadlines(deadlines: &Deadlines) -> Json {
    json!({
        "connect": show_duration(deadlines.connect),
        "head": show_duration(deadlines.head),
        "first_event": show_duration(deadlines.first_event),
        "idle": show_duration(deadlines.idle),
        "progress": show_duration(deadlines.progress),
        "after_end": show_duration(deadlines.after_end),
        "total": show_duration(deadlines.total),
        "client_stall": show_duration(deadlines.client_stall),
    })
}

fn or_off(time: Option<Duration>) -> String {
    time.map_or_else(|| "off".to_owned(), show_duration)
}
