//! Writes a request to the upstream: its head, then its body as the client sends it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::request;
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::head;
use crate::upstream::request_body::RequestBody;

/// Maximum number of pieces handed to the socket in one write.
const PIECES: usize = 8;

/// The part of a request that has not been written yet.
#[derive(Debug)]
pub(super) struct Upload {
    pieces: VecDeque<Bytes>,
    body: Option<RequestBody>,
    /// Bytes of the body that must still arrive; `None` with chunked transfer coding.
    left: Option<u64>,
    /// Some of the request may have reached the upstream.
    began: bool,
    /// All of the body is in `pieces` or already written.
    complete: bool,
    written: u64,
}

/// Why a request could not be sent.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client's body ended early or exceeded a limit; its verdict says which.
    Body,
    /// The upstream takes no more.
    Socket(io::Error),
}

/// The client's body ended early or exceeded a limit; its verdict says which.
#[derive(Debug)]
pub(super) struct Cut;

impl Upload {
    pub(super) fn new(parts: &request::Parts, body: Option<RequestBody>) -> Self {
        let length = match &body {
            None => Some(0),
            Some(body) if body.is_end_stream() => Some(0),
            Some(body) => body.size_hint().exact(),
        };
        let mut head = BytesMut::new();
        head::encode(parts, length, &mut head);
        Self {
            pieces: VecDeque::from([head.freeze()]),
            complete: length == Some(0),
            body,
            left: length,
            began: false,
            written: 0,
        }
    }

    /// Returns how many bytes of the request were written so far.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Reports whether nothing of the body is missing. At the beginning, that is a request without one.
    pub(super) const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Reports whether some of the request may have reached the upstream.
    pub(super) const fn began(&self) -> bool {
        self.began
    }

    /// Ends the upload, because the upstream takes no more. Keeps a request of which nothing was sent.
    pub(super) fn refused(self: Box<Self>) -> Option<Box<Self>> {
        if let Some(body) = &self.body {
            body.refused();
        }
        (!self.began).then_some(self)
    }

    /// Returns the complete body, if nothing of the request was sent.
    pub(super) fn into_unsent(mut self) -> Option<RequestBody> {
        let mut body = self.body.take().filter(|_| !self.began)?;
        // At most one piece of it waits behind the head, and behind its size line with chunked transfer coding.
        let position = if self.left.is_some() { 1 } else { 2 };
        body.give_back(self.pieces.remove(position));
        Some(body)
    }

    /// Writes what can be written; ready when everything has been.
    pub(super) fn poll<S: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> Poll<Result<(), Broken>> {
        loop {
            // The first piece of a body is written with the head, if it has arrived.
            while !self.complete && self.pieces.len() < 2 {
                match self.poll_body(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(())) => return Poll::Ready(Err(Broken::Body)),
                    Poll::Pending => break,
                }
            }
            if self.pieces.is_empty() {
                ready!(Pin::new(&mut *socket).poll_flush(cx)).map_err(Broken::Socket)?;
                return if self.complete {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            ready!(self.poll_write(cx, socket)).map_err(Broken::Socket)?;
        }
    }

    fn poll_write<S: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
        }
        let count = self.pieces.len().min(PIECES);
        let slices = slices.get(..count).unwrap_or_default();
        let mut written = ready!(Pin::new(socket).poll_write_vectored(cx, slices))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.began = true;
        self.written += written as u64;
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                break;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece from the client.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let Some(body) = &mut self.body else {
            self.complete = true;
            return Poll::Ready(Ok(()));
        };
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Poll::Ready(Err(())),
            None => return Poll::Ready(self.end(None)),
        };
        match frame.into_data() {
            Ok(data) => {
                let over = body.is_end_stream();
                self.data(data)?;
                if over {
                    self.end(None)?;
                }
                Poll::Ready(Ok(()))
            }
            Err(frame) => Poll::Ready(self.end(frame.into_trailers().ok())),
        }
    }

    fn data(&mut self, data: Bytes) -> Result<(), ()> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.left {
            Some(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(())?;
                self.pieces.push_back(data);
            }
            None => {
                let size = format!("{:x}\r\n", data.len());
                self.pieces.push_back(size.into());
                self.pieces.push_back(data);
                self.pieces.push_back(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<http::HeaderMap>) -> Result<(), ()> {
        self.complete = true;
        match self.left {
            // The body is shorter than announced, although reading it gave no error.
            Some(left) if left > 0 => return Err(()),
            Some(_) => {}
            None => self.pieces.push_back(head::encode_end(trailers.as_ref())),
        }
        Ok(())
    }
}
