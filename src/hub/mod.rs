//! One stream for several clients: its journal, and the queues of those who follow it.
//!
//! ```text
//!             ┌──────────── Hub ─────────────┐
//!   pump ──►  │ journal: all events, numbered│
//!   (Input)   │   │                          │
//!             │   ├─► queue of a live viewer │ ──► response of its connection
//!             │   └─► ... of one behind:     │
//!             │       pieces of the journal  │ ──► response of its connection
//!             └──────────────────────────────┘
//! ```
//!
//! The pump pushes each event once. A viewer that keeps up gets it in its own queue, which merges as any queue. A
//! viewer whose queue is full, and one that has just come back, is **behind**: once it has taken everything, it gets
//! the next piece of the journal, until it has caught up. So no viewer waits for another, and none misses or repeats an
//! event.
//!
//! The upstream is held back only for a viewer that is alone, and only when the journal is full of what that one has
//! not taken. Otherwise the journal drops its oldest events: tokens of a viewer that is behind are missing then, which
//! it is told, and a viewer that would miss a critical event ends instead as `client_stalled`. It can come back for the
//! rest.
//!
//! | file | what |
//! |---|---|
//! | `input` | the pump's end |
//! | `pushing` | how the events of one read get into the queues, the journal and the tap |
//! | `room` | who waits, and what is dropped, when the journal is full |
//! | `shares` | what each of several agents gives up for a viewer that is behind |
//! | `viewers` | the viewers' end: attaching, following, leaving |
//! | `slot` | one viewer: its queue, and what it gets from the journal |
//! | `tap` | where the events are kept as well, for clients of other processes |
//! | `budget` | how much memory all journals may take together |

mod budget;
mod input;
mod pushing;
mod room;
mod shares;
mod slot;
mod tap;
mod viewers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use crate::dialect::ResumeIds;
use crate::encode::{Encoder, id_prefix};
use crate::end::End;
use crate::journal::{Bounds, Journal};
use crate::queue::{Close, Counts, Feed, Gating, Limits};
pub use budget::Budget;
pub use input::Input;
pub use pushing::Pushing;
use slot::Slot;
use tap::Tapped;
pub use tap::{ControlMessage, ELSEWHERE_FOR, Tap};
pub use viewers::{Attached, Refused, Step};

/// How long a viewer's queue may be full before the overflow rule applies to it (see `stream::pump`).
const OVERFLOW_GRACE: Duration = Duration::from_millis(100);

/// What a stream takes beside its events: the request, the head, the names.
const STREAM_BYTES: usize = 4 * 1024;

/// What happens to the run when its last viewer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLeave {
    /// The run is cancelled.
    Cancel,
    /// The run is cancelled if nobody comes back within this time.
    Grace(Duration),
    /// The run goes on to its end.
    Continue,
}

/// Which events have ids that Weir gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// None.
    Off,
    /// Events of dialects whose clients come back with the last id.
    WhereUsed,
    /// All, except where they would break clients.
    WhereSafe,
}

/// The settings of a hub.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The bounds of the journal.
    pub bounds: Bounds,
    /// The limits of each viewer's queue.
    pub limits: Limits,
    /// What is held back from viewers on purpose.
    pub gating: Gating,
    /// Maximum number of viewers at a time.
    pub max_viewers: usize,
    /// What happens when the last one leaves.
    pub on_leave: OnLeave,
    /// Which events have ids.
    pub ids: Ids,
    /// Several agents write the events.
    pub has_agents: bool,
}

/// One stream with its journal and its viewers.
///
/// **How it works.** The stream's pump owns the [`Input`]; the task of each viewer's connection polls
/// [`Hub::poll_viewer`]; both hold the hub, and so does the list of streams that can be resumed. Everything is behind
/// one lock, which is held for the events of one read, or while one piece of the journal is copied. The pump wakes a
/// viewer's response through its queue, and a viewer's task only when that must act: it has fallen behind, or the
/// stream is over. A viewer's task wakes the pump when it is the last to leave, and when it takes something that the
/// pump waits for. Whoever needs both the hub's lock and that of a queue takes the hub's first. The hub is bounded by
/// its journal ([`Bounds`]), by one queue for each of `max_viewers`, and by the [`Budget`] of all journals.
#[derive(Debug)]
pub struct Hub {
    /// The name of the stream in the ids of its events.
    name: Box<str>,
    settings: Settings,
    budget: Arc<Budget>,
    shared: Mutex<State>,
    /// The pump must check more than its upstream.
    alarmed: AtomicBool,
    /// The queue of the first viewer, which most streams have alone: the pump locks it once for all events of a read.
    first: OnceLock<Feed>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    viewers: Vec<Slot>,
    /// How many viewers have come.
    came: u32,
    encoder: Encoder,
    /// Events have ids.
    has_ids: bool,
    /// Nothing has been pushed: the first events may show that their dialect is another one.
    is_fresh: bool,
    close: Option<Close>,
    /// When the stream was closed.
    closed_at: Option<Instant>,
    /// What the viewers get at the end although it is not an event of the stream.
    untold: Option<Box<[u8]>>,
    /// The last viewer has left.
    left: Option<Left>,
    /// A viewer has taken everything, up to the end.
    delivered: bool,
    /// The streams of all viewers must end for this reason.
    ending: Option<End>,
    /// The stream of some viewer must end.
    has_lost: bool,
    /// The only viewer has taken nothing for the grace period.
    slow: bool,
    /// The pump waits until something is taken.
    pump_waits: bool,
    /// How often something was taken or somebody left.
    changes: u64,
    pump: Option<Waker>,
    /// The counts of viewers that have left.
    counts: Counts,
    /// How many events were evicted before the end of `keep`.
    evicted: u64,
    /// How much of the journal's memory the budget knows.
    budgeted: usize,
    /// How the run has ended.
    outcome: Option<End>,
    /// Where the events are kept as well.
    tap: Option<Tapped>,
    /// The viewers that other processes have, and until when they count.
    elsewhere: HashMap<Box<str>, Instant>,
}

/// How the last viewer has left.
#[derive(Clone, Copy, Debug)]
struct Left {
    at: Instant,
    end: End,
}

impl Hub {
    /// Creates the hub of the stream with this name, and the pump's end of it. It has no viewer.
    pub fn new(
        name: &str,
        settings: Settings,
        encoder: Encoder,
        budget: Arc<Budget>,
    ) -> (Arc<Self>, Input) {
        Self::after(0, name, settings, encoder, budget)
    }

    /// Creates the hub for the events of the stream behind the one with this number.
    pub fn after(
        last: u64,
        name: &str,
        settings: Settings,
        encoder: Encoder,
        budget: Arc<Budget>,
    ) -> (Arc<Self>, Input) {
        let hub = Arc::new(Self {
            name: name.into(),
            settings,
            budget,
            shared: Mutex::new(State {
                journal: Journal::after(settings.bounds, last),
                viewers: Vec::new(),
                came: 0,
                encoder,
                has_ids: false,
                is_fresh: true,
                close: None,
                closed_at: None,
                untold: None,
                left: None,
                delivered: false,
                ending: None,
                has_lost: false,
                slow: false,
                pump_waits: false,
                changes: 0,
                pump: None,
                counts: Counts::default(),
                evicted: 0,
                budgeted: 0,
                outcome: None,
                tap: None,
                elsewhere: HashMap::new(),
            }),
            alarmed: AtomicBool::new(false),
            first: OnceLock::new(),
        });
        let has_ids = hub.ids(encoder).is_some();
        hub.lock().has_ids = has_ids;
        (Arc::clone(&hub), Input::new(hub))
    }

    /// Returns the name of the stream.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the pump check more than its upstream after its next push.
    pub fn alarm(&self) {
        self.alarmed.store(true, Ordering::Release);
    }

    /// Returns what is kept: the number of the oldest event, of the last one, and how many viewers there are.
    pub fn extent(&self) -> Extent {
        let state = self.lock();
        Extent {
            first: state.journal.first(),
            last: state.journal.last(),
            viewers: state.viewers.len(),
            closed_at: state.closed_at,
            allocated: state.journal.allocated(),
            abandoned_at: state.left.map(|left| left.at),
        }
    }

    /// Returns the number of the newest event that has this id from the upstream.
    pub fn find_id(&self, id: &[u8]) -> Option<u64> {
        self.lock().journal.find_id(id)
    }

    /// Calls `look` with the first events, as long as it returns true.
    pub fn look(&self, mut look: impl FnMut(u64, &[u8]) -> bool) {
        let state = self.lock();
        for (seq, kept) in state.journal.events(0) {
            if !look(seq, kept.block) {
                break;
            }
        }
    }

    /// Evicts the oldest half of the journal, to make room for others. Returns how many events went.
    pub fn evict_half(&self) -> u64 {
        let mut state = self.lock();
        let target = state.journal.bytes() / 2;
        let mut evicted = 0;
        while state.journal.bytes() > target && state.evict_for_others() {
            evicted += 1;
        }
        state.journal.shrink();
        self.settle(&mut state);
        let lost = state.wake_lost();
        drop(state);
        wake(lost);
        evicted
    }

    /// Evicts everything of a stream that is over, because its time has passed or its memory is needed.
    pub fn empty(&self) -> u64 {
        let mut state = self.lock();
        let evicted = state.journal.last() + 1 - state.journal.first();
        for slot in &mut state.viewers {
            slot.lose_behind();
        }
        state.journal.clear();
        self.settle(&mut state);
        let lost = state.wake_lost();
        drop(state);
        wake(lost);
        evicted
    }

    /// Returns how many events the journal's own bounds have evicted since the last call.
    pub fn take_evicted(&self) -> u64 {
        std::mem::take(&mut self.lock().evicted)
    }

    /// Tells the budget how much memory the stream takes now. Returns whether that has changed.
    fn settle(&self, state: &mut State) -> bool {
        let now = state.journal.allocated() + STREAM_BYTES;
        let changed = now != state.budgeted;
        if changed {
            self.budget.change(state.budgeted, now);
            state.budgeted = now;
        }
        changed
    }

    /// Returns what is written before the number of an event; `None` if events have no ids.
    fn ids(&self, encoder: Encoder) -> Option<Box<[u8]>> {
        let has = match (self.settings.ids, encoder.resume_ids()) {
            (Ids::Off, _) | (_, ResumeIds::Never) => false,
            (Ids::WhereSafe, _) | (_, ResumeIds::Used) => true,
            (Ids::WhereUsed, ResumeIds::Skipped) => false,
        };
        has.then(|| id_prefix(&self.name))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let state = self
            .shared
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        self.budget.change(state.budgeted, 0);
    }
}

/// What a hub holds.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The number of the oldest event that is kept; one more than `last` if none is.
    pub first: u64,
    /// The number of the last event; zero before the first.
    pub last: u64,
    /// How many viewers there are.
    pub viewers: usize,
    /// When the stream was over; `None` while it runs.
    pub closed_at: Option<Instant>,
    /// How much memory the journal takes.
    pub allocated: usize,
    /// Since when there is no viewer.
    pub abandoned_at: Option<Instant>,
}

/// Wakes whom a change of the state concerns, once the lock is released.
fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
