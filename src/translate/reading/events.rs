//! Weir's native events, from another Weir or from an agent that writes them.

use super::Reading;
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{id, is_true, member, number, string, unescaped, word};
use crate::wire::Frame;

/// The state between events: none.
#[derive(Debug, Default)]
pub(super) struct Events {}

impl Reading for Events {
    fn read(&mut self, frame: &Frame<'_>, _: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        let at = |name: &str| member(data, name).unwrap_or_default();
        let text = |name: &str| word(data, &[name]);
        match text("type") {
            b"start" => parts(Part::Start {
                run: text("run").into(),
                thread: text("thread").into(),
                model: text("model").into(),
            }),
            b"token" => parts(Part::Text {
                msg: text("msg").into(),
                text: text("text").into(),
            }),
            b"reasoning" => parts(Part::Reasoning {
                msg: text("msg").into(),
                text: text("text").into(),
            }),
            b"tool_call" => call(data, parts),
            b"tool_result" => parts(Part::ToolResult {
                id: id(data, &["id"]).into(),
                name: text("name").into(),
                ok: at("ok") != b"false",
                content: at("content").into(),
                partial: is_true(data, &["partial"]),
            }),
            b"status" if matches!(text("name"), b"agent" | b"node" | b"step" | b"task") => {
                parts(Part::Step {
                    kind: text("name").into(),
                    name: text("text").into(),
                    ends: text("phase") == b"end",
                    detail: at("detail").into(),
                });
            }
            b"status" => parts(Part::Status {
                name: text("name").into(),
                text: text("text").into(),
                detail: at("detail").into(),
            }),
            b"state" => parts(Part::State {
                op: match text("op") {
                    b"patch" => StateOp::Patch,
                    b"update" => StateOp::Update,
                    _ => StateOp::Snapshot,
                },
                value: at("value").into(),
            }),
            b"message"
                if !is_true(data, &["duplicate"]) && matches!(text("role"), b"" | b"assistant") =>
            {
                parts(Part::Text {
                    msg: text("msg").into(),
                    text: text("text").into(),
                });
                parts(Part::TextEnd);
            }
            b"message" => parts(Part::Message {
                msg: text("msg").into(),
                role: text("role").into(),
                text: text("text").into(),
                duplicate: is_true(data, &["duplicate"]),
            }),
            b"interrupt" => parts(Part::Interrupt {
                id: id(data, &["id"]).into(),
                reason: text("reason").into(),
                payload: at("payload").into(),
            }),
            b"usage" => parts(Part::Usage {
                input: number(data, &["input"]),
                output: number(data, &["output"]),
                reasoning: number(data, &["reasoning"]),
                cached: number(data, &["cached"]),
                call: 0,
            }),
            b"finish" => parts(Part::Finish {
                reason: Reason::of(text("reason")),
                scope: match text("scope") {
                    b"choice" => Scope::Choice,
                    b"step" => Scope::Step,
                    _ => Scope::Run,
                },
            }),
            b"error" => parts(Part::Error {
                code: text("code").into(),
                message: text("message").into(),
            }),
            b"raw" => parts(Part::Raw {
                name: text("name").into(),
                data: at("data").into(),
            }),
            _ => parts(Part::Raw {
                name: b"".into(),
                data: data.into(),
            }),
        }
    }
}

/// Reads one phase of a call.
fn call(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let call = id(data, &["id"]);
    match word(data, &["phase"]) {
        b"start" => parts(Part::ToolStart {
            msg: word(data, &["msg"]).into(),
            id: call.into(),
            name: word(data, &["name"]).into(),
            by: By::Agent,
        }),
        b"args" => parts(Part::ToolArgs {
            id: call.into(),
            text: word(data, &["text"]).into(),
        }),
        _ => {
            let text = member(data, "args_text").and_then(string);
            parts(Part::ToolReady {
                msg: word(data, &["msg"]).into(),
                id: call.into(),
                name: word(data, &["name"]).into(),
                args: match text {
                    Some(text) => Some(unescaped(text).into()),
                    None => member(data, "args").map(Into::into),
                },
                by: By::Agent,
            });
        }
    }
}

/// Reports whether an event is a native one.
pub(super) fn is_native(data: &[u8]) -> bool {
    number(data, &["seq"]).is_some() && !word(data, &["type"]).is_empty()
}
