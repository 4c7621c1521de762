//! The task of a live stream: runs its pump to the end, accounts for the stream, and contains a panic.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::accounting;
use super::detached::Detachable;
use super::registry::Registration;
use crate::metrics::{Active, Metrics};
use crate::stream::end::End;
use crate::stream::pump::{Failure, Pump, Running};
use crate::traces::Span;

/// The future that runs a live stream to its end.
///
/// It is written out rather than an `async` block, because each read polls it, and the path to the pump must be short.
#[repr(C)]
pub(super) struct StreamTask {
    /// The pump; `None` once the stream is over.
    pump: Option<Pump>,
    /// What is left to do when the stream is over.
    end: Option<Running>,
    metrics: Arc<Metrics>,
    info: Option<Box<StreamInfo>>,
}

/// What a stream is reported with at its end, and the guards that count it while it is live.
pub(super) struct StreamInfo {
    pub(super) registration: Registration,
    /// Lets the upstream call continue when the client leaves.
    pub(super) detaches: Option<Detachable>,
    /// Counts the stream in the metrics.
    pub(super) _active: Active,
    pub(super) status: StatusCode,
    pub(super) span: Option<Span>,
}

impl StreamTask {
    pub(super) fn new(pump: Pump, info: StreamInfo, metrics: Arc<Metrics>) -> Self {
        Self {
            pump: Some(pump),
            end: None,
            metrics,
            info: Some(Box::new(info)),
        }
    }
}

impl Future for StreamTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let guard = PanicGuard(&mut self);
        let this = &mut *guard.0;
        if let Some(pump) = &mut this.pump {
            let failure = ready!(pump.poll_flow(cx));
            if let (Some(pump), Some(info)) = (this.pump.take(), this.info.take()) {
                this.end = Some(Box::pin(end(pump, failure, info)));
            }
        }
        match &mut this.end {
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// Counts a panic of the task and ends it, because its state must not be used after a panic.
struct PanicGuard<'a>(&'a mut StreamTask);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panics.inc();
            (self.0.pump, self.0.end, self.0.info) = (None, None, None);
        }
    }
}

/// Closes a stream and accounts for it.
async fn end(mut pump: Pump, failure: Failure, mut info: Box<StreamInfo>) {
    let detaches = info.detaches.take();
    let detached = detaches
        .filter(|_| failure.end == End::ClientGone)
        .and_then(Detachable::detach);
    if detached.is_none() {
        pump.end_with_client();
    }
    let report = pump.close(failure).await;
    let live = &info.registration.live;
    accounting::record(&live.context.metrics, &report, live.context.started);
    accounting::log(live, &report, info.status);
    if let Some(span) = info.span.take() {
        span.stream(&report, live.id.to_string(), info.status);
    }
    if report.ingress.detached {
        live.detach();
        pump.run_detached().await;
    }
    drop((info, detached));
    if report.end == End::Finished {
        pump.linger().await;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::dialect::{Choice, Members};
    use crate::encode::Encoder;
    use crate::queue::{self, Close, Limits, Next, Overflow};
    use crate::stream::deadline::Lengths;
    use crate::stream::pipeline::{Pipeline, Settings};
    use crate::stream::pump::{
        Arrived, EgressParts, IngressParts, Observer, Outlet, Parts, Progress, Reader, Source,
    };
    use crate::stream::stop::StopSignal;
    use crate::wire::Framing;
    use crate::wire::encoding::Coding;

    /// An upstream that panics, as a bug in Weir would.
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
            after_end: second,
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
        let encoder = Encoder::identity(None, Framing::Sse);
        let (sender, mut receiver) = queue::queue(limits, encoder);
        let pump = Pump::new(Parts {
            ingress: IngressParts {
                source: Box::new(Mistake),
                pipeline: Pipeline::new(&settings),
                started: Instant::now(),
                observer: Box::new(Deaf),
                detaches: false,
                wants_model: false,
            },
            egress: EgressParts {
                encoder,
                outlet: Outlet::Direct(sender),
                reader: Arc::new(Deaf),
                heartbeat: Duration::ZERO,
            },
            lengths,
            stop: Arc::<StopSignal>::default(),
        });
        let metrics = Arc::new(Metrics::new());
        let mut task = StreamTask {
            pump: Some(pump),
            end: None,
            metrics: Arc::clone(&metrics),
            info: None,
        };
        let mut cx = Context::from_waker(Waker::noop());
        let first = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut task).poll(&mut cx)));
        assert!(first.is_err());
        assert!(
            Pin::new(&mut task).poll(&mut cx).is_ready(),
            "nobody goes on"
        );
        assert_eq!(metrics.panics.get(), 1);
        let next = receiver.poll_next(&mut cx, usize::MAX, &mut Vec::new());
        assert!(matches!(next, Poll::Ready(Next::End(Close::Abort))));
    }
}
