//! Shows the live streams: as one JSON document, or as one document every second in server-sent events.
//!
//! `docs/admin.md` and `deploy/openapi.yaml` describe each member.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::facts::{Facts, millis, rounded};
use super::past::{self, Ended};
use crate::app::App;
use crate::config::WebSocket;
use crate::session::registry::LiveStream;
use crate::session::traffic::Totals;
use crate::translate::Target;

/// A stream whose client reads nothing for longer than this is shown as stalled.
const STALLED: Duration = Duration::from_secs(1);
/// A stream whose agent sends nothing for longer than this is shown as silent.
const SILENT: Duration = Duration::from_secs(2);
/// Interval between two events.
const EVERY: Duration = Duration::from_secs(1);

/// A body that sends the live streams every second until the client disconnects.
#[derive(Debug)]
pub(super) struct Following {
    app: Arc<App>,
    next: Interval,
    /// The number of the last ended stream that the client was told.
    sent_until: u64,
}

impl Following {
    pub(super) fn new(app: Arc<App>) -> Self {
        let mut next = interval(EVERY);
        // A slow client needs the current state, not the events that it missed.
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            app,
            next,
            sent_until: 0,
        }
    }
}

impl http_body::Body for Following {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        ready!(self.next.poll_tick(cx));
        let document = document(&self.app, self.sent_until);
        self.sent_until = document
            .ended
            .first()
            .map_or(self.sent_until, Ended::number);
        let event = format!("data: {}\n\n", text(&document));
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

/// What `/streams` answers.
#[derive(Serialize)]
struct Document {
    active: usize,
    #[serde(flatten)]
    facts: Facts,
    streams: Vec<Stream>,
    ended: Vec<Ended>,
}

/// Returns all live streams as JSON, oldest first, with what else is to be known of the process. Of the streams that
/// have ended, it has those after the one with the number `sent_until`.
pub(super) fn streams(app: &App, sent_until: u64) -> String {
    text(&document(app, sent_until))
}

fn text(document: &Document) -> String {
    // Maps with keys of text and finite numbers are always JSON.
    serde_json::to_string(document).unwrap_or_default()
}

fn document(app: &App, sent_until: u64) -> Document {
    let mut live = app.streams.list();
    live.sort_by_key(|live| live.context.started);
    let now = Instant::now();
    let streams: Vec<_> = live.iter().map(|live| stream(live, now)).collect();
    Document {
        active: streams.len(),
        facts: Facts::of(app),
        streams,
        ended: past::ended(app, sent_until),
    }
}

/// A live stream.
#[derive(Default, Serialize)]
struct Stream {
    id: String,
    request_id: String,
    route: String,
    client: Option<String>,
    method: String,
    path: String,
    dialect: &'static str,
    transport: &'static str,
    reply: Option<&'static str>,
    state: &'static str,
    flow: &'static str,
    flow_ms: Option<u64>,
    age_ms: u64,
    ttft_ms: Option<u64>,
    tokens: Option<u64>,
    tokens_per_s: Option<f64>,
    silent_ms: Option<u64>,
    blocked_ms: Option<u64>,
    stalled_ms: u64,
    events: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    queue_events: usize,
    queue_bytes: usize,
    viewers: usize,
    detached: bool,
    dropped: u64,
}

/// Whether events flow, and since when not.
type Flow = (&'static str, Option<Duration>);

fn stream(live: &LiveStream, now: Instant) -> Stream {
    let context = &*live.context;
    let base = Stream {
        id: live.id.to_string(),
        request_id: (context.identity.request_id.to_str())
            .unwrap_or_default()
            .to_owned(),
        route: context.route.name.to_string(),
        client: context.client.map(|client| client.to_string()),
        method: context.method.to_string(),
        path: context.path.to_string(),
        age_ms: millis(now.saturating_duration_since(context.started)),
        ..Stream::default()
    };
    match live.traffic() {
        Some(traffic) => tunnel(live, traffic.totals(), base),
        None => events(live, now, base),
    }
}

/// Adds the figures of a stream of events.
fn events(live: &LiveStream, now: Instant, base: Stream) -> Stream {
    let (queue, known) = (live.queue(), live.figures.known());
    let age = now.saturating_duration_since(live.context.started);
    let since = |at: Option<Duration>| at.map(|at| age.saturating_sub(at));
    // The queue of a viewer has what this one was sent; a stream with several has one for each.
    let own = queue.filter(|_| live.hub().is_none());
    let events = own.map_or(known.events, |queue| queue.came);
    let waits = queue
        .and_then(|queue| queue.waiting_since)
        .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    let stalls = live
        .stalled()
        .map(|(since, _)| now.saturating_duration_since(since));
    let state = match events {
        _ if live.is_detached() => "detached",
        0 => "waiting",
        _ if waits > STALLED => "stalled",
        _ => "streaming",
    };
    let (silent, blocked) = (since(known.last_read), since(known.held_since));
    let (flow, flow_for): Flow = match (stalls, blocked, silent) {
        _ if live.is_detached() => ("detached", None),
        (Some(stalls), ..) if stalls > STALLED => ("stalled", Some(stalls)),
        (_, Some(blocked), _) => ("blocked", Some(blocked)),
        _ if events == 0 => ("waiting", Some(age)),
        (_, _, Some(silent)) if silent > SILENT => ("silent", Some(silent)),
        _ => ("flowing", None),
    };
    Stream {
        dialect: live.dialect().as_str(),
        transport: "http",
        reply: live.reply().map(Target::as_str),
        state,
        flow,
        flow_ms: flow_for.map(millis),
        ttft_ms: known.first_token.map(millis),
        tokens: Some(known.tokens),
        tokens_per_s: known.tokens_per_second().map(rounded),
        silent_ms: silent.map(millis),
        blocked_ms: blocked.map(millis),
        stalled_ms: millis(waits),
        events,
        bytes: own.map_or(known.bytes, |queue| queue.came_bytes),
        queue_events: queue.map_or(0, |queue| queue.events),
        queue_bytes: queue.map_or(0, |queue| queue.bytes),
        viewers: live.viewer_count(),
        detached: live.is_detached(),
        dropped: queue.map_or(0, |queue| queue.counts.dropped.iter().sum::<u64>()),
        ..base
    }
}

/// Adds the figures of a WebSocket: its frames are its events, and `in` is what the client sends.
fn tunnel(live: &LiveStream, totals: Totals, base: Stream) -> Stream {
    let is_bridge = live.context.route.policy.websocket == WebSocket::Bridge;
    Stream {
        dialect: "websocket",
        transport: "websocket",
        state: if is_bridge { "bridge" } else { "tunnel" },
        flow: "open",
        events: totals.frames_out,
        bytes: totals.bytes_out,
        events_in: Some(totals.frames_in),
        bytes_in: Some(totals.bytes_in),
        viewers: 1,
        ..base
    }
}
