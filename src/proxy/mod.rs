//! One request: find its route, call the upstream, answer with a stream or pass the answer through.

mod errors;
mod live;
mod source;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request, response};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep};

use crate::app::{App, Loaded};
use crate::config::Route;
use crate::dialect::{Choice, Dialect, detect};
use crate::metrics::RouteMetrics;
use crate::reply::body::Body;
use crate::reply::head;
use crate::upstream::request::{Origin, strip_hop_by_hop};
use crate::upstream::{self, Answer, RequestBody, RequestLimits};
use crate::wire::Framing;
use crate::wire::encoding::Coding;
use live::Start;
use source::{CallSource, Reads};

/// Who asks, and on which worker.
#[derive(Clone, Debug)]
pub struct Peer {
    /// For the forwarded fields.
    pub origin: Origin,
    /// The worker that serves the connection.
    pub worker: usize,
}

/// A request that found its route.
struct Call {
    loaded: Arc<Loaded>,
    route: Arc<Route>,
    metrics: Arc<RouteMetrics>,
    hint: Option<Dialect>,
    started: Instant,
    is_head: bool,
}

/// Answers one request.
pub async fn serve(app: &Arc<App>, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let under_way = app.request();
    let (parts, incoming) = request.into_parts();
    let mut response = match admit(app, &parts, started) {
        Ok(call) => answer(app, peer, call, parts, incoming).await,
        Err(refusal) => *refusal,
    };
    let body = std::mem::replace(response.body_mut(), Body::fixed(Bytes::new()));
    response.map(|_| body.holding(under_way))
}

/// What can be refused without asking anybody.
fn admit(app: &App, parts: &request::Parts, started: Instant) -> Result<Call, Box<Response<Body>>> {
    let hint = detect::from_request(parts.uri.path(), &parts.headers);
    if app.refusing.load(Ordering::Relaxed) {
        let message = "draining: this instance is shutting down, ask again";
        let mut refusal =
            errors::response(hint, StatusCode::SERVICE_UNAVAILABLE, "draining", message);
        refusal
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return Err(Box::new(refusal));
    }
    if parts.method == Method::CONNECT {
        return Err(Box::new(errors::response(
            hint,
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "CONNECT is not served here",
        )));
    }
    let upgrade = parts
        .headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok());
    if upgrade.is_some_and(|value| !value.to_ascii_lowercase().starts_with("h2c")) {
        let message = "upgrades (WebSocket and others) are not supported by this version of Weir";
        return Err(Box::new(errors::response(
            hint,
            StatusCode::NOT_IMPLEMENTED,
            "upgrade_not_supported",
            message,
        )));
    }
    let loaded = app.loaded();
    let index = crate::route::find(&loaded.config.routes, parts);
    let found = index
        .and_then(|index| Some((loaded.config.routes.get(index)?, loaded.metrics.get(index)?)));
    let Some((route, metrics)) =
        found.map(|(route, metrics)| (Arc::clone(route), Arc::clone(metrics)))
    else {
        return Err(Box::new(errors::response(
            hint,
            StatusCode::NOT_FOUND,
            "not_found",
            "no route takes this request",
        )));
    };
    let hint = match route.policy.dialect {
        Choice::Auto => hint,
        Choice::Fixed(dialect) => Some(dialect),
    };
    let is_head = parts.method == Method::HEAD;
    Ok(Call {
        loaded,
        route,
        metrics,
        hint,
        started,
        is_head,
    })
}

async fn answer(
    app: &Arc<App>,
    peer: &Peer,
    call: Call,
    parts: request::Parts,
    incoming: Incoming,
) -> Response<Body> {
    let policy = &call.route.policy;
    let limits = RequestLimits {
        max_bytes: policy.max_request_bytes,
        idle: call.loaded.config.limits.request_body,
    };
    let body = RequestBody::new(incoming, limits);
    if body.is_too_large() {
        return call.failed(&upstream::Error::RequestTooLarge);
    }
    let Some(client) = call.loaded.client(peer.worker, &call.route) else {
        return errors::response(
            call.hint,
            StatusCode::BAD_GATEWAY,
            "upstream_connect",
            "the route has no upstream",
        );
    };
    let (deadlines, origin) = (policy.deadlines, peer.origin.clone());
    let request = Request::from_parts(parts, body);
    let calling = async move { client.call(request, &origin, &deadlines).await };
    let Some(patience) = policy.commit_after else {
        return match calling.await {
            Ok(answer) => call.pass_or_stream(app, answer),
            Err(error) => call.failed(&error),
        };
    };
    let mut calling = Box::pin(calling);
    tokio::select! {
        result = &mut calling => match result {
            Ok(answer) => call.pass_or_stream(app, answer),
            Err(error) => call.failed(&error),
        },
        () = sleep(patience) => call.commit(app, CallSource::new(calling)),
    }
}

impl Call {
    /// A stream becomes a live one; everything else passes as it came.
    fn pass_or_stream(self, app: &Arc<App>, answer: Answer) -> Response<Body> {
        self.metrics
            .headers_seconds
            .observe(self.started.elapsed().as_secs_f64());
        let Answer { head, body } = answer;
        let framing = (!self.is_head).then(|| framing(&head)).flatten();
        let Some(framing) = framing else {
            return self.pass(head, body);
        };
        let Some(coding) = coding(&head) else {
            self.metrics.coding_unknown.inc();
            return self.pass(head, body);
        };
        self.stream(app, head, framing, coding, Box::new(Reads::new(body)))
    }

    fn pass(self, mut head: response::Parts, body: upstream::Body) -> Response<Body> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it.
            return errors::response(
                self.hint,
                StatusCode::BAD_GATEWAY,
                "upstream_error",
                "the upstream switched protocols unasked",
            );
        }
        if head.status.is_server_error() {
            self.metrics.upstream_error("status_5xx");
        }
        // Announces the trailers that follow; without it they could not be sent on.
        let trailer = head.headers.remove(header::TRAILER);
        strip_hop_by_hop(&mut head.headers);
        head.headers
            .extend(trailer.map(|value| (header::TRAILER, value)));
        head.extensions = http::Extensions::new();
        head.version = http::Version::HTTP_11;
        self.metrics.request("unary", head.status);
        let metrics = Arc::clone(&self.metrics);
        let timed = OnDrop(Some(move || {
            metrics
                .request_seconds
                .observe(self.started.elapsed().as_secs_f64());
        }));
        let body =
            Body::pass(body, self.started + self.route.policy.deadlines.total).holding(timed);
        Response::from_parts(head, body)
    }

    /// The head goes out before the upstream's is known.
    fn commit(self, app: &Arc<App>, source: CallSource) -> Response<Body> {
        let framing = if self.hint == Some(Dialect::Ollama) {
            Framing::Ndjson
        } else {
            Framing::Sse
        };
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(head::content_type(framing)),
        );
        self.stream(app, head, framing, Coding::Identity, Box::new(source))
    }

    fn stream(
        self,
        app: &Arc<App>,
        mut head: response::Parts,
        framing: Framing,
        coding: Coding,
        source: Box<dyn crate::stream::pump::Source>,
    ) -> Response<Body> {
        let max = self.loaded.config.limits.max_streams;
        let Some(entered) = app
            .streams
            .enter(Arc::clone(&self.route.name), self.started, max)
        else {
            let message = format!("overloaded: limits.max_streams ({max}) is reached");
            let mut refusal = errors::response(
                self.hint,
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                &message,
            );
            refusal
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return refusal;
        };
        head::stream(&mut head.headers, &entered.live.id.to_string());
        head.extensions = http::Extensions::new();
        head.version = http::Version::HTTP_11;
        self.metrics.request("stream", head.status);
        let start = Start {
            framing,
            coding,
            source,
            entered,
            status: head.status,
        };
        let reader = live::start(app, &self, start);
        let preamble = head::preamble(framing, self.route.policy.preamble_bytes);
        Response::from_parts(
            head,
            Body::stream(reader, Arc::clone(&self.metrics), preamble),
        )
    }

    fn failed(&self, error: &upstream::Error) -> Response<Body> {
        if error.is_upstream() {
            self.metrics.upstream_error(error.code());
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(route = %self.route.name, code = error.code(), cause, "{error}");
        }
        let response = errors::upstream(self.hint, error);
        self.metrics.request("unary", response.status());
        response
    }
}

/// The framing of a response that is a stream.
fn framing(head: &response::Parts) -> Option<Framing> {
    if !head.status.is_success() || head.status == StatusCode::NO_CONTENT {
        return None;
    }
    Framing::from_content_type(head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// The content coding of a response; `None` for one that cannot be undone.
fn coding(head: &response::Parts) -> Option<Coding> {
    let mut values = head.headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else {
        return Some(Coding::Identity);
    };
    if values.next().is_some() {
        return None;
    }
    Coding::from_header(value.to_str().ok()?)
}

/// Runs once when dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}
