//! Reads one response as a live stream is read, and collects the facts about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, response};
use serde::Serialize;
use tokio::time::Instant;

use super::hiding::{Hidden, Hiding};
use crate::config::Policy;
use crate::dialect::{Choice, Dialect, Members, RequestHead, detect};
use crate::end::End;
use crate::event::{Class, Event, Step, Terminal};
use crate::filter::Rules;
use crate::proxy::stream_framing;
use crate::recording::{self, Ending, Exchange, MALFORMED};
use crate::stream::meter::{Meter, TokenSource};
use crate::stream::pipeline::{Fault, InputEnd, Pipeline, Settings, Sink, Verdict};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// A stream.
#[derive(Debug, Serialize)]
pub(super) struct Stream {
    pub(super) dialect: &'static str,
    /// The dialect that the request or the head of the response announces.
    pub(super) announced: Option<&'static str>,
    pub(super) framing: &'static str,
    pub(super) coding: &'static str,
    /// The events by class.
    pub(super) events: BTreeMap<&'static str, u64>,
    pub(super) first_event_ms: Option<f64>,
    pub(super) first_token_ms: Option<f64>,
    pub(super) first_reasoning_ms: Option<f64>,
    pub(super) first_tool_ms: Option<f64>,
    pub(super) gaps: Option<Gaps>,
    pub(super) tokens: u64,
    pub(super) tokens_source: &'static str,
    pub(super) tokens_per_second: Option<f64>,
    pub(super) input_tokens: Option<u64>,
    pub(super) reasoning_tokens: Option<u64>,
    pub(super) tools: Tools,
    /// How Weir would end the stream; `None` if the recording ended before.
    pub(super) end: Option<&'static str>,
    /// Bytes after the end, which a client does not get.
    pub(super) ignored_bytes: u64,
    pub(super) hide: Hidden,
}

/// The times between reads with text.
#[derive(Debug, Serialize)]
pub(super) struct Gaps {
    pub(super) count: usize,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) max_ms: f64,
}

/// The tool calls.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tools {
    /// Events about tools.
    pub(super) events: u64,
    /// Calls whose beginning was seen, where the dialect tells it.
    pub(super) calls: u64,
    /// Calls with incomplete arguments.
    pub(super) incomplete: u64,
}

/// Returns the time in milliseconds.
pub(super) fn millis(micros: u64) -> f64 {
    in_millis(Duration::from_micros(micros))
}

fn in_millis(time: Duration) -> f64 {
    // Whole microseconds: more digits are the noise of a float.
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Reads a response as a live stream is read.
///
/// # Errors
/// If it is none. The error says why.
pub(super) fn of(exchange: &Exchange, policy: &Policy, show: bool) -> Result<Stream, String> {
    let head = head(exchange);
    let announced = announced(exchange, &head);
    let framing = stream_framing(&head, announced).ok_or_else(|| why_none(exchange))?;
    let coding = Coding::of(&head.headers)
        .ok_or("Weir cannot decode the content coding, so the body passes unchanged")?;
    let settings = |hide: &Arc<Rules>| Settings {
        framing,
        coding,
        choice: Choice::Auto,
        hint: announced,
        members: members(exchange, announced),
        max_event_bytes: policy.max_event_bytes,
        hide: Arc::clone(hide),
    };
    let read = Read::of(exchange, Pipeline::new(&settings(&Arc::default())));
    let mut hiding = Hiding::new(show);
    let mut filtered = Pipeline::new(&settings(&policy.hide));
    for piece in &exchange.reads {
        if filtered.feed(&piece.bytes, &mut hiding).is_err() || filtered.terminal().is_some() {
            break;
        }
    }
    filtered.finish(input_end(exchange), &mut hiding);
    Ok(read.stream(announced, coding, hiding.done(filtered.hidden())))
}

fn head(exchange: &Exchange) -> response::Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(exchange.response.status).unwrap_or_default();
    head.headers = recording::header_map(&exchange.response.fields);
    head
}

/// Returns the dialect that is expected before the first event.
fn announced(exchange: &Exchange, head: &response::Parts) -> Option<Dialect> {
    let request = &exchange.request;
    let by_request = || {
        let headers = recording::header_map(&request.fields);
        detect::from_request(&RequestHead::new(request.path(), request.query(), &headers))
    };
    let asked_for = request.asks_for.as_deref().and_then(Dialect::parse);
    detect::from_answer(&head.headers)
        .or(asked_for)
        .or_else(by_request)
}

/// Returns what the head of the request says about the stream, if it announces this dialect. Its body is not kept.
fn members(exchange: &Exchange, announced: Option<Dialect>) -> Members {
    let request = &exchange.request;
    let headers = recording::header_map(&request.fields);
    let head = RequestHead::new(request.path(), request.query(), &headers);
    let mut members = Members::default();
    if announced.is_some_and(|dialect| dialect.has_single_reply(&head)) {
        members.note_single_reply();
    }
    members
}

fn why_none(exchange: &Exchange) -> String {
    let response = &exchange.response;
    let kind = recording::field(&response.fields, "content-type");
    match (response.status, kind) {
        (200..=299, Some(kind)) => {
            format!("`{kind}` is not the content type of a stream: the body passes unchanged")
        }
        (200..=299, None) => "there is no content type: the body passes unchanged".to_owned(),
        (status, _) => format!("the status is {status}: the body passes unchanged"),
    }
}

fn input_end(exchange: &Exchange) -> InputEnd {
    match exchange.end.how {
        Ending::Clean => InputEnd::Clean,
        Ending::Reset | Ending::Truncated => InputEnd::Broken,
    }
}

/// A stream that was read to its end.
struct Read {
    pipeline: Pipeline,
    meter: Meter,
    calls: u64,
    gaps: Vec<Duration>,
    /// The time of the request.
    base: Instant,
    end: Option<End>,
    ignored_bytes: u64,
}

/// Measures the events of one read.
struct Measure<'a> {
    meter: &'a mut Meter,
    calls: &'a mut u64,
    now: Instant,
}

impl Sink for Measure<'_> {
    fn arrived(&mut self, block: &[u8], event: &Event) {
        self.meter.observe(block, event, self.now);
        let begins = event
            .call
            .is_some_and(|call| matches!(call.step, Step::Begins | Step::FirstPiece));
        *self.calls += u64::from(begins);
    }

    fn leaves(&mut self, _: &[u8], _: &Event) {}
}

impl Read {
    fn of(exchange: &Exchange, pipeline: Pipeline) -> Self {
        let mut read = Self {
            pipeline,
            meter: Meter::default(),
            calls: 0,
            gaps: Vec::new(),
            base: Instant::now(),
            end: None,
            ignored_bytes: 0,
        };
        for piece in &exchange.reads {
            if read.end.is_some() {
                read.ignored_bytes += piece.bytes.len() as u64;
            } else {
                let now = read.at(piece.at);
                read.take(&piece.bytes, now);
            }
        }
        if read.end.is_none() {
            let now = read.at(exchange.end.at);
            read.finish(exchange, now);
        }
        read
    }

    fn at(&self, micros: u64) -> Instant {
        let since = Duration::from_micros(micros);
        self.base.checked_add(since).unwrap_or(self.base)
    }

    fn take(&mut self, bytes: &[u8], now: Instant) {
        let mut sink = Measure {
            meter: &mut self.meter,
            calls: &mut self.calls,
            now,
        };
        let fed = self.pipeline.feed(bytes, &mut sink);
        self.meter.bytes_in += bytes.len() as u64;
        self.end_read(now);
        let fault = fed.err().map(|fault| match fault {
            Fault::Corrupt => End::UpstreamError,
            Fault::TooLarge => End::TooLarge,
        });
        self.end = fault.or_else(|| self.terminal());
    }

    fn end_read(&mut self, now: Instant) {
        let heartbeats = self.pipeline.take_heartbeats();
        self.gaps.extend(self.meter.end_read(heartbeats, now));
    }

    /// Decides how the stream ends, as the pump does.
    fn finish(&mut self, exchange: &Exchange, now: Instant) {
        let mut sink = Measure {
            meter: &mut self.meter,
            calls: &mut self.calls,
            now,
        };
        let verdict = self.pipeline.finish(input_end(exchange), &mut sink);
        self.end_read(now);
        if verdict == Verdict::Complete
            && let Some(end) = self.terminal()
        {
            self.end = Some(end);
        } else if !exchange.end.is_of_recorder() {
            let reason = exchange.end.reason.as_deref();
            self.end = Some(match (exchange.end.how, verdict) {
                (Ending::Reset, _) => End::UpstreamReset,
                (Ending::Truncated, _) if reason == Some(MALFORMED) => End::UpstreamError,
                (Ending::Truncated, _) | (Ending::Clean, Verdict::Truncated) => End::Truncated,
                (Ending::Clean, Verdict::Complete) => End::Finished,
            });
        }
    }

    fn terminal(&self) -> Option<End> {
        self.pipeline.terminal().map(|terminal| match terminal {
            Terminal::Done | Terminal::MayEnd | Terminal::MayEndWithInput | Terminal::Reopens => {
                End::Finished
            }
            Terminal::Error | Terminal::MayFail => End::UpstreamError,
        })
    }

    fn stream(self, announced: Option<Dialect>, coding: Coding, hide: Hidden) -> Stream {
        let meter = &self.meter;
        let counts = Class::ALL.iter().zip(&meter.events);
        let events = counts
            .filter(|(_, count)| **count > 0)
            .map(|(class, count)| (class.as_str(), *count))
            .collect();
        let since = |at: Option<Instant>| at.map(|at| in_millis(at.duration_since(self.base)));
        let [first_event, first_token, first_reasoning, first_tool] = meter.firsts().map(since);
        // As the log line of a live stream has them.
        let (tokens, source) = match meter.output_tokens() {
            (count, TokenSource::Cumulative) if self.end == Some(End::Finished) => {
                (count, TokenSource::Usage)
            }
            told => told,
        };
        let is_ended_by_agent = matches!(
            self.end,
            Some(End::Finished | End::Truncated | End::UpstreamError | End::UpstreamReset)
        );
        let tool_events = meter.events.get(Class::Tool.index()).copied();
        let framing: Framing = self.pipeline.framing();
        Stream {
            dialect: self.pipeline.dialect().as_str(),
            announced: announced.map(Dialect::as_str),
            framing: framing.as_str(),
            coding: name(coding),
            events,
            first_event_ms: first_event,
            first_token_ms: first_token,
            first_reasoning_ms: first_reasoning,
            first_tool_ms: first_tool,
            gaps: gaps(self.gaps),
            tokens,
            tokens_source: source.as_str(),
            tokens_per_second: meter.tokens_per_second(),
            input_tokens: meter.usage().input,
            reasoning_tokens: meter.usage().reasoning,
            tools: Tools {
                events: tool_events.unwrap_or(0),
                calls: self.calls,
                incomplete: meter.tool_faults(is_ended_by_agent),
            },
            end: self.end.map(End::as_str),
            ignored_bytes: self.ignored_bytes,
            hide,
        }
    }
}

fn gaps(mut gaps: Vec<Duration>) -> Option<Gaps> {
    gaps.sort_unstable();
    let max = gaps.last().copied()?;
    let percentile = |percent: usize| {
        // The smallest one that is at least as long as `percent` % of all.
        let rank = (gaps.len() * percent).div_ceil(100);
        let gap = gaps.get(rank.saturating_sub(1)).copied();
        in_millis(gap.unwrap_or(max))
    };
    Some(Gaps {
        count: gaps.len(),
        p50_ms: percentile(50),
        p95_ms: percentile(95),
        max_ms: in_millis(max),
    })
}

const fn name(coding: Coding) -> &'static str {
    match coding {
        Coding::Brotli => "br",
        Coding::Deflate => "deflate",
        Coding::Gzip => "gzip",
        Coding::Identity => "identity",
        Coding::Zstd => "zstd",
    }
}
