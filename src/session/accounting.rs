//! The accounting of a live stream: its counts while it runs, its metrics and its log line at its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::time::Instant;

use super::context::RequestContext;
use super::recent::{Counted, Ended};
use super::registry::LiveStream;
use crate::dialect::Dialect;
use crate::end::End;
use crate::event::Class;
use crate::log::access::{self, Line};
use crate::log::address::Address;
use crate::merge::Board;
use crate::metrics::gen_ai;
use crate::metrics::{Metrics, RouteMetrics, STALL, TraceId};
use crate::stream::meter::TokenSource;
use crate::stream::pump::{Arrived, Observer, Report};
use crate::translate::Target;

/// A read with this many events, after the silence [`BURST_SILENCE`], is a burst.
const BURST_EVENTS: usize = 8;
/// The silence before a burst: something between the agent and Weir has held the events back.
const BURST_SILENCE: Duration = Duration::from_millis(500);

/// Counts what each read returns.
pub(super) struct ReadCounts {
    /// Kept here as well as in `live`, because every read with text uses it.
    metrics: Arc<RouteMetrics>,
    live: Arc<LiveStream>,
    /// Kept here as well as in `live`, as `metrics` is.
    started: Instant,
    /// How many events came.
    events: u64,
    /// When the last text came, counted from `started`.
    text_at: Duration,
    /// The dialect that the list of live streams shows.
    dialect: Option<Dialect>,
    /// Which of the times in [`Meter::firsts`](crate::stream::meter::Meter::firsts) were counted.
    seen: [bool; 4],
}

impl ReadCounts {
    pub(super) fn new(live: Arc<LiveStream>) -> Self {
        Self {
            metrics: Arc::clone(&live.context.metrics),
            started: live.context.started,
            live,
            events: 0,
            text_at: Duration::ZERO,
            dialect: None,
            seen: [false; 4],
        }
    }

    /// Counts the times of first events that came with this read.
    fn firsts(&mut self, firsts: [Option<Instant>; 4]) {
        let (metrics, started) = (&self.metrics, self.started);
        let [_, token, reasoning, _] = firsts;
        let since = |at: Option<Instant>| at.map(|at| at.duration_since(started));
        let text = [token, reasoning].into_iter().flatten().min();
        self.live.figures.firsts(since(token), since(text));
        let histograms = [
            &metrics.first_event,
            &metrics.first_answer,
            &metrics.first_reasoning,
            &metrics.first_tool,
        ];
        for ((first, seen), histogram) in firsts.iter().zip(&mut self.seen).zip(histograms) {
            if let Some(first) = first
                && !std::mem::replace(seen, true)
            {
                histogram.observe(first.duration_since(started).as_secs_f64());
            }
        }
    }
}

impl Observer for ReadCounts {
    fn read(&mut self, arrived: Arrived<'_>) {
        let Arrived {
            meter,
            events,
            gap,
            now,
            last,
            dialect,
        } = arrived;
        if self.dialect != Some(dialect) {
            self.dialect = Some(dialect);
            self.live.speaks(dialect);
        }
        if let Some(gap) = gap {
            self.metrics.gap.observe(gap);
        }
        if events >= BURST_EVENTS && now.duration_since(last) > BURST_SILENCE {
            self.metrics.bursts.inc();
        }
        let firsts = meter.firsts();
        if firsts.map(|first| first.is_some()) != self.seen {
            self.firsts(firsts);
        }
        self.events += events as u64;
        let has_text = gap.is_some() || meter.last_token == Some(now);
        // An addition costs less than the difference of two times.
        let at = gap.map_or_else(
            || now.duration_since(self.started),
            |gap| self.text_at + gap,
        );
        if has_text {
            self.text_at = at;
        }
        let tokens = meter.output_tokens().0;
        let figures = &self.live.figures;
        figures.read(self.events, meter.bytes_in, tokens, at, has_text);
    }

    fn held(&mut self, since: Option<Instant>) {
        let since = since.map(|since| since.duration_since(self.started));
        self.live.figures.held(since);
    }

    fn heartbeat(&mut self) {
        self.metrics.heartbeats.inc();
    }
}

/// Counts a stream that has ended. If it has several agents, with a `board`, their failures are counted one by one
/// ([`agents`]). The end of a subscription is no error of the upstream.
pub(super) fn record(
    metrics: &RouteMetrics,
    report: &Report,
    started: Instant,
    board: Option<&Board>,
    subscribes: bool,
) {
    let (ingress, egress) = (&report.ingress, &report.egress);
    let duration = started.elapsed();
    metrics.outcome(report.end);
    metrics.stream_seconds.observe(duration.as_secs_f64());
    metrics.events(&ingress.meter.events, &egress.queue.taken);
    metrics.dropped(&egress.queue.dropped);
    metrics.unsent(&egress.queue.unsent);
    metrics.merged.inc_by(egress.queue.merged);
    if let Some(announced) = ingress.mismatched {
        metrics.mismatch(announced);
    }
    metrics.hidden(ingress.hidden);
    metrics.reply_lost(ingress.lost);
    if let Some(target) = ingress.reply {
        metrics.reply(target);
    }
    if let Some(visible) = report.first_visible() {
        metrics
            .first_visible
            .observe(visible.duration_since(started).as_secs_f64());
    }
    metrics.tool_faults(ingress.dialect, report.tool_faults());
    metrics.held.inc_by(ingress.held.as_secs_f64());
    if egress.abandoned_after > STALL {
        metrics
            .client_stall
            .observe(egress.abandoned_after.as_secs_f64());
    }
    if let Some(after) = ingress.cancelled_after {
        metrics.cancel_seconds.observe(after.as_secs_f64());
    }
    let (tokens, source) = report.output_tokens();
    let reasoning = match source {
        TokenSource::Estimated => ingress.meter.reasoning_deltas,
        TokenSource::Cumulative | TokenSource::Usage => {
            ingress.meter.usage().reasoning.unwrap_or(0).min(tokens)
        }
    };
    metrics.tokens(source, tokens - reasoning, reasoning);
    if let Some(speed) = ingress.meter.tokens_per_second() {
        metrics.speed.observe(speed);
        metrics.per_token.observe(speed.recip());
    }
    match report.end {
        End::Finished => {}
        End::UpstreamError if board.is_some() => {}
        // A more precise code says that the call has failed before the stream began.
        End::Truncated | End::UpstreamError | End::UpstreamReset
            if subscribes && report.code == report.end.as_str() => {}
        End::Truncated | End::UpstreamError | End::UpstreamReset => {
            metrics.upstream_error(report.code);
        }
        end @ (End::FirstEventTimeout | End::IdleTimeout | End::ProgressTimeout) => {
            metrics.upstream_error(end.as_str());
            metrics.cancelled("timeout");
        }
        _ if ingress.detached => {}
        end => metrics.cancelled(end.as_str()),
    }
}

/// Records the metrics of OpenTelemetry's GenAI conventions for a stream that has ended, if they are exported. Streams
/// that are none of the operations of these conventions have none. `asked_model` is the model that the request asks
/// for.
pub(super) fn gen_ai(
    metrics: &Metrics,
    live: &LiveStream,
    report: &Report,
    asked_model: Option<&str>,
) {
    let Some(gen_ai) = metrics.gen_ai() else {
        return;
    };
    let context = &*live.context;
    let meter = &report.ingress.meter;
    let words = report.ingress.dialect.gen_ai();
    let Some(operation) = words.operation.map(|operation| operation(&context.path)) else {
        return;
    };
    let first = [meter.first_token, meter.first_reasoning];
    let first = first.into_iter().flatten().min();
    let (tokens, source) = report.output_tokens();
    gen_ai.record(&gen_ai::Ended {
        operation,
        provider: words.provider,
        request_model: asked_model,
        response_model: meter.model.as_deref(),
        error: (report.end.is_trouble()).then_some(report.end.as_str()),
        duration: context.started.elapsed(),
        first_token: first.map(|at| at.duration_since(context.started)),
        per_token: meter.tokens_per_second().map(f64::recip),
        input_tokens: meter.usage().input,
        // An estimate is no count.
        output_tokens: (source != TokenSource::Estimated).then_some(tokens),
    });
}

/// Keeps a stream that has ended as an exemplar, if its trace is recorded. `firsts`: when its first answer, reasoning
/// and tool event came. `has_span`: Weir records it.
pub(crate) fn exemplar(
    metrics: &Metrics,
    live: &LiveStream,
    firsts: [Option<Instant>; 3],
    has_span: bool,
) {
    let context = &*live.context;
    let identity = &context.identity;
    // A trace that begins here says that it is sampled, until Weir decides that it is not.
    let is_others = identity.is_sampled() && !(identity.is_own && metrics.samples_traces());
    if !has_span && !is_others {
        return;
    }
    if let Some(trace) = TraceId::parse(identity.trace_id()) {
        let after = |at: Instant| at.duration_since(context.started);
        let firsts = firsts.map(|first| first.map(after));
        let duration = context.started.elapsed();
        context.metrics.keep_exemplar(trace, duration, firsts);
    }
}

/// Counts what has become of each of several agents, in a stream that has ended like this.
pub(super) fn agents(live: &LiveStream, board: &Board, end: End) {
    let context = &*live.context;
    for reason in board.failures() {
        context.metrics.upstream_error(reason);
    }
    for (name, outcome, first_token) in board.fates(end.as_str()) {
        let waited = first_token.map(|at| at.duration_since(context.started));
        context.metrics.agent(name, outcome, waited);
    }
}

/// Returns what is remembered of a stream that ends now, without its figures.
pub(crate) fn ended(live: &LiveStream, end: End, code: &'static str, status: StatusCode) -> Ended {
    Ended {
        id: Some(live.id),
        dialect: live.dialect().as_str(),
        reply: live.reply().map(Target::as_str),
        outcome: Some(end),
        ..rejected(&live.context, code, status)
    }
}

/// Returns what is remembered of a request that failed before it became a stream.
pub(crate) fn rejected(context: &RequestContext, code: &'static str, status: StatusCode) -> Ended {
    Ended {
        number: 0,
        id: None,
        request_id: context.identity.request_id.clone(),
        route: Arc::clone(&context.route.name),
        client: context.client,
        method: context.method.clone(),
        path: Arc::clone(&context.path),
        dialect: Dialect::Opaque.as_str(),
        reply: None,
        outcome: None,
        code,
        status,
        at: SystemTime::now(),
        duration: context.started.elapsed(),
        figures: Counted::default(),
    }
}

/// Returns what is remembered of a stream whose end was reported.
pub(super) fn ended_with_figures(live: &LiveStream, report: &Report, status: StatusCode) -> Ended {
    let (meter, queue) = (&report.ingress.meter, &report.egress.queue);
    let started = live.context.started;
    Ended {
        dialect: report.ingress.dialect.as_str(),
        figures: Counted {
            ttft: meter.first_token.map(|at| at.duration_since(started)),
            tokens_per_second: meter.tokens_per_second(),
            tokens: report.output_tokens().0,
            events: live.figures.known().events,
            bytes_in: meter.bytes_in,
            bytes_out: queue.taken_bytes,
            dropped: queue.dropped.iter().sum(),
        },
        ..ended(live, report.end, report.code, status)
    }
}

/// Writes the log line of a stream that has ended: all its figures, but none of its content.
pub(super) fn log(live: &LiveStream, report: &Report, board: Option<&Board>, status: StatusCode) {
    if !access::wants(Line::of(report.end)) {
        return;
    }
    let context = &*live.context;
    let (ingress, egress) = (&report.ingress, &report.egress);
    let since_start = |at: Option<Instant>| at.map(|at| millis(at.duration_since(context.started)));
    let meter = &ingress.meter;
    let (tokens, source) = report.output_tokens();
    let agents = board.map(|board| board.line(report.end.as_str(), context.started));
    let pings = meter
        .events
        .get(Class::Heartbeat.index())
        .copied()
        .unwrap_or(0);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: access::TARGET,
                stream_id = %live.id,
                request_id = context.identity.request_id.to_str().unwrap_or_default(),
                upstream_request_id = context.identity.upstream_id(),
                trace_id = context.identity.trace_id(),
                route = %context.route.name,
                client = context.client.map(Address).map(tracing::field::display),
                method = %context.method,
                path = &*context.path,
                outcome = report.end.as_str(),
                code = report.code,
                dialect = ingress.dialect.as_str(),
                announced = ingress.mismatched.map(Dialect::as_str),
                tool_faults = report.tool_faults(),
                framing = ingress.framing.as_str(),
                reply = ingress.reply.map(Target::as_str),
                agents = agents.as_deref(),
                status = status.as_u16(),
                ttfe_ms = since_start(meter.first_event),
                ttft_ms = since_start(meter.first_token),
                duration_ms = millis(context.started.elapsed()),
                tokens,
                tokens_source = source.as_str(),
                tokens_per_s = meter.tokens_per_second().map(rounded),
                events_in = meter.events.iter().sum::<u64>() - pings,
                events_out = egress.queue.taken.iter().sum::<u64>(),
                bytes_in = meter.bytes_in,
                bytes_out = egress.queue.taken_bytes,
                dropped = egress.queue.dropped.iter().sum::<u64>(),
                unsent = egress.queue.unsent.iter().sum::<u64>(),
                merged = egress.queue.merged,
                hidden = ingress.hidden.characters.iter().sum::<u64>(),
                max_queue = egress.queue.max_bytes,
                held_ms = millis(ingress.held),
                heartbeats = egress.heartbeats,
                "stream ended"
            )
        };
    }
    if report.end.is_trouble() {
        line!(warn);
    } else {
        line!(info);
    }
}

/// Counts and logs a stream that was dropped before its end, so that most of its figures are lost.
pub(super) fn cut_short(live: &LiveStream, end: End, status: StatusCode) {
    let context = &*live.context;
    context.metrics.outcome(end);
    context.metrics.cancelled(end.as_str());
    if !access::wants(Line::of(end)) {
        return;
    }
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: access::TARGET,
                stream_id = %live.id,
                request_id = context.identity.request_id.to_str().unwrap_or_default(),
                upstream_request_id = context.identity.upstream_id(),
                trace_id = context.identity.trace_id(),
                route = %context.route.name,
                client = context.client.map(Address).map(tracing::field::display),
                method = %context.method,
                path = &*context.path,
                outcome = end.as_str(),
                code = end.as_str(),
                dialect = live.dialect().as_str(),
                status = status.as_u16(),
                duration_ms = millis(context.started.elapsed()),
                "stream ended"
            )
        };
    }
    if end == End::Panic {
        line!(error);
    } else {
        line!(info);
    }
}

/// Returns milliseconds, rounded to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0)
}

/// Rounds to three decimals, because further ones carry no information.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
