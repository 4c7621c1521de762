//! Agents that break the rules of their own dialect, and what clients must get of them.

use serde_json::{Value, json};
use weir::dialect::{Choice, Dialect};
use weir::translate::Target;
use weir::wire::Framing;

use crate::support::Fixture;
use crate::{grammar, translated};

/// Plays events, and returns what a client of the target gets. It must accept that.
pub(crate) fn played(dialect: Dialect, events: &[(&str, Value)], target: Target) -> Vec<Value> {
    let mut bytes = String::new();
    for (name, data) in events {
        if !name.is_empty() {
            bytes += &format!("event: {name}\n");
        }
        bytes += &format!("data: {data}\n\n");
    }
    let fixture = Fixture {
        path: "inline".into(),
        dialect,
        framing: Framing::Sse,
        bytes: bytes.into_bytes(),
    };
    let got = translated(&fixture, &fixture.bytes, target, Choice::Fixed(dialect));
    assert_eq!(grammar::check(target, &got.bytes, got.broke), Ok(()));
    let events = grammar::events(target, &got.bytes).unwrap();
    events.into_iter().map(|event| event.data).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    (events.iter())
        .filter_map(|event| event["type"].as_str())
        .collect()
}

/// Two tools run at the same time, and the model speaks before the arguments of the second are known to be complete:
/// `useChat` would show that call twice, once as one that never ends.
#[test]
fn a_step_does_not_end_within_a_call() {
    let message = |message: Value| ("messages", json!([message, { "langgraph_node": "agent" }]));
    let model = |id: &str, text: &str, chunks: Value| {
        message(json!({
            "type": "AIMessageChunk", "id": id, "content": text, "tool_call_chunks": chunks,
        }))
    };
    let chunk = |id: &str, at: u32| {
        json!({
            "type": "tool_call_chunk", "id": id, "name": "tides", "args": "{}", "index": at,
        })
    };
    let answer = |id: &str| {
        message(json!({
            "type": "tool", "id": format!("of-{id}"), "tool_call_id": id, "name": "tides",
            "content": "high", "status": "success",
        }))
    };
    let events = [
        ("metadata", json!({ "run_id": "r" })),
        model("m1", "", json!([chunk("a", 0), chunk("b", 1)])),
        answer("a"),
        model("m2", "Half", json!([])),
        model("m2", " way.", json!([])),
        answer("b"),
        model("m3", "Done.", json!([])),
    ];
    let got = played(Dialect::LangGraph, &events, Target::AiSdk);
    let of_second = (got.iter()).filter(|event| event["toolCallId"] == "b");
    let of_second: Vec<Value> = of_second.cloned().collect();
    let expected = [
        "tool-input-start",
        "tool-input-delta",
        "tool-input-available",
        "tool-output-available",
    ];
    assert_eq!(kinds(&of_second), expected);
    let steps = kinds(&got)
        .iter()
        .filter(|kind| **kind == "start-step")
        .count();
    assert_eq!(steps, 2, "{got:?}");
}

/// AG-UI's clients raise on a patch that is no list of objects.
#[test]
fn what_is_no_patch_is_not_told_as_one() {
    for patch in [json!("bad"), json!([5]), json!({ "op": "add" })] {
        let events = [
            (
                "",
                json!({ "type": "RUN_STARTED", "threadId": "t", "runId": "r" }),
            ),
            ("", json!({ "type": "STATE_DELTA", "delta": patch })),
            (
                "",
                json!({ "type": "RUN_FINISHED", "threadId": "t", "runId": "r" }),
            ),
        ];
        let got = played(Dialect::AgUi, &events, Target::AgUi);
        let custom = got.iter().find(|event| event["type"] == "CUSTOM").unwrap();
        assert_eq!(
            (&custom["name"], &custom["value"]),
            (&json!("weir.state"), &patch)
        );
    }
}

/// Returns the calls that a client of the AI SDK gets, with their inputs.
fn inputs(calls: &[Value]) -> Vec<(String, String, Value)> {
    let chunk = |delta: Value, reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "choices": [choice] });
        ("", chunk)
    };
    let mut events: Vec<_> = (calls.iter())
        .map(|call| chunk(json!({ "tool_calls": [call] }), Value::Null))
        .collect();
    events.push(chunk(json!({}), json!("tool_calls")));
    let got = played(Dialect::OpenAiChat, &events, Target::AiSdk);
    (got.into_iter())
        .filter(|event| event.get("input").is_some())
        .map(|event| {
            assert_eq!(event["type"], "tool-input-available", "{event}");
            let of = |key: &str| event[key].as_str().unwrap().to_owned();
            (of("toolCallId"), of("toolName"), event["input"].clone())
        })
        .collect()
}

#[test]
fn calls_that_share_an_index_or_an_id_are_two() {
    let call = |at: u32, id: &str, name: &str, args: &str| {
        let function = json!({ "name": name, "arguments": args });
        json!({ "index": at, "id": id, "function": function })
    };
    let rest = |at: u32, args: &str| json!({ "index": at, "function": { "arguments": args } });
    let (one, two) = (json!({ "a": 1 }), json!({ "b": 2 }));
    let of = |id: &str, name: &str, input: &Value| (id.to_owned(), name.to_owned(), input.clone());

    let shared_index = [
        call(0, "t1", "x", "{\"a\":"),
        rest(0, "1}"),
        call(0, "t2", "y", "{\"b\":"),
        rest(0, "2}"),
    ];
    assert_eq!(
        inputs(&shared_index),
        [of("t1", "x", &one), of("t2", "y", &two)]
    );

    let shared_id = [
        call(0, "t", "x", "{\"a\":"),
        call(1, "t", "y", "{\"b\":"),
        rest(0, "1}"),
        rest(1, "2}"),
    ];
    assert_eq!(
        inputs(&shared_id),
        [of("t", "x", &one), of("t-1", "y", &two)]
    );

    // Others repeat the id and the name, or send another id, with each piece.
    let repeated = [
        call(0, "t", "x", "{\"a\":"),
        call(0, "t", "x", "1"),
        call(0, "other", "", "}"),
    ];
    assert_eq!(inputs(&repeated), [of("t", "x", &one)]);
}

#[test]
fn a_failure_without_words_has_some() {
    let events = [("", json!({ "type": "RUN_ERROR", "message": null }))];
    let got = played(Dialect::AgUi, &events, Target::AiSdk);
    let error = got.iter().find(|event| event["type"] == "error").unwrap();
    assert_eq!(error["errorText"], "The agent has failed.");
}

/// More calls than are remembered: each of them is closed.
#[test]
fn a_call_that_is_forgotten_is_closed() {
    let run = |kind: &str| json!({ "type": kind, "threadId": "t", "runId": "r" });
    let mut events = vec![("", run("RUN_STARTED"))];
    for number in 0..300 {
        let id = format!("c{number}");
        let call = json!({ "type": "TOOL_CALL_START", "toolCallId": id, "toolCallName": "tides" });
        events.push(("", call));
    }
    events.push(("", run("RUN_FINISHED")));
    for (target, closed) in [
        (Target::AiSdk, "tool-input-available"),
        (Target::AgUi, "TOOL_CALL_END"),
    ] {
        let got = played(Dialect::AgUi, &events, target);
        let closed = kinds(&got).iter().filter(|kind| **kind == closed).count();
        assert_eq!(closed, 300, "{target:?}");
    }
}

/// A code is a number or a string, but for agents that break their rules.
#[test]
fn a_code_is_text_whatever_it_was() {
    for code in [
        json!({ "a": "b" }),
        json!(["x"]),
        json!(-32603),
        json!("x\"y"),
        Value::Null,
    ] {
        let error =
            json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": code, "message": "boom" } });
        for dialect in [
            Dialect::A2a,
            Dialect::Mcp,
            Dialect::OpenAiChat,
            Dialect::Adk,
        ] {
            for target in Target::ALL {
                played(dialect, &[("", error.clone())], target);
            }
        }
    }
}

/// Readings look at as much of a value as they need. What is passed on must be a value all the same, or it would break
/// the client's event.
#[test]
fn what_is_nearly_json_is_passed_on_as_text() {
    for dialect in [Dialect::A2a, Dialect::Opaque, Dialect::Mcp] {
        for data in ["-s", "f", "nul", "1e", "{\"kind\":-s}"] {
            for target in Target::ALL {
                let bytes = format!("data: {data}\n\n").into_bytes();
                let fixture = Fixture {
                    path: "inline".into(),
                    dialect,
                    framing: Framing::Sse,
                    bytes,
                };
                let got = translated(&fixture, &fixture.bytes, target, Choice::Fixed(dialect));
                let checked = grammar::check(target, &got.bytes, got.broke);
                assert_eq!(checked, Ok(()), "{dialect:?} {target:?} {data}");
            }
        }
    }
}

/// The name of an event is no JSON, so anything may stand in it.
#[test]
fn the_name_of_an_event_may_be_anything() {
    for name in ["a\"b", "a\\", "\u{c}tick", "a\\nb", "ä\u{1}"] {
        for dialect in [
            Dialect::LibreChat,
            Dialect::LangGraph,
            Dialect::LangServe,
            Dialect::Opaque,
        ] {
            let events = [(name, json!({ "price": 7 }))];
            for target in [Target::AgUi, Target::Events, Target::AiSdk] {
                // Panics if an event of the target is no JSON.
                let got = played(dialect, &events, target);
                let says = got.iter().any(|event| event.to_string().contains('7'));
                assert!(says, "{dialect} {target:?} {name:?}: {got:?}");
            }
        }
    }
}
