//! The admin listener: metrics, health, live streams, drain. Never on the traffic port.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::app::App;
use crate::config::{Address, effective};
use crate::drain::Drain;
use crate::queue::Probe;
use crate::reply::body::Body;
use crate::server::{socket, tasks};
use crate::stream::registry::Live;

/// A client that takes nothing for longer than this is shown as stalled.
const STALLED: Duration = Duration::from_secs(1);
const PAGE: &str = include_str!("page.html");

/// A bound admin listener.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix socket.
    Unix(UnixListener),
}

/// Binds the admin listener and says where.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(address: &Address) -> io::Result<(Listener, String)> {
    match address {
        Address::Tcp(address) => {
            let failed = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot listen on {address} (admin.listen): {error}"),
                )
            };
            let mut sockets = socket::tcp(*address, 1).map_err(failed)?;
            let socket = sockets.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let shown = socket.local_addr()?.to_string();
            Ok((Listener::Tcp(TcpListener::from_std(socket)?), shown))
        }
        Address::Unix(path) => Ok((
            Listener::Unix(UnixListener::from_std(socket::unix(path)?)?),
            format!("unix:{}", path.display()),
        )),
    }
}

/// Serves it for as long as the process lives.
pub async fn serve(app: Arc<App>, drain: Arc<Drain>, listener: Listener) {
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| connection(&app, &drain, stream)),
            Listener::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| connection(&app, &drain, stream)),
        };
        if accepted.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn connection<S>(app: &Arc<App>, drain: &Arc<Drain>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (app, drain) = (Arc::clone(app), Arc::clone(drain));
    let service = service_fn(move |request| {
        let (app, drain) = (Arc::clone(&app), Arc::clone(&drain));
        async move { Ok::<_, Infallible>(answer(&app, &drain, &request).await) }
    });
    tasks::spawn(async move {
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = serving.await {
            tracing::debug!(%error, "an admin connection ended");
        }
    });
}

async fn answer(app: &App, drain: &Drain, request: &Request<Incoming>) -> Response<Body> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), reads) {
        ("/", true) => response(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned()),
        ("/metrics", true) => response(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            scrape(app),
        ),
        ("/healthz", true) => text(StatusCode::OK, "ok\n"),
        ("/readyz", true) if app.draining.load(Ordering::Relaxed) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        ("/readyz", true) => text(StatusCode::OK, "ready\n"),
        ("/streams", true) => response(StatusCode::OK, "application/json", streams(app)),
        ("/config", true) => {
            let config = effective(&app.loaded().config);
            response(StatusCode::OK, "application/json", config.to_string())
        }
        ("/drain", true) => match wait(request.uri().query()) {
            // For hooks that can only GET; without `wait` it is a mistake, and reading must not change anything.
            Some(limit) => {
                drain.begin();
                match tokio::time::timeout(limit, drain.finished()).await {
                    Ok(caller) => {
                        text(StatusCode::OK, "drained\n").map(|body| body.holding(caller))
                    }
                    // The caller goes on to stop the process.
                    Err(_) => text(StatusCode::OK, "still draining\n"),
                }
            }
            None => text(
                StatusCode::METHOD_NOT_ALLOWED,
                "POST /drain, or GET /drain?wait=25s\n",
            ),
        },
        ("/drain", false) if request.method() == Method::POST => {
            drain.begin();
            text(StatusCode::ACCEPTED, "draining\n")
        }
        ("/" | "/metrics" | "/healthz" | "/readyz" | "/streams" | "/config" | "/drain", _) => {
            text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "try /metrics /healthz /readyz /streams /config /drain\n",
        ),
    }
}

/// The metrics, with what is only looked at when somebody asks.
fn scrape(app: &App) -> String {
    let loaded = app.loaded();
    let samples = &app.metrics.samples;
    let mut waiting: HashMap<Arc<str>, (usize, usize)> = HashMap::new();
    for route in &loaded.config.routes {
        waiting.insert(Arc::clone(&route.name), (0, 0));
    }
    for live in app.streams.list() {
        if let Some(status) = live.queue.get().map(Probe::status) {
            let (events, bytes) = waiting.entry(Arc::clone(&live.route)).or_default();
            *events += status.events;
            *bytes += status.bytes;
        }
    }
    for (route, (events, bytes)) in waiting {
        samples.queue(&route, events, bytes);
    }
    for (upstream, endpoints) in loaded.endpoints() {
        samples.ejected(upstream, endpoints.left_out());
    }
    for (worker, load) in app.load.iter().enumerate() {
        samples.load(worker, load.get());
    }
    for (name, acceptor) in &app.certificates {
        if let Some(not_after) = acceptor.not_after() {
            samples.certificate(name, not_after);
        }
    }
    app.metrics.encode()
}

fn streams(app: &App) -> String {
    let list: Vec<_> = app.streams.list().iter().map(|live| stream(live)).collect();
    json!({ "active": list.len(), "streams": list }).to_string()
}

fn stream(live: &Live) -> serde_json::Value {
    let events = live.events.load(Ordering::Relaxed);
    let queue = live.queue.get().map(Probe::status);
    let stalled = queue
        .and_then(|queue| queue.waiting_since)
        .map_or(Duration::ZERO, |since| since.elapsed());
    let state = match events {
        0 => "waiting",
        _ if stalled > STALLED => "stalled",
        _ => "streaming",
    };
    json!({
        "id": live.id.to_string(),
        "request_id": live.request_id,
        "route": &*live.route,
        "dialect": live.dialect().as_str(),
        "state": state,
        "age_ms": millis(live.started.elapsed()),
        "stalled_ms": millis(stalled),
        "events": events,
        "bytes": live.bytes.load(Ordering::Relaxed),
        "queue_events": queue.map_or(0, |queue| queue.events),
        "queue_bytes": queue.map_or(0, |queue| queue.bytes),
        "dropped": queue.map_or(0, |queue| queue.counts.dropped.iter().sum::<u64>()),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `wait=25s`, `wait=500ms`, or a bare number of seconds.
fn wait(query: Option<&str>) -> Option<Duration> {
    let value = query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("wait="))?;
    let (number, unit) = value.split_at(
        value
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(value.len()),
    );
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", body.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::fixed(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
