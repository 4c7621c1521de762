//! The identity of a request across processes: `X-Request-Id` and the W3C trace context.
//!
//! Valid values are kept unchanged; missing or invalid ones are replaced, so that the log lines of all processes can be
//! correlated. If spans are exported, `proxy::request_span` puts Weir's span between the caller's and the agent's.

use std::sync::OnceLock;

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::stream_id::hex_into;

/// The header with the id of a request, from the client to the agent and back.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// [Trace Context](https://www.w3.org/TR/trace-context/), 3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest request id that is kept, because it appears in every log line.
const MAX_REQUEST_ID: usize = 128;

/// The identity of one request.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The value of `X-Request-Id`: visible ASCII.
    pub request_id: HeaderValue,
    /// What the agent calls the request, if that is something else.
    upstream_id: OnceLock<Box<str>>,
    traceparent: Box<str>,
    /// Whether the trace begins here.
    pub is_own: bool,
}

impl Identity {
    /// Reads the identity from the headers of a request, and adds to them what was missing.
    pub fn of(headers: &mut HeaderMap) -> Self {
        let request_id = only(headers, &REQUEST_ID).filter(|id| is_request_id(id.as_bytes()));
        let trace = only(headers, &TRACEPARENT)
            .filter(|trace| is_traceparent(trace.as_bytes()))
            .and_then(|trace| Some(trace.to_str().ok()?.into()));
        let is_own = trace.is_none();
        // One call of the system for all that is missing.
        let random = if is_own || request_id.is_none() {
            Random::new()
        } else {
            Random::default()
        };
        let request_id = request_id.unwrap_or_else(|| {
            let made = random.request_id();
            headers.insert(REQUEST_ID, copy(&made));
            made
        });
        let traceparent = trace.unwrap_or_else(|| {
            let made = random.traceparent();
            headers.insert(TRACEPARENT, value(made.as_bytes()));
            headers.remove(TRACESTATE);
            made.into()
        });
        Self {
            request_id,
            upstream_id: OnceLock::new(),
            traceparent,
            is_own,
        }
    }

    /// Adds the id to the head of an agent's answer. An agent that names requests itself, as model providers do, keeps
    /// its name: their clients and their support know no other one. The log then has both.
    pub fn answered(&self, headers: &mut HeaderMap) {
        match headers.entry(REQUEST_ID) {
            Entry::Vacant(place) => {
                place.insert(copy(&self.request_id));
            }
            Entry::Occupied(named) => {
                let name = named.get();
                if *name != self.request_id
                    && is_request_id(name.as_bytes())
                    && let Ok(name) = name.to_str()
                {
                    // A request has one answer.
                    let _ = self.upstream_id.set(name.into());
                }
            }
        }
    }

    /// Returns what the agent calls the request in `X-Request-Id` of its answer, if that is something else.
    pub fn upstream_id(&self) -> Option<&str> {
        self.upstream_id.get().map(|id| &**id)
    }

    /// Returns the value of `traceparent`, as it was received or generated.
    pub const fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Reports whether whoever began the trace records it.
    pub fn is_sampled(&self) -> bool {
        let flags = self.traceparent().get(53..55);
        flags
            .and_then(|flags| u8::from_str_radix(flags, 16).ok())
            .is_some_and(|flags| flags & 1 == 1)
    }

    /// Returns the trace id, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        self.traceparent().get(3..35).unwrap_or_default()
    }
}

/// Returns a copy of the value of a header that occurs exactly once. A clone would share the memory of the whole head,
/// and keep it for as long as the request lasts.
fn only(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let copy = HeaderValue::from_bytes(first.as_bytes()).ok()?;
    values.next().is_none().then_some(copy)
}

/// Copies a value. A clone would share its memory, which takes another allocation for as long as the request lasts.
fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("0"))
}

/// The random parts of an identity.
#[derive(Debug, Default)]
struct Random {
    request_id: [u8; 16],
    trace_id: [u8; 16],
    parent_id: [u8; 8],
}

impl Random {
    fn new() -> Self {
        let mut bytes = [1; 40];
        // These ids only have to be unique. Without a random source they are not, and `StreamId::random` logs it.
        let _ = getrandom::fill(&mut bytes);
        let (ids, rest) = bytes.as_chunks::<16>();
        let [request_id, trace_id]: [[u8; 16]; 2] = ids.try_into().unwrap_or_default();
        let parent_id: [u8; 8] = rest.try_into().unwrap_or_default();
        Self {
            request_id,
            trace_id,
            parent_id,
        }
    }

    fn request_id(&self) -> HeaderValue {
        value(hex_into(&self.request_id, &mut [0; 32]).as_bytes())
    }

    /// Returns a trace that is marked as sampled: with the usual parent-based samplers, "not sampled" would turn off
    /// the agent's own traces.
    fn traceparent(&self) -> String {
        let (mut trace, mut parent) = ([0; 32], [0; 16]);
        let trace = hex_into(&self.trace_id, &mut trace);
        let parent = hex_into(&self.parent_id, &mut parent);
        ["00-", trace, "-", parent, "-01"].concat()
    }
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Reports whether the text is `version-traceid-parentid-flags` in lower-case hexadecimal. Later versions may append
/// to it.
fn is_traceparent(text: &[u8]) -> bool {
    let is_hex = |part: &[u8]| (part.iter()).all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &[u8]| is_hex(part) && part.iter().any(|byte| *byte != b'0');
    let (Some(known), rest) = (text.get(..55), text.get(55..).unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&[u8]> = known.split(|byte| *byte == b'-').collect();
    let [version, trace, parent, flags] = *parts.as_slice() else {
        return false;
    };
    let complete = match version {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => rest.first().is_none_or(|byte| *byte == b'-') && rest.iter().all(u8::is_ascii_graphic),
    };
    let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
    complete
        && lengths == [2, 32, 16, 2]
        && is_hex(version)
        && is_id(trace)
        && is_id(parent)
        && is_hex(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn identify(fields: &[(&'static str, &'static str)]) -> (Identity, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        (Identity::of(&mut headers), headers)
    }

    #[test]
    fn what_is_valid_is_continued_untouched() {
        let (identity, headers) = identify(&[
            ("x-request-id", "mine"),
            ("traceparent", TRACE),
            ("tracestate", "a=b"),
        ]);
        assert_eq!(identity.request_id, "mine");
        assert_eq!(identity.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(identity.is_sampled());
        assert_eq!(headers["traceparent"], TRACE);
        assert_eq!(headers["tracestate"], "a=b");
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02";
        assert!(!identify(&[("traceparent", unsampled)]).0.is_sampled());
    }

    #[test]
    fn what_is_missing_is_made() {
        let (identity, headers) = identify(&[("tracestate", "a=b")]);
        assert_eq!(headers["x-request-id"].len(), 32);
        assert!(is_traceparent(headers["traceparent"].as_bytes()));
        assert_eq!(headers["x-request-id"], identity.request_id);
        assert!(
            !headers.contains_key("tracestate"),
            "it belonged to no trace"
        );
        let (other, _) = identify(&[]);
        assert_ne!(identity.request_id, other.request_id);
        assert_ne!(identity.trace_id(), other.trace_id());
    }

    #[test]
    fn what_is_unusable_is_replaced() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319cb7ad6b7169203331--01",
        ] {
            let (_, headers) = identify(&[("traceparent", bad)]);
            assert_ne!(headers["traceparent"], bad);
            assert_eq!(headers.get_all("traceparent").iter().count(), 1);
        }
        assert!(is_traceparent(format!("cc{}-more", &TRACE[2..]).as_bytes()));
        let later = [b"cc", &TRACE.as_bytes()[2..], b"-\xb9"].concat();
        assert!(!is_traceparent(&later), "not to be written as text");
        let (twice, _) = identify(&[("x-request-id", "a"), ("x-request-id", "b")]);
        assert_eq!(twice.request_id.len(), 32);
        let (spaced, _) = identify(&[("x-request-id", "a b")]);
        assert_eq!(spaced.request_id.len(), 32);
    }
}
