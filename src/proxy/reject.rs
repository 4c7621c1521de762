//! Rejects requests: every error response of Weir itself is built here. The rejection is counted and logged, and the
//! span of the request is ended.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use tokio::time::Instant;

use crate::capacity::Full;
use crate::dialect::{self, Dialect, Members};
use crate::log::access::Line;
use crate::metrics::Metrics;
use crate::reply::body::Body;
use crate::session::RequestContext;
use crate::session::identity::{Identity, REQUEST_ID};
use crate::session::request_line::{Grade, RequestLine};
use crate::traces::Span;
use crate::upstream::Error;

/// Why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    /// The error code of Weir, used as metric label, log field and `code` in the body.
    pub(super) code: &'static str,
    /// The message for the client, one sentence.
    pub(super) message: Cow<'static, str>,
    /// The connection must be closed, because the end of the request is uncertain (request smuggling).
    pub(super) closes: bool,
    pub(super) blame: Blame,
}

/// What caused a rejection. It decides how the rejection is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The agents of the route, whose failures have been counted one by one.
    Agents,
    /// The request, or how the client sent it.
    Client,
    /// The process shuts down, and the upstream call is cancelled.
    Drain,
    /// There is no room for another stream.
    Overload,
    /// The upstream, with the underlying error.
    Upstream { cause: Option<String> },
    /// Weir itself: it has no file descriptor left for the call, or its configuration leads in a circle. With the cause if
    /// one is known.
    Weir { cause: Option<String> },
}

impl Rejection {
    /// Creates a rejection that the client caused, after which the connection stays open.
    pub(super) const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            closes: false,
            blame: Blame::Client,
        }
    }

    /// Creates a rejection with the status 502, bad gateway.
    pub(super) fn upstream(code: &'static str, message: &'static str) -> Self {
        Self {
            blame: Blame::Upstream { cause: None },
            ..Self::new(StatusCode::BAD_GATEWAY, code, message)
        }
    }

    /// Creates the rejection of what exceeds `limits.{key}`, which is `max`.
    pub(super) fn too_many(key: &'static str, max: usize, full: Full) -> Self {
        let message = match full {
            Full::Limit => format!("overloaded: limits.{key} ({max}) is reached, ask again"),
            Full::Share => format!(
                "overloaded: this connection has its share of limits.{key} ({max}), ask again"
            ),
        };
        Self {
            message: message.into(),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "")
        }
    }

    /// Creates the rejection of a stream beyond `limits.max_streams`.
    pub(super) fn too_many_streams(max: usize, full: Full) -> Self {
        Self {
            blame: Blame::Overload,
            ..Self::too_many("max_streams", max, full)
        }
    }

    /// Creates the rejection of a request that the shutdown cuts off before there is a response.
    pub(super) fn cut_off() -> Self {
        Self {
            blame: Blame::Drain,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                "draining: this instance went away before the upstream answered",
            )
        }
    }
}

impl From<&Error> for Rejection {
    fn from(error: &Error) -> Self {
        let status = match error {
            Error::Connect { .. }
            | Error::Dns { .. }
            | Error::Protocol { .. }
            | Error::Reset { .. }
            | Error::Tls { .. } => StatusCode::BAD_GATEWAY,
            Error::ConnectTimeout { .. }
            | Error::FirstEventTimeout { .. }
            | Error::HeadTimeout { .. }
            | Error::TotalTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Error::RequestAborted | Error::RequestUnreadable(_) => StatusCode::BAD_REQUEST,
            Error::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Error::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Error::NoSocket { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        let cause = || std::error::Error::source(error).map(ToString::to_string);
        Self {
            message: error.to_string().into(),
            blame: match error {
                Error::NoSocket { .. } => Blame::Weir { cause: cause() },
                error if error.is_upstream() => Blame::Upstream { cause: cause() },
                _ => Blame::Client,
            },
            ..Self::new(status, error.code(), "")
        }
    }
}

/// A request that is rejected.
#[derive(Debug)]
pub(super) struct Rejected<'a> {
    pub(super) identity: &'a Identity,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) client: Option<IpAddr>,
    pub(super) started: Instant,
    pub(super) version: Version,
    /// The dialect that the request asks for. It decides the form of the body.
    pub(super) dialect: Option<Dialect>,
    pub(super) members: Members,
    /// The data of the request, if it has a route.
    pub(super) context: Option<&'a RequestContext>,
    pub(super) span: Option<Span>,
}

/// Rejects a request: counts and logs the rejection, ends the span, and returns the response, which carries the
/// request id.
pub(super) fn reject(
    metrics: &Metrics,
    request: Rejected<'_>,
    rejection: &Rejection,
) -> Response<Body> {
    count(metrics, request.context, rejection);
    let (content_type, bytes) = dialect::refusal(
        request.dialect,
        &request.members,
        rejection.status.as_u16(),
        rejection.code,
        &rejection.message,
    );
    // The engine sends no body in answer to HEAD.
    let sent = if *request.method == Method::HEAD {
        0
    } else {
        bytes.len()
    };
    log(&request, rejection, sent);
    if let Some(span) = request.span {
        span.failed(rejection.code, request.dialect, rejection.status);
    }
    let mut response = Response::new(Body::fixed(bytes));
    *response.status_mut() = rejection.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(REQUEST_ID, request.identity.request_id.clone());
    if rejection.status == StatusCode::SERVICE_UNAVAILABLE {
        // Another instance may serve the request, or this one a moment later.
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if rejection.status == StatusCode::METHOD_NOT_ALLOWED && request.context.is_some() {
        // Of what has a route, only an agent that speaks WebSocket alone refuses methods.
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    }
    if rejection.closes && request.version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn count(metrics: &Metrics, context: Option<&RequestContext>, rejection: &Rejection) {
    let Some(context) = context else {
        metrics.refused(rejection.code);
        return;
    };
    let route = &context.metrics;
    let kind = match rejection.blame {
        Blame::Overload => "stream",
        Blame::Agents
        | Blame::Client
        | Blame::Drain
        | Blame::Upstream { .. }
        | Blame::Weir { .. } => "unary",
    };
    route.request(kind, rejection.status);
    match rejection.blame {
        Blame::Agents | Blame::Client | Blame::Overload | Blame::Weir { .. } => {}
        Blame::Drain => route.cancelled("drained"),
        Blame::Upstream { .. } => route.upstream_error(rejection.code),
    }
}

fn log(request: &Rejected<'_>, rejection: &Rejection, bytes: usize) {
    let mut line = RequestLine {
        identity: request.identity,
        route: request.context.map(|context| &*context.route.name),
        client: request.client,
        method: Some(request.method),
        path: Some(request.path),
        started: request.started,
        outcome: "refused",
        code: Some(rejection.code),
        status: Some(rejection.status),
        bytes: u64::try_from(bytes).ok(),
        cause: None,
        grade: Grade::Info,
    };
    match &rejection.blame {
        Blame::Upstream { cause } => {
            line.outcome = "failed";
            line.cause = cause.as_deref();
            line.grade = Grade::Warn;
            line.write(Line::Failure, &rejection.message);
        }
        Blame::Agents => {
            line.outcome = "failed";
            line.grade = Grade::Warn;
            line.write(Line::Failure, &rejection.message);
        }
        Blame::Weir { cause } => {
            line.cause = cause.as_deref();
            line.grade = Grade::Warn;
            line.write(Line::Failure, REFUSED);
        }
        Blame::Client | Blame::Drain | Blame::Overload => line.write(Line::Failure, REFUSED),
    }
}

/// What the log says of a request that was refused.
pub(super) const REFUSED: &str = "request refused";

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    /// Rejects a request without a route. Returns the response, and whether it was counted under its code.
    fn rejected(rejection: &Rejection) -> (Response<Body>, bool) {
        let metrics = Metrics::new();
        let identity = Identity::of(&mut HeaderMap::new());
        let request = Rejected {
            identity: &identity,
            method: &Method::GET,
            path: "/",
            client: None,
            started: Instant::now(),
            version: Version::HTTP_11,
            dialect: None,
            members: Members::default(),
            context: None,
            span: None,
        };
        let response = reject(&metrics, request, rejection);
        assert_eq!(response.headers()[REQUEST_ID], identity.request_id);
        let sample = format!(
            "weir_requests_refused_total{{reason=\"{}\"}} 1",
            rejection.code
        );
        (response, metrics.encode().contains(&sample))
    }

    #[test]
    fn each_reason_is_counted_under_its_own_word_and_named() {
        for code in [
            "bad_request",
            "draining",
            "expectation_failed",
            "malformed",
            "method_not_allowed",
            "not_found",
            "overloaded",
            "too_many_headers",
            "transfer_coding_not_supported",
            "upgrade_not_supported",
        ] {
            let rejection = Rejection::new(StatusCode::BAD_REQUEST, code, "no");
            let (response, counted) = rejected(&rejection);
            assert!(counted, "{code}");
            assert!(!response.headers().contains_key(header::RETRY_AFTER));
        }
    }

    #[test]
    fn what_a_route_took_is_counted_there() {
        let metrics = Metrics::new();
        let context = RequestContext::example(&metrics);
        let reject = |rejection: &Rejection| {
            let request = Rejected {
                identity: &context.identity,
                method: &context.method,
                path: &context.path,
                client: None,
                started: context.started,
                version: Version::HTTP_2,
                dialect: None,
                members: Members::default(),
                context: Some(&context),
                span: None,
            };
            let response = reject(&metrics, request, rejection);
            assert_eq!(response.headers()[REQUEST_ID], context.identity.request_id);
        };
        let is = |series: &str, value: u64| {
            let text = metrics.encode();
            let line = format!("{series} {value}\n");
            assert!(text.contains(&line), "{line} in {text}");
        };
        reject(&Rejection::upstream(
            "upstream_connect",
            "the route has no upstream",
        ));
        is(
            "weir_requests_total{code=\"502\",kind=\"unary\",route=\"r\"}",
            1,
        );
        is(
            "weir_upstream_errors_total{reason=\"upstream_connect\",route=\"r\"}",
            1,
        );
        reject(&Rejection::too_many_streams(1, Full::Limit));
        is(
            "weir_requests_total{code=\"503\",kind=\"stream\",route=\"r\"}",
            1,
        );
        reject(&Rejection::cut_off());
        is(
            "weir_requests_total{code=\"503\",kind=\"unary\",route=\"r\"}",
            1,
        );
        is("weir_requests_refused_total{reason=\"overloaded\"}", 0);
        let no_socket = Error::NoSocket {
            upstream: "a".to_owned(),
            source: None,
        };
        reject(&Rejection::from(&no_socket));
        is(
            "weir_requests_total{code=\"503\",kind=\"unary\",route=\"r\"}",
            2,
        );
        is(
            "weir_upstream_errors_total{reason=\"upstream_connect\",route=\"r\"}",
            1,
        );
    }

    #[test]
    fn the_head_says_what_the_client_can_do() {
        let (response, _) = rejected(&Rejection::too_many_streams(3, Full::Share));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let uncertain = Rejection {
            closes: true,
            ..Rejection::new(StatusCode::BAD_REQUEST, "bad_request", "no")
        };
        let (response, _) = rejected(&uncertain);
        assert_eq!(response.headers()[header::CONNECTION], "close");
    }
}
