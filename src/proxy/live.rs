//! A live stream: its queue, its pump, and their work up to its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::time::Instant;

use super::account::{self, Counts};
use super::call::Call;
use crate::app::App;
use crate::dialect::Dialect;
use crate::metrics::{Active, Metrics};
use crate::queue::{self, Receiver};
use crate::reply::stream::Running;
use crate::stream::deadline::{Lengths, Table};
use crate::stream::end::End;
use crate::stream::pipeline::{Pipeline, Settings};
use crate::stream::pump::{Failure, Parts, Pump, Reader, Source};
use crate::stream::registry::Registration;
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// What is known when a stream starts.
pub(super) struct Start {
    pub(super) framing: Framing,
    pub(super) coding: Coding,
    pub(super) source: Box<dyn Source>,
    /// When the upstream had the request.
    pub(super) sent: Instant,
    /// The dialect, as far as it can be told before the first event.
    pub(super) spoken: Option<Dialect>,
}

/// A live stream: what the client reads from, and the pump that fills it, for the body to run.
pub(super) fn start(
    app: &Arc<App>,
    call: Call,
    start: Start,
    entered: Registration,
    status: StatusCode,
) -> (Receiver, Running) {
    let Start {
        framing,
        coding,
        source,
        sent,
        spoken,
    } = start;
    let policy = &call.route.policy;
    let settings = Settings {
        framing,
        coding,
        choice: policy.dialect,
        hint: spoken,
        members: call.members(),
        max_event_bytes: policy.max_event_bytes,
        hide: Arc::clone(&policy.hide),
    };
    let deadlines = &policy.deadlines;
    let lengths = Lengths {
        first_event: deadlines.first_event,
        idle: deadlines.idle,
        progress: deadlines.progress,
        total: deadlines.total,
        client_stall: deadlines.client_stall,
    };
    let notices = framing == Framing::Sse && spoken.is_none_or(Dialect::tolerates_comments);
    let (sender, receiver) = queue::queue(policy.queue, notices);
    // Fails only if it was set before.
    let _ = entered.live.queue.set(sender.probe());
    let live = &entered.live;
    let reader = Arc::clone(&call.conn) as Arc<dyn Reader>;
    let _ = live.reader.set(Arc::clone(&reader));
    let observer = Counts::new(Arc::clone(&call.metrics), Arc::clone(live), call.started);
    let pump = Pump::new(Parts {
        source,
        pipeline: Pipeline::new(&settings),
        queue: sender,
        table: Table::new(lengths, sent),
        heartbeat: policy.heartbeat,
        stop: Arc::clone(&entered.live.stop),
        observer: Box::new(observer),
        reader,
        detaches: call.detaches,
        wants_model: call.span.is_some(),
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
    entered: Registration,
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
            (self.0.pump, self.0.end, self.0.about) = (None, None, None);
        }
    }
}

/// Ends a stream, and tells of it.
async fn end(mut pump: Pump, failure: Failure, mut about: Box<About>) {
    let report = pump.close(failure).await;
    account::record(&about.call.metrics, &report, about.call.started);
    account::log(&about.call, &about.entered.live, &report, about.status);
    if let Some(span) = about.call.span.take() {
        span.stream(&report, about.entered.live.id, about.status);
    }
    if report.detached {
        pump.run_detached().await;
    }
    drop(about);
    if report.end == End::Finished {
        pump.linger().await;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::dialect::{Choice, Members};
    use crate::queue::{Close, Limits, Next, Overflow};
    use crate::stream::pump::{Arrived, Observer, Progress};
    use crate::stream::registry::StopSignal;

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

    #[derive(Debug)]
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
            members: Members::default(),
            max_event_bytes: 1024,
            hide: Arc::default(),
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
            stop: Arc::<StopSignal>::default(),
            observer: Box::new(Deaf),
            reader: Arc::new(Deaf),
            detaches: false,
            wants_model: false,
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
