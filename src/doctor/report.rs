//! The report: text for a terminal, and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::compare::{Hop, first_fault, placed, verdict};
use super::draw::strips;
use super::finding::Id;
use super::fix::setting;
use super::judge::flow;
use super::observation::{Observation, bursts, span};
use super::offset::Offset;
use crate::log::printable;

/// The most arrival times in JSON.
const MAX_TIMES: usize = 2_000;
/// Events that arrive within this time make one burst.
const TOGETHER: i64 = 20_000;

/// What the report shows of one URL.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// `probe` or `request`
    pub(crate) source: &'static str,
    pub(crate) seen: Observation,
    /// The offset of the probe's clock.
    pub(crate) offset: Option<Offset>,
    /// The probe's streams with a silence: without heartbeats, and with them.
    pub(crate) silence: Option<(Observation, Observation)>,
}

/// The user wanted the report before the end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupted {
    /// After this time, in microseconds.
    pub(crate) after: i64,
    /// The URLs that were not examined.
    pub(crate) unread: Vec<String>,
}

/// Returns the report as text. `shown` has an entry for each of `hops`.
pub(crate) fn text(hops: &[Hop], shown: &[Shown], interrupted: Option<&Interrupted>) -> String {
    let mut out = String::new();
    for (index, (hop, shown)) in hops.iter().zip(shown).enumerate() {
        // Writing to a string does not fail.
        let _ = of_hop(&mut out, hops, index, hop, shown);
    }
    if let Some(Interrupted { after, unread }) = interrupted {
        let _ = write!(out, "interrupted after {}", span(*after));
        if !unread.is_empty() {
            let _ = write!(out, "; not reached: {}", unread.join(", "));
        }
        out.push_str("\n\n");
    }
    let _ = writeln!(out, "{}", printable(&verdict(hops)));
    out
}

fn of_hop(
    out: &mut String,
    hops: &[Hop],
    index: usize,
    hop: &Hop,
    shown: &Shown,
) -> std::fmt::Result {
    let seen = &shown.seen;
    write!(out, "{}", hop.url)?;
    if let Some(head) = &seen.head {
        write!(out, "   {:?} {}", head.version, head.status)?;
        if let Some(kind) = &head.kind {
            write!(out, "   {}", printable(kind))?;
        }
        if let Some(server) = &head.server {
            write!(out, "   {}", printable(server))?;
        }
    }
    writeln!(out)?;
    if seen.head.is_some() {
        let drawn = strips(seen, shown.offset);
        if let Some(sent) = &drawn.sent {
            writeln!(out, "  sent    {sent}")?;
        }
        writeln!(out, "  arrived {}  {}", drawn.arrived, span(drawn.span))?;
        writeln!(out, "  {}", summary(seen, shown.offset))?;
    }
    let is_about_silence = [Id::Cut, Id::IdleCut, Id::HeartbeatsStripped]
        .into_iter()
        .any(|id| hop.judged.has(id));
    if let Some((idle, beats)) = &shown.silence
        && is_about_silence
    {
        for (name, seen) in [("silence", idle), ("beats  ", beats)] {
            let drawn = strips(seen, None);
            writeln!(out, "  {name} {}  {}", drawn.arrived, span(drawn.span))?;
        }
    }
    let found = placed(hops, index);
    if found.is_empty() && seen.head.is_some() {
        writeln!(out, "  ok")?;
    }
    for one in found {
        let id = one.finding.id;
        let evidence = printable(&one.finding.evidence);
        if one.is_inherited {
            writeln!(out, "  {}: {evidence} (as at the URL before)", id.as_str())?;
        } else {
            writeln!(out, "  {}: {evidence}", id.as_str())?;
            writeln!(out, "    fix: {}", setting(id, hop.product))?;
            writeln!(
                out,
                "    see docs/intermediaries.md#{}",
                hop.product.section()
            )?;
        }
    }
    for why in &hop.judged.not_examined {
        writeln!(out, "  not examined: {}", printable(why))?;
    }
    writeln!(out)
}

/// Returns a line about the times of a response.
fn summary(seen: &Observation, offset: Option<Offset>) -> String {
    let mut parts = Vec::new();
    if let Some(head) = &seen.head {
        parts.push(format!("head after {}", span(head.at - seen.asked)));
    }
    let events = seen.events();
    if let Some(first) = events.first() {
        parts.push(format!("first event after {}", span(first - seen.asked)));
    }
    let number = bursts(&events, TOGETHER);
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    parts.push(format!(
        "{} event{} in {number} burst{}",
        events.len(),
        plural(events.len()),
        plural(number)
    ));
    if let Some(offset) = offset
        && let Some((median, longest)) = flow::delays(&flow::timed(seen, offset))
    {
        parts.push(format!(
            "added delay {} ({} at most, known to {})",
            span(median),
            span(longest),
            span(offset.error)
        ));
    }
    parts.join(", ")
}

/// Returns the report as JSON.
pub(crate) fn json(hops: &[Hop], shown: &[Shown], interrupted: Option<&Interrupted>) -> String {
    let fault = first_fault(hops);
    let hop = |(index, (hop, shown)): (usize, (&Hop, &Shown))| of_hop_json(hops, index, hop, shown);
    let all: Vec<Value> = hops.iter().zip(shown).enumerate().map(hop).collect();
    let unread: &[String] = interrupted.map_or(&[], |it| it.unread.as_slice());
    let report = json!({
        "ok": fault.is_none(),
        "verdict": verdict(hops),
        "fault": fault.map(|(hop, finding)| json!({
            "url": hop.url,
            "finding": finding.id.as_str(),
            "evidence": finding.evidence,
            "setting": setting(finding.id, hop.product),
        })),
        "hops": all,
        "interrupted_after_ms": interrupted.map(|it| millis(it.after)),
        "unread": unread,
    });
    format!("{report:#}\n")
}

fn of_hop_json(hops: &[Hop], index: usize, hop: &Hop, shown: &Shown) -> Value {
    let seen = &shown.seen;
    let head = seen.head.as_ref();
    let since = |at: i64| millis(at - seen.asked);
    let events = seen.events();
    let times: Vec<Value> = (events.iter().take(MAX_TIMES))
        .map(|at| since(*at))
        .collect();
    let findings: Vec<Value> = placed(hops, index)
        .iter()
        .map(|one| {
            json!({
                "id": one.finding.id.as_str(),
                "evidence": one.finding.evidence,
                "setting": setting(one.finding.id, hop.product),
                "see": format!("docs/intermediaries.md#{}", hop.product.section()),
                "inherited": one.is_inherited,
            })
        })
        .collect();
    let delays = shown
        .offset
        .and_then(|offset| flow::delays(&flow::timed(seen, offset)));
    let drawn = strips(seen, shown.offset);
    let silence = shown.silence.as_ref().map(|(idle, beats)| {
        let (idle, beats) = (strips(idle, None), strips(beats, None));
        json!({ "without_heartbeats": idle.arrived, "with_heartbeats": beats.arrived })
    });
    json!({
        "url": hop.url,
        "source": shown.source,
        "http": head.map(|head| format!("{:?}", head.version)),
        "status": head.map(|head| head.status),
        "content_type": head.and_then(|head| head.kind.as_deref()),
        "content_encoding": head.and_then(|head| head.coding.as_deref()),
        "server": head.and_then(|head| head.server.as_deref()),
        "via": head.and_then(|head| head.via.as_deref()),
        "findings": findings,
        "not_examined": hop.judged.not_examined,
        "times": {
            "connect_ms": millis(seen.connect),
            "head_ms": head.map(|head| since(head.at)),
            "first_event_ms": events.first().map(|at| since(*at)),
            "end_ms": since(seen.ended),
            "added_delay_ms": delays.map(|(median, longest)| json!({
                "median": millis(median),
                "longest": millis(longest),
            })),
            "clock_error_ms": shown.offset.map(|offset| millis(offset.error)),
        },
        "events": events.len(),
        "bursts": bursts(&events, TOGETHER),
        "comments": seen.comments(),
        "bytes": seen.bytes,
        "end": seen.end.as_str(),
        "arrivals_ms": times,
        "strip": { "sent": drawn.sent, "arrived": drawn.arrived, "silence": silence },
    })
}

/// Returns microseconds as milliseconds with one decimal.
fn millis(micros: i64) -> Value {
    let tenths = (micros + 50).div_euclid(100);
    json!(tenths as f64 / 10.0)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Finding;
    use super::super::fix::Product;
    use super::super::judge::Judged;
    use super::super::judge::testing::stream;
    use super::super::observation::End;
    use super::*;

    fn reported() -> (Vec<Hop>, Vec<Shown>) {
        let judged = Judged {
            findings: vec![Finding::new(Id::Buffered, "all at once\u{1b}[2J")],
            not_examined: vec!["silence".to_owned()],
            is_partial: false,
        };
        let hop = Hop {
            url: "http://a".to_owned(),
            product: Product::Nginx,
            judged,
        };
        let shown = Shown {
            source: "request",
            seen: stream(1_000, &[900_000, 900_100], 900_200),
            offset: None,
            silence: None,
        };
        (vec![hop], vec![shown])
    }

    #[test]
    fn the_text_has_the_strip_the_finding_and_the_setting() {
        let (hops, shown) = reported();
        let text = text(&hops, &shown, None);
        for part in [
            "http://a   HTTP/1.1 200   text/event-stream",
            "arrived H",
            "buffered: all at once",
            "proxy_buffering off",
            "docs/intermediaries.md#nginx",
            "not examined: silence",
            "is at fault",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_silence_is_drawn_where_it_is_at_fault() {
        let (mut hops, mut shown) = reported();
        let silent = stream(1_000, &[1_000], 900_200);
        shown[0].silence = Some((silent.clone(), silent));
        assert!(!text(&hops, &shown, None).contains("  beats   "));
        hops[0].judged.findings = vec![Finding::new(Id::IdleCut, "x")];
        assert!(text(&hops, &shown, None).contains("  silence |"));
        assert!(text(&hops, &shown, None).contains("  beats   |"));
    }

    #[test]
    fn the_json_has_the_same() {
        let (hops, shown) = reported();
        let report: Value = serde_json::from_str(&json(&hops, &shown, None)).unwrap();
        assert_eq!(report["ok"], false);
        assert_eq!(report["fault"]["finding"], "buffered");
        let hop = &report["hops"][0];
        assert_eq!(hop["findings"][0]["id"], "buffered");
        assert_eq!(hop["findings"][0]["inherited"], false);
        assert_eq!(hop["times"]["head_ms"], 1.0);
        assert_eq!(hop["arrivals_ms"][0], 900.0);
        assert_eq!(hop["bursts"], 1);
        assert_eq!(hop["end"], "complete");
        assert_eq!(report["interrupted_after_ms"], Value::Null);
    }

    #[test]
    fn an_interrupted_report_says_so() {
        let (mut hops, mut shown) = reported();
        hops[0].judged.findings.clear();
        shown[0].seen.end = End::Interrupted;
        let interrupted = Interrupted {
            after: 12_340_000,
            unread: vec!["http://b".to_owned()],
        };
        let said = text(&hops, &shown, Some(&interrupted));
        let part = "\n\ninterrupted after 12.3 s; not reached: http://b\n\nNothing is wrong";
        assert!(said.contains(part), "{said}");
        let report = json(&hops, &shown, Some(&interrupted));
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["interrupted_after_ms"], 12_340.0);
        assert_eq!(report["unread"], json!(["http://b"]));
        assert_eq!(report["hops"][0]["end"], "interrupted");
        // Nothing has come: that is not well.
        assert!(said.contains("  ok\n"), "{said}");
        shown[0].seen.head = None;
        let said = text(&hops, &shown, Some(&interrupted));
        assert!(!said.contains("  ok\n"), "{said}");
    }

    #[test]
    fn times_are_written_with_one_decimal() {
        assert_eq!(millis(1_250), 1.3);
        assert_eq!(millis(0), 0.0);
        assert_eq!(millis(-100), -0.1);
    }
}
