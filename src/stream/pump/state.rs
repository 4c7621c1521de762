//! What a pump is doing: exactly one thing at a time.

use std::pin::Pin;

use tokio::time::Instant;

use super::api::Failure;

/// A pump's state. The drawing in the module's header shows how they follow each other.
pub(super) enum State {
    /// The source is read as soon as it has something.
    Reading,
    /// Events wait for room in the queue, and the source is not read (back-pressure).
    Blocked {
        /// When the overflow rule takes over; `None`: nothing but room helps.
        until: Option<Instant>,
    },
    /// The client takes less than comes, and other streams of its kind read first.
    Resting {
        /// When it may read again.
        until: Instant,
    },
    /// The thread's other tasks have their turn.
    Yielding(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The end is known; events before it still wait for room. Boxed, because it is rare and large.
    Ending(Box<Ending>),
}

/// An end that is still to come.
pub(super) struct Ending {
    /// How the stream ends once those events are in the queue.
    pub(super) failure: Failure,
    /// As in [`State::Blocked`].
    pub(super) until: Option<Instant>,
}

impl State {
    /// The state of a pump whose events wait until then, with the end that follows them if it is known.
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

    /// When it is over by itself.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Reading | Self::Yielding(_) => None,
            Self::Blocked { until } => *until,
            Self::Resting { until } => Some(*until),
            Self::Ending(ending) => ending.until,
        }
    }
}
