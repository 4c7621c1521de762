//! The task of one viewer of a stream that several clients may follow: its heartbeats, its deadlines, its catching up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::accounting::millis;
use super::context::RequestContext;
use super::registry::LiveStream;
use crate::dialect::ErrorContext;
use crate::end::End;
use crate::hub::{Hub, Step};
use crate::log::access::{self, Line};
use crate::metrics::Viewing;
use crate::queue::Close;
use crate::stream::pump::Reader;
use crate::tasks;
use crate::traces::SharedSpan;

/// How long a client may take to read why its stream was ended, before its connection is given up.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a viewer's task is made of.
pub(super) struct ViewerParts {
    /// The stream that it follows.
    pub(super) live: Arc<LiveStream>,
    pub(super) hub: Arc<Hub>,
    /// The number of the viewer among the viewers of the stream.
    pub(super) number: u32,
    /// The viewer's connection.
    pub(super) reader: Arc<dyn Reader>,
    /// The viewer's own request, if it has come back with one. The first viewer's request is the stream's.
    pub(super) returned: Option<Returned>,
    /// How long nothing is sent before a heartbeat is; zero turns heartbeats off.
    pub(super) heartbeat: Duration,
    pub(super) stall: Duration,
    /// When it must be over.
    pub(super) total_at: Instant,
}

/// A request by which a client has come back.
#[derive(Clone, Debug)]
pub struct Returned {
    /// The request.
    pub context: Arc<RequestContext>,
    /// The position that it continues from.
    pub after: u64,
    /// The span of the request.
    pub span: SharedSpan,
}

/// The future of one viewer. It ends when its client has left.
pub(super) struct ViewerTask {
    parts: ViewerParts,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    /// The viewer's stream was ended for this reason; at this time its connection is given up.
    ending: Option<(End, Instant)>,
    is_over: bool,
    _viewing: Viewing,
}

impl ViewerTask {
    pub(super) fn new(parts: ViewerParts) -> Self {
        let now = Instant::now();
        let viewing = parts.live.context.metrics.resume.viewer();
        Self {
            parts,
            timer: Box::pin(sleep_until(now)),
            timer_at: now,
            ending: None,
            is_over: false,
            _viewing: viewing,
        }
    }

    fn poll_to_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over {
            return Poll::Ready(());
        }
        loop {
            let now = Instant::now();
            let parts = &self.parts;
            let next = match parts.hub.poll_viewer(parts.number, cx, now) {
                Step::Gone(end) => {
                    let end = self.ending.map_or(end, |(end, _)| end);
                    self.leave(end);
                    return Poll::Ready(());
                }
                Step::Follows {
                    waits_since,
                    pushed_at,
                    ends,
                } => match self.ending {
                    Some((end, at)) if at <= now => {
                        parts.hub.abort_viewer(parts.number);
                        parts.reader.give_up();
                        self.leave(end);
                        return Poll::Ready(());
                    }
                    Some((_, at)) => at,
                    None => match self.check(waits_since, pushed_at, ends, now) {
                        Ok(next) => next,
                        Err(end) => {
                            self.end(end, now);
                            continue;
                        }
                    },
                },
            };
            if next != self.timer_at {
                self.timer_at = next;
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Returns when to look again, or why the viewer's stream ends.
    fn check(
        &self,
        waits_since: [Option<Instant>; 2],
        pushed_at: Instant,
        ends: Option<End>,
        now: Instant,
    ) -> Result<Instant, End> {
        let parts = &self.parts;
        let [in_queue, anywhere] = waits_since;
        let since = if parts.reader.may_hold() {
            anywhere
        } else {
            in_queue
        };
        // `None` is less than any time; of two times, the later one counts.
        let waiting = since.max(parts.reader.last_progress());
        // What begins to wait after this check is noticed at the next one, which is early enough.
        let stalled_at = waiting.unwrap_or(now) + parts.stall;
        if let Some(end) = ends {
            return Err(end);
        }
        if waiting.is_some() && stalled_at <= now {
            return Err(End::ClientStalled);
        }
        if parts.total_at <= now {
            return Err(End::TotalTimeout);
        }
        let next = stalled_at.min(parts.total_at);
        if parts.heartbeat.is_zero() {
            return Ok(next);
        }
        let mut beats_at = pushed_at + parts.heartbeat;
        if beats_at <= now {
            if parts.hub.heartbeat(parts.number, now) {
                parts.live.context.metrics.heartbeats.inc();
            }
            beats_at = now + parts.heartbeat;
        }
        Ok(next.min(beats_at))
    }

    /// Ends the viewer's stream, although the stream itself may go on.
    fn end(&mut self, end: End, now: Instant) {
        let parts = &self.parts;
        let encoder = parts.hub.encoder();
        let last = encoder.failure(&ErrorContext::default(), end.as_str(), end.message());
        let how = if last.is_some() {
            Close::Clean
        } else {
            Close::Abort
        };
        let last = last.as_ref().map(String::as_bytes);
        parts.hub.end_viewer(parts.number, how, last, now);
        self.ending = Some((end, now + LAST_WORD));
    }

    fn leave(&mut self, end: End) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let parts = &self.parts;
        let (replayed, is_complete) = parts.hub.leave(parts.number, end);
        let end = if is_complete && end == End::ClientGone {
            // It left because there was nothing more.
            parts.live.outcome().unwrap_or(End::Finished)
        } else {
            end
        };
        parts.live.remove_viewer(parts.number);
        let metrics = &parts.live.context.metrics;
        if let Some(returned) = &parts.returned {
            metrics.resume.replayed_events.inc_by(replayed);
            log(&self.parts, returned, end, replayed);
            if let Some(span) = returned.span.take() {
                span.followed(end, parts.live.id.to_string());
            }
        }
    }
}

impl Future for ViewerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        tasks::contained(|| this.poll_to_end(cx)).unwrap_or_else(|_| {
            this.leave(End::Panic);
            Poll::Ready(())
        })
    }
}

impl Drop for ViewerTask {
    fn drop(&mut self) {
        self.leave(End::ClientGone);
    }
}

/// Writes the log line of a viewer that had come back.
fn log(parts: &ViewerParts, returned: &Returned, end: End, replayed: u64) {
    if !access::wants(Line::of(end)) {
        return;
    }
    let context = &*returned.context;
    tracing::info!(
        target: access::TARGET,
        stream_id = %parts.live.id,
        request_id = context.identity.request_id.to_str().unwrap_or_default(),
        trace_id = context.identity.trace_id(),
        route = %context.route.name,
        client = context.client.map(tracing::field::display),
        method = %context.method,
        path = &*context.path,
        viewer = parts.number,
        resumed_from = returned.after,
        replayed,
        outcome = end.as_str(),
        duration_ms = millis(context.started.elapsed()),
        "viewer left"
    );
}

/// A stream and its first viewer, in the task of that viewer's connection.
pub(super) struct WithViewer<T> {
    stream: Option<T>,
    viewer: Option<ViewerTask>,
    /// The stream, if other processes may ask something of it.
    asked: Option<(Arc<LiveStream>, Arc<Hub>)>,
    woken: Option<(Arc<Woken>, Waker)>,
}

/// Notes that the viewer has something to do: most wake-ups of the task are for the stream alone.
struct Woken {
    is_set: AtomicBool,
    task: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<T> WithViewer<T> {
    pub(super) const fn new(stream: T, viewer: ViewerTask) -> Self {
        Self {
            stream: Some(stream),
            viewer: Some(viewer),
            asked: None,
            woken: None,
        }
    }

    /// Does what other processes ask of the stream.
    pub(super) fn asked(mut self, live: &Arc<LiveStream>, hub: &Arc<Hub>) -> Self {
        self.asked = Some((Arc::clone(live), Arc::clone(hub)));
        self
    }

    /// Polls all but the stream, if one of them was woken.
    fn poll_others(&mut self, cx: &Context<'_>) {
        let known = (self.woken.as_ref()).filter(|(woken, _)| woken.task.will_wake(cx.waker()));
        match known {
            Some((woken, _)) if !woken.is_set.swap(false, Ordering::Acquire) => return,
            Some(_) => {}
            None => {
                let woken = Arc::new(Woken {
                    is_set: AtomicBool::new(false),
                    task: cx.waker().clone(),
                });
                self.woken = Some((Arc::clone(&woken), woken.into()));
            }
        }
        let Some((_, waker)) = &self.woken else {
            return;
        };
        let mut cx = Context::from_waker(waker);
        if let Some((live, hub)) = &self.asked
            && let Poll::Ready(end) = hub.poll_control(&mut cx)
        {
            live.stop(end);
        }
        if let Some(viewer) = &mut self.viewer
            && Pin::new(viewer).poll(&mut cx).is_ready()
        {
            self.viewer = None;
        }
    }
}

impl<T: Future<Output = ()> + Unpin> Future for WithViewer<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(stream) = &mut this.stream
            && Pin::new(stream).poll(cx).is_ready()
        {
            this.stream = None;
        }
        this.poll_others(cx);
        if this.stream.is_none() && this.viewer.is_none() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
