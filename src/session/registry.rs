//! The live streams of the process: finds a stream by its id, shows its state, stops it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

use super::context::RequestContext;
use super::figures::Figures;
use super::recent::{Ended, Recent};
use super::stream_id::StreamId;
use super::traffic::Traffic;
use crate::capacity::{Capacity, Entered, Full, Kind, Share};
use crate::dialect::Dialect;
use crate::end::End;
use crate::hub::Hub;
use crate::queue::{Probe, Status};
use crate::stream::pump::Reader;
use crate::stream::stop::StopSignal;
use crate::translate::Target;

/// A live stream, as the rest of the process sees it.
///
/// Its allocation has three cache lines, which the allocator gives to nothing else: the pump writes its figures with
/// each read.
#[derive(Debug)]
pub struct LiveStream {
    /// What the pump has published.
    pub figures: Figures,
    /// The id of the stream.
    pub id: StreamId,
    /// The request that the stream responds to.
    pub context: Arc<RequestContext>,
    /// Stops the stream.
    pub stop: Arc<StopSignal>,
    /// Who receives the stream. Locked only for a few lines.
    viewers: Mutex<Vec<Viewer>>,
    /// The journal and the queues of all viewers, if there may be several.
    hub: OnceLock<Arc<Hub>>,
    /// How the stream has ended: [`End::index`] and one more; zero while it has not.
    outcome: AtomicU8,
    /// The dialect, as far as it is known.
    dialect: AtomicU8,
    /// The upstream call continues without its client.
    detached: AtomicBool,
    /// What has passed, if the stream is a tunnel.
    traffic: OnceLock<Box<Traffic>>,
    /// What the stream is translated to: [`Target::index`] and one more; zero if it is not.
    reply: AtomicU8,
}

/// A client that receives a stream: its queue and its connection.
#[derive(Debug)]
pub struct Viewer {
    /// The number of the viewer among the viewers of the stream, from 1.
    pub number: u32,
    /// The queue of the events that wait for the client.
    pub queue: Probe,
    /// The connection of the client.
    pub reader: Arc<dyn Reader>,
}

impl Viewer {
    /// Returns since when data has waited for the client without being taken, in the queue or in its connection, and
    /// how many bytes wait.
    fn stalled(&self) -> Option<(Instant, usize)> {
        let status = self.queue.status();
        let taken = self.reader.last_progress();
        let holds = self.reader.may_hold();
        let waiting = status.waits_since(holds)?;
        let held = match status.handed_off {
            Some(_) if holds => status.handed_off_bytes,
            _ => 0,
        };
        Some((
            taken.map_or(waiting, |taken| taken.max(waiting)),
            status.bytes + held,
        ))
    }
}

impl LiveStream {
    fn new(id: StreamId, context: &Arc<RequestContext>) -> Self {
        Self {
            id,
            context: Arc::clone(context),
            stop: Arc::default(),
            viewers: Mutex::default(),
            hub: OnceLock::new(),
            outcome: AtomicU8::new(0),
            dialect: AtomicU8::new(Dialect::Opaque as u8),
            detached: AtomicBool::new(false),
            traffic: OnceLock::new(),
            reply: AtomicU8::new(0),
            figures: Figures::default(),
        }
    }

    /// Creates what the process knows of a stream that another instance runs. It is not registered.
    pub fn elsewhere(id: StreamId, context: &Arc<RequestContext>) -> Self {
        Self::new(id, context)
    }

    /// Adds a viewer.
    pub fn add_viewer(&self, viewer: Viewer) {
        let mut viewers = self.viewers();
        // Most streams have one.
        viewers.reserve_exact(1);
        viewers.push(viewer);
    }

    /// Removes a viewer that has left.
    pub fn remove_viewer(&self, number: u32) {
        self.viewers().retain(|viewer| viewer.number != number);
    }

    /// Returns how many viewers there are.
    pub fn viewer_count(&self) -> usize {
        self.viewers().len()
    }

    /// Records how the stream has ended.
    pub fn ended(&self, end: End) {
        let stored = one_more(end.index());
        // The first end counts.
        let _ = (self.outcome).compare_exchange(0, stored, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns how the stream has ended.
    pub fn outcome(&self) -> Option<End> {
        entry(&End::ALL, &self.outcome)
    }

    /// Sets the hub of a stream that may have several viewers.
    pub fn share(&self, hub: Arc<Hub>) {
        // Set once, when the stream starts.
        let _ = self.hub.set(hub);
    }

    /// Returns the hub, if there may be several viewers.
    pub fn hub(&self) -> Option<&Arc<Hub>> {
        self.hub.get()
    }

    /// Records the dialect that the stream turned out to use.
    pub fn speaks(&self, dialect: Dialect) {
        self.dialect.store(dialect as u8, Ordering::Relaxed);
    }

    /// Returns the dialect.
    pub fn dialect(&self) -> Dialect {
        let known = usize::from(self.dialect.load(Ordering::Relaxed));
        let all = Dialect::ALL.get(known);
        all.copied().unwrap_or(Dialect::Opaque)
    }

    /// Records what the stream is translated to.
    pub fn replies(&self, target: Target) {
        self.reply
            .store(one_more(target.index()), Ordering::Relaxed);
    }

    /// Returns what the stream is translated to; `None` if the client gets what the upstream sends.
    pub fn reply(&self) -> Option<Target> {
        entry(&Target::ALL, &self.reply)
    }

    /// Makes the stream a tunnel, and returns what has passed through it.
    pub fn tunnelled(&self) -> &Traffic {
        self.traffic.get_or_init(Box::default)
    }

    /// Returns what has passed, if the stream is a tunnel.
    pub fn traffic(&self) -> Option<&Traffic> {
        self.traffic.get().map(|traffic| &**traffic)
    }

    /// Records that the upstream call continues without its client.
    pub fn detach(&self) {
        self.detached.store(true, Ordering::Relaxed);
    }

    /// Reports whether the upstream call continues without its client.
    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Relaxed)
    }

    /// Returns the status of the viewer's queue; `None` before there is a viewer. Of several viewers, the slowest
    /// counts.
    pub fn queue(&self) -> Option<Status> {
        let viewers = self.viewers();
        let all = viewers.iter().map(|viewer| viewer.queue.status());
        all.max_by_key(|status| status.bytes)
    }

    /// Returns since when data has waited for the slowest viewer without being taken, and how many bytes wait.
    pub fn stalled(&self) -> Option<(Instant, usize)> {
        let viewers = self.viewers();
        let stalled = viewers.iter().filter_map(Viewer::stalled);
        stalled.max_by_key(|(_, bytes)| *bytes)
    }

    /// Ends the stream for the slowest viewer, because it takes nothing. The others follow on, if there are any.
    pub fn lose_slowest(&self) {
        let Some(hub) = self.hub.get() else {
            self.stop(End::ClientStalled);
            return;
        };
        let viewers = self.viewers();
        let stalled = viewers
            .iter()
            .filter_map(|viewer| Some((viewer.stalled()?.1, viewer.number)));
        let slowest = stalled.max().map(|(_, number)| number);
        drop(viewers);
        if let Some(number) = slowest {
            hub.lose_viewer(number);
        }
    }

    /// Asks the stream to end. If called several times, the first reason counts.
    pub fn stop(&self, end: End) {
        self.stop.ask(end);
        if let Some(hub) = self.hub.get() {
            hub.alarm();
        }
        for viewer in &*self.viewers() {
            viewer.queue.alarm();
        }
    }

    fn viewers(&self) -> MutexGuard<'_, Vec<Viewer>> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number that stands for the entry at `index` of a list: all lists are short.
fn one_more(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap_or(u8::MAX)
}

/// Returns the entry of `all` that [`one_more`] stands for; `None` if there is none.
fn entry<T: Copy>(all: &[T], stored: &AtomicU8) -> Option<T> {
    let stored = usize::from(stored.load(Ordering::Relaxed));
    all.get(stored.checked_sub(1)?).copied()
}

/// All live streams of the process.
#[derive(Debug)]
pub struct Registry {
    /// Locked only for an insertion, a removal, a look-up or a copy of the list.
    live: Mutex<HashMap<StreamId, Arc<LiveStream>>>,
    count: Arc<Capacity>,
    /// What has ended lately.
    pub recent: Recent,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            count: Arc::new(Capacity::new(Kind::Streams)),
            recent: Recent::default(),
        }
    }
}

impl Registry {
    /// Registers a stream of the connection with this `share`. The stream is removed when the registration is dropped.
    ///
    /// # Errors
    /// If `max` streams are live, or the connection has its share of them.
    pub fn register(
        self: &Arc<Self>,
        context: &Arc<RequestContext>,
        max: usize,
        share: &Share,
    ) -> Result<Registration, Full> {
        let entered = self.count.enter(max, share)?;
        let live = Arc::new(LiveStream::new(StreamId::random(), context));
        self.lock().insert(live.id, Arc::clone(&live));
        Ok(Registration {
            registry: Arc::clone(self),
            live,
            _entered: entered,
        })
    }

    /// Reports whether one more stream could be registered now.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub fn check(&self, max: usize, share: &Share) -> Result<(), Full> {
        self.count.check(max, share)
    }

    /// Returns the live stream with this id.
    pub fn find(&self, id: StreamId) -> Option<Arc<LiveStream>> {
        self.lock().get(&id).map(Arc::clone)
    }

    /// Returns how many streams are live.
    pub fn len(&self) -> usize {
        self.count.len()
    }

    /// Reports whether no stream is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all live streams.
    pub fn list(&self) -> Vec<Arc<LiveStream>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<LiveStream>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registration of a stream, which ends when it is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    /// The stream.
    pub live: Arc<LiveStream>,
    _entered: Entered,
}

impl Registration {
    /// Remembers the stream, which has just ended.
    pub fn remember(&self, ended: Ended) {
        self.registry.recent.note(ended);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.live.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn streams_are_counted_bounded_found_and_stopped_once() {
        let registry = Arc::new(Registry::default());
        let context = RequestContext::example(&Metrics::new());
        let share = Share::default();
        let first = registry.register(&context, 1, &share).unwrap();
        let second = registry.register(&context, 1, &Share::default());
        assert_eq!(second.err(), Some(Full::Limit));
        assert_eq!(registry.check(2, &share), Ok(()));
        let id = first.live.id;
        assert!(Arc::ptr_eq(&registry.find(id).unwrap(), &first.live));
        assert!(registry.find(StreamId::random()).is_none());
        first.live.stop(End::Drained);
        first.live.stop(End::Stopped);
        let asked = std::future::poll_fn(|cx| first.live.stop.poll(cx)).await;
        assert_eq!(asked, End::Drained);
        drop(first);
        assert!(registry.is_empty() && registry.list().is_empty());
        assert!(registry.find(id).is_none());
    }

    #[test]
    fn every_dialect_is_remembered() {
        let registry = Arc::new(Registry::default());
        let stream = registry
            .register(
                &RequestContext::example(&Metrics::new()),
                1,
                &Share::default(),
            )
            .unwrap();
        for dialect in Dialect::ALL {
            stream.live.speaks(dialect);
            assert_eq!(stream.live.dialect(), dialect);
        }
    }

    #[test]
    fn a_live_stream_has_three_cache_lines() {
        // With the two counts of its `Arc`.
        let size = 2 * size_of::<usize>() + size_of::<LiveStream>();
        assert!(size <= 192, "{size}");
    }
}
