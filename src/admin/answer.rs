//! The endpoints of the admin listener. Only `/drain` and `DELETE /streams/{id}` change anything. `deploy/openapi.yaml`
//! describes them all.

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
use crate::end::End;
use crate::session::stream_id::StreamId;

/// What the page may load and run: its own script and style, and nothing of anyone else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The paths, and the methods that each takes.
static PATHS: [(&str, &str); 10] = [
    ("/", "GET, HEAD"),
    ("/page.css", "GET, HEAD"),
    ("/page.js", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/streams", "GET, HEAD"),
    ("/streams/{id}", "DELETE"),
    ("/config", "GET, HEAD"),
    ("/drain", "GET, POST"),
];

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
        ("/", true) => page("text/html; charset=utf-8", include_str!("page.html")),
        ("/page.css", true) => page("text/css; charset=utf-8", include_str!("page.css")),
        ("/page.js", true) => page("text/javascript; charset=utf-8", include_str!("page.js")),
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
        ("/streams", true) => response(StatusCode::OK, "application/json", live::streams(app, 0)),
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
            None => not_allowed("POST /drain, or GET /drain?wait=25s\n", "GET, POST"),
        },
        ("/drain", false) if request.method() == Method::POST => {
            drain.begin();
            text(StatusCode::ACCEPTED, "draining\n")
        }
        (path, _) => match named_in(path) {
            Some(id) if request.method() == Method::DELETE => stop(app, id),
            _ => match methods(path) {
                Some(methods) => not_allowed("method not allowed: see the field Allow\n", methods),
                None => text(
                    StatusCode::NOT_FOUND,
                    "try / /streams /metrics /healthz /readyz /config /drain, or DELETE /streams/{id}\n",
                ),
            },
        },
    }
}

/// Returns what names a stream in the path of one stream.
fn named_in(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/streams/")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Returns the methods that a path takes; `None` if there is no such path.
fn methods(path: &str) -> Option<&'static str> {
    let known = if named_in(path).is_some() {
        "/streams/{id}"
    } else {
        path
    };
    let found = PATHS.iter().find(|(path, _)| *path == known);
    found.map(|(_, methods)| *methods)
}

/// Stops a stream, whoever it belongs to.
fn stop(app: &App, id: &str) -> Response<Body> {
    let Some(id) = StreamId::parse(id) else {
        return text(
            StatusCode::NOT_FOUND,
            "expected the id of a stream, 32 hexadecimal digits, as in /streams\n",
        );
    };
    match app.streams.find(id) {
        Some(live) => {
            live.stop(End::Stopped);
            text(StatusCode::ACCEPTED, "stopping\n")
        }
        None => text(
            StatusCode::NOT_FOUND,
            "no live stream has this id: it may have ended\n",
        ),
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

/// Responds to a method that a path does not take.
fn not_allowed(body: &'static str, methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, body);
    let value = HeaderValue::from_static(methods);
    response.headers_mut().insert(header::ALLOW, value);
    response
}

/// Returns a part of the page of live streams.
fn page(content_type: &'static str, body: &'static str) -> Response<Body> {
    let mut response = response(StatusCode::OK, content_type, body.to_owned());
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static(POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let referrer = HeaderValue::from_static("same-origin");
    headers.insert(header::REFERRER_POLICY, referrer);
    response
}

fn with_type(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Every response describes the current state and must not be cached.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let sniffing = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, sniffing);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The paths of `deploy/openapi.yaml`, with the methods of each.
    fn described() -> BTreeSet<(String, String)> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/openapi.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let paths = text.split("\npaths:\n").nth(1).unwrap();
        let paths = paths.split("\ncomponents:\n").next().unwrap();
        let mut path = String::new();
        let mut found = BTreeSet::new();
        for line in paths.lines().filter_map(|line| line.strip_suffix(':')) {
            let name = line.trim_start();
            match line.len() - name.len() {
                2 => path = name.to_owned(),
                4 if name != "parameters" => {
                    found.insert((path.clone(), name.to_uppercase()));
                }
                _ => {}
            }
        }
        found
    }

    #[test]
    fn the_openapi_file_describes_every_path_and_method() {
        let served: BTreeSet<(String, String)> = PATHS
            .iter()
            .flat_map(|(path, methods)| {
                // What answers GET answers HEAD.
                let methods = methods.split(", ").filter(|method| *method != "HEAD");
                methods.map(|method| ((*path).to_owned(), method.to_owned()))
            })
            .collect();
        assert_eq!(described(), served);
    }

    #[test]
    fn a_path_that_takes_another_method_says_which() {
        assert_eq!(methods("/streams"), Some("GET, HEAD"));
        assert_eq!(methods("/streams/0123"), Some("DELETE"));
        for unknown in ["/streams/", "/streams/1/2", "/x", ""] {
            assert_eq!(methods(unknown), None, "{unknown}");
        }
    }
}
