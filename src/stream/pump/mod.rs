//! One stream at work: upstream | reader | timer | stop -> queue.
//!
//! ```text
//!            read            full
//! Reading ---------> push ---------> Blocked --- room ---> Reading
//!    |                                  |
//!    +---- end of input, deadline, reader gone, stop ----> Ended(End)
//! ```
//!
//! The pump owns the upstream body: when the pump ends, the body is dropped and the upstream call is
//! cancelled. It is a future of its own, and not the body of the response, because a body is not polled while the
//! client does not read. Whoever drives the client's connection runs it, or a task does.

mod api;
pub mod coalesce;
mod fair_read;
mod intake;
mod shutdown;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::end::End;
use super::meter::Meter;
use super::pipeline::{Fault, Verdict};
use super::registry::StopSignal;
use crate::event::Terminal;
use crate::queue::Offer;
pub use api::{Arrived, Failure, Observer, Parts, Progress, Reader, Report, Source};
use fair_read::FairRead;
use intake::Intake;

/// How long a full queue waits for its reader before it drops: what a network and a busy client need to take
/// a burst. Long enough to lose nothing to it, short against any stall.
const OVERFLOW_GRACE: Duration = Duration::from_millis(100);

/// Bytes read without a pause: then the thread's other streams have their turn. A stream whose reader takes less than
/// comes pauses after every read: all it could win is what is dropped.
const SHARE_BYTES: u64 = 32 * 1024;

/// One stream.
///
/// In this order, here and in what it holds: what each read looks at lies together. Among hundreds of streams
/// nothing of one is in the processor's cache when its next event comes, and each line fetched costs some 0.1 us,
/// more than all that is done with it.
#[repr(C)]
pub struct Pump {
    /// `None` once the upstream call is over.
    source: Option<Box<dyn Source>>,
    /// The source has just been asked in vain, and knows whom to wake.
    drained: bool,
    /// The timer knows whom to wake since it was last set.
    armed: bool,
    /// The reader takes less than comes.
    fair_read: Option<FairRead>,
    /// Who is woken by the reader, the stop and the timer.
    task: Option<Waker>,
    /// When the timer fires.
    timer_at: Instant,
    /// Until when the upstream is not read, for the others' sake.
    resume_at: Option<Instant>,
    /// Until when the reader may come before the overflow rule acts.
    grace_until: Option<Instant>,
    intake: Intake,
    timer: Pin<Box<Sleep>>,
    /// Others have their turn.
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    heartbeat: Duration,
    /// Takes of the reader that the queue has told of.
    seen: u64,
    stop: Arc<StopSignal>,
    /// How the stream ends once the events that wait for room are in the queue.
    ending: Option<Failure>,
    held_since: Option<Instant>,
    held: Duration,
    heartbeats: u64,
    detaches: bool,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump")
            .field("pipeline", &self.intake.pipeline)
            .finish_non_exhaustive()
    }
}

/// What the pump woke up for.
enum Wake {
    Read(Result<Progress, Failure>),
    Queue,
    Stop(End),
    Timer,
}

impl Pump {
    /// A pump before its first read.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            source,
            pipeline,
            queue,
            table,
            heartbeat,
            stop,
            observer,
            reader,
            detaches,
            wants_model,
        } = parts;
        let now = Instant::now();
        let table_next = table.next();
        let intake = Intake {
            queue,
            reader,
            observer,
            blocked: Vec::new(),
            offer: Offer::Accepted,
            fault: None,
            quiet: false,
            events: 0,
            share: 0,
            last_push: now,
            last_read: now,
            table,
            pipeline,
            meter: Meter::new(wants_model),
        };
        let beat = (!heartbeat.is_zero()).then(|| now + heartbeat);
        let timer_at = beat.map_or(table_next, |beat| beat.min(table_next));
        Self {
            source: Some(source),
            drained: false,
            armed: false,
            fair_read: None,
            task: None,
            timer_at,
            resume_at: None,
            grace_until: None,
            intake,
            timer: Box::pin(sleep_until(timer_at)),
            pause: None,
            heartbeat,
            seen: 0,
            stop,
            ending: None,
            held_since: None,
            held: Duration::ZERO,
            heartbeats: 0,
            detaches,
        }
    }

    /// Runs the stream to its end, tells the client how it ended, and waits until the client has it all.
    /// [`Pump::linger`] may follow.
    pub async fn run(&mut self) -> Report {
        let failure = poll_fn(|cx| self.poll_flow(cx)).await;
        self.close(failure).await
    }

    /// The second half of [`Pump::run`].
    pub async fn close(&mut self, failure: Failure) -> Report {
        let now = Instant::now();
        // Nothing is read of it any more.
        self.fair_read = None;
        self.held += self
            .held_since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        let detached = self.detaches && failure.end == End::ClientGone && self.source.is_some();
        if failure.end != End::Finished && !detached {
            // Before anything else: this is what cancels the upstream call.
            self.source = None;
        }
        if failure.end != End::ClientGone {
            self.intake.flush(now);
        }
        let left = self.intake.queue.status().reader_gone_at;
        let failure = self.part(failure).await;
        let intake = &self.intake;
        let status = intake.queue.status();
        let mut counts = status.counts;
        for item in &intake.blocked {
            if let Some(count) = counts.unsent.get_mut(item.event.class.index()) {
                *count += 1;
            }
        }
        Report {
            end: failure.end,
            code: failure.code,
            dialect: intake.pipeline.dialect(),
            mismatched: intake.pipeline.mismatched(),
            hidden: intake.pipeline.hidden(),
            hides: intake.pipeline.hides(),
            framing: intake.pipeline.framing(),
            meter: intake.meter.clone(),
            queue: counts,
            abandoned_after: status.abandoned_after,
            held: self.held,
            heartbeats: self.heartbeats,
            cancelled_after: left.filter(|_| !detached).map(|left| left.elapsed()),
            detached,
        }
    }

    /// The first half of [`Pump::run`]: ready when the stream is over. Always to be polled in one task.
    pub fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        loop {
            let wake = ready!(self.poll_wake(cx));
            let read = matches!(wake, Wake::Read(Ok(Progress::More | Progress::Drained)));
            self.drained = matches!(wake, Wake::Read(Ok(Progress::Drained)));
            // A read that brought something has looked at the clock.
            let now = if read {
                self.intake.last_read
            } else {
                Instant::now()
            };
            let mut step = match wake {
                Wake::Read(result) => self.read(result, now),
                Wake::Queue => self.room(now),
                Wake::Stop(end) => Some(end.into()),
                Wake::Timer => None,
            };
            let due = self.timer_at <= now;
            if step.is_none() && due {
                // Whatever else there was to do: a flood must not outrun its deadlines.
                step = self.tick(now);
            }
            if let Some(failure) = step {
                return Poll::Ready(failure);
            }
            let behind = read && self.intake.table.is_behind(now, OVERFLOW_GRACE);
            if read && self.fair_read.is_none() && !behind {
                coalesce::note(self.intake.events);
                fair_read::note_other(now);
            } else if read {
                self.set_fair_read(behind || self.intake.queue.overflows());
                self.resume_at = self
                    .fair_read
                    .as_ref()
                    .and_then(|_| FairRead::next_slot(now));
            }
            // Lazily: the timer moves only when it fired or something now comes earlier, which a read that was
            // pushed on hardly ever brings about.
            if self.intake.table.take_sooner()
                || !read
                || self.grace_until.is_some()
                || self.resume_at.is_some()
                || due
            {
                let next = self.next_timer();
                if due || next < self.timer_at {
                    self.timer_at = next;
                    self.timer.as_mut().reset(next);
                    self.armed = false;
                    self.intake.quiet = false;
                }
            }
            let pauses = self.intake.share > SHARE_BYTES || (read && self.fair_read.is_some());
            if self.resume_at.is_none() && pauses {
                self.intake.share = 0;
                self.intake.quiet = false;
                self.drained = false;
                let mut pause = Box::pin(yield_now());
                if pause.as_mut().poll(cx).is_pending() {
                    self.pause = Some(pause);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let intake = &mut self.intake;
        let blocked = !intake.blocked.is_empty();
        let quiet = std::mem::take(&mut intake.quiet);
        if !blocked
            && !std::mem::take(&mut self.drained)
            && self.resume_at.is_none()
            && let Some(source) = &mut self.source
            && let Poll::Ready(result) = source.poll_read(cx, &mut |bytes| intake.take_in(bytes))
        {
            return Poll::Ready(Wake::Read(result));
        }
        intake.share = 0;
        let known = (self.task.as_ref()).is_some_and(|task| task.will_wake(cx.waker()));
        if quiet && known && self.armed {
            // The upstream is what woke the pump. The others have its waker, and the push would have told.
            return Poll::Pending;
        }
        if !known {
            self.task = Some(cx.waker().clone());
        }
        // A reader that comes back is read for at once.
        let waits = blocked || self.resume_at.is_some();
        if (intake.queue.poll_change(cx, &mut self.seen, waits)).is_ready() {
            return Poll::Ready(Wake::Queue);
        }
        if let Poll::Ready(end) = self.stop.poll(cx) {
            return Poll::Ready(Wake::Stop(end));
        }
        self.armed = true;
        self.timer.as_mut().poll(cx).map(|()| Wake::Timer)
    }

    /// What follows from a read, whose events are in the queue as far as there was room.
    fn read(&mut self, result: Result<Progress, Failure>, now: Instant) -> Option<Failure> {
        let intake = &mut self.intake;
        let is_over = intake.pipeline.terminal().is_some();
        self.ending = match (result, intake.fault) {
            (_, Some(Fault::Corrupt)) => Some(End::UpstreamError.into()),
            (_, Some(Fault::TooLarge)) => Some(End::TooLarge.into()),
            _ if is_over => None,
            (Ok(Progress::More | Progress::Drained), None) => None,
            (Ok(Progress::End), None) => match intake.finish(now) {
                Verdict::Complete if intake.pipeline.terminal().is_some() => None,
                Verdict::Complete => Some(End::Finished.into()),
                Verdict::Truncated => Some(End::Truncated.into()),
            },
            (Err(failure), None) => match intake.finish(now) {
                // The dialect's own end was there; how the transport ended does not matter.
                Verdict::Complete if intake.pipeline.terminal().is_some() => None,
                _ => Some(failure),
            },
        };
        self.pushed(now).or_else(|| self.ended())
    }

    /// How the stream ends, once every event before its end is in the queue.
    fn ended(&mut self) -> Option<Failure> {
        if !self.intake.blocked.is_empty() {
            return None;
        }
        self.ending.take().or_else(|| self.terminal())
    }

    /// The end that the upstream's own terminal event means.
    fn terminal(&self) -> Option<Failure> {
        match self.intake.pipeline.terminal()? {
            Terminal::Done | Terminal::MayEnd => Some(End::Finished.into()),
            Terminal::Error | Terminal::MayFail => Some(End::UpstreamError.into()),
        }
    }

    /// What follows from events that found no room.
    fn pushed(&mut self, now: Instant) -> Option<Failure> {
        match std::mem::replace(&mut self.intake.offer, Offer::Accepted) {
            Offer::Accepted => return None,
            Offer::Disconnect => {
                return Some(Failure {
                    message:
                        "the client reads too slowly: its queue is full (overflow: disconnect)"
                            .to_owned(),
                    ..End::ClientStalled.into()
                });
            }
            Offer::Full => {}
            Offer::Wait => self.grace_until = Some(now + OVERFLOW_GRACE),
        }
        // The upstream is not read meanwhile.
        self.held_since.get_or_insert(now);
        self.intake.table.hold();
        None
    }

    /// The reader took something, or is gone.
    fn room(&mut self, now: Instant) -> Option<Failure> {
        let status = self.intake.queue.status();
        if status.reader_gone {
            return Some(End::ClientGone.into());
        }
        self.intake
            .note_waiting(status.waiting_since.max(status.handed_off));
        self.resume_at = None;
        self.unblock(now)
    }

    /// Once more to the queue with what waits outside.
    fn unblock(&mut self, now: Instant) -> Option<Failure> {
        self.grace_until = None;
        if self.intake.blocked.is_empty() {
            return None;
        }
        self.intake.unblock(now);
        let pushed = self.pushed(now);
        if pushed.is_none() && self.intake.blocked.is_empty() {
            self.held += self
                .held_since
                .take()
                .map_or(Duration::ZERO, |since| now.duration_since(since));
            self.intake.table.release(now);
            return self.ended();
        }
        pushed
    }

    /// Whether the reader takes too little of what the upstream writes.
    fn set_fair_read(&mut self, floods: bool) {
        if floods == self.fair_read.is_some() {
            return;
        }
        self.fair_read = floods.then(FairRead::new);
        if let Some(source) = &mut self.source {
            source.set_low_rate(floods);
        }
    }

    /// A deadline has passed, or it is time for a heartbeat, or the timer was early.
    fn tick(&mut self, now: Instant) -> Option<Failure> {
        let intake = &mut self.intake;
        let status = intake.queue.status();
        intake.note_waiting(status.waiting_since.max(status.handed_off));
        if let Some(end) = intake.table.expired(now) {
            // An answer that may be complete, and nothing came after it: it was.
            let silence = matches!(
                end,
                End::FirstEventTimeout | End::IdleTimeout | End::ProgressTimeout
            );
            if silence && self.resume_at.take().is_some() {
                // Nobody listened: it may have something to say.
                return None;
            }
            let end = match intake.pipeline.may_end() {
                Some(Terminal::MayFail) if silence => End::UpstreamError,
                Some(_) if silence => End::Finished,
                _ => end,
            };
            if end == End::FirstEventTimeout
                && let Some(source) = &mut self.source
            {
                source.report_failure();
            }
            return Some(end.into());
        }
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
        }
        if self.grace_until.is_some_and(|until| until <= now) {
            intake.queue.give_up();
            self.set_fair_read(true);
            return self.unblock(now);
        }
        if self.next_heartbeat().is_some_and(|at| at <= now) {
            self.beat(now);
        }
        None
    }

    /// Silence for too long: a heartbeat, unless something waits for the client anyway.
    fn beat(&mut self, now: Instant) {
        let intake = &mut self.intake;
        intake.last_push = now;
        let bytes = intake
            .pipeline
            .dialect()
            .heartbeat(intake.pipeline.framing());
        if let Some(bytes) = bytes
            && intake.queue.heartbeat(bytes, now)
        {
            self.heartbeats += 1;
            intake.observer.heartbeat();
        }
    }

    fn next_timer(&self) -> Instant {
        let others = [self.next_heartbeat(), self.grace_until, self.resume_at];
        let deadline = self.intake.table.next();
        others.into_iter().flatten().fold(deadline, Instant::min)
    }

    fn next_heartbeat(&self) -> Option<Instant> {
        (!self.heartbeat.is_zero()).then(|| self.intake.last_push + self.heartbeat)
    }
}

#[cfg(test)]
mod tests;
