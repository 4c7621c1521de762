//! Sends a request body to the upstream, as fast as the stream's flow-control window allows.
//!
//! What cannot be sent at once is sent by a task of its own. The task that passes on the response may have to wait for
//! a stalled client. It could not send meanwhile, and the other streams would lack the window that it had reserved.

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

/// A body that is being sent. Dropping it stops sending.
#[derive(Debug)]
pub(super) struct Sending {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Locked while a piece is sent.
    upload: Mutex<Option<Upload>>,
    /// The client's body was cut off.
    cut: AtomicBool,
}

impl Sending {
    /// Sends what can be sent at once, and starts a task for the rest.
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

    /// Reports whether the client's body ended early or exceeded a limit; its verdict says which.
    pub(super) fn is_cut(&self) -> bool {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// Drops what was kept of the body: the request will not be sent on another connection.
    pub(super) fn keep_nothing(&self) {
        if let Some(upload) = self.shared.lock().as_mut() {
            upload.sent = None;
        }
    }

    /// Returns the complete body, if everything that was sent of it was kept.
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
    /// Ready when there is nothing left to send, or the stream takes no more.
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

/// Maximum number of bytes of a body that are kept in case the request must be sent on another connection: more than
/// most prompts.
const KEPT_BYTES: usize = 64 * 1024;

/// Maximum number of bytes of a first piece that does not wait for the window to be known. It leaves in one write with
/// the head, as most prompts can.
const AHEAD_BYTES: usize = 16 * 1024;

/// A request body: what was sent of it, and what was not.
#[derive(Debug)]
struct Upload {
    stream: SendStream<Bytes>,
    body: RequestBody,
    /// A piece taken from the body and not sent yet.
    piece: Option<Bytes>,
    /// Everything that was sent; `None` if it is too much to keep, or no longer needed.
    sent: Option<Vec<Bytes>>,
    kept: usize,
    complete: bool,
}

/// Why a body could not be sent.
#[derive(Debug)]
enum Broken {
    /// The client's body ended early or exceeded a limit; its verdict says which.
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

    /// Returns the complete body, if everything that was sent of it was kept.
    fn into_unsent(mut self) -> Option<RequestBody> {
        let mut pieces = self.sent?;
        pieces.extend(self.piece);
        self.body
            .give_back((!pieces.is_empty()).then(|| pieces.concat().into()));
        Some(self.body)
    }

    /// Sends what can be sent; ready when everything has been.
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
                // Trailers can be taken from the body only once, so the request cannot be sent again.
                self.sent = None;
                let sent = self.stream.send_trailers(trailers);
                sent.map_err(|_| Broken::Stream)?;
            }
        }
        Ok(())
    }

    /// Sends as much of the current piece as the window allows.
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
