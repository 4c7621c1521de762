//! The metric handles of one route, resolved once.

use std::time::Duration;

use prometheus::{Counter, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::busy::BusyHistogram;
use super::exemplars::{Exemplar, Exemplars, RouteExemplars, TraceId};
use super::families::Families;
use super::requests::Requests;
use super::resume::ResumeRoute;
use super::websocket::WebSocketRoute;
use crate::dialect::Dialect;
use crate::end::End;
use crate::event::Class;
use crate::filter::Hidden;
use crate::stream::meter::TokenSource;
use crate::translate::{KINDS, Lost, Target};
use crate::wire::Framing;

/// The handles of one route. They are plain counters: a stream looks up no label when it counts.
#[derive(Debug)]
pub struct RouteMetrics {
    requests: Requests,
    /// Duration of plain requests, seconds.
    pub request_seconds: Histogram,
    active_array: IntGauge,
    active_lines: IntGauge,
    active_sse: IntGauge,
    active_ndjson: IntGauge,
    active_websocket: IntGauge,
    outcomes: Vec<IntCounter>,
    /// Duration of whole streams, seconds.
    pub stream_seconds: Histogram,
    /// From the request sent, upload included, to the response head, seconds.
    pub headers_seconds: Histogram,
    /// From the request head read to the first event, seconds.
    pub first_event: Histogram,
    /// From the request head read to the first answer text, seconds.
    pub first_answer: Histogram,
    /// From the request head read to the first reasoning text, seconds.
    pub first_reasoning: Histogram,
    /// From the request head read to the first tool event, seconds.
    pub first_tool: Histogram,
    /// Gaps between texts.
    pub gap: BusyHistogram,
    /// Seconds per token after the first.
    pub per_token: Histogram,
    /// Tokens per second after the first.
    pub speed: Histogram,
    /// Content and reasoning tokens, by the source of the count.
    tokens: [[IntCounter; 2]; 3],
    /// From an event read to handed to the client's connection.
    pub added: BusyHistogram,
    events_in: Vec<IntCounter>,
    events_out: Vec<IntCounter>,
    dropped: Vec<IntCounter>,
    unsent: Vec<IntCounter>,
    /// Events joined to their neighbour for a slow client.
    pub merged: IntCounter,
    /// Seconds of back-pressure.
    pub held: Counter,
    /// Heartbeats sent.
    pub heartbeats: IntCounter,
    /// Longer periods in which a client took nothing although something waited, seconds.
    pub client_stall: Histogram,
    /// Time to open a new upstream connection, seconds.
    pub connect_seconds: Histogram,
    /// From a client's leaving to the end of the upstream call, seconds.
    pub cancel_seconds: Histogram,
    /// Reads that brought many events after a silence.
    pub bursts: IntCounter,
    /// Requests that were sent once more.
    pub repeats: IntCounter,
    cancellations: IntCounterVec,
    upstream_errors: IntCounterVec,
    mismatches: Vec<IntCounter>,
    /// Hidden spans and hidden characters, each of reasoning and of tools.
    hidden: [[IntCounter; 2]; 2],
    /// In the order of [`KINDS`].
    reply_lost: [IntCounter; KINDS.len()],
    /// In the order of [`Target::ALL`].
    replies: [IntCounter; Target::ALL.len()],
    /// From the request head read to the first text that the client may see, seconds.
    pub first_visible: Histogram,
    tool_faults: Vec<IntCounter>,
    /// Streams in an unknown content coding.
    pub coding_unknown: IntCounter,
    merge_agents: IntCounterVec,
    merge_first_token: HistogramVec,
    /// Requests to return to a stream, and viewers.
    pub resume: ResumeRoute,
    /// Frames, bytes and close codes of WebSockets.
    pub websocket: WebSocketRoute,
    exemplars: RouteExemplars,
    name: String,
}

/// The reasons for which an upstream call is cancelled.
const CANCELLATIONS: [&str; 7] = [
    "client_gone",
    "client_stalled",
    "drained",
    "panic",
    "stopped",
    "timeout",
    "too_large",
];
/// Responses whose series exist from the start, because queries ask for them before they happen.
const REQUESTS: [(&str, &str); 7] = [
    ("stream", "200"),
    ("unary", "200"),
    ("unary", "499"),
    ("unary", "502"),
    ("unary", "503"),
    ("unary", "504"),
    ("websocket", "101"),
];
/// The codes of failed upstream calls.
const UPSTREAM_ERRORS: [&str; 11] = [
    "first_event_timeout",
    "head_timeout",
    "idle_timeout",
    "progress_timeout",
    "total_timeout",
    "truncated",
    "upstream_connect",
    "upstream_error",
    "upstream_reset",
    "upstream_tls",
    "status_5xx",
];

/// Outcomes of agents whose series exist from the start.
const AGENT_OUTCOMES: [&str; 3] = ["cancelled", "finished", "upstream_status"];

impl RouteMetrics {
    /// Adds up what the threads have counted separately.
    pub(super) fn flush(&self) {
        self.websocket.flush();
    }

    pub(super) fn new(families: &Families, name: &str) -> Self {
        let classes = |family: &IntCounterVec, before: &[&str], after: &[&str]| {
            let series = |class: Class| {
                let labels: Vec<&str> = before
                    .iter()
                    .copied()
                    .chain([class.as_str()])
                    .chain(after.iter().copied())
                    .collect();
                family.with_label_values(&labels)
            };
            Class::ALL.into_iter().map(series).collect()
        };
        let dialects = |family: &IntCounterVec| {
            let series = |dialect: Dialect| family.with_label_values(&[name, dialect.as_str()]);
            Dialect::ALL.into_iter().map(series).collect()
        };
        for reason in CANCELLATIONS {
            families.cancellations.with_label_values(&[name, reason]);
        }
        for reason in UPSTREAM_ERRORS {
            families.upstream_errors.with_label_values(&[name, reason]);
        }
        for (kind, code) in REQUESTS {
            families.requests.with_label_values(&[name, kind, code]);
        }
        let first = |kind| families.first_token.with_label_values(&[name, kind]);
        let tokens = |kind, source| families.tokens.with_label_values(&[name, kind, source]);
        Self {
            requests: Requests::new(&families.requests),
            request_seconds: families.request_seconds.with_label_values(&[name]),
            active_array: families
                .streams_active
                .with_label_values(&[name, Framing::JsonArray.as_str()]),
            active_lines: families
                .streams_active
                .with_label_values(&[name, Framing::Lines.as_str()]),
            active_sse: families.streams_active.with_label_values(&[name, "sse"]),
            active_ndjson: families.streams_active.with_label_values(&[name, "ndjson"]),
            active_websocket: families
                .streams_active
                .with_label_values(&[name, "websocket"]),
            outcomes: End::ALL
                .into_iter()
                .map(|end| families.streams.with_label_values(&[name, end.as_str()]))
                .collect(),
            stream_seconds: families.stream_seconds.with_label_values(&[name]),
            headers_seconds: families.headers_seconds.with_label_values(&[name]),
            first_event: families.first_event.with_label_values(&[name]),
            first_answer: first("answer"),
            first_reasoning: first("reasoning"),
            first_tool: first("tool"),
            gap: families.gap.with_label_values(&[name]),
            per_token: families.per_token.with_label_values(&[name]),
            speed: families.speed.with_label_values(&[name]),
            tokens: TokenSource::ALL
                .map(|source| ["content", "reasoning"].map(|kind| tokens(kind, source.as_str()))),
            added: families.added.with_label_values(&[name]),
            events_in: classes(&families.events, &[name, "in"], &[]),
            events_out: classes(&families.events, &[name, "out"], &[]),
            dropped: classes(&families.dropped, &[name], &["queue_full"]),
            unsent: classes(&families.dropped, &[name], &["not_taken"]),
            merged: families.merged.with_label_values(&[name]),
            held: families.held.with_label_values(&[name]),
            heartbeats: families.heartbeats.with_label_values(&[name]),
            client_stall: families.client_stall.with_label_values(&[name]),
            connect_seconds: families.connect_seconds.with_label_values(&[name]),
            cancel_seconds: families.cancel_seconds.with_label_values(&[name]),
            bursts: families.bursts.with_label_values(&[name]),
            repeats: families.repeats.with_label_values(&[name]),
            cancellations: families.cancellations.clone(),
            upstream_errors: families.upstream_errors.clone(),
            hidden: [&families.hidden_spans, &families.hidden_characters].map(|family| {
                ["reasoning", "tool"].map(|kind| family.with_label_values(&[name, kind]))
            }),
            reply_lost: KINDS.map(|kind| families.reply_lost.with_label_values(&[name, kind])),
            replies: Target::ALL
                .map(|target| families.replies.with_label_values(&[name, target.as_str()])),
            first_visible: families.first_visible.with_label_values(&[name]),
            mismatches: dialects(&families.mismatches),
            tool_faults: dialects(&families.tool_faults),
            coding_unknown: families.coding_unknown.with_label_values(&[name]),
            merge_agents: families.merge_agents.clone(),
            merge_first_token: families.merge_first_token.clone(),
            resume: ResumeRoute::new(&families.resume, name),
            websocket: WebSocketRoute::new(&families.websocket, name),
            exemplars: RouteExemplars::new(),
            name: name.to_owned(),
        }
    }

    /// Returns the exemplars of a histogram of this route, in the order of its buckets; `kind` is its label of that
    /// name.
    pub(super) fn exemplars(&self, family: &str, kind: Option<&str>) -> Vec<Option<Exemplar>> {
        let found = self.exemplars.of(family, kind);
        found.map_or_else(Vec::new, Exemplars::list)
    }

    /// Keeps a stream that has ended as the exemplar of the buckets that it is counted in: how long it took, and how
    /// long its first answer, reasoning and tool event took.
    pub fn keep_exemplar(&self, trace: TraceId, duration: Duration, firsts: [Option<Duration>; 3]) {
        self.exemplars.keep(trace, duration, firsts);
    }

    /// Counts a request that was answered.
    pub fn request(&self, kind: &'static str, status: http::StatusCode) {
        self.requests.count(&self.name, kind, status.as_u16());
    }

    /// Counts a request whose client left before there was a response, and its cancelled call unless that
    /// `continues`. 499 is the customary status code for it.
    pub fn left(&self, continues: bool) {
        self.requests.count(&self.name, "unary", 499);
        if !continues {
            self.cancelled("client_gone");
        }
    }

    /// Counts a stream as open until the guard is dropped.
    pub fn stream_active(&self, framing: Framing) -> Active {
        let gauge = match framing {
            Framing::JsonArray => &self.active_array,
            Framing::Lines => &self.active_lines,
            Framing::Ndjson => &self.active_ndjson,
            Framing::Sse | Framing::Raw => &self.active_sse,
        };
        gauge.inc();
        Active(gauge.clone())
    }

    /// Counts a WebSocket as open until the guard is dropped.
    pub fn websocket_active(&self) -> Active {
        self.active_websocket.inc();
        Active(self.active_websocket.clone())
    }

    /// Counts a WebSocket as bridged until the guard is dropped.
    pub fn bridge_active(&self) -> Active {
        self.websocket.sockets.inc();
        Active(self.websocket.sockets.clone())
    }

    /// Counts a finished stream.
    pub fn outcome(&self, end: End) {
        if let Some(counter) = self.outcomes.get(end.index()) {
            counter.inc();
        }
    }

    /// Counts a stream that did not speak the dialect that was announced.
    pub fn mismatch(&self, announced: Dialect) {
        if let Some(counter) = self.mismatches.get(announced.index()) {
            counter.inc();
        }
    }

    /// Counts the spans of text and runs of events that were hidden from clients.
    pub fn hidden(&self, hidden: Hidden) {
        for (counters, counts) in self.hidden.iter().zip([hidden.spans, hidden.characters]) {
            add(counters, &counts);
        }
    }

    /// Counts what a client was not told, because its dialect has no words for it.
    pub fn reply_lost(&self, lost: Lost) {
        add(&self.reply_lost, &lost.0);
    }

    /// Counts a stream that was translated to `target`.
    pub fn reply(&self, target: Target) {
        let all = Target::ALL.iter().zip(&self.replies);
        for (_, counter) in all.filter(|(known, _)| **known == target) {
            counter.inc();
        }
    }

    /// Creates the series of an agent of streams with several, because queries ask for them before anything happens.
    pub fn expect_agent(&self, agent: &str) {
        let name = self.name.as_str();
        for outcome in AGENT_OUTCOMES {
            self.merge_agents.with_label_values(&[name, agent, outcome]);
        }
        self.merge_first_token.with_label_values(&[name, agent]);
    }

    /// Counts an agent of a stream with several: how it has ended, and how long its first answer text took. Both names
    /// come from the configuration or from closed sets.
    pub fn agent(&self, agent: &str, outcome: &str, first_token: Option<Duration>) {
        let name = self.name.as_str();
        self.merge_agents
            .with_label_values(&[name, agent, outcome])
            .inc();
        if let Some(waited) = first_token {
            self.merge_first_token
                .with_label_values(&[name, agent])
                .observe(waited.as_secs_f64());
        }
    }

    /// Counts output tokens.
    pub fn tokens(&self, source: TokenSource, content: u64, reasoning: u64) {
        if let Some([of_content, of_reasoning]) = self.tokens.get(source as usize) {
            of_content.inc_by(content);
            of_reasoning.inc_by(reasoning);
        }
    }

    /// Counts incomplete tool calls.
    pub fn tool_faults(&self, dialect: Dialect, count: u64) {
        if let Some(counter) = self.tool_faults.get(dialect.index()) {
            counter.inc_by(count);
        }
    }

    /// Counts the events received from the upstream, and those sent to the client, by class in the order of
    /// [`Class::index`].
    pub fn events(&self, received: &[u64], sent: &[u64]) {
        add(&self.events_in, received);
        add(&self.events_out, sent);
    }

    /// Counts dropped events, by class in the order of [`Class::index`].
    pub fn dropped(&self, counts: &[u64]) {
        add(&self.dropped, counts);
    }

    /// Counts events discarded because their client left, by class in the order of [`Class::index`].
    pub fn unsent(&self, counts: &[u64]) {
        add(&self.unsent, counts);
    }

    /// Counts a cancelled upstream call; reasons outside the closed set count as `timeout`.
    pub fn cancelled(&self, reason: &str) {
        let reason = CANCELLATIONS
            .into_iter()
            .find(|known| *known == reason)
            .unwrap_or("timeout");
        self.cancellations
            .with_label_values(&[self.name.as_str(), reason])
            .inc();
    }

    /// Counts a failed upstream call; codes outside the closed set count as `upstream_error`.
    pub fn upstream_error(&self, code: &str) {
        let reason = UPSTREAM_ERRORS
            .into_iter()
            .find(|known| *known == code)
            .unwrap_or("upstream_error");
        self.upstream_errors
            .with_label_values(&[self.name.as_str(), reason])
            .inc();
    }
}

fn add(counters: &[IntCounter], counts: &[u64]) {
    for (counter, count) in counters.iter().zip(counts) {
        if *count > 0 {
            counter.inc_by(*count);
        }
    }
}

/// Counts a stream as open until it is dropped.
#[derive(Debug)]
pub struct Active(IntGauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;
    use crate::translate::Target;

    #[test]
    fn every_outcome_exists_before_it_happens() {
        let metrics = Metrics::new();
        metrics.route("chat");
        assert!(
            metrics
                .encode()
                .contains("weir_streams_total{outcome=\"truncated\",route=\"chat\"} 0")
        );
    }

    #[test]
    fn a_translated_stream_is_counted_under_its_word() {
        let metrics = Metrics::new();
        let route = metrics.route("chat");
        for target in Target::ALL {
            let series = |count: u64| {
                let word = target.as_str();
                format!("weir_replies_total{{reply=\"{word}\",route=\"chat\"}} {count}\n")
            };
            assert!(metrics.encode().contains(&series(0)), "{target:?}");
            route.reply(target);
            assert!(metrics.encode().contains(&series(1)), "{target:?}");
        }
    }
}
