//! What a span gets at the end of its request: attributes, events for first moments, and the outcome.

use std::borrow::Cow;
use std::time::SystemTime;

use http::StatusCode;
use opentelemetry::trace::Event;
use opentelemetry::{KeyValue, Value};
use tokio::time::Instant;

use super::semconv;
use crate::dialect::Dialect;
use crate::event::Class;
use crate::stream::meter::TokenSource;
use crate::stream::pump::Report;

/// The attributes, events and outcome of a span.
pub(super) struct Attributes {
    /// When the request head was read.
    started: Instant,
    /// The moment of `started` by the wall clock; later moments are computed from it.
    pub(super) began: SystemTime,
    pub(super) outcome: Option<&'static str>,
    /// The error, if somebody should look into it.
    pub(super) trouble: Option<Cow<'static, str>>,
    pub(super) operation: Option<&'static str>,
    pub(super) model: Option<Box<str>>,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) events: Vec<Event>,
}

impl Attributes {
    /// Creates empty attributes for a request whose head was read at `started`.
    pub(super) fn since(started: Instant) -> Self {
        let now = SystemTime::now();
        Self {
            started,
            began: now.checked_sub(started.elapsed()).unwrap_or(now),
            outcome: None,
            trouble: None,
            operation: None,
            model: None,
            attributes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Adds an attribute if there is a value.
    pub(super) fn say(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        let said = value.map(|value| KeyValue::new(key, value));
        self.attributes.extend(said);
    }

    /// Adds the status that the client got.
    pub(super) fn status(&mut self, status: StatusCode) {
        let code = i64::from(status.as_u16());
        self.say("http.response.status_code", Some(code));
    }

    /// Adds the dialect that was spoken, or asked for.
    pub(super) fn speaks(&mut self, dialect: Option<Dialect>) {
        self.say("weir.dialect", dialect.map(Dialect::as_str));
    }

    /// Adds the operation done at `path`, and the provider of the API.
    pub(super) fn does(&mut self, dialect: Option<Dialect>, path: &str) {
        self.operation = dialect.and_then(|dialect| semconv::operation(dialect, path));
        self.say("gen_ai.operation.name", self.operation);
        self.say("gen_ai.provider.name", dialect.and_then(semconv::provider));
    }

    /// Adds the measurements of a stream.
    pub(super) fn measured(&mut self, report: &Report) {
        let meter = &report.ingress.meter;
        let pings = meter.events.get(Class::Heartbeat.index()).copied();
        let events_in = meter.events.iter().sum::<u64>() - pings.unwrap_or(0);
        self.say("weir.events.in", Some(count(events_in)));
        self.say(
            "weir.events.out",
            Some(count(report.egress.queue.taken.iter().sum())),
        );
        self.say(
            "weir.dropped",
            Some(count(report.egress.queue.dropped.iter().sum())),
        );
        self.model.clone_from(&meter.model);
        self.say(
            "gen_ai.response.model",
            meter.model.as_deref().map(str::to_owned),
        );
        self.say("gen_ai.usage.input_tokens", meter.usage().input.map(count));
        let (tokens, source) = report.output_tokens();
        // An estimate does not get the name of a count that the upstream stated.
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

    /// Adds a first moment: as an attribute, in seconds since the request came, and as an event.
    fn moment(&mut self, key: &'static str, event: &'static str, at: Option<Instant>) {
        let Some(after) = at.map(|at| at.duration_since(self.started)) else {
            return;
        };
        self.say(key, Some(after.as_secs_f64()));
        let event = Event::new(event, self.began + after, Vec::new(), 0);
        self.events.push(event);
    }
}

/// Returns a number in the type that attributes have.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
