//! When a stream must end: deadlines as data.
//!
//! Events set time stamps; nothing here arms a timer. The pump keeps one timer for [`Table::next`] and
//! asks [`Table::expired`] when it fires. Before the first content `first_event` rules alone; after it
//! `idle` and `progress` do. While something waits for the client, the upstream is not at fault: its
//! clocks stand still.

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

/// One stream's deadlines.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Table {
    /// When bytes last came from the upstream.
    read: Instant,
    /// When content last came; `None` before the first.
    content: Option<Instant>,
    /// Since when something waits for the client; `None` when nothing does.
    waiting: Option<Instant>,
    /// The upstream is not read because the queue is full.
    held: bool,
    /// A deadline may now come earlier than it would have.
    sooner: bool,
    started: Instant,
    lengths: Lengths,
}

impl Table {
    /// A stream whose request was sent at `started`.
    pub const fn new(lengths: Lengths, started: Instant) -> Self {
        Self {
            lengths,
            started,
            read: started,
            content: None,
            waiting: None,
            held: false,
            sooner: true,
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

    /// Something waits for the client since `since`, which last took something then; or nothing does.
    pub const fn note_waiting(&mut self, since: Option<Instant>) {
        self.sooner |= since.is_some() && self.waiting.is_none();
        self.waiting = since;
    }

    /// How long silence may last.
    pub const fn idle(&self) -> Duration {
        self.lengths.idle
    }

    /// Whether something has waited for the client for longer than `patience`.
    pub fn is_behind(&self, now: Instant, patience: Duration) -> bool {
        let waits = |since| now.duration_since(since) > patience;
        self.waiting.is_some_and(waits)
    }

    /// The upstream is not read from `now` on, because the queue is full.
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

    /// Whether, since the last call, something happened that may bring a deadline forward. Most events only put
    /// one off.
    pub const fn take_sooner(&mut self) -> bool {
        std::mem::replace(&mut self.sooner, false)
    }

    /// The next moment at which one of them may have expired.
    pub fn next(&self) -> Instant {
        self.all()
            .into_iter()
            .flatten()
            .map(|(at, _)| at)
            .min()
            .unwrap_or_else(|| self.total())
    }

    /// The deadline that has passed at `now`; the earliest one if several have.
    pub fn expired(&self, now: Instant) -> Option<End> {
        let passed = self
            .all()
            .into_iter()
            .flatten()
            .filter(|(at, _)| *at <= now);
        passed.min_by_key(|(at, _)| *at).map(|(_, end)| end)
    }

    /// When the whole must be over.
    pub fn total(&self) -> Instant {
        self.started + self.lengths.total
    }

    /// When the client will have taken nothing for too long, unless it takes something.
    pub fn stalled(&self) -> Option<Instant> {
        self.stall().map(|(at, _)| at)
    }

    fn stall(&self) -> Option<(Instant, End)> {
        self.waiting
            .map(|since| (since + self.lengths.client_stall, End::ClientStalled))
    }

    fn all(&self) -> [Option<(Instant, End)>; 5] {
        let lengths = &self.lengths;
        let flows = |end| move |at| (at, end);
        let upstream = |at: Instant| (!self.held).then_some(at);
        [
            (self.content.is_none())
                .then(|| self.started + lengths.first_event)
                .and_then(upstream)
                .map(flows(End::FirstEventTimeout)),
            self.content
                .and_then(|_| upstream(self.read + lengths.idle))
                .map(flows(End::IdleTimeout)),
            self.content
                .and_then(|at| upstream(at + lengths.progress))
                .map(flows(End::ProgressTimeout)),
            Some((self.started + lengths.total, End::TotalTimeout)),
            self.waiting
                .map(|since| (since + lengths.client_stall, End::ClientStalled)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn table() -> (Table, Instant) {
        let now = Instant::now();
        let lengths = Lengths {
            first_event: secs(10),
            idle: secs(5),
            progress: secs(20),
            total: secs(100),
            client_stall: secs(3),
        };
        (Table::new(lengths, now), now)
    }

    #[test]
    fn before_content_first_event_rules_alone() {
        let (mut table, start) = table();
        table.note_read(start + secs(1));
        assert_eq!(table.next(), start + secs(10));
        assert_eq!(table.expired(start + secs(9)), None);
        assert_eq!(
            table.expired(start + secs(10)),
            Some(End::FirstEventTimeout)
        );
    }

    #[test]
    fn after_content_silence_is_idle_and_noise_is_no_progress() {
        let (mut table, start) = table();
        table.note_content(start + secs(1));
        table.note_read(start + secs(1));
        assert_eq!(table.expired(start + secs(6)), Some(End::IdleTimeout));
        for second in 1..=21 {
            table.note_read(start + secs(second));
        }
        assert_eq!(table.expired(start + secs(21)), Some(End::ProgressTimeout));
    }

    #[test]
    fn the_whole_is_bounded_whatever_flows() {
        let (mut table, start) = table();
        table.note_content(start + secs(99));
        table.note_read(start + secs(99));
        assert_eq!(table.expired(start + secs(100)), Some(End::TotalTimeout));
    }

    #[test]
    fn a_held_upstream_is_not_blamed() {
        let (mut table, start) = table();
        table.note_content(start);
        table.note_waiting(Some(start + secs(4)));
        table.hold();
        assert_eq!(table.expired(start + secs(6)), None);
        assert_eq!(table.expired(start + secs(7)), Some(End::ClientStalled));
        table.note_waiting(None);
        table.release(start + secs(30));
        assert_eq!(table.expired(start + secs(34)), None);
        assert_eq!(table.expired(start + secs(35)), Some(End::IdleTimeout));
    }
}
