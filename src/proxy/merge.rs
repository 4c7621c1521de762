//! Requests of routes with several agents: each is sent to all of them, and their streams make up one response.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::accounting::Phase;
use super::admitted::Admitted;
use super::answer::pass_on;
use super::reject::{Blame, Rejection};
use super::resume::Begin;
use super::rewrite::Rewriting;
use super::{Peer, accounting, response_kind};
use crate::app::App;
use crate::client_conn::ClientConn;
use crate::config::{MergeAgent, REWRITTEN_BYTES};
use crate::dialect::{Choice, Dialect, detect};
use crate::merge::finish::Rules;
use crate::merge::{Board, Head, Heads, Merged, Opened, Opening, Refused, Settings, first};
use crate::reply::body::Body;
use crate::reply::head;
use crate::request_map;
use crate::session::identity::REQUEST_ID;
use crate::session::source::{BodySource, failed};
use crate::session::{self, Merging, RequestContext, Start, Started};
use crate::stream::end::End;
use crate::stream::pump::{Failure, Reader};
use crate::translate::{Ensemble, Target};
use crate::upstream::request::Origin;
use crate::upstream::{Answer, Error, Payload, RequestBody, RequestLimits, Terms};
use crate::wire::Framing;
use crate::wire::encoding::Coding;
use crate::wire::json::Cursor;

/// The longest name of a run or a thread that is taken from a client, in bytes of JSON.
const MAX_NAME_BYTES: usize = 1024;

/// Sends an admitted request to all agents of its route, and returns the response.
pub(super) async fn forward(
    app: &Arc<App>,
    peer: &Peer,
    mut admitted: Admitted,
    parts: request::Parts,
    incoming: Payload,
) -> Response<Body> {
    let leaving = accounting::leaving(app, &admitted, Phase::Call);
    let entered = Arc::clone(&admitted.entered);
    let policy = &admitted.context.route.policy;
    let limits = RequestLimits {
        max_bytes: policy.max_request_bytes.min(REWRITTEN_BYTES),
        idle: admitted.loaded.config.limits.request_body,
    };
    let body = RequestBody::new(incoming, limits);
    let received = body.received();
    let answered = answer(app, peer, &mut admitted, parts, body, limits).await;
    // From here on, the stream's own task accounts for a client that leaves.
    leaving.forget();
    let response = answered.unwrap_or_else(|rejection| admitted.reject(app, &rejection));
    response.map(|body| body.after(received).holding(entered))
}

async fn answer(
    app: &Arc<App>,
    peer: &Peer,
    admitted: &mut Admitted,
    parts: request::Parts,
    body: RequestBody,
    limits: RequestLimits,
) -> Result<Response<Body>, Rejection> {
    let context = Arc::clone(&admitted.context);
    let (Some(merge), Some(target)) = (&context.route.merge, admitted.target) else {
        return Err(Rejection::upstream(
            "upstream_error",
            "the route has no common reply for its agents",
        ));
    };
    let max_streams = admitted.loaded.config.limits.max_streams;
    if let Err(full) = app.streams.check(max_streams, &peer.conn.streams) {
        // It is rejected before any agent does any work for it.
        return Err(Rejection::too_many_streams(max_streams, full));
    }
    let policy = &context.route.policy;
    let total_at = context.started + policy.deadlines.total;
    let asked = tokio::select! {
        asked = timeout_at(total_at, read(admitted, parts, body)) => asked.unwrap_or_else(|_| {
            let limit = policy.deadlines.total;
            Err(Rejection::from(&Error::TotalTimeout { limit }))
        })?,
        () = app.cut_off() => return Err(Rejection::cut_off()),
    };
    peer.conn.allow_stall(policy.deadlines.client_stall);
    let calls = Calls {
        peer,
        admitted,
        asked: &asked,
        limits,
        total_at,
    };
    let openings: Result<Vec<Opening>, Rejection> =
        merge.agents.iter().map(|agent| calls.open(agent)).collect();
    let openings = openings?;
    let rules = Rules {
        finish: merge.finish,
        fail: merge.fail,
    };
    let until = policy.commit_after.map(|after| context.started + after);
    let heads = tokio::select! {
        heads = first(openings, rules, until) => heads,
        () = app.cut_off() => return Err(Rejection::cut_off()),
    };
    match heads {
        Heads::Begin(heads) => start(app, &peer.conn, admitted, (target, rules), heads, &asked),
        Heads::Refused(refused) => match refused.answer {
            Some(answer) => Ok(pass_on(app, &peer.conn, admitted, answer.head, answer.body)),
            None => Err(Rejection {
                message: refused.failure.message.into(),
                blame: Blame::Agents,
                ..Rejection::new(refused.status, refused.failure.code, "")
            }),
        },
    }
}

/// What a client has asked for.
struct Asked {
    parts: request::Parts,
    body: Bytes,
    /// How the client names the run and its conversation; empty if it does not.
    run: String,
    thread: String,
}

/// Reads the whole request, as the agents get it without their own changes.
async fn read(
    admitted: &Admitted,
    mut parts: request::Parts,
    mut body: RequestBody,
) -> Result<Asked, Rejection> {
    if body.is_too_large() {
        return Err(Rejection::from(&Error::RequestTooLarge));
    }
    let rewriting = Rewriting::of(admitted, &parts);
    let mut names = admitted.resuming.as_ref().and_then(Begin::listener);
    let is_ag_ui = admitted.target == Some(Target::AgUi);
    let (mut run, mut thread) = (String::new(), String::new());
    rewriting
        .rewrite(&mut parts, &mut body, |sent| {
            if let Some(listener) = &mut names {
                listener(sent);
            }
            if is_ag_ui {
                (run, thread) = named(sent);
            }
        })
        .await?;
    let body = body.take_rewritten();
    admitted.hear(&body);
    Ok(Asked {
        parts,
        body,
        run,
        thread,
    })
}

/// Returns how an AG-UI client names the run and its thread. Names that are too long are none: each event repeats them.
fn named(body: &[u8]) -> (String, String) {
    let (mut run, mut thread) = (String::new(), String::new());
    let mut cursor = Cursor::new(body);
    if cursor.enter_object().is_none() {
        return (run, thread);
    }
    while let Some(Some(key)) = cursor.next_key() {
        let Some(value) = cursor.skip().and_then(|value| body.get(value)) else {
            break;
        };
        let known = match key {
            b"runId" => &mut run,
            b"threadId" => &mut thread,
            _ => continue,
        };
        if value.len() <= MAX_NAME_BYTES {
            *known = serde_json::from_slice(value).unwrap_or_default();
        }
    }
    (run, thread)
}

/// The calls of one request.
struct Calls<'a> {
    peer: &'a Peer,
    admitted: &'a Admitted,
    asked: &'a Asked,
    limits: RequestLimits,
    total_at: Instant,
}

impl Calls<'_> {
    /// Prepares the call of an agent. Nothing is sent before it is polled.
    fn open(&self, agent: &MergeAgent) -> Result<Opening, Rejection> {
        let context = Arc::clone(&self.admitted.context);
        let policy = &context.route.policy;
        let loaded = &self.admitted.loaded;
        let Some(client) = loaded.client_of(self.peer.worker, &agent.upstream) else {
            return Err(Rejection::upstream(
                "upstream_connect",
                "an agent of the route has no upstream",
            ));
        };
        let talks = agent.upstream.is_websocket();
        if talks && !matches!(self.asked.parts.method, Method::GET | Method::POST) {
            return Err(Rejection::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "an agent of the route speaks only WebSocket, and is asked with GET or POST",
            ));
        }
        let terms = Terms {
            ping: policy.heartbeat,
            max_message: policy.max_event_bytes,
        };
        let request = self.request(agent)?;
        let origin = Origin {
            forwarded: policy.forwarded,
            ..self.peer.origin.clone()
        };
        let (deadlines, total_at) = (policy.deadlines, self.total_at);
        let expected = self.admitted.expected();
        Ok(Box::pin(async move {
            let call = async {
                if talks {
                    let talk = client.converse(request, &origin, &deadlines, None, terms);
                    talk.await
                } else {
                    client.call(request, &origin, &deadlines, None).await
                }
            };
            let answer = timeout_at(total_at, call).await.unwrap_or_else(|_| {
                let limit = deadlines.total;
                Err(Error::TotalTimeout { limit })
            });
            match answer {
                Ok(answer) => opened(&context, expected, answer),
                Err(error) => {
                    if error.is_upstream() {
                        context.metrics.upstream_error(error.code());
                    }
                    Err(Refused {
                        failure: failed(&error),
                        status: Rejection::from(&error).status,
                        answer: None,
                    })
                }
            }
        }))
    }

    /// Returns the request of an agent: the client's, with the agent's own path and changes.
    fn request(&self, agent: &MergeAgent) -> Result<Request<RequestBody>, Rejection> {
        let mut parts = self.asked.parts.clone();
        let mut body = self.asked.body.clone();
        if let Some(path) = &agent.path {
            parts.uri = at_path(parts.uri, path).ok_or_else(|| {
                Rejection::upstream("upstream_error", "the path of an agent is no path")
            })?;
        }
        if let Some(patch) = agent.body.as_ref().and_then(Value::as_object) {
            if parts.headers.contains_key(header::CONTENT_ENCODING) {
                return Err(Rejection::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "request_not_mapped",
                    "the route changes requests (merge.agents.body): expected a body without Content-Encoding",
                ));
            }
            let patched = request_map::patched(&body, patch).map_err(|error| Rejection {
                message: error.to_string().into(),
                ..Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "request_not_mapped", "")
            })?;
            body = patched.into();
            let json = HeaderValue::from_static("application/json");
            parts.headers.insert(header::CONTENT_TYPE, json);
        }
        let length = HeaderValue::from(body.len());
        parts.headers.insert(header::CONTENT_LENGTH, length);
        let body = RequestBody::new(Payload::Whole(body), self.limits);
        Ok(Request::from_parts(parts, body))
    }
}

/// Returns the URI with another path and query.
fn at_path(uri: Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Decides from an agent's head whether it streams.
fn opened(
    context: &RequestContext,
    expected: Option<Dialect>,
    answer: Answer,
) -> Result<Opened, Refused> {
    accounting::head(context, &answer);
    let status = answer.head.status;
    let no_stream = |message: String| Failure {
        code: "upstream_status",
        message,
        ..End::UpstreamError.into()
    };
    if status.is_client_error() || status.is_server_error() {
        if status.is_server_error() {
            context.metrics.upstream_error("status_5xx");
        }
        let message = format!("upstream_status: the agent answered {}", status.as_u16());
        return Err(Refused {
            failure: no_stream(message),
            status,
            answer: Some(Box::new(answer)),
        });
    }
    let dialect = match context.route.policy.dialect {
        Choice::Auto => detect::from_answer(&answer.head.headers).or(expected),
        Choice::Fixed(dialect) => Some(dialect),
    };
    let framing = response_kind::framing(&answer.head, dialect).filter(|_| status.is_success());
    let coding = Coding::of(&answer.head.headers);
    let (Some(framing), Some(coding)) = (framing, coding) else {
        context.metrics.upstream_error("upstream_error");
        let message = if status.is_success() {
            "upstream_status: the agent's answer is no stream".to_owned()
        } else {
            format!("upstream_status: the agent answered {}", status.as_u16())
        };
        return Err(Refused {
            failure: no_stream(message),
            status: StatusCode::BAD_GATEWAY,
            answer: None,
        });
    };
    Ok(Opened {
        source: Box::new(BodySource::new(answer.body)),
        framing,
        coding,
        dialect,
        sent: answer.sent,
    })
}

/// Starts the stream.
fn start(
    app: &Arc<App>,
    conn: &Arc<ClientConn>,
    admitted: &mut Admitted,
    (target, rules): (Target, Rules),
    agents: Vec<Head>,
    asked: &Asked,
) -> Result<Response<Body>, Rejection> {
    let context = Arc::clone(&admitted.context);
    let max = admitted.loaded.config.limits.max_streams;
    let registration = app.streams.register(&context, max, &conn.streams);
    let registration = registration.map_err(|full| Rejection::too_many_streams(max, full))?;
    let id = registration.live.id.to_string();
    let (mut head, ()) = Response::new(()).into_parts();
    head::stream(&mut head.headers, &id);
    head::chosen(&mut head.headers);
    head::translated(&mut head.headers, target);
    (head.headers).insert(REQUEST_ID, context.identity.request_id.clone());
    let resuming = admitted.resuming.take();
    let resuming = resuming.map(|mut begin| begin.resuming(app, &head.headers));
    context.metrics.request("stream", head.status);
    let names = (context.route.merge.as_ref()).map_or_else(Vec::new, |merge| merge.names());
    let or_id = |name: &str| {
        if name.is_empty() {
            id.clone()
        } else {
            name.to_owned()
        }
    };
    let merging = Merging {
        ensemble: Arc::new(Ensemble::new(
            &or_id(&asked.run),
            &or_id(&asked.thread),
            &names,
        )),
        board: Arc::new(Board::new(&names)),
    };
    let policy = &context.route.policy;
    let settings = Settings {
        target,
        began: session::unix_time(),
        statuses: policy.reply.statuses,
        ensemble: Arc::clone(&merging.ensemble),
        board: Arc::clone(&merging.board),
        lengths: session::lengths(&context, false),
        choice: policy.dialect,
        members: admitted.members(),
        max_event_bytes: policy.max_event_bytes,
        hide: Arc::clone(&policy.hide),
    };
    let start = Start {
        framing: Framing::Sse,
        coding: Coding::Identity,
        source: Box::new(Merged::new(agents, rules, settings)),
        sent: context.started,
        dialect: None,
        target: Some(target),
        whole: false,
        late_head: false,
        heartbeat: policy.heartbeat,
        members: admitted.members(),
        status: head.status,
        detaches: None,
        subscribes: false,
        reader: Arc::clone(conn) as Arc<dyn Reader>,
        span: admitted.span.take(),
        asked_model: admitted.asked_model.take(),
        recording: None,
        resuming,
        merging: Some(merging),
    };
    let Started {
        receiver,
        task,
        preamble,
    } = session::start(&app.metrics, registration, start);
    let body = Body::stream(receiver, task, Arc::clone(&context.metrics), preamble);
    Ok(Response::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ag_ui_client_names_its_run() {
        let body = br#"{"threadId":"t1","runId":"r1","messages":[]}"#;
        assert_eq!(named(body), ("r1".to_owned(), "t1".to_owned()));
        for other in [&b""[..], b"[1]", b"{\"runId\":7}", b"{"] {
            assert_eq!(named(other), (String::new(), String::new()));
        }
        let long = format!(
            r#"{{"messages":[{{"runId":"x"}}],"threadId":"t\u0022","runId":"{}"}}"#,
            "r".repeat(MAX_NAME_BYTES)
        );
        assert_eq!(named(long.as_bytes()), (String::new(), "t\"".to_owned()));
    }
}
