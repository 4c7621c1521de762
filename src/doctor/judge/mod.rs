//! Finds what is wrong from what was observed. There is no I/O and no clock here.
//!
//! | file | what |
//! |---|---|
//! | `flow` | the timing of a probe stream: what arrived together, and how late |
//! | `probe`, `silence` | findings of the probe |
//! | `request`, `shape` | findings of the user's own request, whose events carry no times |

pub(super) mod flow;
pub(super) mod probe;
pub(super) mod request;
mod shape;
pub(super) mod silence;

use http::Version;

use super::finding::{Finding, Id};
use super::observation::{End, Observation, span};
use crate::probe::MAX_STREAMS;

/// What is wrong, and what could not be examined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) findings: Vec<Finding>,
    /// Why something was not examined.
    pub(crate) not_examined: Vec<String>,
    /// The response was too short to show when its events come.
    pub(crate) is_partial: bool,
}

impl Judged {
    fn find(&mut self, id: Id, evidence: impl Into<String>) {
        if !self.has(id) {
            self.findings.push(Finding::new(id, evidence));
        }
    }

    pub(crate) fn has(&self, id: Id) -> bool {
        self.findings.iter().any(|finding| finding.id == id)
    }
}

/// Finds why there is nothing to examine: no response, or an error. Returns whether there is.
fn answered(seen: &Observation, judged: &mut Judged) -> bool {
    let Some(head) = &seen.head else {
        match &seen.end {
            End::Failed(problem) | End::Broken(problem) => {
                judged.find(Id::Unreachable, problem.clone());
            }
            End::StillGoing | End::Interrupted => {
                let waited = span(seen.ended - seen.asked);
                let said = format!("the response, of which nothing had come after {waited}");
                judged.not_examined.push(said);
            }
            End::Complete | End::TimedOut | End::Left => {
                let waited = span(seen.ended - seen.asked);
                let said = format!("no head came within {waited}");
                judged.find(Id::HeadDelayed, said);
            }
        }
        return false;
    };
    if (200..300).contains(&head.status) {
        return true;
    }
    let means = match (head.status, &head.location) {
        (300..=399, Some(location)) => format!(", a redirect: give {location} instead"),
        (300..=399, None) => ", a redirect: give the URL that it leads to".to_owned(),
        (401 | 403, _) => ": credentials are missing or wrong".to_owned(),
        (404, _) => ": there is nothing at this path".to_owned(),
        (405, _) => ": the path takes another method".to_owned(),
        (429, _) => ": a rate limit".to_owned(),
        (503, _) => ": it takes no more requests, or nothing behind it answers".to_owned(),
        (502 | 504, _) => ": the hop did not get a response from what is behind it".to_owned(),
        (500.., _) => ": its log says why".to_owned(),
        _ => String::new(),
    };
    judged.find(
        Id::ErrorStatus,
        format!("the status is {}{means}", head.status),
    );
    false
}

/// Finds what the head of a response says.
fn of_head(seen: &Observation, judged: &mut Judged) {
    let Some(head) = &seen.head else {
        return;
    };
    if let Some(coding) = head.compression() {
        judged.find(
            Id::Compressed,
            format!("the response has Content-Encoding: {coding}"),
        );
    }
    if matches!(head.version, Version::HTTP_09 | Version::HTTP_10) {
        judged.find(
            Id::Http10,
            "the response is HTTP/1.0, whose end is the end of the connection: a stream that was cut looks complete",
        );
    }
}

/// Says that a further stream of the probe was refused.
pub(super) fn refused(status: u16) -> String {
    if status == 503 {
        return format!(
            "another stream got the status 503: the probe serves {MAX_STREAMS} at once, and others may be using it"
        );
    }
    format!("another stream got the status {status}")
}

/// Returns how a stream ended, in brackets, if there is anything to say.
fn why(end: &End) -> String {
    match end {
        End::Broken(error) | End::Failed(error) => format!(" ({error})"),
        End::Complete => " (it looked complete)".to_owned(),
        End::TimedOut | End::StillGoing | End::Interrupted | End::Left => String::new(),
    }
}

/// Reports whether the second of two requests was answered only when the first was over, although that one was answered
/// at once.
fn waited_for(first: &Observation, second: &Observation) -> bool {
    let (Some(early), Some(late)) = (&first.head, &second.head) else {
        return false;
    };
    let lasted = first.ended - first.asked;
    let at_once = (early.at - first.asked) * 3 < lasted;
    let waited = late.at - second.asked;
    at_once
        && lasted > 700_000
        && second.asked < first.ended
        && late.at + 20_000 >= first.ended
        && waited * 2 > lasted
}

/// Finds that requests are served one after the other.
fn together(first: &Observation, second: &Observation, judged: &mut Judged) {
    let waits = |first: &Observation, second: &Observation| {
        waited_for(first, second).then(|| {
            let head = second.head.as_ref().map_or(second.ended, |head| head.at);
            span(head - second.asked)
        })
    };
    if let Some(waited) = waits(first, second).or_else(|| waits(second, first)) {
        judged.find(
            Id::OneAtATime,
            format!("of two requests at once, one got its head only when the other was over, after {waited}"),
        );
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Observations for tests.

    use super::super::ending::Ending;
    use super::super::observation::{Arrival, Facts, Form, Head, Stamp, What};
    use super::*;

    /// The head of a stream that arrived `at`.
    pub(in crate::doctor) fn head(at: i64) -> Head {
        Head {
            at,
            status: 200,
            version: Version::HTTP_11,
            kind: Some("text/event-stream".to_owned()),
            coding: None,
            server: None,
            via: None,
            location: None,
            is_probe: true,
            is_weirs: false,
        }
    }

    /// A stream whose events arrived at these times.
    pub(in crate::doctor) fn stream(head_at: i64, events: &[i64], ended: i64) -> Observation {
        let arrival = |at: &i64| Arrival {
            at: *at,
            what: What::Event(None),
        };
        Observation {
            connect: 1_000,
            asked: 0,
            head: Some(head(head_at)),
            form: Form::Events,
            arrivals: events.iter().map(arrival).collect(),
            facts: None,
            ending: Ending::Open,
            bytes: 1,
            end: End::Complete,
            ended,
        }
    }

    /// Adds comments that arrived at these times.
    pub(in crate::doctor) fn with_comments(mut seen: Observation, times: &[i64]) -> Observation {
        let comment = |at: &i64| Arrival {
            at: *at,
            what: What::Comment,
        };
        seen.arrivals.extend(times.iter().map(comment));
        seen
    }

    /// A probe stream, with the times at which its events were sent and arrived, by the same clock.
    pub(in crate::doctor) fn probe(head_at: i64, events: &[(i64, i64)]) -> Observation {
        let mut arrivals: Vec<Arrival> = (1u32..)
            .zip(events)
            .map(|(number, (sent, at))| Arrival {
                at: *at,
                what: What::Event(Some(Stamp {
                    is_end: false,
                    number,
                    sent: *sent,
                })),
            })
            .collect();
        let (sent, at) = *events.last().unwrap();
        let end = Stamp {
            is_end: true,
            number: 0,
            sent,
        };
        arrivals.push(Arrival {
            at,
            what: What::Event(Some(end)),
        });
        Observation {
            facts: Some(Facts {
                began: 0,
                instance: "i".to_owned(),
                version: "HTTP/1.1".to_owned(),
            }),
            arrivals,
            ..stream(head_at, &[], at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::stream;
    use super::*;

    #[test]
    fn one_at_a_time_is_seen_from_the_second_head() {
        let first = stream(10_000, &[20_000], 2_000_000);
        let mut second = stream(2_010_000, &[2_020_000], 2_030_000);
        second.asked = 150_000;
        assert!(waited_for(&first, &second));
        second.head.as_mut().unwrap().at = 160_000;
        assert!(!waited_for(&first, &second));
        // Both are buffered: their heads come late for another reason.
        let first = stream(2_000_000, &[2_000_000], 2_000_000);
        let mut second = stream(2_150_000, &[2_150_000], 2_150_000);
        second.asked = 150_000;
        assert!(!waited_for(&first, &second));
    }

    #[test]
    fn an_error_says_what_to_do() {
        for (status, location, said) in [
            (301, Some("https://a/x"), "give https://a/x instead"),
            (302, None, "a redirect"),
            (401, None, "credentials"),
            (500, None, "log"),
            (503, None, "no more requests"),
            (504, None, "behind it"),
        ] {
            let mut seen = stream(0, &[], 1_000);
            let head = seen.head.as_mut().unwrap();
            head.status = status;
            head.location = location.map(str::to_owned);
            let mut judged = Judged::default();
            assert!(!answered(&seen, &mut judged));
            let [finding] = &judged.findings[..] else {
                panic!("{:?}", judged.findings)
            };
            assert_eq!(finding.id, Id::ErrorStatus);
            assert!(finding.evidence.contains(said), "{}", finding.evidence);
        }
    }

    #[test]
    fn a_probe_that_is_busy_is_called_so() {
        assert!(refused(503).contains("4 at once"));
        assert_eq!(refused(401), "another stream got the status 401");
    }

    #[test]
    fn what_does_not_answer_has_one_finding() {
        let mut seen = stream(0, &[], 5_000_000);
        seen.head = None;
        seen.end = End::Failed("cannot connect: refused".to_owned());
        let mut judged = Judged::default();
        assert!(!answered(&seen, &mut judged));
        assert!(judged.has(Id::Unreachable));
        seen.end = End::TimedOut;
        let mut judged = Judged::default();
        assert!(!answered(&seen, &mut judged));
        assert!(judged.has(Id::HeadDelayed));
    }
}
