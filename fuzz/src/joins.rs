//! Joins: events that differ in a member outside their texts are never joined, and each text stays with its member.
//!
//! 1. The input chooses one event of a fixture, one of its members, and two other values of it (or none).
//! 2. It then writes a stream: each byte is an event with one of the values and a text, or a read of the queue.
//! 3. What comes out of the queue must be the same texts with the same values in the same order, however they are
//!    divided into events.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tokio::time::Instant;
use weir::dialect::{Classifier, Dialect};
use weir::encode::Encoder;
use weir::event::{Event, Keep, Merge};
use weir::queue::ring::{Push, Ring};
use weir::queue::{Limits, Overflow};
use weir::wire::{Decoder, Frame, Framing, Payload};

#[path = "../../tests/support/varying.rs"]
#[expect(
    dead_code,
    reason = "events that replace others have no text to follow"
)]
mod varying;

/// An event with a text, after which another one with the same envelope may be joined.
struct Template {
    dialect: Dialect,
    framing: Framing,
    /// The events before it.
    before: Vec<u8>,
    /// The bytes around its data.
    around: [Vec<u8>; 2],
    json: Value,
    /// The way to the text.
    text: Vec<Step>,
    /// The ways to all other members that must be equal.
    members: Vec<Vec<Step>>,
}

/// A step from a value to one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Place(usize),
}

static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(templates);

fn templates() -> Vec<Template> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let mut out = Vec::new();
    for dialect in Dialect::ALL {
        let Ok(folder) = root.join(dialect.as_str()).read_dir() else {
            continue;
        };
        let mut paths: Vec<_> = folder
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.sort();
        for path in paths {
            let framing = match path.extension().and_then(|ending| ending.to_str()) {
                Some("sse") => Framing::Sse,
                Some("ndjson") => Framing::Ndjson,
                _ => continue,
            };
            let bytes = std::fs::read(&path).unwrap();
            out.extend(in_fixture(dialect, framing, &bytes));
        }
    }
    assert!(out.len() > 100, "{} templates", out.len());
    out
}

fn in_fixture(dialect: Dialect, framing: Framing, bytes: &[u8]) -> Vec<Template> {
    let mut out = Vec::new();
    let mut before = Vec::new();
    let mut classifier = Classifier::new(dialect);
    for frame in frames(framing, bytes) {
        let event = *classifier.classify(&frame, &mut None);
        out.extend(template(dialect, framing, &before, &frame, &event));
        before.extend_from_slice(&frame.block);
    }
    out
}

fn template(
    dialect: Dialect,
    framing: Framing,
    before: &[u8],
    frame: &Frame<'_>,
    event: &Event,
) -> Option<Template> {
    let merge = event
        .merge
        .filter(|merge| merge.keep != Keep::Replace && !merge.lists)?;
    let Some(Payload::InBlock(data)) = frame.data else {
        return None;
    };
    let json: Value = serde_json::from_slice(frame.data()).ok()?;
    if !json.is_object() && !json.is_array() {
        return None;
    }
    let text = text_of(&frame.block, merge)?;
    let mut ways = Vec::new();
    walk(&json, &mut Vec::new(), &mut ways);
    let is_text = |way: &&Vec<Step>| at(&json, way).and_then(Value::as_str) == Some(&*text);
    let texts: Vec<_> = ways.iter().filter(is_text).cloned().collect();
    let [text] = texts.as_slice() else {
        return None;
    };
    let members = ways
        .iter()
        .filter(|way| !text.starts_with(way) && !may_differ(dialect, way))
        .cloned()
        .collect();
    let (start, end) = (data.start as usize, data.end as usize);
    Some(Template {
        dialect,
        framing,
        before: before.to_vec(),
        around: [frame.block[..start].to_vec(), frame.block[end..].to_vec()],
        text: text.clone(),
        members,
        json,
    })
}

/// Decodes the text of an event.
fn text_of(block: &[u8], merge: Merge) -> Option<String> {
    let quoted = [b"\"", merge.text.of(block), b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

/// Lists the ways to all parts of `value`.
fn walk(value: &Value, way: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
    let parts: Vec<(Step, &Value)> = match value {
        Value::Object(members) => {
            let named = |(name, value): (&String, _)| (Step::Name(name.clone()), value);
            members
                .iter()
                .map(|(name, value)| named((name, value)))
                .collect()
        }
        Value::Array(items) => {
            let placed = |(place, value)| (Step::Place(place), value);
            items.iter().enumerate().map(placed).collect()
        }
        _ => return,
    };
    for (step, part) in parts {
        way.push(step);
        out.push(way.clone());
        walk(part, way, out);
        way.pop();
    }
}

fn at<'a>(value: &'a Value, way: &[Step]) -> Option<&'a Value> {
    way.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get(name),
        Step::Place(place) => value.get(place),
    })
}

/// Puts `new` at the end of `way`, or removes what is there.
fn put(value: &mut Value, way: &[Step], new: Option<Value>) {
    let Some((last, first)) = way.split_last() else {
        return;
    };
    let part = first.iter().fold(value, |value, step| match step {
        Step::Name(name) => &mut value[name],
        Step::Place(place) => &mut value[*place],
    });
    match (last, new) {
        (Step::Name(name), Some(new)) => part[name] = new,
        (Step::Place(place), Some(new)) => part[*place] = new,
        (Step::Name(name), None) => drop(part.as_object_mut().and_then(|part| part.remove(name))),
        (Step::Place(_), None) => {}
    }
}

/// Returns the names on a way, as `support/varying.rs` writes them.
fn path_of(way: &[Step]) -> String {
    let names = way.iter().filter_map(|step| match step {
        Step::Name(name) => Some(name.as_str()),
        Step::Place(_) => None,
    });
    names.collect::<Vec<_>>().join(".")
}

fn may_differ(dialect: Dialect, way: &[Step]) -> bool {
    let path = path_of(way);
    let is_below = |known: &&str| {
        let rest = path.strip_prefix(*known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    path.split('.')
        .any(|name| varying::EVERYWHERE.contains(&name))
        || varying::of(dialect).iter().any(is_below)
}

/// Reports whether the absence of a member may mean the same as one of its values.
fn has_default(way: &[Step]) -> bool {
    let path = path_of(way);
    let mut names = varying::DEFAULTS.iter().map(|(name, _)| *name);
    names.any(|name| path == name || path.ends_with(&format!(".{name}")))
}

fn frames(framing: Framing, bytes: &[u8]) -> Vec<Frame<'static>> {
    let mut frames = Vec::new();
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    if decoder.feed(bytes, &mut keep).is_err() {
        return Vec::new();
    }
    frames
}

/// Returns another value of the same kind.
fn other(value: &Value, salt: u8) -> Value {
    match value {
        Value::String(text) => json!(format!("{text}{salt}")),
        Value::Number(number) => json!(number.as_f64().unwrap_or_default() + f64::from(salt)),
        Value::Bool(is) => json!(!is),
        Value::Null => json!(format!("x{salt}")),
        Value::Array(items) => {
            let mut items = items.clone();
            items.push(json!(salt));
            Value::Array(items)
        }
        Value::Object(members) => {
            let mut members = members.clone();
            members.insert("x".to_owned(), json!(salt));
            Value::Object(members)
        }
    }
}

/// A `null`, `false` or empty member counts as absent.
fn says_something(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => true,
    }
}

/// The value of the member that is changed, and the text.
type Said = (Option<Value>, String);

/// Returns what an event says, `None` if it has no text where the template has it.
fn said(template: &Template, way: &[Step], data: &[u8]) -> Option<Said> {
    let json: Value = serde_json::from_slice(data).ok()?;
    let value = at(&json, way).filter(|value| says_something(Some(value)));
    let text = at(&json, &template.text)?.as_str()?;
    Some((value.cloned(), text.to_owned()))
}

/// Joins adjacent texts with the same value.
fn summed(all: impl Iterator<Item = Said>) -> Vec<Said> {
    let mut out: Vec<Said> = Vec::new();
    for (value, text) in all {
        match out.last_mut() {
            Some((last, so_far)) if *last == value => so_far.push_str(&text),
            _ => out.push((value, text)),
        }
    }
    out
}

/// Checks any stream. The first bytes select the event, the member and its values; each further byte is an event or a
/// read.
pub fn check(data: &[u8]) {
    let &[high, low, member, first, second, ref steps @ ..] = data else {
        return;
    };
    let pick = usize::from(u16::from_be_bytes([high, low]));
    let template = &TEMPLATES[pick % TEMPLATES.len()];
    let Some(way) = template
        .members
        .get(usize::from(member) % template.members.len().max(1))
    else {
        return;
    };
    let old = at(&template.json, way).cloned().unwrap_or_default();
    let values = [
        Some(old.clone()),
        Some(other(&old, 1 + first % 9)),
        (second % 2 == 0 || has_default(way)).then(|| other(&old, 11 + second % 9)),
    ];
    let mut classifier = Classifier::new(template.dialect);
    for frame in frames(template.framing, &template.before) {
        classifier.classify(&frame, &mut None);
    }
    let limits = Limits {
        max_events: 1 + usize::from(first / 9 % 8),
        max_bytes: 1 << 16,
        merge: true,
        overflow: Overflow::Block,
    };
    let mut ring = Ring::new(limits, Encoder::identity(None, Framing::Ndjson));
    let now = Instant::now();
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for (number, step) in steps.iter().enumerate().take(400) {
        if step % 16 == 15 {
            ring.take(usize::from(*step) * 8, &mut received);
            continue;
        }
        let mut json = template.json.clone();
        put(&mut json, way, values[usize::from(*step) % 3].clone());
        put(
            &mut json,
            &template.text,
            Some(json!(format!("{number}é\n"))),
        );
        let [start, end] = &template.around;
        let block = [start.as_slice(), json.to_string().as_bytes(), end].concat();
        for frame in frames(template.framing, &block) {
            let event = *classifier.classify(&frame, &mut None);
            sent.extend(said(template, way, frame.data()));
            while ring.push(&frame.block, &event, now) != Push::Accepted {
                assert!(
                    ring.take(1, &mut received).is_some(),
                    "an empty queue takes anything"
                );
            }
        }
    }
    while ring.take(usize::MAX, &mut received).is_some() {}
    let out = frames(template.framing, &received);
    let got = out
        .iter()
        .filter_map(|frame| said(template, way, frame.data()));
    assert_eq!(
        summed(got),
        summed(sent.into_iter()),
        "{} {way:?} {}",
        template.dialect,
        template.json
    );
}
