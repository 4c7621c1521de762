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
fn a_stream_that_the_doctor_leaves_has_a_note_and_no_finding() {
    for (end, said) in [
        (End::StillGoing, "still going 90.0 s after the request"),
        (End::Interrupted, "was interrupted 90.0 s after the request"),
    ] {
        let mut seen = Requested {
            main: flowing(),
            second: None,
        };
        (seen.main.end, seen.main.ended) = (end, 90_000 * MS);
        let mut beating = with_comments(flowing(), &[2_950 * MS, 2_960 * MS]);
        beating.end = End::StillGoing;
        let before = Some(&beating).filter(|_| seen.main.end == End::Interrupted);
        let judged = judge(&seen, before);
        assert!(judged.findings.is_empty(), "{:?}", judged.findings);
        let has_note = judged.not_examined.iter().any(|why| why.contains(said));
        assert!(has_note, "{:?}", judged.not_examined);
        // What came at once at its begin was not held back until its end.
        seen.main.arrivals = in_one_piece().arrivals;
        assert!(judge(&seen, None).findings.is_empty());
        // Nothing has come.
        seen.main.head = None;
        let judged = judge(&seen, None);
        assert!(judged.findings.is_empty(), "{:?}", judged.findings);
        assert_eq!(judged.not_examined.len(), 1, "{:?}", judged.not_examined);
    }
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

#[test]
fn a_stream_that_looks_complete_and_lacks_its_last_event_was_cut() {
    let mut complete = flowing();
    complete.ending = Ending::Said;
    assert_eq!(ids(complete.clone(), Some(&complete)), []);
    assert_eq!(ids(flowing(), Some(&complete)), [Id::Cut]);
    let mut silent = flowing();
    silent.ended = 7_900 * MS;
    assert_eq!(ids(silent.clone(), Some(&complete)), [Id::IdleCut]);
    // Nothing says that there was more.
    assert_eq!(ids(silent.clone(), Some(&flowing())), []);
    let seen = Requested {
        main: silent,
        second: None,
    };
    let notes = judge(&seen, None).not_examined;
    let is_noted = notes
        .iter()
        .any(|why| why.contains("after 5.0 s of silence"));
    assert!(is_noted, "{notes:?}");
    complete.end = End::StillGoing;
    assert_eq!(ids(flowing(), Some(&complete)), []);
}

#[test]
fn a_stream_whose_last_event_is_an_error_is_not_called_well() {
    let mut failed = flowing();
    failed.ending = Ending::Failed(Some("idle".to_owned()));
    failed.head.as_mut().unwrap().is_weirs = true;
    assert_eq!(ids(failed.clone(), None), [Id::ErrorEvent]);
    let mut complete = flowing();
    complete.ending = Ending::Said;
    assert_eq!(ids(failed.clone(), Some(&complete)), [Id::ErrorEvent]);
    let seen = Requested {
        main: failed,
        second: None,
    };
    let evidence = &judge(&seen, None).findings[0].evidence;
    assert!(evidence.contains("`idle`, 3.0 s after"), "{evidence}");
}
