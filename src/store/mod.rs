//! Journals of streams in Redis or Valkey, so that any process can serve a client that comes back.
//!
//! ```text
//! Writer ──► Journal, Outbox ──► flush ──► Redis ──► pull ──► Feed ──► Follower
//!   a stream     what waits     a pipeline           one reading of     a viewer
//!   that runs    of a worker    at a time            all that a worker  elsewhere
//!   here                                             follows
//! ```
//!
//! | key | what |
//! |---|---|
//! | `<prefix>{<id>}:s` | the events of a stream (`entry`), a Redis stream |
//! | `<prefix>{<id>}:m` | what else is known of it (`meta`) |
//! | `<prefix>name:<name>` | the id of the stream that is remembered under a name |
//! | `<prefix>owner:<instance>` | the lease of a process |
//! | `<prefix>control:<instance>` | what is asked of a process, a Redis stream |
//! | `<prefix>key` | the key of the digests of callers |
//!
//! A stream never waits for the store. What cannot be stored, because the server is away for too long, full or refuses,
//! breaks the stream off there: it goes on for its client, but nobody finds the rest of it elsewhere.
//!
//! Each worker has a connection that writes and, once it follows a stream, one that reads. The first one has another
//! for questions of other processes.

mod ask;
mod bounds;
mod client;
mod commands;
mod control;
mod entry;
mod flush;
mod follow;
mod journal;
mod keys;
mod listen;
mod meta;
mod outbox;
mod owners;
mod probe;
mod pull;
mod reply;
mod room;
mod seal;
mod terms;
mod trim;
mod worker_store;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::{RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep};

use crate::config::{RedisSettings, Secret, sealing_key};

pub use follow::Follower;
pub use probe::{Finding, Severity, probe};
pub use terms::{Bounds, Control, Down, Followed, Meta, RemoteState, WRITTEN_BY_WEIR, Watch};
pub use writer::Writer;

use journal::Journal;
use keys::Keys;
use outbox::Outbox;
use reply::Verdict;
use room::Room;
use seal::Sealer;
use worker_store::WorkerStore;

/// How often the end of the process looks whether everything is stored.
const SETTLED_EVERY: Duration = Duration::from_millis(5);
/// At most one warning is logged in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The store of journals. Shared by all workers.
pub struct Store {
    settings: RedisSettings,
    /// The name of this process: random.
    instance: String,
    keys: Keys,
    sealer: Sealer,
    /// By worker.
    worker_stores: Vec<Arc<WorkerStore>>,
    /// The store of the first worker.
    first: Arc<WorkerStore>,
    room: Arc<Room>,
    watch: Arc<dyn Watch>,
    /// The streams that run here, by id. Locked for a look-up.
    running: Mutex<HashMap<String, Weak<Journal>>>,
    was_up: AtomicBool,
    /// When a warning was logged last.
    warned_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("instance", &self.instance)
            .field("worker_stores", &self.worker_stores)
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Creates the store of the process, unless this build has none.
    pub fn start(
        settings: &RedisSettings,
        workers: usize,
        watch: Arc<dyn Watch>,
    ) -> Option<Arc<Self>> {
        Some(Self::new(settings, workers, watch))
    }

    /// Waits until everything that was to be stored has been stored, but for `limit` at most.
    pub async fn settled(&self, limit: Duration) {
        let until = Instant::now() + limit;
        for worker_store in &self.worker_stores {
            worker_store.outbox.hurry();
        }
        while self.room.used() > 0 && Instant::now() < until {
            sleep(SETTLED_EVERY).await;
        }
    }

    /// Creates a store for this many workers. It connects once [`Store::run`] runs.
    pub fn new(settings: &RedisSettings, workers: usize, watch: Arc<dyn Watch>) -> Arc<Self> {
        let key = |secret: &Secret| sealing_key(&secret.value).ok();
        let sealer = Sealer::new(
            settings.encrypt.is_some(),
            settings.encrypt.as_ref().and_then(key),
            settings.encrypt_old.as_ref().and_then(key),
        );
        let room = Arc::new(Room::default());
        let worker_store = |worker| {
            let outbox = Outbox::new(Arc::clone(&room), Arc::clone(&watch));
            Arc::new(WorkerStore::new(worker, outbox))
        };
        let first = worker_store(0);
        let mut worker_stores = vec![Arc::clone(&first)];
        worker_stores.extend((1..workers).map(worker_store));
        Arc::new(Self {
            settings: settings.clone(),
            instance: random_name(),
            keys: Keys::new(&settings.prefix),
            sealer,
            worker_stores,
            first,
            room,
            watch,
            running: Mutex::default(),
            was_up: AtomicBool::new(false),
            warned_at: Mutex::default(),
        })
    }

    /// Does the work of one worker, for as long as its runtime runs: stores what waits, and reads what is followed. May
    /// be started again after a panic.
    pub async fn run(self: Arc<Self>, worker: usize) {
        let Some(worker_store) = self.worker_stores.get(worker) else {
            return;
        };
        // What a panic left.
        self.set_link(worker_store, None);
        let flush = Box::pin(flush::run(&self, worker_store));
        let pull = Box::pin(pull::run(&self, worker_store));
        if worker == 0 {
            let listen = Box::pin(listen::run(&self));
            tokio::join!(flush, pull, listen);
        } else {
            tokio::join!(flush, pull);
        }
    }

    /// Reports whether the store can be used, as far as is known.
    pub fn is_up(&self) -> bool {
        self.worker_stores
            .iter()
            .all(|worker_store| worker_store.is_up())
    }

    /// Returns the name of this process among those that share the store.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns how many bytes wait to be stored, or for an answer.
    pub fn waiting(&self) -> usize {
        self.room.used()
    }

    /// Begins to store a stream that runs on `worker`. Its first event has the number after `meta.last`.
    pub fn open(self: &Arc<Self>, worker: usize, id: &str, meta: Meta, bounds: Bounds) -> Writer {
        Writer::new(
            Arc::clone(self),
            self.worker_store(worker),
            id,
            meta,
            bounds,
        )
    }

    /// Follows a stream, on `worker`, from after the event with this number. [`Store::find`] says whether there is one.
    pub fn follow(self: &Arc<Self>, worker: usize, id: &str, after: u64) -> Follower {
        self.worker_store(worker).feeds.follow(id, after)
    }

    /// Returns what belongs to a worker; the first one's if there is no such one.
    fn worker_store(&self, worker: usize) -> Arc<WorkerStore> {
        Arc::clone(self.worker_stores.get(worker).unwrap_or(&self.first))
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Weak<Journal>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, journal: &Arc<Journal>) {
        let id = journal.id().to_owned();
        self.running().insert(id, Arc::downgrade(journal));
    }

    fn unregister(&self, id: &str) {
        self.running().remove(id);
    }

    /// Hands a message to the stream that it is about, if that runs here.
    fn deliver(&self, id: &str, control: Control) {
        let journal = self.running().get(id).and_then(Weak::upgrade);
        if let Some(journal) = journal {
            journal.deliver(control);
        }
    }

    /// Says whether the connection of a worker works.
    fn set_link(&self, worker_store: &WorkerStore, link: Option<client::Link>) {
        worker_store.set_link(link);
        let is_up = self.is_up();
        if self.was_up.swap(is_up, Ordering::Relaxed) != is_up {
            self.watch.up(is_up);
            if is_up {
                tracing::info!("the store of streams can be used");
            }
        }
    }

    /// Counts a failure, and logs it from time to time.
    fn failed(&self, error: Option<&RedisError>) {
        self.watch.error();
        if !self.may_warn() {
            return;
        }
        match error {
            Some(error) => {
                tracing::warn!(%error, "the store of streams cannot be used");
            }
            None => tracing::warn!("the store of streams does not answer in time"),
        }
    }

    /// Counts a refusal, and logs it from time to time.
    fn refused(&self, verdict: Verdict, answers: &[RedisResult<Value>]) {
        self.watch.error();
        if self.may_warn() {
            let error = answers.iter().find_map(|answer| answer.as_ref().err());
            let error = error.map(ToString::to_string);
            tracing::warn!(
                ?verdict,
                error,
                "the store of streams refuses; streams go on, but clients cannot come back to them elsewhere"
            );
        }
    }

    fn may_warn(&self) -> bool {
        let mut last = self
            .warned_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Returns 32 random hexadecimal digits.
fn random_name() -> String {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::error!(
            "the operating system gives no random bytes; processes that share a store are taken for one"
        );
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
