//! Warnings about settings that are valid but probably a mistake.

use std::time::Duration;

use crate::config::units::{show_duration, show_size};
use crate::config::{
    Address, AllowedOrigin, Config, Match, OnDisconnect, Policy, Route, Upstream, WebSocket,
};
use crate::translate::Statuses;

/// Default time after which uvicorn closes an idle connection.
const UVICORN_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Default time after which common proxies and load balancers close a silent connection.
const COMMON_IDLE: Duration = Duration::from_secs(60);

/// Returns one sentence for each doubtful setting.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(Address::Tcp(address)) = &config.admin.listen
        && !address.ip().is_loopback()
    {
        let (asks, also) = match &config.admin.token {
            Some(_) => ("asks for a token only to start a drain", ""),
            None => ("asks for no password", " and start a drain (admin.token)"),
        };
        list.push(format!("admin.listen: {address} can be reached from other machines and {asks}; anyone there can read live streams' facts{also}"));
    }
    of_descriptors(config, &mut list);
    for upstream in &config.upstreams {
        of_upstream(upstream, &mut list);
    }
    for (index, route) in config.routes.iter().enumerate() {
        of_policy(route, &mut list);
        of_reply(route, &mut list);
        of_websocket(route, &mut list);
        of_resume(config, route, &mut list);
        if route.merge.is_some() && config.complete.records(&route.name) {
            list.push(format!(
                "route {}: complete records none of its streams, because they have several agents (merge)",
                route.name
            ));
        }
        let earlier = config
            .routes
            .iter()
            .take(index)
            .find(|earlier| covers(&earlier.matches, &route.matches));
        if let Some(earlier) = earlier {
            list.push(format!(
                "route {}: is never used, because route {} before it takes all of its requests",
                route.name, earlier.name
            ));
        }
    }
    list
}

fn of_descriptors(config: &Config, list: &mut Vec<String>) {
    let limits = &config.limits;
    let parts = limits.descriptors;
    let Some(files) = parts.limit else { return };
    if limits.max_connections > parts.clients {
        list.push(format!(
            "limits.max_connections: {} do not fit the limit of open files ({files}); at most {} are accepted",
            limits.max_connections, parts.clients
        ));
    }
    let is_shared = (config.upstreams.iter()).all(|upstream| upstream.http2);
    if limits.max_requests > parts.agents && !is_shared {
        list.push(format!(
            "limits.max_requests: {} do not fit the limit of open files ({files}); there are at most {} connections to agents",
            limits.max_requests, parts.agents
        ));
    }
}

fn of_upstream(upstream: &Upstream, list: &mut Vec<String>) {
    if upstream.pool_idle >= UVICORN_KEEP_ALIVE {
        list.push(format!(
            "upstreams.{}.pool_idle: {} is not below the 5s after which uvicorn closes idle connections; requests may meet a closing one",
            upstream.name,
            show_duration(upstream.pool_idle)
        ));
    }
}

fn of_policy(route: &Route, list: &mut Vec<String>) {
    let Policy {
        deadlines,
        heartbeat,
        ..
    } = &route.policy;
    if *heartbeat >= COMMON_IDLE {
        list.push(format!(
            "route {}: heartbeat {} is not below the 60s after which common proxies cut silence",
            route.name,
            show_duration(*heartbeat)
        ));
    }
    for (name, time) in [
        ("head", deadlines.head),
        ("first_event", deadlines.first_event),
        ("idle", deadlines.idle),
        ("progress", deadlines.progress),
    ] {
        if time > deadlines.total {
            list.push(format!(
                "route {}: deadlines.{name} {} can never pass, because deadlines.total is {}",
                route.name,
                show_duration(time),
                show_duration(deadlines.total)
            ));
        }
    }
    if deadlines.idle > deadlines.progress {
        list.push(format!(
            "route {}: deadlines.idle {} can never pass, because deadlines.progress is {}",
            route.name,
            show_duration(deadlines.idle),
            show_duration(deadlines.progress)
        ));
    }
}

fn of_websocket(route: &Route, list: &mut Vec<String>) {
    let Policy {
        websocket, bridge, ..
    } = &route.policy;
    if *websocket == WebSocket::Bridge && bridge.origins.contains(&AllowedOrigin::Any) {
        list.push(format!(
            "route {}: websocket.origins allows every site, so any page that a user visits can speak with the agent as that user",
            route.name
        ));
    }
}

fn of_reply(route: &Route, list: &mut Vec<String>) {
    let Policy { reply, request, .. } = &route.policy;
    let mut targets = reply.preset.iter().chain(reply.offer.iter().flatten());
    if reply.statuses == Statuses::Visible && !targets.any(|target| target.has_status()) {
        list.push(format!(
            "route {}: reply.status visible has no effect, because no reply of the route ({}) has words for it; those of ag-ui, ai-sdk, events and ndjson have",
            route.name,
            reply.words().join(", ")
        ));
    }
    if reply.aggregates && request.is_some() {
        list.push(format!(
            "route {}: reply.aggregate has no effect, because clients whose requests are mapped (request.from) always read streams",
            route.name
        ));
    }
}

fn of_resume(config: &Config, route: &Route, list: &mut Vec<String>) {
    let Some(resume) = &route.policy.resume else {
        return;
    };
    let total = config.journals.total_bytes;
    if resume.max_bytes > total {
        list.push(format!(
            "route {}: resume.max_bytes {} is never reached, because resume.total_bytes of all streams is {}",
            route.name,
            show_size(resume.max_bytes as u64),
            show_size(total as u64)
        ));
    }
    if let OnDisconnect::Grace(grace) = route.policy.on_disconnect
        && grace > route.policy.deadlines.total
    {
        list.push(format!(
            "route {}: on_disconnect.grace {} can never pass, because deadlines.total is {}",
            route.name,
            show_duration(grace),
            show_duration(route.policy.deadlines.total)
        ));
    }
}

/// Reports whether `wide` matches every request that `narrow` matches. Returns false if that is not certain.
fn covers(wide: &Match, narrow: &Match) -> bool {
    let path = wide.path_prefix == "/"
        || narrow.path_prefix == wide.path_prefix
        || narrow
            .path_prefix
            .strip_prefix(wide.path_prefix.as_str())
            .is_some_and(|rest| rest.starts_with('/'));
    let host = wide.host.is_none() || wide.host == narrow.host;
    let methods = match (&wide.methods, &narrow.methods) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|method| wide.contains(method)),
    };
    path && host
        && methods
        && wide
            .headers
            .iter()
            .all(|field| narrow.headers.contains(field))
}
