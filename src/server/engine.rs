//! The state machine of a client connection: which protocol engine drives it, if any.
//!
//! ```text
//!           first bytes               ┌─ 101 written ──► Tunnel, or Bridge
//! Waiting ──┬─────────► Http2         │
//!    ▲      └─────────► Http1 ────────┴─ head of a stream written ──► StreamWriter
//!    └──────────────────────────── stream written ─────────────┘
//! ```
//!
//! A connection waits until its first bytes show the protocol. An HTTP/1.1 connection leaves its engine while
//! it writes a stream, because the engine holds some 25 KiB of buffers; a connection that waits or streams
//! holds none.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::first_bytes::{First, Waiting};
use super::interim::Interim;
use super::service::{HandedOver, Leaves, Service};
use super::stream_writer::StreamWriter;
use crate::body_deadline;
use crate::bridge::{self, Socket};
use crate::client_conn::{ClientConn, Overdue};
use crate::config::{Limits, http2_head_bytes};
use crate::strict::StrictIo;
use crate::strict::frame_flood::FrameFlood;
use crate::strict::smuggling::RequestFraming;
use crate::tasks;
use crate::tunnel::{Over, Start, Tunnel};

/// Maximum number of bytes that the HTTP/2 engine buffers per stream. Events in this buffer can no longer be joined or
/// dropped.
const MAX_SEND_BYTES: usize = 32 * 1024;
/// Maximum number of concurrent requests on one HTTP/2 connection.
const MAX_CONCURRENT: u32 = 256;
/// Maximum number of concurrent requests on a connection that begins while nearly `limits.max_requests` are in
/// progress. It may last for hours, and the library cannot change the number later, so the number is not as small as
/// the share that the connection has now: `capacity` refuses what exceeds that.
const MIN_CONCURRENT: u32 = 16;
/// How many bytes of uploads an HTTP/2 client may send before agents take them: on each stream, and on all together.
const WINDOW_BYTES: u32 = 1024 * 1024;
/// An HTTP/2 peer that is silent for this long gets a PING, and has as long again to acknowledge it.
const PING: Duration = Duration::from_secs(20);

/// The reason why a connection ended early.
#[derive(Debug, Error)]
pub(super) enum Ended {
    /// The HTTP engine failed.
    #[error("{0}")]
    Engine(#[from] hyper::Error),
    /// A deadline of the connection passed.
    #[error("overdue: {0:?}")]
    Overdue(Overdue),
    /// The socket failed.
    #[error("{0}")]
    Socket(#[from] io::Error),
}

impl Ended {
    /// Returns what the engine has answered if the client sent something that is not HTTP.
    pub(super) fn malformed(&self) -> Option<StatusCode> {
        match self {
            Self::Engine(error) if error.is_parse_too_large() => {
                Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            Self::Engine(error) if error.is_parse() => Some(StatusCode::BAD_REQUEST),
            Self::Engine(_) | Self::Overdue(_) | Self::Socket(_) => None,
        }
    }
}

/// Runs the streams of HTTP/2 connections, each within the deadlines of its response. They end with their
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

/// A client connection, and the protocol engine that drives it.
///
/// How it works: each connection is one task. The task owns a `Connection`, which owns the `Engine`, which
/// owns the socket. The task polls the engine on every wake-up: by the socket, by the timer of the
/// `Connection`, or by the upstream of a request. A `StreamWriter` polls the pump of its stream in the same
/// task. The streams of HTTP/2, and pumps whose response stays in the protocol engine, run in tasks of their
/// own, which wake this task when there is something to write.
///
/// A stream leaves the HTTP/1.1 engine in two steps. Its body moves into the `Handover` and returns
/// `Pending`; `poll_next` takes it from there once the engine has written everything
/// (`ClientConn::is_flushed`).
///
/// Memory is bounded here: by `max_header_bytes` (at least 8 KiB) for what the HTTP/1.1 engine reads and for what it
/// buffers to write, by `http2_head_bytes` for a head over HTTP/2, by `MAX_SEND_BYTES` for each of at most
/// `MAX_CONCURRENT` HTTP/2 streams, by `WINDOW_BYTES` for what they upload, and by `MAX_EARLY_BYTES` for what a client
/// sends while a `StreamWriter` writes. Time is bounded elsewhere: when a deadline passes, the `Connection` calls
/// `close` or `tell`, or drops the engine; `body_deadline` ends plain responses over HTTP/2, and pumps end their
/// streams.
#[repr(C)]
pub(super) struct Engine<S> {
    state: State<S>,
    service: Service,
    conn: Arc<ClientConn>,
    max_headers: usize,
    max_header_bytes: usize,
    /// The connection closes as soon as nothing is under way.
    closing: bool,
}

enum State<S> {
    /// Nothing of the next request was read, or too little to tell its protocol.
    Waiting(Box<Waiting<S>>),
    Http1(Box<Http1<S>>),
    Http2(Pin<Box<Http2<S>>>),
    /// The flag says whether the connection closes afterwards.
    StreamWriter(Box<StreamWriter<S>>, bool),
    /// A WebSocket. Nothing else follows on the connection.
    Tunnel(Box<Tunnel<S>>),
    /// A WebSocket that Weir itself speaks with. Nothing else follows, either.
    Bridge(Box<Socket<S>>),
    /// The last response was written; the connection is being closed.
    Closing(Box<Interim<S>>),
    /// The connection is over, and still has what it had.
    Over(#[expect(dead_code, reason = "it is kept to be dropped later")] Box<Self>),
    Gone,
}

impl<S> Engine<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Creates the engine of a connection before its first byte.
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

    /// Drives the connection. Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            let next = match &mut self.state {
                State::StreamWriter(writer, last) => {
                    ready!(writer.poll(cx))?;
                    Some(Next::Rest {
                        last: *last || self.closing,
                    })
                }
                State::Tunnel(tunnel) => Some(after(ready!(tunnel.poll(cx)))?),
                State::Bridge(socket) => Some(after(ready!(socket.poll(cx)))?),
                _ => ready!(self.poll_next(cx))?,
            };
            match next {
                Some(next) => self.go_on(next),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Drives every state but `StreamWriter`. Ready with the next transition; `None` when the connection is
    /// over.
    ///
    /// This function and `go_on` are not inlined, so that an event of a stream does not pay for the stack
    /// space that the protocol engines need.
    #[inline(never)]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Next>, Ended>> {
        let over = match &mut self.state {
            State::Waiting(waiting) => {
                let first = ready!(waiting.poll(cx, self.closing))?;
                return Poll::Ready(Ok(Some(Next::Begin(first))));
            }
            State::Http1(engine) => match Pin::new(&mut **engine).poll(cx) {
                // The engine does not close a connection that it gives up for CONNECT or an upgrade.
                Poll::Ready(Ok(())) => {
                    let handover = &self.service.handover;
                    let next = match handover.take() {
                        Some(Leaves::Tunnel(start)) => Next::Tunnel(start),
                        Some(Leaves::Bridge(start)) => Next::Bridge(start),
                        Some(Leaves::Stream(_)) | None => Next::Close,
                    };
                    return Poll::Ready(Ok(Some(next)));
                }
                Poll::Ready(Err(error)) => Err(error.into()),
                // A stream may leave once the engine has written everything.
                Poll::Pending if self.conn.is_flushed() => {
                    match self.service.handover.take_stream() {
                        Some(left) => return Poll::Ready(Ok(Some(Next::StreamWriter(left)))),
                        None => return Poll::Pending,
                    }
                }
                Poll::Pending => return Poll::Pending,
            },
            State::Http2(engine) => ready!(engine.as_mut().poll(cx)).map_err(Ended::from),
            State::Closing(stream) => {
                ready!(Pin::new(&mut **stream).poll_shutdown(cx)).map_err(Ended::from)
            }
            State::StreamWriter(..)
            | State::Tunnel(_)
            | State::Bridge(_)
            | State::Over(_)
            | State::Gone => Ok(()),
        };
        Poll::Ready(over.map(|()| None))
    }

    /// Ends the connection without dropping anything. From here on, polls only say that it is over.
    pub(super) fn rest(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Gone);
        self.state = State::Over(Box::new(state));
    }

    #[inline(never)]
    fn go_on(&mut self, next: Next) {
        self.state = self.become_next(next);
    }

    /// Returns the next state.
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
            (State::Http1(engine), Next::Tunnel(start)) => {
                let parts = engine.into_parts();
                let (unread, stream) = parts.io.into_inner().into_parts();
                // What has followed the request belongs to the tunnel.
                let early = [parts.read_buf, unread].concat();
                let conn = Some(Arc::clone(&self.conn));
                let tunnel = Tunnel::new(stream.into_inner(), early.into(), *start, conn);
                State::Tunnel(Box::new(tunnel))
            }
            (State::Tunnel(tunnel), Next::Close) => {
                let conn = Arc::clone(&self.conn);
                State::Closing(Box::new(Interim::new(tunnel.into_client(), conn)))
            }
            (State::Http1(engine), Next::Bridge(start)) => {
                let parts = engine.into_parts();
                let (unread, stream) = parts.io.into_inner().into_parts();
                let early = [parts.read_buf, unread].concat();
                let conn = Some(Arc::clone(&self.conn));
                let socket = Socket::new(stream.into_inner(), early, *start, conn);
                State::Bridge(Box::new(socket))
            }
            (State::Bridge(socket), Next::Close) => {
                let conn = Arc::clone(&self.conn);
                State::Closing(Box::new(Interim::new(socket.into_client(), conn)))
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

    /// Returns the state for the protocol that the first bytes show.
    fn begin(&self, waiting: Waiting<S>, first: &First) -> State<S> {
        let Waiting { stream, seen, .. } = waiting;
        match first {
            First::Nothing => State::Closing(Box::new(stream)),
            First::Http1 => {
                let mut builder = http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    // The connection's own timer is used: the engine's cannot tell a slow request head from
                    // an idle connection.
                    .header_read_timeout(None)
                    .max_headers(self.max_headers)
                    // Bounds the request head and the write buffer: no large part of a response may hide
                    // there.
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
                let io = io.ending_late();
                // `proxy` refuses heads beyond the limit that are not larger than this.
                let head = http2_head_bytes(self.max_header_bytes);
                let share = u32::try_from(self.service.share()).unwrap_or(u32::MAX);
                let engine = http2::Builder::new(Streams)
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
                    .max_concurrent_streams(share.clamp(MIN_CONCURRENT, MAX_CONCURRENT))
                    .initial_stream_window_size(WINDOW_BYTES)
                    .initial_connection_window_size(WINDOW_BYTES)
                    .max_send_buf_size(MAX_SEND_BYTES)
                    .keep_alive_interval(PING)
                    .keep_alive_timeout(PING)
                    // WebSockets (RFC 8441).
                    .enable_connect_protocol()
                    .serve_connection(TokioIo::new(io), self.service.clone());
                State::Http2(Box::pin(engine))
            }
        }
    }

    /// Returns the address of the client.
    pub(super) const fn client(&self) -> Option<IpAddr> {
        self.service.peer.origin.client
    }

    /// Reports whether nothing of a request has come. Over HTTP/2, a part of a head may have.
    pub(super) fn is_unused(&self) -> bool {
        match &self.state {
            State::Waiting(waiting) => waiting.first && waiting.seen.is_empty(),
            State::Http2(_) => !self.conn.is_multiplexed(),
            _ => false,
        }
    }

    /// Closes the connection as soon as nothing is under way (graceful shutdown).
    pub(super) fn close(&mut self) {
        self.closing = true;
        match &mut self.state {
            State::Http1(engine) => Pin::new(&mut **engine).graceful_shutdown(),
            State::Http2(engine) => engine.as_mut().graceful_shutdown(),
            State::Waiting(_)
            | State::StreamWriter(..)
            | State::Tunnel(_)
            | State::Bridge(_)
            | State::Closing(_)
            | State::Over(_)
            | State::Gone => {}
        }
    }

    /// Writes the interim bytes that wait in `ClientConn`, as far as the socket takes them at once.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>) {
        match &mut self.state {
            State::Waiting(waiting) => {
                let _ = Pin::new(&mut waiting.stream).poll_flush(cx);
            }
            State::Http1(engine) => {
                let _ = Pin::new(&mut **engine).poll(cx);
            }
            State::Http2(_)
            | State::StreamWriter(..)
            | State::Tunnel(_)
            | State::Bridge(_)
            | State::Closing(_)
            | State::Over(_)
            | State::Gone => {}
        }
    }
}

/// A transition to the next state.
enum Next {
    Begin(First),
    StreamWriter(HandedOver),
    Tunnel(Box<Start>),
    Bridge(Box<bridge::Start>),
    /// The connection closes.
    Close,
    Rest {
        /// Whether the connection closes.
        last: bool,
    },
}

/// Returns what follows a WebSocket that is over.
fn after(over: Over) -> io::Result<Next> {
    match over {
        Over::Closed => Ok(Next::Close),
        Over::Left => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
