//! Whether the processes whose streams are followed still run.
//!
//! A process that runs renews its lease. If it does not, those who follow its streams would wait for ever: once all
//! that it has stored is read and its lease is missing twice, they are told that it is gone, and the stream is sealed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::Instant;

use super::Store;
use super::client::{self, Link};
use super::commands::{Names, orphaned};
use super::follow::Feed;
use super::meta;
use super::reply::bytes;
use super::terms::Followed;

/// Between two checks.
const EVERY: Duration = Duration::from_millis(500);
/// After a connection was made, others may still have to renew their leases.
const GRACE: Duration = Duration::from_secs(3);
/// How long nothing must come of a stream before it is asked whether it still exists.
const SILENCE: Duration = Duration::from_secs(2);

/// What is known of a stream that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    owner: String,
    keep: Duration,
    asked: Instant,
}

/// What is known of streams and their processes.
#[derive(Debug)]
pub(super) struct Owners {
    next: Instant,
    streams: HashMap<String, Known>,
    /// The processes whose lease was missing at the last check.
    missing: HashSet<String>,
}

impl Owners {
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now() + GRACE,
            streams: HashMap::new(),
            missing: HashSet::new(),
        }
    }

    /// Ends what will not go on. Call it after a reading.
    pub(super) async fn check(
        &mut self,
        store: &Store,
        link: &mut Link,
        feeds: &[Arc<Feed>],
    ) -> Result<(), RedisError> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        self.next = now + EVERY;
        let ids: BTreeSet<&str> = feeds.iter().map(|feed| feed.id()).collect();
        self.streams.retain(|id, _| ids.contains(&**id));
        let silent: Vec<(&Arc<Feed>, Instant)> = feeds
            .iter()
            .filter_map(|feed| Some((feed, feed.silent_since()?)))
            .collect();
        self.look_up(store, link, &silent).await?;
        let gone = self.gone(store, link, &silent).await?;
        let mut seals: HashMap<String, Vec<Cmd>> = HashMap::new();
        for (feed, _) in silent {
            let Some(known) = self.streams.get(feed.id()) else {
                continue;
            };
            if let Some(position) = feed.wants().filter(|_| gone.contains(&known.owner)) {
                let names = Names::new(&store.keys, feed.id());
                let commands = orphaned(&names, position, meta::millis(known.keep));
                seals.insert(feed.id().to_owned(), commands);
                feed.end(Followed::OwnerGone);
            }
        }
        let (pipelines, _) = client::pack(seals.into_values(), link.is_cluster());
        for sealed in link.send_all(&pipelines).await {
            sealed?;
        }
        Ok(())
    }

    /// Finds out which processes run these streams, and which streams are not stored any more.
    async fn look_up(
        &mut self,
        store: &Store,
        link: &mut Link,
        silent: &[(&Arc<Feed>, Instant)],
    ) -> Result<(), RedisError> {
        let now = Instant::now();
        let is_due = |feed: &Feed, since: Instant| match self.streams.get(feed.id()) {
            None => true,
            Some(known) => now >= since.max(known.asked) + SILENCE,
        };
        let due: BTreeSet<&str> = silent
            .iter()
            .filter(|(feed, since)| is_due(feed, *since))
            .map(|(feed, _)| feed.id())
            .collect();
        let gets = due.iter().map(|id| one("GET", &store.keys.meta(id)));
        let answers = ask(link, gets.collect()).await?;
        for (id, answer) in due.into_iter().zip(answers) {
            let stored = bytes(answer?);
            let read = stored.and_then(|stored| meta::read(stored, id, &store.sealer));
            if let Some((meta, keep)) = read {
                let known = Known {
                    owner: meta.owner,
                    keep,
                    asked: now,
                };
                self.streams.insert(id.to_owned(), known);
                continue;
            }
            for (feed, _) in silent.iter().filter(|(feed, _)| feed.id() == id) {
                feed.lost();
            }
        }
        Ok(())
    }

    /// Returns the processes that are gone.
    async fn gone(
        &mut self,
        store: &Store,
        link: &mut Link,
        silent: &[(&Arc<Feed>, Instant)],
    ) -> Result<HashSet<String>, RedisError> {
        let owners = silent.iter().filter_map(|(feed, _)| {
            let known = self.streams.get(feed.id())?;
            (known.owner != store.instance).then(|| known.owner.clone())
        });
        let owners: BTreeSet<String> = owners.collect();
        let questions = owners
            .iter()
            .map(|owner| one("EXISTS", &store.keys.owner(owner)));
        let answers = ask(link, questions.collect()).await?;
        let mut missing = HashSet::new();
        for (owner, answer) in owners.into_iter().zip(answers) {
            if answer? == Value::Int(0) {
                missing.insert(owner);
            }
        }
        let gone = missing.intersection(&self.missing).cloned().collect();
        self.missing = missing;
        Ok(gone)
    }
}

fn one(name: &str, key: &str) -> Vec<Cmd> {
    let mut command = redis::cmd(name);
    command.arg(key);
    vec![command]
}

/// Asks one question of each slot. Returns the answers in order.
async fn ask(
    link: &mut Link,
    questions: Vec<Vec<Cmd>>,
) -> Result<Vec<RedisResult<Value>>, RedisError> {
    let (pipelines, _) = client::pack(questions, link.is_cluster());
    let mut all = Vec::new();
    for answers in link.send_all(&pipelines).await {
        all.append(&mut answers?);
    }
    Ok(all)
}
