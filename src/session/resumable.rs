//! The streams that clients can come back to: finds them by id and by other names, and forgets them in time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::{Instant, sleep};

use super::registry::LiveStream;
use super::stream_id::StreamId;
use crate::end::End;
use crate::hub::{Budget, Hub};
use crate::metrics::{Eviction, Metrics};

/// How often old journals are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long to rest after that.
const REST: Duration = Duration::from_millis(10);
/// How many of the newest streams with the same name are remembered.
const SAME_NAME: usize = 1024;

/// A digest of what a stream can be asked for by: a chat, an idempotency key, a path.
pub type Name = [u8; 32];

/// A stream that clients can come back to.
#[derive(Debug)]
pub struct Resumable {
    /// The stream, also when it is over.
    pub live: Arc<LiveStream>,
    /// The journal and the viewers of the stream.
    pub hub: Arc<Hub>,
    /// The digest of the caller's credentials.
    pub caller: [u8; 32],
    /// The digest of the request's body, where a second request must have the same.
    pub body: OnceLock<[u8; 32]>,
    /// The status that the first client got.
    pub status: StatusCode,
    /// The headers that the first client got.
    pub headers: HeaderMap,
    /// How long the journal stays after the end.
    pub keep: Duration,
    /// The id of the response in the Responses API, once it is known.
    response_id: OnceLock<Option<Box<str>>>,
    /// The names that it can be asked for by.
    names: Mutex<Vec<Name>>,
}

impl Resumable {
    /// Creates the entry of a stream.
    pub fn new(
        live: Arc<LiveStream>,
        hub: Arc<Hub>,
        caller: [u8; 32],
        head: (StatusCode, HeaderMap),
        keep: Duration,
    ) -> Self {
        Self {
            live,
            hub,
            caller,
            body: OnceLock::new(),
            status: head.0,
            headers: head.1,
            keep,
            response_id: OnceLock::new(),
            names: Mutex::default(),
        }
    }

    /// Reports whether the stream is a response of the Responses API with this id. `read` reads the id from the block
    /// of an event.
    pub fn is_response(&self, id: &str, read: impl Fn(&[u8]) -> Option<String>) -> bool {
        if let Some(known) = self.response_id.get() {
            return known.as_deref() == Some(id);
        }
        let mut found = None;
        self.hub.look(|seq, block| {
            found = read(block);
            found.is_none() && seq < 3
        });
        if found.is_some() || self.hub.extent().last >= 3 {
            let _ = self.response_id.set(found.as_deref().map(Box::<str>::from));
        }
        found.as_deref() == Some(id)
    }
}

/// All streams of the process that clients can come back to.
#[derive(Debug)]
pub struct Resumables {
    budget: Arc<Budget>,
    /// Locked only for a look-up, an addition, a removal or a copy of the list.
    known: Mutex<Known>,
    /// The names that requests have reserved whose streams have not begun. Locked only for a few lines.
    reserved: Arc<Mutex<HashMap<Name, Arc<Turn<()>>>>>,
    /// The key of the digests of credentials: that of all instances, if it was known before the first digest was made.
    key: OnceLock<[u8; 32]>,
    /// The key for streams that all instances share.
    shared_key: Mutex<Option<[u8; 32]>>,
    /// How many clients follow each stream of another instance. Locked only for a few lines.
    far: Arc<Mutex<HashMap<StreamId, usize>>>,
}

/// A client that follows a stream of another instance.
#[derive(Debug)]
pub struct FarViewer {
    id: StreamId,
    far: Arc<Mutex<HashMap<StreamId, usize>>>,
}

impl Drop for FarViewer {
    fn drop(&mut self) {
        let mut far = lock(&self.far);
        if let Some(count) = far.get_mut(&self.id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                far.remove(&self.id);
            }
        }
    }
}

/// The right to begin the stream with a name. Others who want it wait until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    name: Name,
    turn: Option<OwnedMutexGuard<()>>,
    reserved: Arc<Mutex<HashMap<Name, Arc<Turn<()>>>>>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = lock(&self.reserved);
        self.turn = None;
        // The list has one, and everybody who waits has one.
        if (reserved.get(&self.name)).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            reserved.remove(&self.name);
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    streams: HashMap<StreamId, Arc<Resumable>>,
    names: HashMap<Name, VecDeque<StreamId>>,
}

impl Resumables {
    /// Creates an empty list of streams whose journals may take `total` bytes together.
    pub fn new(total: usize) -> Self {
        Self {
            budget: Arc::new(Budget::new(total)),
            known: Mutex::default(),
            reserved: Arc::default(),
            key: OnceLock::new(),
            shared_key: Mutex::default(),
            far: Arc::default(),
        }
    }

    /// Returns the key of the digests of credentials, which stays the same.
    pub fn key(&self) -> &[u8; 32] {
        self.key.get_or_init(random_key)
    }

    /// Sets the key that all instances share. The process uses it for its own streams, too, unless some of them have
    /// begun, so that one digest serves for both.
    pub fn share_key(&self, key: [u8; 32]) {
        // Set already if it comes too late, or again.
        let _ = self.key.set(key);
        *lock(&self.shared_key) = Some(key);
    }

    /// Returns the key that all instances share, once it is known.
    pub fn shared_key(&self) -> Option<[u8; 32]> {
        *lock(&self.shared_key)
    }

    /// Counts a client that follows a stream of another instance. `None` if `max` do.
    pub fn enter_far(&self, id: StreamId, max: usize) -> Option<FarViewer> {
        let mut far = lock(&self.far);
        let count = far.entry(id).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        let far = Arc::clone(&self.far);
        Some(FarViewer { id, far })
    }

    /// Waits until nobody else has reserved the name. In progress are at most as many requests as there may be.
    pub async fn reserve(&self, name: Name) -> Reservation {
        let turn = Arc::clone(lock(&self.reserved).entry(name).or_default());
        // Dropped also if the request is, while it waits.
        let mut reservation = Reservation {
            name,
            turn: None,
            reserved: Arc::clone(&self.reserved),
        };
        reservation.turn = Some(turn.lock_owned().await);
        reservation
    }

    /// Returns the memory of all journals.
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Adds a stream.
    pub fn add(&self, stream: &Arc<Resumable>) {
        self.lock()
            .streams
            .insert(stream.live.id, Arc::clone(stream));
    }

    /// Adds a name by which a stream can be asked for. Of streams with the same name, the newest are kept.
    pub fn name(&self, stream: &Resumable, name: Name) {
        let mut known = self.lock();
        let same = known.names.entry(name).or_default();
        if same.len() == SAME_NAME {
            same.pop_front();
        }
        same.push_back(stream.live.id);
        drop(known);
        lock(&stream.names).push(name);
    }

    /// Returns the stream with this id.
    pub fn find(&self, id: StreamId) -> Option<Arc<Resumable>> {
        self.lock().streams.get(&id).map(Arc::clone)
    }

    /// Returns the streams with this name, the newest first.
    pub fn named(&self, name: &Name) -> Vec<Arc<Resumable>> {
        let known = self.lock();
        let ids = known.names.get(name).into_iter().flatten().rev();
        ids.filter_map(|id| known.streams.get(id).map(Arc::clone))
            .collect()
    }

    /// Returns all streams.
    pub fn list(&self) -> Vec<Arc<Resumable>> {
        self.lock().streams.values().cloned().collect()
    }

    /// Returns how many of the streams run, and how many are over. Counts what their own bounds have evicted.
    pub fn count(&self, metrics: &Metrics) -> (usize, usize) {
        let all = self.list();
        for stream in &all {
            let evicted = stream.hub.take_evicted();
            metrics.resume.evicted(Eviction::StreamLimit, evicted);
        }
        let over = all
            .iter()
            .filter(|stream| stream.hub.extent().closed_at.is_some());
        let over = over.count();
        (all.len() - over, over)
    }

    /// Ends the streams of those who read what is over, because the process ends.
    pub fn end_viewers(&self) {
        for stream in self.list() {
            if stream.hub.extent().closed_at.is_some() {
                stream.hub.end_viewers(End::Drained);
            }
        }
    }

    /// Forgets all streams that are over, because memory is short. Returns how many bytes that gives back.
    pub fn relieve(&self, metrics: &Metrics) -> usize {
        let before = self.budget.used();
        for stream in self.list() {
            if stream.hub.extent().closed_at.is_some() {
                self.forget(&stream, Eviction::Memory, metrics);
            }
        }
        before.saturating_sub(self.budget.used())
    }

    /// Forgets the streams whose time has passed, and makes room if the journals take too much.
    pub fn tidy(&self, metrics: &Metrics, now: Instant) {
        let mut over = Vec::new();
        let mut running = Vec::new();
        for stream in self.list() {
            let extent = stream.hub.extent();
            let evicted = stream.hub.take_evicted();
            if evicted > 0 {
                metrics.resume.evicted(Eviction::StreamLimit, evicted);
            }
            match extent.closed_at {
                Some(at) if at + stream.keep <= now && extent.viewers == 0 => {
                    self.forget(&stream, Eviction::Expired, metrics);
                }
                Some(at) => over.push((at, stream)),
                None => running.push((extent.allocated, stream)),
            }
        }
        if !self.budget.is_exceeded() {
            return;
        }
        over.sort_by_key(|(at, _)| *at);
        for (_, stream) in over {
            self.forget(&stream, Eviction::TotalLimit, metrics);
            if !self.budget.is_tight() {
                return;
            }
        }
        running.sort_by_key(|(allocated, _)| std::cmp::Reverse(*allocated));
        for (_, stream) in running {
            let evicted = stream.hub.evict_half();
            metrics.resume.evicted(Eviction::TotalLimit, evicted);
            if !self.budget.is_tight() {
                return;
            }
        }
    }

    fn forget(&self, stream: &Resumable, why: Eviction, metrics: &Metrics) {
        let names = std::mem::take(&mut *lock(&stream.names));
        let mut known = self.lock();
        known.streams.remove(&stream.live.id);
        for name in names {
            if let Some(ids) = known.names.get_mut(&name) {
                ids.retain(|id| *id != stream.live.id);
                if ids.is_empty() {
                    known.names.remove(&name);
                }
            }
        }
        drop(known);
        metrics.resume.evicted(why, stream.hub.empty());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

/// Returns 32 bytes from the operating system's random source.
fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    if getrandom::fill(&mut key).is_err() {
        tracing::error!(
            "the operating system gives no random bytes; digests of credentials can be reversed"
        );
    }
    key
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the list within its bounds for as long as the process runs.
pub async fn keep_tidy(streams: Arc<Resumables>, metrics: Arc<Metrics>) {
    loop {
        let exceeded = streams.budget.exceeded();
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = exceeded => {}
        }
        streams.tidy(&metrics, Instant::now());
        // However fast journals grow, looking at all of them must not take the thread.
        sleep(REST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_serves_for_both_digests_if_it_is_known_in_time() {
        let early = Resumables::new(1);
        early.share_key([1; 32]);
        assert_eq!(early.key(), &[1; 32]);
        early.share_key([2; 32]);
        assert_eq!(early.shared_key(), Some([2; 32]));
        assert_eq!(early.key(), &[1; 32], "streams are known by it");

        let late = Resumables::new(1);
        let own = *late.key();
        late.share_key([1; 32]);
        assert_eq!(late.shared_key(), Some([1; 32]));
        assert_eq!(late.key(), &own);
        assert_ne!(own, [1; 32]);
    }
}
