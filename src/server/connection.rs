//! One client connection: TLS if asked for, then HTTP/1.1 or HTTP/2 until it closes or is overdue.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use super::interim::Interim;
use super::tls::Acceptor;
use super::watched::{Leaves, Watched};
use crate::app::App;
use crate::bounds;
use crate::config::Limits;
use crate::link::{Link, Overdue};
use crate::proxy::{self, Peer};
use crate::tasks;
use crate::upstream::request::Origin;

/// Bytes of answers that the HTTP/2 engine buffers per stream: what lies there can be neither joined nor
/// dropped.
const MAX_SEND_BYTES: usize = 64 * 1024;
/// Requests at one time on one HTTP/2 connection.
const MAX_CONCURRENT: u32 = 256;
/// Silence after which an HTTP/2 peer is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
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
    let Some(tls) = tls else {
        return http(app, peer, stream, &limits).await;
    };
    match timeout(limits.request_head, tls.current().accept(stream)).await {
        // Boxed: connections without TLS need not carry its room.
        Ok(Ok(stream)) => Box::pin(http(app, peer, stream, &limits)).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took longer than limits.request_head"),
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
        tasks::spawn(bounds::keep(stream));
    }
}

async fn http<S>(app: Arc<App>, peer: Peer, stream: S, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // The link's timer tells a slow head from a connection that rests; this one cannot.
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        // Of the request head, and of what waits to be written: nothing large may hide here.
        .max_buf_size(limits.max_header_bytes.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_CONCURRENT)
        .max_send_buf_size(MAX_SEND_BYTES)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let metrics = Arc::clone(&app.metrics);
    let link = Arc::clone(&peer.link);
    let stream = Interim::new(stream, Arc::clone(&link));
    let service = service_fn(move |request| {
        let (app, peer) = (Arc::clone(&app), peer.clone());
        // Boxed: hyper keeps room for this future as long as the connection lives, and it is over when the
        // head of a stream is sent.
        Box::pin(async move { Ok::<_, Infallible>(proxy::serve(&app, &peer, request).await) })
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut timer = pin!(sleep_until(link.next().unwrap_or_else(Instant::now)));
    let mut going = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(|error| {
                    let hyper = error.downcast_ref::<hyper::Error>();
                    if hyper.is_some_and(hyper::Error::is_parse) {
                        metrics.refused("malformed");
                    }
                    error.to_string()
                }));
            }
            // Lazily: the timer moves only when it fired or something now comes earlier.
            let Some(next) = link.next() else {
                return Poll::Pending;
            };
            if timer.is_elapsed() || next < timer.deadline() {
                timer.as_mut().reset(next);
            }
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
                    connection.as_mut().graceful_shutdown();
                }
                Some(Overdue::Head) if !going && !link.is_multiplexed() => {
                    going = true;
                    metrics.refused("request_head");
                    link.interim(TOO_SLOW);
                    // Polled once more to write it.
                    let _ = connection.as_mut().poll(cx);
                    return Poll::Ready(Err("no request head in time".to_owned()));
                }
                Some(overdue) => return Poll::Ready(Err(format!("overdue: {overdue:?}"))),
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a client connection ended");
    }
}
