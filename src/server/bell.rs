//! A waker that also leaves word why it was used: a task that is woken for each event of a stream need not look
//! at its timer and its client each time, but only when they rang.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::link::Link;

/// What a connection waits for besides its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rings {
    /// Its client sent something, or left.
    Client,
    /// A deadline may have passed.
    Timer,
}

/// One of a connection's bells.
#[derive(Debug)]
pub(super) struct Bell {
    waker: Waker,
    /// Whom it wakes.
    task: Waker,
}

#[derive(Debug)]
struct Inner {
    link: Arc<Link>,
    rings: Rings,
    task: Waker,
}

impl Bell {
    /// Leaves word at `link` and wakes `task`.
    pub(super) fn new(rings: Rings, link: &Arc<Link>, task: &Waker) -> Self {
        let inner = Inner {
            link: Arc::clone(link),
            rings,
            task: task.clone(),
        };
        Self {
            waker: Arc::new(inner).into(),
            task: task.clone(),
        }
    }

    /// What to wait with.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether it wakes `task`.
    pub(super) fn wakes(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.rings {
            Rings::Client => self.link.note_heard(),
            Rings::Timer => self.link.note_rung(),
        }
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[tokio::test]
    async fn who_rang_is_told_once() {
        let limit = Duration::from_secs(60);
        let link = Arc::new(Link::new(limit, limit));
        let task = Waker::from(Arc::new(Task));
        let client = Bell::new(Rings::Client, &link, &task);
        let timer = Bell::new(Rings::Timer, &link, &task);
        assert!(client.wakes(&task) && !client.wakes(timer.waker()));
        client.waker().wake_by_ref();
        assert!(!link.take_rung());
        assert!(link.take_heard() && !link.take_heard());
        timer.waker().wake_by_ref();
        assert!(!link.take_heard());
        assert!(link.take_rung() && !link.take_rung());
    }
}
