//! The probe: a scripted stream of Weir's own on the traffic port, at [`PATH`], for `weir doctor`.
//!
//! Its events carry the time at which they were sent, so that a reader behind other proxies can tell how long they were
//! delayed on the way. No agent is involved. Everything is bounded: the size of the script, and how many run at once.
//!
//! | file | what |
//! |---|---|
//! | `settings` | what a request asks for, in its query |
//! | `script` | the stream |
//! | `ledger` | how the latest streams have ended, for whoever asks whether the probe noticed that its client left |

mod ledger;
mod script;
mod settings;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::session::stream_id::StreamId;
use ledger::Ledger;
pub use ledger::{Entry, State};
pub use script::{MARK, Script};
pub use settings::{Malformed, ProbeRequest, Settings};

/// The path of the probe on the traffic port.
pub const PATH: &str = "/.weir/probe";
/// How many probe streams run at once.
pub const MAX_STREAMS: usize = 4;
/// The header of a probe stream that carries the instance and the time of the head.
pub const HEADER: &str = "weir-probe";

/// The probe of the process: its clock, the streams that run, and those that have ended.
pub struct Probes {
    /// Tells the clocks of several instances apart.
    instance: String,
    epoch: Instant,
    /// The time of `epoch`, in microseconds since 1970.
    epoch_micros: u64,
    slots: Arc<Semaphore>,
    ledger: Mutex<Ledger>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").finish_non_exhaustive()
    }
}

impl Default for Probes {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = since.map_or(0, |since| since.as_micros());
        Self {
            instance: StreamId::random().to_string(),
            epoch: Instant::now(),
            epoch_micros: u64::try_from(micros).unwrap_or_default(),
            slots: Arc::new(Semaphore::new(MAX_STREAMS)),
            ledger: Mutex::default(),
        }
    }
}

impl Probes {
    /// Returns the id of this process, which is made at its start.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns the time in microseconds since 1970. It never goes back, whatever happens to the clock of the system.
    pub fn now(&self) -> u64 {
        let since = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or_default();
        self.epoch_micros.saturating_add(since)
    }

    /// Begins a stream: takes one of the places, and notes that the stream runs. Returns `None` if no place is free.
    pub fn begin(self: &Arc<Self>, id: StreamId) -> Option<Place> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let number = self.ledger().begin(id);
        Some(Place {
            probes: Arc::clone(self),
            number,
            sent: 0,
            is_complete: false,
            _permit: permit,
        })
    }

    /// Returns what became of a stream; `None` if it is not known, or no more.
    pub fn find(&self, id: StreamId) -> Option<Entry> {
        self.ledger().find(id)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a stream that runs. Dropping it before the stream is complete notes that its client has left.
#[derive(Debug)]
pub struct Place {
    probes: Arc<Probes>,
    number: u64,
    sent: u32,
    is_complete: bool,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Returns the probe that the stream belongs to.
    pub(crate) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Notes that an event or a heartbeat was sent.
    pub(crate) const fn note_sent(&mut self) {
        self.sent = self.sent.saturating_add(1);
    }

    /// Notes that all of the stream was sent.
    pub(crate) const fn complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = if self.is_complete {
            State::Complete
        } else {
            State::Left
        };
        let at = self.probes.now();
        (self.probes.ledger()).end(self.number, state, self.sent, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_streams_run_at_once() {
        let probes = Arc::new(Probes::default());
        let mut places: Vec<_> = (0..MAX_STREAMS)
            .filter_map(|_| probes.begin(StreamId::random()))
            .collect();
        assert_eq!(places.len(), MAX_STREAMS);
        assert!(probes.begin(StreamId::random()).is_none());
        places.pop();
        assert!(probes.begin(StreamId::random()).is_some());
    }

    #[test]
    fn the_ledger_says_how_a_stream_has_ended() {
        let probes = Arc::new(Probes::default());
        let (left, complete) = (StreamId::random(), StreamId::random());
        let before = probes.now();
        let mut one = probes.begin(left).unwrap();
        one.note_sent();
        assert_eq!(probes.find(left).unwrap().state, State::Runs);
        drop(one);
        let found = probes.find(left).unwrap();
        assert_eq!((found.state, found.sent), (State::Left, 1));
        assert!(found.ended.unwrap() >= before);
        let mut other = probes.begin(complete).unwrap();
        other.complete();
        drop(other);
        assert_eq!(probes.find(complete).unwrap().state, State::Complete);
        assert!(probes.find(StreamId::random()).is_none());
    }
}
