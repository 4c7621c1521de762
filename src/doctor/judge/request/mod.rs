//! Findings of the user's own request. Its events do not say when they were sent, so each hop is compared with the hop
//! before it. At the first hop there is nothing to compare with, so only clear faults are findings there.

use super::super::ending::Ending;
use super::super::finding::Id;
use super::super::observation::{End, Form, Head, INTERRUPTED, Observation, first_within, span};
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
    cut(main, alike, &mut judged);
    // One that was left early may have had none yet.
    if let Some(before) = alike.filter(|before| before.comments() >= 2)
        && main.comments() == 0
        && main.end != End::Interrupted
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
        Some(second) if second.head.is_none() && second.end == End::Interrupted => judged
            .not_examined
            .push(format!("two requests at once, because {INTERRUPTED}")),
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
    let ask = if seen.is_unfinished() {
        "it takes"
    } else {
        "ask for a longer one, of"
    };
    judged.not_examined.push(format!(
        "times, because the response has {count} {events} within {}: {ask} {FEW} events and {} at least",
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
    // A hop that holds a stream back until it is over shows that only then.
    let is_over = !seen.is_unfinished();
    if let Some(was) = &was
        && is_over
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
    if is_over && now.is_one_piece() {
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

/// Finds that the stream broke or has failed, or that the doctor gave up.
fn cut(seen: &Observation, before: Option<&Observation>, judged: &mut Judged) {
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
            "the end: the stream was silent for {}, which is as long as --idle waits",
            span(silent)
        )),
        End::StillGoing => judged.not_examined.push(format!(
            "the end: the stream was still going {lasted} after the request, when the doctor left it (--max-time, or 256 MiB)"
        )),
        End::Interrupted => judged
            .not_examined
            .push(format!("the end: {INTERRUPTED} {lasted} after the request")),
        End::Complete => failed(seen, before, judged),
        End::Failed(_) | End::Left => {}
    }
}

/// Finds that a stream whose body looks complete has failed, or was cut.
fn failed(seen: &Observation, before: Option<&Observation>, judged: &mut Judged) {
    let silent = seen.ended - seen.last_sign();
    let lasted = span(seen.ended - seen.asked);
    let was_complete =
        before.is_some_and(|before| before.end == End::Complete && before.ending == Ending::Said);
    let lacks = "without the last event that came at the URL before (it looked complete)";
    match &seen.ending {
        Ending::Failed(Some(code)) => judged.find(
            Id::ErrorEvent,
            format!("the last event is an error, `{code}`, {lasted} after the request"),
        ),
        Ending::Failed(None) => judged.find(
            Id::ErrorEvent,
            format!("the last event is an error, {lasted} after the request"),
        ),
        Ending::Open if was_complete && silent > SILENT => judged.find(
            Id::IdleCut,
            format!(
                "the stream ended after {} of silence, {lacks}",
                span(silent)
            ),
        ),
        Ending::Open if was_complete => judged.find(
            Id::Cut,
            format!("the stream ended {lasted} after the request, {lacks}"),
        ),
        Ending::Open if silent > SILENT => judged.not_examined.push(format!(
            "the end: the stream ended after {} of silence, and no event says that it is complete: give the URL before to compare",
            span(silent)
        )),
        Ending::Open | Ending::Said => {}
    }
}

#[cfg(test)]
mod tests;
