//! Ends loops: an upstream that leads back to Weir would otherwise be asked until a limit is reached.
//!
//! Each Weir appends itself to `CDN-Loop` (RFC 8586). The field exists for nothing else, so it changes the meaning of
//! no request. `Via` would do that: servers and intermediaries compress, cache or reject by it, and some remove it.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The field that each Weir appends itself to.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// What each Weir calls itself there.
const NAME: &[u8] = b"weir";

/// What one process appends: `weir;id=` and 16 hexadecimal digits, which are its own.
#[derive(Clone, Debug)]
pub struct Hop(HeaderValue);

/// How often a request has come through Weir.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Through this process.
    pub here: usize,
    /// Through any.
    pub all: usize,
}

impl Hop {
    /// Creates the one of this process.
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        let id = match getrandom::fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            // It only has to differ from those of the other processes on the way.
            Err(_) => u64::from(std::process::id()),
        };
        let item = format!("weir;id={id:016x}");
        Self(HeaderValue::from_str(&item).unwrap_or(HeaderValue::from_static("weir")))
    }

    /// Notes in the head of a request that it comes through this process.
    pub(super) fn append(&self, headers: &mut HeaderMap) {
        headers.append(CDN_LOOP, self.0.clone());
    }

    /// Returns how often a request has come through Weir before.
    pub fn passed(&self, headers: &HeaderMap) -> Passed {
        let mut passed = Passed::default();
        let values = headers.get_all(CDN_LOOP).iter();
        for item in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let item = item.trim_ascii();
            let name = item.split(|byte| *byte == b';').next().unwrap_or_default();
            if name.trim_ascii().eq_ignore_ascii_case(NAME) {
                passed.all += 1;
                passed.here += usize::from(item == self.0.as_bytes());
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_is_counted() {
        let (own, other) = (Hop::random(), Hop::random());
        let mut headers = HeaderMap::new();
        assert_eq!(own.passed(&headers), Passed::default());
        own.append(&mut headers);
        other.append(&mut headers);
        headers.append(
            CDN_LOOP,
            HeaderValue::from_static("cdn.example, Weir ; id=1,weird"),
        );
        assert_eq!(own.passed(&headers), Passed { here: 1, all: 3 });
        own.append(&mut headers);
        assert_eq!(own.passed(&headers), Passed { here: 2, all: 4 });
        assert_eq!(other.passed(&headers).here, 1);
    }
}
