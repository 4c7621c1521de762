//! Arguments that are no JSON, no object or cut off: each client gets what it accepts. Clients of Anthropic read each
//! beginning of them, and raise on what is no beginning of an object.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use weir::dialect::{Choice, Dialect};
use weir::stream::pipeline::InputEnd;
use weir::translate::{KINDS, Target};
use weir::wire::Framing;

use crate::support::Fixture;
use crate::{ended, grammar};

/// An agent of OpenAI's API that calls `tides` with arguments in these pieces, and then another tool.
fn agent(pieces: &[&str], reason: &str) -> Fixture {
    let chunk = |delta: &Value, reason: &Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "choices": [choice] });
        format!("data: {chunk}\n\n")
    };
    let call = |at: u32, id: &str, name: &str, args: &str| {
        let function = json!({ "name": name, "arguments": args });
        let call = json!({ "index": at, "id": id, "type": "function", "function": function });
        chunk(&json!({ "tool_calls": [call] }), &Value::Null)
    };
    let rest = |at: u32, args: &str| {
        let call = json!({ "index": at, "function": { "arguments": args } });
        chunk(&json!({ "tool_calls": [call] }), &Value::Null)
    };
    let mut body = call(0, "t1", "tides", "");
    body += &call(1, "t2", "clock", "{");
    for piece in pieces {
        body += &rest(0, piece);
    }
    body += &rest(1, "}");
    body += &chunk(&json!({}), &json!(reason));
    body += "data: [DONE]\n\n";
    Fixture {
        path: "inline".into(),
        dialect: Dialect::OpenAiChat,
        framing: Framing::Sse,
        bytes: body.into_bytes(),
    }
}

/// Plays an agent. Returns what the client gets, and how many tools it was not told as they are.
fn played(agent: &Fixture, target: Target) -> (Vec<Value>, u64) {
    let choice = Choice::Fixed(agent.dialect);
    let got = ended(agent, &agent.bytes, target, choice, InputEnd::Clean);
    let checked = grammar::check(target, &got.bytes, got.broke);
    assert_eq!(
        checked,
        Ok(()),
        "{target:?} {}",
        String::from_utf8_lossy(&agent.bytes)
    );
    let events = grammar::events(target, &got.bytes).unwrap();
    let tools = KINDS
        .iter()
        .zip(got.lost.0)
        .find(|(kind, _)| **kind == "tool");
    let lost = tools.map_or(0, |(_, lost)| lost);
    (events.into_iter().map(|event| event.data).collect(), lost)
}

/// The pieces of the input of each tool that a client of Anthropic gets, and the reason of the end.
fn inputs(events: &[Value]) -> (Vec<Vec<String>>, String) {
    let (mut inputs, mut reason) = (Vec::new(), String::new());
    for event in events {
        match event["type"].as_str() {
            Some("content_block_start") => inputs.push(Vec::new()),
            Some("content_block_delta") => {
                let piece = event["delta"]["partial_json"].as_str().unwrap();
                inputs.last_mut().unwrap().push(piece.to_owned());
            }
            Some("message_delta") => {
                event["delta"]["stop_reason"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut reason);
            }
            _ => {}
        }
    }
    (inputs, reason)
}

#[test]
fn objects_pass_to_anthropics_clients_as_they_come() {
    for pieces in [
        &["{\"port\":", " \"Os", "lo\"}"][..],
        &["{}"],
        &["{\"a\":[1,", "{\"b\":\"\\\"", "\\u00e9é\"}]", "\n}"],
    ] {
        let (events, lost) = played(&agent(pieces, "tool_calls"), Target::Anthropic);
        let (inputs, reason) = inputs(&events);
        assert_eq!(inputs, [pieces, &["{}"]]);
        assert_eq!((reason.as_str(), lost), ("tool_use", 0));
    }
}

#[test]
fn anthropics_clients_get_an_object_whatever_it_was() {
    let invalid = |text: &str| json!({ "INVALID_JSON": text });
    for (pieces, expected, lost) in [
        (&["hello"][..], invalid("hello"), 1),
        (&["[1"], invalid("[1"), 1),
        (&["{\"a\":}"], invalid("{\"a\":}"), 1),
        (&["{'a': 1}"], invalid("{'a': 1}"), 1),
        (&["{\"a\":NaN}"], invalid("{\"a\":NaN}"), 1),
        (
            &["{\"port\":", "\"Os"],
            json!({ "port": "Os", "INVALID_JSON": "{\"port\":\"Os" }),
            1,
        ),
        (
            &["{\"a\":[", "]", "]}"],
            json!({ "a": [], "INVALID_JSON": "{\"a\":[]]}" }),
            1,
        ),
        // Two calls in one, as some servers send them.
        (&["{\"a\":1}", "{\"a\":2}"], json!({ "a": 1 }), 1),
        (&["[1, ", "2]"], json!({ "input": [1, 2] }), 0),
        (&["\"ls\""], json!({ "input": "ls" }), 0),
        (&["null"], json!({}), 0),
        (&[" ", "\n"], json!({}), 0),
        (&[], json!({}), 0),
    ] {
        for (word, told) in [("tool_calls", "tool_use"), ("length", "max_tokens")] {
            let (events, told_lost) = played(&agent(pieces, word), Target::Anthropic);
            let (inputs, reason) = inputs(&events);
            let [input, clock]: [Vec<String>; 2] = inputs.try_into().unwrap();
            let input: Value = serde_json::from_str(&input.concat()).unwrap();
            assert_eq!(input, expected, "{pieces:?}");
            assert_eq!(clock.concat(), "{}");
            assert_eq!((reason.as_str(), told_lost), (told, lost), "{pieces:?}");
        }
    }
}

#[test]
fn other_clients_get_arguments_that_are_no_json_as_text() {
    for pieces in [
        &["hello"][..],
        &["[1"],
        &["{\"port\":", "\"Os"],
        &["{\"a\":", "}"],
    ] {
        let agent = agent(pieces, "tool_calls");
        let text = pieces.concat();
        for target in Target::ALL {
            let (events, lost) = played(&agent, target);
            let of_call = |key: &str, id: &str, value: &str| -> String {
                let is_it = |event: &&Value| event[key] == id;
                let values = events
                    .iter()
                    .filter(is_it)
                    .filter_map(|event| event[value].as_str());
                values.collect()
            };
            match target {
                Target::AgUi => assert_eq!(of_call("toolCallId", "t1", "delta"), text),
                Target::AiSdk => {
                    let error = |event: &&Value| event["type"] == "tool-input-error";
                    let event = events.iter().find(error).unwrap();
                    assert_eq!(
                        (&event["toolCallId"], &event["input"]),
                        (&json!("t1"), &json!(text))
                    );
                }
                Target::Events | Target::Ndjson => {
                    assert_eq!(of_call("id", "t1", "args_text"), text);
                }
                Target::OpenAiChat => {
                    let args = events.iter().filter_map(|event| {
                        let call = event.pointer("/choices/0/delta/tool_calls/0")?;
                        let args = call["function"]["arguments"].as_str()?;
                        (call["index"] == 0).then_some(args)
                    });
                    assert_eq!(args.collect::<String>(), text);
                }
                Target::Anthropic => continue,
            }
            assert_eq!(lost, 0, "{target:?} {pieces:?}");
        }
    }
}

/// Some servers send the arguments as a value.
#[test]
fn arguments_may_be_a_value() {
    let body = String::from_utf8(agent(&["PIECE"], "tool_calls").bytes).unwrap();
    for (value, expected) in [
        ("{\"port\":\"Oslo\"}", json!({ "port": "Oslo" })),
        ("{}", json!({})),
        ("null", json!({})),
    ] {
        let agent = Fixture {
            bytes: body.replace("\"PIECE\"", value).into_bytes(),
            ..agent(&[], "tool_calls")
        };
        for target in [Target::AiSdk, Target::Events] {
            let (events, _) = played(&agent, target);
            let member = if target == Target::AiSdk {
                "input"
            } else {
                "args"
            };
            let found = events.iter().find_map(|event| event.get(member));
            assert_eq!(found, Some(&expected), "{target:?} {value}");
        }
    }
}

/// A model may go on to speak before its call is complete, and say so much that it cannot wait for that.
#[test]
fn a_call_that_too_much_waits_for_is_closed() {
    let chunk = |delta: &Value, reason: &Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
        format!("data: {}\n\n", json!({ "id": "c", "choices": [choice] }))
    };
    let call = |function: &Value| {
        chunk(
            &json!({ "tool_calls": [{ "index": 0, "id": "t1", "function": function }] }),
            &Value::Null,
        )
    };
    let text = "x".repeat(200 * 1024);
    let mut body = call(&json!({ "name": "tides", "arguments": "{\"port\":\"Os" }));
    for _ in 0..6 {
        body += &chunk(&json!({ "content": text }), &Value::Null);
    }
    body += &call(&json!({ "arguments": "lo\"}" }));
    body += &chunk(&json!({}), &json!("tool_calls"));
    body += "data: [DONE]\n\n";
    let agent = Fixture {
        bytes: body.into_bytes(),
        ..agent(&[], "tool_calls")
    };
    let (events, lost) = played(&agent, Target::Anthropic);
    let texts = events
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str());
    assert_eq!(texts.map(str::len).sum::<usize>(), 6 * text.len());
    let pieces = events
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str());
    let input: Value = serde_json::from_str(&pieces.collect::<String>()).unwrap();
    assert_eq!(input["INVALID_JSON"], "{\"port\":\"Os");
    assert_eq!(lost, 1);
}

/// Pieces of arguments, of which most do not belong together.
const FRAGMENTS: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    "\"a\"",
    ":",
    ",",
    "1",
    "-",
    ".5",
    "tr",
    "ue",
    "null",
    "\"",
    "\\",
    "\\ud83d",
    "\\ude00",
    " ",
    "é",
    "{\"b\":{}}",
];

/// Writes an event of a model, whether it makes sense at its place or not.
fn odd_event(kind: usize, at: usize, fragment: &str) -> Value {
    let function = match kind {
        0 => return json!({ "content": fragment }),
        1 => return json!({ "reasoning_content": fragment }),
        2 => json!({ "name": "tides", "arguments": "" }),
        3 => json!({ "name": "clock", "arguments": fragment }),
        _ => json!({ "arguments": fragment }),
    };
    let mut call = json!({ "index": at, "function": function });
    if matches!(kind, 2 | 3) {
        call["id"] = json!(format!("t{at}"));
    }
    json!({ "tool_calls": [call] })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_model_calls_clients_accept_it(
        events in vec((0_usize..9, 0_usize..3, select(FRAGMENTS.to_vec())), 1..30),
        finishes in vec(0_usize..30, 0..2),
    ) {
        let mut body = String::new();
        for (number, (kind, at, fragment)) in events.iter().enumerate() {
            let delta = odd_event(*kind, *at, fragment);
            let reason = finishes.contains(&number).then_some("tool_calls");
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
            body += &format!("data: {}\n\n", json!({ "id": "c", "choices": [choice] }));
        }
        body += "data: [DONE]\n\n";
        let agent = Fixture {
            bytes: body.into_bytes(),
            ..agent(&[], "tool_calls")
        };
        for target in Target::ALL {
            let choice = Choice::Fixed(agent.dialect);
            let got = ended(&agent, &agent.bytes, target, choice, InputEnd::Clean);
            prop_assert_eq!(grammar::check(target, &got.bytes, got.broke), Ok(()), "{:?}", target);
        }
    }
}

/// A model may fail in the middle of a call.
#[test]
fn every_cut_of_odd_arguments_is_what_clients_accept() {
    for pieces in [
        &["{\"port\":", "\"Os", "lo\"}"][..],
        &["hel", "lo"],
        &["{\"a\":1", "}}", "x"],
    ] {
        let agent = agent(pieces, "tool_calls");
        let ends: Vec<usize> = (1..agent.bytes.len())
            .filter(|at| agent.bytes[..*at].ends_with(b"\n\n"))
            .collect();
        for end in ends {
            for (target, how) in Target::ALL
                .into_iter()
                .flat_map(|target| [(target, InputEnd::Clean), (target, InputEnd::Broken)])
            {
                let choice = Choice::Fixed(agent.dialect);
                let got = ended(&agent, &agent.bytes[..end], target, choice, how);
                let checked = grammar::check(target, &got.bytes, got.broke);
                assert_eq!(checked, Ok(()), "{target:?} {end} {pieces:?}");
            }
        }
    }
}
