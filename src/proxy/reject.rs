//! Rejects requests: every response by which Weir itself refuses a request is built here. The rejection is counted and
//! logged, and the span of the request is ended.
//!
//! Input that never became a request (400, 408, 414, 431) is answered in `server::refusal`.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use tokio::time::Instant;

use super::own_answer::Answer;
use crate::capacity::Full;
use crate::dialect::{self, Dialect, Members};
use crate::log::access::Line;
use crate::metrics::{Metrics, Refusal};
use crate::reply::body::Body;
use crate::session::RequestContext;
use crate::session::identity::Identity;
use crate::session::request_line::{Grade, RequestLine};
use crate::traces::Span;
use crate::upstream::Error;

/// Why a request is rejected. Before a route takes a request, the code is one of those that are counted ([`Refused`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection<C = &'static str> {
    pub(super) status: StatusCode,
    /// The error code of Weir, used as metric label, log field and `code` in the body.
    pub(super) code: C,
    /// The message for the client, one sentence.
    pub(super) message: Cow<'static, str>,
    /// The connection must be closed, because the end of the request is uncertain (request smuggling).
    pub(super) closes: bool,
    /// The methods that are taken, if it is the method that is not.
    pub(super) allow: Option<&'static str>,
    pub(super) blame: Blame,
}

/// A rejection before a route takes the request.
pub(super) type Refused = Rejection<Refusal>;

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
    /// Weir itself: it has no file descriptor left for the call, or its configuration leads in a circle. With the cause
    /// if one is known.
    Weir { cause: Option<String> },
}

impl<C> Rejection<C> {
    /// Creates a rejection that the client caused, after which the connection stays open.
    pub(super) const fn new(status: StatusCode, code: C, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            closes: false,
            allow: None,
            blame: Blame::Client,
        }
    }
}

impl Rejection {
    /// Creates a rejection with the status 502, bad gateway.
    pub(super) fn upstream(code: &'static str, message: &'static str) -> Self {
        Self {
            blame: Blame::Upstream { cause: None },
            ..Self::new(StatusCode::BAD_GATEWAY, code, message)
        }
    }

    /// Creates the rejection of a stream beyond `limits.max_streams`.
    pub(super) fn too_many_streams(max: usize, full: Full) -> Self {
        Self {
            blame: Blame::Overload,
            ..Self::from(Refused::too_many("max_streams", max, full))
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

impl Refused {
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
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, Refusal::Overloaded, "")
        }
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self {
            status: refused.status,
            code: refused.code.as_str(),
            message: refused.message,
            closes: refused.closes,
            allow: refused.allow,
            blame: refused.blame,
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
    pub(super) counted: Counted<'a>,
    /// What the client gets, if that is not the usual form: clients that come back to a stream understand another one.
    pub(super) answer: Option<Answer>,
    pub(super) span: Option<Span>,
}

/// What counts a rejection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted<'a> {
    /// The requests that no route took, under this reason.
    Refused(&'a Metrics, Refusal),
    /// The requests for streams (`weir_resume_requests_total`), by the caller: no route has the stream that is asked
    /// for.
    Resume,
    /// The requests of the route that took this one.
    Route(&'a RequestContext),
}

/// Rejects a request: counts and logs the rejection, ends the span, and returns the response, which carries the
/// request id.
pub(super) fn reject(mut request: Rejected<'_>, rejection: &Rejection) -> Response<Body> {
    let answer = request.answer.take();
    let answer = answer.unwrap_or_else(|| usual(&request, rejection));
    let status = answer.status;
    // The engine sends no body in answer to HEAD.
    let sent = if *request.method == Method::HEAD {
        0
    } else {
        answer.body.len()
    };
    count(request.counted, rejection, status);
    log(&request, rejection, (status, sent));
    if let Some(span) = request.span {
        span.failed(rejection.code, request.dialect, status);
    }
    let mut response = answer.into_response(&request.identity.request_id);
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Another instance may serve the request, or this one a moment later.
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(methods) = rejection.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    if rejection.closes && request.version <= Version::HTTP_11 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Returns the answer in the form of the dialect, or as problem details.
fn usual(request: &Rejected<'_>, rejection: &Rejection) -> Answer {
    let (content_type, body) = dialect::refusal(
        request.dialect,
        &request.members,
        rejection.status.as_u16(),
        rejection.code,
        &rejection.message,
    );
    let content_type = HeaderValue::from_static(content_type);
    Answer {
        status: rejection.status,
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]),
        body,
    }
}

/// Counts a rejection, after which the client gets this status.
fn count(counted: Counted<'_>, rejection: &Rejection, status: StatusCode) {
    let context = match counted {
        Counted::Refused(metrics, reason) => {
            metrics.refused(reason);
            return;
        }
        Counted::Resume => return,
        Counted::Route(context) => context,
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
    route.request(kind, status);
    match rejection.blame {
        Blame::Agents | Blame::Client | Blame::Overload | Blame::Weir { .. } => {}
        Blame::Drain => route.cancelled("drained"),
        Blame::Upstream { .. } => route.upstream_error(rejection.code),
    }
}

/// Writes the log line of a request that gets this status, and a body of `bytes` bytes.
fn log(request: &Rejected<'_>, rejection: &Rejection, (status, bytes): (StatusCode, usize)) {
    let mut line = RequestLine {
        identity: request.identity,
        route: match request.counted {
            Counted::Route(context) => Some(&context.route.name),
            Counted::Refused(..) | Counted::Resume => None,
        },
        client: request.client,
        method: Some(request.method),
        path: Some(request.path),
        started: request.started,
        outcome: "refused",
        code: Some(rejection.code),
        status: Some(status),
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
const REFUSED: &str = "request refused";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::identity::REQUEST_ID;

    /// Rejects a request without a route. Returns the response, and whether it was counted under its code.
    fn rejected(refused: Refused, answer: Option<Answer>) -> (Response<Body>, bool) {
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
            counted: Counted::Refused(&metrics, refused.code),
            answer,
            span: None,
        };
        let code = refused.code.as_str();
        let response = reject(request, &refused.into());
        assert_eq!(response.headers()[REQUEST_ID], identity.request_id);
        let sample = format!("weir_requests_refused_total{{reason=\"{code}\"}} 1\n");
        (response, metrics.encode().contains(&sample))
    }

    #[test]
    fn each_reason_is_counted_under_its_own_word_and_named() {
        for reason in Refusal::ALL {
            let refused = Refused::new(StatusCode::BAD_REQUEST, *reason, "no");
            let (response, counted) = rejected(refused, None);
            assert!(counted, "{reason:?}");
            assert!(!response.headers().contains_key(header::RETRY_AFTER));
            assert!(!response.headers().contains_key(header::ALLOW));
        }
    }

    #[test]
    fn an_answer_of_another_form_is_counted_under_the_same_reason() {
        let no_store = HeaderValue::from_static("no-store");
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(header::CACHE_CONTROL, no_store)]),
            body: "retry: 3000\n\n".into(),
        };
        let refused = Refused::too_many("max_requests", 3, Full::Limit);
        let (response, counted) = rejected(refused, Some(answer));
        assert!(counted);
        assert_eq!(response.status(), StatusCode::OK);
        let fields: Vec<_> = response.headers().keys().collect();
        assert_eq!(fields, ["cache-control", "x-request-id"]);
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
                counted: Counted::Route(&context),
                answer: None,
                span: None,
            };
            let response = reject(request, rejection);
            assert_eq!(response.headers()[REQUEST_ID], context.identity.request_id);
        };
        let is = |series: &str, value: u64| {
            let text = metrics.encode();
            let line = format!("{series} {value}\n");
            assert!(text.contains(&line), "{line} in {text}");
        };
        let requests = |code: u16, kind: &str, value: u64| {
            let labels = format!("code=\"{code}\",kind=\"{kind}\",route=\"r\"");
            is(&format!("weir_requests_total{{{labels}}}"), value);
        };
        let errors = "weir_upstream_errors_total{reason=\"upstream_connect\",route=\"r\"}";
        reject(&Rejection::upstream("upstream_connect", "no upstream"));
        requests(502, "unary", 1);
        is(errors, 1);
        reject(&Rejection::too_many_streams(1, Full::Limit));
        requests(503, "stream", 1);
        reject(&Rejection::cut_off());
        requests(503, "unary", 1);
        is("weir_requests_refused_total{reason=\"overloaded\"}", 0);
        let no_socket = Error::NoSocket {
            upstream: "a".to_owned(),
            source: None,
        };
        reject(&Rejection::from(&no_socket));
        requests(503, "unary", 2);
        is(errors, 1);
    }

    #[test]
    fn the_head_says_what_the_client_can_do() {
        let (response, _) = rejected(Refused::too_many("max_requests", 3, Full::Share), None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let uncertain = Refused {
            closes: true,
            allow: Some("GET"),
            ..Refused::new(status, Refusal::MethodNotAllowed, "no")
        };
        let (response, _) = rejected(uncertain, None);
        assert_eq!(response.headers()[header::CONNECTION], "close");
        assert_eq!(response.headers()[header::ALLOW], "GET");
    }
}
