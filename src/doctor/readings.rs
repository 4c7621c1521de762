//! What the probe's clock has said, and the offset that follows from it.

use serde_json::Value;

use super::observation::Observation;
use super::offset::{Offset, estimate};

/// Requests of the clock, and what came back.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    instance: String,
    /// When a request was sent, and when the probe received it.
    pub(crate) requests: Vec<(i64, i64)>,
    /// When the probe answered, and when that arrived.
    responses: Vec<(i64, i64)>,
}

/// What the probe's clock has said.
pub(crate) struct Reading {
    instance: String,
    received: i64,
    answered: i64,
}

impl Reading {
    /// Reads an answer; `None` if it is none of the probe's.
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let number = |name: &str| value.get(name).and_then(Value::as_i64);
        Some(Self {
            instance: value.get("instance")?.as_str()?.to_owned(),
            received: number("received_us")?,
            answered: number("sent_us")?,
        })
    }
}

impl Clocks {
    /// Adds what the clock said to a request that was sent at this time, and answered at this time.
    pub(crate) fn add(&mut self, sent: i64, arrived: i64, reading: Reading) {
        if self.instance != reading.instance {
            // Another process answers, whose clock is another one.
            *self = Self {
                instance: reading.instance,
                ..Self::default()
            };
        }
        self.requests.push((sent, reading.received));
        self.responses.push((reading.answered, arrived));
    }
}

/// Estimates the offset of the clock of the process that sent the stream.
pub(crate) fn offset_of(main: &Observation, clocks: &Clocks) -> Option<Offset> {
    let facts = main.facts.as_ref()?;
    let mut requests = vec![(main.asked, facts.began)];
    let mut responses: Vec<(i64, i64)> = main
        .stamped()
        .iter()
        .map(|(at, stamp)| (stamp.sent, *at))
        .collect();
    if clocks.instance == facts.instance {
        requests.extend(&clocks.requests);
        responses.extend(&clocks.responses);
    }
    estimate(&requests, &responses, main.connect)
}
