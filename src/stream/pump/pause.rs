//! Turns: how much a stream does before the thread's other tasks run and its sockets are asked.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

/// How much a stream does between two pauses, as a number of bytes read or decoded, of which each event counts for at
/// least 128; then it yields to the thread's other streams. What it has read by then, it keeps undecoded. A stream
/// whose client cannot keep up pauses after every read, because whatever it reads faster is dropped.
pub(super) const TURN_WORK: usize = 32 * 1024;

/// How often that is halved for a compressed stream.
const MOST_HALVINGS: u32 = 4;

thread_local! {
    /// How many streams of this thread wait for their next turn.
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// Returns how much work the turn of a compressed stream has now. It is the less, the more streams take turns, because
/// an event of any other stream waits until each of them has had its turn. Streams that are not compressed keep their
/// whole turn: their agents have to send what Weir works on, and shorter turns cost a third more processor time.
pub(super) fn turn_of_compressed() -> usize {
    let waiting = WAITING.get();
    TURN_WORK >> (usize::BITS - waiting.leading_zeros()).min(MOST_HALVINGS)
}

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
        if self.0.replace(turn).is_none() {
            WAITING.set(WAITING.get() + 1);
        }
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if self.0.is_some() {
            // The runtime of another thread may end a stream, so this thread may not have counted it.
            WAITING.set(WAITING.get().saturating_sub(1));
        }
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

    #[tokio::test]
    async fn turns_are_shorter_while_others_wait_for_theirs() {
        let mut waiting = Vec::new();
        let mut turns = Vec::new();
        for _ in 0..10 {
            turns.push(turn_of_compressed() / 1024);
            let mut pause = Pause::default();
            poll_fn(|cx| Poll::Ready(Pin::new(&mut pause).poll(cx).is_pending())).await;
            waiting.push(pause);
        }
        assert_eq!(turns, [32, 16, 8, 8, 4, 4, 4, 4, 2, 2]);
        waiting.truncate(1);
        assert_eq!(turn_of_compressed() / 1024, 16);
        waiting.clear();
        assert_eq!(turn_of_compressed() / 1024, 32);
    }
}
