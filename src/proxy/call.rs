//! A request that found its route, and what becomes of its answer.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header, response};
use tokio::time::{Instant, timeout_at};

use super::account;
use super::body_sniff::BodySniff;
use super::identity::{Identity, REQUEST_ID};
use super::live::{self, Start};
use super::response_kind::{coding, framing, is_plain_text};
use super::source::{CallSource, Reads};
use super::{errors, named};
use crate::app::{App, Loaded};
use crate::body_deadline::BodyDeadline;
use crate::client_conn::ClientConn;
use crate::config::Route;
use crate::dialect::{Choice, Dialect, Members, detect};
use crate::metrics::RouteMetrics;
use crate::reply::body::Body;
use crate::reply::head;
use crate::traces::Span;
use crate::upstream::fields::strip_hop_by_hop;
use crate::upstream::{self, Answer};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// First bytes of a body that show its framing: the longest SSE field name and its colon.
const SNIFF_BYTES: usize = 6;

/// A request that found its route.
pub(super) struct Call {
    pub(super) loaded: Arc<Loaded>,
    pub(super) route: Arc<Route>,
    pub(super) metrics: Arc<RouteMetrics>,
    /// What the head of the request, or the route, says of the dialect.
    pub(super) hint: Option<Dialect>,
    /// What its body says, where that matters.
    pub(super) sniff: Option<BodySniff>,
    /// Its upstream call goes on when the client leaves.
    pub(super) detaches: bool,
    pub(super) started: Instant,
    pub(super) is_head: bool,
    pub(super) identity: Identity,
    pub(super) client: Option<IpAddr>,
    pub(super) conn: Arc<ClientConn>,
    /// Where spans are exported, until it ends.
    pub(super) span: Option<Span>,
    pub(super) method: Method,
    /// Without its query, and bounded: for the log.
    pub(super) path: Arc<str>,
}

impl Call {
    /// What the client gets for what the call gave.
    pub(super) async fn answered(
        mut self,
        app: &Arc<App>,
        result: Result<Answer, upstream::Error>,
    ) -> Response<Body> {
        match result {
            Ok(answer) => self.pass_or_stream(app, answer).await,
            Err(error) => self.failed(&error),
        }
    }

    /// A stream becomes a live one; everything else passes as it came.
    async fn pass_or_stream(mut self, app: &Arc<App>, answer: Answer) -> Response<Body> {
        let Answer {
            head,
            mut body,
            sent,
            connected,
        } = answer;
        self.metrics
            .headers_seconds
            .observe(sent.elapsed().as_secs_f64());
        if let Some(connected) = connected {
            self.metrics
                .connect_seconds
                .observe(connected.as_secs_f64());
        }
        let spoken = self.spoken(&head);
        let framing = match framing(&head, spoken) {
            _ if self.is_head => None,
            None if self.may_be_plain_stream(&head) => match self.sniff(&mut body, sent).await {
                Ok(framing) => framing,
                Err(late) => return self.failed(&late),
            },
            framing => framing,
        };
        let Some(framing) = framing else {
            return self.pass(app, head, body);
        };
        let Some(coding) = coding(&head) else {
            self.metrics.coding_unknown.inc();
            return self.pass(app, head, body);
        };
        let start = Start {
            framing,
            coding,
            source: Box::new(Reads::new(body)),
            sent,
            spoken,
        };
        self.stream(app, head, start)
    }

    /// The dialect that the request asks for, as far as it has been read.
    pub(super) fn asked_for(&self) -> Option<Dialect> {
        match (&self.sniff, self.route.policy.dialect) {
            (Some(sniff), Choice::Auto) => detect::from_body(&sniff.members(), self.hint),
            _ => self.hint,
        }
    }

    /// What the request's body says, as far as it has been read.
    pub(super) fn members(&self) -> Members {
        self.sniff
            .as_ref()
            .map(BodySniff::members)
            .unwrap_or_default()
    }

    /// The dialect of an answer, as far as anything but its events can tell.
    fn spoken(&self, head: &response::Parts) -> Option<Dialect> {
        match self.route.policy.dialect {
            Choice::Auto => detect::from_answer(&head.headers).or_else(|| self.asked_for()),
            Choice::Fixed(dialect) => Some(dialect),
        }
    }

    /// Plain text is looked into only where the route says which dialect to expect.
    fn may_be_plain_stream(&self, head: &response::Parts) -> bool {
        matches!(self.route.policy.dialect, Choice::Fixed(_))
            && head.status.is_success()
            && coding(head) == Some(Coding::Identity)
            && is_plain_text(head)
    }

    /// The framing that the first bytes show. Waits for them no longer than for a first event.
    async fn sniff(
        &self,
        body: &mut upstream::Body,
        sent: Instant,
    ) -> Result<Option<Framing>, upstream::Error> {
        let limit = self.route.policy.deadlines.first_event;
        let first = timeout_at(sent + limit, body.peek(SNIFF_BYTES)).await;
        let late = |_| upstream::Error::FirstEventTimeout {
            upstream: self.route.upstream.name.to_string(),
            limit,
        };
        first.map(Framing::from_first_bytes).map_err(late)
    }

    fn pass(
        mut self,
        app: &Arc<App>,
        mut head: response::Parts,
        body: upstream::Body,
    ) -> Response<Body> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it.
            let message = "the upstream switched protocols unasked";
            let code = StatusCode::BAD_GATEWAY;
            self.ended("upstream_error", code);
            let members = self.members();
            return errors::response(self.asked_for(), &members, code, "upstream_error", message);
        }
        if head.status.is_server_error() {
            self.metrics.upstream_error("status_5xx");
        }
        strip_hop_by_hop(&mut head.headers);
        head.extensions = http::Extensions::new();
        head.version = http::Version::HTTP_11;
        self.metrics.request("unary", head.status);
        let metrics = Arc::clone(&self.metrics);
        let started = self.started;
        let timed = OnDrop(Some(move || {
            metrics
                .request_seconds
                .observe(started.elapsed().as_secs_f64());
        }));
        let deadlines = self.route.policy.deadlines;
        let total = started + deadlines.total;
        // A body is not polled while its client takes nothing, so somebody else has to keep the time.
        let bounds = BodyDeadline::current();
        match &bounds {
            Some(bounds) => bounds.begin(total, deadlines.client_stall),
            None => self.conn.end_by(total),
        }
        let witness = self.passing(app, head.status, bounds.clone());
        let body = Body::pass(body, bounds, witness).holding(timed);
        Response::from_parts(head, body)
    }

    /// The head goes out before the upstream's is known.
    pub(super) fn commit(self, app: &Arc<App>, source: CallSource) -> Response<Body> {
        let spoken = self.asked_for();
        let framing = if spoken == Some(Dialect::Ollama) {
            Framing::Ndjson
        } else {
            Framing::Sse
        };
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(head::content_type(framing)),
        );
        let start = Start {
            framing,
            coding: Coding::Identity,
            source: Box::new(source),
            sent: self.started,
            spoken,
        };
        self.stream(app, head, start)
    }

    fn stream(mut self, app: &Arc<App>, mut head: response::Parts, start: Start) -> Response<Body> {
        let max = self.loaded.config.limits.max_streams;
        let request_id = self
            .identity
            .request_id
            .to_str()
            .unwrap_or_default()
            .to_owned();
        let route = Arc::clone(&self.route.name);
        let Some(entered) = app.streams.enter(route, request_id, self.started, max) else {
            return self.overloaded(max);
        };
        head::stream(&mut head.headers, &entered.live.id.to_string());
        head.headers
            .entry(REQUEST_ID)
            .or_insert_with(|| self.identity.request_id.clone());
        head.extensions = http::Extensions::new();
        head.version = http::Version::HTTP_11;
        self.metrics.request("stream", head.status);
        let preamble = head::preamble(start.framing, self.route.policy.preamble_bytes);
        let metrics = Arc::clone(&self.metrics);
        let (reader, pump) = live::start(app, self, start, entered, head.status);
        Response::from_parts(head, Body::stream(reader, pump, metrics, preamble))
    }

    /// Whether this will most likely be one stream more than may run: better sniff before an agent works for it.
    pub(super) fn is_too_many(&self, app: &App) -> bool {
        self.hint.is_some() && app.streams.len() >= self.loaded.config.limits.max_streams
    }

    /// The answer when `limits.max_streams` is reached.
    pub(super) fn overloaded(&mut self, max: usize) -> Response<Body> {
        let message = format!("overloaded: limits.max_streams ({max}) is reached");
        let code = StatusCode::SERVICE_UNAVAILABLE;
        self.ended("overloaded", code);
        self.metrics.request("stream", code);
        let refusal = errors::response(self.hint, &self.members(), code, "overloaded", &message);
        named(refusal, &self.identity)
    }

    /// The answer when the process goes away before there is one.
    pub(super) fn drained(&mut self) -> Response<Body> {
        let message = "draining: this instance went away before the upstream answered";
        let code = StatusCode::SERVICE_UNAVAILABLE;
        self.ended("draining", code);
        self.metrics.request("unary", code);
        self.metrics.cancelled("drained");
        named(
            errors::response(self.asked_for(), &self.members(), code, "draining", message),
            &self.identity,
        )
    }

    /// Counts and logs, when dropped, that the client left before there was an answer.
    pub(super) fn leaving(&self) -> OnDrop<impl FnOnce() + use<>> {
        let (route, metrics) = (Arc::clone(&self.route), Arc::clone(&self.metrics));
        let (identity, client) = (self.identity.clone(), self.client);
        let (method, path) = (self.method.clone(), Arc::clone(&self.path));
        let started = self.started;
        OnDrop(Some(move || {
            metrics.left();
            tracing::info!(
                request_id = identity.request_id.to_str().unwrap_or_default(),
                trace_id = identity.trace_id(),
                route = %route.name,
                client = client.map(tracing::field::display),
                %method,
                path = &*path,
                outcome = "client_gone",
                duration_ms = account::millis(started.elapsed()),
                "client left before an answer"
            );
        }))
    }

    pub(super) fn failed(&mut self, error: &upstream::Error) -> Response<Body> {
        if error.is_upstream() {
            self.metrics.upstream_error(error.code());
            let cause = std::error::Error::source(error).map(ToString::to_string);
            let (route, request_id) = (&*self.route.name, self.identity.request_id.to_str().ok());
            tracing::warn!(route, code = error.code(), request_id, cause, "{error}");
        }
        let response = errors::upstream(self.asked_for(), &self.members(), error);
        self.ended(error.code(), response.status());
        self.metrics.request("unary", response.status());
        named(response, &self.identity)
    }
}

/// Runs once when dropped.
pub(super) struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    /// Not any more.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}
