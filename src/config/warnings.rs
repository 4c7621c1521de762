//! Warnings about settings that are valid but probably a mistake.

use std::time::Duration;

use crate::config::error::{Path, Place, Problem};
use crate::config::units::{show_duration, show_size};
use crate::config::{
    Address, AllowedOrigin, Chats, Config, Match, OnDisconnect, Policy, Route, Upstream, WebSocket,
    Written,
};
use crate::translate::Statuses;

/// Default time after which uvicorn closes an idle connection.
const UVICORN_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Default time after which common proxies and load balancers close a silent connection.
const COMMON_IDLE: Duration = Duration::from_secs(60);

/// Returns the doubtful settings, ordered by line. One that several routes inherit comes once.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let mut doubts = Doubts {
        written: &config.written,
        list: config.written.doubts().to_vec(),
    };
    of_admin(config, &mut doubts);
    of_descriptors(config, &mut doubts);
    for upstream in &config.upstreams {
        of_upstream(upstream, &mut doubts);
    }
    for (index, route) in config.routes.iter().enumerate() {
        of_deadlines(index, &route.policy, &mut doubts);
        of_reply(index, &route.policy, &mut doubts);
        of_websocket(index, &route.policy, &mut doubts);
        of_resume(config, index, &mut doubts);
        if route.merge.is_some() && config.complete.records(&route.name) {
            let why = "`complete` records none of its streams, because they have several agents";
            doubts.route(index, &["merge"], why.to_owned());
        }
        let earlier = config
            .routes
            .iter()
            .take(index)
            .find(|earlier| covers(&earlier.matches, &route.matches));
        if let Some(earlier) = earlier {
            doubts.key(
                &Path::default().key("routes").index(index),
                format!(
                    "is never used, because route {} before it takes all of its requests",
                    earlier.name
                ),
            );
        }
    }
    doubts
        .list
        .sort_by_key(|one| (one.place.is_none(), one.place));
    doubts.list
}

/// The doubtful settings so far.
struct Doubts<'a> {
    written: &'a Written,
    list: Vec<Problem>,
}

impl Doubts<'_> {
    /// Adds a warning about a key of the whole process.
    fn key(&mut self, path: &Path, message: String) {
        let place = self.written.place(path.as_str());
        self.push(place, path, message);
    }

    /// Adds a warning about keys of a route, the most relevant first. It is shown where the first of them is written:
    /// in the route, or else in `defaults`, where it is shown once for all routes.
    fn route(&mut self, index: usize, keys: &[&str], message: String) {
        let route = Path::default().key("routes").index(index);
        let defaults = Path::default().key("defaults");
        let layers = [&route, &defaults].into_iter();
        let mut candidates = layers.flat_map(|layer| keys.iter().map(move |key| layer.key(key)));
        let written = candidates.find_map(|path| Some((self.written.place(path.as_str())?, path)));
        match (written, keys) {
            (Some((place, path)), _) => self.push(Some(place), &path, message),
            (None, [key, ..]) => self.push(None, &defaults.key(key), message),
            (None, []) => self.key(&route, message),
        }
    }

    fn push(&mut self, place: Option<Place>, path: &Path, message: String) {
        let doubt = Problem {
            place,
            path: path.as_str().to_owned(),
            message,
        };
        if !self.list.contains(&doubt) {
            self.list.push(doubt);
        }
    }
}

fn of_admin(config: &Config, doubts: &mut Doubts<'_>) {
    if let Some(Address::Tcp(address)) = &config.admin.listen
        && !address.ip().is_loopback()
    {
        let (asks, also) = match &config.admin.token {
            Some(_) => ("asks for a token only to start a drain", ""),
            None => ("asks for no password", " and start a drain (admin.token)"),
        };
        doubts.key(
            &Path::default().key("admin").key("listen"),
            format!(
                "{address} can be reached from other machines and {asks}; anyone there can read live streams' facts{also}"
            ),
        );
    }
}

fn of_descriptors(config: &Config, doubts: &mut Doubts<'_>) {
    let limits = &config.limits;
    let parts = limits.descriptors;
    let Some(files) = parts.limit else { return };
    let path = Path::default().key("limits");
    if limits.max_connections > parts.clients {
        doubts.key(
            &path.key("max_connections"),
            format!(
                "{} do not fit the limit of open files ({files}); at most {} are accepted",
                limits.max_connections, parts.clients
            ),
        );
    }
    let is_shared = (config.upstreams.iter()).all(|upstream| upstream.http2);
    if limits.max_requests > parts.agents && !is_shared {
        doubts.key(
            &path.key("max_requests"),
            format!(
                "{} do not fit the limit of open files ({files}); there are at most {} connections to agents",
                limits.max_requests, parts.agents
            ),
        );
    }
}

fn of_upstream(upstream: &Upstream, doubts: &mut Doubts<'_>) {
    if upstream.pool_idle >= UVICORN_KEEP_ALIVE {
        let path = Path::default().key("upstreams").key(&upstream.name);
        doubts.key(
            &path.key("pool_idle"),
            format!(
                "{} is not below the 5s after which uvicorn closes idle connections; requests may meet a closing one",
                show_duration(upstream.pool_idle)
            ),
        );
    }
}

fn of_deadlines(route: usize, policy: &Policy, doubts: &mut Doubts<'_>) {
    let Policy {
        deadlines,
        heartbeat,
        ..
    } = policy;
    if *heartbeat >= COMMON_IDLE {
        doubts.route(
            route,
            &["heartbeat"],
            format!(
                "{} is not below the 60s after which common proxies cut silence",
                show_duration(*heartbeat)
            ),
        );
    }
    for (name, time) in [
        ("deadlines.head", deadlines.head),
        ("deadlines.first_event", deadlines.first_event),
        ("deadlines.idle", deadlines.idle),
        ("deadlines.progress", deadlines.progress),
    ] {
        if time > deadlines.total {
            doubts.route(
                route,
                &[name, "deadlines.total"],
                format!(
                    "{name} {} can never pass, because deadlines.total is {}",
                    show_duration(time),
                    show_duration(deadlines.total)
                ),
            );
        }
    }
    if deadlines.idle > deadlines.progress {
        doubts.route(
            route,
            &["deadlines.idle", "deadlines.progress"],
            format!(
                "deadlines.idle {} can never pass, because deadlines.progress is {}",
                show_duration(deadlines.idle),
                show_duration(deadlines.progress)
            ),
        );
    }
}

fn of_websocket(route: usize, policy: &Policy, doubts: &mut Doubts<'_>) {
    let Policy {
        websocket, bridge, ..
    } = policy;
    if *websocket == WebSocket::Bridge && bridge.origins.contains(&AllowedOrigin::Any) {
        let why = "allows every site, so any page that a user visits can speak with the agent as that user";
        doubts.route(route, &["websocket.origins"], why.to_owned());
    }
}

fn of_reply(route: usize, policy: &Policy, doubts: &mut Doubts<'_>) {
    let Policy { reply, request, .. } = policy;
    let mut targets = reply.preset.iter().chain(reply.offer.iter().flatten());
    if reply.statuses == Statuses::Visible && !targets.any(|target| target.has_status()) {
        doubts.route(
            route,
            &["reply.status"],
            format!(
                "`visible` has no effect, because no reply of the route ({}) has words for it; those of ag-ui, ai-sdk, events and ndjson have",
                reply.words().join(", ")
            ),
        );
    }
    if reply.aggregates && request.is_some() {
        let why = "has no effect, because clients whose requests are mapped (request.from) always read streams";
        doubts.route(route, &["reply.aggregate"], why.to_owned());
    }
}

fn of_resume(config: &Config, index: usize, doubts: &mut Doubts<'_>) {
    let Some(route) = config.routes.get(index) else {
        return;
    };
    let policy = &route.policy;
    let Some(resume) = &policy.resume else {
        return;
    };
    if let Some(chats) = &resume.chats {
        of_chats(config, index, (&route.matches, chats), doubts);
    }
    let total = config.journals.total_bytes;
    if resume.max_bytes > total {
        doubts.route(
            index,
            &["resume.max_bytes"],
            format!(
                "{} is never reached, because resume.total_bytes of all streams is {}",
                show_size(resume.max_bytes as u64),
                show_size(total as u64)
            ),
        );
    }
    if let OnDisconnect::Grace(grace) = policy.on_disconnect
        && grace > policy.deadlines.total
    {
        doubts.route(
            index,
            &["on_disconnect.grace", "deadlines.total"],
            format!(
                "on_disconnect.grace {} can never pass, because deadlines.total is {}",
                show_duration(grace),
                show_duration(policy.deadlines.total)
            ),
        );
    }
}

/// A request for the stream of a chat must match the route. What comes from `defaults` must do so for one route.
fn of_chats(
    config: &Config,
    index: usize,
    (matches, chats): (&Match, &Chats),
    doubts: &mut Doubts<'_>,
) {
    let path = |id: &str| format!("{}{id}{}", chats.prefix, chats.suffix);
    let takes = |matches: &Match| {
        let asking = Match {
            path_prefix: path("id"),
            methods: Some(vec![http::Method::GET]),
            ..matches.clone()
        };
        covers(matches, &asking)
    };
    let own = Path::default()
        .key("routes")
        .index(index)
        .key("resume.chats.path");
    let is_own = config.written.place(own.as_str()).is_some();
    let is_asked = |other: &Route| {
        let resume = other.policy.resume.as_ref();
        resume.is_some_and(|resume| resume.chats.as_ref() == Some(chats)) && takes(&other.matches)
    };
    if takes(matches) || (!is_own && config.routes.iter().any(|other| is_asked(other))) {
        return;
    }
    doubts.route(
        index,
        &["resume.chats.path"],
        format!(
            "no request for a chat's stream (GET {}) has this route, because of its `match`",
            path("{id}")
        ),
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    #[test]
    fn a_doubt_is_told_where_it_is_written_and_once() {
        let text = "upstreams:\n  a: {endpoints: \"http://a\", pool_idle: 5s}\n  spare: {endpoints: \"http://b\"}\n\
                    defaults:\n  heartbeat: 2m\n  deadlines: {total: 15m}\n\
                    routes:\n  - {name: one, upstream: a, match: {path_prefix: /1}}\n  - {name: two, upstream: a, match: {path_prefix: /2}}\n  \
                    - name: three\n    upstream: a\n    match: {path_prefix: /2/3}\n    heartbeat: 3m\n    deadlines: {idle: 20m, progress: 20m}\n";
        let config = config::load(Some(("f", text)), &Overrides::default()).unwrap();
        let said: Vec<String> = warnings(&config)
            .iter()
            .filter(|one| !one.path.starts_with("limits"))
            .map(|one| format!("{}: {one}", one.place.unwrap()))
            .collect();
        let begins = [
            "2:41: upstreams.a.pool_idle: 5s is not below",
            "3:3: upstreams.spare: is used by no route",
            "5:14: defaults.heartbeat: 2m is not below",
            "10:5: routes[2]: is never used, because route two before it",
            "13:16: routes[2].heartbeat: 3m is not below",
            "14:23: routes[2].deadlines.idle: deadlines.idle 20m can never pass",
            "14:38: routes[2].deadlines.progress: deadlines.progress 20m can never pass",
        ];
        assert_eq!(said.len(), begins.len(), "{said:#?}");
        for (said, begin) in said.iter().zip(begins) {
            assert!(said.starts_with(begin), "{said}\n{begin}");
        }
    }

    #[test]
    fn the_path_of_chats_is_one_of_the_route() {
        let said = |defaults: &str, routes: &str| {
            let text = format!(
                "upstreams: {{a: {{endpoints: \"http://a\"}}}}\ndefaults: {defaults}\nroutes: [{routes}]\n"
            );
            let config = config::load(Some(("f", &text)), &Overrides::default()).unwrap();
            let all = warnings(&config).into_iter().map(|one| one.path);
            all.filter(|path| path.contains("chats"))
                .collect::<Vec<_>>()
        };
        let chats = "resume: {chats: {path: \"/chats/{id}/s\", member: id}}";
        let route = |name: &str, matches: &str, more: &str| {
            format!("{{name: {name}, upstream: a, match: {{{matches}}}{more}}}")
        };
        let own = "routes[0].resume.chats.path";
        for (matches, expected) in [
            ("path_prefix: /", None),
            ("path_prefix: /chats", None),
            ("path_prefix: /chats, methods: [GET, POST]", None),
            ("path_prefix: /chats, methods: [POST]", Some(own)),
            ("path_prefix: /chat", Some(own)),
            ("path_prefix: /api", Some(own)),
        ] {
            let said = said("{}", &route("one", matches, &format!(", {chats}")));
            assert_eq!(said.first().map(String::as_str), expected, "{matches}");
        }
        let defaults = format!("{{{chats}}}");
        let [api, all] = ["/api", "/"]
            .map(|path| route(&path.replace('/', "r"), &format!("path_prefix: {path}"), ""));
        assert_eq!(said(&defaults, &format!("{api}, {all}")), [""; 0]);
        assert_eq!(said(&defaults, &api), ["defaults.resume.chats.path"]);
    }

    #[test]
    fn without_a_file_there_is_no_place() {
        let overrides = Overrides {
            upstream: Some("http://a".to_owned()),
            admin: Some("0.0.0.0:9464".to_owned()),
            ..Overrides::default()
        };
        let config = config::load(None, &overrides).unwrap();
        let said = warnings(&config);
        assert!(said.iter().all(|one| one.place.is_none()), "{said:?}");
        assert!(
            said.iter().any(|one| one.path == "admin.listen"),
            "{said:?}"
        );
    }
}
