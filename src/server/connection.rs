//! One client connection: TLS if configured, then HTTP/1.1 or HTTP/2 until it closes or misses a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::server::TlsStream;

use super::departures;
use super::engine::{Ended, Engine};
use super::interim::Interim;
use super::refusal;
use super::service::Service;
use super::tracked_io::{PeerState, TrackedIo};
use super::wake::{FlagWaker, WokenBy};
use crate::app::App;
use crate::certificate::{ReloadingCertificate, fingerprint};
use crate::client_conn::{ClientConn, Moment, Overdue};
use crate::config::Limits;
use crate::metrics::{Metrics, Refusal};
use crate::proxy::Peer;
use crate::upstream::request::Origin;

/// Returns the future of a connection without TLS. `held` is dropped when the connection is over.
pub(super) fn plain<S, G>(
    app: Arc<App>,
    worker: usize,
    origin: Origin,
    stream: S,
    held: G,
) -> Connection<TrackedIo<S>, G>
where
    S: AsyncRead + AsyncWrite + PeerState + Send + Unpin + 'static,
{
    let limits = app.loaded().config.limits;
    let (peer, stream) = watch(worker, origin, stream, &limits);
    Connection::new(app, peer, stream, &limits, held)
}

/// Returns the future of a connection that begins with a TLS handshake. `held` is dropped when the connection is over.
///
/// The handshake and the connection are boxes of their own: the task is as large as the largest of its states, and a
/// handshake takes 4 KiB that the connection does not need.
pub(super) fn over_tls<S, G>(
    app: Arc<App>,
    worker: usize,
    origin: Origin,
    stream: S,
    tls: Arc<ReloadingCertificate>,
    held: G,
) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + PeerState + Send + Unpin + 'static,
    G: Unpin,
{
    let handshake = Box::pin(accept_tls(app, worker, origin, stream, tls, held));
    async move {
        if let Some(connection) = handshake.await {
            connection.await;
        }
    }
}

type TlsConnection<S, G> = Connection<TlsStream<TrackedIo<S>>, G>;

/// Completes the handshake of a connection. Returns `None` if it failed.
async fn accept_tls<S, G>(
    app: Arc<App>,
    worker: usize,
    origin: Origin,
    stream: S,
    tls: Arc<ReloadingCertificate>,
    held: G,
) -> Option<Pin<Box<TlsConnection<S, G>>>>
where
    S: AsyncRead + AsyncWrite + PeerState + Send + Unpin + 'static,
    G: Unpin,
{
    let limits = app.loaded().config.limits;
    let (mut peer, stream) = watch(worker, origin, stream, &limits);
    match timeout(limits.request_head, tls.current().accept(stream)).await {
        Ok(Ok(stream)) => {
            // Empty unless the listener has verified it (`client_ca`). The first one is the client's own.
            let (_, session) = stream.get_ref();
            let shown = session.peer_certificates().and_then(<[_]>::first);
            peer.certificate = shown.map(fingerprint);
            return Some(Box::pin(Connection::new(app, peer, stream, &limits, held)));
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than limits.request_head"),
    }
    None
}

fn watch<S>(worker: usize, origin: Origin, stream: S, limits: &Limits) -> (Peer, TrackedIo<S>) {
    let conn = Arc::new(ClientConn::new(limits.request_head, limits.keep_alive));
    let stream = TrackedIo::new(stream, Arc::clone(&conn));
    let peer = Peer {
        origin,
        worker,
        conn,
        certificate: None,
    };
    (peer, stream)
}

/// The timer of a connection, and the waker that it has. Boxed, because a connection with a stream has none until its
/// client is slow.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    flag: FlagWaker,
}

/// The future of a connection: runs HTTP until the end, within the connection's deadlines.
///
/// This is a hand-written future, not an `async` function, with its fields in a fixed order: each event of a
/// stream passes here, and should reach its stream without a detour (see
/// [`Pump`](crate::stream::pump::Pump)).
#[repr(C)]
pub(super) struct Connection<S, G> {
    engine: Engine<S>,
    conn: Arc<ClientConn>,
    /// The deadline that the timer is set for.
    armed: Option<Moment>,
    timer: Option<Box<Timer>>,
    /// Whether the connection was told to close.
    going: bool,
    /// It is over, and waits for its turn to end.
    is_over: bool,
    metrics: Arc<Metrics>,
    _held: G,
}

impl<S, G> Connection<S, G>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn new(app: Arc<App>, peer: Peer, stream: S, limits: &Limits, held: G) -> Self {
        let metrics = Arc::clone(&app.metrics);
        let conn = Arc::clone(&peer.conn);
        let stream = Interim::new(stream, Arc::clone(&conn));
        Self {
            engine: Engine::new(stream, Service::new(app, peer), limits),
            conn,
            armed: None,
            timer: None,
            going: false,
            is_over: false,
            metrics,
            _held: held,
        }
    }

    /// Sets the timer for `next`, and acts on a deadline that has passed. Ready when the engine must be
    /// polled again, or with the error that ends the connection.
    #[inline(never)]
    fn poll_timer(&mut self, cx: &mut Context<'_>, next: Moment) -> Poll<Result<(), Ended>> {
        let Self { conn, timer, .. } = self;
        let at = conn.at(next);
        self.armed = Some(next);
        let timer = timer.get_or_insert_with(|| {
            Box::new(Timer {
                sleep: Box::pin(sleep_until(at)),
                flag: FlagWaker::new(WokenBy::Timer, conn, cx.waker()),
            })
        });
        let Timer { sleep, flag } = &mut **timer;
        if !flag.wakes(cx.waker()) {
            *flag = FlagWaker::new(WokenBy::Timer, conn, cx.waker());
        }
        sleep.as_mut().reset(at);
        ready!(sleep.as_mut().poll(&mut Context::from_waker(flag.waker())));
        match conn.overdue(Instant::now()) {
            None => {}
            // The check is made at the next flush, which follows at once.
            Some(Overdue::Unseen) => conn.look(),
            // The engine, polled again, reports how the connection ended.
            Some(Overdue::Idle) if conn.end_closing() => {}
            Some(Overdue::Idle) if !self.going => self.close(),
            // Browsers and pools open connections in advance. That is no request, so it gets no answer, and no log
            // line.
            Some(Overdue::Head) if !self.going && self.engine.is_unused() => self.close(),
            Some(Overdue::Head) if !self.going && !conn.is_multiplexed() => {
                self.going = true;
                self.metrics.refused(Refusal::RequestHead);
                let answer = refusal::too_slow(conn);
                conn.interim(&answer);
                let status = StatusCode::REQUEST_TIMEOUT;
                refusal::log(conn, self.engine.client(), Refusal::RequestHead, status);
                self.engine.tell(cx);
                return Poll::Ready(Err(Ended::Overdue(Overdue::Head)));
            }
            Some(overdue) => return Poll::Ready(Err(Ended::Overdue(overdue))),
        }
        // The timer has fired and is not set for any later deadline.
        self.armed = None;
        Poll::Ready(Ok(()))
    }

    /// Closes the connection as soon as nothing is under way.
    fn close(&mut self) {
        self.going = true;
        self.conn.hurry();
        self.engine.close();
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            if let Poll::Ready(result) = self.engine.poll(cx) {
                return Poll::Ready(result);
            }
            // The timer is reset lazily: only when it has fired, or when an earlier deadline has come up.
            let Some(next) = self.conn.next() else {
                return Poll::Pending;
            };
            let is_set = self.armed.is_some_and(|armed| armed <= next);
            if is_set && !self.conn.take_rung() {
                return Poll::Pending;
            }
            ready!(self.poll_timer(cx, next))?;
        }
    }
}

impl<S, G> Future for Connection<S, G>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    G: Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(self.poll_end(cx));
        if self.is_over {
            return Poll::Ready(());
        }
        if let Err(error) = ended {
            if let Some(status) = error.malformed() {
                self.metrics.refused(Refusal::Malformed);
                refusal::log(&self.conn, self.engine.client(), Refusal::Malformed, status);
            }
            tracing::debug!(%error, "a client connection ended");
        }
        let turn = departures::poll_turn(cx);
        if turn.is_pending() {
            self.is_over = true;
            self.engine.rest();
        }
        turn
    }
}
