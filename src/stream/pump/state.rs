//! The states of a pump.

use tokio::time::Instant;

use super::api::Failure;
use super::pause::Pause;

/// The state of a pump. The diagram in the header of `pump` shows the transitions.
pub(super) enum State {
    /// The source is read as soon as it has something.
    Reading,
    /// Events wait for room in the queue, and the source is not read (back-pressure).
    Blocked {
        /// When the overflow rule applies; `None` if the events can only wait for room.
        until: Option<Instant>,
    },
    /// The client cannot keep up, and other streams in this situation read first.
    Resting {
        /// When the stream may read again.
        until: Instant,
    },
    /// The thread's other tasks run first.
    Yielding {
        pause: Pause,
        /// What the pump was doing, if events waited for room; else it was reading.
        then: Option<Box<Self>>,
    },
    /// The end is known, but events before it still wait for room. Boxed, because it is rare and large.
    Ending(Box<Ending>),
}

/// An end that is known but has not taken effect.
pub(super) struct Ending {
    /// How the stream ends once the waiting events are in the queue.
    pub(super) failure: Failure,
    /// Until when the events may wait, as in [`State::Blocked`].
    pub(super) until: Option<Instant>,
}

impl State {
    /// Returns the state of a pump whose events wait for room until `until`, with the end that follows them if it is
    /// known.
    pub(super) fn waiting(until: Option<Instant>, ending: Option<Failure>) -> Self {
        match ending {
            None => Self::Blocked { until },
            Some(failure) => Self::Ending(Box::new(Ending { failure, until })),
        }
    }

    /// Reports whether the source may be read.
    pub(super) const fn is_reading(&self) -> bool {
        matches!(self, Self::Reading)
    }

    /// Reports whether events wait for room.
    pub(super) const fn waits_for_room(&self) -> bool {
        matches!(self, Self::Blocked { .. } | Self::Ending(_))
    }

    /// Returns when the state ends by itself.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Reading | Self::Yielding { .. } => None,
            Self::Blocked { until } => *until,
            Self::Resting { until } => Some(*until),
            Self::Ending(ending) => ending.until,
        }
    }
}
