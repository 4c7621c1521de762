//! The deadlines of a stream, as plain data: one set for the upstream and one for the client.
//!
//! Events set time stamps; nothing here sets a timer. The pump keeps one timer for the earliest `next` of both sides
//! and calls `expired` when it fires. Before the first content only `first_event` applies; afterwards `idle` and
//! `progress` do. While the upstream is not read because the client is slow, its deadlines do not apply.

use std::time::Duration;

use tokio::time::Instant;

use crate::end::End;
use crate::length::Length;

/// The lengths of a stream's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// From sending the request to the first content.
    pub first_event: Duration,
    /// How long the upstream may be silent once the response may be complete.
    pub after_end: Duration,
    /// How long the upstream may be silent after the first content.
    pub idle: Duration,
    /// How much time may pass between events with content.
    pub progress: Duration,
    /// How long the whole stream may last.
    pub total: Duration,
    /// How long the client may take nothing while data waits for it.
    pub client_stall: Duration,
}

/// The deadlines of one upstream.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct UpstreamClocks {
    /// When bytes were last received.
    read: Instant,
    /// When content was last received; `None` before the first content.
    content: Option<Instant>,
    /// The upstream is not read because the queue is full.
    held: bool,
    /// A deadline may have moved forward.
    sooner: bool,
    /// Since when the response may be complete, and the end that silence then means.
    possible_end: Option<(Instant, End)>,
    started: Instant,
    first_event: Length,
    after_end: Length,
    idle: Length,
    progress: Length,
}

impl UpstreamClocks {
    /// Creates the deadlines of an upstream whose request was sent at `started`.
    pub const fn new(lengths: &Lengths, started: Instant) -> Self {
        Self {
            read: started,
            content: None,
            held: false,
            sooner: true,
            possible_end: None,
            started,
            first_event: Length::of(lengths.first_event),
            after_end: Length::of(lengths.after_end),
            idle: Length::of(lengths.idle),
            progress: Length::of(lengths.progress),
        }
    }

    /// Records that bytes of any kind were received.
    pub const fn note_read(&mut self, now: Instant) {
        self.read = now;
    }

    /// Records that an event with content was received.
    pub const fn note_content(&mut self, now: Instant) {
        self.sooner |= self.content.is_none();
        self.content = Some(now);
    }

    /// Records that the response may be complete since `now`, and that silence then means `end`; or that it is not.
    pub fn note_possible_end(&mut self, end: Option<End>, now: Instant) {
        self.possible_end = end.map(|end| (now, end));
        self.sooner = true;
    }

    /// Reports whether the response may be complete.
    pub const fn may_end(&self) -> bool {
        self.possible_end.is_some()
    }

    /// Records that the upstream is no longer read, because the queue is full.
    pub const fn hold(&mut self) {
        self.held = true;
    }

    /// Records that the upstream is read again. The time for which it was not read does not count as silence.
    pub const fn release(&mut self, now: Instant) {
        self.held = false;
        self.sooner = true;
        self.read = now;
        if self.content.is_some() {
            self.content = Some(now);
        }
        if let Some((since, _)) = &mut self.possible_end {
            *since = now;
        }
    }

    /// Returns how long the upstream may be silent.
    pub const fn idle(&self) -> Duration {
        self.idle.get()
    }

    /// Reports whether a deadline may have moved forward since the last call. Most events only postpone one.
    pub const fn take_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.sooner, false)
    }

    /// Returns the earliest deadline, if any.
    pub fn next(&self) -> Option<Instant> {
        self.all().into_iter().flatten().map(|(at, _)| at).min()
    }

    /// Returns the earliest deadline that has passed at `now`, if any.
    pub fn expired(&self, now: Instant) -> Option<(Instant, End)> {
        let all = self.all().into_iter().flatten();
        all.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at)
    }

    fn all(&self) -> [Option<(Instant, End)>; 3] {
        if self.held {
            return [None; 3];
        }
        let after_end = self
            .possible_end
            .map(|(since, end)| (since + self.after_end.get(), end));
        match self.content {
            None => {
                let first = self.started + self.first_event.get();
                [Some((first, End::FirstEventTimeout)), None, after_end]
            }
            Some(content) => [
                Some((self.read + self.idle.get(), End::IdleTimeout)),
                Some((content + self.progress.get(), End::ProgressTimeout)),
                after_end,
            ],
        }
    }
}

/// The deadline of one client.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct ClientClocks {
    /// Since when data waits for the client; `None` if none does.
    waiting: Option<Instant>,
    /// A deadline may have moved forward.
    sooner: bool,
    stall: Length,
}

impl ClientClocks {
    /// Creates the deadline of a client for which no data waits.
    pub const fn new(lengths: &Lengths) -> Self {
        Self {
            waiting: None,
            sooner: false,
            stall: Length::of(lengths.client_stall),
        }
    }

    /// Records that data has waited since `since`, and that the client took none of it since then. `None` means that no
    /// data waits.
    pub const fn note_waiting(&mut self, since: Option<Instant>) {
        self.sooner |= since.is_some() && self.waiting.is_none();
        self.waiting = since;
    }

    /// Reports whether data has waited for the client for longer than `limit`.
    pub fn is_behind(&self, now: Instant, limit: Duration) -> bool {
        // An addition costs less than the difference of two times.
        self.waiting.is_some_and(|since| since + limit < now)
    }

    /// Reports whether a deadline may have moved forward since the last call.
    pub const fn take_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.sooner, false)
    }

    /// Returns how long the client may take nothing.
    pub const fn stall(&self) -> Duration {
        self.stall.get()
    }

    /// Returns when the client will have stalled for too long, unless it takes something before.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.map(|since| since + self.stall.get())
    }

    /// Returns the deadline if it has passed at `now`.
    pub fn expired(&self, now: Instant) -> Option<(Instant, End)> {
        let passed = self.next().filter(|at| *at <= now)?;
        Some((passed, End::ClientStalled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const LENGTHS: Lengths = Lengths {
        first_event: secs(10),
        after_end: secs(2),
        idle: secs(5),
        progress: secs(20),
        total: secs(100),
        client_stall: secs(3),
    };

    fn upstream() -> (UpstreamClocks, Instant) {
        let now = Instant::now();
        (UpstreamClocks::new(&LENGTHS, now), now)
    }

    fn end(expired: Option<(Instant, End)>) -> Option<End> {
        expired.map(|(_, end)| end)
    }

    #[test]
    fn before_content_first_event_rules_alone() {
        let (mut clocks, start) = upstream();
        clocks.note_read(start + secs(1));
        assert_eq!(clocks.next(), Some(start + secs(10)));
        assert_eq!(clocks.expired(start + secs(9)), None);
        let first = end(clocks.expired(start + secs(10)));
        assert_eq!(first, Some(End::FirstEventTimeout));
    }

    #[test]
    fn after_content_silence_is_idle_and_noise_is_no_progress() {
        let (mut clocks, start) = upstream();
        clocks.note_content(start + secs(1));
        clocks.note_read(start + secs(1));
        let silent = end(clocks.expired(start + secs(6)));
        assert_eq!(silent, Some(End::IdleTimeout));
        for second in 1..=21 {
            clocks.note_read(start + secs(second));
        }
        let noisy = end(clocks.expired(start + secs(21)));
        assert_eq!(noisy, Some(End::ProgressTimeout));
    }

    #[test]
    fn after_a_possible_end_a_short_silence_is_the_end() {
        let (mut clocks, start) = upstream();
        clocks.note_content(start);
        clocks.note_possible_end(Some(End::Finished), start);
        assert!(clocks.take_sooner());
        // Heartbeats are silence.
        clocks.note_read(start + secs(1));
        assert_eq!(clocks.next(), Some(start + secs(2)));
        let silent = end(clocks.expired(start + secs(2)));
        assert_eq!(silent, Some(End::Finished));
        // More follows: it was none.
        clocks.note_possible_end(None, start + secs(2));
        assert_eq!(clocks.expired(start + secs(5)), None);
        // What was not read was not silent.
        clocks.note_possible_end(Some(End::UpstreamError), start + secs(3));
        clocks.hold();
        clocks.release(start + secs(60));
        assert_eq!(clocks.expired(start + secs(61)), None);
        let silent = end(clocks.expired(start + secs(62)));
        assert_eq!(silent, Some(End::UpstreamError));
    }

    #[test]
    fn a_held_upstream_is_not_blamed() {
        let (mut clocks, start) = upstream();
        clocks.note_content(start);
        clocks.hold();
        assert_eq!(clocks.expired(start + secs(60)), None);
        assert_eq!(clocks.next(), None);
        clocks.release(start + secs(30));
        assert!(clocks.take_sooner() && !clocks.take_sooner());
        assert_eq!(clocks.expired(start + secs(34)), None);
        let silent = end(clocks.expired(start + secs(35)));
        assert_eq!(silent, Some(End::IdleTimeout));
    }

    #[test]
    fn a_client_stalls_only_while_something_waits_for_it() {
        let start = Instant::now();
        let mut clocks = ClientClocks::new(&LENGTHS);
        assert_eq!(clocks.next(), None);
        clocks.note_waiting(Some(start + secs(4)));
        assert!(clocks.take_sooner());
        assert!(clocks.is_behind(start + secs(6), secs(1)));
        assert_eq!(clocks.expired(start + secs(6)), None);
        let stalled = end(clocks.expired(start + secs(7)));
        assert_eq!(stalled, Some(End::ClientStalled));
        clocks.note_waiting(None);
        assert_eq!(clocks.expired(start + secs(60)), None);
    }
}
