//! The receive buffer of a stream: body bytes that have arrived and were not taken yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::{FlowControl, Reason, RecvStream};
use http::HeaderMap;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{Hearing, Place, into_io};
use crate::tasks;
use crate::upstream::error::Broken;

/// How long to wait for the end of a body of which all bytes have arrived.
const LINGER: Duration = Duration::from_millis(250);
/// Capacity that a quiet stream keeps between two reads.
const KEPT_BYTES: usize = 2 * 1024;

/// A body that a task reads as it arrives, up to its window, and that is taken on request. Dropping it before its end
/// resets the stream.
#[derive(Debug)]
pub(super) struct Incoming {
    recv_buffer: Arc<RecvBuffer>,
    window: FlowControl,
    /// The task that reads; `None` once `finish` has taken it over.
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct RecvBuffer {
    /// Locked while bytes are copied in or passed to a sink.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// How many of `bytes` were taken.
    taken: usize,
    end: Option<Ended>,
    waiting: Option<Waker>,
}

/// The trailers, or how the body broke.
type Ended = Result<Option<Box<HeaderMap>>, Broken>;

/// The result of taking bytes from the buffer.
pub(super) enum Taken {
    /// Bytes, which were passed to the sink.
    Some {
        /// How many.
        bytes: usize,
        /// Whether there are no more. If so, the task is woken when there are.
        drained: bool,
    },
    End(Ended),
}

impl Incoming {
    pub(super) fn new(mut body: RecvStream, heard: Hearing) -> Self {
        let recv_buffer = Arc::new(RecvBuffer::default());
        let window = body.flow_control().clone();
        let reader = tasks::spawn(read(body, Arc::clone(&recv_buffer), heard));
        Self {
            recv_buffer,
            window,
            reader: Some(reader),
        }
    }

    /// Passes at most `most` of the bytes that have arrived to `sink`.
    pub(super) fn poll_take(
        &mut self,
        cx: &Context<'_>,
        most: usize,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Taken> {
        let mut inner = self.recv_buffer.lock();
        let bytes = inner.lend(most, sink);
        let drained = inner.is_drained();
        if drained {
            inner.wait(cx);
        }
        if bytes > 0 {
            drop(inner);
            // These bytes were received, so this much of the window may be released.
            if let Err(error) = self.window.release_capacity(bytes) {
                tracing::debug!(%error, "a window was not opened");
            }
            return Poll::Ready(Taken::Some { bytes, drained });
        }
        match inner.end.take() {
            Some(ended) => Poll::Ready(Taken::End(ended)),
            None => Poll::Pending,
        }
    }

    /// Returns how many bytes of memory the buffer holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.recv_buffer.lock().bytes.capacity()
    }

    /// Waits a short time, in a task, for the end of the body, and then gives back `place`.
    pub(super) fn finish(mut self, place: Place) {
        if let Some(mut reader) = self.reader.take().filter(|reader| !reader.is_finished()) {
            tasks::spawn(async move {
                if timeout(LINGER, &mut reader).await.is_err() {
                    reader.abort();
                }
                drop(place);
            });
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// Reads a body to its end into `recv_buffer`.
async fn read(mut body: RecvStream, recv_buffer: Arc<RecvBuffer>, heard: Hearing) {
    while let Some(piece) = body.data().await {
        heard.note();
        match piece {
            Ok(piece) => recv_buffer.put(&piece),
            Err(error) => return recv_buffer.end(Err(broken(error))),
        }
    }
    let trailers = body.trailers().await;
    recv_buffer.end(trailers.map(|some| some.map(Box::new)).map_err(broken));
}

/// Tells how a body broke: a reset without a reason is a truncated body, as is the end of the connection.
fn broken(error: h2::Error) -> Broken {
    let cut = |error: &std::io::Error| {
        matches!(
            error.kind(),
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::UnexpectedEof
        )
    };
    if error.reason() == Some(Reason::NO_ERROR) || error.get_io().is_some_and(cut) {
        return Broken::Truncated;
    }
    Broken::Reset(into_io(error))
}

impl RecvBuffer {
    fn put(&self, piece: &[u8]) {
        let mut inner = self.lock();
        inner.make_room();
        inner.bytes.extend_from_slice(piece);
        inner.wake();
    }

    fn end(&self, ended: Ended) {
        let mut inner = self.lock();
        inner.end = Some(ended);
        inner.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn lend(&mut self, most: usize, sink: &mut dyn FnMut(&[u8])) -> usize {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let piece = rest.get(..most).unwrap_or(rest);
        let bytes = piece.len();
        if bytes > 0 {
            sink(piece);
        }
        self.taken += bytes;
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
        }
        bytes
    }

    /// Drops the bytes that were taken once they are the larger part. A reader that never takes everything thus makes
    /// the buffer hold two windows at most, and each byte is moved once.
    fn make_room(&mut self) {
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    const fn is_drained(&self) -> bool {
        self.bytes.is_empty() && self.end.is_none()
    }

    fn wait(&mut self, cx: &Context<'_>) {
        match &mut self.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waiting {
            waker.wake_by_ref();
        }
    }
}
