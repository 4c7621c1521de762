//! The request of each of several agents, and what its answer is: a stream, or a refusal.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::client_request::ClientRequest;
use crate::config::MergeAgent;
use crate::dialect::{Choice, Dialect, detect};
use crate::end::End;
use crate::merge::{Opened, Opening, Refused};
use crate::proxy::admitted::Admitted;
use crate::proxy::reject::Rejection;
use crate::proxy::{Peer, accounting, response_kind};
use crate::request_map;
use crate::session::RequestContext;
use crate::session::source::{BodySource, failed};
use crate::stream::pump::Failure;
use crate::upstream::request::Origin;
use crate::upstream::{Answer, Error, Payload, RequestBody, RequestLimits, Terms};
use crate::wire::encoding::Coding;

/// The calls of one request.
pub(super) struct Calls<'a> {
    pub(super) peer: &'a Peer,
    pub(super) admitted: &'a Admitted,
    pub(super) request: &'a ClientRequest,
    pub(super) limits: RequestLimits,
    pub(super) total_at: Instant,
}

impl Calls<'_> {
    /// Prepares the call of an agent. Nothing is sent before it is polled.
    pub(super) fn open(&self, agent: &MergeAgent) -> Result<Opening, Rejection> {
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
        if talks && !matches!(self.request.parts.method, Method::GET | Method::POST) {
            return Err(Rejection {
                allow: Some("GET, POST"),
                ..Rejection::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "an agent of the route speaks only WebSocket, and is asked with GET or POST",
                )
            });
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
        let mut parts = self.request.parts.clone();
        let mut body = self.request.body.clone();
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
