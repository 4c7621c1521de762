//! Exemplars: for each bucket of a histogram, the last stream that was counted in it, by its trace.
//!
//! They are stored once per stream, at its end, and take a fixed place in memory. Only the OpenMetrics format has them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::buckets;

/// Length of a trace id in hexadecimal digits.
const DIGITS: usize = 32;

/// The id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; DIGITS]);

impl TraceId {
    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = <[u8; DIGITS]>::try_from(text.as_bytes()).ok()?;
        digits
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(Self(digits))
    }

    /// Returns the digits.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One observation, and the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) trace: TraceId,
    /// What was observed, in the unit of the histogram.
    pub(super) value: f64,
    pub(super) at: SystemTime,
}

/// The last exemplar of each bucket of one histogram.
#[derive(Debug)]
pub(super) struct Exemplars {
    /// The upper bounds of the buckets, without the one that has none.
    edges: &'static [f64],
    /// One place for each bucket. Locked once per stream, and for a scrape.
    last: Mutex<Box<[Option<Exemplar>]>>,
}

impl Exemplars {
    fn new(edges: &'static [f64]) -> Self {
        Self {
            edges,
            last: Mutex::new(vec![None; edges.len() + 1].into_boxed_slice()),
        }
    }

    fn keep(&self, exemplar: Exemplar) {
        // The bounds belong to their buckets.
        let bucket = self.edges.partition_point(|edge| *edge < exemplar.value);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = last.get_mut(bucket) {
            *place = Some(exemplar);
        }
    }

    /// Returns the exemplars in the order of the buckets, the last of which has no upper bound.
    pub(super) fn list(&self) -> Vec<Option<Exemplar>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.to_vec()
    }
}

/// The exemplars of the streams of one route.
#[derive(Debug)]
pub(super) struct RouteExemplars {
    duration: Exemplars,
    /// In the order of [`KINDS`].
    first: [Exemplars; KINDS.len()],
}

/// The values of the label `kind` of `weir_time_to_first_token_seconds`.
const KINDS: [&str; 3] = ["answer", "reasoning", "tool"];

impl RouteExemplars {
    pub(super) fn new() -> Self {
        Self {
            duration: Exemplars::new(buckets::STREAM),
            first: KINDS.map(|_| Exemplars::new(buckets::FIRST)),
        }
    }

    /// Keeps the figures of a stream that has ended: how long it took, and how long its first answer, reasoning and
    /// tool event took.
    pub(super) fn keep(&self, trace: TraceId, duration: Duration, firsts: [Option<Duration>; 3]) {
        let at = SystemTime::now();
        let exemplar = |value: Duration| Exemplar {
            trace,
            value: value.as_secs_f64(),
            at,
        };
        self.duration.keep(exemplar(duration));
        for (place, first) in self.first.iter().zip(firsts) {
            if let Some(first) = first {
                place.keep(exemplar(first));
            }
        }
    }

    /// Returns the exemplars of a histogram of the route; `kind` is its label of that name.
    pub(super) fn of(&self, family: &str, kind: Option<&str>) -> Option<&Exemplars> {
        match family {
            "weir_stream_duration_seconds" => Some(&self.duration),
            "weir_time_to_first_token_seconds" => {
                let mut kinds = KINDS.iter().zip(&self.first);
                let found = kinds.find(|(known, _)| Some(**known) == kind);
                found.map(|(_, exemplars)| exemplars)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn only_a_trace_id_becomes_an_exemplar() {
        assert_eq!(TraceId::parse(TRACE).unwrap().as_str(), TRACE);
        for bad in ["", "0af7", "0af7651916cd43dd8448eb211c80319\"", &TRACE[1..]] {
            assert_eq!(TraceId::parse(bad), None, "{bad}");
        }
        assert_eq!(TraceId::parse(&format!("{TRACE}0")), None);
    }

    #[test]
    fn each_bucket_keeps_its_last_exemplar() {
        let exemplars = Exemplars::new(&[1.0, 2.0]);
        let trace = TraceId::parse(TRACE).unwrap();
        for value in [0.5, 1.0, 1.5, 7.0, 9.0] {
            let at = SystemTime::UNIX_EPOCH;
            exemplars.keep(Exemplar { trace, value, at });
        }
        let values: Vec<_> = exemplars
            .list()
            .iter()
            .map(|one| one.map(|one| one.value))
            .collect();
        assert_eq!(values, [Some(1.0), Some(1.5), Some(9.0)]);
    }
}
