//! Lets the thread's other tasks run, and its sockets be asked, before a stream goes on.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

/// A pause of one turn. Wake-ups of its task by others do not shorten it: a client that takes what was just written
/// would wake it at once, and after each of some sixty wake-ups the runtime asks its sockets only once.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Arc<Turn>>);

#[derive(Debug)]
struct Turn {
    over: AtomicBool,
    task: Waker,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = &self.0 {
            if turn.over.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if turn.task.will_wake(cx.waker()) {
                return Poll::Pending;
            }
        }
        let turn = Arc::new(Turn {
            over: AtomicBool::new(false),
            task: cx.waker().clone(),
        });
        let waker = Arc::clone(&turn).into();
        // The runtime wakes it once it has asked its sockets.
        let _ = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        self.0 = Some(turn);
        Poll::Pending
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.over.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::ready;

    use super::*;

    #[tokio::test]
    async fn a_wake_up_by_others_does_not_shorten_it() {
        let polls = crate::tasks::spawn(async {
            let mut pause = Pause::default();
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                if polls < 10 {
                    // Puts the task back into the runtime's queue at once.
                    cx.waker().wake_by_ref();
                    assert!(Pin::new(&mut pause).poll(cx).is_pending(), "{polls}");
                    return Poll::Pending;
                }
                ready!(Pin::new(&mut pause).poll(cx));
                Poll::Ready(polls)
            })
            .await
        });
        assert!(polls.await.unwrap() >= 10);
    }
}
