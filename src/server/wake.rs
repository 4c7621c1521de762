//! A waker that also records why it was used.
//!
//! A connection's task is woken for each event of a stream. The record lets it check its timer and its client
//! only when these caused the wake-up.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::client_conn::ClientConn;

/// A source of wake-ups of a connection, besides its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WokenBy {
    /// The client sent something, or left.
    Client,
    /// A deadline may have passed.
    Timer,
}

/// A waker of a connection that records its source.
#[derive(Debug)]
pub(super) struct FlagWaker {
    waker: Waker,
    /// The task that it wakes.
    task: Waker,
}

#[derive(Debug)]
struct Inner {
    conn: Arc<ClientConn>,
    woken_by: WokenBy,
    task: Waker,
}

impl FlagWaker {
    /// Creates a waker that records `woken_by` at `conn` and wakes `task`.
    pub(super) fn new(woken_by: WokenBy, conn: &Arc<ClientConn>, task: &Waker) -> Self {
        let inner = Inner {
            conn: Arc::clone(conn),
            woken_by,
            task: task.clone(),
        };
        Self {
            waker: Arc::new(inner).into(),
            task: task.clone(),
        }
    }

    /// Returns the waker to wait with.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Reports whether it wakes `task`.
    pub(super) fn wakes(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.woken_by {
            WokenBy::Client => self.conn.note_heard(),
            WokenBy::Timer => self.conn.note_rung(),
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
        let conn = Arc::new(ClientConn::new(limit, limit));
        let task = Waker::from(Arc::new(Task));
        let client = FlagWaker::new(WokenBy::Client, &conn, &task);
        let timer = FlagWaker::new(WokenBy::Timer, &conn, &task);
        assert!(client.wakes(&task) && !client.wakes(timer.waker()));
        client.waker().wake_by_ref();
        assert!(!conn.take_rung());
        assert!(conn.take_heard() && !conn.take_heard());
        timer.waker().wake_by_ref();
        assert!(!conn.take_heard());
        assert!(conn.take_rung() && !conn.take_rung());
    }
}
