//! When a stream must end: deadlines as data, one table for each side.
//!
//! Events set time stamps; nothing here arms a timer. The pump keeps one timer for the earliest `next` of both sides and
//! asks `expired` when it fires. Before the first content `first_event` rules alone; after it `idle` and `progress` do.
//! While the upstream is not read because the client is slow, the upstream is not at fault: its clocks stand still.

use std::time::Duration;

use tokio::time::Instant;

use super::end::End;

/// Lengths of a stream's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Request sent to first content.
    pub first_event: Duration,
    /// Silence after first content.
    pub idle: Duration,
    /// Between events with content.
    pub progress: Duration,
    /// Whole stream.
    pub total: Duration,
    /// Something waits for the client and nothing is taken.
    pub client_stall: Duration,
}

/// Deadlines of one upstream.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct UpstreamClocks {
    /// When bytes last came.
    read: Instant,
    /// When content last came; `None` before the first.
    content: Option<Instant>,
    /// The upstream is not read because the queue is full.
    held: bool,
    /// A deadline may have moved forward.
    sooner: bool,
    started: Instant,
    first_event: Duration,
    idle: Duration,
    progress: Duration,
}

impl UpstreamClocks {
    /// The clocks of an upstream whose request was sent at `started`.
    pub const fn new(lengths: &Lengths, started: Instant) -> Self {
        Self {
            read: started,
            content: None,
            held: false,
            sooner: true,
            started,
            first_event: lengths.first_event,
            idle: lengths.idle,
            progress: lengths.progress,
        }
    }

    /// Bytes came, of whatever kind.
    pub const fn note_read(&mut self, now: Instant) {
        self.read = now;
    }

    /// An event with content came.
    pub const fn note_content(&mut self, now: Instant) {
        self.sooner |= self.content.is_none();
        self.content = Some(now);
    }

    /// The upstream is not read from now on, because the queue is full.
    pub const fn hold(&mut self) {
        self.held = true;
    }

    /// The upstream is read again: silence while it was not read does not count.
    pub const fn release(&mut self, now: Instant) {
        self.held = false;
        self.sooner = true;
        self.read = now;
        if self.content.is_some() {
            self.content = Some(now);
        }
    }

    /// How long silence may last.
    pub const fn idle(&self) -> Duration {
        self.idle
    }

    /// Reports whether a deadline may have moved forward since the last call. Most events only put one off.
    pub const fn take_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.sooner, false)
    }

    /// The next moment at which one of them may have expired.
    pub fn next(&self) -> Option<Instant> {
        self.all().into_iter().flatten().map(|(at, _)| at).min()
    }

    /// The earliest deadline that has passed at `now`.
    pub fn expired(&self, now: Instant) -> Option<(Instant, End)> {
        let all = self.all().into_iter().flatten();
        all.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at)
    }

    fn all(&self) -> [Option<(Instant, End)>; 2] {
        if self.held {
            return [None; 2];
        }
        match self.content {
            None => {
                let first = self.started + self.first_event;
                [Some((first, End::FirstEventTimeout)), None]
            }
            Some(content) => [
                Some((self.read + self.idle, End::IdleTimeout)),
                Some((content + self.progress, End::ProgressTimeout)),
            ],
        }
    }
}

/// Deadlines of one client.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct ClientClocks {
    /// Since when something waits for the client; `None` when nothing does.
    waiting: Option<Instant>,
    /// A deadline may have moved forward.
    sooner: bool,
    stall: Duration,
}

impl ClientClocks {
    /// The clocks of a client for whom nothing waits.
    pub const fn new(lengths: &Lengths) -> Self {
        Self {
            waiting: None,
            sooner: false,
            stall: lengths.client_stall,
        }
    }

    /// Something waits for the client since `since`, which last took something then; `None`: nothing waits.
    pub const fn note_waiting(&mut self, since: Option<Instant>) {
        self.sooner |= since.is_some() && self.waiting.is_none();
        self.waiting = since;
    }

    /// Reports whether something has waited for the client for longer than `limit`.
    pub fn is_behind(&self, now: Instant, limit: Duration) -> bool {
        self.waiting
            .is_some_and(|since| now.duration_since(since) > limit)
    }

    /// Reports whether a deadline may have moved forward since the last call.
    pub const fn take_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.sooner, false)
    }

    /// When the client will have taken nothing for too long, unless it takes something.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.map(|since| since + self.stall)
    }

    /// The deadline, if it has passed at `now`.
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
