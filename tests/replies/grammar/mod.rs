//! What the clients of each target enforce, measured with unmodified ones: whoever breaks one of these rules makes a
//! client raise, show nothing, or run a tool twice.

mod ag_ui;
mod ai_sdk;
mod anthropic;
mod native;
mod openai_chat;

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
        Target::AgUi => ag_ui::check(&events, broke),
        Target::AiSdk => ai_sdk::check(&events, broke),
        Target::Anthropic => anthropic::check(&events, broke),
        Target::Events | Target::Ndjson => native::check(&events, broke),
        Target::OpenAiChat => openai_chat::check(&events, broke),
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
