//! Checks that a large event means the same if another thread reads it, in every dialect, with and without a filter.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use weir::dialect::{Choice, Dialect, Members};
use weir::event::Event;
use weir::filter::markers::Family;
use weir::filter::scan::Marks;
use weir::filter::{Hidden, Hide, Rules};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings, Sink, Verdict};
use weir::translate::{Target, Translator};
use weir::wire::Framing;
use weir::wire::encoding::Coding;

mod support;

use support::{Fixture, fixtures};

/// Keeps what it is passed. May leave large events to another thread.
#[derive(Default)]
struct Log {
    defers: bool,
    arrived: Vec<Event>,
    visible: Vec<(Vec<u8>, Event)>,
}

impl Sink for Log {
    fn arrived(&mut self, _: &[u8], event: &Event) {
        self.arrived.push(*event);
    }

    fn leaves(&mut self, block: &[u8], event: &Event) {
        self.visible.push((block.to_vec(), *event));
    }

    fn defers_large(&self) -> bool {
        self.defers
    }
}

/// What a stream came to.
#[derive(PartialEq)]
struct Outcome {
    arrived: Vec<Event>,
    visible: Vec<(Vec<u8>, Event)>,
    verdict: Verdict,
    hidden: Hidden,
}

/// Returns the outcome of a stream, and how many of its events were read on another thread.
fn through(
    settings: &Settings,
    reply: Option<Target>,
    bytes: &[u8],
    defers: bool,
) -> (Outcome, usize) {
    let mut pipeline = Pipeline::new(settings);
    if let Some(target) = reply {
        pipeline = pipeline.translated(Translator::new(target, 0));
    }
    let mut log = Log {
        defers,
        ..Log::default()
    };
    let mut elsewhere = 0;
    for piece in bytes.chunks(64 * 1024) {
        pipeline.feed(piece, &mut log).unwrap();
        while pipeline.is_paused() {
            let (dialect, context) = (pipeline.dialect(), pipeline.error_context());
            let seen = (pipeline.terminal(), pipeline.may_end(), pipeline.hidden());
            if let Some(unread) = pipeline.take_large() {
                // Until the event is back, the stream is what it was before.
                pipeline.feed(&[], &mut log).unwrap();
                assert_eq!(pipeline.dialect(), dialect);
                assert_eq!(pipeline.error_context(), context);
                let now = (pipeline.terminal(), pipeline.may_end(), pipeline.hidden());
                assert_eq!(now, seen);
                let before = log.visible.len();
                pipeline.end_translation(&mut log);
                assert_eq!(log.visible.len(), before, "nothing is said in its absence");
                let read = std::thread::spawn(move || unread.read()).join().unwrap();
                pipeline.put_back(read, &mut log);
                elsewhere += 1;
            }
            pipeline.feed(&[], &mut log).unwrap();
        }
    }
    let verdict = pipeline.finish(InputEnd::Clean, &mut log);
    let outcome = Outcome {
        arrived: log.arrived,
        visible: log.visible,
        verdict,
        hidden: pipeline.hidden(),
    };
    (outcome, elsewhere)
}

/// Returns the stream with a large member in its first and its last JSON object, and how many these are.
fn enlarged(fixture: &Fixture) -> (Vec<u8>, usize) {
    let text = String::from_utf8_lossy(&fixture.bytes);
    let begin: Vec<usize> = (text.match_indices('{').map(|(at, _)| at))
        .filter(|at| {
            let before = text.get(..*at).unwrap_or_default();
            match fixture.framing {
                Framing::Sse => before.ends_with("data: ") || before.ends_with("data:"),
                Framing::Lines => before
                    .lines()
                    .next_back()
                    .is_some_and(|line| line.len() == 2),
                Framing::Ndjson => before.is_empty() || before.ends_with('\n'),
                Framing::JsonArray | Framing::Raw => false,
            }
        })
        .collect();
    let mut places: Vec<usize> = [begin.first(), begin.last()]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    places.dedup();
    let mut out = text.clone().into_owned();
    for at in places.iter().rev() {
        out.insert_str(at + 1, &format!("\"large\":\"{}\",", "x".repeat(600_000)));
    }
    (out.into_bytes(), places.len())
}

#[test]
fn a_large_event_means_the_same_on_another_thread() {
    let mut all = 0;
    let hide = Rules {
        reasoning: Hide::Drop,
        tools: Hide::Drop,
        marks: Marks::new(&Family::ALL, true, true, true),
    };
    let rules = [Arc::default(), Arc::new(hide)];
    let fixtures = Dialect::ALL
        .into_iter()
        .filter(|dialect| !dialect.is_opaque())
        .flat_map(fixtures);
    for (number, fixture) in fixtures.enumerate() {
        let (bytes, large) = enlarged(&fixture);
        for (hide, reply) in [
            (&rules[0], None),
            (&rules[1], None),
            // Each target has its turn.
            (
                &rules[number % 2],
                Some(Target::ALL[number % Target::ALL.len()]),
            ),
        ] {
            let settings = Settings {
                framing: fixture.framing,
                coding: Coding::Identity,
                choice: Choice::Fixed(fixture.dialect),
                hint: None,
                members: Members::default(),
                max_event_bytes: 1 << 20,
                hide: Arc::clone(hide),
            };
            let (here, none) = through(&settings, reply, &bytes, false);
            let (there, elsewhere) = through(&settings, reply, &bytes, true);
            assert_eq!(none, 0);
            assert!(here == there, "{:?}", fixture.path);
            // Nothing is read after a terminal event.
            assert!(elsewhere <= large, "{:?}", fixture.path);
            all += elsewhere;
        }
    }
    assert!(all > 200, "{all}");
}
