//! Counts how often a request has passed through Weir, so that one that comes back again and again ends: an upstream may
//! be Weir itself, by way of a load balancer that the configuration does not show.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header with the count. A client that sends it shortens only its own way.
const HOPS: HeaderName = HeaderName::from_static("weir-hops");

/// The counts that are written, the first for a request that comes from a client.
const COUNTS: [&str; MAX_HOPS] = ["1", "2", "3", "4", "5", "6", "7", "8"];

/// A request that has passed so often is refused. Chains of a few instances are usual, such as a gateway before sidecars.
pub const MAX_HOPS: usize = 8;

/// Returns how often a request has passed through Weir. What is no number counts as none.
pub fn passed(headers: &HeaderMap) -> usize {
    let count = headers.get(HOPS).and_then(|value| value.to_str().ok());
    count.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Counts this instance.
pub(super) fn count(headers: &mut HeaderMap) {
    let next = COUNTS.get(passed(headers)).or_else(|| COUNTS.last());
    if let Some(next) = next {
        headers.insert(HOPS, HeaderValue::from_static(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instance_counts_itself() {
        let mut headers = HeaderMap::new();
        for hop in 0..MAX_HOPS {
            assert_eq!(passed(&headers), hop);
            count(&mut headers);
        }
        for (text, hops) in [("x", 0), ("-1", 0), ("", 0), ("3", 3), ("99", 99)] {
            headers.insert(HOPS, HeaderValue::from_static(text));
            assert_eq!(passed(&headers), hops, "{text}");
            count(&mut headers);
            let counted = passed(&headers);
            assert_eq!(counted, (hops + 1).min(MAX_HOPS), "{text}");
        }
        assert_eq!(headers.len(), 1);
    }
}
