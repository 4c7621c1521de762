//! What the clients of each target enforce, measured with unmodified ones: whoever breaks one of these rules makes a
//! client raise, show nothing, or run a tool twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weir::translate::Target;

/// One event of a client's stream.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Splits a stream. The sentinel of some targets becomes the string `[DONE]`.
pub(crate) fn events(target: Target, bytes: &[u8]) -> Result<Vec<Event>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let parse = |data: &str| match data {
        "[DONE]" => Ok(Value::from("[DONE]")),
        data => serde_json::from_str(data)
            .or_else(|_| serde_json::from_str(&without_halves(data)))
            .map_err(|error| format!("{error}: {data}")),
    };
    if target == Target::Ndjson {
        return (text.lines())
            .map(|line| {
                Ok(Event {
                    name: String::new(),
                    data: parse(line)?,
                })
            })
            .collect();
    }
    if !text.is_empty() && !text.ends_with("\n\n") {
        return Err("the last event lacks its blank line".into());
    }
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        let mut name = String::new();
        let mut data = None;
        for line in block.lines() {
            if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("data: ") {
                if data.replace(parse(value)?).is_some() {
                    return Err(format!("two data lines: {block}"));
                }
            } else {
                return Err(format!("an unknown line: {line}"));
            }
        }
        let data = data.ok_or("an event without data")?;
        events.push(Event { name, data });
    }
    Ok(events)
}

/// Replaces halves of surrogate pairs: agents may send the two in two pieces, and the clients' languages join them.
fn without_halves(text: &str) -> String {
    let mut whole = String::new();
    for (number, piece) in text.split("\\ud").enumerate() {
        match piece.get(3..) {
            Some(rest) if number > 0 => {
                whole.push_str("\\ufffd");
                whole.push_str(rest);
            }
            _ => whole.push_str(piece),
        }
    }
    whole
}

/// Checks a stream. `broke`: it must end with an error.
pub(crate) fn check(target: Target, bytes: &[u8], broke: bool) -> Result<(), String> {
    let events = events(target, bytes)?;
    for event in &events {
        if has_null(&event.data) && matches!(target, Target::AiSdk | Target::AgUi) {
            let is_payload = [
                "input", "output", "value", "snapshot", "delta", "data", "rawEvent",
            ];
            let own = event.data.as_object().is_some_and(|object| {
                (object.iter()).any(|(key, value)| {
                    !is_payload.contains(&key.as_str()) && has_null(value) && key != "outcome"
                })
            });
            if own {
                return Err(format!("null raises: {}", event.data));
            }
        }
    }
    match target {
        Target::AgUi => ag_ui(&events, broke),
        Target::AiSdk => ai_sdk(&events, broke),
        Target::Anthropic => anthropic(&events, broke),
        Target::Events | Target::Ndjson => native(&events, broke),
        Target::OpenAiChat => openai_chat(&events, broke),
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().any(has_null),
        Value::Object(object) => object.values().any(has_null),
        _ => false,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("no string `{key}` in {value}"))
}

fn ensure(holds: bool, what: &str, event: &Value) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("{what}: {event}"))
    }
}

fn ai_sdk(events: &[Event], broke: bool) -> Result<(), String> {
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

fn ag_ui(events: &[Event], broke: bool) -> Result<(), String> {
    let mut open = BTreeSet::new();
    let mut calls = BTreeSet::new();
    let (mut started, mut ended, mut failed) = (false, false, false);
    for Event { name, data } in events {
        ensure(name.is_empty(), "a name", data)?;
        ensure(data.is_object(), "[DONE] raises", data)?;
        ensure(!ended && !failed, "something after the end", data)?;
        let kind = text(data, "type")?;
        ensure(
            started || matches!(kind, "RUN_STARTED" | "RUN_ERROR"),
            "before RUN_STARTED",
            data,
        )?;
        if let Some(delta) = data.get("delta").and_then(Value::as_str) {
            ensure(!delta.is_empty(), "an empty delta raises", data)?;
        }
        let id = |key: &str| text(data, key).map(ToOwned::to_owned);
        match kind {
            "RUN_STARTED" => {
                ensure(!started, "two starts", data)?;
                id("threadId")?;
                id("runId")?;
                started = true;
            }
            "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START" => {
                let role = text(data, "role")?;
                let expected = if kind.starts_with('T') {
                    "assistant"
                } else {
                    "reasoning"
                };
                ensure(role == expected, "the role", data)?;
                ensure(open.insert(("m", id("messageId")?)), "opened twice", data)?;
            }
            "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT" => {
                text(data, "delta")?;
                ensure(open.contains(&("m", id("messageId")?)), "not open", data)?;
            }
            "TEXT_MESSAGE_END" | "REASONING_MESSAGE_END" => {
                ensure(open.remove(&("m", id("messageId")?)), "not open", data)?;
            }
            "REASONING_START" => ensure(open.insert(("r", id("messageId")?)), "twice", data)?,
            "REASONING_END" => ensure(open.remove(&("r", id("messageId")?)), "not open", data)?,
            "TOOL_CALL_START" => {
                text(data, "toolCallName")?;
                ensure(
                    calls.insert(id("toolCallId")?),
                    "a call that began before",
                    data,
                )?;
                ensure(open.insert(("c", id("toolCallId")?)), "opened twice", data)?;
            }
            "TOOL_CALL_ARGS" => {
                text(data, "delta")?;
                ensure(open.contains(&("c", id("toolCallId")?)), "not open", data)?;
            }
            "TOOL_CALL_END" => ensure(open.remove(&("c", id("toolCallId")?)), "not open", data)?,
            "TOOL_CALL_RESULT" => {
                id("messageId")?;
                id("content")?;
                id("toolCallId")?;
            }
            "STEP_STARTED" => ensure(open.insert(("s", id("stepName")?)), "started twice", data)?,
            "STEP_FINISHED" => ensure(
                open.remove(&("s", id("stepName")?)),
                "a step that was not started",
                data,
            )?,
            "STATE_SNAPSHOT" => ensure(data.get("snapshot").is_some(), "no snapshot", data)?,
            "STATE_DELTA" => ensure(
                (data.get("delta").and_then(Value::as_array))
                    .is_some_and(|patch| patch.iter().all(Value::is_object)),
                "no patch",
                data,
            )?,
            "CUSTOM" => {
                id("name")?;
                ensure(data.get("value").is_some(), "no value", data)?;
            }
            "RUN_FINISHED" => {
                id("threadId")?;
                id("runId")?;
                ensure(open.is_empty(), "something is open at RUN_FINISHED", data)?;
                let outcome = data.pointer("/outcome/type").and_then(Value::as_str);
                match outcome {
                    Some("success") => {}
                    Some("interrupt") => {
                        let all = data
                            .pointer("/outcome/interrupts")
                            .and_then(Value::as_array);
                        ensure(all.is_some_and(|all| !all.is_empty()), "no interrupt", data)?;
                    }
                    _ => return Err(format!("an unknown outcome: {data}")),
                }
                ended = true;
            }
            "RUN_ERROR" => {
                text(data, "message")?;
                failed = true;
            }
            _ => return Err(format!("an unknown type: {data}")),
        }
    }
    ensure(ended || failed, "no end", &Value::Null)?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}

fn openai_chat(events: &[Event], broke: bool) -> Result<(), String> {
    let mut calls = 0;
    let (mut role, mut finished, mut usage, mut done, mut failed) =
        (false, false, false, false, false);
    for Event { name, data } in events {
        ensure(name.is_empty(), "a name", data)?;
        ensure(!done && !failed, "something after the end", data)?;
        if data == "[DONE]" {
            done = true;
            continue;
        }
        if data.get("error").is_some() {
            ensure(data.pointer("/error/message").is_some(), "no message", data)?;
            failed = true;
            continue;
        }
        for key in ["id", "object", "model"] {
            text(data, key)?;
        }
        let choices = data
            .get("choices")
            .and_then(Value::as_array)
            .ok_or("no choices")?;
        let Some(choice) = choices.first() else {
            ensure(
                finished && !usage && data.get("usage").is_some(),
                "a bare chunk",
                data,
            )?;
            usage = true;
            continue;
        };
        ensure(!finished, "a choice after its finish reason", data)?;
        let delta = choice.get("delta").ok_or("no delta")?;
        if role {
            ensure(delta.get("role").is_none(), "a second role", data)?;
        } else {
            ensure(
                delta["role"] == "assistant",
                "no role in the first chunk",
                data,
            )?;
            role = true;
        }
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let index = call["index"].as_u64().ok_or("a call without index")?;
            if call.get("id").is_some() {
                ensure(index == calls, "the index of a new call", data)?;
                text(&call["function"], "name")?;
                calls += 1;
            } else {
                ensure(index < calls, "a piece of an unknown call", data)?;
                ensure(
                    call["function"].get("name").is_none(),
                    "a second name",
                    data,
                )?;
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            let known = ["stop", "length", "tool_calls", "content_filter"];
            ensure(known.contains(&reason), "an unknown reason", data)?;
            finished = true;
        }
    }
    ensure(failed != done, "no end, or two", &Value::Null)?;
    ensure(
        !done || finished,
        "no finish reason: helpers raise",
        &Value::Null,
    )?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}

fn anthropic(events: &[Event], broke: bool) -> Result<(), String> {
    let mut open: Option<(u64, String)> = None;
    let mut input = String::new();
    let mut next = 0;
    let (mut started, mut reason, mut stopped, mut failed) = (false, false, false, false);
    for Event { name, data } in events {
        let kind = text(data, "type")?;
        ensure(name == kind, "the name must be the type", data)?;
        ensure(!stopped && !failed, "something after the end", data)?;
        ensure(
            started || matches!(kind, "message_start" | "error"),
            "before the start",
            data,
        )?;
        match kind {
            "message_start" => {
                ensure(!started, "two starts", data)?;
                let usage = data.pointer("/message/usage/input_tokens");
                ensure(usage.is_some(), "no usage: SDKs fail later", data)?;
                started = true;
            }
            "content_block_start" => {
                ensure(open.is_none(), "a block within a block", data)?;
                ensure(data["index"] == next, "a gap in the indices", data)?;
                let kind = text(&data["content_block"], "type")?;
                open = Some((next, kind.to_owned()));
                input.clear();
                next += 1;
            }
            "content_block_delta" => {
                let (index, block) = open.as_ref().ok_or("a delta without a block")?;
                ensure(data["index"] == *index, "a delta of another block", data)?;
                let expected = match block.as_str() {
                    "text" => "text_delta",
                    "thinking" => "thinking_delta",
                    _ => "input_json_delta",
                };
                ensure(data["delta"]["type"] == expected, "the kind of delta", data)?;
                if expected == "input_json_delta" {
                    input += text(&data["delta"], "partial_json")?;
                    begins_object(&input, false)?;
                }
            }
            "content_block_stop" => {
                let (index, _) = open.take().ok_or("a stop without a block")?;
                ensure(data["index"] == index, "a stop of another block", data)?;
                if !input.is_empty() {
                    begins_object(&input, true)?;
                }
            }
            "message_delta" => {
                ensure(open.is_none() && !reason, "a block is open, or twice", data)?;
                text(&data["delta"], "stop_reason")?;
                ensure(data["usage"]["output_tokens"].is_u64(), "no usage", data)?;
                reason = true;
            }
            "message_stop" => {
                ensure(reason, "no message_delta", data)?;
                stopped = true;
            }
            "error" => {
                ensure(data.pointer("/error/message").is_some(), "no message", data)?;
                failed = true;
            }
            _ => return Err(format!("an unknown type: {data}")),
        }
    }
    ensure(stopped != failed, "no end, or two", &Value::Null)?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}

/// Checks the input of a tool, of which clients read each beginning: they raise on what is none of an object.
fn begins_object(input: &str, is_whole: bool) -> Result<(), String> {
    if !input.trim_start().starts_with('{') {
        return Err(format!("the input of a tool is no object: {input}"));
    }
    match serde_json::from_str::<Value>(input) {
        Ok(_) => Ok(()),
        Err(error) if error.is_eof() && !is_whole => Ok(()),
        Err(error) => Err(format!("{error} in the input of a tool: {input}")),
    }
}

fn native(events: &[Event], broke: bool) -> Result<(), String> {
    const TYPES: [&str; 13] = [
        "start",
        "token",
        "reasoning",
        "tool_call",
        "tool_result",
        "status",
        "state",
        "message",
        "interrupt",
        "usage",
        "finish",
        "error",
        "raw",
    ];
    let mut ended = false;
    let mut failed = false;
    for (number, Event { name, data }) in events.iter().enumerate() {
        let kind = text(data, "type")?;
        ensure(TYPES.contains(&kind), "an unknown type", data)?;
        ensure(
            name.is_empty() || name == kind,
            "the name must be the type",
            data,
        )?;
        ensure(data["seq"] == number + 1, "the number", data)?;
        ensure(!ended, "something after the end", data)?;
        ensure(
            (kind == "start") == (number == 0) || (number == 0 && kind == "error"),
            "the start comes first, and once",
            data,
        )?;
        failed = kind == "error" && data["terminal"] == true;
        ended = failed || (kind == "finish" && data["scope"] == "run");
    }
    ensure(ended, "no end", &Value::Null)?;
    ensure(
        failed || !broke,
        "a broken stream that finished",
        &Value::Null,
    )
}
