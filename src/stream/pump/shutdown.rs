//! The end of a stream: tells the client how it ended, and waits until the client has received that.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Pump;
use super::api::{EgressReport, Failure, Progress, Report};
use crate::end::End;
use crate::queue::Close;

/// How long the upstream may take to end its body after a successful stream, so that its connection can be reused.
const LINGER: Duration = Duration::from_millis(250);
/// How long a client that was not reading may take to read why its stream ended.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long such a client may take while the process shuts down.
const STOPPING: Duration = Duration::from_millis(300);
/// How often a connection is asked whether it still holds unwritten data.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Pump {
    /// Makes the upstream call end when the client leaves, although it may continue otherwise.
    pub const fn end_with_client(&mut self) {
        self.ingress.intake.detaches = false;
    }

    /// Runs the second half of [`Pump::run`]: closes a stream that is over, and returns its report.
    pub async fn close(&mut self, failure: Failure) -> Report {
        let now = Instant::now();
        // The source is not read any more.
        self.fair_read = None;
        self.ingress.intake.end_hold(now);
        let detached = self.ingress.intake.detaches
            && failure.end == End::ClientGone
            && self.ingress.source.is_some();
        (self.ingress).end_merged(failure.end, &mut self.egress);
        if failure.end != End::Finished && !detached {
            // This comes first, because it cancels the upstream call.
            self.ingress.source = None;
        }
        if let Some(source) = &mut self.ingress.source
            && failure.end == End::Finished
        {
            source.complete();
        }
        if failure.end != End::ClientGone {
            self.ingress.intake.flush(&mut self.egress, now);
        }
        (self.ingress.intake).end_translation(failure.end, &mut self.egress, now);
        let says_its_end = match failure.end {
            End::Finished => true,
            End::Stopped => self.ingress.intake.has_ended_translation(),
            _ => false,
        };
        if says_its_end {
            self.egress.push_rest(now);
        }
        let left = self.egress.outlet.status().reader_gone_at;
        let failure = self.tell(failure).await;
        let status = self.egress.outlet.status();
        let mut queue = status.counts;
        for item in &self.egress.blocked {
            if let Some(count) = queue.unsent.get_mut(item.event.class.index()) {
                *count += 1;
            }
        }
        let cancelled_after = left.filter(|_| !detached).map(|left| left.elapsed());
        Report {
            end: failure.end,
            code: failure.code,
            ingress: self.ingress.intake.report(cancelled_after, detached),
            egress: EgressReport {
                queue,
                abandoned_after: status.abandoned_after,
                heartbeats: self.egress.heartbeats,
            },
        }
    }

    /// Tells the client how the stream ended, and waits until the client has received it. After a terminal event of the
    /// upstream nothing is added. Otherwise the client gets the error event of its dialect, or a truncated body if the
    /// dialect has none.
    async fn tell(&mut self, failure: Failure) -> Failure {
        self.close_outlet(&failure);
        // Without an upstream there is nothing to wait for: each of several clients has a task of its own.
        if failure.end == End::ClientGone {
            return failure;
        }
        let end = self.deliver(failure.end).await;
        if end == failure.end {
            failure
        } else {
            end.into()
        }
    }

    fn close_outlet(&self, failure: &Failure) {
        let now = Instant::now();
        let (intake, outlet) = (&self.ingress.intake, &self.egress.outlet);
        outlet.note_end(failure.end);
        if let Some(status) = failure.end.status() {
            outlet.note_failure(status);
        }
        match failure.end {
            End::Finished => outlet.close(Close::Clean, None, now),
            // The client knows how its stream has ended.
            End::Stopped if intake.has_ended_translation() => {
                outlet.close(Close::Clean, None, now);
            }
            // The upstream itself has reported the failure.
            End::UpstreamError if intake.told_failure() => outlet.close(Close::Clean, None, now),
            End::ClientGone if !outlet.outlives_clients() => outlet.abort(),
            _ => {
                if failure.end == End::ClientStalled {
                    // The client has not read for too long: free the memory, and leave only the reason.
                    outlet.clear();
                }
                let (code, seen) = (failure.end.as_str(), intake.error_context());
                let encoder = self.egress.encoder();
                let last = encoder.failure(&seen, code, &failure.message);
                let how = if last.is_some() {
                    Close::Clean
                } else {
                    Close::Abort
                };
                let last = last.as_ref().map(String::as_bytes);
                outlet.close(how, last, now);
            }
        }
        if failure.end != End::Finished {
            outlet.let_go();
        }
    }

    /// Waits until the client has taken everything, and returns how the stream ended. A successful stream whose end the
    /// client never received counts as failed; any other end stays as it is.
    async fn deliver(&mut self, end: End) -> End {
        let now = Instant::now();
        let linger = now + LINGER;
        let unseen = |instead| if end == End::Finished { instead } else { end };
        // The delivery of the end has a time limit of its own.
        let mut limit = match end {
            End::ClientStalled => (now + LAST_WORD, end),
            End::Finished => (self.total_at, End::TotalTimeout),
            _ => (self.total_at.max(now + LAST_WORD), end),
        };
        let shared = self.egress.outlet.outlives_clients();
        if shared {
            // Each client has limits of its own. The stream waits some time for what they have taken, to count it.
            limit = (now + self.egress.clocks.stall(), end);
        }
        let mut stopping = false;
        let mut timer = pin!(sleep_until(linger));
        poll_fn(|cx| {
            loop {
                // Registers the waker before the status is read, so that no change is missed.
                let changed = self
                    .egress
                    .outlet
                    .poll_change(cx, &mut self.egress.seen, true);
                if !stopping && let Poll::Ready(asked) = self.stop.poll(cx) {
                    stopping = true;
                    self.egress.outlet.let_go();
                    let instead = if shared { end } else { unseen(asked) };
                    limit = earlier(limit, (Instant::now() + STOPPING, instead));
                }
                let status = self.egress.outlet.status();
                if status.abandoned {
                    return Poll::Ready(unseen(End::ClientGone));
                }
                let in_connection =
                    status.handed_off.is_some() || self.egress.reader.last_progress().is_some();
                if status.reader_gone || (status.events == 0 && !in_connection) {
                    return Poll::Ready(end);
                }
                if changed.is_ready() {
                    continue;
                }
                self.drain_source(cx);
                self.egress.note_status(&status);
                let now = Instant::now();
                if now >= linger {
                    self.ingress.source = None;
                }
                let stalled = (self.egress.clocks.next()).map(|at| (at, End::ClientStalled));
                let (next, passed) = stalled.map_or(limit, |stalled| earlier(limit, stalled));
                if next <= now && shared {
                    return Poll::Ready(end);
                }
                if next <= now {
                    self.egress.outlet.clear();
                    self.egress.outlet.abort();
                    self.egress.reader.give_up();
                    return Poll::Ready(unseen(passed));
                }
                // A connection does not report when it has written everything it took, so it is polled.
                let look = (status.events == 0).then(|| now + LOOK_AGAIN);
                let lingers = self.ingress.source.is_some().then_some(linger);
                let wake = [lingers, look]
                    .into_iter()
                    .flatten()
                    .fold(next, Instant::min);
                timer.as_mut().reset(wake);
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Reads and discards the rest of the body, so that its connection can be reused.
    fn drain_source(&mut self, cx: &mut Context<'_>) {
        while let Some(source) = &mut self.ingress.source {
            match source.poll_read(cx, &mut |_| {}) {
                Poll::Ready(Ok(Progress::More | Progress::Begins(_))) => {}
                Poll::Ready(Ok(Progress::Drained)) => return,
                Poll::Ready(_) => self.ingress.source = None,
                Poll::Pending => return,
            }
        }
    }

    /// Reads on without the client until the body ends, a deadline passes, or the stream is told to stop.
    pub async fn run_detached(&mut self) {
        let idle = self.ingress.intake.clocks.idle();
        let total = self.total_at;
        let mut timer = pin!(sleep_until(total.min(Instant::now() + idle)));
        poll_fn(|cx| {
            let mut brought = false;
            while let Some(source) = &mut self.ingress.source {
                match source.poll_read(cx, &mut |_| brought = true) {
                    Poll::Ready(Ok(Progress::More | Progress::Begins(_))) => {}
                    Poll::Ready(Ok(Progress::Drained)) | Poll::Pending => break,
                    Poll::Ready(_) => self.ingress.source = None,
                }
            }
            if brought {
                timer.as_mut().reset(total.min(Instant::now() + idle));
            }
            let is_over = self.ingress.source.is_none() || self.stop.poll(cx).is_ready();
            if is_over || timer.as_mut().poll(cx).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        self.ingress.source = None;
    }

    /// Waits a short time, after a successful stream, for the upstream to end its body.
    pub async fn linger(&mut self) {
        let end = poll_fn(|cx| {
            self.drain_source(cx);
            if self.ingress.source.is_none() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        // A timeout is not an error: the stream itself was successful.
        let _ = tokio::time::timeout(LINGER, end).await;
    }
}

/// Returns the earlier of two deadlines, each with the end that it causes.
fn earlier(one: (Instant, End), other: (Instant, End)) -> (Instant, End) {
    if other.0 < one.0 { other } else { one }
}
