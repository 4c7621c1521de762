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
    /// What went wrong, where somebody should look into it.
    trouble: Option<Cow<'static, str>>,
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
        let outcome = report.end.as_str();
        open.told.outcome = Some(outcome);
        open.told.trouble = report.end.is_trouble().then_some(outcome.into());
        open.say("weir.code", (report.code != outcome).then_some(report.code));
        open.speaks(Some(report.dialect));
        open.status(status);
        open.say("weir.stream_id", Some(id.to_string()));
        open.measured(report);
    }

    /// Ends it with an answer of Weir's own.
    pub fn failed(mut self, code: &'static str, dialect: Option<Dialect>, status: StatusCode) {
        let open = &mut *self.0;
        open.told.outcome = Some(code);
        open.told.trouble = status.is_server_error().then_some(code.into());
        open.speaks(dialect);
        open.status(status);
    }

    /// The answer is no stream: ends it when dropped.
    pub fn passing(&mut self, dialect: Option<Dialect>, status: StatusCode) {
        let open = &mut *self.0;
        open.told.outcome = Some("passed");
        let word = || status.as_str().to_owned().into();
        open.told.trouble = status.is_server_error().then(word);
        open.speaks(dialect);
        open.status(status);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let open = &mut *self.0;
        if open.told.outcome.is_none() {
            // A defect in Weir is no leaving client.
            let panics = std::thread::panicking();
            open.told.trouble = panics.then_some("panic".into());
            open.told.outcome = Some(if panics { "panic" } else { "client_gone" });
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
        let path = &*self.request.path;
        self.told.operation = dialect.and_then(|dialect| words::operation(dialect, path));
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
        let trouble = self.told.trouble.take();
        let kind = trouble
            .clone()
            .map(|word| KeyValue::new("error.type", word));
        attributes.extend(kind);
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
            status: trouble.map_or(Status::Unset, Status::error),
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::traces::given::place;
    use crate::traces::outbox::tests::{Kept, outbox};
    use crate::traces::{Given, Request};
    use http::{HeaderMap, HeaderValue};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The span that `end` leaves.
    fn told(method: &str, end: impl FnOnce(Span)) -> SpanData {
        let kept = Kept::default();
        let outbox = Arc::new(outbox(kept.clone()));
        let given = Given {
            traceparent: PARENT,
            is_own: false,
            headers: &HeaderMap::new(),
        };
        let request = Request {
            route: "chat".into(),
            method: method.parse().unwrap(),
            path: "/v1/chat/completions".into(),
            request_id: HeaderValue::from_static("r1"),
            started: Instant::now(),
        };
        end(Span::new(
            Arc::clone(&outbox),
            place(given, 1.0).0.unwrap(),
            request,
        ));
        outbox.close().unwrap();
        let mut spans = kept.take();
        assert_eq!(spans.len(), 1);
        spans.remove(0)
    }

    pub(in crate::traces) fn any() -> SpanData {
        told("GET", drop)
    }

    fn said(span: &SpanData, key: &str) -> Option<String> {
        let mut found = span.attributes.iter().filter(|one| one.key.as_str() == key);
        let value = found.next().map(|one| one.value.to_string());
        assert!(found.next().is_none(), "{key} is said once");
        value
    }

    #[test]
    fn a_failure_of_the_upstream_is_an_error() {
        let span = told("POST", |span| {
            span.failed(
                "head_timeout",
                Some(Dialect::OpenAiChat),
                StatusCode::GATEWAY_TIMEOUT,
            );
        });
        assert_eq!(span.name, "chat");
        assert_eq!(span.status, Status::error("head_timeout"));
        assert_eq!(said(&span, "error.type").unwrap(), "head_timeout");
        assert_eq!(said(&span, "weir.outcome").unwrap(), "head_timeout");
        assert_eq!(said(&span, "http.response.status_code").unwrap(), "504");
        assert_eq!(said(&span, "gen_ai.provider.name").unwrap(), "openai");
        assert_eq!(span.span_context.trace_id().to_string(), PARENT[3..35]);
        assert_eq!(span.parent_span_id.to_string(), PARENT[36..52]);
        assert_eq!(span.span_kind, SpanKind::Server);
        assert!(span.end_time >= span.start_time);
    }

    #[test]
    fn what_the_client_did_is_no_error() {
        let span = told("POST", |span| {
            span.failed("request_too_large", None, StatusCode::PAYLOAD_TOO_LARGE);
        });
        assert_eq!(span.status, Status::Unset);
        assert_eq!(said(&span, "error.type"), None);
        assert_eq!(said(&span, "weir.outcome").unwrap(), "request_too_large");
        assert_eq!(span.name, "POST chat");
        let span = told("GET", drop);
        assert_eq!(span.status, Status::Unset);
        assert_eq!(said(&span, "weir.outcome").unwrap(), "client_gone");
        assert_eq!(said(&span, "http.response.status_code"), None);
    }

    #[test]
    fn a_plain_answer_ends_with_its_body() {
        let span = told("GET", |mut span| span.passing(None, StatusCode::OK));
        assert_eq!(said(&span, "weir.outcome").unwrap(), "passed");
        assert_eq!(span.status, Status::Unset);
        let span = told("GET", |mut span| {
            span.passing(None, StatusCode::BAD_GATEWAY);
        });
        assert_eq!(said(&span, "error.type").unwrap(), "502");
    }

    #[test]
    fn a_defect_is_not_put_down_to_the_client() {
        let span = told("GET", |span| {
            let work = std::panic::AssertUnwindSafe(|| {
                let _span = span;
                panic!("a mistake");
            });
            assert!(std::panic::catch_unwind(work).is_err());
        });
        assert_eq!(span.status, Status::error("panic"));
        assert_eq!(said(&span, "weir.outcome").unwrap(), "panic");
    }

    #[test]
    fn long_methods_are_not_repeated() {
        let span = told(&"X".repeat(10_000), drop);
        assert_eq!(said(&span, "http.request.method").unwrap(), "_OTHER");
    }
}
