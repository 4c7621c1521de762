//! What the clients of the Vercel AI SDK enforce.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Event, ensure, text};

pub(super) fn check(events: &[Event], broke: bool) -> Result<(), String> {
    let mut open: BTreeMap<String, &str> = BTreeMap::new();
    let mut calls: BTreeMap<String, &str> = BTreeMap::new();
    let (mut started, mut in_step, mut finished, mut failed, mut done) =
        (false, false, false, false, false);
    for Event { name, data } in events {
        ensure(name.is_empty(), "names are ignored", data)?;
        ensure(!done, "something after [DONE]", data)?;
        if data == "[DONE]" {
            done = true;
            continue;
        }
        ensure(!finished && !failed, "something after the end", data)?;
        let kind = text(data, "type")?;
        if !matches!(kind, "start" | "error") {
            ensure(started, "before the start", data)?;
        }
        match kind {
            "start" => {
                ensure(!started, "two starts", data)?;
                ensure(!text(data, "messageId")?.is_empty(), "an empty id", data)?;
                started = true;
            }
            "start-step" => {
                ensure(!in_step, "a step within a step", data)?;
                in_step = true;
            }
            "finish-step" => {
                ensure(
                    in_step && open.is_empty(),
                    "a part is open at finish-step",
                    data,
                )?;
                // Clients look for a call only in the step that has begun last.
                let is_cut = calls.values().any(|state| *state == "started");
                ensure(!is_cut, "a call is not ready at finish-step", data)?;
                in_step = false;
            }
            "text-start" | "reasoning-start" => {
                let kind = if kind == "text-start" {
                    "text"
                } else {
                    "reasoning"
                };
                let before = open.insert(text(data, "id")?.to_owned(), kind);
                ensure(before.is_none() && in_step, "opened twice", data)?;
            }
            "text-delta" | "reasoning-delta" | "text-end" | "reasoning-end" => {
                let (of, what) = kind.split_once('-').unwrap_or_default();
                let id = text(data, "id")?;
                ensure(open.get(id) == Some(&of), "not open", data)?;
                if what == "end" {
                    open.remove(id);
                } else {
                    text(data, "delta")?;
                }
            }
            "tool-input-start" => {
                text(data, "toolName")?;
                let before = calls.insert(text(data, "toolCallId")?.to_owned(), "started");
                ensure(
                    before.is_none() && in_step,
                    "a call that began before",
                    data,
                )?;
            }
            "tool-input-delta" => {
                text(data, "inputTextDelta")?;
                let call = calls.get(text(data, "toolCallId")?);
                ensure(call == Some(&"started"), "arguments of no open call", data)?;
            }
            "tool-input-available" | "tool-input-error" => {
                ensure(data.get("input").is_some(), "no input", data)?;
                let before = calls.insert(text(data, "toolCallId")?.to_owned(), "ready");
                ensure(
                    before == Some("started"),
                    "ready before its start, or twice",
                    data,
                )?;
            }
            "tool-output-available" | "tool-output-error" => {
                if kind == "tool-output-error" {
                    text(data, "errorText")?;
                } else {
                    ensure(data.get("output").is_some(), "no output", data)?;
                }
                let is_last = data.get("preliminary").is_none();
                let state = if is_last { "answered" } else { "ready" };
                let before = calls.insert(text(data, "toolCallId")?.to_owned(), state);
                ensure(
                    before == Some("ready"),
                    "a result before its call, or twice",
                    data,
                )?;
            }
            "finish" => {
                let reason = text(data, "finishReason")?;
                let known = [
                    "stop",
                    "length",
                    "content-filter",
                    "tool-calls",
                    "error",
                    "other",
                ];
                ensure(known.contains(&reason), "an unknown reason", data)?;
                ensure(
                    !in_step && open.is_empty(),
                    "something is open at finish",
                    data,
                )?;
                finished = true;
            }
            "error" => {
                text(data, "errorText")?;
                failed = true;
            }
            "abort" => {
                text(data, "reason")?;
                ensure(open.is_empty(), "something is open at abort", data)?;
                failed = true;
            }
            kind if kind.starts_with("data-") => {
                ensure(data.get("data").is_some(), "no data", data)?;
            }
            _ => return Err(format!("an unknown type raises: {data}")),
        }
    }
    ensure(finished != failed && done, "no end", &Value::Null)?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}
