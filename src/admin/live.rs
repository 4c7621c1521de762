//! Shows the live streams: as one JSON document, or as one document every second in server-sent events.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::app::App;
use crate::config::WebSocket;
use crate::session::registry::LiveStream;
use crate::session::traffic::Totals;

/// A stream whose client reads nothing for longer than this is shown as stalled.
const STALLED: Duration = Duration::from_secs(1);
/// Interval between two events.
const EVERY: Duration = Duration::from_secs(1);

/// A body that sends the live streams every second until the client disconnects.
#[derive(Debug)]
pub(super) struct Following {
    app: Arc<App>,
    next: Interval,
}

impl Following {
    pub(super) fn new(app: Arc<App>) -> Self {
        let mut next = interval(EVERY);
        // A slow client needs the current state, not the events that it missed.
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { app, next }
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
        let event = format!("data: {}\n\n", streams(&self.app));
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

/// Returns all live streams as JSON, oldest first.
pub(super) fn streams(app: &App) -> String {
    let mut live = app.streams.list();
    live.sort_by_key(|live| live.context.started);
    let list: Vec<_> = live.iter().map(|live| stream(live)).collect();
    json!({
        "active": list.len(),
        "requests": app.admitted.len(),
        "detached": app.detached.len(),
        "draining": app.draining.load(Ordering::Relaxed),
        "streams": list,
    })
    .to_string()
}

fn stream(live: &LiveStream) -> serde_json::Value {
    if let Some(traffic) = live.traffic() {
        return tunnel(live, traffic.totals());
    }
    let queue = live.queue();
    let events = queue.map_or(0, |queue| queue.came);
    let stalled = queue
        .and_then(|queue| queue.waiting_since)
        .map_or(Duration::ZERO, |since| since.elapsed());
    let state = match events {
        _ if live.is_detached() => "detached",
        0 => "waiting",
        _ if stalled > STALLED => "stalled",
        _ => "streaming",
    };
    json!({
        "id": live.id.to_string(),
        "request_id": live.context.identity.request_id.to_str().unwrap_or_default(),
        "route": &*live.context.route.name,
        "dialect": live.dialect().as_str(),
        "state": state,
        "age_ms": millis(live.context.started.elapsed()),
        "stalled_ms": millis(stalled),
        "events": events,
        "bytes": queue.map_or(0, |queue| queue.came_bytes),
        "queue_events": queue.map_or(0, |queue| queue.events),
        "queue_bytes": queue.map_or(0, |queue| queue.bytes),
        "viewers": live.viewer_count(),
        "dropped": queue.map_or(0, |queue| queue.counts.dropped.iter().sum::<u64>()),
    })
}

/// Shows a WebSocket: its frames are its events, and `in` is what the client sends.
fn tunnel(live: &LiveStream, totals: Totals) -> serde_json::Value {
    json!({
        "id": live.id.to_string(),
        "request_id": live.context.identity.request_id.to_str().unwrap_or_default(),
        "route": &*live.context.route.name,
        "dialect": "websocket",
        "transport": "websocket",
        "state": if live.context.route.policy.websocket == WebSocket::Bridge {
            "bridge"
        } else {
            "tunnel"
        },
        "age_ms": millis(live.context.started.elapsed()),
        "stalled_ms": 0,
        "events": totals.frames_out,
        "bytes": totals.bytes_out,
        "events_in": totals.frames_in,
        "bytes_in": totals.bytes_in,
        "queue_events": 0,
        "queue_bytes": 0,
        "viewers": 1,
        "dropped": 0,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
