//! The pump: the future that runs one stream.
//!
//! ```text
//!  upstream ──► Ingress ─────────────────────► Egress ──► client
//!               source, pipeline, meter,       encoder, outlet,
//!               upstream clocks                client clocks
//!
//!              a read overfills the queue
//!   Reading ───────────────────────────────────► Blocked{until}
//!    ▲ ▲ ▲ ◄──────── room, or the overflow rule ─────┘  │ the end is known, events before it wait
//!    │ │ │                                              ▼
//!    │ │ └── the slot came, or the client took ──  Ending(failure) ── room ──► over
//!    │ │     something
//!    │ │     Resting{until}  ◄── a read for a client that takes less than comes (`fair_read`)
//!    │ │
//!    │ └──── Yielding        ◄── 32 KiB read without a pause
//!    │
//!    └── end of input, deadline, client gone, stop ──► over
//! ```
//!
//! A stream that is over is closed by `shutdown`: it decides what the client is told, and waits until the client has it.
//! The pump is a future of its own, and not the body of the response, because a body is not polled while the client does
//! not read: its timers would stop exactly when they are needed.

mod api;
pub mod coalesce;
mod delivery;
mod egress;
mod fair_read;
mod ingress;
mod outlet;
mod shutdown;
mod state;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::end::End;
use super::pipeline::Verdict;
use super::stop::StopSignal;
use crate::queue::Offer;
pub use api::{
    Arrived, EgressParts, EgressReport, Failure, IngressParts, IngressReport, Observer, Parts,
    Progress, Reader, Report, Source,
};
use egress::Egress;
use fair_read::FairRead;
use ingress::Ingress;
pub use outlet::Outlet;
use state::State;

/// How long a full queue waits for its client before the overflow rule acts: what a network and a busy client need to
/// take a burst. Long enough to lose nothing to a burst, short against any stall.
const OVERFLOW_GRACE: Duration = Duration::from_millis(100);

/// Bytes read without a pause: then the thread's other streams have their turn. A stream whose client takes less than
/// comes pauses after every read: all it could win is what is dropped.
const SHARE_BYTES: u64 = 32 * 1024;

/// A stream's work, up to its last word, for whoever drives the client's connection or for a task.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs one stream from its first read to its end.
///
/// **How it works.** The pump owns the upstream call: when the pump is dropped or ends, the source is dropped, and that
/// cancels the call. It is itself owned by the stream's task ([`session`](crate::session)), which is polled by whoever
/// drives the client's connection. Four things wake it: the source (more bytes), the outlet (the client took something
/// or left), the stop signal, and one timer, which is armed for the earliest of all deadlines and moved only when
/// something may now come earlier. It is bounded by the outlet's queue: while events wait for room the source is not
/// read, and TCP back-pressure reaches the agent.
///
/// The fields are ordered, here and in what they hold, so that what each read looks at lies together. Among hundreds of
/// streams nothing of one is in the processor's cache when its next event comes, and each line fetched costs some
/// 0.1 us, more than all that is done with it.
#[repr(C)]
pub struct Pump {
    ingress: Ingress,
    state: State,
    wakers: Wakers,
    /// The client takes less than comes.
    fair_read: Option<FairRead>,
    /// When the timer fires.
    timer_at: Instant,
    egress: Egress,
    timer: Pin<Box<Sleep>>,
    stop: Arc<StopSignal>,
    /// When the whole stream must be over.
    total_at: Instant,
}

/// Who knows whom to wake, so that nobody is asked twice.
struct Wakers {
    /// The source was just asked in vain.
    source: bool,
    /// The timer was polled since it was last set.
    timer: bool,
    /// Who is woken by the outlet, the stop signal and the timer.
    task: Option<Waker>,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

/// What the pump woke up for.
enum Wake {
    Read(Result<Progress, Failure>),
    Outlet,
    Stop(End),
    Timer,
}

impl Pump {
    /// A pump before its first read.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            ingress,
            egress,
            lengths,
            stop,
        } = parts;
        let now = Instant::now();
        let total_at = ingress.started + lengths.total;
        let mut pump = Self {
            ingress: Ingress::new(ingress, &lengths, now),
            state: State::Reading,
            wakers: Wakers {
                source: false,
                timer: false,
                task: None,
            },
            fair_read: None,
            timer_at: total_at,
            egress: Egress::new(egress, &lengths, now),
            timer: Box::pin(sleep_until(total_at)),
            stop,
            total_at,
        };
        pump.timer_at = pump.next_timer();
        pump.timer.as_mut().reset(pump.timer_at);
        pump
    }

    /// Runs the stream to its end, tells the client how it ended, and waits until the client has it all.
    /// [`Pump::linger`] may follow.
    pub async fn run(&mut self) -> Report {
        let failure = poll_fn(|cx| self.poll_flow(cx)).await;
        self.close(failure).await
    }

    /// The first half of [`Pump::run`]: ready when the stream is over. Always to be polled in one task.
    pub fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if let State::Yielding(pause) = &mut self.state {
            ready!(pause.as_mut().poll(cx));
            self.state = State::Reading;
        }
        loop {
            let wake = ready!(self.poll_wake(cx));
            let read = matches!(wake, Wake::Read(Ok(Progress::More | Progress::Drained)));
            self.wakers.source = matches!(wake, Wake::Read(Ok(Progress::Drained)));
            // A read that brought something has looked at the clock.
            let now = if read {
                self.ingress.intake.last_read
            } else {
                Instant::now()
            };
            let mut step = match wake {
                Wake::Read(result) => self.after_read(result, now),
                Wake::Outlet => self.room(now),
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
            if read {
                self.share_thread(now);
            }
            // Lazily: the timer moves only when it fired or something may now come earlier, which a read that was pushed
            // on hardly ever brings about.
            if self.take_sooner() || !read || !self.state.is_reading() || due {
                let next = self.next_timer();
                if due || next < self.timer_at {
                    self.timer_at = next;
                    self.timer.as_mut().reset(next);
                    self.wakers.timer = false;
                    self.egress.quiet = false;
                }
            }
            let pauses =
                self.ingress.intake.share > SHARE_BYTES || (read && self.fair_read.is_some());
            if pauses && self.state.is_reading() {
                self.ingress.intake.share = 0;
                self.egress.quiet = false;
                self.wakers.source = false;
                let mut pause = Box::pin(yield_now());
                if pause.as_mut().poll(cx).is_pending() {
                    self.state = State::Yielding(pause);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        let (ingress, egress) = (&mut self.ingress, &mut self.egress);
        let quiet = std::mem::take(&mut egress.quiet);
        if self.state.is_reading()
            && !std::mem::take(&mut self.wakers.source)
            && let Some(source) = &mut ingress.source
        {
            let intake = &mut ingress.intake;
            let read = source.poll_read(cx, &mut |bytes| intake.take_in(egress, bytes));
            if let Poll::Ready(result) = read {
                return Poll::Ready(Wake::Read(result));
            }
        }
        ingress.intake.share = 0;
        let known = (self.wakers.task.as_ref()).is_some_and(|task| task.will_wake(cx.waker()));
        if quiet && known && self.wakers.timer {
            // The upstream is what woke the pump. The others have its waker, and the push would have told.
            return Poll::Pending;
        }
        if !known {
            self.wakers.task = Some(cx.waker().clone());
        }
        // A client that comes back is read for at once.
        let takes = !self.state.is_reading();
        let change = egress.outlet.poll_change(cx, &mut egress.seen, takes);
        if change.is_ready() {
            return Poll::Ready(Wake::Outlet);
        }
        if let Poll::Ready(end) = self.stop.poll(cx) {
            return Poll::Ready(Wake::Stop(end));
        }
        self.wakers.timer = true;
        self.timer.as_mut().poll(cx).map(|()| Wake::Timer)
    }

    /// What follows from a read, whose events are in the queue as far as there was room.
    fn after_read(&mut self, result: Result<Progress, Failure>, now: Instant) -> Option<Failure> {
        let ending = self.ending(result, now);
        match self.egress.take_offer() {
            Offer::Accepted => ending,
            Offer::Disconnect => Some(disconnect()),
            Offer::Full => self.wait_for_room(None, ending, now),
            Offer::Wait => self.wait_for_room(Some(now + OVERFLOW_GRACE), ending, now),
        }
    }

    /// How the stream ends with this read, if it does.
    fn ending(&mut self, result: Result<Progress, Failure>, now: Instant) -> Option<Failure> {
        let (intake, egress) = (&mut self.ingress.intake, &mut self.egress);
        if let Some(end) = intake.fault().or_else(|| intake.terminal()) {
            return Some(end.into());
        }
        if matches!(result, Ok(Progress::More | Progress::Drained)) {
            return None;
        }
        let verdict = intake.finish(egress, now);
        if verdict == Verdict::Complete
            && let Some(end) = intake.terminal()
        {
            // The dialect's own end was there; how the transport ended does not matter.
            return Some(end.into());
        }
        Some(match (result, verdict) {
            (Err(failure), _) => failure,
            (Ok(_), Verdict::Complete) => End::Finished.into(),
            (Ok(_), Verdict::Truncated) => End::Truncated.into(),
        })
    }

    /// The source is not read until the events that found no room are in the queue.
    fn wait_for_room(
        &mut self,
        until: Option<Instant>,
        ending: Option<Failure>,
        now: Instant,
    ) -> Option<Failure> {
        self.state = State::waiting(until, ending);
        self.ingress.intake.hold(now);
        None
    }

    /// The client took something, or is gone.
    fn room(&mut self, now: Instant) -> Option<Failure> {
        let status = self.egress.outlet.status();
        if status.reader_gone {
            return Some(End::ClientGone.into());
        }
        self.egress
            .note_waiting(status.waiting_since.max(status.handed_off));
        match self.state {
            State::Resting { .. } => {
                self.state = State::Reading;
                None
            }
            State::Blocked { .. } | State::Ending(_) => self.unblock(now),
            State::Reading | State::Yielding(_) => None,
        }
    }

    /// Offers the events that wait once more.
    fn unblock(&mut self, now: Instant) -> Option<Failure> {
        self.egress.retry(now);
        let ending = match std::mem::replace(&mut self.state, State::Reading) {
            State::Ending(ending) => Some(ending.failure),
            _ => None,
        };
        match self.egress.take_offer() {
            Offer::Accepted => {
                self.ingress.intake.release(now);
                ending
            }
            Offer::Disconnect => Some(disconnect()),
            Offer::Full => self.wait_for_room(None, ending, now),
            Offer::Wait => self.wait_for_room(Some(now + OVERFLOW_GRACE), ending, now),
        }
    }

    /// After a read: whether the client takes too little of what comes, so that this stream reads less often.
    fn share_thread(&mut self, now: Instant) {
        let behind = self.egress.clocks.is_behind(now, OVERFLOW_GRACE);
        if self.fair_read.is_none() && !behind {
            coalesce::note(self.ingress.intake.events);
            fair_read::note_other(now);
            return;
        }
        self.set_fair_read(behind || self.egress.outlet.overflows());
        if self.fair_read.is_some()
            && self.state.is_reading()
            && let Some(until) = FairRead::next_slot(now)
        {
            self.state = State::Resting { until };
        }
    }

    fn set_fair_read(&mut self, on: bool) {
        if on == self.fair_read.is_some() {
            return;
        }
        self.fair_read = on.then(FairRead::new);
        if let Some(source) = &mut self.ingress.source {
            source.set_low_rate(on);
        }
    }

    /// A deadline has passed, or it is time for a heartbeat, or the timer was early.
    fn tick(&mut self, now: Instant) -> Option<Failure> {
        let status = self.egress.outlet.status();
        self.egress
            .note_waiting(status.waiting_since.max(status.handed_off));
        if let Some(end) = self.expired(now) {
            let silence = matches!(
                end,
                End::FirstEventTimeout | End::IdleTimeout | End::ProgressTimeout
            );
            if silence && matches!(self.state, State::Resting { .. }) {
                // Nobody listened: the upstream may have something to say.
                self.state = State::Reading;
                return None;
            }
            // An answer that may be complete, and nothing came after it: it was.
            let possible = self.ingress.intake.possible_end().filter(|_| silence);
            let end = possible.unwrap_or(end);
            if end == End::FirstEventTimeout {
                self.ingress.report_failure();
            }
            return Some(end.into());
        }
        if self.state.until().is_some_and(|until| until <= now) {
            if self.state.waits_for_room() {
                self.egress.outlet.give_up();
                self.set_fair_read(true);
                return self.unblock(now);
            }
            self.state = State::Reading;
        }
        let beat = self.egress.next_heartbeat();
        if beat.is_some_and(|at| at <= now) && self.egress.beat(now) {
            self.ingress.intake.observer.heartbeat();
        }
        None
    }

    /// The deadline that has passed at `now`; the earliest one if several have.
    fn expired(&self, now: Instant) -> Option<End> {
        let total = (self.total_at <= now).then_some((self.total_at, End::TotalTimeout));
        let all = [
            self.ingress.intake.clocks.expired(now),
            total,
            self.egress.clocks.expired(now),
        ];
        let passed = all.into_iter().flatten();
        passed.min_by_key(|(at, _)| *at).map(|(_, end)| end)
    }

    fn next_timer(&self) -> Instant {
        let others = [
            self.ingress.intake.clocks.next(),
            self.egress.clocks.next(),
            self.egress.next_heartbeat(),
            self.state.until(),
        ];
        let others = others.into_iter().flatten();
        others.fold(self.total_at, Instant::min)
    }

    /// Reports whether a deadline of either side may have moved forward.
    const fn take_sooner(&mut self) -> bool {
        let upstream = self.ingress.intake.clocks.take_sooner();
        self.egress.clocks.take_sooner() || upstream
    }
}

/// The end that `overflow: disconnect` means.
fn disconnect() -> Failure {
    Failure {
        message: "the client reads too slowly: its queue is full (overflow: disconnect)".to_owned(),
        ..End::ClientStalled.into()
    }
}

#[cfg(test)]
mod tests;
