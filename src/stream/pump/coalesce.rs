//! One turn of a thread: everything it reads between two waits.
//!
//! A thread that found much will find much when it looks again, and the sooner it looks, the smaller the pieces: each
//! costs a read, a write and a wake-up, on cores that those who write and read need, too. So after such a turn it
//! lets them have the core first, if they want it. 64 streams flat out on two cores take a quarter less processor
//! time for each event that way, and a tenth more events pass (`benches/compare/run --workloads saturation`). After
//! a turn of a few events it does not: each event would wait for whoever else is busy, which beside two endless loops
//! was 0.8 ms instead of 0.05. Nor does it for floods, which have their own rule: what they bring goes nowhere, so
//! nobody waits for more of it.

use std::cell::Cell;
use std::time::Duration;

/// Events of a turn from which on it was a busy one: with 16 nothing is gained, with 2 events wait.
const BUSY: usize = 8;
/// From so many on it lets some time pass as well, in which more comes: a third of the time for each event is saved that
/// way, and a third more of them pass.
const FLAT_OUT: usize = 32;
/// The kernel adds its slack of 50 us.
const PAUSE: Duration = Duration::from_micros(20);

thread_local! {
    static EVENTS: Cell<usize> = const { Cell::new(0) };
}

/// A read brought so many events.
pub(super) fn note(events: usize) {
    EVENTS.set(EVENTS.get().saturating_add(events));
}

/// Ends the turn: to be called before a thread waits.
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

/// What the turn that ends here calls for.
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
