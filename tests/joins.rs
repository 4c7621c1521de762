//! Checks that two events are merged only if they are equal outside their texts, except for the members that
//! `support/varying.rs` names.
//!
//! 1. Each event of each fixture that can be merged with a copy of itself is taken.
//! 2. One member of the copy is changed, removed or added, at every level, and so are its event name and its id.
//! 3. Both pass through a queue that holds one event. They must not come out as one.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic"
)]

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use weir::dialect::{Classifier, Dialect};
use weir::encode::Encoder;
use weir::event::{Keep, Merge, Span};
use weir::queue::ring::{Push, Ring};
use weir::queue::{Limits, Overflow};
use weir::wire::{Decoder, Frame, Framing, Payload};

mod support;
#[path = "support/varying.rs"]
mod varying;

use support::{Fixture, fixtures};

fn frames(fixture: &Fixture) -> Vec<Frame<'static>> {
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    let mut decoder = Decoder::new(fixture.framing, 1 << 20);
    decoder.feed(&fixture.bytes, &mut keep).unwrap();
    frames
}

/// Returns the frame with other data, which must be in one piece.
fn with_data(frame: &Frame<'_>, data: &str) -> Option<Frame<'static>> {
    let Some(Payload::InBlock(span)) = frame.data else {
        return None;
    };
    let (start, end) = (span.start as usize, span.end as usize);
    let name = frame.name.map(|name| {
        if name.start < span.start {
            return name;
        }
        let at = start + data.len() + (name.start as usize - end);
        Span::new(at..at + name.len()).unwrap()
    });
    let block = [&frame.block[..start], data.as_bytes(), &frame.block[end..]].concat();
    Some(Frame {
        block: Cow::Owned(block),
        name,
        data: Span::new(start..start + data.len()).map(Payload::InBlock),
        ..frame.clone().into_owned()
    })
}

/// Returns the SSE frame with another line before its data.
fn with_line(frame: &Frame<'_>, line: &str) -> Frame<'static> {
    let block = [line.as_bytes(), &frame.block].concat();
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    Decoder::new(Framing::Sse, 1 << 20)
        .feed(&block, &mut keep)
        .unwrap();
    frames.remove(0)
}

/// Reports whether the queue merges `first` and `second` after `frames`, and returns how each of them may be merged.
fn merged(
    dialect: Dialect,
    frames: &[Frame<'_>],
    first: &Frame<'_>,
    second: &Frame<'_>,
) -> (bool, [Option<Merge>; 2]) {
    let mut classifier = Classifier::new(dialect);
    for frame in frames {
        classifier.classify(frame, &mut None);
    }
    let limits = Limits {
        max_events: 1,
        max_bytes: 1 << 20,
        merge: true,
        overflow: Overflow::Block,
    };
    let mut ring = Ring::new(limits, Encoder::identity(None, Framing::Ndjson));
    let now = Instant::now();
    let one = *classifier.classify(first, &mut None);
    assert_eq!(ring.push(&first.block, &one, now), Push::Accepted);
    let two = *classifier.classify(second, &mut None);
    ring.push(&second.block, &two, now);
    (ring.counts().merged == 1, [one.merge, two.merge])
}

/// A change of one member.
struct Change {
    /// The path of the member, without places in lists.
    path: String,
    what: &'static str,
    json: Value,
}

/// Adds every change of one member of `value` to `out`. `whole` puts a changed `value` into its place in the event.
fn changes(path: &str, value: &Value, whole: &dyn Fn(Value) -> Value, out: &mut Vec<Change>) {
    let change = |out: &mut Vec<Change>, path: &str, what, json| {
        let path = path.to_owned();
        out.push(Change { path, what, json });
    };
    match value {
        Value::String(text) => {
            change(
                out,
                path,
                "another string",
                whole(json!(format!("{text}x"))),
            );
            change(out, path, "a number", whole(json!(7)));
        }
        Value::Number(number) => {
            let next = number.as_f64().unwrap() + 1.0;
            change(out, path, "another number", whole(json!(next)));
            change(out, path, "a string", whole(json!("x")));
        }
        Value::Bool(is) => change(out, path, "the opposite", whole(json!(!is))),
        Value::Null => {
            change(out, path, "a string", whole(json!("x")));
            change(out, path, "a number", whole(json!(7)));
        }
        Value::Array(items) => {
            let mut more = items.clone();
            more.push(json!("x"));
            change(out, path, "another element", whole(Value::Array(more)));
            for (at, item) in items.iter().enumerate() {
                let inner = |new: Value| {
                    let mut items = items.clone();
                    items[at] = new;
                    whole(Value::Array(items))
                };
                changes(path, item, &inner, out);
            }
        }
        Value::Object(members) => {
            let with = |name: &str, value: Value| {
                let mut members: Map<String, Value> = members.clone();
                members.insert(name.to_owned(), value);
                whole(Value::Object(members))
            };
            for (name, new) in [
                ("zz", json!("x")),
                ("zz", json!(7)),
                ("zz", json!({"a": 1})),
                ("zz", json!(["x"])),
                ("zz", json!(true)),
                ("agent", json!("x")),
                ("node_id", json!("x")),
            ] {
                if !members.contains_key(name) {
                    change(out, &joined(path, name), "a new member", with(name, new));
                }
            }
            for (name, old) in members {
                let path = joined(path, name);
                let mut fewer = members.clone();
                fewer.remove(name);
                if says_something(old) && !is_default(&path, old) {
                    change(out, &path, "no member", whole(Value::Object(fewer)));
                }
                changes(&path, old, &|new| with(name, new), out);
            }
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A member that says nothing may be absent.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn is_default(path: &str, value: &Value) -> bool {
    let value = value.to_string();
    varying::DEFAULTS
        .iter()
        .any(|(name, default)| ends_with(path, name) && value == *default)
}

fn ends_with(path: &str, name: &str) -> bool {
    path == name || path.ends_with(&format!(".{name}"))
}

/// Reports whether the member at `path`, or one that contains it, may differ.
fn may_differ(dialect: Dialect, name: &[u8], path: &str, merge: Merge) -> bool {
    let is_below = |name: &&str| {
        let below = path.strip_prefix(*name);
        below.is_some_and(|rest| name.is_empty() || rest.is_empty() || rest.starts_with('.'))
    };
    let may_replace = merge.keep == Keep::Replace;
    varying::EVERYWHERE.iter().any(|name| ends_with(path, name))
        || varying::of(dialect).iter().any(&is_below)
        || may_replace && varying::replaced(dialect, name).iter().any(is_below)
}

#[test]
fn neighbours_that_differ_outside_their_texts_stay_apart() {
    let mut failed = Vec::new();
    for dialect in Dialect::ALL {
        let (mut tried, mut wrong, mut varied) = (0, BTreeSet::new(), BTreeSet::new());
        for fixture in fixtures(dialect) {
            assert_eq!(fixture.dialect, dialect);
            let frames = frames(&fixture);
            for (at, frame) in frames.iter().enumerate() {
                let Ok(json) = serde_json::from_slice::<Value>(frame.data()) else {
                    continue;
                };
                let before = &frames[..at];
                let Some(first) = with_data(frame, &json.to_string()) else {
                    continue;
                };
                let (is_merged, [Some(merge), _]) = merged(dialect, before, &first, &first) else {
                    continue;
                };
                assert!(is_merged, "{dialect} {json}");
                let text = merge.text.of(&first.block).to_vec();
                let mut all = Vec::new();
                if json.is_object() || json.is_array() {
                    changes("", &json, &|new| new, &mut all);
                }
                for Change { path, what, json } in all {
                    let second = with_data(frame, &json.to_string()).unwrap();
                    tried += 1;
                    let (true, [_, Some(other)]) = merged(dialect, before, &first, &second) else {
                        continue;
                    };
                    // The text itself may differ, of course.
                    let longer = [&text, b"x".as_slice()].concat();
                    if what == "another string" && other.text.of(&second.block) == longer {
                        continue;
                    }
                    if may_differ(dialect, first.name(), &path, merge) {
                        varied.insert(path);
                    } else {
                        wrong.insert(format!("{path}: {what} ({})", fixture.path.display()));
                    }
                }
                if fixture.framing == Framing::Sse {
                    let lines = first.block.split(|byte| *byte == b'\n');
                    let has_id = lines.clone().any(|line| line.starts_with(b"id:"));
                    for line in ["event: other\n", "retry: 7\n", "id: 1\n"] {
                        let second = with_line(&first, line);
                        tried += 1;
                        let may = has_id && line.starts_with("id");
                        if !may && merged(dialect, before, &first, &second).0 {
                            wrong.insert(format!("{}", second.block.escape_ascii()));
                        }
                    }
                }
            }
        }
        failed.extend((!wrong.is_empty()).then_some((dialect, wrong)));
        let has_none = matches!(dialect, Dialect::Mcp | Dialect::Opaque);
        assert_eq!(tried == 0, has_none, "{dialect}");
        println!("{dialect}: {tried} changes, of which these may be merged: {varied:?}");
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
