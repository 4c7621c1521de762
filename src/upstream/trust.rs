//! Which endpoints keep a connection open after they have answered a request with a body.
//!
//! An upstream may answer a request without reading all of it, and close the connection a moment later. A request that
//! is sent in between is lost, and a POST must not be repeated. From outside nothing tells such an answer from any
//! other: the kernel has accepted the whole request in both cases. So after a request with a body a connection is kept
//! on probation, and an endpoint whose connection is still open afterwards is trusted from then on. A streamed answer
//! is made from the request, so there an endpoint is trusted until it turns out otherwise.

use std::time::Duration;

/// How long a connection waits for its next request, while its endpoint is not trusted. An answer that takes as long
/// shows that the request was read.
pub(super) const PROBATION: Duration = Duration::from_secs(1);

/// Why a connection may be about to close, although its last exchange is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A small request was answered with 2xx.
    Small,
    /// A large request was answered with 2xx.
    Large,
    /// A small request was refused: any other status.
    Refused,
    /// Any request was answered with 2xx and a stream: an answer whose length is not announced.
    Streamed,
    /// The answer began before all of the request was sent.
    Early,
}

impl Doubt {
    /// Returns its place in [`Trust`]. No endpoint is trusted after an early answer.
    const fn place(self) -> Option<usize> {
        match self {
            Self::Small => Some(0),
            Self::Large => Some(1),
            Self::Refused => Some(2),
            Self::Streamed => Some(3),
            Self::Early => None,
        }
    }
}

/// In spite of which doubts an endpoint is trusted that has shown nothing yet.
const UNKNOWN: [bool; 4] = [false, false, false, true];

/// In spite of which doubts the endpoints keep connections open, by their index.
#[derive(Debug)]
pub(super) struct Trust(Vec<[bool; 4]>);

impl Trust {
    /// Creates the trust in endpoints that have shown nothing yet.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reports whether the endpoint at this index keeps connections open in spite of `doubt`.
    pub(super) fn has(&self, endpoint: usize, doubt: Doubt) -> bool {
        let all = self.0.get(endpoint).unwrap_or(&UNKNOWN);
        let place = doubt.place().and_then(|place| all.get(place));
        place.copied().unwrap_or_default()
    }

    /// Records whether the endpoint at this index has kept a connection open.
    pub(super) fn set(&mut self, endpoint: usize, doubt: Doubt, kept: bool) {
        let all = self.of(endpoint);
        let place = all.zip(doubt.place());
        if let Some(place) = place.and_then(|(all, place)| all.get_mut(place)) {
            *place = kept;
        }
    }

    /// Records that the endpoint at this index has closed a connection while a request was on its way.
    pub(super) fn lose(&mut self, endpoint: usize) {
        if let Some(all) = self.of(endpoint) {
            *all = [false; 4];
        }
    }

    fn of(&mut self, endpoint: usize) -> Option<&mut [bool; 4]> {
        if self.0.len() <= endpoint {
            self.0.resize(endpoint + 1, UNKNOWN);
        }
        self.0.get_mut(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_trusted_for_what_it_has_shown_alone() {
        let mut trust = Trust::new();
        assert!(!trust.has(1, Doubt::Small));
        trust.set(1, Doubt::Small, true);
        trust.set(1, Doubt::Early, true);
        for (endpoint, doubt, has) in [
            (1, Doubt::Small, true),
            (0, Doubt::Small, false),
            (2, Doubt::Small, false),
            (1, Doubt::Large, false),
            (1, Doubt::Refused, false),
            (1, Doubt::Early, false),
            (1, Doubt::Streamed, true),
            (7, Doubt::Streamed, true),
        ] {
            assert_eq!(trust.has(endpoint, doubt), has, "{endpoint} {doubt:?}");
        }
        trust.set(1, Doubt::Small, false);
        assert!(!trust.has(1, Doubt::Small));
        trust.lose(1);
        assert!(!trust.has(1, Doubt::Streamed) && trust.has(0, Doubt::Streamed));
    }
}
