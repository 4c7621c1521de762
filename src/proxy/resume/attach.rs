//! Attaches a client to the stream that it has come back to, and builds its response.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};

use super::answers::{self, Problem};
use super::client::Client;
use crate::client_conn::ClientConn;
use crate::dialect::Members;
use crate::end::End;
use crate::hub::Refused;
use crate::log::access::Line;
use crate::metrics::{ResumeResult, ResumeWay};
use crate::proxy::own_answer::Answer;
use crate::proxy::plain_response::ENDED;
use crate::proxy::reject::{Counted, Rejected, Rejection, reject};
use crate::reply::body::Body;
use crate::session::identity::REQUEST_ID;
use crate::session::request_line::RequestLine;
use crate::session::resumable::Resumable;
use crate::session::{self, Follow, RequestContext, Returned, Started};
use crate::stream::pump::Reader;
use crate::traces::SharedSpan;

/// The position that a response continues from.
const RESUMED_FROM: HeaderName = HeaderName::from_static("weir-resumed-from");
/// How many events are replayed before the stream is followed.
const REPLAY: HeaderName = HeaderName::from_static("weir-replay");

/// A request to come back to a stream.
pub(super) struct Return<'a> {
    pub(super) conn: &'a Arc<ClientConn>,
    pub(super) context: &'a Arc<RequestContext>,
    pub(super) client: Client,
    pub(super) version: Version,
    pub(super) way: ResumeWay,
    /// The span of the request. It ends with the answer, or when the client leaves the stream.
    pub(super) span: &'a SharedSpan,
}

/// A client that follows a stream.
pub(super) struct Attached {
    pub(super) started: Started,
    pub(super) status: StatusCode,
    /// The headers that the first client got.
    pub(super) headers: HeaderMap,
    pub(super) after: u64,
    /// How many events are replayed before the stream is followed.
    pub(super) replay: u64,
}

impl Return<'_> {
    /// Answers with the events of `stream` after the position.
    pub(super) fn attach(&self, stream: &Resumable, after: u64) -> Response<Body> {
        let extent = stream.hub.extent();
        if extent.closed_at.is_some() && after >= extent.last {
            return self.over(stream);
        }
        let returned = Returned {
            context: Arc::clone(self.context),
            after,
            span: self.span.clone(),
        };
        let reader = Arc::clone(self.conn) as Arc<dyn Reader>;
        let (started, replay) = match session::follow(stream, Follow { returned, reader }) {
            Ok(followed) => followed,
            Err(refused) => {
                let settings = stream.live.context.route.policy.resume.as_ref();
                let max = settings.map_or(0, |settings| settings.max_viewers);
                return self.refuse(&match refused {
                    Refused::Full => Problem::ViewersFull { max },
                    Refused::Evicted(first) => Problem::Evicted { first },
                    Refused::Beyond(last) => Problem::Ahead { last },
                });
            }
        };
        if let Some(at) = extent.abandoned_at {
            let metrics = &self.context.metrics;
            metrics.resume.gap.observe(at.elapsed().as_secs_f64());
        }
        self.respond(Attached {
            started,
            status: stream.status,
            headers: stream.headers.clone(),
            after,
            replay,
        })
    }

    /// Answers with a stream that the client follows.
    pub(super) fn respond(&self, attached: Attached) -> Response<Body> {
        let Attached {
            started,
            status,
            mut headers,
            after,
            replay,
        } = attached;
        let metrics = &self.context.metrics;
        metrics.request("stream", status);
        let result = if replay > 0 {
            ResumeResult::Replayed
        } else {
            ResumeResult::Live
        };
        metrics.resume.request(self.way, result);
        self.span.change(|span| {
            span.returns(self.way.as_str());
            span.resumes(after, status);
        });
        let Started {
            receiver,
            task,
            preamble,
        } = started;
        headers.remove(header::LOCATION);
        headers.insert(REQUEST_ID, self.context.identity.request_id.clone());
        headers.insert(RESUMED_FROM, HeaderValue::from(after));
        headers.insert(REPLAY, HeaderValue::from(replay));
        let body = Body::stream(receiver, task, Arc::clone(metrics), preamble);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Answers that the client has everything.
    pub(super) fn over(&self, stream: &Resumable) -> Response<Body> {
        let kind = stream.headers.get(header::CONTENT_TYPE).cloned();
        let kind = kind.unwrap_or(HeaderValue::from_static("text/event-stream"));
        self.complete(kind, stream.hub.extent().last)
    }

    /// Answers that the client has everything of a stream of this content type, whose last event is number `last`.
    pub(super) fn complete(&self, kind: HeaderValue, last: u64) -> Response<Body> {
        let mut answer = answers::over(kind, self.client);
        answer.headers.insert(RESUMED_FROM, HeaderValue::from(last));
        answer.headers.insert(REPLAY, HeaderValue::from(0));
        self.nothing_more(answer)
    }

    /// Answers that there is no stream to continue.
    pub(super) fn nothing(&self) -> Response<Body> {
        self.nothing_more(answers::nothing())
    }

    fn nothing_more(&self, answer: Answer) -> Response<Body> {
        self.passed(answer.status);
        let metrics = &self.context.metrics;
        metrics.resume.request(self.way, ResumeResult::Complete);
        self.whole(answer)
    }

    /// Ends the span with an answer that says all that there is to say.
    pub(super) fn passed(&self, status: StatusCode) {
        if let Some(mut span) = self.span.take() {
            span.returns(self.way.as_str());
            span.passing(None, status);
            span.passed();
        }
    }

    /// Rejects the request: the stream cannot be had.
    pub(super) fn refuse(&self, problem: &Problem) -> Response<Body> {
        let context: &RequestContext = self.context;
        context.metrics.resume.request(self.way, result(problem));
        self.span.change(|span| span.returns(self.way.as_str()));
        let request = Rejected {
            identity: &context.identity,
            method: &context.method,
            path: &context.path,
            client: context.client,
            started: context.started,
            version: self.version,
            dialect: None,
            members: Members::default(),
            counted: Counted::Route(context),
            answer: Some(answers::refuse(problem, self.client)),
            span: self.span.take(),
        };
        reject(request, &Rejection::from(problem))
    }

    /// Answers without a stream, which is no failure.
    pub(super) fn whole(&self, answer: Answer) -> Response<Body> {
        self.context.metrics.request("unary", answer.status);
        let line = RequestLine {
            status: Some(answer.status),
            bytes: u64::try_from(answer.body.len()).ok(),
            ..RequestLine::of(self.context, End::Finished.as_str())
        };
        line.write(Line::Plain, ENDED);
        answer.into_response(&self.context.identity.request_id)
    }
}

/// Returns what a problem is counted as.
pub(super) const fn result(problem: &Problem) -> ResumeResult {
    match problem {
        Problem::Evicted { .. } | Problem::Gap => ResumeResult::Evicted,
        Problem::Ahead { .. }
        | Problem::KeyInUse
        | Problem::KeyReused
        | Problem::Malformed(_)
        | Problem::MethodNotAllowed => ResumeResult::Malformed,
        Problem::StoreDown => ResumeResult::Unavailable,
        Problem::Unknown => ResumeResult::Unknown,
        Problem::ViewersFull { .. } => ResumeResult::Full,
    }
}
