//! The metric families with a route label: name, help, unit and labels of each.

use prometheus::{CounterVec, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::buckets;
use super::busy::BusyHistogramVec;
use super::register::{busy_histograms, counters, histograms, register};
use super::resume::ResumeFamilies;
use super::websocket::WebSocketFamilies;

/// The metric families with a route label.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) requests: IntCounterVec,
    pub(super) request_seconds: HistogramVec,
    pub(super) streams_active: IntGaugeVec,
    pub(super) streams: IntCounterVec,
    pub(super) stream_seconds: HistogramVec,
    pub(super) headers_seconds: HistogramVec,
    pub(super) first_event: HistogramVec,
    pub(super) first_token: HistogramVec,
    pub(super) gap: BusyHistogramVec,
    pub(super) per_token: HistogramVec,
    pub(super) speed: HistogramVec,
    pub(super) tokens: IntCounterVec,
    pub(super) added: BusyHistogramVec,
    pub(super) events: IntCounterVec,
    pub(super) dropped: IntCounterVec,
    pub(super) merged: IntCounterVec,
    pub(super) held: CounterVec,
    pub(super) heartbeats: IntCounterVec,
    pub(super) client_stall: HistogramVec,
    pub(super) connect_seconds: HistogramVec,
    pub(super) cancel_seconds: HistogramVec,
    pub(super) bursts: IntCounterVec,
    pub(super) repeats: IntCounterVec,
    pub(super) cancellations: IntCounterVec,
    pub(super) upstream_errors: IntCounterVec,
    pub(super) coding_unknown: IntCounterVec,
    pub(super) mismatches: IntCounterVec,
    pub(super) hidden_spans: IntCounterVec,
    pub(super) hidden_characters: IntCounterVec,
    pub(super) reply_lost: IntCounterVec,
    pub(super) replies: IntCounterVec,
    pub(super) first_visible: HistogramVec,
    pub(super) tool_faults: IntCounterVec,
    pub(super) merge_agents: IntCounterVec,
    pub(super) merge_first_token: HistogramVec,
    pub(super) resume: ResumeFamilies,
    pub(super) websocket: WebSocketFamilies,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Self {
        let count = |name, help, labels| counters(registry, name, help, labels);
        let time = |name, help, labels, edges| histograms(registry, name, help, labels, edges);
        let busy = |name, help, edges| busy_histograms(registry, name, help, &["route"], edges);
        Self {
            requests: count(
                "weir_requests_total",
                "Requests answered.",
                &["route", "kind", "code"],
            ),
            request_seconds: time(
                "weir_request_duration_seconds",
                "Plain requests, head read to body sent.",
                &["route"],
                buckets::REQUEST,
            ),
            streams_active: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("weir_streams_active", "Open client streams."),
                    &["route", "transport"],
                ),
            ),
            streams: count(
                "weir_streams_total",
                "Finished streams by the one reason they ended.",
                &["route", "outcome"],
            ),
            stream_seconds: time(
                "weir_stream_duration_seconds",
                "Whole streams, request head read to end.",
                &["route"],
                buckets::STREAM,
            ),
            headers_seconds: time(
                "weir_upstream_headers_seconds",
                "Request sent, upload included, to response head.",
                &["route"],
                buckets::FIRST,
            ),
            first_event: time(
                "weir_time_to_first_event_seconds",
                "Request head read to first event.",
                &["route"],
                buckets::FIRST,
            ),
            first_token: time(
                "weir_time_to_first_token_seconds",
                "Request head read to first non-empty content of a kind.",
                &["route", "kind"],
                buckets::FIRST,
            ),
            gap: busy(
                "weir_inter_token_seconds",
                "Gap between texts as they arrive from the upstream.",
                buckets::GAP,
            ),
            per_token: time(
                "weir_time_per_output_token_seconds",
                "Per stream: first to last text, per token after the first.",
                &["route"],
                buckets::GAP,
            ),
            speed: time(
                "weir_stream_output_tokens_per_second",
                "Per stream: tokens after the first per second.",
                &["route"],
                buckets::SPEED,
            ),
            tokens: count(
                "weir_output_tokens_total",
                "Output tokens; estimated counts deltas.",
                &["route", "type", "source"],
            ),
            added: busy(
                "weir_added_latency_seconds",
                "Event read from the upstream to handed to the client's connection; one observation per write, of its oldest event.",
                buckets::ADDED,
            ),
            events: count(
                "weir_events_total",
                "Events received from upstreams (in) and handed to clients (out).",
                &["route", "direction", "class"],
            ),
            dropped: count(
                "weir_events_dropped_total",
                "Events a slow client did not get.",
                &["route", "class", "reason"],
            ),
            merged: count(
                "weir_events_merged_total",
                "Events joined to their neighbour for a slow client.",
                &["route"],
            ),
            held: register(
                registry,
                CounterVec::new(
                    Opts::new(
                        "weir_queue_wait_seconds_total",
                        "Time the upstream was not read because a queue was full.",
                    ),
                    &["route"],
                ),
            ),
            heartbeats: count(
                "weir_heartbeats_total",
                "Heartbeats sent to clients.",
                &["route"],
            ),
            client_stall: time(
                "weir_client_stall_seconds",
                "Spells of more than 0.1 s in which a client took nothing although something waited.",
                &["route"],
                buckets::STALL,
            ),
            connect_seconds: time(
                "weir_upstream_connect_seconds",
                "New upstream connections: name, TCP and TLS.",
                &["route"],
                buckets::CONNECT,
            ),
            cancel_seconds: time(
                "weir_upstream_cancel_seconds",
                "A client's leaving to the end of its upstream call.",
                &["route"],
                buckets::CANCEL,
            ),
            bursts: count(
                "weir_upstream_bursts_total",
                "Reads of 8 events or more after 0.5 s of silence: something before Weir buffers.",
                &["route"],
            ),
            repeats: count(
                "weir_upstream_repeats_total",
                "Safe requests answered only when sent again, because a reused connection was closed.",
                &["route"],
            ),
            cancellations: count(
                "weir_upstream_cancellations_total",
                "Upstream calls broken off.",
                &["route", "reason"],
            ),
            upstream_errors: count(
                "weir_upstream_errors_total",
                "Calls that failed at the upstream.",
                &["route", "reason"],
            ),
            coding_unknown: count(
                "weir_encoding_passthrough_total",
                "Streams passed on in a content coding Weir cannot undo.",
                &["route"],
            ),
            hidden_spans: count(
                "weir_leaks_hidden_total",
                "Spans of text, and runs of events, that clients did not get.",
                &["route", "kind"],
            ),
            hidden_characters: count(
                "weir_leak_characters_hidden_total",
                "Characters that clients did not get.",
                &["route", "kind"],
            ),
            reply_lost: count(
                "weir_reply_lost_total",
                "What a client was not told, because its dialect has no words for it.",
                &["route", "kind"],
            ),
            replies: count(
                "weir_replies_total",
                "Finished streams that were translated, by the dialect that their clients got.",
                &["route", "reply"],
            ),
            first_visible: time(
                "weir_time_to_visible_token_seconds",
                "Request head read to the first answer text that the client may see.",
                &["route"],
                buckets::FIRST,
            ),
            mismatches: count(
                "weir_dialect_mismatches_total",
                "Streams that did not speak the dialect announced by route, request or answer.",
                &["route", "dialect"],
            ),
            tool_faults: count(
                "weir_tool_calls_incomplete_total",
                "Tool calls whose streamed arguments are no whole JSON value, or that do not end.",
                &["route", "dialect"],
            ),
            merge_agents: count(
                "weir_merge_agents_total",
                "Agents of streams with several, by the reason for which each ended.",
                &["route", "agent", "outcome"],
            ),
            merge_first_token: time(
                "weir_merge_ttft_seconds",
                "Request head read to the first answer text of each agent of streams with several.",
                &["route", "agent"],
                buckets::FIRST,
            ),
            resume: ResumeFamilies::new(registry),
            websocket: WebSocketFamilies::new(registry),
        }
    }
}
