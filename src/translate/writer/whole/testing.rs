//! Shared by the tests of whole answers and of records: tells a conversation, and returns what becomes of it.

use super::{Form, WholeWriter};
use crate::translate::action::{Action, Facts};
use crate::translate::conversation::{Conversation, LastWord};
use crate::translate::gather::Gathered;
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::writer::{Block, Out, Writer};

/// What comes after the last part, unless the run is over by then.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) enum Last {
    Finish,
    Stop,
}

/// Tells a conversation of these parts.
fn tell(
    parts: &[Part<'static>],
    last: Last,
    mut act: impl FnMut(&Facts, &Action<'_>),
) -> Conversation {
    let mut conversation = Conversation::default();
    for part in parts {
        conversation.note(match part {
            Part::Error { .. } => LastWord::Failed,
            Part::Finish {
                scope: Scope::Run, ..
            } => LastWord::Ends,
            _ => LastWord::No,
        });
        conversation.take(part.clone(), &mut act);
    }
    match last {
        Last::Finish => conversation.finish(&mut act),
        Last::Stop => conversation.stop(&mut act),
    }
    conversation
}

/// Gathers a conversation of these parts.
pub(in crate::translate) fn gather(
    parts: &[Part<'static>],
    last: Last,
    max_text_bytes: usize,
) -> (Gathered, Conversation) {
    let mut gathered = Gathered::new(max_text_bytes);
    let conversation = tell(parts, last, |facts, action| gathered.take(facts, action));
    (gathered, conversation)
}

/// Returns the only block that is written for a conversation of these parts, which is one line of JSON.
pub(super) fn whole(
    form: Form,
    parts: &[Part<'static>],
    last: Last,
    max_text_bytes: usize,
) -> String {
    let writer = WholeWriter::new(form, 7, max_text_bytes, false);
    written(writer, parts, last)
}

/// Returns the only block, with what was going on.
pub(super) fn whole_with_lines(
    form: Form,
    parts: &[Part<'static>],
    max_text_bytes: usize,
) -> String {
    let writer = WholeWriter::new(form, 7, max_text_bytes, true);
    written(writer, parts, Last::Finish)
}

fn written(mut writer: WholeWriter, parts: &[Part<'static>], last: Last) -> String {
    let mut blocks = Vec::new();
    let mut block = Vec::new();
    tell(parts, last, |facts, action| {
        let mut sink = |block: Block<'_>| blocks.push(block.bytes.to_vec());
        writer.write(facts, action, &mut Out::new(&mut block, &mut sink));
    });
    assert_eq!(blocks.len(), 1);
    let line = String::from_utf8(blocks.remove(0)).unwrap();
    serde_json::from_str::<serde::de::IgnoredAny>(&line).unwrap();
    let body = line.strip_suffix('\n').unwrap();
    assert!(!body.contains('\n'));
    body.to_owned()
}

/// A run begins.
pub(in crate::translate) fn run() -> Part<'static> {
    Part::Start {
        run: b"r1".into(),
        thread: b"t1".into(),
        model: b"m".into(),
    }
}

/// A piece of the answer.
pub(in crate::translate) fn text(msg: &'static str, text: &'static str) -> Part<'static> {
    Part::Text {
        msg: msg.as_bytes().into(),
        text: text.as_bytes().into(),
    }
}

/// A piece of reasoning.
pub(in crate::translate) fn reasoning(msg: &'static str, text: &'static str) -> Part<'static> {
    Part::Reasoning {
        msg: msg.as_bytes().into(),
        text: text.as_bytes().into(),
    }
}

/// A call, with its arguments in pieces.
pub(in crate::translate) fn call_of(
    id: &'static str,
    name: &'static str,
    by: By,
) -> Vec<Part<'static>> {
    let mut parts = vec![Part::ToolStart {
        msg: b"".into(),
        id: id.as_bytes().into(),
        name: name.as_bytes().into(),
        by,
    }];
    for piece in ["{\\\"ci", "ty\\\":\\\"Os", "lo\\\"}"] {
        parts.push(Part::ToolArgs {
            id: id.as_bytes().into(),
            text: piece.as_bytes().into(),
        });
    }
    parts.push(Part::ToolReady {
        msg: b"".into(),
        id: id.as_bytes().into(),
        name: b"".into(),
        args: None,
        by,
    });
    parts
}

/// The result of a call.
pub(super) fn result(id: &'static str, ok: bool, content: &'static str) -> Part<'static> {
    Part::ToolResult {
        id: id.as_bytes().into(),
        name: b"".into(),
        ok,
        content: content.as_bytes().into(),
        partial: false,
    }
}

/// A call whose arguments are cut off.
pub(super) fn broken_call(by: By) -> Vec<Part<'static>> {
    vec![
        Part::ToolStart {
            msg: b"".into(),
            id: b"c1".into(),
            name: b"wx".into(),
            by,
        },
        Part::ToolArgs {
            id: b"c1".into(),
            text: b"{\\\"ci".into(),
        },
    ]
}

/// The agent waits for a person.
pub(super) fn interrupt() -> Part<'static> {
    Part::Interrupt {
        id: b"i1".into(),
        reason: b"approval".into(),
        payload: b"{\"ask\":\"Book?\"}".into(),
    }
}

/// The agent has failed.
pub(in crate::translate) fn failure() -> Part<'static> {
    Part::Error {
        code: b"busy".into(),
        message: b"Too many requests.".into(),
    }
}

/// The run is over for this reason.
pub(in crate::translate) fn finish(reason: Reason) -> Part<'static> {
    Part::Finish {
        reason,
        scope: Scope::Run,
    }
}

fn usage() -> Part<'static> {
    Part::Usage {
        input: Some(25),
        output: Some(18),
        reasoning: Some(5),
        cached: None,
        call: 0,
    }
}

/// Reasoning and a text, until a call whose result is still missing.
pub(super) fn asks_for_tool(by: By) -> Vec<Part<'static>> {
    let mut parts = vec![
        run(),
        reasoning("m1", "Check the weather."),
        text("m1", "Let me "),
        text("m1", "look."),
    ];
    parts.extend(call_of("c1", "wx", by));
    parts.push(usage());
    parts
}

/// Reasoning, a text, a call and its result, a text, token counts, and the end.
pub(in crate::translate) fn weather(by: By) -> Vec<Part<'static>> {
    let mut parts = asks_for_tool(by);
    parts.push(result("c1", true, "\"4 C\""));
    parts.push(text("m2", "It is 4 C "));
    parts.push(text("m2", "in Oslo."));
    parts.push(finish(Reason::Stop));
    parts
}
