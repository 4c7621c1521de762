//! One span: what is known when its request came, and what is told at its end.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use opentelemetry::trace::{Event, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::Request;
use super::given::Place;
use super::outbox::Outbox;
use super::words;
use crate::dialect::Dialect;
use crate::event::Class;
use crate::stream::meter::TokenSource;
use crate::stream::pump::Report;
use crate::stream::registry::StreamId;

/// The span of one request. Dropped without a word: the client left before there was an answer.
pub struct Span(Box<Open>);

struct Open {
    outbox: Arc<Outbox>,
    place: Place,
    request: Request,
    /// The wall clock when the head was read; later moments are counted from it.
    began: SystemTime,
    told: Told,
}

/// What the end says.
#[derive(Default)]
struct Told {
    outcome: Option<&'static str>,
    is_error: bool,
    operation: Option<&'static str>,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.place).finish()
    }
}

impl Span {
    pub(super) fn new(outbox: Arc<Outbox>, place: Place, request: Request) -> Self {
        let now = SystemTime::now();
        let began = now.checked_sub(request.started.elapsed()).unwrap_or(now);
        Self(Box::new(Open {
            outbox,
            place,
            request,
            began,
            told: Told::default(),
        }))
    }

    /// Ends it with its stream.
    pub fn stream(mut self, report: &Report, id: StreamId, status: StatusCode) {
        let open = &mut *self.0;
        open.told.outcome = Some(report.end.as_str());
        open.told.is_error = report.end.is_trouble();
        open.say("error.type", open.told.is_error.then_some(report.code));
        open.speaks(Some(report.dialect));
        open.status(status);
        open.say("weir.stream_id", Some(id.to_string()));
        open.measured(report);
    }

    /// Ends it with an answer of Weir's own.
    pub fn failed(mut self, code: &'static str, dialect: Option<Dialect>, status: StatusCode) {
        let open = &mut *self.0;
        open.told.outcome = Some(code);
        open.told.is_error = status.is_server_error();
        open.say("error.type", open.told.is_error.then_some(code));
        open.speaks(dialect);
        open.status(status);
    }

    /// The answer is no stream: ends it when dropped.
    #[must_use]
    pub fn passing(mut self, dialect: Option<Dialect>, status: StatusCode) -> Self {
        let open = &mut *self.0;
        open.told.outcome = Some("passed");
        open.told.is_error = status.is_server_error();
        let kind = status.as_str().to_owned();
        open.say("error.type", open.told.is_error.then_some(kind));
        open.speaks(dialect);
        open.status(status);
        self
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let open = &mut *self.0;
        if open.told.outcome.is_none() {
            open.told.is_error = std::thread::panicking();
            let word = if open.told.is_error {
                "panic"
            } else {
                "client_gone"
            };
            open.told.outcome = Some(word);
            open.say("error.type", open.told.is_error.then_some(word));
        }
        let data = open.data();
        open.outbox.put(data);
    }
}

impl Open {
    fn say(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        let said = value.map(|value| KeyValue::new(key, value));
        self.told.attributes.extend(said);
    }

    fn status(&mut self, status: StatusCode) {
        let code = i64::from(status.as_u16());
        self.say("http.response.status_code", Some(code));
    }

    fn speaks(&mut self, dialect: Option<Dialect>) {
        self.say("weir.dialect", dialect.map(Dialect::as_str));
        self.told.operation = dialect.and_then(words::operation);
        self.say("gen_ai.operation.name", self.told.operation);
        self.say("gen_ai.provider.name", dialect.and_then(words::provider));
    }

    fn measured(&mut self, report: &Report) {
        let meter = &report.meter;
        let pings = meter.events.get(Class::Heartbeat.index()).copied();
        let events_in = meter.events.iter().sum::<u64>() - pings.unwrap_or(0);
        self.say("weir.events.in", Some(count(events_in)));
        self.say(
            "weir.events.out",
            Some(count(report.queue.taken.iter().sum())),
        );
        self.say(
            "weir.dropped",
            Some(count(report.queue.dropped.iter().sum())),
        );
        self.say("gen_ai.usage.input_tokens", meter.usage.input.map(count));
        let (tokens, source) = report.output_tokens();
        // What nobody stated is not told under the name of what somebody stated.
        let key = match source {
            TokenSource::Cumulative | TokenSource::Usage => "gen_ai.usage.output_tokens",
            TokenSource::Estimated => "weir.output_tokens.estimated",
        };
        self.say(key, Some(count(tokens)));
        self.moment(
            "gen_ai.response.time_to_first_chunk",
            "weir.first_event",
            meter.first_event,
        );
        self.moment(
            "weir.time_to_first_token",
            "weir.first_token",
            meter.first_token,
        );
    }

    /// A first moment: seconds since the request came, and an event.
    fn moment(&mut self, key: &'static str, event: &'static str, at: Option<Instant>) {
        let Some(after) = at.map(|at| at.duration_since(self.request.started)) else {
            return;
        };
        self.say(key, Some(after.as_secs_f64()));
        let event = Event::new(event, self.began + after, Vec::new(), 0);
        self.told.events.push(event);
    }

    fn data(&mut self) -> SpanData {
        let request = &self.request;
        let name = match self.told.operation {
            Some(operation) => Cow::Borrowed(operation),
            None => Cow::Owned(format!("{} {}", method(&request.method), request.route)),
        };
        let outcome = self.told.outcome.unwrap_or_default();
        let mut attributes = std::mem::take(&mut self.told.attributes);
        attributes.extend([
            KeyValue::new("http.request.method", method(&request.method)),
            KeyValue::new("url.path", request.path.to_string()),
            KeyValue::new("weir.route", request.route.to_string()),
            KeyValue::new("weir.request_id", text(&request.request_id)),
            KeyValue::new("weir.outcome", outcome),
        ]);
        let mut events = SpanEvents::default();
        events.events = std::mem::take(&mut self.told.events);
        SpanData {
            span_context: self.place.context.clone(),
            parent_span_id: self.place.parent,
            parent_span_is_remote: true,
            span_kind: SpanKind::Server,
            name,
            start_time: self.began,
            end_time: self.began + request.started.elapsed(),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: if self.told.is_error {
                Status::error(outcome)
            } else {
                Status::Unset
            },
            instrumentation_scope: self.outbox.scope(),
        }
    }
}

/// The method, if it is one of those that the conventions know: others are as long as their clients like.
fn method(method: &Method) -> &'static str {
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
    found.map_or("_OTHER", |(_, word)| word)
}

fn text(value: &http::HeaderValue) -> String {
    value.to_str().unwrap_or_default().to_owned()
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
