//! What drives a client's connection: the HTTP/1.1 or HTTP/2 engine, or, while it streams, neither.
//!
//! ```text
//!           first bytes
//! Waiting ──┬─────────► Http2
//!    ▲      └─────────► Http1 ── head of a stream written ──► StreamWriter
//!    └──────────────────────────── stream written ─────────────┘
//! ```
//!
//! An engine of HTTP/1.1 holds some 25 KiB of buffers; a connection that waits or streams holds none.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::interim::Interim;
use super::service::{HandedOver, Service};
use super::stream_writer::StreamWriter;
use crate::body_deadline;
use crate::client_conn::{ClientConn, Overdue};
use crate::config::Limits;
use crate::strict::StrictIo;
use crate::strict::frame_flood::FrameFlood;
use crate::strict::smuggling::RequestFraming;
use crate::tasks;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read at a time while a connection waits: a request head, mostly.
const FIRST_BYTES: usize = 1024;
/// Bytes of answers that the HTTP/2 engine buffers per stream: what lies there can be neither joined nor
/// dropped.
const MAX_SEND_BYTES: usize = 32 * 1024;
/// Requests at one time on one HTTP/2 connection.
const MAX_CONCURRENT: u32 = 256;
/// Silence after which an HTTP/2 peer is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

/// Why a connection ended before its time.
#[derive(Debug, Error)]
pub(super) enum Ended {
    /// Its engine says so.
    #[error("{0}")]
    Engine(#[from] hyper::Error),
    /// A deadline of its connection passed.
    #[error("overdue: {0:?}")]
    Overdue(Overdue),
    /// The socket failed.
    #[error("{0}")]
    Socket(#[from] io::Error),
}

impl Ended {
    /// Whether the client sent what is no HTTP.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_parse())
    }
}

/// Runs the streams of HTTP/2 connections, each within the bounds of its answer. They end with their
/// connection.
#[derive(Clone, Copy, Debug)]
struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tasks::spawn(body_deadline::enforce(stream));
    }
}

type Http1<S> = http1::Connection<TokioIo<StrictIo<Interim<S>, RequestFraming>>, Service>;
type Http2<S> = http2::Connection<TokioIo<StrictIo<Interim<S>, FrameFlood>>, Service, Streams>;

/// A connection.
#[repr(C)]
pub(super) struct Engine<S> {
    state: State<S>,
    service: Service,
    conn: Arc<ClientConn>,
    max_headers: usize,
    max_header_bytes: usize,
    /// It is to close as soon as nothing is under way.
    closing: bool,
}

enum State<S> {
    /// Nothing of the next request was read, or too little to tell which protocol it is.
    Waiting(Box<Waiting<S>>),
    Http1(Box<Http1<S>>),
    Http2(Pin<Box<Http2<S>>>),
    /// Also says whether the connection closes afterwards.
    StreamWriter(Box<StreamWriter<S>>, bool),
    /// The last answer was written.
    Closing(Box<Interim<S>>),
    Gone,
}

struct Waiting<S> {
    stream: Interim<S>,
    seen: BytesMut,
    /// It is new: HTTP/2 begins with a connection.
    first: bool,
}

impl<S> Engine<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// A connection before its first byte.
    pub(super) fn new(stream: Interim<S>, service: Service, limits: &Limits) -> Self {
        Self {
            state: State::Waiting(Box::new(Waiting {
                stream,
                seen: BytesMut::new(),
                first: true,
            })),
            conn: Arc::clone(&service.peer.conn),
            service,
            max_headers: limits.max_headers,
            max_header_bytes: limits.max_header_bytes,
            closing: false,
        }
    }

    /// Ready when the connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            let next = match &mut self.state {
                State::StreamWriter(writer, last) => {
                    ready!(writer.poll(cx))?;
                    Some(Next::Rest {
                        last: *last || self.closing,
                    })
                }
                _ => ready!(self.poll_next(cx))?,
            };
            match next {
                Some(next) => self.go_on(next),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Ready when something else is to follow; `None` when the connection is over.
    ///
    /// Not inlined, like what follows it: events of a stream need not step over the stack that engines need.
    #[inline(never)]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Next>, Ended>> {
        let over = match &mut self.state {
            State::Waiting(waiting) => {
                let first = ready!(waiting.poll(cx, self.closing))?;
                return Poll::Ready(Ok(Some(Next::Begin(first))));
            }
            State::Http1(engine) => match Pin::new(&mut **engine).poll(cx) {
                // An engine that was asked to let go of its connection (CONNECT, an upgrade) has not closed it.
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(Some(Next::Close))),
                Poll::Ready(Err(error)) => Err(error.into()),
                // Once the engine has written all that it had.
                Poll::Pending if self.conn.is_flushed() => match self.service.handover.take() {
                    Some(left) => return Poll::Ready(Ok(Some(Next::StreamWriter(left)))),
                    None => return Poll::Pending,
                },
                Poll::Pending => return Poll::Pending,
            },
            State::Http2(engine) => ready!(engine.as_mut().poll(cx)).map_err(Ended::from),
            State::Closing(stream) => {
                ready!(Pin::new(&mut **stream).poll_shutdown(cx)).map_err(Ended::from)
            }
            State::StreamWriter(..) | State::Gone => Ok(()),
        };
        Poll::Ready(over.map(|()| None))
    }

    #[inline(never)]
    fn go_on(&mut self, next: Next) {
        self.state = self.become_next(next);
    }

    /// The state that follows.
    fn become_next(&mut self, next: Next) -> State<S> {
        match (std::mem::replace(&mut self.state, State::Gone), next) {
            (State::Waiting(waiting), Next::Begin(first)) => self.begin(*waiting, &first),
            (State::Http1(engine), Next::StreamWriter(HandedOver { body, last })) => {
                let parts = engine.into_parts();
                let (unread, stream) = parts.io.into_inner().into_parts();
                let early = [parts.read_buf, unread].concat();
                let conn = Arc::clone(&self.conn);
                let writer = StreamWriter::new(stream.into_inner(), conn, &early, *body);
                State::StreamWriter(Box::new(writer), last)
            }
            (State::Http1(engine), Next::Close) => {
                let (_, stream) = engine.into_parts().io.into_inner().into_parts();
                State::Closing(Box::new(stream))
            }
            (State::StreamWriter(writer, _), Next::Rest { last }) => {
                let (stream, early) = writer.into_parts();
                let stream = Interim::new(stream, Arc::clone(&self.conn));
                if last {
                    State::Closing(Box::new(stream))
                } else {
                    State::Waiting(Box::new(Waiting {
                        stream,
                        seen: early.into(),
                        first: false,
                    }))
                }
            }
            (state, _) => state,
        }
    }

    /// The engine for what the first bytes are.
    fn begin(&self, waiting: Waiting<S>, first: &First) -> State<S> {
        let Waiting { stream, seen, .. } = waiting;
        match first {
            First::Nothing => State::Closing(Box::new(stream)),
            First::Http1 => {
                let mut builder = http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    // The connection's timer tells a slow head from a connection that rests; this one cannot.
                    .header_read_timeout(None)
                    .max_headers(self.max_headers)
                    // Of the request head, and of what waits to be written: nothing large may hide here.
                    .max_buf_size(self.max_header_bytes.max(8 * 1024));
                let io = StrictIo::new(seen.freeze(), stream, RequestFraming::default());
                let mut engine = builder.serve_connection(TokioIo::new(io), self.service.clone());
                if self.closing {
                    Pin::new(&mut engine).graceful_shutdown();
                }
                State::Http1(Box::new(engine))
            }
            First::Http2 => {
                let io = StrictIo::new(seen.freeze(), stream, FrameFlood::of_client());
                let engine = http2::Builder::new(Streams)
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(self.max_header_bytes).unwrap_or(u32::MAX))
                    .max_concurrent_streams(MAX_CONCURRENT)
                    .max_send_buf_size(MAX_SEND_BYTES)
                    .keep_alive_interval(PING)
                    .keep_alive_timeout(PING)
                    .serve_connection(TokioIo::new(io), self.service.clone());
                State::Http2(Box::pin(engine))
            }
        }
    }

    /// Ends the connection as soon as nothing is under way.
    pub(super) fn close(&mut self) {
        self.closing = true;
        match &mut self.state {
            State::Http1(engine) => Pin::new(&mut **engine).graceful_shutdown(),
            State::Http2(engine) => engine.as_mut().graceful_shutdown(),
            State::Waiting(_) | State::StreamWriter(..) | State::Closing(_) | State::Gone => {}
        }
    }

    /// Writes what the connection has to tell, as far as it can be written at once.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>) {
        match &mut self.state {
            State::Waiting(waiting) => {
                let _ = Pin::new(&mut waiting.stream).poll_flush(cx);
            }
            State::Http1(engine) => {
                let _ = Pin::new(&mut **engine).poll(cx);
            }
            State::Http2(_) | State::StreamWriter(..) | State::Closing(_) | State::Gone => {}
        }
    }
}

/// What follows a state.
enum Next {
    Begin(First),
    StreamWriter(HandedOver),
    /// Nothing: the connection closes.
    Close,
    Rest {
        /// The connection closes.
        last: bool,
    },
}

/// What a connection begins with.
enum First {
    Http1,
    Http2,
    /// It is over.
    Nothing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Waiting<S> {
    /// Reads until the protocol is known. With `closing` it does not wait for a request that has not begun.
    fn poll(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<io::Result<First>> {
        loop {
            match self.protocol() {
                Some(first) => return Poll::Ready(Ok(first)),
                None if closing => return Poll::Ready(Ok(First::Nothing)),
                None => {}
            }
            let mut space = [const { MaybeUninit::uninit() }; FIRST_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                let nothing = self.seen.is_empty();
                return Poll::Ready(Ok(if nothing {
                    First::Nothing
                } else {
                    First::Http1
                }));
            }
            self.seen.extend_from_slice(buffer.filled());
        }
    }

    fn protocol(&self) -> Option<First> {
        if self.seen.is_empty() {
            None
        } else if self.first && self.seen.starts_with(PREFACE) {
            Some(First::Http2)
        } else if self.first && PREFACE.starts_with(&self.seen) {
            None
        } else {
            Some(First::Http1)
        }
    }
}
