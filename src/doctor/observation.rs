//! What was seen of one streamed response. All times are microseconds of the doctor's own clock.

use http::Version;

use super::ending::Ending;

/// Why something was not examined, if the user wanted the report before.
pub(crate) const INTERRUPTED: &str = "the doctor was interrupted";

/// One response, from the request to its end.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// How long it took to connect, without TLS: one round trip to the next hop.
    pub(crate) connect: i64,
    /// When the request was sent.
    pub(crate) asked: i64,
    pub(crate) head: Option<Head>,
    pub(crate) form: Form,
    pub(crate) arrivals: Vec<Arrival>,
    /// What the first event of a probe says.
    pub(crate) facts: Option<Facts>,
    /// What the last events say.
    pub(crate) ending: Ending,
    /// The size of the body, as it came.
    pub(crate) bytes: u64,
    pub(crate) end: End,
    pub(crate) ended: i64,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) at: i64,
    pub(crate) status: u16,
    pub(crate) version: Version,
    /// `Content-Type`
    pub(crate) kind: Option<String>,
    /// `Content-Encoding`
    pub(crate) coding: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) via: Option<String>,
    /// Where a redirect leads, as it may be shown.
    pub(crate) location: Option<String>,
    /// The response has the header of Weir's probe.
    pub(crate) is_probe: bool,
    /// The response has the header of a stream that came through Weir.
    pub(crate) is_weirs: bool,
}

impl Head {
    /// Returns the media type without parameters, in lower case.
    pub(crate) fn essence(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    /// Returns the content coding, if the body has one.
    pub(crate) fn compression(&self) -> Option<&str> {
        let coding = self.coding.as_deref().map(str::trim)?;
        let is_none = coding.is_empty() || coding.eq_ignore_ascii_case("identity");
        (!is_none).then_some(coding)
    }
}

/// How the body is divided into events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-sent events.
    Events,
    /// One JSON value on each line.
    Lines,
    /// Anything else: each read counts as an event.
    Other,
}

/// Something that arrived, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: i64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An event, with what it says if it is one of the probe.
    Event(Option<Stamp>),
    /// A comment: a heartbeat.
    Comment,
}

/// What an event of the probe says of itself. The time is that of the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) is_end: bool,
    pub(crate) number: u32,
    pub(crate) sent: i64,
}

/// What the first event of a probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// When the head was sent, by the server's clock.
    pub(crate) began: i64,
    pub(crate) instance: String,
    /// The version of HTTP in which the request reached the probe.
    pub(crate) version: String,
}

/// How a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The body ended properly.
    Complete,
    /// The connection broke.
    Broken(String),
    /// There was no response: the connection, TLS or the request failed.
    Failed(String),
    /// The doctor did not wait any longer.
    TimedOut,
    /// The doctor left, because it reads no more of one response.
    StillGoing,
    /// The doctor left, because the user wanted the report.
    Interrupted,
    /// The doctor left on purpose.
    Left,
}

impl End {
    /// Returns the end as one word.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken(_) => "broken",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::StillGoing => "still_going",
            Self::Interrupted => "interrupted",
            Self::Left => "left",
        }
    }
}

impl Observation {
    /// Returns the events of the probe that carry a number, without the end.
    pub(crate) fn stamped(&self) -> Vec<(i64, Stamp)> {
        let stamps = self
            .arrivals
            .iter()
            .filter_map(|arrival| match arrival.what {
                What::Event(Some(stamp)) if !stamp.is_end => Some((arrival.at, stamp)),
                What::Event(_) | What::Comment => None,
            });
        stamps.collect()
    }

    /// Returns when the events arrived, without the end of a probe.
    pub(crate) fn events(&self) -> Vec<i64> {
        let times = self
            .arrivals
            .iter()
            .filter_map(|arrival| match arrival.what {
                What::Event(Some(stamp)) if stamp.is_end => None,
                What::Event(_) => Some(arrival.at),
                What::Comment => None,
            });
        times.collect()
    }

    /// Returns how many comments arrived.
    pub(crate) fn comments(&self) -> usize {
        let all = self.arrivals.iter();
        all.filter(|arrival| arrival.what == What::Comment).count()
    }

    /// Returns how many comments arrived after the first event: heartbeats, and no preamble.
    pub(crate) fn heartbeats(&self) -> usize {
        let arrivals = self.arrivals.iter().map(|arrival| arrival.what);
        let from_first = arrivals.skip_while(|what| *what == What::Comment);
        from_first.filter(|what| *what == What::Comment).count()
    }

    /// Reports whether the probe's last words have arrived.
    pub(crate) fn is_whole(&self) -> bool {
        let is_end =
            |arrival: &Arrival| matches!(arrival.what, What::Event(Some(stamp)) if stamp.is_end);
        self.arrivals.iter().any(is_end)
    }

    /// Reports whether the doctor left while it could have gone on.
    pub(crate) const fn is_unfinished(&self) -> bool {
        matches!(self.end, End::StillGoing | End::Interrupted)
    }

    /// Returns when something last arrived: a part of the body, or else the head.
    pub(crate) fn last_sign(&self) -> i64 {
        let head = self.head.as_ref().map_or(self.asked, |head| head.at);
        self.arrivals.last().map_or(head, |arrival| arrival.at)
    }

    /// Reports whether it is a stream that came through Weir.
    pub(crate) fn is_weirs(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.is_weirs)
    }

    /// Returns the status, if there is a head.
    pub(crate) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }
}

/// Returns how many bursts these times make, where a gap of more than `apart` begins a new one.
pub(crate) fn bursts(times: &[i64], apart: i64) -> usize {
    let gaps = times.windows(2).filter(|pair| match pair {
        [before, after] => after - before > apart,
        _ => false,
    });
    usize::from(!times.is_empty()) + gaps.count()
}

/// Returns how many bursts these times make, where a burst lasts `window` at most: events that come apart, but quickly,
/// are bursts of their own.
pub(crate) fn bursts_within(times: &[i64], window: i64) -> usize {
    let mut count = 0;
    let mut since: Option<i64> = None;
    for at in times {
        if since.is_none_or(|since| at - since > window) {
            since = Some(*at);
            count += 1;
        }
    }
    count
}

/// Returns how many events arrived within `window` of the first one.
pub(crate) fn first_within(times: &[i64], window: i64) -> usize {
    let first = times.first().copied().unwrap_or_default();
    let near = times.iter().take_while(|at| **at - first <= window);
    near.count()
}

/// Returns how many events arrived together with the first one.
pub(crate) fn first_burst(times: &[i64], apart: i64) -> usize {
    let gaps = times.windows(2).take_while(|pair| match pair {
        [before, after] => after - before <= apart,
        _ => false,
    });
    usize::from(!times.is_empty()) + gaps.count()
}

/// Returns a time as text: `1.2 s` or `34 ms`.
pub(crate) fn span(micros: i64) -> String {
    let millis = (micros + 500) / 1_000;
    if millis.abs() < 1_000 {
        return format!("{millis} ms");
    }
    let tenths = (micros + 50_000) / 100_000;
    format!("{}.{} s", tenths / 10, (tenths % 10).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_people_say_them() {
        for (micros, text) in [
            (0, "0 ms"),
            (34_400, "34 ms"),
            (999_000, "999 ms"),
            (1_000_000, "1.0 s"),
            (5_049_000, "5.0 s"),
            (90_000_000, "90.0 s"),
        ] {
            assert_eq!(span(micros), text);
        }
    }

    #[test]
    fn a_gap_begins_a_burst() {
        assert_eq!(bursts(&[], 10), 0);
        assert_eq!(bursts(&[1], 10), 1);
        assert_eq!(bursts(&[1, 5, 11, 40, 41, 60], 10), 3);
        assert_eq!(first_burst(&[1, 5, 11, 40, 41, 60], 10), 3);
        assert_eq!(first_burst(&[], 10), 0);
        assert_eq!(bursts_within(&[], 10), 0);
        assert_eq!(bursts_within(&[1, 5, 11, 12, 22, 60], 10), 3);
        assert_eq!(first_within(&[1, 5, 11, 12, 22, 60], 10), 3);
        assert_eq!(first_within(&[], 10), 0);
    }
}
