//! Builds the routes: their conditions, their upstream, and their policy. A policy key that a route does not set is
//! taken from `defaults`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::choices::Marker;
use crate::config::defaults as preset;
use crate::config::error::{Path, Report, shown};
use crate::config::kind::Placed;
use crate::config::layers::Layers;
use crate::config::number::bound;
use crate::config::raw::{self, Root};
use crate::config::upstreams::{known, names};
use crate::config::{
    Bridge, Claimed, Deadlines, Match, Merge, OnDisconnect, Policy, Reply, Route, Upstream,
    WebSocket, conflicts, merge_check, resume_check,
};
use crate::dialect::Choice;
use crate::filter::markers::{self, Family, Form, Pair, Place};
use crate::filter::scan::Marks;
use crate::filter::{Hide, Rules};
use crate::queue::{Batch, Gating, Limits as QueueLimits, Overflow};
use crate::translate::Statuses;

/// Name of the route that is created if the file has none.
pub(crate) const ONLY: &str = "default";

/// Returns every route in the order of the file.
pub(crate) fn all(
    root: &Root,
    upstreams: &[Arc<Upstream>],
    report: &mut Report,
) -> Vec<Arc<Route>> {
    let none = raw::Policy::default();
    let defaults = root
        .defaults
        .as_ref()
        .map_or(&none, |defaults| &defaults.value);
    let raw = root.routes.as_ref().map_or(&[][..], |routes| &routes.value);
    if raw.is_empty() {
        return only(root, defaults, upstreams, report);
    }
    let mut list: Vec<Arc<Route>> = Vec::new();
    // Of all routes: one that cannot be used has a name as well.
    let mut taken: Vec<(&str, usize)> = Vec::new();
    for (index, Placed { value: raw, place }) in raw.iter().enumerate() {
        let path = Path::default().key("routes").index(index);
        let name = raw
            .head
            .name
            .as_ref()
            .map(|name| (name.place, name.value.as_str()));
        if let Some((place, name)) = name {
            match taken.iter().find(|(other, _)| *other == name) {
                Some((_, first)) => report.at(
                    place,
                    &path.key("name"),
                    format!(
                        "{} is also the name of an earlier route (routes[{first}])",
                        shown(name)
                    ),
                ),
                None => taken.push((name, index)),
            }
        }
        let merge = raw.head.merge.as_ref().and_then(|raw| {
            let path = path.key("merge");
            merge_check::checked(&raw.value, upstreams, &path, report)
        });
        let upstream = match &raw.head.upstream {
            Some(wanted) if raw.head.merge.is_some() => {
                report.at(
                    wanted.place,
                    &path.key("upstream"),
                    "is not possible together with `merge`, whose agents have upstreams of their own",
                );
                None
            }
            None if raw.head.merge.is_some() => {
                let first = merge.as_ref().and_then(|merge| merge.agents.first());
                let first = first.map(|agent| &agent.upstream);
                upstreams
                    .iter()
                    .find(|known| first.is_some_and(|first| Arc::ptr_eq(first, known)))
            }
            Some(wanted) => known(wanted, upstreams, &path.key("upstream"), report),
            None => match upstreams {
                [only] => Some(only),
                [] => None,
                _ if report.is_dropped("upstream") => None,
                several => {
                    report.at(
                        *place,
                        &path.key("upstream"),
                        format!("is missing; the upstreams are {}", names(several)),
                    );
                    None
                }
            },
        };
        if let (Some((_, name)), Some(upstream)) = (name, upstream) {
            let matches = matches(raw.head.matches.as_ref().map(|matches| &matches.value));
            let layers = Layers {
                upper: Some(&raw.policy),
                lower: Some(defaults),
            };
            let policy = policy(&layers);
            resume_check::check(&layers, &policy, (name, &path), report);
            conflicts::check(&layers, &policy, (name, &path), report);
            if let Some(raw) = &raw.head.merge {
                merge_check::check(&policy, raw.place, &path, report);
            }
            list.push(route(name, matches, upstream, merge, policy));
        }
    }
    list
}

/// Returns the route of a file without routes: all requests go to the only upstream.
fn only(
    root: &Root,
    defaults: &raw::Policy,
    upstreams: &[Arc<Upstream>],
    report: &mut Report,
) -> Vec<Arc<Route>> {
    let written = root.routes.as_ref();
    let is_unread = written.is_some_and(|routes| report.is_unread(routes.place));
    match upstreams {
        [] => Vec::new(),
        _ if is_unread => Vec::new(),
        [upstream] => {
            let layers = Layers {
                upper: None,
                lower: Some(defaults),
            };
            let policy = policy(&layers);
            resume_check::check(&layers, &policy, (ONLY, &Path::default()), report);
            conflicts::check(&layers, &policy, (ONLY, &Path::default()), report);
            vec![route(ONLY, matches(None), upstream, None, policy)]
        }
        several => {
            let message = format!(
                "is missing; with several upstreams ({}) routes say which request goes where",
                names(several)
            );
            match &root.routes {
                Some(routes) => report.at(routes.place, &Path::default().key("routes"), message),
                // If the list of routes could not be read, that has already been reported.
                None if report.is_fine("routes") => report.of("routes", message),
                None => {}
            }
            Vec::new()
        }
    }
}

fn route(
    name: &str,
    matches: Match,
    upstream: &Arc<Upstream>,
    merge: Option<Merge>,
    policy: Policy,
) -> Arc<Route> {
    Arc::new(Route {
        name: Arc::from(name),
        matches,
        upstream: Arc::clone(upstream),
        merge: merge.map(Arc::new),
        policy,
    })
}

fn matches(raw: Option<&raw::Match>) -> Match {
    let none = raw::Match::default();
    let raw = raw.unwrap_or(&none);
    let methods = raw
        .methods
        .as_ref()
        .and_then(|methods| methods.value.as_ref());
    Match {
        path_prefix: raw.path_prefix.as_ref().map_or_else(
            || preset::PATH_PREFIX.value.to_owned(),
            |path| path.value.clone(),
        ),
        host: raw.host.as_ref().and_then(|host| host.value.clone()),
        methods: methods.map(|methods| methods.iter().map(|method| method.value.clone()).collect()),
        headers: raw
            .headers
            .as_ref()
            .map(|headers| fields(&headers.value))
            .unwrap_or_default(),
    }
}

fn fields(placed: &[(HeaderName, Placed<HeaderValue>)]) -> Vec<(HeaderName, HeaderValue)> {
    let plain =
        |(name, value): &(HeaderName, Placed<HeaderValue>)| (name.clone(), value.value.clone());
    placed.iter().map(plain).collect()
}

fn policy(layers: &Layers<'_, raw::Policy>) -> Policy {
    let queue = layers.below(|policy| &policy.queue);
    let (rules, shown) = hide(&layers.below(|policy| &policy.hide));
    Policy {
        dialect: layers.get(|policy| &policy.dialect, Choice::Auto),
        deadlines: deadlines(&layers.below(|policy| &policy.deadlines)),
        heartbeat: layers
            .get(|policy| &policy.heartbeat, Some(preset::HEARTBEAT.value))
            .unwrap_or(Duration::ZERO),
        queue: QueueLimits {
            max_events: bound(queue.get(|queue| &queue.max_events, preset::MAX_EVENTS.value)),
            max_bytes: bound(queue.get(|queue| &queue.max_bytes, preset::MAX_BYTES.value)),
            merge: queue.get(|queue| &queue.merge, preset::MERGE.value),
            overflow: queue.get(|queue| &queue.overflow, Overflow::DropOldest),
        },
        max_event_bytes: bound(layers.get(
            |policy| &policy.max_event_bytes,
            preset::MAX_EVENT_BYTES.value,
        )),
        max_request_bytes: layers.get(
            |policy| &policy.max_request_bytes,
            preset::MAX_REQUEST_BYTES.value,
        ),
        forwarded: layers.get(|policy| &policy.forwarded, preset::FORWARDED.value),
        commit_after: layers.get(|policy| &policy.commit_after, None),
        preamble_bytes: bound(layers.get(
            |policy| &policy.preamble_bytes,
            preset::PREAMBLE_BYTES.value,
        )),
        hide: Arc::new(rules),
        markers: shown,
        reply: reply(&layers.below(|policy| &policy.reply)),
        request: (layers.below(|policy| &policy.request))
            .find(|request| &request.from)
            .copied()
            .flatten(),
        gating: gating(layers),
        resume: resume_check::resumable(layers),
        on_disconnect: layers.get(|policy| &policy.on_disconnect, OnDisconnect::Cancel),
        websocket: websocket(&layers.below(|policy| &policy.websocket)),
        bridge: Arc::new(bridge(&layers.below(|policy| &policy.websocket))),
    }
}

/// Returns which text is held back, and for how long.
fn gating(layers: &Layers<'_, raw::Policy>) -> Gating {
    let batch = layers.below(|policy| &policy.batch);
    let max_chars = bound(batch.get(|batch| &batch.max_chars, preset::BATCH_CHARS.value));
    let max_delay = batch.get(|batch| &batch.max_delay, None);
    let pace = layers.below(|policy| &policy.pace);
    Gating {
        batch: max_delay.map(|max_delay| Batch {
            max_delay,
            max_chars,
        }),
        pace: pace.get(|pace| &pace.max_delay, None),
    }
}

/// Returns the dialects that clients may get.
fn reply(layers: &Layers<'_, raw::Reply>) -> Reply {
    let offer = layers.find(|reply| &reply.offer).and_then(Option::as_ref);
    Reply {
        preset: layers.get(|reply| &reply.form, None),
        offer: offer.map_or_else(Vec::new, |offer| {
            offer.iter().map(|entry| entry.value).collect()
        }),
        statuses: layers.get(|reply| &reply.status, Statuses::Names),
        aggregates: layers.get(|reply| &reply.aggregate, preset::AGGREGATE.value),
        unstreams: layers.get(|reply| &reply.unstream, false),
    }
}

/// Returns the rules for hiding, and the markers as written in the file.
fn hide(layers: &Layers<'_, raw::Hide>) -> (Rules, Vec<String>) {
    let reasoning = layers.get(|hide| &hide.reasoning, Hide::Keep);
    let tools = layers.get(|hide| &hide.tools, Hide::Keep);
    let markers: Vec<Marker> = match layers.find(|hide| &hide.markers) {
        None => vec![Marker::Auto],
        Some(entries) => entries.iter().map(|entry| entry.value.clone()).collect(),
    };
    let auto = markers.contains(&Marker::Auto);
    let (mut families, mut pairs, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    if auto {
        families.extend(Family::ALL);
    }
    for marker in markers {
        shown.push(match marker {
            Marker::Auto => "auto".to_owned(),
            Marker::Family(family) => {
                families.push(family);
                family.as_str().to_owned()
            }
            Marker::Pair(open, close) => {
                let word = format!("{open} ... {close}");
                pairs.push(Pair {
                    open,
                    close: vec![close],
                    kind: markers::Kind::Reasoning,
                    place: Place::Anywhere,
                    form: Form::Exact,
                });
                word
            }
        });
    }
    let hides = |hide: Hide| hide != Hide::Keep;
    let mut marks = Marks::new(&families, auto, hides(reasoning), hides(tools));
    if hides(reasoning) {
        marks.pairs.extend(pairs);
    }
    marks.starts_hidden = layers.get(|hide| &hide.starts_hidden, false);
    let rules = Rules {
        reasoning,
        tools,
        marks,
    };
    (rules, shown)
}

fn deadlines(layers: &Layers<'_, raw::Deadlines>) -> Deadlines {
    Deadlines {
        connect: layers.get(|deadlines| &deadlines.connect, preset::CONNECT.value),
        head: layers.get(|deadlines| &deadlines.head, preset::HEAD.value),
        first_event: layers.get(
            |deadlines| &deadlines.first_event,
            preset::FIRST_EVENT.value,
        ),
        idle: layers.get(|deadlines| &deadlines.idle, preset::IDLE.value),
        progress: layers.get(|deadlines| &deadlines.progress, preset::PROGRESS.value),
        after_end: layers.get(|deadlines| &deadlines.after_end, preset::AFTER_END.value),
        total: layers.get(|deadlines| &deadlines.total, preset::TOTAL.value),
        client_stall: layers.get(
            |deadlines| &deadlines.client_stall,
            preset::CLIENT_STALL.value,
        ),
    }
}

/// Returns what a route does with WebSockets.
fn websocket(layers: &Layers<'_, raw::WebSocket>) -> WebSocket {
    layers
        .get(|section| &section.mode, Some(WebSocket::Tunnel))
        .unwrap_or(WebSocket::Off)
}

/// Returns the settings of a route's bridges.
fn bridge(layers: &Layers<'_, raw::WebSocket>) -> Bridge {
    let origins = layers.find(|section| &section.origins);
    let origins = origins.and_then(Option::as_ref);
    Bridge {
        ack: (layers.get(|section| &section.ack, Some(Claimed::Optional))).into(),
        ack_window: bound(layers.get(|section| &section.ack_window, preset::ACK_WINDOW.value)),
        ack_timeout: layers.get(|section| &section.ack_timeout, preset::ACK_TIMEOUT.value),
        origins: origins.map_or_else(Vec::new, |list| {
            list.iter().map(|entry| entry.value.clone()).collect()
        }),
        tells_interrupted: layers.get(|section| &section.interrupted, preset::INTERRUPTED.value),
    }
}
