//! Recorded streams in which events are left out, repeated or swapped, and values are replaced: as an agent sends them
//! that breaks the rules of its dialect.

use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use weir::dialect::Choice;
use weir::stream::pipeline::InputEnd;
use weir::translate::Target;
use weir::wire::Framing;

use crate::support::Fixture;
use crate::{all, ended, grammar};

/// The streams are read once.
static STREAMS: OnceLock<Vec<(Fixture, Vec<String>)>> = OnceLock::new();

/// What takes the place of a value.
fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(3),
        json!(""),
        json!(" "),
        json!("hello"),
        json!("null"),
        json!("{}"),
        json!("}"),
        json!("[1"),
        json!("\"x\""),
        json!("{\"a\":"),
        json!("{\"a\":}"),
        json!("\\ud83d"),
        json!([]),
        json!([1]),
        json!({}),
        json!({ "a": 1 }),
    ]
}

/// Returns how many values there are in a value, with itself.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// Returns a value in which the one with this number is replaced. `next` is the number of the next one.
fn replaced(value: &Value, next: &mut usize, number: usize, with: &Value) -> Value {
    *next += 1;
    if *next - 1 == number {
        return with.clone();
    }
    match value {
        Value::Array(list) => {
            let list = list.iter().map(|one| replaced(one, next, number, with));
            list.collect()
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, one)| (name.clone(), replaced(one, next, number, with)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

/// Returns the SSE streams whose events are JSON, or words: what is no JSON passes as it came.
fn streams() -> Vec<(Fixture, Vec<String>)> {
    let is_sound = |event: &str| {
        let data = event.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| data.starts_with(['{', '[', '"']) && *data != "[DONE]")
            .all(|data| serde_json::from_str::<Value>(data).is_ok())
    };
    all()
        .filter(|fixture| fixture.framing == Framing::Sse)
        .filter_map(|fixture| {
            let text = String::from_utf8(fixture.bytes.clone()).ok()?;
            let text = text.replace("\r\n", "\n");
            let events: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
            let sound = events.iter().all(|event| is_sound(event));
            sound.then_some((fixture, events))
        })
        .collect()
}

/// Changes one of the events.
fn change(events: &mut Vec<String>, kind: usize, places: [&Index; 3]) {
    let [first, second, third] = places;
    let (one, other) = (first.index(events.len()), second.index(events.len()));
    match kind {
        0 if events.len() > 1 => {
            events.remove(one);
        }
        0 | 1 => events.insert(other, events[one].clone()),
        2 => events.swap(one, other),
        _ => {
            let event = events[one].clone();
            let Some((before, data)) = event.split_once("data: ") else {
                return;
            };
            if let Ok(value) = serde_json::from_str::<Value>(data) {
                let number = second.index(count(&value));
                let values = odd_values();
                let with = &values[third.index(values.len())];
                let value = replaced(&value, &mut 0, number, with);
                events[one] = format!("{before}data: {value}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_an_agent_breaks_clients_accept_it(
        stream in any::<Index>(),
        changes in vec((0_usize..6, any::<[Index; 3]>()), 1..5),
        is_broken in any::<bool>(),
    ) {
        let streams = STREAMS.get_or_init(streams);
        let (fixture, events) = &streams[stream.index(streams.len())];
        let mut events = events.clone();
        for (kind, [first, second, third]) in &changes {
            change(&mut events, *kind, [first, second, third]);
        }
        let body = events.join("\n\n") + "\n\n";
        let how = if is_broken { InputEnd::Broken } else { InputEnd::Clean };
        for target in Target::ALL {
            let choice = Choice::Fixed(fixture.dialect);
            let got = ended(fixture, body.as_bytes(), target, choice, how);
            let checked = grammar::check(target, &got.bytes, got.broke);
            prop_assert_eq!(checked, Ok(()), "{:?} {:?}\n{}", fixture.path, target, body);
        }
    }
}
