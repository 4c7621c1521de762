//! Decides the place of a span in its trace, whether it is recorded, and which `traceparent` the upstream
//! gets.

use std::str::FromStr;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::Parent;

/// Longest `tracestate` that a span repeats; the standard asks for at least this length. The header that goes
/// upstream is not cut.
const MAX_TRACESTATE: usize = 512;
/// The known bits of the flags: sampled, and random.
const KNOWN_FLAGS: u8 = 0b11;

/// The place of a recorded span in its trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// The span itself.
    pub(super) context: SpanContext,
    /// The parent span; invalid where the trace begins.
    pub(super) parent: SpanId,
}

/// Returns the place of a request's span, if it is recorded, and the `traceparent` for the upstream, if it
/// changes.
pub(super) fn place(parent: Parent<'_>, sample: f64) -> (Option<Place>, Option<HeaderValue>) {
    let Some(read) = Read::of(parent.traceparent) else {
        return (None, None);
    };
    let is_sampled = read.flags.is_sampled();
    if parent.is_own {
        // The `traceparent` that the agent gets already names Weir's own span.
        return if is_in(read.trace, sample) {
            (Some(read.place(read.span, SpanId::INVALID, None)), None)
        } else {
            let flags = read.flags.with_sampled(false);
            (None, written(read.trace, read.span, flags))
        };
    }
    if !is_sampled {
        return (None, None);
    }
    let own = random();
    let place = read.place(own, read.span, Some(parent.headers));
    (Some(place), written(read.trace, own, read.flags))
}

/// A valid `traceparent`, parsed.
struct Read {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl Read {
    fn of(traceparent: &str) -> Option<Self> {
        let flags = u8::from_str_radix(traceparent.get(53..55)?, 16).ok()?;
        Some(Self {
            trace: TraceId::from_hex(traceparent.get(3..35)?).ok()?,
            span: SpanId::from_hex(traceparent.get(36..52)?).ok()?,
            flags: TraceFlags::new(flags & KNOWN_FLAGS),
        })
    }

    fn place(&self, own: SpanId, parent: SpanId, headers: Option<&HeaderMap>) -> Place {
        let state = headers.and_then(tracestate).unwrap_or_default();
        Place {
            context: SpanContext::new(self.trace, own, self.flags, false, state),
            parent,
        }
    }
}

fn tracestate(headers: &HeaderMap) -> Option<TraceState> {
    let fields = headers.get_all("tracestate").iter();
    let parts: Result<Vec<&str>, _> = fields.map(HeaderValue::to_str).collect();
    let text = parts.ok()?.join(",");
    (text.len() <= MAX_TRACESTATE).then_some(())?;
    TraceState::from_str(&text).ok()
}

fn written(trace: TraceId, span: SpanId, flags: TraceFlags) -> Option<HeaderValue> {
    let text = format!("00-{trace:032x}-{span:016x}-{:02x}", flags.to_u8());
    HeaderValue::from_str(&text).ok()
}

fn random() -> SpanId {
    let mut bytes = [1; 8];
    // Ids only have to differ. Without a random source they do not; the stream id logs that error.
    let _ = getrandom::fill(&mut bytes);
    SpanId::from_bytes(bytes)
}

/// Reports whether a trace belongs to the share that is recorded. Trace ids are random, so the id decides.
fn is_in(trace: TraceId, share: f64) -> bool {
    let [.., a, b, c, d] = trace.to_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) < share * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn placed(text: &str, is_own: bool, sample: f64) -> (Option<Place>, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.append("tracestate", HeaderValue::from_static("a=b"));
        headers.append("tracestate", HeaderValue::from_static("c=d"));
        let parent = Parent {
            traceparent: text,
            is_own,
            headers: &headers,
        };
        let (place, told) = place(parent, sample);
        (place, told.map(|told| told.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_sampled_parent_gets_a_child() {
        for (version, rest, flags) in [("00", "", "01"), ("00", "", "03"), ("cc", "-more", "01")] {
            let (place, told) = placed(
                &format!("{version}-{TRACE}-{SPAN}-{flags}{rest}"),
                false,
                0.0,
            );
            let place = place.unwrap();
            assert_eq!(place.context.trace_id().to_string(), TRACE);
            assert_eq!(place.parent.to_string(), SPAN);
            assert_eq!(place.context.trace_state().header(), "a=b,c=d");
            let own = place.context.span_id().to_string();
            assert_ne!(own, SPAN);
            assert_eq!(told, Some(format!("00-{TRACE}-{own}-{flags}")));
        }
    }

    #[test]
    fn what_is_not_sampled_passes_untouched() {
        for flags in ["00", "02"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            assert_eq!(placed(&text, false, 1.0), (None, None));
        }
    }

    #[test]
    fn an_own_trace_begins_with_the_span_that_the_upstream_knows() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let (place, told) = placed(&text, true, 1.0);
        let place = place.unwrap();
        assert_eq!(place.context.span_id().to_string(), SPAN);
        assert_eq!(place.parent, SpanId::INVALID);
        assert_eq!(told, None);
        let (place, told) = placed(&text, true, 0.0);
        assert_eq!(place, None);
        assert_eq!(told, Some(format!("00-{TRACE}-{SPAN}-00")));
    }

    #[test]
    fn the_share_is_that_of_the_ids() {
        let id = |last: u32| {
            let mut bytes = [7; 16];
            bytes[12..].copy_from_slice(&last.to_be_bytes());
            TraceId::from_bytes(bytes)
        };
        let ids = (0..1000_u32).map(|n| id(n * (u32::MAX / 1000) + 1000));
        let of = |share: f64| ids.clone().filter(|id| is_in(*id, share)).count();
        assert_eq!([0.0, 0.25, 1.0].map(of), [0, 250, 1000]);
        assert!(is_in(id(u32::MAX), 1.0));
    }
}
