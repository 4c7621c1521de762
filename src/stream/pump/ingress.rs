//! The upstream's side of a stream: source, pipeline, meter, and the clocks that run while the upstream is silent.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::api::{Arrived, IngressParts, IngressReport, Make, Observer, Source};
use super::delivery::Delivered;
use super::egress::Egress;
use super::large::{self, Reading};
use super::pause::{self, TURN_WORK};
use crate::dialect::ErrorContext;
use crate::end::End;
use crate::event::Terminal;
use crate::length::Length;
use crate::stream::deadline::{Lengths, UpstreamClocks};
use crate::stream::meter::Meter;
use crate::stream::pipeline::{Fault, InputEnd, Pipeline, Verdict};
use crate::translate::Translator;
use crate::wire::encoding::Coding;

/// The upstream's side of a stream.
#[repr(C)]
pub(super) struct Ingress {
    /// `None` once the upstream call is over. Dropping it cancels the call.
    pub(super) source: Option<Box<dyn Source>>,
    pub(super) intake: Intake,
}

/// Everything that a read changes while the source lends its bytes, apart from the source itself.
#[repr(C)]
pub(super) struct Intake {
    /// Why the bytes read are not a valid stream.
    fault: Option<Fault>,
    /// The source stands for several upstreams, and makes the events itself.
    pub(super) merges: bool,
    /// The upstream call continues when the client leaves.
    pub(super) detaches: bool,
    /// How many events the last read returned.
    pub(super) events: usize,
    /// What was done since the last pause, as a number of bytes read. To wait for the client is no pause: a fast one
    /// takes at once what it is sent.
    pub(super) share: usize,
    pub(super) last_read: Instant,
    pub(super) observer: Box<dyn Observer>,
    pub(super) clocks: UpstreamClocks,
    pipeline: Pipeline,
    meter: Meter,
    /// A large event that another thread reads.
    large: Option<Reading>,
    /// Since when the upstream is not read, because the queue is full.
    held_since: Option<Instant>,
    held: Length,
}

impl Ingress {
    pub(super) fn new(parts: IngressParts, lengths: &Lengths, now: Instant) -> Self {
        let IngressParts {
            source,
            pipeline,
            started,
            observer,
            detaches,
            wants_model,
        } = parts;
        Self {
            intake: Intake {
                merges: source.is_merged(),
                detaches,
                fault: None,
                events: 0,
                share: 0,
                last_read: now,
                clocks: UpstreamClocks::new(lengths, started),
                observer,
                pipeline,
                meter: Meter::new(wants_model),
                large: None,
                held_since: None,
                held: Length::ZERO,
            },
            source: Some(source),
        }
    }

    /// Records that the upstream is no longer read, because the queue is full.
    pub(super) fn hold(&mut self, now: Instant) {
        self.intake.hold(now);
        self.hold_merged(true, now);
    }

    /// Records that the upstream is read again.
    pub(super) fn release(&mut self, now: Instant) {
        self.intake.release(now);
        self.hold_merged(false, now);
    }

    fn hold_merged(&mut self, held: bool, now: Instant) {
        if self.intake.merges
            && let Some(source) = &mut self.source
        {
            source.hold(held, now);
        }
    }

    /// Ends the calls of several upstreams, because the stream ends like this.
    pub(super) fn end_merged(&mut self, end: End, egress: &mut Egress) {
        let intake = &mut self.intake;
        if intake.merges
            && let Some(source) = &mut self.source
        {
            source.end_events(end, &mut |bytes, make| {
                intake.take_events(egress, bytes, make);
            });
        }
    }

    /// Reports to the load balancing that the upstream sent nothing useful in time.
    pub(super) fn report_failure(&mut self) {
        if let Some(source) = &mut self.source {
            source.report_failure();
        }
    }
}

impl Intake {
    /// Takes in the bytes of one read. They are only lent: what must be kept is copied.
    pub(super) fn take_in(&mut self, egress: &mut Egress, bytes: &[u8]) {
        if self.fault.is_some() || egress.is_disconnected() {
            return;
        }
        let now = Instant::now();
        let pipeline = &mut self.pipeline;
        let (delivered, fault) =
            egress.deliver(Some(&mut self.meter), bytes.len(), now, |delivery| {
                if pipeline.is_compressed() {
                    delivery.turn = pause::turn_of_compressed();
                }
                pipeline.feed(bytes, delivery)
            });
        self.fault = fault.err();
        self.share += bytes.len().max(delivered.counted.work);
        if delivered.counted.turn_is_over {
            self.share = self.share.max(TURN_WORK);
        }
        self.meter.bytes_in += bytes.len() as u64;
        self.note(egress, &delivered, now);
    }

    /// Takes in the events that one of several upstreams makes of a read of `bytes` bytes.
    pub(super) fn take_events(&mut self, egress: &mut Egress, bytes: usize, make: Make<'_>) {
        if egress.is_disconnected() {
            return;
        }
        let now = Instant::now();
        let pipeline = &mut self.pipeline;
        let (delivered, ()) = egress.deliver(Some(&mut self.meter), bytes, now, |delivery| {
            make(pipeline, delivery, now);
        });
        self.share += bytes.max(delivered.counted.work);
        if delivered.counted.turn_is_over {
            self.share = self.share.max(TURN_WORK);
        }
        self.meter.bytes_in += bytes as u64;
        self.note(egress, &delivered, now);
    }

    /// Waits for the large event that another thread reads, if there is one, and takes it in.
    pub(super) fn poll_large(&mut self, cx: &mut Context<'_>, egress: &mut Egress) -> Poll<()> {
        if self.large.is_none() {
            self.large = self.pipeline.take_large().map(large::reading);
        }
        let Some(reading) = &mut self.large else {
            return Poll::Ready(());
        };
        let read = ready!(reading.as_mut().poll(cx));
        self.large = None;
        let now = Instant::now();
        let pipeline = &mut self.pipeline;
        let (delivered, ()) = egress.deliver(Some(&mut self.meter), 0, now, |delivery| {
            pipeline.put_back(read, delivery);
        });
        self.note(egress, &delivered, now);
        Poll::Ready(())
    }

    /// Reports whether a large event is being read on another thread.
    pub(super) const fn has_large(&self) -> bool {
        self.pipeline.has_large()
    }

    /// Reports whether bytes that were read have not been taken in, for want of room or because the turn was over.
    pub(super) fn is_paused(&self) -> bool {
        self.pipeline.is_paused()
    }

    /// Returns how many bytes of an unfinished event have been read.
    pub(super) fn pending(&self) -> usize {
        self.pipeline.pending()
    }

    /// Sets the content coding of the body, which was not known when the stream began.
    pub(super) fn set_coding(&mut self, coding: Coding) {
        self.pipeline.set_coding(coding);
    }

    /// Ends the input, whether or not the upstream's body ended well. Returns whether the stream is complete.
    pub(super) fn finish(&mut self, how: InputEnd, egress: &mut Egress, now: Instant) -> Verdict {
        let pipeline = &mut self.pipeline;
        let (delivered, verdict) = egress.deliver(Some(&mut self.meter), 0, now, |delivery| {
            pipeline.finish(how, delivery)
        });
        self.note(egress, &delivered, now);
        verdict
    }

    /// Sends the events that the filter held back, because no more bytes will come.
    pub(super) fn flush(&mut self, egress: &mut Egress, now: Instant) {
        let pipeline = &mut self.pipeline;
        let (delivered, ()) = egress.deliver(Some(&mut self.meter), 0, now, |delivery| {
            pipeline.flush(delivery);
        });
        egress.accept(&delivered);
    }

    /// Tells the client that the agent is silent, if it is to be told in words. Returns whether it was.
    pub(super) fn tell_waiting(&mut self, egress: &mut Egress, now: Instant) -> bool {
        let seconds = now.duration_since(self.last_read).as_secs();
        let pipeline = &mut self.pipeline;
        let (delivered, told) = egress.deliver(None, 0, now, |delivery| {
            pipeline.tell_waiting(seconds, delivery)
        });
        egress.accept(&delivered);
        told
    }

    /// Ends the translation of a stream that has ended well or was stopped, if there is one.
    pub(super) fn end_translation(&mut self, end: End, egress: &mut Egress, now: Instant) {
        let pipeline = &mut self.pipeline;
        let (delivered, ()) = egress.deliver(Some(&mut self.meter), 0, now, |delivery| match end {
            End::Finished => pipeline.end_translation(delivery),
            End::Stopped => pipeline.stop_translation(delivery),
            _ => {}
        });
        egress.accept(&delivered);
    }

    #[expect(
        clippy::inline_always,
        reason = "a call for each read costs 20 instructions"
    )]
    #[inline(always)]
    fn note(&mut self, egress: &mut Egress, delivered: &Delivered, now: Instant) {
        self.clocks.note_read(now);
        if delivered.counted.content {
            self.clocks.note_content(now);
        }
        if delivered.counted.events > 0 {
            egress.last_push = now;
            let end = self.possible_end();
            if end.is_some() || self.clocks.may_end() {
                self.clocks.note_possible_end(end, now);
            }
        }
        self.events = delivered.counted.events;
        let gap = self.meter.end_read(self.pipeline.take_heartbeats(), now);
        let dialect = self.pipeline.dialect();
        egress.follow(dialect, self.pipeline.framing());
        self.observer.read(Arrived {
            meter: &self.meter,
            events: delivered.counted.events,
            gap,
            last: self.last_read,
            now,
            dialect,
        });
        self.last_read = now;
        egress.accept(delivered);
    }

    /// Records that the upstream is no longer read, because the queue is full.
    pub(super) fn hold(&mut self, now: Instant) {
        if self.held_since.is_none() {
            self.held_since = Some(now);
            self.observer.held(Some(now));
        }
        self.clocks.hold();
    }

    /// Records that the upstream is read again.
    pub(super) fn release(&mut self, now: Instant) {
        self.end_hold(now);
        self.clocks.release(now);
    }

    /// Adds the time since [`Intake::hold`] to the total for which the upstream was not read.
    pub(super) fn end_hold(&mut self, now: Instant) {
        if let Some(since) = self.held_since.take() {
            self.held = Length::of(self.held.get() + now.duration_since(since));
            self.observer.held(None);
        }
    }

    /// Returns how the stream ends because of a fault in the bytes read, if there is one.
    pub(super) fn fault(&self) -> Option<End> {
        self.fault.map(|fault| match fault {
            Fault::Corrupt => End::UpstreamError,
            Fault::TooLarge => End::TooLarge,
        })
    }

    /// Returns how the stream ends because of the upstream's terminal event, if there was one.
    pub(super) fn terminal(&self) -> Option<End> {
        self.pipeline.terminal().map(|terminal| match terminal {
            Terminal::Done | Terminal::MayEnd | Terminal::MayEndWithInput | Terminal::Reopens => {
                End::Finished
            }
            Terminal::Error | Terminal::MayFail => End::UpstreamError,
        })
    }

    /// Returns how the stream ends if the upstream now stays silent, provided that it may have said its last word.
    /// After a [`Terminal::MayEndWithInput`] silence proves nothing, however long it is.
    pub(super) fn possible_end(&self) -> Option<End> {
        match self.pipeline.may_end() {
            Some(Terminal::MayEnd) => Some(End::Finished),
            Some(Terminal::MayFail) => Some(End::UpstreamError),
            // The client was told a failure, and is told nothing that follows.
            _ if self.has_ended_translation() => Some(End::UpstreamError),
            _ => None,
        }
    }

    /// Reports whether the client of a translation was told the end.
    pub(super) fn has_ended_translation(&self) -> bool {
        self.pipeline
            .translator()
            .is_some_and(Translator::has_ended)
    }

    /// Reports whether the upstream itself has told the client that it failed.
    pub(super) fn told_failure(&self) -> bool {
        match self.pipeline.translator() {
            // What the target could not say is not told yet.
            Some(translator) => translator.has_ended(),
            None => {
                self.pipeline.terminal() == Some(Terminal::Error)
                    || self.pipeline.may_end() == Some(Terminal::MayFail)
            }
        }
    }

    /// Returns what an error event to the client must agree with.
    pub(super) fn error_context(&self) -> ErrorContext {
        self.pipeline.error_context()
    }

    /// Returns what happened on this side of the stream, which is over.
    pub(super) fn report(
        &mut self,
        cancelled_after: Option<Duration>,
        detached: bool,
    ) -> IngressReport {
        let recorder = self.pipeline.take_recorder();
        let pipeline = &self.pipeline;
        IngressReport {
            dialect: pipeline.dialect(),
            mismatched: pipeline.mismatched(),
            hidden: pipeline.hidden(),
            hides: pipeline.hides(),
            reply: pipeline.translator().map(Translator::target),
            lost: pipeline
                .translator()
                .map(Translator::lost)
                .unwrap_or_default(),
            recorder,
            framing: pipeline.framing(),
            meter: self.meter.clone(),
            held: self.held.get(),
            cancelled_after,
            detached,
        }
    }
}
