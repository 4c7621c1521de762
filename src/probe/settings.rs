//! What a request to the probe asks for, in its query.

use std::fmt;
use std::time::Duration;

use crate::session::stream_id::StreamId;

const MAX_EVENTS: u64 = 1_000;
const PACE: (u64, u64) = (10, 10_000);
/// An event must fit into one frame of a shared connection.
const SIZE: (u64, u64) = (128, 8 * 1024);
const MAX_WAIT: u64 = 60_000;
const MAX_SILENCE: u64 = 600_000;
const HEARTBEAT: (u64, u64) = (100, 600_000);
/// The longest that a stream may take, in milliseconds.
const MAX_TOTAL: u64 = 900_000;

/// What a request to the probe asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeRequest {
    /// What time it is.
    Clock,
    /// Whether the probe has noticed that the client of this stream has left.
    Left(StreamId),
    /// A stream.
    Stream(Settings),
}

/// A value of a query that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    key: &'static str,
    expected: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expected } = self;
        write!(f, "the probe's `{key}` must be {expected}")
    }
}

/// The script of a stream: `wait` after the head, then events at a `pace`, then `silence`, then one more event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The id by which its client can ask for it later.
    pub id: StreamId,
    /// How many events come before the silence. At least one.
    pub events: u32,
    /// The time between two events.
    pub pace: Duration,
    /// The size of an event in bytes, unless what it says is larger.
    pub size: usize,
    /// The time between the head and the first event.
    pub wait: Duration,
    /// The silence after the events. An event follows, unless it is zero.
    pub silence: Duration,
    /// How often a comment is sent during the silence.
    pub heartbeat: Option<Duration>,
}

impl Settings {
    /// Twenty events, ten in a second, and no silence.
    pub const fn new(id: StreamId) -> Self {
        Self {
            id,
            events: 20,
            pace: Duration::from_millis(100),
            size: 128,
            wait: Duration::ZERO,
            silence: Duration::ZERO,
            heartbeat: None,
        }
    }

    /// Returns how long the stream takes.
    pub fn total(&self) -> Duration {
        let paced = self.pace * self.events.saturating_sub(1);
        self.wait + paced + self.silence
    }

    /// Returns the query that asks for it.
    pub fn query(&self) -> String {
        let heartbeat = self.heartbeat.unwrap_or_default();
        format!(
            "id={}&events={}&pace_ms={}&size={}&wait_ms={}&silence_ms={}&heartbeat_ms={}",
            self.id,
            self.events,
            self.pace.as_millis(),
            self.size,
            self.wait.as_millis(),
            self.silence.as_millis(),
            heartbeat.as_millis(),
        )
    }
}

impl ProbeRequest {
    /// Reads a query. Keys that are not known are left alone, because proxies may add some.
    ///
    /// # Errors
    /// If a value is not what its key takes.
    pub fn of(query: &str) -> Result<Self, Malformed> {
        let pairs = || {
            let pairs = query.split('&').filter(|pair| !pair.is_empty());
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        };
        let mut settings = Settings::new(StreamId::random());
        for (key, value) in pairs() {
            match key {
                "clock" => return Ok(Self::Clock),
                "left" => return id("left", value).map(Self::Left),
                "id" => settings.id = id("id", value)?,
                "events" => {
                    let events = number("events", value, (1, MAX_EVENTS))?;
                    settings.events = u32::try_from(events).unwrap_or(1);
                }
                "pace_ms" => settings.pace = millis("pace_ms", value, PACE)?,
                "size" => {
                    let size = number("size", value, SIZE)?;
                    settings.size = usize::try_from(size).unwrap_or_default();
                }
                "wait_ms" => settings.wait = millis("wait_ms", value, (0, MAX_WAIT))?,
                "silence_ms" => settings.silence = millis("silence_ms", value, (0, MAX_SILENCE))?,
                "heartbeat_ms" if value == "0" => settings.heartbeat = None,
                "heartbeat_ms" => {
                    settings.heartbeat = Some(millis("heartbeat_ms", value, HEARTBEAT)?);
                }
                _ => {}
            }
        }
        if settings.total() > Duration::from_millis(MAX_TOTAL) {
            return Err(Malformed {
                key: "events",
                expected: format!(
                    "so few, or so fast, that all of it takes {MAX_TOTAL} ms at most"
                ),
            });
        }
        Ok(Self::Stream(settings))
    }
}

fn id(key: &'static str, value: &str) -> Result<StreamId, Malformed> {
    StreamId::parse(value).ok_or_else(|| Malformed {
        key,
        expected: "32 hexadecimal digits".to_owned(),
    })
}

fn number(key: &'static str, value: &str, (least, most): (u64, u64)) -> Result<u64, Malformed> {
    let number = value.parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Malformed {
        key,
        expected: format!("a number from {least} to {most}"),
    })
}

fn millis(key: &'static str, value: &str, range: (u64, u64)) -> Result<Duration, Malformed> {
    number(key, value, range).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_it_is_written() {
        let id = StreamId::random();
        for settings in [
            Settings::new(id),
            Settings {
                events: 3,
                pace: Duration::from_millis(10),
                size: 4096,
                wait: Duration::from_millis(1),
                silence: Duration::from_secs(90),
                heartbeat: Some(Duration::from_secs(15)),
                ..Settings::new(id)
            },
        ] {
            let request = ProbeRequest::of(&settings.query());
            assert_eq!(request, Ok(ProbeRequest::Stream(settings)));
        }
        assert_eq!(ProbeRequest::of("clock"), Ok(ProbeRequest::Clock));
        assert_eq!(ProbeRequest::of("clock&x=1"), Ok(ProbeRequest::Clock));
        let left = ProbeRequest::of(&format!("left={id}"));
        assert_eq!(left, Ok(ProbeRequest::Left(id)));
        assert!(matches!(
            ProbeRequest::of("utm=1&&x"),
            Ok(ProbeRequest::Stream(_))
        ));
    }

    #[test]
    fn every_value_is_bounded() {
        for query in [
            "events=0",
            "events=1001",
            "events=-1",
            "events",
            "pace_ms=9",
            "pace_ms=10001",
            "size=8193",
            "wait_ms=60001",
            "silence_ms=600001",
            "heartbeat_ms=99",
            "heartbeat_ms=x",
            "id=1",
            "left=",
            "events=1000&pace_ms=10000",
        ] {
            let key = query.split('=').next().unwrap();
            let error = ProbeRequest::of(query).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{query}: {error}");
        }
    }
}
