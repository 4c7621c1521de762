//! What the clients of Weir's own events enforce.

use serde_json::Value;

use super::{Event, ensure, text};

pub(super) fn check(events: &[Event], broke: bool) -> Result<(), String> {
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
