//! `reply.status: text`: what is going on, as reasoning text of OpenAI's chat API.

use std::sync::Arc;

use serde_json::Value;
use weir::dialect::{Choice, Dialect, Members};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings};
use weir::translate::{KINDS, Statuses, Target, Translator};
use weir::wire::Framing;
use weir::wire::encoding::Coding;

use crate::support::Fixture;
use crate::{Client, all, grammar, shown};

/// What a client got, and how much of each of [`KINDS`] it was not told.
struct Told {
    bytes: Vec<u8>,
    lost: [u64; KINDS.len()],
    has_ended: bool,
}

fn told(fixture: &Fixture, translator: Translator) -> Told {
    let mut pipeline = Pipeline::new(&Settings {
        framing: fixture.framing,
        coding: Coding::Identity,
        choice: Choice::Fixed(fixture.dialect),
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    })
    .translated(translator);
    let mut client = Client::default();
    pipeline.feed(&fixture.bytes, &mut client).unwrap();
    pipeline.finish(InputEnd::Clean, &mut client);
    pipeline.end_translation(&mut client);
    let translator = pipeline.translator().unwrap();
    Told {
        lost: translator.lost().0,
        has_ended: translator.has_ended(),
        bytes: client.0,
    }
}

fn with(statuses: Statuses) -> Translator {
    Translator::new(Target::OpenAiChat, 1_760_000_000).showing_status(statuses)
}

/// Returns the pieces of tool calls that a client gets.
fn calls(bytes: &[u8]) -> Vec<Value> {
    let events = grammar::events(Target::OpenAiChat, bytes).unwrap();
    let deltas = events
        .iter()
        .filter_map(|event| event.data.pointer("/choices/0/delta/tool_calls"));
    deltas.cloned().collect()
}

#[test]
fn lines_change_nothing_but_the_reasoning() {
    let mut sums = [[0; KINDS.len()]; 2];
    for fixture in all() {
        let path = fixture.path.display();
        let plain = told(&fixture, with(Statuses::Names));
        let text = told(&fixture, with(Statuses::Text));
        if text.has_ended {
            let checked = grammar::check(Target::OpenAiChat, &text.bytes, false);
            assert_eq!(checked, Ok(()), "{path}");
        }
        let answer = |told: &Told| shown(Target::OpenAiChat, &told.bytes)[0].clone();
        assert_eq!(answer(&text), answer(&plain), "{path}");
        assert_eq!(calls(&text.bytes), calls(&plain.bytes), "{path}");
        for (sum, lost) in sums.iter_mut().zip([plain.lost, text.lost]) {
            for (sum, count) in sum.iter_mut().zip(lost) {
                *sum += count;
            }
        }
    }
    for (kind, (plain, text)) in KINDS.iter().zip(sums[0].iter().zip(sums[1])) {
        let is_told = matches!(*kind, "status" | "tool");
        let fits = if is_told {
            text < *plain
        } else {
            text == *plain
        };
        assert!(fits, "{kind}: {plain} and {text}");
    }
}

/// A tool that the agent runs, between its reasoning and its answer.
const STREAM: &str = "data: {\"type\":\"start\",\"seq\":1,\"run\":\"r\"}\n\n\
    data: {\"type\":\"status\",\"seq\":2,\"name\":\"node\",\"text\":\"planner\"}\n\n\
    data: {\"type\":\"reasoning\",\"seq\":3,\"msg\":\"a\",\"text\":\"Tides first.\"}\n\n\
    data: {\"type\":\"tool_call\",\"seq\":4,\"id\":\"t\",\"name\":\"tides\",\"phase\":\"start\"}\n\n\
    data: {\"type\":\"tool_call\",\"seq\":5,\"id\":\"t\",\"name\":\"tides\",\"phase\":\"ready\",\"args\":{\"day\":1}}\n\n\
    data: {\"type\":\"tool_result\",\"seq\":6,\"id\":\"t\",\"ok\":true,\"content\":\"High at 9\"}\n\n\
    data: {\"type\":\"token\",\"seq\":7,\"msg\":\"b\",\"text\":\"Sail at 9.\"}\n\n\
    data: {\"type\":\"finish\",\"seq\":8,\"reason\":\"stop\",\"scope\":\"run\"}\n\n";

const LINES: &str = "planner...\nTides first.\nUsing tides...\ntides: High at 9\n";

fn stream() -> Fixture {
    Fixture {
        path: "inline".into(),
        dialect: Dialect::Convention,
        framing: Framing::Sse,
        bytes: STREAM.into(),
    }
}

#[test]
fn the_agents_tools_are_lines_of_reasoning() {
    let told = told(&stream(), with(Statuses::Text));
    let [answer, reasoning] = shown(Target::OpenAiChat, &told.bytes);
    assert_eq!(answer, "Sail at 9.");
    assert_eq!(reasoning, LINES);
    assert!(calls(&told.bytes).is_empty());
    assert_eq!(told.lost, [0; KINDS.len()]);
}

#[test]
fn one_answer_has_the_same_lines() {
    let message = |statuses| {
        let told = told(&stream(), with(statuses).whole(1000));
        let body: Value = serde_json::from_slice(&told.bytes).unwrap();
        body["choices"][0]["message"].clone()
    };
    let text = message(Statuses::Text);
    assert_eq!(text["content"], "Sail at 9.");
    assert_eq!(text["reasoning_content"], LINES);
    assert_eq!(text.get("tool_calls"), None);
    for statuses in [Statuses::Names, Statuses::Visible] {
        assert_eq!(message(statuses)["reasoning_content"], "Tides first.");
    }
}

#[test]
fn other_targets_have_their_own_words_or_none() {
    for target in Target::ALL {
        let of = |statuses| {
            let translator = Translator::new(target, 0).showing_status(statuses);
            String::from_utf8(told(&stream(), translator).bytes).unwrap()
        };
        if target == Target::OpenAiChat {
            assert_eq!(of(Statuses::Visible), of(Statuses::Names));
        } else {
            assert_eq!(of(Statuses::Text), of(Statuses::Visible), "{target:?}");
        }
    }
}
