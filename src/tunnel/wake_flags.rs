//! Why the task of a tunnel was woken: each source of wake-ups has a flag of its own, so that a message costs no check
//! of the other direction, of the timer, or of whether the tunnel is to be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// The wake flags of a tunnel.
#[derive(Debug)]
pub(super) struct WakeFlags {
    /// The task that the flags wake.
    task: Waker,
    /// A socket of the direction to the client.
    pub(super) down: WakeFlag,
    /// The tunnel is to be stopped.
    pub(super) stop: WakeFlag,
    /// A deadline may have passed.
    pub(super) timer: WakeFlag,
    /// A socket of the direction to the agent.
    pub(super) up: WakeFlag,
}

impl WakeFlags {
    /// Creates the flags of a task. All are set, so that everything is checked once.
    pub(super) fn new(task: &Waker) -> Self {
        Self {
            task: task.clone(),
            down: WakeFlag::new(task),
            stop: WakeFlag::new(task),
            timer: WakeFlag::new(task),
            up: WakeFlag::new(task),
        }
    }

    /// Reports whether the flags wake `task`.
    pub(super) fn wakes(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }

    /// Has both directions checked, whichever was woken.
    pub(super) fn set_both_ways(&self) {
        self.up.set();
        self.down.set();
    }
}

/// Set by one source of wake-ups.
#[derive(Debug)]
pub(super) struct WakeFlag {
    state: Arc<State>,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    is_set: AtomicBool,
    task: Waker,
}

impl WakeFlag {
    fn new(task: &Waker) -> Self {
        let state = Arc::new(State {
            is_set: AtomicBool::new(true),
            task: task.clone(),
        });
        Self {
            waker: Waker::from(Arc::clone(&state)),
            state,
        }
    }

    /// Returns what to wait with.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Reports whether the flag was set since the last call, and clears it.
    pub(super) fn take(&self) -> bool {
        // Most are not set, and a load costs less than a swap.
        let is_set = &self.state.is_set;
        is_set.load(Ordering::Relaxed) && is_set.swap(false, Ordering::Acquire)
    }

    /// Sets the flag without waking the task, which is awake.
    pub(super) fn set(&self) {
        self.state.is_set.store(true, Ordering::Release);
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_flag_says_once_that_it_was_set_and_wakes_the_task() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let flags = WakeFlags::new(&waker);
        assert!(flags.wakes(&waker) && !flags.wakes(Waker::noop()));
        let all = [&flags.down, &flags.stop, &flags.timer, &flags.up];
        for flag in all {
            assert!(flag.take() && !flag.take(), "all are set at first");
        }
        for (index, flag) in all.into_iter().enumerate() {
            flag.context().waker().wake_by_ref();
            assert_eq!(task.0.load(Ordering::Relaxed), index + 1);
            let set = all.map(WakeFlag::take);
            assert_eq!(set.iter().filter(|set| **set).count(), 1);
            assert!(set[index]);
        }
        flags.set_both_ways();
        assert!(flags.up.take() && flags.down.take());
        assert!(!flags.stop.take() && !flags.timer.take());
        assert_eq!(task.0.load(Ordering::Relaxed), 4, "it is awake");
    }
}
