//! JSON objects have no order: every frame of every fixture means the same with its members reversed and shuffled.
#![expect(
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use weir::dialect::{Classifier, Dialect, detect};
use weir::event::{Event, Step};
use weir::wire::{Decoder, Frame, Framing};

/// In which order members are written.
#[derive(Clone, Copy, Debug)]
enum Order {
    AsSorted,
    Reversed,
    Shuffled(u64),
}

/// Writes `value` with the members of each object in this order.
fn write(value: &Value, order: &mut Order, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            match order {
                Order::AsSorted => {}
                Order::Reversed => members.reverse(),
                Order::Shuffled(seed) => {
                    for last in (1..members.len()).rev() {
                        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let other = usize::try_from(*seed >> 33).unwrap() % (last + 1);
                        members.swap(last, other);
                    }
                }
            }
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, order, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, order, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The fixture with each JSON object on a `data` line, or on a line of its own, written in this order.
fn reordered(text: &str, mut order: Order) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        let end = &line[body.len()..];
        let (name, json) = match body.strip_prefix("data:") {
            Some(json) => ("data:", json),
            None => ("", body),
        };
        match serde_json::from_str::<Value>(json) {
            Ok(value) if value.is_object() || value.is_array() => {
                out.push_str(name);
                write(&value, &mut order, &mut out);
            }
            _ => out.push_str(body),
        }
        out.push_str(end);
    }
    out
}

/// What must not depend on the order: everything but places, keys and hashes.
fn meaning(frame: &Frame<'_>, event: &Event) -> String {
    let text = event
        .text
        .map(|text| String::from_utf8_lossy(text.of(&frame.block)).into_owned());
    // A step that several calls make at once is read from the block itself.
    let step = event
        .call
        .map(|call| call.step == Step::Several || event.text.is_some());
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {step:?} text={text:?}",
        event.class,
        event.content,
        event.terminal,
        event
            .usage
            .map(|usage| (usage.input, usage.output, usage.reasoning)),
        event.merge.is_some(),
        event.side,
    )
}

fn meanings(dialect: Dialect, framing: Framing, text: &str) -> Vec<String> {
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut classifier = Classifier::new(dialect);
    let mut out = Vec::new();
    let mut take = |frame: Frame<'_>| {
        let event = *classifier.classify(&frame, &mut None);
        let shown = detect::from_frame(&frame);
        out.push(format!("{shown} {}", meaning(&frame, &event)));
    };
    decoder.feed(text.as_bytes(), &mut take).unwrap();
    if let Some(frame) = decoder.finish() {
        take(frame);
    }
    out
}

#[test]
fn no_classifier_depends_on_the_order_of_members() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut frames = 0;
    for dialect in Dialect::ALL {
        let Ok(folder) = fs::read_dir(root.join(dialect.as_str())) else {
            continue;
        };
        for file in folder {
            let path = file.unwrap().path();
            let framing = match path.extension().and_then(|ending| ending.to_str()) {
                Some("sse") => Framing::Sse,
                Some("ndjson") => Framing::Ndjson,
                _ => continue,
            };
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            let expected = meanings(dialect, framing, &reordered(&text, Order::AsSorted));
            let original = meanings(dialect, framing, &text);
            // Escapes are written in another way, the rest is the same.
            let bare = |meaning: &String| meaning.split(" text=").next().unwrap().to_owned();
            let (one, other): (Vec<_>, Vec<_>) = (
                original.iter().map(bare).collect(),
                expected.iter().map(bare).collect(),
            );
            assert_eq!(other, one, "{}", path.display());
            frames += expected.len();
            let orders = [
                Order::Reversed,
                Order::Shuffled(1),
                Order::Shuffled(2),
                Order::Shuffled(3),
            ];
            for order in orders {
                let found = meanings(dialect, framing, &reordered(&text, order));
                for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
                    let place = path.display();
                    assert_eq!(found, expected, "{place}, frame {index}, {order:?}");
                }
                assert_eq!(found.len(), expected.len(), "{}", path.display());
            }
        }
    }
    assert!(frames > 500, "{frames} frames were read");
}
