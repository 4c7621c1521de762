//! Reads the streams that are followed on one worker, for as long as the process runs: one connection for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError};
use tokio::time::{Instant, sleep, timeout};

use super::Store;
use super::client::{self, Link};
use super::entry::Entry;
use super::flush::PAUSE;
use super::follow::Feed;
use super::owners::Owners;
use super::reply::streams;
use super::terms::Followed;
use super::worker_store::WorkerStore;

/// How long a reading waits for something new. Whoever begins to follow a stream waits as long at most.
const BLOCK: Duration = Duration::from_millis(100);
/// Between readings that do not wait: in a cluster, and of more streams than one command names.
const POLL: Duration = Duration::from_millis(30);
/// Maximum number of streams that one command names.
const MAX_STREAMS: usize = 128;
/// Maximum number of entries that are read of a stream at a time.
const MAX_ENTRIES: usize = 8;
/// How long followers wait for a server that is away: a failover takes some seconds.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(15);

/// Where to read in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    least: u64,
    most: u64,
}

/// Returns the streams of which more is wanted, and between which events those who follow them are.
fn wanted(feeds: &[Arc<Feed>]) -> BTreeMap<String, Range> {
    let mut wanted: BTreeMap<String, Range> = BTreeMap::new();
    for feed in feeds {
        let Some(position) = feed.wants() else {
            continue;
        };
        let range = wanted.entry(feed.id().to_owned()).or_insert(Range {
            least: position,
            most: position,
        });
        range.least = range.least.min(position);
        range.most = range.most.max(position);
    }
    wanted
}

/// Reads again and again.
pub(super) async fn run(store: &Store, worker_store: &WorkerStore) {
    let mut away: Option<Instant> = None;
    loop {
        while worker_store.feeds.all().is_empty() {
            away = None;
            worker_store.feeds.changed().await;
        }
        let failure = match client::connect(&store.settings).await {
            Ok(link) => Reader::new(store, worker_store, link).read(&mut away).await,
            Err(error) => Some(error),
        };
        let Some(error) = failure else {
            continue;
        };
        store.failed(Some(&error));
        let since = *away.get_or_insert_with(Instant::now);
        if since.elapsed() >= FAILOVER_TIMEOUT {
            for feed in worker_store.feeds.all() {
                feed.end(Followed::Down);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Reads over one connection.
struct Reader<'a> {
    store: &'a Store,
    worker_store: &'a WorkerStore,
    link: Link,
    owners: Owners,
    /// Whether those of several followers of a stream who are furthest are read for in this round.
    is_for_furthest: bool,
}

impl<'a> Reader<'a> {
    fn new(store: &'a Store, worker_store: &'a WorkerStore, link: Link) -> Self {
        Self {
            store,
            worker_store,
            link,
            owners: Owners::new(),
            is_for_furthest: false,
        }
    }

    /// Reads until it fails, or until nobody follows a stream. `away` is reset by the first success.
    async fn read(&mut self, away: &mut Option<Instant>) -> Option<RedisError> {
        loop {
            let feeds = self.worker_store.feeds.all();
            if feeds.is_empty() {
                return None;
            }
            if let Err(error) = self.round(&feeds).await {
                return Some(error);
            }
            *away = None;
            if let Err(error) = self.owners.check(self.store, &mut self.link, &feeds).await {
                return Some(error);
            }
        }
    }

    /// Reads once.
    async fn round(&mut self, feeds: &[Arc<Feed>]) -> Result<(), RedisError> {
        let wanted = wanted(feeds);
        if wanted.is_empty() {
            // Everyone has enough to take for now.
            let _ = timeout(BLOCK, self.worker_store.feeds.changed()).await;
            return Ok(());
        }
        // Who is far behind does not hold up who is not.
        self.is_for_furthest = !self.is_for_furthest;
        let cursors: Vec<Cursor<'_>> = wanted
            .iter()
            .map(|(id, range)| Cursor {
                id,
                key: self.store.keys.events(id),
                after: if self.is_for_furthest {
                    range.most
                } else {
                    range.least
                },
            })
            .collect();
        let is_even = wanted.values().all(|range| range.least == range.most);
        let may_block = is_even && !self.link.is_cluster() && cursors.len() <= MAX_STREAMS;
        let size = if self.link.is_cluster() {
            1
        } else {
            MAX_STREAMS
        };
        let lists = cursors
            .chunks(size)
            .map(|some| vec![command(some, may_block)]);
        let (pipelines, _) = client::pack(lists, self.link.is_cluster());
        let mut silent: Vec<&Cursor<'_>> = cursors.iter().collect();
        for answers in self.link.send_all(&pipelines).await {
            for answer in answers? {
                for (key, entries) in streams(answer?) {
                    let Some(at) = silent.iter().position(|cursor| cursor.key == key) else {
                        continue;
                    };
                    let cursor = silent.swap_remove(at);
                    let read = |raw| Entry::read(raw, cursor.id, &self.store.sealer);
                    let entries: Vec<Entry> = entries.into_iter().map(read).collect();
                    offer(feeds, cursor, &entries);
                }
            }
        }
        for cursor in &silent {
            offer(feeds, cursor, &[]);
        }
        if silent.len() == cursors.len() && !may_block {
            let _ = timeout(POLL, self.worker_store.feeds.changed()).await;
        }
        Ok(())
    }
}

/// What is read of a stream.
struct Cursor<'a> {
    id: &'a str,
    key: String,
    /// The number of the event after which it is read.
    after: u64,
}

fn offer(feeds: &[Arc<Feed>], cursor: &Cursor<'_>, entries: &[Entry]) {
    for feed in feeds.iter().filter(|feed| feed.id() == cursor.id) {
        feed.offer(cursor.after, entries);
    }
}

fn command(cursors: &[Cursor<'_>], may_block: bool) -> Cmd {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(MAX_ENTRIES);
    if may_block {
        read.arg("BLOCK").arg(super::meta::millis(BLOCK));
    }
    read.arg("STREAMS");
    for cursor in cursors {
        read.arg(&*cursor.key);
    }
    for cursor in cursors {
        read.arg(format!("{}-0", cursor.after));
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::commands::tests::written;
    use crate::store::follow::Feeds;

    #[test]
    fn each_stream_is_named_once_however_many_follow_it() {
        let feeds = Arc::new(Feeds::default());
        let followers = [
            feeds.follow("b", 3),
            feeds.follow("a", 1),
            feeds.follow("b", 9),
        ];
        let wanted = wanted(&feeds.all());
        let ranges: Vec<_> = wanted.iter().map(|(id, range)| (&**id, *range)).collect();
        let range = |least, most| Range { least, most };
        assert_eq!(ranges, [("a", range(1, 1)), ("b", range(3, 9))]);
        drop(followers);
        assert!(super::wanted(&feeds.all()).is_empty());
    }

    #[test]
    fn a_reading_names_keys_first_and_then_positions() {
        let cursors = [("a", 1), ("b", 9)].map(|(id, after)| Cursor {
            id,
            key: format!("k{id}"),
            after,
        });
        assert_eq!(
            written(&[command(&cursors, true), command(&cursors[..1], false)]),
            [
                "XREAD COUNT 8 BLOCK 100 STREAMS ka kb 1-0 9-0",
                "XREAD COUNT 8 STREAMS ka 1-0"
            ]
        );
    }
}
