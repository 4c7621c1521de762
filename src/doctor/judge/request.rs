//! Findings of the user's own request. Its events do not say when they were sent, so each hop is compared with the hop
//! before it. At the first hop there is nothing to compare with, so only clear faults are findings there.

use super::super::finding::Id;
use super::super::observation::{End, Form, Head, Observation, first_within, span};
use super::shape::{FEW, SHORT, Shape, TOGETHER, is_collected};
use super::{Judged, answered, of_head, together};

/// An event that arrives so soon after the head comes with it.
const WITH_HEAD: i64 = 40_000;
/// The mean time between bursts from which on people see them. A busy machine reads events together, but sooner.
const SEEN: i64 = 50_000;
/// A silence before a cut that is longer than this is its cause.
const SILENT: i64 = 1_000_000;

/// What was observed of a request at one URL.
#[derive(Clone, Debug)]
pub(crate) struct Requested {
    pub(crate) main: Observation,
    /// A second request at the same time, of which only the head counts.
    pub(crate) second: Option<Observation>,
}

/// Returns the findings of a request. `before` is what was observed of the same request at the hop before.
pub(crate) fn judge(seen: &Requested, before: Option<&Observation>) -> Judged {
    let mut judged = Judged::default();
    let main = &seen.main;
    if !answered(main, &mut judged) {
        return judged;
    }
    let before = before.filter(|before| before.status().is_some_and(|code| code < 300));
    of_head(main, &mut judged);
    if has_no_event(main) {
        if let Some(count) = before
            .map(|before| before.events().len())
            .filter(|count| *count > 0)
        {
            judged.find(
                Id::Cut,
                format!(
                    "the response ended after {} without an event; at the URL before {count} came",
                    span(main.ended - main.asked)
                ),
            );
            return judged;
        }
        judged.find(
            Id::NotAStream,
            format!(
                "the response ended after {} without an event",
                span(main.ended - main.asked)
            ),
        );
        return judged;
    }
    if is_no_stream(main, before) {
        let kind = main.head.as_ref().map(Head::essence);
        let kind = kind.filter(|kind| !kind.is_empty());
        judged.find(
            Id::NotAStream,
            format!("the response is one {}", kind.as_deref().unwrap_or("piece")),
        );
        return judged;
    }
    // Weir replaces the comments of agents by heartbeats of its own, and translates streams where it is told to.
    let alike = before.filter(|before| before.is_weirs() || !main.is_weirs());
    content_type(main, alike, &mut judged);
    timing(main, before, &mut judged);
    too_short(main, &mut judged);
    cut(main, &mut judged);
    if let Some(before) = alike.filter(|before| before.comments() >= 2)
        && main.comments() == 0
    {
        judged.find(
            Id::HeartbeatsStripped,
            format!(
                "no comment arrived, but {} at the URL before",
                before.comments()
            ),
        );
    }
    match &seen.second {
        Some(second) => together(main, second, &mut judged),
        None => judged
            .not_examined
            .push("two requests at once (--together)".to_owned()),
    }
    judged
        .not_examined
        .push("clients that leave (only the probe shows that)".to_owned());
    judged
}

/// Reports whether the response is complete and says nothing.
fn has_no_event(seen: &Observation) -> bool {
    // The last line may lack its end.
    let is_empty = seen.bytes == 0 || seen.form == Form::Events;
    seen.end == End::Complete && is_empty && seen.events().is_empty()
}

/// Reports whether the response is one document.
fn is_no_stream(seen: &Observation, before: Option<&Observation>) -> bool {
    let essence = seen.head.as_ref().map(Head::essence);
    let is_document = matches!(
        essence.as_deref(),
        Some("application/json" | "text/html" | "application/problem+json" | "")
    );
    let events = seen.events();
    let is_one = || match (events.first(), events.last()) {
        (Some(first), Some(last)) => last - first < 50_000,
        _ => true,
    };
    // Bytes of any other type that come in one piece, unless they are compressed, or were a stream at the hop before.
    let is_packed = seen
        .head
        .as_ref()
        .is_some_and(|head| head.compression().is_some());
    let was_stream = before.is_some_and(|before| before.events().len() >= FEW);
    seen.form == Form::Other
        && seen.end == End::Complete
        && events.len() <= 3
        && (is_document || (is_one() && !is_packed && !was_stream))
}

/// Says so if a response is too short to show when its events come.
fn too_short(seen: &Observation, judged: &mut Judged) {
    let count = seen.events().len();
    let lasted = seen.ended - seen.asked;
    if count >= FEW && lasted >= SHORT {
        return;
    }
    let events = if count == 1 { "event" } else { "events" };
    judged.not_examined.push(format!(
        "times, because the response has {count} {events} within {}: ask for a longer one, of {FEW} events and {} at least",
        span(lasted),
        span(SHORT)
    ));
    judged.is_partial = true;
}

fn content_type(seen: &Observation, before: Option<&Observation>, judged: &mut Judged) {
    let Some(head) = &seen.head else { return };
    let now = head.essence();
    let was = before
        .and_then(|before| before.head.as_ref())
        .map(Head::essence);
    match was {
        Some(was) if was != now => judged.find(
            Id::ContentTypeRewritten,
            format!("{} has become {}", named(&was), named(&now)),
        ),
        None if seen.form == Form::Events && now != "text/event-stream" => judged.find(
            Id::ContentTypeRewritten,
            format!(
                "the body has the form of server-sent events, but the type {}",
                named(&now)
            ),
        ),
        _ => {}
    }
}

fn named(essence: &str) -> &str {
    if essence.is_empty() {
        "nothing"
    } else {
        essence
    }
}

fn timing(seen: &Observation, before: Option<&Observation>, judged: &mut Judged) {
    let Some(now) = Shape::of(seen) else {
        return;
    };
    let was = before.and_then(Shape::of);
    if let Some(was) = &was
        && is_collected(seen, &now, was)
    {
        judged.find(
            Id::Buffered,
            format!(
                "all of the body arrived at once, {} after the request; at the URL before it came in {} pieces",
                span(now.first),
                was.count
            ),
        );
        return;
    }
    if now.is_one_piece() {
        let than = match &was {
            Some(was) if !was.is_one_piece() => {
                format!("; at the URL before they came in {} bursts", was.bursts)
            }
            Some(_) => String::new(),
            None => "; the agent itself may have written them so: give its URL first to compare"
                .to_owned(),
        };
        judged.find(
            Id::Buffered,
            format!(
                "all {} events arrived within {}, {} after the request{than}",
                now.count,
                span(now.last - now.first),
                span(now.first)
            ),
        );
        return;
    }
    let first_burst = first_within(&seen.events(), TOGETHER);
    let rest = now.count.saturating_sub(first_burst);
    let rest_flows = rest >= 3 && rest < 2 * now.bursts.max(1);
    if now.head > SILENT && now.first - now.head < WITH_HEAD && first_burst >= 4 && rest_flows {
        judged.find(
            Id::HeadDelayed,
            format!(
                "the head and {first_burst} events arrived together, {} after the request; later events flowed",
                span(now.head)
            ),
        );
        return;
    }
    let dense = match &was {
        // Almost twice as many in a burst: a hop that waits a little for more makes pairs at least.
        Some(was) => now.density() >= (was.density() * 9 / 5).max(18),
        None => now.density() >= 40,
    };
    let is_seen = now.bursts >= 2 && now.apart() >= SEEN && now.last > SHORT;
    if now.count >= 10 && is_seen && dense {
        let than = match &was {
            Some(was) => format!("; at the URL before they came in {} bursts", was.bursts),
            None => "; the agent itself may have written them so".to_owned(),
        };
        judged.find(
            Id::Coalesced,
            format!(
                "{} events arrived in {} bursts within {}{than}",
                now.count,
                now.bursts,
                span(now.last - now.first)
            ),
        );
    }
    if let Some(was) = was {
        let waited = was.first - was.head;
        if waited > 500_000 && (now.first - now.head) * 5 < waited && now.head > 500_000 {
            judged.find(
                Id::HeadDelayed,
                format!(
                    "the head arrived with the first event, {} after the request; at the URL before it came {} earlier than that",
                    span(now.head),
                    span(waited)
                ),
            );
        }
    }
}

/// Finds that the stream broke, or that the doctor gave up.
fn cut(seen: &Observation, judged: &mut Judged) {
    let silent = seen.ended - seen.last_sign();
    let lasted = span(seen.ended - seen.asked);
    match &seen.end {
        End::Broken(error) if silent > SILENT => judged.find(
            Id::IdleCut,
            format!("the stream broke after {} of silence ({error})", span(silent)),
        ),
        End::Broken(error) => judged.find(
            Id::Cut,
            format!("the stream broke {lasted} after the request, while events came ({error})"),
        ),
        End::TimedOut => judged.not_examined.push(format!(
            "the end: the stream was silent for {}, which is as long as --idle waits, or lasted too long",
            span(silent)
        )),
        End::Complete | End::Failed(_) | End::Left => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{stream, with_comments};
    use super::*;

    const MS: i64 = 1_000;

    fn ids(main: Observation, before: Option<&Observation>) -> Vec<Id> {
        let seen = Requested { main, second: None };
        let judged = judge(&seen, before);
        judged.findings.iter().map(|finding| finding.id).collect()
    }

    /// An event every 100 ms, from 1 s on.
    fn flowing() -> Observation {
        let events: Vec<i64> = (0..20).map(|number| (1_000 + 100 * number) * MS).collect();
        stream(10 * MS, &events, 3_000 * MS)
    }

    fn in_one_piece() -> Observation {
        stream(3_000 * MS, &[3_000 * MS; 20], 3_000 * MS)
    }

    #[test]
    fn a_stream_that_flows_has_no_finding() {
        assert_eq!(ids(flowing(), None), []);
        assert_eq!(ids(flowing(), Some(&flowing())), []);
        // A fast model, whose tokens come in pairs.
        let fast: Vec<i64> = (0..100)
            .map(|number| (300 + number / 2 * 25) * MS)
            .collect();
        assert_eq!(ids(stream(300 * MS, &fast, 2_000 * MS), None), []);
        // A fast model that pauses, for a tool.
        let pauses: Vec<i64> = (0..180)
            .map(|number| (8 * number + number / 60 * 600) * MS)
            .collect();
        let pausing = stream(MS, &pauses, 3_000 * MS);
        assert_eq!(ids(pausing.clone(), None), []);
        assert_eq!(ids(pausing.clone(), Some(&pausing)), []);
        // The head comes with the first token, and the first tokens come quickly.
        let eager: Vec<i64> = (0..60)
            .map(|number: i64| (1_500 + 5 * number.min(8) + 26 * (number - 8).max(0)) * MS)
            .collect();
        assert_eq!(ids(stream(1_500 * MS, &eager, 3_000 * MS), None), []);
        // A busy machine reads tokens of a fast model together.
        let read: Vec<i64> = (0..400).map(|number| number / 4 * 10 * MS).collect();
        let written: Vec<i64> = (0..400).map(|number| number * 5 / 2 * MS).collect();
        let (read, written) = (
            stream(MS, &read, 1_000 * MS),
            stream(MS, &written, 1_000 * MS),
        );
        assert_eq!(ids(read, Some(&written)), []);
        // A short answer.
        assert_eq!(ids(stream(200 * MS, &[200 * MS; 20], 200 * MS), None), []);
    }

    #[test]
    fn a_response_in_one_piece_is_buffered() {
        assert_eq!(ids(in_one_piece(), None), [Id::Buffered]);
        assert_eq!(ids(in_one_piece(), Some(&flowing())), [Id::Buffered]);
    }

    #[test]
    fn bursts_are_coalesced() {
        let events: Vec<i64> = (0..20)
            .map(|number| (1_000 + number / 7 * 700) * MS)
            .collect();
        let seen = stream(10 * MS, &events, 3_000 * MS);
        assert_eq!(ids(seen.clone(), Some(&flowing())), [Id::Coalesced]);
        assert_eq!(ids(seen, None), [Id::Coalesced]);
        // A hop that waits 0.1 s for more makes pairs.
        let quick: Vec<i64> = (0..30).map(|number| 50 * number * MS).collect();
        let pairs: Vec<i64> = (0..30).map(|number| (number / 2 + 1) * 100 * MS).collect();
        let pairs = stream(100 * MS, &pairs, 1_600 * MS);
        let quick = stream(MS, &quick, 1_500 * MS);
        assert_eq!(ids(pairs.clone(), Some(&quick)), [Id::Coalesced]);
        assert_eq!(ids(pairs, None), [], "an agent may write so");
    }

    #[test]
    fn what_is_too_short_to_show_something_is_not_called_well() {
        let partial = |events: &[i64], ended: i64| {
            let seen = Requested {
                main: stream(MS, events, ended),
                second: None,
            };
            let judged = judge(&seen, None);
            assert!(judged.findings.is_empty(), "{:?}", judged.findings);
            assert_eq!(judged.is_partial, judged.not_examined.len() == 3);
            judged.is_partial
        };
        assert!(partial(&[1_000 * MS], 2_000 * MS));
        assert!(partial(&[MS; 50], 2 * MS));
        assert!(!partial(
            &[100 * MS, 500 * MS, 900 * MS, 1_300 * MS, 1_700 * MS],
            1_700 * MS
        ));
        let empty = stream(MS, &[], 2_000 * MS);
        assert_eq!(ids(empty.clone(), None), [Id::NotAStream]);
        assert_eq!(ids(empty, Some(&flowing())), [Id::Cut]);
    }

    #[test]
    fn a_body_of_another_type_that_comes_at_once_is_no_stream_or_buffered() {
        let typed = |events: &[i64], ended: i64| {
            let mut seen = stream(MS, events, ended);
            seen.form = Form::Other;
            seen.head.as_mut().unwrap().kind = Some("text/plain".to_owned());
            seen
        };
        let words: Vec<i64> = (0..20).map(|number| 100 * number * MS).collect();
        let words = typed(&words, 2_000 * MS);
        assert_eq!(ids(words.clone(), None), []);
        let late = typed(&[2_000 * MS], 2_000 * MS);
        assert_eq!(ids(late, Some(&words)), [Id::Buffered]);
        assert_eq!(ids(typed(&[MS], MS), None), [Id::NotAStream]);
    }

    #[test]
    fn a_head_that_waits_for_events_is_delayed() {
        let mut late = flowing();
        late.head.as_mut().unwrap().at = 1_000 * MS;
        assert_eq!(ids(late.clone(), Some(&flowing())), [Id::HeadDelayed]);
        assert_eq!(ids(late, None), [], "an agent may do that");
        let events: Vec<i64> = (0..20)
            .map(|number| (1_000 + 100 * number).max(2_000) * MS)
            .collect();
        let held = stream(2_000 * MS, &events, 3_000 * MS);
        assert_eq!(ids(held, None), [Id::HeadDelayed]);
    }

    #[test]
    fn a_cut_in_silence_differs_from_a_cut_amid_events() {
        let mut broken = flowing();
        broken.end = End::Broken("reset".to_owned());
        broken.ended = 2_905 * MS;
        assert_eq!(ids(broken.clone(), None), [Id::Cut]);
        broken.ended = 7_900 * MS;
        assert_eq!(ids(broken, None), [Id::IdleCut]);
    }

    #[test]
    fn what_a_hop_removes_or_changes_is_found() {
        let mut typed = flowing();
        typed.head.as_mut().unwrap().kind = Some("text/plain".to_owned());
        assert_eq!(
            ids(typed.clone(), Some(&flowing())),
            [Id::ContentTypeRewritten]
        );
        assert_eq!(ids(typed.clone(), None), [Id::ContentTypeRewritten]);
        assert_eq!(ids(typed.clone(), Some(&typed)), []);
        let mut beating = with_comments(flowing(), &[2_950 * MS, 2_960 * MS]);
        assert_eq!(ids(flowing(), Some(&beating)), [Id::HeartbeatsStripped]);
        // Weir has heartbeats of its own, and what is behind it must pass them on.
        let mut of_weir = flowing();
        of_weir.head.as_mut().unwrap().is_weirs = true;
        assert_eq!(ids(of_weir.clone(), Some(&beating)), []);
        beating.head.as_mut().unwrap().is_weirs = true;
        assert_eq!(ids(of_weir, Some(&beating)), [Id::HeartbeatsStripped]);
        let mut whole = stream(MS, &[MS], 900 * MS);
        whole.form = Form::Other;
        whole.head.as_mut().unwrap().kind = Some("application/json".to_owned());
        assert_eq!(ids(whole, None), [Id::NotAStream]);
    }
}
