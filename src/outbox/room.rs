//! The room of the outbox: how much may wait, and the place of each record, which counts what becomes of it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Maximum number of records that wait or are being sent: several minutes of a busy process.
pub(super) const MAX_RECORDS: usize = 1_000;
/// Maximum number of bytes of these records together.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// What the outbox counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A record was given up.
    GivenUp(GivenUp),
    /// A record is sent once more, after an attempt that failed.
    Retried,
    /// A record was taken by its receiver.
    Sent,
}

/// Why a record was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// No attempt succeeded.
    Failed,
    /// The outbox was full.
    Full,
    /// The receiver refused it.
    Refused,
    /// The process ended first.
    Shutdown,
}

impl GivenUp {
    /// All reasons, for the labels of a metric.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Full, Self::Refused, Self::Shutdown];

    /// Returns the reason as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A callback for each thing that is counted.
pub type Tally = Arc<dyn Fn(Counted) + Send + Sync>;

/// What waits or is being sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many records.
    pub records: usize,
    /// The size of these records.
    pub bytes: usize,
}

/// How far the process is from its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    #[default]
    Open,
    /// Each record is tried once more.
    Draining,
    /// Nothing is tried any more.
    Over,
}

/// The bounded room of an outbox.
pub(super) struct Room {
    usage: watch::Sender<Usage>,
    /// Apart from `usage`, which changes with every record and would wake all others.
    phase: watch::Sender<Phase>,
    tally: Tally,
}

#[derive(Default)]
struct Usage {
    waiting: Waiting,
    is_closed: bool,
    /// Records that were given up after the room was closed.
    lost: usize,
}

impl Room {
    pub(super) fn new(tally: Tally) -> Self {
        Self {
            usage: watch::Sender::default(),
            phase: watch::Sender::default(),
            tally,
        }
    }

    /// Takes a place for a record. Returns `None` if there is none; the record then counts as given up.
    pub(super) fn enter(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        let mut refused = None;
        self.usage.send_if_modified(|usage| {
            let Waiting { records, bytes: of } = usage.waiting;
            if usage.is_closed {
                refused = Some(GivenUp::Shutdown);
            } else if records >= MAX_RECORDS || bytes > MAX_BYTES - of {
                refused = Some(GivenUp::Full);
            } else {
                usage.waiting.records += 1;
                usage.waiting.bytes += bytes;
            }
            refused.is_none()
        });
        if let Some(reason) = refused {
            (self.tally)(Counted::GivenUp(reason));
            return None;
        }
        Some(Place {
            room: Arc::clone(self),
            bytes,
            end: Err(GivenUp::Shutdown),
        })
    }

    pub(super) fn waiting(&self) -> Waiting {
        self.usage.borrow().waiting
    }

    /// Closes the room, and waits until it is empty or `deadline` has passed. Returns how many records were lost.
    pub(super) async fn drain(&self, deadline: Instant) -> usize {
        self.usage.send_modify(|usage| usage.is_closed = true);
        self.phase.send_replace(Phase::Draining);
        // What is left after the deadline is counted below.
        let _ = timeout_at(deadline, self.emptied()).await;
        let lost = {
            let usage = self.usage.borrow();
            usage.lost + usage.waiting.records
        };
        self.phase.send_replace(Phase::Over);
        lost
    }

    /// Waits until nothing waits.
    pub(super) async fn emptied(&self) {
        let mut usage = self.usage.subscribe();
        // The sender lives as long as `self`.
        let _ = usage.wait_for(|usage| usage.waiting.records == 0).await;
    }
}

/// The place of a record, which is free again when it is dropped. A record without an outcome by then counts as lost at
/// the end of the process.
pub(super) struct Place {
    room: Arc<Room>,
    bytes: usize,
    end: Result<(), GivenUp>,
}

impl Place {
    /// Ends with what became of the record.
    pub(super) fn settle(mut self, end: Result<(), GivenUp>) {
        self.end = end;
    }

    /// Counts that the record is sent once more.
    pub(super) fn retried(&self) {
        (self.room.tally)(Counted::Retried);
    }

    /// Returns what tells how far the process is from its end.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.room.phase.subscribe()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Counted first: whoever sees that nothing waits sees all counts.
        (self.room.tally)(match self.end {
            Ok(()) => Counted::Sent,
            Err(reason) => Counted::GivenUp(reason),
        });
        self.room.usage.send_modify(|usage| {
            usage.waiting.records -= 1;
            usage.waiting.bytes -= self.bytes;
            usage.lost += usize::from(usage.is_closed && self.end.is_err());
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What was counted.
    #[derive(Clone, Default)]
    pub(in crate::outbox) struct Kept(Arc<Mutex<Vec<Counted>>>);

    impl Kept {
        pub(in crate::outbox) fn take(&self) -> Vec<Counted> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    /// A tally that keeps what it counts.
    pub(in crate::outbox) fn kept() -> (Tally, Kept) {
        let kept = Kept::default();
        let list = kept.clone();
        let tally = move |counted| list.0.lock().unwrap().push(counted);
        (Arc::new(tally), kept)
    }

    #[test]
    fn a_place_is_free_again_and_counts_its_record_once() {
        let (tally, counted) = kept();
        let room = Arc::new(Room::new(tally));
        let [one, two, three] = [5, 7, 9].map(|bytes| room.enter(bytes).unwrap());
        let all = Waiting {
            records: 3,
            bytes: 21,
        };
        assert_eq!(room.waiting(), all);
        one.settle(Ok(()));
        two.settle(Err(GivenUp::Refused));
        drop(three);
        assert_eq!(
            counted.take(),
            [
                Counted::Sent,
                Counted::GivenUp(GivenUp::Refused),
                Counted::GivenUp(GivenUp::Shutdown)
            ]
        );
        assert_eq!(room.waiting(), Waiting::default());
        let whole = room.enter(MAX_BYTES).unwrap();
        assert!(room.enter(1).is_none());
        drop(whole);
        assert!(room.enter(1).is_some());
        assert!(room.enter(usize::MAX).is_none());
    }

    #[tokio::test]
    async fn a_closed_room_takes_nothing() {
        let (tally, counted) = kept();
        let room = Arc::new(Room::new(tally));
        assert_eq!(room.drain(Instant::now()).await, 0);
        assert!(room.enter(1).is_none());
        assert_eq!(counted.take(), [Counted::GivenUp(GivenUp::Shutdown)]);
    }

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: std::collections::BTreeSet<_> =
            GivenUp::ALL.map(GivenUp::as_str).into_iter().collect();
        assert_eq!(labels.len(), GivenUp::ALL.len());
    }
}
