//! What of a stream's body has come and was not taken yet.

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

/// How long the end of a body may take that has come but for it.
const LINGER: Duration = Duration::from_millis(250);
/// Room that a quiet stream keeps between two reads.
const KEPT_BYTES: usize = 2 * 1024;

/// A body that is read as it comes, up to its window, and taken when somebody asks. Dropping it before its end
/// resets the stream.
#[derive(Debug)]
pub(super) struct Incoming {
    recv_buffer: Arc<RecvBuffer>,
    window: FlowControl,
    /// `None` once it is left alone.
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct RecvBuffer {
    /// Held for a copy in, or while what came is lent.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    /// So many of them were taken.
    taken: usize,
    end: Option<Ended>,
    waiting: Option<Waker>,
}

/// The trailers, or how it broke.
type Ended = Result<Option<Box<HeaderMap>>, Broken>;

/// What was there to take.
pub(super) enum Taken {
    /// Bytes, which were lent.
    Some {
        /// So many.
        bytes: usize,
        /// There are no more; the task is woken when there are.
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

    /// Lends `sink` at most so many bytes of what has come.
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
            // It was received, so that much may be released.
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

    /// Bytes that are held in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.recv_buffer.lock().bytes.capacity()
    }

    /// Has the rest come, if it comes soon; `place` is given back then.
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

/// Reads a body to its end.
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

/// How a body broke: a reset without a reason is an end that comes too early, as is that of the connection.
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

    /// Lets go of what was taken once it is the larger part: a reader that is never quite done holds a window twice, at
    /// most, and each byte is moved once.
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
