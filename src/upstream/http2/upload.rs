//! A request's body on its way to the upstream, as fast as the stream's window allows.
//!
//! What does not leave at once is sent by a task of its own: who waits for a stalled client cannot send, and the window
//! that it had asked for would be missing to the bodies of the other streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};
use tokio::task::JoinHandle;

use crate::tasks;
use crate::upstream::request_body::RequestBody;

/// A body under way. Dropping it leaves it where it is.
#[derive(Debug)]
pub(super) struct Sending {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Held while a piece is sent.
    upload: Mutex<Option<Upload>>,
    /// The client's body broke off.
    cut: AtomicBool,
}

impl Sending {
    /// Sends what can be sent at once.
    pub(super) fn new(stream: SendStream<Bytes>, body: RequestBody, cx: &mut Context<'_>) -> Self {
        let shared = Arc::new(Shared {
            upload: Mutex::new(Some(Upload::new(stream, body))),
            cut: AtomicBool::new(false),
        });
        let task = shared.poll(cx).is_pending().then(|| {
            let shared = Arc::clone(&shared);
            tasks::spawn(async move { poll_fn(|cx| shared.poll(cx)).await })
        });
        Self { shared, task }
    }

    /// Whether the client's body broke off, or went beyond a bound; its verdict says which.
    pub(super) fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// No other connection will have to have it.
    pub(super) fn keep_nothing(&self) {
        if let Some(upload) = self.shared.lock().as_mut() {
            upload.sent = None;
        }
    }

    /// The body as it was, if all of it that was sent was kept.
    pub(super) fn into_unsent(self) -> Option<RequestBody> {
        self.shared.lock().take()?.into_unsent()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Shared {
    /// Ready when there is nothing left to send, or nobody to send it to.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut upload = self.lock();
        let Some(sent) = upload.as_mut().map(|upload| upload.poll(cx)) else {
            return Poll::Ready(());
        };
        if let Err(Broken::Body) = ready!(sent) {
            self.cut.store(true, Ordering::Relaxed);
        }
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Upload>> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a body that are kept in case that another connection must have them: more than most prompts.
const KEPT_BYTES: usize = 64 * 1024;

/// Bytes of the first piece that need not wait for the window to be known: they leave in one write with the head, as
/// most prompts can.
const AHEAD_BYTES: usize = 16 * 1024;

/// A request's body: what was sent of it, and what was not.
#[derive(Debug)]
struct Upload {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// Taken from the body, and not sent.
    piece: Option<Bytes>,
    /// All that was sent; `None` if that is too much to be kept.
    sent: Option<Vec<Bytes>>,
    kept: usize,
    complete: bool,
}

/// Why a body could not be sent.
#[derive(Debug)]
enum Broken {
    /// The client's body broke off, or went beyond a bound; its verdict says which.
    Body,
    /// The stream takes no more.
    Stream,
}

impl Upload {
    const fn new(stream: SendStream<Bytes>, body: RequestBody) -> Self {
        Self {
            stream,
            body,
            piece: None,
            sent: Some(Vec::new()),
            kept: 0,
            complete: false,
        }
    }

    /// The body as it was, if all of it that was sent was kept.
    fn into_unsent(mut self) -> Option<RequestBody> {
        let mut pieces = self.sent?;
        pieces.extend(self.piece);
        self.body
            .give_back((!pieces.is_empty()).then(|| pieces.concat().into()));
        Some(self.body)
    }

    /// Sends what can be sent; ready when all of it was.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.complete {
            if self.piece.is_some() {
                ready!(self.poll_piece(cx))?;
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.take(frame)?,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Broken::Body));
                }
                None => self.give(Bytes::new(), true)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Broken> {
        match frame.into_data() {
            Ok(data) => self.piece = Some(data).filter(|data| !data.is_empty()),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.complete = true;
                // They come once.
                self.sent = None;
                let sent = self.stream.send_trailers(trailers);
                sent.map_err(|_| Broken::Stream)?;
            }
        }
        Ok(())
    }

    /// Sends as much of the piece at hand as the window takes.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.kept == 0
            && let Some(piece) = self.piece.take_if(|piece| piece.len() <= AHEAD_BYTES)
        {
            let last = self.body.is_end_stream();
            return Poll::Ready(self.give(piece, last));
        }
        while let Some(piece) = &mut self.piece {
            self.stream.reserve_capacity(piece.len());
            while self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(Broken::Stream)),
                }
            }
            let now = piece.split_to(piece.len().min(self.stream.capacity()));
            let over = piece.is_empty();
            if over {
                self.piece = None;
            }
            let last = over && self.body.is_end_stream();
            self.give(now, last)?;
        }
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, bytes: Bytes, last: bool) -> Result<(), Broken> {
        self.complete = last;
        self.kept += bytes.len();
        self.sent = self.sent.take().filter(|_| self.kept <= KEPT_BYTES);
        if let Some(sent) = &mut self.sent {
            sent.push(bytes.clone());
        }
        self.stream
            .send_data(bytes, last)
            .map_err(|_| Broken::Stream)
    }
}
