//! Shared by the tests of the readings: feeds whole streams to a reading and collects its parts.

use super::Reading;
use crate::dialect::{Classifier, Dialect};
use crate::translate::part::{Part, Text};
use crate::wire::{Decoder, Frame, Framing};

/// Returns what a reading says about a stream.
pub(super) fn parts_of(
    reading: &mut dyn Reading,
    dialect: Dialect,
    framing: Framing,
    bytes: &[u8],
) -> Vec<Part<'static>> {
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    decoder.feed(bytes, &mut keep).unwrap();
    frames.extend(decoder.finish());
    let mut classifier = Classifier::new(dialect);
    let mut parts = Vec::new();
    for frame in &frames {
        let event = *classifier.classify(frame, &mut None);
        reading.read(frame, &event, &mut |part| parts.push(into_owned(part)));
    }
    parts
}

/// Returns the joined text of the answer, as a raw JSON string body.
pub(super) fn text_of(parts: &[Part<'_>]) -> String {
    let mut joined = Vec::new();
    for part in parts {
        if let Part::Text { text, .. } = part {
            joined.extend_from_slice(text);
        }
    }
    String::from_utf8(joined).unwrap()
}

/// Returns a file of `tests/data`.
pub(super) fn fixture(dialect: &str, name: &str) -> Vec<u8> {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read(format!("{root}/tests/data/{dialect}/{name}")).unwrap()
}

fn own(bytes: Text<'_>) -> Text<'static> {
    bytes.into_owned().into()
}

fn into_owned(part: Part<'_>) -> Part<'static> {
    match part {
        Part::Start { run, thread, model } => Part::Start {
            run: own(run),
            thread: own(thread),
            model: own(model),
        },
        Part::Text { msg, text } => Part::Text {
            msg: own(msg),
            text: own(text),
        },
        Part::Reasoning { msg, text } => Part::Reasoning {
            msg: own(msg),
            text: own(text),
        },
        Part::TextEnd => Part::TextEnd,
        Part::ToolStart { msg, id, name, by } => Part::ToolStart {
            msg: own(msg),
            id: own(id),
            name: own(name),
            by,
        },
        Part::ToolArgs { id, text } => Part::ToolArgs {
            id: own(id),
            text: own(text),
        },
        Part::ToolReady {
            msg,
            id,
            name,
            args,
            by,
        } => Part::ToolReady {
            msg: own(msg),
            id: own(id),
            name: own(name),
            args: args.map(own),
            by,
        },
        Part::ToolResult {
            id,
            name,
            ok,
            content,
            partial,
        } => Part::ToolResult {
            id: own(id),
            name: own(name),
            ok,
            content: own(content),
            partial,
        },
        Part::Status { name, text, detail } => Part::Status {
            name: own(name),
            text: own(text),
            detail: own(detail),
        },
        Part::Step {
            kind,
            name,
            ends,
            detail,
        } => Part::Step {
            kind: own(kind),
            name: own(name),
            ends,
            detail: own(detail),
        },
        Part::State { op, value } => Part::State {
            op,
            value: own(value),
        },
        Part::Message {
            msg,
            role,
            text,
            duplicate,
        } => Part::Message {
            msg: own(msg),
            role: own(role),
            text: own(text),
            duplicate,
        },
        Part::Interrupt {
            id,
            reason,
            payload,
        } => Part::Interrupt {
            id: own(id),
            reason: own(reason),
            payload: own(payload),
        },
        Part::Usage {
            input,
            output,
            reasoning,
            cached,
            call,
        } => Part::Usage {
            input,
            output,
            reasoning,
            cached,
            call,
        },
        Part::Finish { reason, scope } => Part::Finish { reason, scope },
        Part::Error { code, message } => Part::Error {
            code: own(code),
            message: own(message),
        },
        Part::Raw { name, data } => Part::Raw {
            name: own(name),
            data: own(data),
        },
    }
}
