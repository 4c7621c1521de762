//! The timing of a probe stream: what arrived together, and how late.

use super::super::finding::Id;
use super::super::observation::{Observation, bursts, first_burst, span};
use super::super::offset::Offset;
use super::Judged;

/// A head that takes longer than this is late. The first event comes later still.
const HEAD_LATE: i64 = 400_000;
/// An event that takes longer than this is late. Half of it is more than a busy machine takes.
const EVENT_LATE: i64 = 150_000;
/// Events that arrive within this time arrive together, if they were sent farther apart.
const TOGETHER: i64 = 25_000;

/// How far apart the events of a quick stream are, at least. Those that were sent closer, by a busy machine, do not
/// count.
const QUICK_APART: i64 = 30_000;

/// An event: when it was sent, by the doctor's clock, and when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) sent: i64,
    pub(crate) at: i64,
}

/// Returns the times of the events of a probe stream.
pub(crate) fn timed(seen: &Observation, offset: Offset) -> Vec<Timed> {
    let stamped = seen.stamped().into_iter();
    let timed = stamped.map(|(at, stamp)| Timed {
        sent: offset.local(stamp.sent),
        at,
    });
    timed.collect()
}

/// Returns when the head was sent, by the doctor's clock.
pub(crate) fn began(seen: &Observation, offset: Offset) -> Option<i64> {
    seen.facts.as_ref().map(|facts| offset.local(facts.began))
}

/// Returns the median and the longest delay of events.
pub(crate) fn delays(events: &[Timed]) -> Option<(i64, i64)> {
    let mut delays: Vec<i64> = events.iter().map(|event| event.at - event.sent).collect();
    delays.sort_unstable();
    Some((*delays.get(delays.len() / 2)?, *delays.last()?))
}

/// The share of pairs of events that were sent apart, but arrived together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Merged {
    pairs: usize,
    merged: usize,
}

impl Merged {
    /// Two of five pairs or more arrived together.
    const fn is_much(self) -> bool {
        self.merged * 5 >= self.pairs * 2
    }
}

/// Counts the pairs of events that were sent at least `apart`, and how many of them arrived together.
fn merged(events: &[Timed], apart: i64) -> Merged {
    let mut found = Merged {
        pairs: 0,
        merged: 0,
    };
    for pair in events.windows(2) {
        let [before, after] = pair else { continue };
        let sent = after.sent - before.sent;
        if sent < apart {
            continue;
        }
        found.pairs += 1;
        if after.at - before.at < TOGETHER.min(sent / 4) {
            found.merged += 1;
        }
    }
    found
}

/// Finds what happened to the times of a stream.
pub(crate) fn judge(seen: &Observation, offset: Offset, judged: &mut Judged) {
    let events = timed(seen, offset);
    let (Some(head), Some(first), Some(last)) = (&seen.head, events.first(), events.last()) else {
        return;
    };
    let began = began(seen, offset).unwrap_or(seen.asked);
    let head_took = head.at - began;
    let late_head = head_took > HEAD_LATE;
    let sent_for = last.sent - first.sent;
    let times: Vec<i64> = events.iter().map(|event| event.at).collect();
    let at_first = first_burst(&times, TOGETHER);
    let rest = events.get(at_first..).unwrap_or_default();
    let count = events.len();
    if count >= 5 && rest.len() <= 1 && sent_for > 10 * TOGETHER {
        judged.find(
            Id::Buffered,
            format!(
                "{count} events were sent within {}, and arrived together {} after the first was sent",
                span(sent_for),
                span(first.at - first.sent)
            ),
        );
        return;
    }
    let later = merged(rest, 2 * TOGETHER);
    if later.pairs >= 3 && later.is_much() {
        let number = bursts(&times, TOGETHER);
        let (median, longest) = delays(&events).unwrap_or_default();
        judged.find(
            Id::Coalesced,
            format!(
                "{count} events, sent one by one within {}, arrived in {number} bursts, {} late ({} at most)",
                span(sent_for),
                span(median),
                span(longest)
            ),
        );
        if first.at - head.at < 2 * TOGETHER {
            // The head waits in the same buffer.
            return;
        }
    } else if let Some((median, longest)) = delays(rest).filter(|(median, _)| *median > EVENT_LATE)
    {
        judged.find(
            Id::EventsDelayed,
            format!(
                "events arrive {} after they were sent ({} at most, the clocks are known to {})",
                span(median),
                span(longest),
                span(offset.error)
            ),
        );
    }
    let first_took = first.at - first.sent;
    if !late_head && at_first >= 4 && first_took > HEAD_LATE {
        judged.find(
            Id::Coalesced,
            format!(
                "the first {at_first} events arrived together, {} after the first was sent: something waits for more bytes",
                span(first_took)
            ),
        );
    }
    if late_head {
        let with = match (first.at - head.at < 2 * TOGETHER, at_first) {
            (false, _) => "before the first event",
            (true, 1) => "with the first event",
            (true, _) => "with events that had waited for it",
        };
        judged.find(
            Id::HeadDelayed,
            format!(
                "the head arrived {} after it was sent, {with}",
                span(head_took)
            ),
        );
    }
}

/// Finds that a hop waits a little for more before it passes on what it has: events of a slow stream arrive one by one
/// all the same, but not those of a quick one.
pub(crate) fn quick(seen: &Observation, offset: Offset, judged: &mut Judged) {
    let events = timed(seen, offset);
    let found = merged(&events, QUICK_APART);
    if found.pairs >= 8 && found.is_much() {
        judged.find(
            Id::Coalesced,
            format!(
                "of {} events, sent {} or more apart, {} arrived together with the one before: something waits a little for more",
                found.pairs + 1,
                span(QUICK_APART),
                found.merged
            ),
        );
    }
}

/// Reports whether the head of a stream came late, but well before the stream was over, and the rest flowed. Then the
/// head is held back for another reason than buffering until the end.
pub(crate) fn holds_only_the_head(seen: &Observation, offset: Offset) -> Option<i64> {
    let head = seen.head.as_ref()?;
    let took = head.at - began(seen, offset)?;
    let flows = timed(seen, offset)
        .iter()
        .any(|event| event.sent > head.at && event.at - event.sent < EVENT_LATE);
    let early = seen.is_whole() && seen.ended - head.at > 1_000_000;
    (took > HEAD_LATE && flows && early).then_some(took)
}

#[cfg(test)]
mod tests {
    use super::super::super::offset::estimate;
    use super::super::testing::probe;
    use super::*;

    const MS: i64 = 1_000;

    /// The clocks are the same.
    fn same() -> Offset {
        estimate(&[(0, 0)], &[(0, 0)], 0).unwrap()
    }

    /// Twenty events from 800 ms on, each of which arrives when `way` says.
    fn events(way: impl Fn(i64) -> i64) -> Vec<(i64, i64)> {
        let sent = (0..20).map(|number| (800 + 100 * number) * MS);
        sent.map(|sent| (sent, way(sent))).collect()
    }

    fn ids(head_at: i64, events: &[(i64, i64)]) -> Vec<Id> {
        let mut judged = Judged::default();
        judge(&probe(head_at, events), same(), &mut judged);
        judged.findings.iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn a_stream_that_flows_has_no_finding() {
        assert_eq!(ids(2 * MS, &events(|sent| sent + 3 * MS)), []);
        // A busy machine.
        let busy = events(|sent| sent + (sent / MS / 100 % 4) * 20 * MS);
        assert_eq!(ids(90 * MS, &busy), []);
        // The reader was held up for a third of a second, once.
        let held = events(|sent| sent.max(1_100 * MS) + MS);
        assert_eq!(ids(2 * MS, &held), []);
    }

    #[test]
    fn everything_at_the_end_is_buffering() {
        let at_end = events(|_| 2_705 * MS);
        assert_eq!(ids(2_705 * MS, &at_end), [Id::Buffered]);
        assert_eq!(ids(2 * MS, &at_end), [Id::Buffered], "with an early head");
    }

    #[test]
    fn bursts_are_coalesced() {
        let every = |step: i64| move |sent: i64| (sent / step + 1) * step + MS;
        assert_eq!(ids(2 * MS, &events(every(500 * MS))), [Id::Coalesced]);
        assert_eq!(ids(2 * MS, &events(every(200 * MS))), [Id::Coalesced]);
        let with_head = events(every(600 * MS));
        assert_eq!(
            ids(1_201 * MS, &with_head),
            [Id::Coalesced],
            "the head waited with them"
        );
    }

    #[test]
    fn a_short_wait_for_more_is_seen_in_a_quick_stream() {
        let found = |step: i64| {
            let sent = (0..20).map(|number| 40 * MS * number);
            let events: Vec<_> = sent.map(|sent| (sent, (sent / step + 1) * step)).collect();
            let mut judged = Judged::default();
            quick(&probe(2 * MS, &events), same(), &mut judged);
            judged.has(Id::Coalesced)
        };
        assert!(found(100 * MS));
        assert!(!found(50 * MS), "too short to be seen by people");
        assert!(!found(MS));
        assert_eq!(
            ids(2 * MS, &events(|sent| (sent / (100 * MS) + 1) * 100 * MS)),
            [],
            "the slow stream does not show it"
        );
    }

    #[test]
    fn something_that_waits_for_the_first_bytes_coalesces() {
        let held = events(|sent| sent.max(1_500 * MS) + MS);
        assert_eq!(ids(2 * MS, &held), [Id::Coalesced]);
    }

    #[test]
    fn a_head_that_is_held_is_no_buffering() {
        let flows = events(|sent| sent + MS);
        assert_eq!(ids(801 * MS, &flows), [Id::HeadDelayed]);
        let held = events(|sent| sent.max(2_000 * MS) + MS);
        assert_eq!(ids(2_000 * MS, &held), [Id::HeadDelayed]);
        for (head_at, events, with) in [
            (500 * MS, &flows, "before the first event"),
            (801 * MS, &flows, "with the first event"),
            (2_000 * MS, &held, "with events that had waited for it"),
        ] {
            let mut judged = Judged::default();
            judge(&probe(head_at, events), same(), &mut judged);
            let evidence = &judged.findings[0].evidence;
            assert!(evidence.ends_with(with), "{evidence}");
        }
    }

    #[test]
    fn events_that_are_all_late_are_delayed() {
        let late = events(|sent| sent + 200 * MS);
        assert_eq!(ids(2 * MS, &late), [Id::EventsDelayed]);
    }

    #[test]
    fn a_longer_stream_tells_a_held_head_from_buffering() {
        let sent = [(100 * MS, 5_000 * MS), (7_100 * MS, 7_101 * MS)];
        let seen = probe(5_000 * MS, &sent);
        assert_eq!(holds_only_the_head(&seen, same()), Some(5_000 * MS));
        let buffered = probe(
            7_100 * MS,
            &[(100 * MS, 7_100 * MS), (7_100 * MS, 7_100 * MS)],
        );
        assert_eq!(holds_only_the_head(&buffered, same()), None);
    }
}
