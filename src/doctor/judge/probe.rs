//! Findings of the probe.

use super::super::finding::Id;
use super::super::observation::{End, INTERRUPTED, Observation, span};
use super::super::offset::Offset;
use super::silence::Silence;
use super::{Judged, answered, flow, of_head, silence, why};
use crate::probe::Settings;

/// What was observed of the probe's streams at one URL.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) plan: Settings,
    pub(crate) main: Observation,
    /// `None` if the probe's clock could not be asked.
    pub(crate) offset: Option<Offset>,
    /// A stream whose events are closer together.
    pub(crate) quick: Option<Observation>,
    pub(crate) silence: Option<Silence>,
    pub(crate) leave: Option<Leave>,
}

/// What the probe says about a client that has left in a silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The probe noticed within the silence, after this time.
    Noticed(i64),
    /// The probe noticed only when it sent the next event, after this time.
    AtNextEvent(i64),
    /// The probe did not notice: it sent the rest of the stream.
    Never,
    /// The probe could not be asked.
    Unknown(String),
}

/// Returns the findings of the probe's streams.
pub(crate) fn judge(probed: &Probed) -> Judged {
    let mut judged = Judged::default();
    if !begun(&probed.main, &mut judged) {
        return judged;
    }
    of_head(&probed.main, &mut judged);
    content_type(&probed.main, &mut judged);
    if let Some(facts) = &probed.main.facts
        && facts.version == "HTTP/1.0"
    {
        judged.find(
            Id::Http10,
            "the request reached Weir as HTTP/1.0, where the end of a stream is the end of its connection: a stream that was cut looks complete",
        );
    }
    match probed.offset {
        Some(offset) => timing(probed, offset, &mut judged),
        None => {
            let why = if probed.main.end == End::Interrupted {
                INTERRUPTED
            } else {
                "the probe's clock could not be asked"
            };
            judged.not_examined.push(format!("times, because {why}"));
        }
    }
    whole(&probed.main, &probed.plan, &mut judged);
    match &probed.silence {
        Some(silence) => silence::judge(silence, &mut judged),
        None => judged.not_examined.push("silence".to_owned()),
    }
    match &probed.leave {
        Some(leave) => left(leave, &mut judged),
        None => judged.not_examined.push("clients that leave".to_owned()),
    }
    judged
}

/// Reports whether a probe answers at all. Adds a finding if none does.
fn begun(main: &Observation, judged: &mut Judged) -> bool {
    let is_probe = main.head.as_ref().is_some_and(|head| head.is_probe);
    let status = main.status();
    if !is_probe
        && main.facts.is_none()
        && matches!(status, Some(200 | 204 | 404 | 405 | 410 | 422 | 501))
    {
        let status = status.unwrap_or_default();
        judged.find(
            Id::NoProbe,
            format!(
                "{} answers {status}, without the probe of Weir",
                crate::probe::PATH
            ),
        );
        return false;
    }
    let is_answered = answered(main, judged);
    if !is_probe && matches!(status, Some(400 | 401 | 403 | 500 | 502 | 504)) {
        // Without the probe, Weir forwards the path to the agent.
        for finding in &mut judged.findings {
            let said = "; it was not the probe that answered, which may be off (`probe: true`)";
            finding.evidence.push_str(said);
        }
    }
    is_answered
}

fn content_type(main: &Observation, judged: &mut Judged) {
    let Some(head) = &main.head else { return };
    if head.essence() == "text/event-stream" {
        return;
    }
    let now = head.kind.as_deref().unwrap_or("nothing");
    judged.find(
        Id::ContentTypeRewritten,
        format!("text/event-stream has become {now}"),
    );
}

/// Finds what happened to the times of the main stream.
pub(crate) fn timing(probed: &Probed, offset: Offset, judged: &mut Judged) {
    let longer = probed.silence.iter().flat_map(|it| [&it.beats, &it.idle]);
    let held = longer
        .filter_map(|seen| flow::holds_only_the_head(seen, offset))
        .max();
    let mut found = Judged::default();
    flow::judge(&probed.main, offset, &mut found);
    if let Some(held) = held
        && found.has(Id::Buffered)
    {
        judged.find(
            Id::HeadDelayed,
            format!(
                "the head arrived {} after it was sent, with events that had waited for it; later events flowed",
                span(held)
            ),
        );
        return;
    }
    if let Some(quick) = &probed.quick
        && found.findings.is_empty()
    {
        flow::quick(quick, offset, &mut found);
    }
    for finding in found.findings {
        judged.find(finding.id, finding.evidence);
    }
}

/// Finds that a stream without a silence was cut.
fn whole(main: &Observation, plan: &Settings, judged: &mut Judged) {
    if main.is_whole() {
        return;
    }
    let came = main.stamped().len();
    let of = plan.events;
    let lasted = span(main.ended - main.asked);
    match &main.end {
        End::Interrupted => judged.not_examined.push(format!(
            "the end: {INTERRUPTED} when {came} of {of} events had arrived, after {lasted}"
        )),
        End::TimedOut | End::StillGoing => judged.find(
            Id::Buffered,
            format!("{came} of {of} events have arrived after {lasted}, although all were sent long before"),
        ),
        end => judged.find(
            Id::Cut,
            format!("{came} of {of} events arrived before the stream ended after {lasted}{}", why(end)),
        ),
    }
}

fn left(leave: &Leave, judged: &mut Judged) {
    match leave {
        Leave::Noticed(_) => {}
        Leave::AtNextEvent(after) => judged.find(
            Id::ClientLeftIgnored,
            format!(
                "the client left in a silence, and Weir noticed it {} later, only when the next event was sent",
                span(*after)
            ),
        ),
        Leave::Never => judged.find(
            Id::ClientLeftIgnored,
            "the client left, and Weir sent the rest of the stream to nobody",
        ),
        Leave::Unknown(why) => judged
            .not_examined
            .push(format!("clients that leave, because {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Version;

    use super::super::super::observation::{Arrival, What};
    use super::super::super::offset::estimate;
    use super::super::testing::probe;
    use super::*;
    use crate::session::stream_id::StreamId;

    const MS: i64 = 1_000;

    fn plan() -> Settings {
        Settings {
            wait: Duration::from_millis(800),
            ..Settings::new(StreamId::random())
        }
    }

    fn main() -> Observation {
        let sent = (0..20).map(|number| (800 + 100 * number) * MS);
        let events: Vec<_> = sent.map(|sent| (sent, sent + MS)).collect();
        probe(2 * MS, &events)
    }

    fn silence() -> Silence {
        let idle_plan = Settings {
            events: 2,
            silence: Duration::from_secs(7),
            ..Settings::new(StreamId::random())
        };
        let beats_plan = Settings {
            heartbeat: Some(Duration::from_millis(1_400)),
            ..idle_plan
        };
        let idle = probe(
            2 * MS,
            &[(0, MS), (100 * MS, 101 * MS), (7_100 * MS, 7_101 * MS)],
        );
        let mut beats = idle.clone();
        for beat in 1..=4 {
            beats.arrivals.insert(
                2,
                Arrival {
                    at: 100 * MS + (5 - beat) * 1_400 * MS,
                    what: What::Comment,
                },
            );
        }
        Silence {
            idle_plan,
            idle,
            beats_plan,
            beats,
        }
    }

    fn probed() -> Probed {
        Probed {
            plan: plan(),
            main: main(),
            offset: estimate(&[(0, 0)], &[(0, 0)], 0),
            quick: None,
            silence: Some(silence()),
            leave: Some(Leave::Noticed(3 * MS)),
        }
    }

    fn ids(change: impl Fn(&mut Probed)) -> Vec<Id> {
        let mut probed = probed();
        change(&mut probed);
        let judged = judge(&probed);
        judged.findings.iter().map(|finding| finding.id).collect()
    }

    /// Cuts a stream at this time.
    fn cut(seen: &mut Observation, at: i64) {
        seen.arrivals.retain(|arrival| arrival.at <= at);
        seen.end = End::Broken("reset".to_owned());
        seen.ended = at;
    }

    fn with(probed: &mut Probed, change: impl Fn(&mut Silence)) {
        if let Some(silence) = &mut probed.silence {
            change(silence);
        }
    }

    #[test]
    fn a_hop_that_does_nothing_has_no_finding() {
        assert_eq!(ids(|_| {}), []);
        let judged = judge(&probed());
        assert!(judged.not_examined.is_empty(), "{:?}", judged.not_examined);
    }

    #[test]
    fn the_head_shows_compression_type_and_version() {
        let changed = |change: fn(&mut super::super::super::observation::Head)| {
            ids(|probed| change(probed.main.head.as_mut().unwrap()))
        };
        assert_eq!(
            changed(|head| head.coding = Some("gzip".to_owned())),
            [Id::Compressed]
        );
        assert_eq!(
            changed(|head| head.coding = Some("identity".to_owned())),
            []
        );
        assert_eq!(
            changed(|head| head.version = Version::HTTP_10),
            [Id::Http10]
        );
        assert_eq!(
            changed(|head| head.kind = Some("text/plain".to_owned())),
            [Id::ContentTypeRewritten]
        );
        assert_eq!(
            changed(|head| head.kind = Some("Text/Event-Stream; charset=utf-8".to_owned())),
            []
        );
        assert_eq!(changed(|head| head.status = 401), [Id::ErrorStatus]);
        let to_weir = |probed: &mut Probed| {
            probed.main.facts.as_mut().unwrap().version = "HTTP/1.0".to_owned();
        };
        assert_eq!(ids(to_weir), [Id::Http10]);
        let none = |probed: &mut Probed| {
            let head = probed.main.head.as_mut().unwrap();
            head.is_probe = false;
            head.status = 404;
            probed.main.facts = None;
        };
        assert_eq!(ids(none), [Id::NoProbe]);
    }

    #[test]
    fn an_error_of_an_agent_says_that_the_probe_may_be_off() {
        let mut seen = main();
        let head = seen.head.as_mut().unwrap();
        (head.is_probe, head.status) = (false, 401);
        seen.facts = None;
        let mut judged = Judged::default();
        assert!(!begun(&seen, &mut judged));
        let evidence = &judged.findings[0].evidence;
        assert!(evidence.contains("`probe: true`"), "{evidence}");
    }

    #[test]
    fn a_quick_stream_counts_if_the_slow_one_is_well() {
        let bursts = |probed: &mut Probed| {
            let events: Vec<_> = (0..20)
                .map(|number| (40 * MS * number, (number / 4 + 1) * 160 * MS))
                .collect();
            probed.quick = Some(probe(2 * MS, &events));
        };
        assert_eq!(ids(bursts), [Id::Coalesced]);
        let and_late = |probed: &mut Probed| {
            bursts(probed);
            let sent = (0..20).map(|number| (800 + 100 * number) * MS);
            let events: Vec<_> = sent.map(|sent| (sent, sent + 200 * MS)).collect();
            probed.main = probe(2 * MS, &events);
        };
        assert_eq!(ids(and_late), [Id::EventsDelayed]);
    }

    #[test]
    fn silence_is_cut_with_or_without_heartbeats() {
        let idle = |probed: &mut Probed| with(probed, |it| cut(&mut it.idle, 5_101 * MS));
        assert_eq!(ids(idle), [Id::IdleCut]);
        let both = |probed: &mut Probed| {
            with(probed, |it| {
                cut(&mut it.idle, 5_101 * MS);
                cut(&mut it.beats, 5_101 * MS);
            });
        };
        assert_eq!(ids(both), [Id::Cut], "a limit for the whole response");
        let seldom = |probed: &mut Probed| {
            both(probed);
            with(probed, |it| {
                it.beats_plan.heartbeat = Some(Duration::from_secs(15));
                it.beats
                    .arrivals
                    .retain(|arrival| arrival.what != What::Comment);
            });
        };
        assert_eq!(ids(seldom), [Id::IdleCut], "before the first heartbeat");
        let stripped = |probed: &mut Probed| {
            with(probed, |it| {
                it.beats
                    .arrivals
                    .retain(|arrival| arrival.what != What::Comment);
            });
        };
        assert_eq!(ids(stripped), [Id::HeartbeatsStripped]);
        let all = |probed: &mut Probed| {
            stripped(probed);
            both(probed);
        };
        assert_eq!(ids(all), [Id::IdleCut, Id::HeartbeatsStripped]);
    }

    #[test]
    fn a_client_that_left_must_be_noticed_at_once() {
        for leave in [Leave::Never, Leave::AtNextEvent(4_000 * MS)] {
            let found = ids(|probed| probed.leave = Some(leave.clone()));
            assert_eq!(found, [Id::ClientLeftIgnored], "{leave:?}");
        }
        let unknown = Leave::Unknown("x".to_owned());
        assert_eq!(ids(|probed| probed.leave = Some(unknown.clone())), []);
    }

    #[test]
    fn a_held_head_is_told_from_buffering_by_the_longer_stream() {
        let held = |probed: &mut Probed| {
            let sent = (0..20).map(|number| (800 + 100 * number) * MS);
            let events: Vec<_> = sent.map(|sent| (sent, 5_000 * MS)).collect();
            probed.main = probe(5_000 * MS, &events);
        };
        assert_eq!(ids(held), [Id::Buffered]);
        let longer = |probed: &mut Probed| {
            held(probed);
            with(probed, |it| {
                it.idle.head.as_mut().unwrap().at = 5_000 * MS;
            });
        };
        assert_eq!(ids(longer), [Id::HeadDelayed]);
    }
}
