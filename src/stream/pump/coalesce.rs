//! Coalesces events under load: before a busy worker thread parks, it yields the core, so that it then finds more
//! events at once.
//!
//! A turn is everything that a thread reads between two waits. After a busy turn more events are on their way, and
//! the sooner the thread polls again, the fewer it finds. Each batch costs a read, a write and a wake-up, on cores that
//! the upstreams and the clients need as well. So after a busy turn the thread yields the core to them. With 64 streams
//! at full speed on two cores, this takes a quarter less processor time for each event, and a tenth more events pass
//! (`benches/compare/run --workloads saturation`).
//!
//! After a turn of a few events the thread does not yield: each event would have to wait for other busy processes,
//! which beside two endless loops took 0.8 ms instead of 0.05. Events of floods are not counted. They have their own
//! rule (`fair_read`): most of them are dropped, so nothing is gained by reading more of them.

use std::cell::Cell;
use std::time::Duration;

/// The number of events from which a turn counts as busy. With 16 nothing is gained; with 2 events are delayed.
const BUSY: usize = 8;
/// The number of events from which the thread also sleeps for [`PAUSE`], so that more events arrive. This saves a third
/// of the time for each event, and a third more of them pass.
const FLAT_OUT: usize = 32;
/// How long the thread sleeps. The kernel adds its timer slack of 50 us.
const PAUSE: Duration = Duration::from_micros(20);

thread_local! {
    static EVENTS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the events of one read.
pub(super) fn note(events: usize) {
    EVENTS.set(EVENTS.get().saturating_add(events));
}

/// Ends the turn. Called each time before a thread parks.
pub fn end_turn() {
    match what_follows() {
        Next::Wait => {}
        Next::Others => std::thread::yield_now(),
        Next::Pause => std::thread::sleep(PAUSE),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Others,
    Pause,
}

/// Returns what the thread does after this turn, and starts to count the next one.
fn what_follows() -> Next {
    match EVENTS.take() {
        0..BUSY => Next::Wait,
        BUSY..FLAT_OUT => Next::Others,
        _ => Next::Pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_of_many_events_are_busy() {
        note(BUSY / 2);
        assert_eq!(what_follows(), Next::Wait);
        note(BUSY / 2);
        note(BUSY / 2);
        assert_eq!(what_follows(), Next::Others);
        assert_eq!(what_follows(), Next::Wait);
        note(FLAT_OUT);
        assert_eq!(what_follows(), Next::Pause);
    }
}
