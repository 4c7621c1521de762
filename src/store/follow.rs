//! Follows one stream that runs elsewhere, or ran.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::entry::{Entry, Mark, Numbered};
use super::terms::Followed;

/// No more is read for a follower who has this many bytes to take.
const MAX_BYTES: usize = 256 << 10;

/// Follows one stream. What it returns last, it returns again each time.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    feeds: Arc<Feeds>,
}

impl Follower {
    /// Returns what comes next. After anything but [`Followed::Events`], nothing does.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Followed> {
        let mut state = self.feed.lock();
        if !state.events.is_empty() {
            let was_full = state.is_full();
            state.bytes = 0;
            let events = std::mem::take(&mut state.events).into();
            drop(state);
            if was_full {
                self.feeds.changed.notify_one();
            }
            return Poll::Ready(Followed::Events(events));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(end.clone());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What was read for one follower.
#[derive(Debug)]
pub(super) struct Feed {
    id: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of the last event that was passed on.
    position: u64,
    events: VecDeque<Numbered>,
    bytes: usize,
    end: Option<Followed>,
    reader: Option<Waker>,
    /// When something was read last.
    heard: Instant,
    /// Whether the last reading had nothing new.
    is_dry: bool,
}

impl State {
    const fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
    }

    /// Takes what was read after `asked`.
    fn accept(&mut self, asked: u64, entries: &[Entry]) {
        // Another follower of the same stream is further: what it asked for may leave out what this one needs.
        if asked > self.position || self.end.is_some() {
            return;
        }
        for entry in entries {
            let is_known = entry.last <= self.position;
            if is_known && entry.mark.is_none() {
                continue;
            }
            // Numbers are missing: they were evicted, or lost when another server took over.
            if !is_known && entry.first > self.position.saturating_add(1) {
                self.end = Some(Followed::Gap { first: entry.first });
                return;
            }
            for (number, class, block) in &entry.events {
                if *number > self.position {
                    self.position = *number;
                    self.bytes += block.len();
                    self.events.push_back((*number, *class, block.clone()));
                }
            }
            self.end = entry.mark.as_ref().map(|mark| match mark {
                Mark::Ended { outcome, is_clean } => Followed::Ended {
                    outcome: outcome.clone(),
                    clean: *is_clean,
                },
                Mark::Gap => Followed::Gap {
                    first: entry.last.saturating_add(1),
                },
                Mark::Orphaned => Followed::OwnerGone,
            });
            if self.end.is_some() {
                return;
            }
        }
    }
}

impl Feed {
    fn new(id: &str, after: u64) -> Self {
        Self {
            id: id.to_owned(),
            state: Mutex::new(State {
                position: after,
                events: VecDeque::new(),
                bytes: 0,
                end: None,
                reader: None,
                heard: Instant::now(),
                is_dry: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns the number of the last event that was passed on, if more is wanted.
    pub(super) fn wants(&self) -> Option<u64> {
        let state = self.lock();
        (state.end.is_none() && !state.is_full()).then_some(state.position)
    }

    /// Changes the state, and wakes the follower if it has something to take.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = if state.end.is_some() || !state.events.is_empty() {
            state.reader.take()
        } else {
            None
        };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Passes on what was read after the event with the number `asked`.
    pub(super) fn offer(&self, asked: u64, entries: &[Entry]) {
        self.change(|state| {
            let before = state.position;
            state.accept(asked, entries);
            if asked <= before {
                state.is_dry = state.position == before;
                if !state.is_dry {
                    state.heard = Instant::now();
                }
            }
        });
    }

    /// Ends it, unless it has ended.
    pub(super) fn end(&self, end: Followed) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Ends it before the next event, because the stream is not stored any more.
    pub(super) fn lost(&self) {
        self.change(|state| {
            let first = state.position.saturating_add(1);
            state.end.get_or_insert(Followed::Gap { first });
        });
    }

    /// Returns since when nothing came although everything was read, if so.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.end.is_none() && state.is_dry).then_some(state.heard)
    }
}

/// The streams that are followed on one worker.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    list: Mutex<Vec<Weak<Feed>>>,
    changed: Notify,
}

impl Feeds {
    /// Begins to follow a stream after the event with this number.
    pub(super) fn follow(self: &Arc<Self>, id: &str, after: u64) -> Follower {
        let feed = Arc::new(Feed::new(id, after));
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(Arc::downgrade(&feed));
        drop(list);
        self.changed.notify_one();
        Follower {
            feed,
            feeds: Arc::clone(self),
        }
    }

    /// Returns those that somebody follows, and forgets the others.
    pub(super) fn all(&self) -> Vec<Arc<Feed>> {
        let mut all = Vec::new();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|feed| {
            let feed = feed.upgrade();
            let is_followed = feed.is_some();
            all.extend(feed);
            is_followed
        });
        drop(list);
        all
    }

    /// Waits until one is added, or can take more.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(first: u64, last: u64, mark: Option<Mark>) -> Entry {
        let event = |number| (number, 1, Bytes::from(format!("<{number}>")));
        Entry {
            first,
            last,
            events: (first..=last).map(event).collect(),
            mark,
        }
    }

    fn end(last: u64) -> Entry {
        let mark = Mark::Ended {
            outcome: "completed".to_owned(),
            is_clean: true,
        };
        entry(last + 1, last, Some(mark))
    }

    fn ended() -> Followed {
        Followed::Ended {
            outcome: "completed".to_owned(),
            clean: true,
        }
    }

    /// Offers replies, each with what was asked. Returns the numbers that were passed on, and the end.
    fn offered(after: u64, replies: &[(u64, Vec<Entry>)]) -> (Vec<u64>, Option<Followed>) {
        let feeds = Arc::new(Feeds::default());
        let mut follower = feeds.follow("id", after);
        let mut numbers = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        for (asked, entries) in replies {
            follower.feed.offer(*asked, entries);
            while let Poll::Ready(next) = follower.poll_next(&mut cx) {
                let Followed::Events(events) = next else {
                    return (numbers, Some(next));
                };
                for (number, _, block) in events {
                    assert_eq!(block, format!("<{number}>"));
                    numbers.push(number);
                }
            }
        }
        (numbers, None)
    }

    #[test]
    fn each_event_comes_once_and_in_order() {
        for (after, replies, want) in [
            (
                0,
                vec![(0, vec![entry(1, 3, None), entry(4, 4, None)])],
                vec![1, 2, 3, 4],
            ),
            // The entry holds what the follower has, too.
            (2, vec![(2, vec![entry(1, 3, None)])], vec![3]),
            // A reply that comes twice.
            (
                0,
                vec![(0, vec![entry(1, 2, None)]), (0, vec![entry(1, 2, None)])],
                vec![1, 2],
            ),
            // Another server has less than the follower had seen, and goes on.
            (
                5,
                vec![(3, vec![entry(4, 4, None)]), (5, vec![entry(5, 7, None)])],
                vec![6, 7],
            ),
            // Asked for another follower, which is further.
            (
                0,
                vec![(5, vec![entry(6, 6, None)]), (0, vec![entry(1, 1, None)])],
                vec![1],
            ),
        ] {
            assert_eq!(
                offered(after, &replies),
                (want, None),
                "{after} {replies:?}"
            );
        }
    }

    #[test]
    fn a_stream_ends_after_its_last_event() {
        for (after, entries, numbers, want) in [
            (0, vec![entry(1, 2, None), end(2)], vec![1, 2], ended()),
            (2, vec![end(2)], vec![], ended()),
            // Beyond the end.
            (9, vec![end(2)], vec![], ended()),
            (2, vec![entry(3, 3, end(3).mark)], vec![3], ended()),
            (3, vec![entry(3, 3, end(3).mark)], vec![], ended()),
            (
                2,
                vec![entry(3, 2, Some(Mark::Orphaned))],
                vec![],
                Followed::OwnerGone,
            ),
            (
                2,
                vec![entry(3, 2, Some(Mark::Gap))],
                vec![],
                Followed::Gap { first: 3 },
            ),
        ] {
            let replies = [(after, entries)];
            assert_eq!(
                offered(after, &replies),
                (numbers, Some(want)),
                "{replies:?}"
            );
        }
    }

    #[test]
    fn missing_numbers_are_a_gap() {
        for (after, entries, numbers, first) in [
            // Evicted.
            (0, vec![entry(5, 6, None)], vec![], 5),
            // Lost by a server that took over.
            (0, vec![entry(1, 2, None), entry(4, 4, None)], vec![1, 2], 4),
            // The end is there, but not what came before it.
            (0, vec![entry(1, 2, None), end(4)], vec![1, 2], 5),
        ] {
            let replies = [(after, entries)];
            let want = (numbers, Some(Followed::Gap { first }));
            assert_eq!(offered(after, &replies), want, "{replies:?}");
        }
    }

    #[test]
    fn a_follower_that_takes_nothing_is_not_read_for() {
        let feeds = Arc::new(Feeds::default());
        let mut follower = feeds.follow("id", 0);
        assert_eq!(follower.feed.wants(), Some(0));
        let mut large = entry(1, 1, None);
        for (.., block) in &mut large.events {
            *block = Bytes::from(vec![b'x'; MAX_BYTES]);
        }
        follower.feed.offer(0, &[large]);
        assert_eq!(follower.feed.wants(), None);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(follower.poll_next(&mut cx).is_ready());
        assert_eq!(follower.feed.wants(), Some(1));
        assert_eq!(feeds.all().len(), 1);
        follower.feed.lost();
        let gap = Followed::Gap { first: 2 };
        assert_eq!(follower.poll_next(&mut cx), Poll::Ready(gap.clone()));
        follower.feed.end(Followed::Down);
        assert_eq!(follower.poll_next(&mut cx), Poll::Ready(gap));
        drop(follower);
        assert!(feeds.all().is_empty());
    }

    #[test]
    fn silence_counts_only_when_everything_was_read() {
        let feeds = Arc::new(Feeds::default());
        let follower = feeds.follow("id", 0);
        assert_eq!(follower.feed.silent_since(), None);
        follower.feed.offer(0, &[]);
        assert!(follower.feed.silent_since().is_some());
        follower.feed.offer(0, &[entry(1, 1, None)]);
        assert_eq!(follower.feed.silent_since(), None);
        follower.feed.offer(5, &[]);
        assert_eq!(
            follower.feed.silent_since(),
            None,
            "asked for another follower"
        );
    }
}
