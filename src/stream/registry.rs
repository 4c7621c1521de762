//! The streams that live right now: who they are, how to stop them, what they have done so far.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::end::End;
use super::pump::Reader;
use crate::dialect::Dialect;
use crate::queue::Probe;

/// 128 random bits: cannot be guessed, so knowing it is a capability.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId([u8; 16]);

impl StreamId {
    /// A new id from the operating system's random source.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        // Without a random source nothing safe can be served; the id then only fails to be unique.
        if getrandom::fill(&mut bytes).is_err() {
            tracing::error!(
                "the operating system gives no random bytes; stream ids are not unique"
            );
        }
        Self(bytes)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One live stream, as others see it.
#[derive(Debug)]
pub struct LiveStream {
    /// Its id.
    pub id: StreamId,
    /// Its route.
    pub route: Arc<str>,
    /// When its request head was read.
    pub started: Instant,
    /// The way to stop it.
    pub stop: Arc<StopSignal>,
    /// The request it answers.
    pub request_id: String,
    /// Its queue, once it has one.
    pub queue: OnceLock<Probe>,
    /// Its client, once there is something for it.
    pub reader: OnceLock<Arc<dyn Reader>>,
    /// What it speaks, as far as it is known.
    dialect: AtomicU8,
}

impl LiveStream {
    /// It turned out to speak `dialect`.
    pub fn speaks(&self, dialect: Dialect) {
        self.dialect.store(dialect as u8, Ordering::Relaxed);
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        let known = self.dialect.load(Ordering::Relaxed);
        let is = |one: &Dialect| *one as u8 == known;
        Dialect::ALL.into_iter().find(is).unwrap_or(Dialect::Opaque)
    }

    /// Since when something waits for its client while it takes nothing, in the queue or in its connection, and how many
    /// bytes do.
    pub fn stalled(&self) -> Option<(Instant, usize)> {
        let status = self.queue.get()?.status();
        let reader = self.reader.get();
        let taken = reader.and_then(|reader| reader.last_progress());
        // A connection of its own does not say when it has written all: that it holds something is known otherwise.
        let holds = taken.is_some() || reader.is_some_and(|reader| reader.is_shared());
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

    /// Asks the stream to end; the first reason given stays.
    pub fn stop(&self, end: End) {
        self.stop.ask(end);
        if let Some(queue) = self.queue.get() {
            queue.alarm();
        }
    }
}

/// A request to end a stream, heard by its pump.
#[derive(Debug, Default)]
pub struct StopSignal(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    end: Option<End>,
    pump: Option<Waker>,
}

impl StopSignal {
    /// Asks for the end; the first reason given stays.
    pub fn ask(&self, end: End) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.end.get_or_insert(end);
        let pump = asked.pump.take();
        drop(asked);
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    /// Whether anybody has.
    pub fn is_asked(&self) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.end.is_some()
    }

    /// The end asked for, once there is one.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = asked.end {
            return Poll::Ready(end);
        }
        if !asked
            .pump
            .as_ref()
            .is_some_and(|pump| pump.will_wake(cx.waker()))
        {
            asked.pump = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// All live streams of the process.
#[derive(Debug, Default)]
pub struct Registry {
    /// Held for an insert, a removal or a copy of the list.
    live: Mutex<HashMap<StreamId, Arc<LiveStream>>>,
    count: AtomicUsize,
}

impl Registry {
    /// Enters a stream unless `max` are live; it leaves when the guard is dropped.
    pub fn enter(
        self: &Arc<Self>,
        route: Arc<str>,
        request_id: String,
        started: Instant,
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
            route,
            started,
            stop: Arc::default(),
            request_id,
            queue: OnceLock::new(),
            reader: OnceLock::new(),
            dialect: AtomicU8::new(Dialect::Opaque as u8),
        });
        self.lock().insert(live.id, Arc::clone(&live));
        Some(Registration {
            registry: Arc::clone(self),
            live,
        })
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether none lives.
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

/// A place in the registry.
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
    use super::*;

    #[tokio::test]
    async fn streams_are_counted_bounded_and_stopped_once() {
        let registry = Arc::new(Registry::default());
        let first = registry
            .enter("r".into(), "q".into(), Instant::now(), 1)
            .unwrap();
        assert!(
            registry
                .enter("r".into(), "q".into(), Instant::now(), 1)
                .is_none()
        );
        first.live.stop(End::Drained);
        first.live.stop(End::Stopped);
        let asked = std::future::poll_fn(|cx| first.live.stop.poll(cx)).await;
        assert_eq!(asked, End::Drained);
        drop(first);
        assert!(registry.is_empty() && registry.list().is_empty());
    }
}
