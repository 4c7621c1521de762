//! Starts a live stream: its queue, its pump, and the one line that says how it ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::call::Call;
use crate::app::App;
use crate::dialect::{Choice, Dialect};
use crate::event::Class;
use crate::metrics::{Active, Metrics, RouteMetrics};
use crate::queue::{self, Receiver};
use crate::reply::stream::{Running, STALL};
use crate::stream::deadline::{Lengths, Table};
use crate::stream::end::End;
use crate::stream::pipeline::{Pipeline, Settings};
use crate::stream::pump::{Arrived, Failure, Observer, Parts, Pump, Reader, Report, Source};
use crate::stream::registry::{Entered, Live};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// What is known when a stream starts.
pub(super) struct Start {
    pub(super) framing: Framing,
    pub(super) coding: Coding,
    pub(super) source: Box<dyn Source>,
    /// When the upstream had the request.
    pub(super) sent: Instant,
}

/// A live stream: what the client reads from, and the pump that fills it, for the body to run.
pub(super) fn start(
    app: &Arc<App>,
    call: Call,
    start: Start,
    entered: Entered,
    status: StatusCode,
) -> (Receiver, Running) {
    let Start {
        framing,
        coding,
        source,
        sent,
    } = start;
    let policy = &call.route.policy;
    let settings = Settings {
        framing,
        coding,
        choice: policy.dialect,
        hint: call.hint,
        max_event_bytes: policy.max_event_bytes,
    };
    let deadlines = &policy.deadlines;
    let lengths = Lengths {
        first_event: deadlines.first_event,
        idle: deadlines.idle,
        progress: deadlines.progress,
        total: deadlines.total,
        client_stall: deadlines.client_stall,
    };
    let spoken = match policy.dialect {
        Choice::Auto => call.hint,
        Choice::Fixed(dialect) => Some(dialect),
    };
    let notices = framing == Framing::Sse && spoken.is_none_or(Dialect::tolerates_comments);
    let (sender, receiver) = queue::queue(policy.queue, notices);
    // Fails only if it was set before.
    let _ = entered.live.queue.set(sender.probe());
    let observer = Counts {
        metrics: Arc::clone(&call.metrics),
        live: Arc::clone(&entered.live),
        started: call.started,
        dialect: None,
        seen: [false; 4],
    };
    let pump = Pump::new(Parts {
        source,
        pipeline: Pipeline::new(&settings),
        queue: sender,
        table: Table::new(lengths, sent),
        heartbeat: policy.heartbeat,
        stop: Arc::clone(&entered.live.stop),
        observer: Box::new(observer),
        reader: Arc::clone(&call.link) as Arc<dyn Reader>,
    });
    let active = call.metrics.stream_active(framing);
    let work = Work {
        pump: Some(pump),
        end: None,
        metrics: Arc::clone(&app.metrics),
        about: Some(Box::new(About {
            entered,
            _active: active,
            call,
            status,
        })),
    };
    (receiver, Box::pin(work))
}

/// A live stream at work, up to its last word.
///
/// Written out, not an `async` block: each read passes here, and should find the pump without a detour.
#[repr(C)]
struct Work {
    /// `None` once the stream is over.
    pump: Option<Pump>,
    end: Option<Running>,
    metrics: Arc<Metrics>,
    about: Option<Box<About>>,
}

/// What is to be told of a stream, and counts it while it lives.
struct About {
    entered: Entered,
    _active: Active,
    call: Call,
    status: StatusCode,
}

impl Future for Work {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let careful = Careful(&mut self);
        let this = &mut *careful.0;
        if let Some(pump) = &mut this.pump {
            let failure = ready!(pump.poll_flow(cx));
            if let (Some(pump), Some(about)) = (this.pump.take(), this.about.take()) {
                this.end = Some(Box::pin(end(pump, failure, about)));
            }
        }
        match &mut this.end {
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// Counts a panic of the work, which is over then: nobody may go on with what it left.
struct Careful<'a>(&'a mut Work);

impl Drop for Careful<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panics.inc();
            (self.0.pump, self.0.end) = (None, None);
        }
    }
}

/// Ends a stream, and tells of it.
async fn end(mut pump: Pump, failure: Failure, about: Box<About>) {
    let report = pump.close(failure).await;
    record(&about.call.metrics, &report, about.call.started.elapsed());
    log(&about.call, &about.entered.live, &report, about.status);
    drop(about);
    if report.end == End::Finished {
        pump.linger().await;
    }
}

/// So many events in one read ...
const BURST_EVENTS: usize = 8;
/// ... after so long a silence were held back by something on the way.
const BURST_SILENCE: Duration = Duration::from_millis(500);

/// Counts what a read brought, as it comes.
struct Counts {
    metrics: Arc<RouteMetrics>,
    live: Arc<Live>,
    started: Instant,
    /// Told to whoever looks at the stream.
    dialect: Option<Dialect>,
    /// Which first moments were counted.
    seen: [bool; 4],
}

impl Counts {
    /// Counts the first moments that came with this read.
    fn firsts(&mut self, firsts: [Option<Instant>; 4]) {
        let metrics = &self.metrics;
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
                histogram.observe(first.duration_since(self.started).as_secs_f64());
            }
        }
    }
}

impl Observer for Counts {
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
            self.metrics.gap.observe(gap.as_secs_f64());
        }
        if events >= BURST_EVENTS && now.duration_since(last) > BURST_SILENCE {
            self.metrics.bursts.inc();
        }
        let firsts = meter.firsts();
        if firsts.map(|first| first.is_some()) != self.seen {
            self.firsts(firsts);
        }
    }

    fn heartbeat(&mut self) {
        self.metrics.heartbeats.inc();
    }
}

fn record(metrics: &RouteMetrics, report: &Report, duration: Duration) {
    metrics.outcome(report.end);
    metrics.stream_seconds.observe(duration.as_secs_f64());
    metrics.events(&report.meter.events, &report.queue.taken);
    metrics.dropped(&report.queue.dropped);
    metrics.unsent(&report.queue.unsent);
    metrics.merged.inc_by(report.queue.merged);
    metrics.held.inc_by(report.held.as_secs_f64());
    if report.unmet > STALL {
        metrics.client_stall.observe(report.unmet.as_secs_f64());
    }
    if let Some(after) = report.cancelled_after {
        metrics.cancel_seconds.observe(after.as_secs_f64());
    }
    let (tokens, stated) = report.meter.output_tokens();
    let reasoning = report.meter.usage.reasoning.unwrap_or(0).min(tokens);
    if stated {
        metrics.tokens_usage.inc_by(tokens - reasoning);
        metrics.reasoning_usage.inc_by(reasoning);
    } else {
        metrics.tokens_estimated.inc_by(tokens);
    }
    if let Some(speed) = report.meter.tokens_per_second() {
        metrics.speed.observe(speed);
        metrics.per_token.observe(speed.recip());
    }
    match report.end {
        End::Finished => {}
        End::Truncated | End::UpstreamError | End::UpstreamReset => {
            metrics.upstream_error(report.code);
        }
        end @ (End::FirstEventTimeout | End::IdleTimeout | End::ProgressTimeout) => {
            metrics.upstream_error(end.as_str());
            metrics.cancelled("timeout");
        }
        end => metrics.cancelled(end.as_str()),
    }
}

/// One line for each finished stream: everything about it, nothing of what was said.
fn log(call: &Call, live: &Live, report: &Report, status: StatusCode) {
    let since_start = |at: Option<Instant>| at.map(|at| millis(at.duration_since(live.started)));
    let meter = &report.meter;
    let (tokens, stated) = meter.output_tokens();
    let pings = meter
        .events
        .get(Class::Heartbeat.index())
        .copied()
        .unwrap_or(0);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                stream_id = %live.id,
                request_id = live.request_id,
                trace_id = call.identity.trace_id(),
                route = %live.route,
                client = call.client.map(tracing::field::display),
                method = %call.method,
                path = &*call.path,
                outcome = report.end.as_str(),
                code = report.code,
                dialect = report.dialect.as_str(),
                framing = report.framing.as_str(),
                status = status.as_u16(),
                ttfe_ms = since_start(meter.first_event),
                ttft_ms = since_start(meter.first_token),
                duration_ms = millis(live.started.elapsed()),
                tokens,
                tokens_source = if stated { "usage" } else { "estimated" },
                tokens_per_s = meter.tokens_per_second().map(rounded),
                events_in = meter.events.iter().sum::<u64>() - pings,
                events_out = report.queue.taken.iter().sum::<u64>(),
                bytes_in = meter.bytes_in,
                bytes_out = report.queue.taken_bytes,
                dropped = report.queue.dropped.iter().sum::<u64>(),
                unsent = report.queue.unsent.iter().sum::<u64>(),
                merged = report.queue.merged,
                max_queue = report.queue.max_bytes,
                held_ms = millis(report.held),
                heartbeats = report.heartbeats,
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

/// Milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1000.0)
}

/// Three decimals: what follows is noise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    use super::*;
    use crate::queue::{Close, Limits, Next, Overflow};
    use crate::stream::pump::Progress;
    use crate::stream::registry::Stop;

    /// An upstream that shows a mistake of ours.
    struct Mistake;

    impl Source for Mistake {
        fn poll_read(
            &mut self,
            _: &mut Context<'_>,
            _: &mut dyn FnMut(&[u8]),
        ) -> Poll<Result<Progress, Failure>> {
            panic!("a mistake")
        }
    }

    struct Deaf;

    impl Observer for Deaf {
        fn read(&mut self, _: Arrived<'_>) {}
        fn heartbeat(&mut self) {}
    }

    impl Reader for Deaf {
        fn last_progress(&self) -> Option<Instant> {
            None
        }
    }

    #[tokio::test]
    async fn a_panic_ends_the_stream_and_is_counted_once() {
        let second = Duration::from_secs(1);
        let settings = Settings {
            framing: Framing::Sse,
            coding: Coding::Identity,
            choice: Choice::Auto,
            hint: None,
            max_event_bytes: 1024,
        };
        let lengths = Lengths {
            first_event: second,
            idle: second,
            progress: second,
            total: second,
            client_stall: second,
        };
        let limits = Limits {
            max_events: 8,
            max_bytes: 1024,
            merge: false,
            overflow: Overflow::Block,
        };
        let (sender, mut receiver) = queue::queue(limits, true);
        let pump = Pump::new(Parts {
            source: Box::new(Mistake),
            pipeline: Pipeline::new(&settings),
            queue: sender,
            table: Table::new(lengths, Instant::now()),
            heartbeat: Duration::ZERO,
            stop: Arc::<Stop>::default(),
            observer: Box::new(Deaf),
            reader: Arc::new(Deaf),
        });
        let metrics = Arc::new(Metrics::new());
        let mut work = Work {
            pump: Some(pump),
            end: None,
            metrics: Arc::clone(&metrics),
            about: None,
        };
        let mut cx = Context::from_waker(Waker::noop());
        let first = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(&mut cx)));
        assert!(first.is_err());
        assert!(
            Pin::new(&mut work).poll(&mut cx).is_ready(),
            "nobody goes on"
        );
        assert_eq!(metrics.panics.get(), 1);
        let next = receiver.poll_next(&mut cx, usize::MAX, &mut Vec::new());
        assert!(matches!(next, Poll::Ready(Next::End(Close::Abort))));
    }
}
