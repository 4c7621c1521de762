//! One client connection: TLS if asked for, then HTTP/1.1 or HTTP/2 until it closes or is overdue.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use super::engine::{Ended, Engine};
use super::interim::Interim;
use super::service::Service;
use super::tls::Acceptor;
use super::watched::{Leaves, Watched};
use crate::app::App;
use crate::config::Limits;
use crate::link::{Link, Overdue};
use crate::proxy::Peer;
use crate::upstream::request::Origin;

/// Told to a client whose request head does not come to its end (RFC 9110, 15.5.9).
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves a connection to its end.
pub(super) async fn serve<S>(
    app: Arc<App>,
    worker: usize,
    origin: Origin,
    stream: S,
    tls: Option<Arc<Acceptor>>,
) where
    S: AsyncRead + AsyncWrite + Leaves + Send + Unpin + 'static,
{
    let limits = app.loaded().config.limits;
    let link = Arc::new(Link::new(limits.request_head, limits.keep_alive));
    let peer = Peer {
        origin,
        worker,
        link: Arc::clone(&link),
    };
    let stream = Watched::new(stream, link);
    match tls {
        None => http(app, peer, stream, &limits).await,
        // Boxed: connections without TLS need not carry its room.
        Some(tls) => Box::pin(https(app, peer, stream, &tls, &limits)).await,
    }
}

async fn https<S>(app: Arc<App>, peer: Peer, stream: S, tls: &Acceptor, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match timeout(limits.request_head, tls.current().accept(stream)).await {
        Ok(Ok(stream)) => http(app, peer, stream, limits).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than limits.request_head"),
    }
}

async fn http<S>(app: Arc<App>, peer: Peer, stream: S, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let metrics = Arc::clone(&app.metrics);
    let link = Arc::clone(&peer.link);
    let stream = Interim::new(stream, Arc::clone(&link));
    let mut engine = Engine::new(stream, Service::new(app, peer), limits);
    let mut timer = pin!(sleep_until(Instant::now()));
    // For when the timer is set; not yet at first.
    let mut armed = None;
    let mut going = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = engine.poll(cx) {
                return Poll::Ready(result);
            }
            // Lazily: the timer moves only when it fired or something now comes earlier. Until then it has this
            // task's waker.
            let Some(next) = link.next() else {
                return Poll::Pending;
            };
            if armed.is_some_and(|armed| armed <= next) && !timer.is_elapsed() {
                return Poll::Pending;
            }
            armed = Some(next);
            timer.as_mut().reset(link.at(next));
            ready!(timer.as_mut().poll(cx));
            match link.overdue(Instant::now()) {
                None => {}
                // The connection finds out when it next flushes, which is at once.
                Some(Overdue::Unseen) => link.look(),
                // Polled once more, it says how the connection ended.
                Some(Overdue::Idle) if link.end_closing() => {}
                Some(Overdue::Idle) if !going => {
                    going = true;
                    link.hurry();
                    engine.close();
                }
                Some(Overdue::Head) if !going && !link.is_multiplexed() => {
                    going = true;
                    metrics.refused("request_head");
                    link.interim(TOO_SLOW);
                    engine.tell(cx);
                    return Poll::Ready(Err(Ended::Overdue(Overdue::Head)));
                }
                Some(overdue) => return Poll::Ready(Err(Ended::Overdue(overdue))),
            }
        }
    });
    if let Err(error) = ended.await {
        if error.is_malformed() {
            metrics.refused("malformed");
        }
        tracing::debug!(%error, "a client connection ended");
    }
}
