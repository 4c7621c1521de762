//! Why the task of a tunnel was woken: whatever wakes it has a bell of its own, so that a message costs no look at the
//! other direction, at the timer, or at whether the tunnel is to be stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// The bells of a tunnel.
#[derive(Debug)]
pub(super) struct Bells {
    /// The task that they wake.
    task: Waker,
    /// A socket of the direction to the client.
    pub(super) down: Bell,
    /// The tunnel is to be stopped.
    pub(super) stop: Bell,
    /// A deadline may have passed.
    pub(super) timer: Bell,
    /// A socket of the direction to the agent.
    pub(super) up: Bell,
}

impl Bells {
    /// Creates the bells of a task. All have rung, so that everything is looked at once.
    pub(super) fn new(task: &Waker) -> Self {
        Self {
            task: task.clone(),
            down: Bell::new(task),
            stop: Bell::new(task),
            timer: Bell::new(task),
            up: Bell::new(task),
        }
    }

    /// Reports whether they wake `task`.
    pub(super) fn wakes(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }

    /// Has both directions looked at, whoever rang.
    pub(super) fn ring_both_ways(&self) {
        self.up.ring();
        self.down.ring();
    }
}

/// The bell of one source of wake-ups.
#[derive(Debug)]
pub(super) struct Bell {
    state: Arc<State>,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    has_rung: AtomicBool,
    task: Waker,
}

impl Bell {
    fn new(task: &Waker) -> Self {
        let state = Arc::new(State {
            has_rung: AtomicBool::new(true),
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

    /// Reports whether it has rung since the last call.
    pub(super) fn take(&self) -> bool {
        // Most have not, and a load costs less than a swap.
        let has_rung = &self.state.has_rung;
        has_rung.load(Ordering::Relaxed) && has_rung.swap(false, Ordering::Acquire)
    }

    /// Rings without waking the task, which is awake.
    pub(super) fn ring(&self) {
        self.state.has_rung.store(true, Ordering::Release);
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
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
    fn each_bell_says_once_that_it_has_rung_and_wakes_the_task() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let bells = Bells::new(&waker);
        assert!(bells.wakes(&waker) && !bells.wakes(Waker::noop()));
        let all = [&bells.down, &bells.stop, &bells.timer, &bells.up];
        for bell in all {
            assert!(bell.take() && !bell.take(), "all have rung at first");
        }
        for (index, bell) in all.into_iter().enumerate() {
            bell.context().waker().wake_by_ref();
            assert_eq!(task.0.load(Ordering::Relaxed), index + 1);
            let rung = all.map(Bell::take);
            assert_eq!(rung.iter().filter(|rung| **rung).count(), 1);
            assert!(rung[index]);
        }
        bells.ring_both_ways();
        assert!(bells.up.take() && bells.down.take());
        assert!(!bells.stop.take() && !bells.timer.take());
        assert_eq!(task.0.load(Ordering::Relaxed), 4, "it is awake");
    }
}
