//! Which agents have something to be read: each has a waker of its own, so that a wake-up says whose it is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The bit of the timer. Those below it are the agents'.
const TIMER: u32 = 31;

/// Which agents have something to be read.
#[derive(Debug)]
pub(super) struct Ready {
    shared: Arc<Shared>,
    /// The waker that is registered.
    known: Option<Waker>,
}

#[derive(Debug)]
struct Shared {
    bits: AtomicU32,
    /// The task that reads. Locked only to replace or to wake it.
    task: Mutex<Option<Waker>>,
}

/// Wakes the task for one agent, or for the timer.
#[derive(Debug)]
struct SourceWaker {
    shared: Arc<Shared>,
    bit: u32,
}

impl Ready {
    /// All of `agents` are to be asked once.
    pub(super) fn new(agents: usize) -> Self {
        let bits = (0..agents).fold(0, |bits, agent| bits | bit(agent));
        Self {
            shared: Arc::new(Shared {
                bits: AtomicU32::new(bits),
                task: Mutex::new(None),
            }),
            known: None,
        }
    }

    /// Returns the waker of an agent.
    pub(super) fn waker(&self, agent: usize) -> Waker {
        self.source_waker(bit(agent))
    }

    /// Returns the waker of the timer.
    pub(super) fn timer(&self) -> Waker {
        self.source_waker(1 << TIMER)
    }

    fn source_waker(&self, bit: u32) -> Waker {
        Waker::from(Arc::new(SourceWaker {
            shared: Arc::clone(&self.shared),
            bit,
        }))
    }

    /// Sets which task is woken.
    pub(super) fn register(&mut self, task: &Waker) {
        if self
            .known
            .as_ref()
            .is_some_and(|known| known.will_wake(task))
        {
            return;
        }
        self.known = Some(task.clone());
        *self
            .shared
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }

    /// Reports whether an agent has something, and notes that it is asked now.
    pub(super) fn take(&self, agent: usize) -> bool {
        self.take_bit(bit(agent))
    }

    /// Reports whether the timer has fired, and notes that it is looked at now.
    pub(super) fn take_timer(&self) -> bool {
        self.take_bit(1 << TIMER)
    }

    /// The agent has more.
    pub(super) fn set(&self, agent: usize) {
        self.shared.bits.fetch_or(bit(agent), Ordering::AcqRel);
    }

    /// The timer's time has passed.
    pub(super) fn set_timer(&self) {
        self.shared.bits.fetch_or(1 << TIMER, Ordering::AcqRel);
    }

    /// Reports whether an agent has something.
    pub(super) fn is_set(&self, agent: usize) -> bool {
        self.shared.bits.load(Ordering::Acquire) & bit(agent) != 0
    }

    /// Reports whether anything is to be done.
    pub(super) fn any(&self) -> bool {
        self.shared.bits.load(Ordering::Acquire) != 0
    }

    fn take_bit(&self, bit: u32) -> bool {
        // Most are not set, and a load does not take the cache line from others.
        self.shared.bits.load(Ordering::Acquire) & bit != 0
            && self.shared.bits.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }
}

/// Returns the bit of an agent; none if there are too many.
fn bit(agent: usize) -> u32 {
    match u32::try_from(agent) {
        Ok(agent) if agent < TIMER => 1 << agent,
        _ => 0,
    }
}

impl Wake for SourceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = self.shared.bits.fetch_or(self.bit, Ordering::AcqRel);
        if before & self.bit != 0 {
            // The task has been woken for it, or is about to ask.
            return;
        }
        let task = self
            .shared
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug, Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_up_says_whose_it_is() {
        let task = Arc::new(Task::default());
        let mut ready = Ready::new(3);
        ready.register(&Waker::from(Arc::clone(&task)));
        for agent in 0..3 {
            assert!(ready.take(agent), "each is asked once");
            assert!(!ready.take(agent));
        }
        assert!(!ready.any());
        ready.waker(1).wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert!(!ready.take(0) && ready.is_set(1) && ready.take(1));
        ready.timer().wake();
        assert!(ready.any() && ready.take_timer() && !ready.any());
        assert_eq!(task.0.load(Ordering::Relaxed), 2);
    }
}
