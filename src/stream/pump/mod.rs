//! The pump: the future that runs one stream.
//!
//! ```text
//!  upstream ──► Ingress ─────────────────────► Egress ──► client
//!               source, pipeline, meter,       encoder, outlet,
//!               upstream clocks                client clocks
//!
//!   Reading ─┬─ a read overfills the queue, or ────► Blocked ─── room, or the overflow rule ──► Reading
//!            │  its event will
//!            ├─ the same, and it ends the stream ──► Ending ──── room, or the overflow rule ──► over
//!            ├─ a read for a slow client ──────────► Resting ─── its slot, or a take ─────────► Reading
//!            ├─ a turn's work is done ─────────────► Yielding ── other tasks have run ────────► the state before
//!            └─ the end of the input ─────────────────────────────────────────────────────────► over
//!   Blocked, Ending ─ a turn's work is done ───────► Yielding ── other tasks have run ────────► the state before
//!   any state ─────── a deadline, a client that left, a stop ─────────────────────────────────► over
//! ```
//!
//! When a stream is over, `shutdown` closes it: it decides what the client is told, and waits until the client has
//! received it. The pump is a future of its own, not the body of the response, because a body is not polled while the
//! client does not read: its timers would stop exactly when they are needed.

mod api;
pub mod coalesce;
mod decide_end;
mod delivery;
mod egress;
mod fair_read;
mod ingress;
mod large;
mod outlet;
mod pause;
mod shutdown;
mod state;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::stop::StopSignal;
use crate::end::End;
use crate::queue::{LARGE_BYTES, Offer};
pub use api::{
    Arrived, EgressParts, EgressReport, Failure, IngressParts, IngressReport, Make, Observer,
    Parts, Progress, Reader, Report, Source, Take,
};
use egress::Egress;
use fair_read::FairRead;
use ingress::Ingress;
pub use outlet::Outlet;
use pause::{Pause, TURN_WORK};
use state::State;

/// How long a full queue waits for its client before the overflow rule applies. A network and a busy client need some
/// time to take a burst: this is long enough to drop nothing in a burst, and short compared with any stall.
const OVERFLOW_GRACE: Duration = Duration::from_millis(100);

/// The future that runs a stream to its end. It is polled by the task of the client's connection, or by its own task.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs one stream from its first read to its end.
///
/// **How it works.** The pump owns the upstream call: when the pump is dropped or ends, the source is dropped, and that
/// cancels the call. The stream's task ([`session`](crate::session)) owns the pump, and is polled by the task that
/// serves the client's connection or runs as a task of its own. Four things wake the pump: the source (more bytes), the
/// outlet (the client took something or left), the stop signal, and one timer, which is set to the earliest of all
/// deadlines and reset only when a deadline may have moved forward. The outlet's queue bounds the pump: while events
/// wait for room, the source is not read, and TCP back-pressure reaches the agent.
///
/// The fields are ordered, here and in the types they contain, so that the data every read uses lies together. With
/// hundreds of streams, none of a stream's data is in the processor's cache when its next event arrives, and loading
/// one cache line costs about 0.1 us, more than all the work done with it.
#[repr(C)]
pub struct Pump {
    state: State,
    wakers: Wakers,
    /// Set while the client cannot keep up with its upstream.
    fair_read: Option<FairRead>,
    /// The time that the timer is set to.
    timer_at: Instant,
    egress: Egress,
    ingress: Ingress,
    timer: Pin<Box<Sleep>>,
    stop: Arc<StopSignal>,
    /// When the stream as a whole must be over.
    total_at: Instant,
}

/// Which wakers are registered, so that nothing is polled a second time for no reason.
struct Wakers {
    /// The last read drained the source, which has registered the waker.
    source: bool,
    /// The timer has been polled since it was last reset.
    timer: bool,
    /// The task that the outlet, the stop signal and the timer wake.
    task: Option<Waker>,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").finish_non_exhaustive()
    }
}

/// Why the pump woke up.
enum Wake {
    Read(Result<Progress, Failure>),
    Outlet,
    Stop(End),
    Timer,
}

impl Pump {
    /// Creates a pump that has not read anything yet.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            ingress,
            egress,
            lengths,
            stop,
        } = parts;
        let now = Instant::now();
        let total_at = ingress.started + lengths.total;
        let ingress = Ingress::new(ingress, &lengths, now);
        let egress = Egress::new(egress, &lengths, now);
        let timer_at = [ingress.intake.clocks.next(), egress.next_heartbeat()]
            .into_iter()
            .flatten()
            .fold(total_at, Instant::min);
        Self {
            state: State::Reading,
            wakers: Wakers {
                source: false,
                timer: false,
                task: None,
            },
            fair_read: None,
            timer_at,
            egress,
            ingress,
            timer: Box::pin(sleep_until(timer_at)),
            stop,
            total_at,
        }
    }

    /// Runs the stream to its end, tells the client how it ended, and waits until the client has received everything.
    /// [`Pump::linger`] may follow.
    pub async fn run(&mut self) -> Report {
        let failure = poll_fn(|cx| self.poll_flow(cx)).await;
        self.close(failure).await
    }

    /// Runs the first half of [`Pump::run`], and is ready when the stream is over. Must always be polled in the same
    /// task.
    pub fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if let State::Yielding { pause, then } = &mut self.state {
            ready!(Pin::new(pause).poll(cx));
            self.state = then.take().map_or(State::Reading, |then| *then);
        }
        loop {
            let wake = ready!(self.poll_wake(cx));
            let read = matches!(wake, Wake::Read(Ok(Progress::More | Progress::Drained)));
            self.wakers.source = matches!(wake, Wake::Read(Ok(Progress::Drained)));
            if self.wakers.source {
                // The source has no more before the thread has asked its sockets again, which is a pause.
                self.ingress.intake.share = 0;
            }
            // A read that returned bytes has read the clock.
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
                // Deadlines apply however much else there is to do: a flood of events must not delay them.
                step = self.tick(now);
            }
            if let Some(failure) = step {
                return Poll::Ready(failure);
            }
            if read {
                self.share_thread(now);
            }
            // The timer is reset lazily: only when it has fired, or when a deadline may have moved forward. A read
            // whose events were all accepted hardly ever moves one forward.
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
                self.ingress.intake.share >= TURN_WORK || (read && self.fair_read.is_some());
            if pauses && !matches!(self.state, State::Resting { .. }) {
                self.ingress.intake.share = 0;
                self.egress.quiet = false;
                self.wakers.source = false;
                let mut pause = Pause::default();
                if Pin::new(&mut pause).poll(cx).is_pending() {
                    let then = std::mem::replace(&mut self.state, State::Reading);
                    let then = (!then.is_reading()).then(|| Box::new(then));
                    self.state = State::Yielding { pause, then };
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
            if intake.merges {
                let read = source.poll_events(cx, &mut |bytes, make| {
                    intake.take_events(egress, bytes, make);
                });
                if let Poll::Ready(result) = read {
                    return Poll::Ready(Wake::Read(result));
                }
                intake.share = 0;
            } else if intake.has_large() {
                if intake.poll_large(cx, egress).is_ready() {
                    return Poll::Ready(Wake::Read(Ok(Progress::More)));
                }
            } else if intake.is_paused() {
                intake.take_in(egress, &[]);
                return Poll::Ready(Wake::Read(Ok(Progress::More)));
            }
            while !intake.has_large() && !intake.merges {
                match source.poll_read(cx, &mut |bytes| intake.take_in(egress, bytes)) {
                    Poll::Ready(Ok(Progress::Begins(coding))) => intake.set_coding(coding),
                    // The source waits until all of this is taken in.
                    Poll::Ready(Ok(Progress::Drained)) if intake.is_paused() => {
                        return Poll::Ready(Wake::Read(Ok(Progress::More)));
                    }
                    Poll::Ready(result) => return Poll::Ready(Wake::Read(result)),
                    Poll::Pending => {
                        intake.share = 0;
                        break;
                    }
                }
            }
        }
        let known = (self.wakers.task.as_ref()).is_some_and(|task| task.will_wake(cx.waker()));
        if quiet && known && self.wakers.timer {
            // The upstream woke the pump. The others have its waker, and the push would have reported a change.
            return Poll::Pending;
        }
        if !known {
            self.wakers.task = Some(cx.waker().clone());
        }
        // While the source is not read, a take by the client must wake the pump.
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

    /// Decides what follows a read. Its events are in the queue, as far as there was room.
    fn after_read(&mut self, result: Result<Progress, Failure>, now: Instant) -> Option<Failure> {
        let ending = self.end_of_input(result, now);
        match self.foreseen(ending.is_none()) {
            Offer::Accepted => ending,
            Offer::Disconnect => Some(disconnect()),
            Offer::Full => self.wait_for_room(None, ending, now),
            Offer::Wait => self.wait_for_room(Some(now + OVERFLOW_GRACE), ending, now),
        }
    }

    /// Returns how the queue received the last events. If it has accepted them and the stream `goes_on`, returns how it
    /// will receive a large event that is coming in: the rest of that is not read before there is room, so that a
    /// stream holds no more large events than necessary.
    fn foreseen(&mut self, goes_on: bool) -> Offer {
        let pending = self.ingress.intake.pending();
        match self.egress.take_offer() {
            Offer::Accepted if goes_on && pending > LARGE_BYTES => {
                self.egress.outlet.foresee(pending)
            }
            offer => offer,
        }
    }

    /// Stops reading the source until the events that did not fit are in the queue (back-pressure).
    fn wait_for_room(
        &mut self,
        until: Option<Instant>,
        ending: Option<Failure>,
        now: Instant,
    ) -> Option<Failure> {
        self.state = State::waiting(until, ending);
        self.ingress.hold(now);
        None
    }

    /// Reacts to a client that took something or left.
    fn room(&mut self, now: Instant) -> Option<Failure> {
        let status = self.egress.outlet.status();
        if let Some(end) = self.egress.outlet.gone(&status, now) {
            return Some(end.into());
        }
        self.egress.note_status(&status);
        match self.state {
            State::Resting { .. } => {
                self.state = State::Reading;
                None
            }
            State::Blocked { .. } | State::Ending(_) => self.unblock(now),
            State::Reading | State::Yielding { .. } => None,
        }
    }

    /// Offers the waiting events to the queue again.
    fn unblock(&mut self, now: Instant) -> Option<Failure> {
        self.egress.retry(now);
        let ending = match std::mem::replace(&mut self.state, State::Reading) {
            State::Ending(ending) => Some(ending.failure),
            _ => None,
        };
        match self.foreseen(ending.is_none()) {
            Offer::Accepted => {
                self.ingress.release(now);
                ending
            }
            Offer::Disconnect => Some(disconnect()),
            Offer::Full => self.wait_for_room(None, ending, now),
            Offer::Wait => self.wait_for_room(Some(now + OVERFLOW_GRACE), ending, now),
        }
    }

    /// Decides after a read whether the client falls behind, so that this stream must read less often.
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

    /// Reacts to a timer that fired: a deadline has passed, a heartbeat is due, or the timer was early.
    fn tick(&mut self, now: Instant) -> Option<Failure> {
        let status = self.egress.outlet.status();
        self.egress.note_status(&status);
        if let Some(failure) = self.end_by_deadline(now) {
            return Some(failure);
        }
        if let Some(end) = self.egress.outlet.gone(&status, now) {
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
        if self.egress.next_heartbeat().is_some_and(|at| at <= now) {
            self.beat(now);
        }
        None
    }

    /// Shows the client that its stream lives: in words, if it is to be told, or by a heartbeat.
    fn beat(&mut self, now: Instant) {
        let (intake, egress) = (&mut self.ingress.intake, &mut self.egress);
        let told = self.state.is_reading()
            && egress.outlet.status().events == 0
            && intake.tell_waiting(egress, now);
        if told {
            egress.last_push = now;
            egress.heartbeats += 1;
        }
        if told || egress.beat(now) {
            intake.observer.heartbeat();
        }
    }

    fn next_timer(&self) -> Instant {
        let others = [
            self.ingress.intake.clocks.next(),
            self.egress.clocks.next(),
            self.egress.next_heartbeat(),
            self.egress.outlet.gives_up_at(),
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

/// Returns how a stream ends under `overflow: disconnect`.
fn disconnect() -> Failure {
    Failure {
        message: "the client reads too slowly: its queue is full (overflow: disconnect)".to_owned(),
        ..End::ClientStalled.into()
    }
}

#[cfg(test)]
mod tests;
