//! Phase 4, answer: starts a live stream if the response is a stream, and passes any other response through unchanged.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header, response};
use tokio::time::{Instant, timeout_at};

use super::accounting::{self, OnDrop};
use super::admitted::Admitted;
use super::call::Outcome;
use super::plain_response;
use super::reject::Rejection;
use super::response_kind::{framing, is_plain_text};
use super::resume::{self, Begin};
use super::unstream::unstream;
use super::websocket;
use crate::app::App;
use crate::body_deadline::BodyDeadline;
use crate::client_conn::ClientConn;
use crate::dialect::{Choice, Dialect, detect};
use crate::encode::Encoder;
use crate::reply::body::Body;
use crate::reply::head;
use crate::session::source::{BodySource, CallSource, WholeSource};
use crate::session::{self, Recording, Start, Started};
use crate::stream::pump::{Reader, Source};
use crate::translate::Target;
use crate::upstream::fields::strip_hop_by_hop;
use crate::upstream::{self, Answer, Calling};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// How many bytes of a body show its framing: the length of the longest SSE field name with its colon.
const SNIFF_BYTES: usize = 6;

/// What is known about a stream before it starts.
struct Stream {
    head: response::Parts,
    framing: Framing,
    coding: Coding,
    source: Box<dyn Source>,
    /// When the request was sent to the upstream.
    sent: Instant,
    dialect: Option<Dialect>,
    /// What is needed to come back to it; `None` if nobody can.
    resuming: Option<Box<Begin>>,
    /// The head is sent before the upstream's head is known.
    committed: bool,
}

/// Responds to a request with the outcome of its upstream call. `resuming` is what is needed to come back to its
/// stream; `None` if nobody can.
pub(super) async fn answer(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    mut admitted: Admitted,
    resuming: Option<Box<Begin>>,
    outcome: Outcome,
    leaving: OnDrop<impl FnOnce()>,
) -> Response<Body> {
    let mut leaving = Some(leaving);
    let answered = match outcome {
        Outcome::Answered(Ok(answer)) => {
            respond(app, conn, &mut admitted, resuming, answer, &mut leaving).await
        }
        Outcome::Answered(Err(error)) => Err(Rejection::from(&error)),
        Outcome::Commit(calling) => commit(app, conn, &mut admitted, resuming, calling),
        Outcome::CutOff => Err(Rejection::cut_off()),
    };
    if let Some(leaving) = leaving {
        leaving.forget();
    }
    answered.unwrap_or_else(|rejection| admitted.reject(app, &rejection))
}

async fn respond(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    resuming: Option<Box<Begin>>,
    answer: Answer,
    leaving: &mut Option<OnDrop<impl FnOnce()>>,
) -> Result<Response<Body>, Rejection> {
    accounting::head(&admitted.context, &answer);
    let Answer {
        mut head,
        mut body,
        sent,
        ..
    } = answer;
    if head.status == StatusCode::SWITCHING_PROTOCOLS
        && let Some(upgrade) = admitted.websocket.take()
    {
        return websocket::tunnel(app, conn, admitted, &upgrade, head, body);
    }
    if head.status.is_success()
        && let Some(upgrade) = &admitted.websocket
    {
        websocket::refuse_success(upgrade)?;
    }
    let dialect = spoken(admitted, &head);
    let framing = match framing(&head, dialect) {
        _ if admitted.is_head() => None,
        None if may_be_plain_stream(admitted, &head) => sniff(admitted, &mut body, sent).await?,
        framing => framing,
    };
    let Some(framing) = framing else {
        let Some(whole) = unstream(admitted, &mut head, &mut body).await? else {
            return pass(app, conn, admitted, head, body);
        };
        let stream = Stream {
            head,
            framing: whole.framing,
            coding: Coding::Identity,
            source: Box::new(WholeSource::new(whole.body)),
            sent,
            dialect: Some(whole.dialect),
            resuming,
            committed: false,
        };
        return start_whole(app, conn, admitted, stream, leaving).await;
    };
    let Some(coding) = Coding::of(&head.headers) else {
        admitted.context.metrics.coding_unknown.inc();
        return pass(app, conn, admitted, head, body);
    };
    let stream = Stream {
        head,
        framing,
        coding,
        source: Box::new(BodySource::new(body)),
        sent,
        dialect,
        resuming,
        committed: false,
    };
    start_whole(app, conn, admitted, stream, leaving).await
}

/// Starts a stream. A client that gets one answer made of it gets the head only at its end, or after `commit_after`, so
/// that the status tells a failure.
async fn start_whole(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    stream: Stream,
    leaving: &mut Option<OnDrop<impl FnOnce()>>,
) -> Result<Response<Body>, Rejection> {
    let mut response = start(app, conn, admitted, stream)?;
    if let Some(leaving) = leaving.take() {
        // The stream's own task accounts for a client that leaves.
        leaving.forget();
    }
    if admitted.aggregates {
        let context = &admitted.context;
        let closed = response.body_mut().closed();
        let failed = match context.route.policy.commit_after {
            None => closed.await,
            Some(after) => timeout_at(context.started + after, closed)
                .await
                .unwrap_or_default(),
        };
        if let Some(status) = failed {
            *response.status_mut() = status;
        }
        context.metrics.request("stream", response.status());
    }
    Ok(response)
}

/// Returns the dialect of a response, as far as it is known without its events.
fn spoken(admitted: &Admitted, head: &response::Parts) -> Option<Dialect> {
    match admitted.context.route.policy.dialect {
        Choice::Auto => detect::from_answer(&head.headers).or_else(|| admitted.expected()),
        Choice::Fixed(dialect) => Some(dialect),
    }
}

/// Reports whether a response of plain text may be a stream. Only a route that sets the dialect has its plain text
/// inspected.
fn may_be_plain_stream(admitted: &Admitted, head: &response::Parts) -> bool {
    matches!(admitted.context.route.policy.dialect, Choice::Fixed(_))
        && head.status.is_success()
        && Coding::of(&head.headers) == Some(Coding::Identity)
        && is_plain_text(head)
}

/// Returns the framing that the first bytes show. Waits for them no longer than for a first event.
async fn sniff(
    admitted: &Admitted,
    body: &mut upstream::Body,
    sent: Instant,
) -> Result<Option<Framing>, Rejection> {
    let route = &admitted.context.route;
    let limit = route.policy.deadlines.first_event;
    match timeout_at(sent + limit, body.peek(SNIFF_BYTES)).await {
        Ok(bytes) => Ok(Framing::from_first_bytes(bytes)),
        Err(_) => Err(Rejection::from(&upstream::Error::FirstEventTimeout {
            upstream: route.upstream.name.to_string(),
            limit,
        })),
    }
}

/// Passes a response that is not a stream through, byte for byte.
fn pass(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    head: response::Parts,
    body: upstream::Body,
) -> Result<Response<Body>, Rejection> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // The request did not ask for an upgrade.
        return Err(Rejection::upstream(
            "upstream_error",
            "the upstream switched protocols unasked",
        ));
    }
    if head.status.is_server_error() {
        admitted.context.metrics.upstream_error("status_5xx");
    }
    Ok(pass_on(app, conn, admitted, head, body))
}

/// Passes on a response that has been checked and counted.
pub(super) fn pass_on(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    mut head: response::Parts,
    body: upstream::Body,
) -> Response<Body> {
    let context = Arc::clone(&admitted.context);
    strip_hop_by_hop(&mut head.headers);
    context.identity.answered(&mut head.headers);
    head.extensions = http::Extensions::new();
    head.version = http::Version::HTTP_11;
    context.metrics.request("unary", head.status);
    let deadlines = context.route.policy.deadlines;
    let total_at = context.started + deadlines.total;
    // The body is not polled while its client takes nothing, so the connection or its task enforces the deadlines.
    let deadline = BodyDeadline::current();
    match &deadline {
        Some(deadline) => deadline.begin(total_at, deadlines.client_stall),
        None => conn.end_by(total_at),
    }
    let witness = plain_response::witness(app, conn, admitted, head.status, deadline.clone());
    Response::from_parts(head, Body::pass(body, deadline, witness))
}

/// Sends a head before the upstream's head is known.
fn commit(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    resuming: Option<Box<Begin>>,
    calling: Calling,
) -> Result<Response<Body>, Rejection> {
    let dialect = admitted.asked_for();
    let dialect = dialect.filter(|_| admitted.target.is_none());
    let framing = dialect.map_or(Framing::Sse, Dialect::default_framing);
    let content_type = Encoder::identity(dialect, framing).content_type();
    let (mut head, ()) = Response::new(()).into_parts();
    head.headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let stream = Stream {
        head,
        framing,
        coding: Coding::Identity,
        source: Box::new(CallSource::new(calling)),
        sent: admitted.context.started,
        dialect,
        resuming,
        committed: true,
    };
    start(app, conn, admitted, stream)
}

/// Returns where the record of a stream goes, if its route has records.
fn recording(app: &App, admitted: &Admitted) -> Option<Recording> {
    let complete = &admitted.loaded.config.complete;
    let outbox = app.outbox.as_ref()?;
    complete
        .records(&admitted.context.route.name)
        .then(|| Recording {
            outbox: Arc::clone(outbox),
            max_text_bytes: complete.max_text_bytes,
        })
}

/// Starts a live stream.
fn start(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    stream: Stream,
) -> Result<Response<Body>, Rejection> {
    let Stream {
        mut head,
        framing,
        coding,
        source,
        sent,
        dialect,
        resuming,
        committed,
    } = stream;
    let context = Arc::clone(&admitted.context);
    let max = admitted.loaded.config.limits.max_streams;
    let registration = app.streams.register(&context, max, &conn.share);
    let registration = registration.map_err(|full| Rejection::too_many_streams(max, full))?;
    head::stream(&mut head.headers, &registration.live.id.to_string());
    if context.route.policy.reply.is_on() {
        head::chosen(&mut head.headers);
    }
    let policy = &context.route.policy;
    let whole = admitted.aggregates;
    let target = match admitted.target {
        None if whole => Some(Target::of(dialect.or_else(|| admitted.asked_for()))),
        target => target,
    };
    match target {
        Some(_) if whole => head::whole(&mut head.headers),
        Some(target) => head::translated(&mut head.headers, target),
        None => {}
    }
    context.identity.answered(&mut head.headers);
    head.extensions = http::Extensions::new();
    head.version = http::Version::HTTP_11;
    let late_head = whole && !committed;
    let subscribes = admitted.subscribes || admitted.members().subscribe();
    let mut begin = resuming.filter(|_| !whole);
    if begin.is_some()
        && context.method == Method::POST
        && dialect.is_some_and(Dialect::follows_location)
        && (head.headers.get(header::LOCATION)).is_none_or(resume::is_anothers)
        && let Ok(path) = HeaderValue::from_str(&resume::path(registration.live.id))
    {
        head.headers.insert(header::LOCATION, path);
    }
    let resuming = (begin.as_mut()).map(|begin| begin.resuming(app, &head.headers));
    if !late_head {
        context.metrics.request("stream", head.status);
    }
    let start = Start {
        framing,
        coding,
        source,
        sent,
        dialect,
        target,
        whole,
        late_head,
        heartbeat: if whole && policy.commit_after.is_none() {
            // Nothing is sent before the end.
            Duration::ZERO
        } else {
            policy.heartbeat
        },
        members: admitted.members(),
        status: head.status,
        // Nobody is left to whom a subscription could tell anything.
        detaches: admitted.detaches.take().filter(|_| !subscribes),
        subscribes,
        reader: Arc::clone(conn) as Arc<dyn Reader>,
        span: admitted.span.take(),
        asked_model: admitted.asked_model.take(),
        recording: recording(app, admitted),
        resuming,
        merging: None,
    };
    let Started {
        receiver,
        task,
        preamble,
    } = session::start(&app.metrics, registration, start);
    // Only now can the stream be found: a second request with the same idempotency key has waited for it.
    drop(begin);
    let body = Body::stream(receiver, task, Arc::clone(&context.metrics), preamble);
    Ok(Response::from_parts(head, body))
}
