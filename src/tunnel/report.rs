//! The accounting of a tunnel: its counts while it runs, its metrics and its log line at its end.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::end::End;
use crate::log::access::{self, Line};
use crate::metrics::{Active, Metrics};
use crate::session::accounting::{self, millis};
use crate::session::recent::{self, Counted};
use crate::session::registry::Registration;
use crate::session::traffic::Totals;
use crate::tasks;
use crate::traces::Span;

/// How often the metrics of a running tunnel are brought up to date.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Counted for a WebSocket that ended without a close frame (RFC 6455, 7.4.1).
const ABNORMAL: u16 = 1006;
/// Counted for a close frame without a code.
const NO_CODE: u16 = 1005;

/// Guards that count what is in progress.
type Held = Box<dyn Send + Sync>;

/// Who sent the first close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closer {
    Agent,
    Client,
    Weir,
}

impl Closer {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Weir => "weir",
        }
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) end: End,
    /// The end, or a code that tells more.
    pub(crate) code: &'static str,
    /// Who closed it, and with which code; `None` if nobody did.
    pub(crate) closed: Option<(Closer, Option<u16>)>,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self {
            end,
            code: end.as_str(),
            closed: None,
        }
    }
}

/// What a tunnel is reported with.
pub(crate) struct Opened {
    pub(crate) registration: Registration,
    /// The status that the client gets: 101, or 200 over HTTP/2.
    pub(crate) status: StatusCode,
    pub(crate) span: Option<Span>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The account of one tunnel, from the answer of the agent on. It reports a tunnel that is dropped, too.
pub(crate) struct Account {
    opened: Opened,
    /// Counts the tunnel in the metrics.
    _active: Active,
    /// What the metrics contain of it.
    counted: Totals,
    /// When they are brought up to date.
    count_at: Instant,
    totals: Totals,
    is_reported: bool,
    /// How it ends, if it is dropped before it has.
    ending: Option<Ended>,
    /// Dropped with the tunnel.
    held: Option<Held>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

impl Account {
    pub(crate) fn new(opened: Opened) -> Self {
        let live = &opened.registration.live;
        live.tunnelled();
        Self {
            _active: live.context.metrics.websocket_active(),
            opened,
            counted: Totals::default(),
            count_at: Instant::now() + COUNT_EVERY,
            totals: Totals::default(),
            is_reported: false,
            ending: None,
            held: None,
        }
    }

    /// Keeps `held` until the tunnel is over.
    pub(crate) fn keep(&mut self, held: Option<Held>) {
        self.held = held;
    }

    /// Notes how the tunnel is about to end: its connection may be closed before it has.
    pub(crate) const fn expect(&mut self, ending: Ended) {
        self.ending = Some(ending);
    }

    /// Is ready with the reason once the tunnel was asked to end.
    pub(crate) fn poll_stop(&self, cx: &mut Context<'_>) -> Poll<End> {
        self.opened.registration.live.stop.poll(cx)
    }

    /// Notes what has passed so far.
    pub(crate) fn note(&mut self, totals: Totals, now: Instant) {
        self.totals = totals;
        self.opened.registration.live.tunnelled().set(&totals);
        if now >= self.count_at {
            self.count_at = now + COUNT_EVERY;
            self.count();
        }
    }

    /// Adds to the metrics what they do not contain yet.
    fn count(&mut self) {
        let websocket = &self.opened.registration.live.context.metrics.websocket;
        let (now, before) = (self.totals, self.counted);
        let [frames_in, frames_out] = &websocket.frames;
        let [bytes_in, bytes_out] = &websocket.bytes;
        frames_in.inc_by(now.frames_in.saturating_sub(before.frames_in));
        frames_out.inc_by(now.frames_out.saturating_sub(before.frames_out));
        bytes_in.inc_by(now.bytes_in.saturating_sub(before.bytes_in));
        bytes_out.inc_by(now.bytes_out.saturating_sub(before.bytes_out));
        self.counted = now;
    }

    /// Reports the tunnel: metrics, log line and span.
    pub(crate) fn report(&mut self, ended: Ended) {
        if std::mem::replace(&mut self.is_reported, true) {
            return;
        }
        self.count();
        let live = &self.opened.registration.live;
        live.ended(ended.end);
        let metrics = &live.context.metrics;
        metrics.outcome(ended.end);
        metrics
            .stream_seconds
            .observe(live.context.started.elapsed().as_secs_f64());
        let has_span = self.opened.span.is_some();
        accounting::exemplar(&self.opened.metrics, live, [None; 3], has_span);
        metrics.websocket.closed(match ended.closed {
            None => ABNORMAL,
            Some((_, code)) => code.unwrap_or(NO_CODE),
        });
        match ended.end {
            End::Finished => {}
            End::Truncated | End::UpstreamError | End::UpstreamReset => {
                metrics.upstream_error(ended.end.as_str());
            }
            end => metrics.cancelled(end.as_str()),
        }
        self.remember(ended);
        self.log(ended);
        if let Some(span) = &mut self.opened.span {
            if ended.end == End::Finished {
                span.passed();
            } else {
                span.cut(ended.end);
            }
        }
    }

    /// Remembers the tunnel with what has passed through it.
    fn remember(&self, ended: Ended) {
        let (registration, totals) = (&self.opened.registration, &self.totals);
        let status = self.opened.status;
        registration.remember(recent::Ended {
            dialect: "websocket",
            figures: Counted {
                events: totals.frames_out,
                bytes_in: totals.bytes_in,
                bytes_out: totals.bytes_out,
                ..Counted::default()
            },
            ..accounting::ended(&registration.live, ended.end, ended.code, status)
        });
    }

    /// Writes the log line: all figures, but none of what was said.
    fn log(&self, ended: Ended) {
        if !access::wants(Line::of(ended.end)) {
            return;
        }
        let live = &self.opened.registration.live;
        let context = &*live.context;
        let totals = &self.totals;
        let status = self.opened.status.as_u16();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: access::TARGET,
                    stream_id = %live.id,
                    request_id = context.identity.request_id.to_str().unwrap_or_default(),
                    upstream_request_id = context.identity.upstream_id(),
                    trace_id = context.identity.trace_id(),
                    route = %context.route.name,
                    client = context.client.map(tracing::field::display),
                    method = %context.method,
                    path = &*context.path,
                    outcome = ended.end.as_str(),
                    code = ended.code,
                    transport = "websocket",
                    status,
                    duration_ms = millis(context.started.elapsed()),
                    frames_in = totals.frames_in,
                    frames_out = totals.frames_out,
                    bytes_in = totals.bytes_in,
                    bytes_out = totals.bytes_out,
                    close_code = ended.closed.and_then(|(_, code)| code),
                    closed_by = ended.closed.map(|(closer, _)| closer.as_str()),
                    "stream ended"
                )
            };
        }
        if ended.end == End::Panic {
            line!(error);
        } else if ended.end.is_trouble() {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

impl Drop for Account {
    /// Reports a tunnel that is dropped before its end: its client left before it began, a defect ended it, or the
    /// process does not wait for it any longer.
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        let ended = if tasks::is_failing() {
            self.opened.metrics.panics.inc();
            End::Panic.into()
        } else if let Some(ending) = self.ending {
            ending
        } else {
            let asked = self.opened.registration.live.stop.asked();
            asked.unwrap_or(End::ClientGone).into()
        };
        self.report(ended);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::capacity::Share;
    use crate::session::RequestContext;
    use crate::session::registry::Registry;

    /// Returns the account of a tunnel on a route `r`, and what it counts in.
    pub(crate) fn account() -> (Account, Arc<Registry>, Arc<Metrics>) {
        let (registry, metrics) = (Arc::<Registry>::default(), Arc::new(Metrics::new()));
        let context = RequestContext::example(&metrics);
        let account = Account::new(Opened {
            registration: registry.register(&context, 1, &Share::default()).unwrap(),
            status: StatusCode::SWITCHING_PROTOCOLS,
            span: None,
            metrics: Arc::clone(&metrics),
        });
        (account, registry, metrics)
    }

    /// Reports whether the metrics have this series, without the label of its route, with this value.
    pub(crate) fn has(metrics: &Metrics, name: &str, label: &str, value: u64) -> bool {
        let line = if label.is_empty() {
            format!("{name}{{route=\"r\"}} {value}\n")
        } else if label < "route" {
            format!("{name}{{{label},route=\"r\"}} {value}\n")
        } else {
            format!("{name}{{route=\"r\",{label}}} {value}\n")
        };
        metrics.encode().contains(&line)
    }

    #[tokio::test]
    async fn what_is_dropped_is_reported_once_and_with_its_reason() {
        let (account, registry, metrics) = account();
        assert!(has(
            &metrics,
            "weir_streams_active",
            "transport=\"websocket\"",
            1
        ));
        registry.list()[0].stop(End::Drained);
        drop(account);
        assert!(has(
            &metrics,
            "weir_streams_active",
            "transport=\"websocket\"",
            0
        ));
        assert!(has(
            &metrics,
            "weir_streams_total",
            "outcome=\"drained\"",
            1
        ));
        assert!(has(
            &metrics,
            "weir_websocket_closes_total",
            "code=\"1006\"",
            1
        ));
        assert!(registry.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn counts_are_seen_while_it_runs_and_are_whole_at_its_end() {
        let (mut account, registry, metrics) = account();
        let totals = |count| Totals {
            frames_in: count,
            frames_out: 2 * count,
            bytes_in: 10 * count,
            bytes_out: 20 * count,
        };
        account.note(totals(1), Instant::now());
        assert_eq!(registry.list()[0].traffic().unwrap().totals(), totals(1));
        tokio::time::advance(COUNT_EVERY).await;
        account.note(totals(3), Instant::now());
        assert!(has(
            &metrics,
            "weir_websocket_frames_total",
            "direction=\"in\"",
            3
        ));
        account.note(totals(4), Instant::now());
        let closed = Some((Closer::Client, None));
        account.report(Ended {
            closed,
            ..End::Finished.into()
        });
        drop(account);
        assert!(has(
            &metrics,
            "weir_websocket_frames_total",
            "direction=\"in\"",
            4
        ));
        assert!(has(
            &metrics,
            "weir_websocket_bytes_total",
            "direction=\"out\"",
            80
        ));
        assert!(has(
            &metrics,
            "weir_websocket_closes_total",
            "code=\"1005\"",
            1
        ));
        assert!(has(
            &metrics,
            "weir_streams_total",
            "outcome=\"finished\"",
            1
        ));
    }
}
