//! The live streams of the process: find one by its id, see what it does, stop it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::context::RequestContext;
use super::stream_id::StreamId;
use crate::dialect::Dialect;
use crate::queue::{Probe, Status};
use crate::stream::end::End;
use crate::stream::pump::Reader;
use crate::stream::stop::StopSignal;

/// One live stream, as others see it.
#[derive(Debug)]
pub struct LiveStream {
    /// Its id.
    pub id: StreamId,
    /// The request that it answers.
    pub context: Arc<RequestContext>,
    /// The way to stop it.
    pub stop: Arc<StopSignal>,
    /// Who receives it. Held for a few lines.
    viewers: Mutex<Vec<Viewer>>,
    /// What it speaks, as far as it is known.
    dialect: AtomicU8,
}

/// Somebody who receives a stream: the queue of what waits for them, and their connection.
#[derive(Debug)]
pub struct Viewer {
    /// What waits.
    pub queue: Probe,
    /// What the connection knows of its client.
    pub reader: Arc<dyn Reader>,
}

impl Viewer {
    /// Since when something waits for the client while it takes nothing, in the queue or in its connection, and how
    /// many bytes do.
    fn stalled(&self) -> Option<(Instant, usize)> {
        let status = self.queue.status();
        let taken = self.reader.last_progress();
        // A connection of its own does not say when it has written all: that it holds something is known otherwise.
        let holds = taken.is_some() || self.reader.is_shared();
        let (handed_off, bytes) = match status.handed_off {
            Some(since) if holds => (Some(since), status.handed_off_bytes),
            _ => (None, 0),
        };
        let waiting = status.waiting_since.max(handed_off)?;
        Some((
            taken.map_or(waiting, |taken| taken.max(waiting)),
            status.bytes + bytes,
        ))
    }
}

impl LiveStream {
    /// Takes note of a new viewer.
    pub fn add_viewer(&self, viewer: Viewer) {
        self.viewers().push(viewer);
    }

    /// Notes that it turned out to speak `dialect`.
    pub fn speaks(&self, dialect: Dialect) {
        self.dialect.store(dialect as u8, Ordering::Relaxed);
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        let known = usize::from(self.dialect.load(Ordering::Relaxed));
        let all = Dialect::ALL.get(known);
        all.copied().unwrap_or(Dialect::Opaque)
    }

    /// How the queue of its viewer stands; `None` before there is one. Of several viewers the slowest counts.
    pub fn queue(&self) -> Option<Status> {
        let viewers = self.viewers();
        let all = viewers.iter().map(|viewer| viewer.queue.status());
        all.max_by_key(|status| status.bytes)
    }

    /// Since when something waits for its slowest viewer while that one takes nothing, and how many bytes do.
    pub fn stalled(&self) -> Option<(Instant, usize)> {
        let viewers = self.viewers();
        let stalled = viewers.iter().filter_map(Viewer::stalled);
        stalled.max_by_key(|(_, bytes)| *bytes)
    }

    /// Asks the stream to end; the first reason given stays.
    pub fn stop(&self, end: End) {
        self.stop.ask(end);
        for viewer in &*self.viewers() {
            viewer.queue.alarm();
        }
    }

    fn viewers(&self) -> MutexGuard<'_, Vec<Viewer>> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All live streams of the process.
#[derive(Debug, Default)]
pub struct Registry {
    /// Held for an insert, a removal, a look-up or a copy of the list.
    live: Mutex<HashMap<StreamId, Arc<LiveStream>>>,
    count: AtomicUsize,
}

impl Registry {
    /// Registers a stream unless `max` are live; it leaves when the registration is dropped.
    pub fn register(
        self: &Arc<Self>,
        context: &Arc<RequestContext>,
        max: usize,
    ) -> Option<Registration> {
        let took = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < max).then_some(count + 1)
            });
        took.ok()?;
        let live = Arc::new(LiveStream {
            id: StreamId::random(),
            context: Arc::clone(context),
            stop: Arc::default(),
            viewers: Mutex::default(),
            dialect: AtomicU8::new(Dialect::Opaque as u8),
        });
        self.lock().insert(live.id, Arc::clone(&live));
        Some(Registration {
            registry: Arc::clone(self),
            live,
        })
    }

    /// The live stream with this id.
    pub fn find(&self, id: StreamId) -> Option<Arc<LiveStream>> {
        self.lock().get(&id).map(Arc::clone)
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Reports whether none lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, as of now.
    pub fn list(&self) -> Vec<Arc<LiveStream>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<LiveStream>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place in the registry, kept until it is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    /// The stream.
    pub live: Arc<LiveStream>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.live.id);
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::identity::Identity;
    use super::*;
    use crate::config::{self, Overrides};
    use crate::metrics::Metrics;

    fn context() -> Arc<RequestContext> {
        let text = "upstreams: { a: { endpoints: [\"http://127.0.0.1:1\"] } }\nroutes: [{ name: r, upstream: a }]\n";
        let config = config::load(Some(("f", text)), &Overrides::default()).unwrap();
        Arc::new(RequestContext {
            identity: Identity::of(&mut HeaderMap::new()),
            client: None,
            method: http::Method::GET,
            path: "/".into(),
            route: Arc::clone(&config.routes[0]),
            metrics: Metrics::new().route("r"),
            started: Instant::now(),
        })
    }

    #[tokio::test]
    async fn streams_are_counted_bounded_found_and_stopped_once() {
        let registry = Arc::new(Registry::default());
        let context = context();
        let first = registry.register(&context, 1).unwrap();
        assert!(registry.register(&context, 1).is_none());
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
        let stream = registry.register(&context(), 1).unwrap();
        for dialect in Dialect::ALL {
            stream.live.speaks(dialect);
            assert_eq!(stream.live.dialect(), dialect);
        }
    }
}
