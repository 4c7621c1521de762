//! Tests of the meaning of single frames. Whole streams are in `tests/data`.

mod adk;
mod agents;
mod detection;
mod endings;
mod failures;
mod models;
mod needed;
mod openai;
mod varying;

use http::{HeaderMap, HeaderValue};

use super::*;
use crate::event::{Content, Terminal};
use crate::wire::Decoder;

fn frame(framing: Framing, text: &str) -> Frame<'static> {
    let mut decoder = Decoder::new(framing, 1 << 24);
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    decoder.feed(text.as_bytes(), &mut keep).unwrap();
    assert_eq!(frames.len(), 1, "{text}");
    frames.remove(0)
}

/// Returns an SSE block with `data` only, or with an event name: `name|data`.
fn block(text: &str) -> Frame<'static> {
    match text.split_once('|') {
        Some((name, data)) => frame(Framing::Sse, &format!("event: {name}\ndata: {data}\n\n")),
        None => frame(Framing::Sse, &format!("data: {text}\n\n")),
    }
}

fn read(dialect: Dialect, frame: &Frame<'_>) -> (Class, Content) {
    let event = *Classifier::new(dialect).classify(frame, &mut None);
    (event.class, event.content)
}

fn joins(dialect: Dialect, older: &str, newer: &str) -> bool {
    let mut classifier = Classifier::new(dialect);
    let older = classifier.classify(&block(older), &mut None).merge;
    let newer = classifier.classify(&block(newer), &mut None).merge;
    matches!((older, newer), (Some(a), Some(b)) if a.key == b.key && a.keep == b.keep)
}

#[test]
fn a_heartbeat_is_what_the_clients_of_the_dialect_survive() {
    for dialect in Dialect::ALL {
        let Some(bytes) = dialect.heartbeat(Framing::Sse) else {
            assert_eq!(dialect, Dialect::VercelV4, "it has no SSE");
            continue;
        };
        let is_comment = bytes.starts_with(b":");
        let is_block = bytes.ends_with(b"\n\n");
        let skips = dialect.tolerates_comments() || dialect == Dialect::Ollama || is_block;
        assert!(!is_comment || skips, "{dialect}");
    }
    let array = Dialect::Gemini.heartbeat(Framing::JsonArray);
    assert_eq!(array, Some(&b"\n"[..]));
    let lines = Dialect::VercelV4.heartbeat(Framing::Lines);
    assert_eq!(lines, Some(&b"\n"[..]));
    let ndjson = Dialect::Ollama.heartbeat(Framing::Ndjson);
    assert_eq!(ndjson, Some(&b" "[..]));
    assert_eq!(Dialect::Gemini.heartbeat(Framing::Sse), Some(&b"\n"[..]));
    // Its client takes what follows a lone comment line for a part of it.
    let block = Dialect::Mastra.heartbeat(Framing::Sse);
    assert_eq!(block, Some(&b":\n\n"[..]));
}

#[test]
fn every_dialect_is_found_by_its_word() {
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        assert_eq!(dialect.index(), index);
        assert_eq!(Dialect::parse(dialect.as_str()), Some(dialect));
    }
    assert_eq!(Dialect::parse("auto"), None);
}

#[test]
fn deep_nesting_is_no_recursion() {
    let deep = format!(
        "{}1{}",
        r#"{"kwargs":"#.repeat(200_000),
        "}".repeat(200_000)
    );
    for dialect in Dialect::ALL {
        read(dialect, &block(&format!("data|{deep}")));
        read(dialect, &block(&format!("messages|[{deep}]")));
    }
}
