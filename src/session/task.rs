//! The task of a live stream: runs its pump to the end, accounts for the stream, and contains a panic.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use super::accounting;
use super::asked_model::AskedModel;
use super::detached::Detachable;
use super::records;
use super::registry::Registration;
use crate::end::End;
use crate::merge::Board;
use crate::metrics::{Active, Metrics};
use crate::outbox::Outbox;
use crate::stream::pump::{Failure, Pump, Running};
use crate::tasks::{self, Failing};
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
    info: Option<Box<StreamInfo>>,
}

/// What a stream is reported with at its end, and the guards that count it while it is live.
pub(super) struct StreamInfo {
    registration: Registration,
    /// Lets the upstream call continue when the client leaves.
    detaches: Option<Box<Detachable>>,
    /// Counts the stream in the metrics.
    _active: Active,
    status: StatusCode,
    /// The head waits for the end, and its status tells a failure.
    late_head: bool,
    span: Option<Span>,
    /// The model that the request asks for, if metrics name it.
    asked_model: Option<AskedModel>,
    metrics: Arc<Metrics>,
    /// Where the record of the stream goes; `None` if there is none.
    outbox: Option<Arc<Outbox>>,
    /// What becomes of each of several agents.
    board: Option<Arc<Board>>,
    /// The stream is a subscription.
    subscribes: bool,
    /// The end has been reported.
    is_reported: bool,
}

impl StreamInfo {
    pub(super) fn new(
        registration: Registration,
        detaches: Option<Detachable>,
        active: Active,
        status: StatusCode,
        span: Option<Span>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            registration,
            detaches: detaches.map(Box::new),
            _active: active,
            status,
            late_head: false,
            span,
            asked_model: None,
            metrics,
            outbox: None,
            board: None,
            subscribes: false,
            is_reported: false,
        }
    }

    /// Sends a record of the stream to this outbox at its end.
    pub(super) fn recorded_in(mut self, outbox: Option<Arc<Outbox>>) -> Self {
        self.outbox = outbox;
        self
    }
}

impl StreamInfo {
    /// Names the model that the request asks for.
    pub(super) fn asking_for(mut self, model: Option<AskedModel>) -> Self {
        self.asked_model = model;
        self
    }

    /// Notes that the stream is a subscription.
    pub(super) const fn subscribing(mut self, subscribes: bool) -> Self {
        self.subscribes = subscribes;
        self
    }

    /// Reports what becomes of each of several agents.
    pub(super) fn of_agents(mut self, board: Option<Arc<Board>>) -> Self {
        self.board = board;
        self
    }

    /// Notes that the head waits for the end of the stream.
    pub(super) const fn with_late_head(mut self, late_head: bool) -> Self {
        self.late_head = late_head;
        self
    }

    /// Returns the status that the client gets if the stream ends like this.
    fn status(&self, end: End) -> StatusCode {
        let failed = end.status().filter(|_| self.late_head);
        failed.unwrap_or(self.status)
    }
}

impl Drop for StreamInfo {
    /// Reports a stream that is dropped before its end: by a panic, or because the process does not wait for it any
    /// longer.
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        let live = &self.registration.live;
        let end = if tasks::is_failing() {
            self.metrics.panics.inc();
            End::Panic
        } else {
            live.stop.asked().unwrap_or(End::ClientGone)
        };
        live.ended(end);
        let status = self.status(end);
        let ended = accounting::ended(live, end, end.as_str(), status);
        self.registration.remember(ended);
        accounting::cut_short(live, end, status);
        if let Some(board) = &self.board {
            accounting::agents(live, board, end);
        }
        if let Some(span) = &mut self.span {
            span.cut(end);
        }
    }
}

impl StreamTask {
    pub(super) fn new(pump: Pump, info: StreamInfo) -> Self {
        Self {
            pump: Some(pump),
            end: None,
            info: Some(Box::new(info)),
        }
    }

    fn poll_to_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pump) = &mut self.pump {
            tasks::rehearse_defect(|| "stream".to_owned());
            let failure = ready!(pump.poll_flow(cx));
            if let (Some(pump), Some(info)) = (self.pump.take(), self.info.take()) {
                self.end = Some(Box::pin(end(pump, failure, info)));
            }
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Future for StreamTask {
    type Output = ();

    /// A panic ends the stream here, so that its connection can still send what came before, and a second one, while
    /// the first is cleared up, cannot end the process.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        tasks::contained(|| this.poll_to_end(cx)).unwrap_or_else(|_| {
            let _failing = Failing::begin();
            (this.pump, this.end, this.info) = (None, None, None);
            Poll::Ready(())
        })
    }
}

/// Closes a stream and accounts for it.
async fn end(mut pump: Pump, failure: Failure, mut info: Box<StreamInfo>) {
    info.registration.live.ended(failure.end);
    let detaches = info.detaches.take();
    let detached = detaches
        .filter(|_| failure.end == End::ClientGone)
        .and_then(|detaches| detaches.detach());
    if detached.is_none() {
        pump.end_with_client();
    }
    let mut report = pump.close(failure).await;
    let live = &info.registration.live;
    if report.end == End::Panic {
        info.metrics.panics.inc();
    }
    let board = info.board.as_deref();
    let (route, started) = (&*live.context.metrics, live.context.started);
    accounting::record(route, &report, started, board, info.subscribes);
    let asked_model = info.asked_model.take();
    let asked_model = asked_model.and_then(|asked| asked.name(&live.context.path));
    accounting::gen_ai(&info.metrics, live, &report, asked_model.as_deref());
    let [_, firsts @ ..] = report.ingress.meter.firsts();
    accounting::exemplar(&info.metrics, live, firsts, info.span.is_some());
    let status = info.status(report.end);
    if let Some(board) = &info.board {
        accounting::agents(live, board, report.end);
    }
    let ended = accounting::ended_with_figures(live, &report, status);
    info.registration.remember(ended);
    accounting::log(live, &report, info.board.as_deref(), status);
    if let Some(span) = info.span.take() {
        span.stream(&report, live.id.to_string(), status);
    }
    info.is_reported = true;
    if let Some(outbox) = info.outbox.take() {
        records::send(&outbox, live, &mut report);
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
    use crate::capacity::Share;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::dialect::{Choice, Members};
    use crate::encode::Encoder;
    use crate::queue::{self, Close, Limits, Next, Overflow};
    use crate::session::RequestContext;
    use crate::session::registry::Registry;
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
        let registry = Arc::<Registry>::default();
        let mut task = StreamTask::new(pump, info(&registry, &metrics));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut task).poll(&mut cx).is_ready());
        assert!(
            Pin::new(&mut task).poll(&mut cx).is_ready(),
            "nobody goes on"
        );
        assert_eq!(metrics.panics.get(), 1);
        assert!(registry.is_empty());
        let counted = metrics.encode();
        assert!(
            counted.contains("weir_streams_total{outcome=\"panic\",route=\"r\"} 1"),
            "{counted}"
        );
        let next = receiver.poll_next(&mut cx, usize::MAX, &mut Vec::new());
        assert!(matches!(next, Poll::Ready(Next::End(Close::Abort))));
    }

    fn info(registry: &Arc<Registry>, metrics: &Arc<Metrics>) -> StreamInfo {
        let context = RequestContext::example(metrics);
        let registration = registry.register(&context, 1, &Share::default()).unwrap();
        let active = context.metrics.stream_active(Framing::Sse);
        StreamInfo::new(
            registration,
            None,
            active,
            StatusCode::OK,
            None,
            Arc::clone(metrics),
        )
    }

    #[test]
    fn a_stream_that_is_dropped_is_reported_with_the_true_reason() {
        let outcome = |ended: &dyn Fn(StreamInfo)| {
            let (registry, metrics) = (Arc::<Registry>::default(), Arc::new(Metrics::new()));
            ended(info(&registry, &metrics));
            assert!(registry.is_empty());
            let text = metrics.encode();
            let counted = |end: &End| {
                text.contains(&format!(
                    "weir_streams_total{{outcome=\"{}\",route=\"r\"}} 1",
                    end.as_str()
                ))
            };
            let ends: Vec<End> = End::ALL.into_iter().filter(counted).collect();
            (ends, metrics.panics.get())
        };
        let drained = outcome(&|info| info.registration.live.stop(End::Drained));
        assert_eq!(drained, (vec![End::Drained], 0));
        let failed = outcome(&|info| {
            let _failing = Failing::begin();
            drop(info);
        });
        assert_eq!(failed, (vec![End::Panic], 1));
        let reported = outcome(&|mut info| info.is_reported = true);
        assert_eq!(reported, (vec![], 0));
    }

    #[test]
    fn a_quiet_stream_holds_little() {
        // The allocator gives out 1,280 bytes, and then 1,536.
        assert!(
            size_of::<StreamInfo>() <= 128,
            "{}",
            size_of::<StreamInfo>()
        );
        assert!(
            size_of::<StreamTask>() <= 1280,
            "{}",
            size_of::<StreamTask>()
        );
    }
}
