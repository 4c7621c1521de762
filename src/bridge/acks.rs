//! What the client of a run has not acknowledged.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::metrics::BusyGauge;

/// The events of one run that were sent and not acknowledged.
#[derive(Debug)]
pub(super) struct Acks {
    /// The numbers of the events, in order. At most `window`.
    sent: VecDeque<u64>,
    window: usize,
    /// Since when there is no room for another one.
    full_since: Option<Instant>,
    /// Counts them for the route.
    gauge: BusyGauge,
}

impl Acks {
    pub(super) const fn new(window: usize, gauge: BusyGauge) -> Self {
        Self {
            sent: VecDeque::new(),
            window,
            full_since: None,
            gauge,
        }
    }

    /// Notes that the event of this number was sent. If nobody has made sure that there is room, the oldest is
    /// forgotten.
    pub(super) fn sent(&mut self, seq: u64, now: Instant) {
        if self.sent.len() >= self.window {
            self.sent.pop_front();
        } else {
            self.gauge.add(1);
        }
        self.sent.push_back(seq);
        if self.is_full() {
            self.full_since.get_or_insert(now);
        }
    }

    /// Notes that the client has the event of this number, and all before it.
    pub(super) fn acknowledged(&mut self, seq: u64) {
        let mut count = 0;
        while self.sent.front().is_some_and(|first| *first <= seq) {
            self.sent.pop_front();
            count += 1;
        }
        self.gauge.add(-count);
        if !self.is_full() {
            self.full_since = None;
        }
    }

    /// Notes that the client has everything.
    pub(super) fn all_acknowledged(&mut self) {
        self.acknowledged(u64::MAX);
    }

    /// Reports whether no other event may be sent to a client that acknowledges.
    pub(super) fn is_full(&self) -> bool {
        self.sent.len() >= self.window
    }

    /// Returns since when the window has been full.
    pub(super) const fn full_since(&self) -> Option<Instant> {
        self.full_since
    }

    /// Counts the time from now on, because from now on it matters.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.full_since.is_some() {
            self.full_since = Some(now);
        }
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        let count = i64::try_from(self.sent.len()).unwrap_or_default();
        self.gauge.add(-count);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_window_is_full_until_an_event_is_acknowledged() {
        let gauge = BusyGauge::default();
        let mut acks = Acks::new(3, gauge.clone());
        let began = Instant::now();
        for seq in [1, 2] {
            acks.sent(seq, began);
        }
        assert!(!acks.is_full());
        assert_eq!(acks.full_since(), None);
        // The numbers of merged events are missing.
        acks.sent(9, began);
        assert!(acks.is_full());
        assert_eq!(acks.full_since(), Some(began));
        acks.acknowledged(0);
        assert!(acks.is_full(), "nothing was acknowledged");
        acks.acknowledged(5);
        assert!(!acks.is_full());
        assert_eq!(acks.full_since(), None);
        assert_eq!(gauge.sum(), 1);
        acks.all_acknowledged();
        assert_eq!(gauge.sum(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_acknowledged_is_bounded_and_forgotten() {
        let gauge = BusyGauge::default();
        let mut acks = Acks::new(2, gauge.clone());
        let began = Instant::now();
        for seq in 1..=100 {
            acks.sent(seq, began);
        }
        assert_eq!(gauge.sum(), 2);
        assert_eq!(acks.full_since(), Some(began));
        tokio::time::advance(Duration::from_secs(9)).await;
        acks.begin(Instant::now());
        assert_eq!(acks.full_since(), Some(Instant::now()));
        drop(acks);
        assert_eq!(gauge.sum(), 0);
    }
}
