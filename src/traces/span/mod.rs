//! One span: collects what is known when its request comes, and what becomes attributes at its end.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::Request;
use super::attributes::{Attributes, count};
use super::outbox::Outbox;
use super::parent::Place;
use super::semconv;
use crate::dialect::Dialect;
use crate::end::End;
use crate::stream::pump::Report;
use crate::tasks;

/// The span of one request. If it is dropped without an outcome, the client left before there was a response.
pub struct Span(Box<Open>);

struct Open {
    outbox: Arc<Outbox>,
    place: Place,
    request: Request,
    attributes: Attributes,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.place).finish()
    }
}

impl Span {
    pub(super) fn new(outbox: Arc<Outbox>, place: Place, request: Request) -> Self {
        Self(Box::new(Open {
            outbox,
            place,
            attributes: Attributes::since(request.started),
            request,
        }))
    }

    /// Ends the span with its stream.
    pub fn stream(mut self, report: &Report, id: String, status: StatusCode) {
        let Open {
            attributes,
            request,
            ..
        } = &mut *self.0;
        let outcome = report.end.as_str();
        attributes.outcome = Some(outcome);
        attributes.trouble = report.end.is_trouble().then_some(outcome.into());
        attributes.say("weir.code", (report.code != outcome).then_some(report.code));
        attributes.speaks(Some(report.ingress.dialect));
        attributes.does(Some(report.ingress.dialect), &request.path);
        attributes.status(status);
        attributes.say("weir.stream_id", Some(id));
        attributes.measured(report);
    }

    /// Notes that the request comes back to a stream, and how.
    pub fn returns(&mut self, way: &'static str) {
        self.0.attributes.say("weir.resume.way", Some(way));
    }

    /// Notes that the request gets what follows this event of its stream.
    pub fn resumes(&mut self, from: u64, status: StatusCode) {
        let attributes = &mut self.0.attributes;
        attributes.say("weir.resume.from", Some(count(from)));
        attributes.status(status);
    }

    /// Ends the span when its client has left the stream that it had come back to. What the stream itself was like is
    /// in the span of the request that began it.
    pub fn followed(mut self, end: End, id: String) {
        let attributes = &mut self.0.attributes;
        attributes.outcome = Some(end.as_str());
        attributes.trouble = end.is_trouble().then_some(end.as_str().into());
        attributes.say("weir.stream_id", Some(id));
    }

    /// Ends the span with a response that Weir itself made.
    pub fn failed(mut self, code: &'static str, dialect: Option<Dialect>, status: StatusCode) {
        let Open {
            attributes,
            request,
            ..
        } = &mut *self.0;
        attributes.outcome = Some(code);
        attributes.trouble = status.is_server_error().then_some(code.into());
        attributes.speaks(dialect);
        attributes.does(asked_dialect(dialect, request), &request.path);
        attributes.status(status);
    }

    /// Notes a response that is not a stream. The span then ends when it is dropped, with the outcome that
    /// `passed` or `cut` has set by then.
    pub fn passing(&mut self, dialect: Option<Dialect>, status: StatusCode) {
        let Open {
            attributes,
            request,
            ..
        } = &mut *self.0;
        let word = || status.as_str().to_owned().into();
        attributes.trouble = status.is_server_error().then(word);
        attributes.speaks(dialect);
        attributes.does(asked_dialect(dialect, request), &request.path);
        attributes.status(status);
    }

    /// Notes that the whole plain response was handed over.
    pub fn passed(&mut self) {
        self.0.attributes.outcome = Some("passed");
    }

    /// Notes that the plain response broke off. Nothing in it can tell the client of a drain, so a drain
    /// counts as trouble as well.
    pub fn cut(&mut self, end: End) {
        let attributes = &mut self.0.attributes;
        attributes.outcome = Some(end.as_str());
        if end.is_trouble() || end == End::Drained {
            attributes.trouble = Some(end.as_str().into());
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let open = &mut *self.0;
        if open.attributes.outcome.is_none() {
            // A panic is a defect in Weir, and must not be counted as a client that left.
            let end = if tasks::is_failing() {
                open.attributes.trouble = Some(End::Panic.as_str().into());
                End::Panic
            } else {
                End::ClientGone
            };
            open.attributes.outcome = Some(end.as_str());
        }
        let data = open.data();
        open.outbox.put(data);
    }
}

impl Open {
    fn data(&mut self) -> SpanData {
        let request = &self.request;
        let name = match self.attributes.operation {
            Some(operation) => match &self.attributes.model {
                Some(model) => Cow::Owned(format!("{operation} {model}")),
                None => Cow::Borrowed(operation),
            },
            None => {
                let method = known(&request.method).unwrap_or("HTTP");
                Cow::Owned(format!("{method} {}", request.route))
            }
        };
        let outcome = self.attributes.outcome.unwrap_or_default();
        let mut attributes = std::mem::take(&mut self.attributes.attributes);
        attributes.extend([
            KeyValue::new(
                "http.request.method",
                known(&request.method).unwrap_or("_OTHER"),
            ),
            KeyValue::new("url.scheme", request.scheme),
            KeyValue::new("url.path", request.path.to_string()),
            KeyValue::new("weir.route", request.route.to_string()),
            KeyValue::new("weir.request_id", text(&request.request_id)),
            KeyValue::new("weir.outcome", outcome),
        ]);
        let trouble = self.attributes.trouble.take();
        let kind = trouble
            .clone()
            .map(|word| KeyValue::new("error.type", word));
        attributes.extend(kind);
        let mut events = SpanEvents::default();
        events.events = std::mem::take(&mut self.attributes.events);
        SpanData {
            span_context: self.place.context.clone(),
            parent_span_id: self.place.parent,
            parent_span_is_remote: self.place.parent != SpanId::INVALID,
            span_kind: SpanKind::Server,
            name,
            start_time: self.attributes.began,
            end_time: self.attributes.began + request.started.elapsed(),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: trouble.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.outbox.scope(),
        }
    }
}

/// Returns the method if the conventions know it. Other methods can be as long as clients like.
fn known(method: &Method) -> Option<&'static str> {
    let known = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::PATCH, "PATCH"),
        (Method::TRACE, "TRACE"),
    ];
    let found = known.iter().find(|(known, _)| known == method);
    found.map(|(_, word)| *word)
}

/// Returns the dialect if the request asks for the dialect's operation: a route may carry other requests as
/// well.
fn asked_dialect(dialect: Option<Dialect>, request: &Request) -> Option<Dialect> {
    let asks = |dialect: &Dialect| {
        request.method == Method::POST && semconv::is_asked_at(*dialect, &request.path)
    };
    dialect.filter(asks)
}

fn text(value: &HeaderValue) -> String {
    value.to_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(super) mod tests;
