//! The endpoints of the admin listener. Only `/drain` and `DELETE /streams/{id}` change anything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::format::wants_openmetrics;
use super::guard::Refusal;
use super::live::{self, Following};
use super::scrape;
use crate::app::{App, Load};
use crate::config::effective;
use crate::drain::Drain;
use crate::session::stream_id::StreamId;
use crate::stream::end::End;

const PAGE: &str = include_str!("page.html");

/// The body of a response.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Responds to one request that the guard lets pass.
pub(super) async fn answer(
    app: &Arc<App>,
    drain: &Drain,
    request: &Request<Incoming>,
) -> Response<Body> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), reads) {
        ("/", true) => response(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned()),
        ("/metrics", true) => {
            let openmetrics = wants_openmetrics(request.headers());
            let (content_type, text) = scrape::scrape(app, openmetrics);
            response(StatusCode::OK, content_type, text)
        }
        ("/healthz", true) => text(StatusCode::OK, "ok\n"),
        ("/readyz", true) if app.draining.load(Ordering::Relaxed) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        ("/readyz", true) if app.load.iter().any(Load::is_down) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "a worker has failed and is being replaced\n",
        ),
        ("/readyz", true) => text(StatusCode::OK, "ready\n"),
        ("/streams", true) if wants_events(request) => {
            let body = Following::new(Arc::clone(app));
            with_type("text/event-stream", Body::new(body))
        }
        ("/streams", true) => response(StatusCode::OK, "application/json", live::streams(app)),
        ("/config", true) => {
            let config = effective(&app.loaded().config);
            response(StatusCode::OK, "application/json", config.to_string())
        }
        ("/drain", true) if request.method() == Method::GET => match wait(request.uri().query()) {
            // Some hooks can only send GET, so GET with `wait` starts the drain. GET without `wait` is rejected as a
            // mistake, because reading must not change anything.
            Some(limit) => {
                drain.begin();
                match tokio::time::timeout(limit, drain.finished()).await {
                    // The process does not exit before this response is sent.
                    Ok(caller) => text(StatusCode::OK, "drained\n").map(|body| {
                        Body::new(Held {
                            body,
                            _caller: caller,
                        })
                    }),
                    // The caller stops the process anyway, so this is not an error status.
                    Err(_) => text(StatusCode::OK, "still draining\n"),
                }
            }
            None => allow(
                text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "POST /drain, or GET /drain?wait=25s\n",
                ),
                "/drain",
            ),
        },
        ("/drain", false) if request.method() == Method::POST => {
            drain.begin();
            text(StatusCode::ACCEPTED, "draining\n")
        }
        (path, false) if request.method() == Method::DELETE && stream_of(path).is_some() => {
            stop(app, stream_of(path))
        }
        ("/" | "/metrics" | "/healthz" | "/readyz" | "/streams" | "/config" | "/drain", _) => {
            allow(
                text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
                request.uri().path(),
            )
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "try /metrics /healthz /readyz /streams /config /drain\n",
        ),
    }
}

/// Returns the id in the path of one stream.
fn stream_of(path: &str) -> Option<StreamId> {
    StreamId::parse(path.strip_prefix("/streams/")?)
}

/// Stops a stream, whoever it belongs to.
fn stop(app: &App, id: Option<StreamId>) -> Response<Body> {
    match id.and_then(|id| app.streams.find(id)) {
        Some(live) => {
            live.stop(End::Stopped);
            text(StatusCode::ACCEPTED, "stopping\n")
        }
        None => text(StatusCode::NOT_FOUND, "no live stream has this id\n"),
    }
}

/// Responds to a request that the guard refuses.
pub(super) fn refuse(refusal: Refusal) -> Response<Body> {
    let mut response = text(refusal.status(), refusal.message());
    if refusal == Refusal::Token {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Reports whether the client asked for server-sent events, as `EventSource` does.
fn wants_events(request: &Request<Incoming>) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split([',', ';'])
            .any(|one| one.trim().eq_ignore_ascii_case("text/event-stream"))
    })
}

/// Parses `wait=25s`, `wait=500ms`, `wait=1m`, or a bare number of seconds.
fn wait(query: Option<&str>) -> Option<Duration> {
    let value = query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("wait="))?;
    let digits = value.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = value.split_at_checked(digits.unwrap_or(value.len()))?;
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
    let body = Full::from(body).map_err(|never| match never {});
    let mut response = with_type(content_type, Body::new(body));
    *response.status_mut() = status;
    response
}

/// Adds the `Allow` header with the methods of a path.
fn allow(mut response: Response<Body>, path: &str) -> Response<Body> {
    let methods = if path == "/drain" {
        "GET, POST"
    } else {
        "GET, HEAD"
    };
    let value = HeaderValue::from_static(methods);
    response.headers_mut().insert(header::ALLOW, value);
    response
}

fn with_type(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Every response describes the current state and must not be cached.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body that keeps a value alive until it is sent.
struct Held<G> {
    body: Body,
    _caller: G,
}

impl<G: Unpin> http_body::Body for Held<G> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
