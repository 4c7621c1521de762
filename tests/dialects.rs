//! Checks that the streams of every dialect are parsed into the expected events, wherever the bytes are cut.
//!
//! `tests/data/<dialect>/*.sse`, `*.ndjson`, `*.json` (arrays) and `*.lines` are the streams, `*.events` the expected
//! events. `WEIR_BLESS=1 cargo test --test dialects` rewrites the `.events` files; review them like code.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fmt::Write as _;
use std::fs;

use weir::dialect::{Classifier, Dialect, detect};
use weir::event::{Event, Keep, Step, Terminal};
use weir::wire::{Decoder, Frame, Framing};

mod support;

use support::Fixture;

fn fixtures() -> Vec<Fixture> {
    Dialect::ALL
        .into_iter()
        .flat_map(support::fixtures)
        .collect()
}

impl Fixture {
    fn frames(&self, chunks: &[&[u8]]) -> Vec<Frame<'static>> {
        let mut decoder = Decoder::new(self.framing, 1 << 20);
        let mut frames = Vec::new();
        for chunk in chunks {
            let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
            decoder.feed(chunk, &mut keep).unwrap();
        }
        frames.extend(decoder.finish());
        frames
    }

    fn events(&self, chunks: &[&[u8]]) -> Vec<(Frame<'static>, Event)> {
        let mut classifier = Classifier::new(self.dialect);
        let frames = self.frames(chunks);
        let with_event = |frame: Frame<'static>| {
            let event = *classifier.classify(&frame, &mut None);
            (frame, event)
        };
        frames.into_iter().map(with_event).collect()
    }
}

/// The streams that each dialect has at least.
const KINDS: [&str; 7] = [
    "error",
    "framing",
    "reasoning",
    "text",
    "tools",
    "truncated",
    "usage",
];

#[test]
fn every_dialect_has_a_stream_of_each_kind() {
    for dialect in Dialect::ALL {
        let absent: &[&str] = match dialect {
            // Anything that is not recognised.
            Dialect::Opaque => continue,
            // These are protocols between agents and tools: they carry no reasoning and no token counts, and the
            // calls are the streams themselves.
            Dialect::A2a | Dialect::Mcp => &["reasoning", "tools", "usage"],
            // The text of a model as it is: thoughts and calls are marked in it.
            Dialect::Tgi => &["reasoning", "tools"],
            _ => &[],
        };
        let has = |kind: &str| {
            let named = |fixture: &Fixture| fixture.path.file_stem().unwrap() == kind;
            support::fixtures(dialect).iter().any(named)
        };
        let missing: Vec<_> = KINDS.into_iter().filter(|kind| !has(kind)).collect();
        assert_eq!(missing, absent, "{dialect}");
    }
}

/// Returns the position of `key` among the known keys, and adds it if it is new.
fn ordinal(known: &mut Vec<u64>, key: u64) -> usize {
    let place = known.iter().position(|other| *other == key);
    place.unwrap_or_else(|| {
        known.push(key);
        known.len() - 1
    })
}

/// Writes one line per event: class, content, terminal, usage and its call, the raw text in the block, and which events
/// have equal merge keys.
fn golden(events: &[(Frame<'_>, Event)]) -> String {
    let mut keys: Vec<u64> = Vec::new();
    let mut calls: Vec<u64> = vec![0];
    let mut ids: Vec<u64> = Vec::new();
    let mut out = String::new();
    for (frame, event) in events {
        write!(out, "{} {:?}", event.class.as_str(), event.content).unwrap();
        match event.terminal {
            Some(Terminal::Done) => out.push_str(" terminal=done"),
            Some(Terminal::Error) => out.push_str(" terminal=error"),
            Some(Terminal::MayEnd) => out.push_str(" terminal=may_end"),
            Some(Terminal::MayEndWithInput) => out.push_str(" terminal=may_end_with_input"),
            Some(Terminal::MayFail) => out.push_str(" terminal=may_fail"),
            Some(Terminal::Reopens) => out.push_str(" terminal=reopens"),
            None => {}
        }
        if let Some(usage) = event.usage {
            let count =
                |count: Option<u64>| count.map_or_else(|| "-".into(), |count| count.to_string());
            let (input, output) = (count(usage.input), count(usage.output));
            let reasoning = count(usage.reasoning);
            write!(out, " usage={input}/{output}/{reasoning}").unwrap();
            let call = ordinal(&mut calls, usage.call);
            if call > 0 {
                write!(out, " call={call}").unwrap();
            }
        }
        if let Some(call) = event.call {
            let id = ordinal(&mut ids, call.id);
            // A hash where the event belongs to a run.
            let group = match call.step {
                Step::Several => 0,
                _ => call.group,
            };
            write!(out, " step={:?}:{group}/{id}", call.step).unwrap();
        }
        if let Some(text) = event.text {
            let text = String::from_utf8_lossy(text.of(&frame.block));
            write!(out, " text=<{text}>").unwrap();
        }
        if let Some(merge) = event.merge {
            let key = ordinal(&mut keys, merge.key);
            let keep = match merge.keep {
                Keep::First => "first",
                Keep::Last => "last",
                Keep::Replace => "replace",
            };
            write!(out, " merge={key} keep={keep}").unwrap();
        }
        if !frame.whole {
            out.push_str(" torn");
        }
        out.push('\n');
    }
    out
}

#[test]
fn every_fixture_becomes_the_events_beside_it() {
    let bless = std::env::var_os("WEIR_BLESS").is_some();
    for fixture in fixtures() {
        let events = golden(&fixture.events(&[&*fixture.bytes]));
        let path = fixture.path.with_extension("events");
        if bless {
            fs::write(&path, events).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(events, expected, "{}", fixture.path.display());
    }
}

#[test]
fn every_cut_yields_the_same_events() {
    for fixture in fixtures() {
        let bytes = &*fixture.bytes;
        let whole = fixture.events(&[bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fixture.events(&single), whole, "byte by byte");
        // Long streams are cut at fewer places.
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 400) {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(
                fixture.events(&[head, tail]),
                whole,
                "{} cut at {cut}",
                fixture.path.display()
            );
        }
    }
}

#[test]
fn the_first_frame_with_data_shows_the_dialect() {
    for fixture in fixtures() {
        let frames = fixture.frames(&[&*fixture.bytes]);
        let Some(first) = frames.iter().find(|frame| frame.data.is_some()) else {
            continue;
        };
        let path = fixture.path.display();
        let found = detect::from_frame(first);
        // Some dialects cannot be recognised from a frame, only from the configuration or the request. Where the
        // first frame is ambiguous, the next one decides.
        let shown = matches!(fixture.framing, Framing::Ndjson | Framing::Sse)
            && !path.to_string().ends_with("ollama/unknown.ndjson")
            && !detect::is_ambiguous(first);
        if shown {
            assert_eq!(found, fixture.dialect, "{path}");
            assert!(detect::fits(fixture.dialect, first), "{path}");
        }
    }
}

#[test]
fn a_damaged_stream_is_classified_without_panic() {
    for fixture in fixtures() {
        // As many places in each stream, at all distances from the edges of its members.
        for position in (0..fixture.bytes.len()).step_by(3 + fixture.bytes.len() / 100) {
            for byte in *b"\"\\{}[],:\n" {
                let mut damaged = fixture.bytes.clone();
                damaged[position] = byte;
                for (frame, event) in fixture.events(&[&*damaged]) {
                    let size = u32::try_from(frame.block.len()).unwrap();
                    assert!(event.text.is_none_or(|text| text.end <= size));
                    assert!(event.merge.is_none_or(|merge| merge.text.end <= size));
                }
            }
        }
    }
}
