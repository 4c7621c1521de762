//! An HTTP/2 connection, the task that drives it, and the places for its streams.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, SendStream};
use http::Request;
use tokio::time::{Instant, sleep};

use super::read_to_end::ReadToEnd;
use crate::strict::StrictIo;
use crate::strict::frame_flood::FrameFlood;
use crate::tasks;
use crate::upstream::MAX_AGE;
use crate::upstream::socket::Io;
use crate::upstream::sockets::Counted;

/// Maximum number of concurrent streams of one connection, if its server allows as many: the number that common servers
/// allow. Further streams get another connection.
pub(super) const STREAMS: usize = 100;
/// Flow-control window of a stream: what an upstream may send ahead of the body's reader.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Flow-control window of the connection: the windows of all streams, and room for one more. No stream then waits for
/// the reader of another (head-of-line blocking).
const WINDOW_BYTES: u32 = 101 * STREAM_WINDOW_BYTES;
/// Budget for unread DATA frames, each of which costs 256 bytes less its length. Frames are unread only until the
/// streams' tasks have run, but the connection's task reads 1 MiB in one turn, which costs 20 MiB if the frames hold
/// 20 bytes each. With the library's default, 3 MiB here, that would close the connection and end all of its streams.
const FRAME_BUDGET: usize = 32 << 20;
/// Maximum number of bytes in one response head, as with HTTP/1.1.
const MAX_HEAD_BYTES: u32 = 256 * 1024;
/// Maximum number of bytes of one request body that wait for the socket.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Time without a byte on any stream after which the peer is sent a PING.
const SILENCE: Duration = Duration::from_secs(15);
/// Time that the peer has to reply to the PING.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that several streams share.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Connection {
    sender: SendRequest<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    opened: Instant,
    scheme: &'static str,
    streams: AtomicUsize,
    /// The connection takes no more streams.
    retired: Arc<AtomicBool>,
    /// The connection has ended.
    over: AtomicBool,
    /// A stream has reported that the connection has ended.
    end_reported: AtomicBool,
    /// Bytes have arrived on a stream since the timer last looked.
    heard: AtomicBool,
    /// When the last stream ended. Locked only for a read or a write.
    idle_since: Mutex<Instant>,
    /// Counts the connection as open.
    socket: OnceLock<Counted>,
}

impl Connection {
    /// Performs the HTTP/2 handshake over `io`, and waits until the peer has replied to a PING. By then, a peer that
    /// does not speak HTTP/2 has been detected before any request was sent, and the number of streams it allows is
    /// known.
    ///
    /// # Errors
    /// If the peer does not speak HTTP/2, or the connection ends.
    pub(in crate::upstream) async fn open(io: Io, scheme: &'static str) -> io::Result<Self> {
        let retired = Arc::<AtomicBool>::default();
        let io = ReadToEnd::new(io, Arc::clone(&retired));
        let opening = client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .data_frame_budget(FRAME_BUDGET)
            .max_header_list_size(MAX_HEAD_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .initial_max_send_streams(STREAMS)
            .handshake(StrictIo::new(Bytes::new(), io, FrameFlood::of_server()));
        let (sender, mut connection) = opening.await.map_err(into_io)?;
        let mut pings = connection
            .ping_pong()
            .ok_or_else(|| io::Error::other("no pings"))?;
        pings.send_ping(Ping::opaque()).map_err(into_io)?;
        poll_fn(|cx| {
            if let Poll::Ready(over) = Pin::new(&mut connection).poll(cx) {
                let error = over
                    .err()
                    .map_or_else(|| io::ErrorKind::UnexpectedEof.into(), into_io);
                return Poll::Ready(Err(no_greeting(&error)));
            }
            pings.poll_pong(cx).map_ok(|_| ()).map_err(into_io)
        })
        .await?;
        let shared = Arc::new(Shared {
            opened: Instant::now(),
            scheme,
            streams: AtomicUsize::new(0),
            retired,
            over: AtomicBool::new(false),
            end_reported: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            socket: OnceLock::new(),
        });
        tasks::spawn(drive(connection, pings, Arc::clone(&shared)));
        Ok(Self { sender, shared })
    }

    /// Keeps the count of the connection until it has ended.
    pub(in crate::upstream) fn holds(&self, socket: Counted) {
        // The first one stays: there is one for each connection.
        let _ = self.shared.socket.set(socket);
    }

    /// Returns a place for one stream, if one is free and the connection was used within `max_age`.
    pub(super) fn place(&self, max_age: Duration) -> Option<Place> {
        let limit = self.sender.current_max_send_streams().min(STREAMS);
        let streams = self.shared.streams.load(Ordering::Relaxed);
        (self.is_useful(max_age) && streams < limit).then(|| self.first_place())
    }

    /// Returns a place on a connection that has just been opened.
    pub(in crate::upstream) fn first_place(&self) -> Place {
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }

    /// Reports whether the connection is worth keeping: it takes more streams, and has some or had some within
    /// `max_age`.
    pub(super) fn is_useful(&self, max_age: Duration) -> bool {
        let idle_since = *self.shared.idle_since();
        !self.shared.retired.load(Ordering::Relaxed)
            && self.shared.opened.elapsed() <= MAX_AGE
            && (self.shared.streams.load(Ordering::Relaxed) > 0 || idle_since.elapsed() < max_age)
    }
}

impl Shared {
    fn idle_since(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one stream, held until dropped.
#[derive(Debug)]
pub(in crate::upstream) struct Place(Connection);

impl Place {
    pub(super) fn scheme(&self) -> &'static str {
        self.0.shared.scheme
    }

    /// Ready when a request may be sent.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        self.0.sender.poll_ready(cx)
    }

    pub(super) fn send(
        &mut self,
        head: Request<()>,
        is_end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.0.sender.send_request(head, is_end)
    }

    /// Prevents further streams on this connection.
    pub(super) fn retire(&self) {
        self.0.shared.retired.store(true, Ordering::Relaxed);
    }

    /// Reports whether a stream's failure is its own, or the first one reported for the connection.
    pub(super) fn is_first_to_fail(&self) -> bool {
        let shared = &self.0.shared;
        !shared.over.load(Ordering::Relaxed) || !shared.end_reported.swap(true, Ordering::Relaxed)
    }

    /// Returns a handle that notes when bytes arrive.
    pub(super) fn hearing(&self) -> Hearing {
        Hearing(Arc::clone(&self.0.shared))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.shared.idle_since() = Instant::now();
        self.0.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A handle that tells the connection's task that the peer is alive.
#[derive(Debug)]
pub(super) struct Hearing(Arc<Shared>);

impl Hearing {
    pub(super) fn note(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
    }
}

/// Reads and writes for all streams, until nobody holds the connection or it breaks.
async fn drive(
    mut connection: client::Connection<StrictIo<ReadToEnd<Io>, FrameFlood>, Bytes>,
    mut pings: PingPong,
    shared: Arc<Shared>,
) {
    let mut timer = pin!(sleep(SILENCE));
    let mut awaits_pong = false;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(over) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(over.map_err(into_io));
        }
        if awaits_pong && pings.poll_pong(cx).is_ready() {
            awaits_pong = false;
            timer.as_mut().reset(Instant::now() + SILENCE);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            let heard = shared.heard.swap(false, Ordering::Relaxed);
            let pause = match (awaits_pong, heard) {
                (true, false) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                (false, false) => {
                    awaits_pong = pings.send_ping(Ping::opaque()).is_ok();
                    PING_TIMEOUT
                }
                (_, true) => SILENCE,
            };
            timer.as_mut().reset(Instant::now() + pause);
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a shared connection to an upstream ended");
    }
    shared.retired.store(true, Ordering::Relaxed);
    shared.over.store(true, Ordering::Relaxed);
}

/// Reports whether the upstream has certainly not processed the request, or says so (RFC 9113, 8.7).
pub(super) fn is_unseen(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // The library reports GOAWAY on streams beyond the last one that the upstream says it has processed.
    error.is_remote() && (refused || error.is_go_away())
}

pub(super) fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}

fn no_greeting(error: &io::Error) -> io::Error {
    let why = format!(
        "no HTTP/2 was spoken ({error}); if the agent speaks HTTP/1.1 only, `http2` must be false"
    );
    io::Error::other(why)
}
