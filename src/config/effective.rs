//! Shows a checked configuration: the effective value of every key, without secrets.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::config::choices::{self, Servers, word_of};
use crate::config::defaults as preset;
use crate::config::units::{show_duration, show_size};
use crate::config::{
    Ack, Address, AllowedOrigin, Bind, Complete, Config, Deadlines, Endpoint, Ids, Journals,
    Listen, Match, MemoryLimit, Merge, MergeAgent, OnDisconnect, Opening, Policy, RedisMode,
    RedisSettings, Reply, Resume, Route, Secret, Store, Target, Traces, Upstream, UpstreamTls,
    WebSocket, chats,
};
use crate::request_map::RequestForm;

/// Replaces every value that may be secret.
const MASK: &str = "***";

/// Returns the whole configuration in the form of the file, with `auto` resolved where it is a number and the header
/// values in `match.headers` masked. Keys of features that this version does not have are left out.
pub fn effective(config: &Config) -> Json {
    let limits = &config.limits;
    json!({
        "listen": config.listen.iter().map(listen).collect::<Vec<_>>(),
        "admin": {
            "listen": config.admin.listen.as_ref().map_or_else(|| "off".to_owned(), Address::to_string),
            "hosts": Some(&config.admin.hosts).filter(|hosts| !hosts.is_empty()),
            "token": config.admin.token.as_ref().map(|token| token.source.to_string()),
        },
        "workers": config.workers,
        "log": {
            "format": word_of(&choices::LOG_FORMATS, &config.log.format),
            "level": config.log.level,
            "access": word_of(&choices::LOG_ACCESSES, &config.log.access),
        },
        "traces": traces(&config.traces),
        "complete": complete(&config.complete),
        "resume": journals(&config.journals),
        "probe": config.probe,
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

fn listen(listen: &Listen) -> Json {
    let tls = listen.tls.as_ref().map(|tls| json!({ "cert": file(&tls.cert), "key": file(&tls.key), "client_ca": tls.client_ca.as_deref().map(file) }));
    json!({ "address": listen.address.to_string(), "tls": tls })
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
        "websocket": {
            "open": upstream.talk.open.as_ref().map(Opening::written),
            "interrupt": upstream.talk.interrupt,
        },
    })
}

fn client_tls(tls: &UpstreamTls) -> Json {
    json!({
        "roots": word_of(&choices::ROOTS, &tls.roots),
        "ca_file": tls.ca_file.as_deref().map(file),
        "cert": tls.cert.as_deref().map(file),
        "key": tls.key.as_deref().map(file),
        "server_name": tls.server_name,
    })
}

/// Shows each header with the source of its value, which is not secret.
fn traces(traces: &Traces) -> Json {
    let metrics = traces.metrics.as_ref();
    let headers = traces.headers.iter();
    let headers: Map<_, _> = headers
        .map(|field| (field.name.to_string(), json!(field.source.to_string())))
        .collect();
    json!({
        "endpoint": traces.collector.as_ref().map(endpoint),
        "headers": headers,
        "service_name": traces.service_name,
        "sample": traces.sample,
        "metrics": traces.metrics.is_some(),
        "metrics_endpoint": metrics.map(|metrics| endpoint(&metrics.collector)),
        "metrics_interval": metrics.map(|metrics| show_duration(metrics.interval)),
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

fn journals(journals: &Journals) -> Json {
    let (store, servers) = match &journals.store {
        Store::Memory => ("memory", redis(&RedisSettings::default())),
        Store::Redis(settings) => ("redis", redis(settings)),
    };
    json!({
        "total_bytes": show_size(journals.total_bytes as u64),
        "store": store,
        "redis": servers,
    })
}

fn redis(settings: &RedisSettings) -> Json {
    let source = |secret: &Option<Secret>| secret.as_ref().map(|one| one.source.to_string());
    let urls: Vec<_> = settings.urls.iter().map(ToString::to_string).collect();
    let (url, urls) = match urls.as_slice() {
        [] => (None, None),
        [only] => (Some(only), None),
        several => (None, Some(several)),
    };
    let (mode, master) = match &settings.mode {
        RedisMode::Cluster => (Servers::Cluster, None),
        RedisMode::Sentinel { master } => (Servers::Sentinel, Some(master)),
        RedisMode::Standalone => (Servers::Standalone, None),
    };
    json!({
        "url": url,
        "urls": urls,
        "mode": word_of(&choices::SERVERS, &mode),
        "master": master,
        "username": settings.username,
        "password": source(&settings.password),
        "sentinel_username": settings.sentinel_username,
        "sentinel_password": source(&settings.sentinel_password),
        "tls": client_tls(&settings.tls),
        "prefix": settings.prefix,
        "encrypt": source(&settings.encrypt),
        "encrypt_old": source(&settings.encrypt_old),
    })
}

/// Returns the URL of an endpoint, as the file has it.
pub(crate) fn endpoint(endpoint: &Endpoint) -> String {
    match &endpoint.target {
        Target::Unix(path) if endpoint.websocket => format!("ws+unix:{}", path.display()),
        Target::Unix(path) => format!("unix:{}", path.display()),
        Target::Tcp(..) => {
            let scheme = match (endpoint.websocket, endpoint.tls) {
                (false, false) => "http",
                (false, true) => "https",
                (true, false) => "ws",
                (true, true) => "wss",
            };
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
        match &route.merge {
            None => object.insert("upstream".to_owned(), json!(&*route.upstream.name)),
            Some(several) => object.insert("merge".to_owned(), merge(several)),
        };
    }
    json
}

/// Shows the agents without the values of what changes in their requests, which may be secret.
fn merge(merge: &Merge) -> Json {
    let agent = |agent: &MergeAgent| {
        let body = agent.body.as_ref().and_then(Json::as_object);
        let body = body.map(|body| body.keys().map(|key| (key.clone(), json!(MASK))));
        json!({
            "name": &*agent.name,
            "upstream": &*agent.upstream.name,
            "path": agent.path,
            "body": body.map(Iterator::collect::<Map<_, _>>),
        })
    };
    json!({
        "agents": merge.agents.iter().map(agent).collect::<Vec<_>>(),
        "finish": word_of(&choices::AGENT_FINISHES, &merge.finish),
        "fail": word_of(&choices::AGENT_FAILURES, &merge.fail),
        "max_agents": merge.max_agents,
    })
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
        "dialect": word_of(&choices::dialects(), &policy.dialect),
        "deadlines": deadlines(&policy.deadlines),
        "heartbeat": or_off(Some(policy.heartbeat).filter(|time| !time.is_zero())),
        "queue": {
            "max_events": queue.max_events,
            "max_bytes": show_size(queue.max_bytes as u64),
            "merge": queue.merge,
            "overflow": word_of(&choices::OVERFLOWS, &queue.overflow),
        },
        "hide": {
            "reasoning": word_of(&choices::HIDES, &policy.hide.reasoning),
            "tools": word_of(&choices::HIDES, &policy.hide.tools),
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
            "status": word_of(&choices::STATUSES, &policy.reply.statuses),
            "aggregate": policy.reply.aggregates,
            "unstream": word_of(&choices::UNSTREAMS, &policy.reply.unstreams),
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
        "resume": resume(policy.resume.as_deref()),
        "on_disconnect": match policy.on_disconnect {
            OnDisconnect::Cancel => json!("cancel"),
            OnDisconnect::Continue => json!("continue"),
            OnDisconnect::Grace(time) => json!({ "grace": show_duration(time) }),
        },
        "websocket": websocket(policy),
    })
}

fn websocket(policy: &Policy) -> Json {
    let bridge = &policy.bridge;
    json!({
        "mode": match policy.websocket {
            WebSocket::Off => "off",
            other @ (WebSocket::Bridge | WebSocket::Tunnel) => word_of(&choices::WEBSOCKETS, &other),
        },
        "ack": match bridge.ack {
            Ack::Off => "off",
            Ack::Optional => "optional",
            Ack::Required => "required",
        },
        "ack_window": bridge.ack_window,
        "ack_timeout": show_duration(bridge.ack_timeout),
        "origins": match &*bridge.origins {
            [] => json!(null),
            origins => json!(origins.iter().map(AllowedOrigin::word).collect::<Vec<_>>()),
        },
        "interrupted": bridge.tells_interrupted,
    })
}

/// Shows the defaults where it is off.
fn resume(resume: Option<&Resume>) -> Json {
    let Some(resume) = resume else {
        return json!({
            "enabled": false,
            "ids": preset::IDS.value,
            "keep": show_duration(preset::KEEP.value),
            "max_events": preset::JOURNAL_EVENTS.value,
            "max_bytes": show_size(preset::JOURNAL_BYTES.value),
            "max_viewers": preset::MAX_VIEWERS.value,
            "bind": "auto",
            "idempotency": preset::IDEMPOTENCY.value,
            "chats": { "path": null, "member": preset::CHAT_MEMBER.value },
        });
    };
    let chats = resume.chats.as_ref();
    json!({
        "enabled": true,
        "ids": match resume.ids {
            Ids::Off => "off",
            ids @ (Ids::All | Ids::Auto) => word_of(&choices::IDS, &ids),
        },
        "keep": show_duration(resume.keep),
        "max_events": resume.max_events,
        "max_bytes": show_size(resume.max_bytes as u64),
        "max_viewers": resume.max_viewers,
        "bind": match &resume.bind {
            Bind::Auto => json!("auto"),
            Bind::Named { headers, cookies } => {
                let headers = headers.iter().map(|name| format!("header:{name}"));
                let cookies = cookies.iter().map(|name| format!("cookie:{name}"));
                json!(headers.chain(cookies).collect::<Vec<_>>())
            }
        },
        "idempotency": resume.idempotency,
        "chats": {
            "path": chats.map(|chats| format!("{}{}{}", chats.prefix, chats::ID, chats.suffix)),
            "member": chats.map_or(preset::CHAT_MEMBER.value, |chats| chats.member.as_str()),
        },
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
