//! Findings of the user's own request. Its events do not say when they were sent, so each hop is compared with the hop
//! before it. At the first hop there is nothing to compare with, so only clear faults are findings there.

use super::super::finding::Id;
use super::super::observation::{End, Form, Head, Observation, bursts, first_burst, span};
use super::{Judged, answered, of_head, together};

/// A stream that is shorter than this shows nothing.
const SHORT: i64 = 700_000;
/// Events that arrive within this time arrive together.
const TOGETHER: i64 = 20_000;
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
    if is_no_stream(main) {
        let kind = main.head.as_ref().map(Head::essence);
        let kind = kind.filter(|kind| !kind.is_empty());
        judged.find(
            Id::NotAStream,
            format!(
                "the response is one {}: does the request ask for a stream?",
                kind.as_deref().unwrap_or("piece")
            ),
        );
        return judged;
    }
    content_type(main, before, &mut judged);
    timing(main, before, &mut judged);
    cut(main, &mut judged);
    if let Some(before) = before.filter(|before| before.comments() >= 2)
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

fn is_no_stream(seen: &Observation) -> bool {
    let essence = seen.head.as_ref().map(Head::essence);
    let whole = matches!(
        essence.as_deref(),
        Some("application/json" | "text/html" | "application/problem+json" | "")
    );
    seen.form == Form::Other && whole && seen.end == End::Complete && seen.arrivals.len() <= 3
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

/// The shape of a stream in time.
struct Shape {
    count: usize,
    bursts: usize,
    head: i64,
    first: i64,
    last: i64,
}

impl Shape {
    fn of(seen: &Observation) -> Option<Self> {
        let events = seen.events();
        Some(Self {
            count: events.len(),
            bursts: bursts(&events, TOGETHER),
            head: seen.head.as_ref()?.at - seen.asked,
            first: events.first()? - seen.asked,
            last: events.last()? - seen.asked,
        })
    }

    /// Returns how many events a burst has, times ten.
    fn density(&self) -> usize {
        self.count * 10 / self.bursts.max(1)
    }

    /// Everything came at once, after a while.
    fn is_one_piece(&self) -> bool {
        let took = self.last - self.first;
        self.count >= 5 && self.last > SHORT && took <= (self.last / 20).max(50_000)
    }
}

fn timing(seen: &Observation, before: Option<&Observation>, judged: &mut Judged) {
    let Some(now) = Shape::of(seen) else {
        return;
    };
    let was = before.and_then(Shape::of);
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
    let first_burst = first_burst(&seen.events(), TOGETHER);
    let rest = now.count.saturating_sub(first_burst);
    let rest_flows = rest >= 3 && rest < 2 * now.bursts.max(1);
    if now.head > SILENT && now.first - now.head < 2 * TOGETHER && first_burst >= 4 && rest_flows {
        judged.find(
            Id::HeadDelayed,
            format!(
                "the head and {first_burst} events arrived together, {} after the request; later events flowed",
                span(now.head)
            ),
        );
        return;
    }
    let denser = was
        .as_ref()
        .is_none_or(|was| now.density() >= 2 * was.density());
    if now.count >= 10 && now.bursts >= 2 && now.density() >= 40 && now.last > SHORT && denser {
        judged.find(
            Id::Coalesced,
            format!(
                "{} events arrived in {} bursts within {}",
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
    use super::super::testing::stream;
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
        let mut whole = stream(MS, &[MS], 900 * MS);
        whole.form = Form::Other;
        whole.head.as_mut().unwrap().kind = Some("application/json".to_owned());
        assert_eq!(ids(whole, None), [Id::NotAStream]);
    }
}
