//! Agents that tell at the end what they have not streamed, or not all of it: nothing of it is lost, and nothing comes
//! twice.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::translate::Target;

use crate::unruly::played;

/// What a client of native events is told, and what one of AG-UI puts together.
#[derive(Debug, PartialEq)]
struct Told {
    text: String,
    /// The name and the arguments of each call.
    calls: Vec<(String, Value)>,
}

fn told(dialect: Dialect, events: &[(&str, Value)]) -> Told {
    let of = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let native = played(dialect, events, Target::Events);
    let mut text = String::new();
    let mut calls = Vec::new();
    for event in &native {
        if event["type"] == "token" {
            text += &of(event, "text");
        }
        if event["type"] == "tool_call" && event["phase"] == "ready" {
            calls.push((of(event, "name"), event["args"].clone()));
        }
    }
    let mut pieces: Vec<(String, String, String)> = Vec::new();
    for event in &played(dialect, events, Target::AgUi) {
        let id = of(event, "toolCallId");
        if event["type"] == "TOOL_CALL_START" {
            pieces.push((id, of(event, "toolCallName"), String::new()));
        } else if event["type"] == "TOOL_CALL_ARGS" {
            let call = pieces.iter_mut().find(|(known, ..)| *known == id);
            call.unwrap().2 += &of(event, "delta");
        }
    }
    let put_together = pieces
        .into_iter()
        .map(|(_, name, args)| (name, serde_json::from_str(&args).unwrap()));
    assert_eq!(
        put_together.collect::<Vec<_>>(),
        calls,
        "{dialect} {events:?}"
    );
    Told { text, calls }
}

fn called() -> Vec<(String, Value)> {
    vec![("tides".to_owned(), json!({ "port": "Oslo" }))]
}

/// Events of OpenAI Responses between the beginning and the end, whose answer has this output.
fn response(events: &[Value], output: &Value) -> Told {
    let created = json!({ "type": "response.created", "response": { "id": "r", "output": [] } });
    let completed = json!({
        "type": "response.completed",
        "response": { "id": "r", "status": "completed", "output": output },
    });
    let all = [created].into_iter().chain(events.iter().cloned());
    let all: Vec<(&str, Value)> = all.chain([completed]).map(|event| ("", event)).collect();
    told(Dialect::OpenAiResponses, &all)
}

#[test]
fn a_response_may_tell_its_arguments_at_the_end() {
    let args = "{\"port\":\"Oslo\"}";
    let item = |args: &str| {
        json!({
            "id": "fc", "type": "function_call", "call_id": "c", "name": "tides", "arguments": args,
        })
    };
    let added =
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item("") });
    let delta = |text: &str| {
        json!({
            "type": "response.function_call_arguments.delta",
            "item_id": "fc", "output_index": 0, "delta": text,
        })
    };
    let done = json!({
        "type": "response.function_call_arguments.done",
        "item_id": "fc", "output_index": 0, "arguments": args,
    });
    let item_done = json!({
        "type": "response.output_item.done", "output_index": 0, "item": item(args),
    });
    let nothing = json!([]);
    let output = json!([item(args)]);
    // A value instead of its text.
    let mut value = item("");
    value["arguments"] = json!({ "port": "Oslo" });
    let expected = Told {
        text: String::new(),
        calls: called(),
    };
    for (events, output) in [
        (vec![added.clone(), done.clone()], &nothing),
        (vec![added.clone(), item_done.clone()], &nothing),
        (vec![item_done.clone()], &nothing),
        (
            vec![added.clone(), delta("{\"port"), done.clone()],
            &nothing,
        ),
        (
            vec![added.clone(), delta("{ \"port\" : \"Os"), item_done.clone()],
            &nothing,
        ),
        (vec![added.clone(), delta(args), done, item_done], &output),
        (vec![added.clone(), delta("{\"po")], &output),
        (vec![added], &output),
        (vec![], &output),
        (vec![], &json!([value])),
    ] {
        assert_eq!(response(&events, output), expected, "{events:?}");
    }
}

/// The input of a custom tool is any text, which is a JSON string for clients.
#[test]
fn a_response_may_tell_the_input_of_a_custom_tool_at_the_end() {
    let item = json!({ "id": "ct", "type": "custom_tool_call", "call_id": "c", "name": "shell" });
    let added = json!({ "type": "response.output_item.added", "output_index": 0, "item": item });
    let of = |kind: &str, member: &str, text: &str| {
        let mut event = json!({ "type": kind, "item_id": "ct", "output_index": 0 });
        event[member] = json!(text);
        event
    };
    let delta = |text: &str| of("response.custom_tool_call_input.delta", "delta", text);
    let done = of(
        "response.custom_tool_call_input.done",
        "input",
        "say \"hi\"\n",
    );
    for (events, expected) in [
        (vec![done.clone()], "say \"hi\"\n"),
        (
            vec![delta("say"), delta(" \"hi"), done.clone()],
            "say \"hi\"\n",
        ),
        (vec![delta("say \"hi\"\n"), done.clone()], "say \"hi\"\n"),
        // What a client has got stays, and is closed.
        (vec![delta("ls"), done], "ls"),
        (vec![delta("ls")], "ls"),
    ] {
        let events = [vec![added.clone()], events].concat();
        let calls = vec![("shell".to_owned(), json!(expected))];
        assert_eq!(response(&events, &json!([])).calls, calls, "{events:?}");
    }
}

#[test]
fn a_response_may_contradict_itself() {
    let item = json!({ "id": "fc", "type": "function_call", "call_id": "c", "name": "tides" });
    let delta = json!({
        "type": "response.function_call_arguments.delta",
        "item_id": "fc", "output_index": 0, "delta": "{\"port\":\"Bergen\"}",
    });
    let done = json!({
        "type": "response.function_call_arguments.done",
        "item_id": "fc", "output_index": 0, "arguments": "{\"port\":\"Oslo\"}",
    });
    let events = [
        (
            "",
            json!({ "type": "response.created", "response": { "id": "r" } }),
        ),
        (
            "",
            json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
        ),
        ("", delta),
        ("", done),
        (
            "",
            json!({ "type": "response.completed", "response": { "id": "r" } }),
        ),
    ];
    // What a client has got stays.
    let got = played(Dialect::OpenAiResponses, &events, Target::OpenAiChat);
    let args = got.iter().filter_map(|chunk| {
        chunk
            .pointer("/choices/0/delta/tool_calls/0/function/arguments")?
            .as_str()
    });
    assert_eq!(args.collect::<String>(), "{\"port\":\"Bergen\"}");
    // Where all arguments come at once, the last word counts.
    let got = played(Dialect::OpenAiResponses, &events, Target::AiSdk);
    let input = got.iter().find_map(|event| event.get("input")).unwrap();
    assert_eq!(input, &json!({ "port": "Oslo" }));
}

#[test]
fn a_response_may_tell_its_text_at_the_end() {
    let content = json!({ "type": "output_text", "text": "Rain in Oslo", "annotations": [] });
    let message =
        json!({ "id": "m", "type": "message", "role": "assistant", "content": [content] });
    let added = json!({
        "type": "response.output_item.added", "output_index": 0,
        "item": { "id": "m", "type": "message", "role": "assistant", "content": [] },
    });
    let at = |kind: &str, rest: Value| {
        let mut event = json!({
            "type": kind, "item_id": "m", "output_index": 0, "content_index": 0,
        });
        let members = rest.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(members);
        event
    };
    let delta = at(
        "response.output_text.delta",
        json!({ "delta": "Rain in Oslo" }),
    );
    let text_done = at(
        "response.output_text.done",
        json!({ "text": "Rain in Oslo" }),
    );
    let part_done = at("response.content_part.done", json!({ "part": content }));
    let item_done = json!({
        "type": "response.output_item.done", "output_index": 0, "item": message,
    });
    let (nothing, output) = (json!([]), json!([message]));
    let expected = Told {
        text: "Rain in Oslo".to_owned(),
        calls: vec![],
    };
    for (events, output) in [
        (vec![added.clone(), text_done.clone()], &nothing),
        (vec![added.clone(), part_done.clone()], &nothing),
        (vec![added.clone(), item_done.clone()], &nothing),
        (vec![item_done.clone()], &nothing),
        (
            vec![
                added.clone(),
                delta.clone(),
                text_done,
                part_done,
                item_done,
            ],
            &output,
        ),
        (vec![added.clone(), delta], &output),
        (vec![added], &output),
        (vec![], &output),
    ] {
        assert_eq!(response(&events, output), expected, "{events:?}");
    }
}

#[test]
fn an_item_that_was_not_streamed_is_told_beside_one_that_was() {
    let message = |id: &str, text: &str| {
        let content = json!([{ "type": "output_text", "text": text }]);
        json!({ "id": id, "type": "message", "role": "assistant", "content": content })
    };
    let (first, second) = (message("m1", "Rain"), message("m2", " in Oslo"));
    let done = |at: u32, item: &Value| json!({ "type": "response.output_item.done", "output_index": at, "item": item });
    let output = json!([first, second]);
    let expected = Told {
        text: "Rain in Oslo".to_owned(),
        calls: vec![],
    };
    assert_eq!(response(&[done(0, &first)], &output), expected);
    // Some servers give every item the same place, or another id in each event.
    assert_eq!(
        response(&[done(0, &first), done(0, &second)], &output),
        expected
    );
    let renamed = message("other", " in Oslo");
    assert_eq!(
        response(&[done(0, &first), done(1, &renamed)], &output),
        expected
    );
}

#[test]
fn agents_may_tell_the_arguments_of_a_call_at_its_end() {
    let port = json!({ "port": "Oslo" });
    let text = port.to_string();
    let run = |kind: &str| ("", json!({ "type": kind, "threadId": "t", "runId": "r" }));
    let mastra = |kind: &str, payload: Value| ("", json!({ "type": kind, "payload": payload }));
    let libre = |kind: &str, data: &Value| ("message", json!({ "event": kind, "data": data }));
    let protocol = |data: Value| {
        let params = json!({ "namespace": [], "data": data });
        (
            "messages",
            json!({ "type": "event", "method": "messages", "params": params }),
        )
    };
    let ended = json!({
        "type": "event", "method": "lifecycle",
        "params": { "namespace": [], "data": { "event": "completed" } },
    });
    let langserve = |kind: &str, data: Value| {
        let event = json!({ "event": kind, "run_id": "m", "name": "llm", "data": data, "parent_ids": ["r"] });
        ("data", event)
    };
    let ui = |event: Value| ("", event);
    for (dialect, events) in [
        (
            Dialect::VercelUi,
            vec![
                ui(json!({ "type": "start", "messageId": "m" })),
                ui(json!({ "type": "tool-input-start", "toolCallId": "c", "toolName": "tides" })),
                ui(
                    json!({ "type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{\"po" }),
                ),
                ui(
                    json!({ "type": "tool-input-available", "toolCallId": "c", "toolName": "tides", "input": port }),
                ),
                ui(json!({ "type": "finish" })),
            ],
        ),
        (
            Dialect::Mastra,
            vec![
                mastra("start", json!({})),
                mastra(
                    "tool-call-input-streaming-start",
                    json!({ "toolCallId": "c", "toolName": "tides" }),
                ),
                mastra(
                    "tool-call-delta",
                    json!({ "toolCallId": "c", "argsTextDelta": "{\"port\": " }),
                ),
                mastra(
                    "tool-call",
                    json!({ "toolCallId": "c", "toolName": "tides", "args": port }),
                ),
                mastra("finish", json!({ "stepResult": { "reason": "stop" } })),
            ],
        ),
        (
            Dialect::Mastra,
            vec![
                mastra("start", json!({})),
                mastra(
                    "tool-result",
                    json!({ "toolCallId": "c", "toolName": "tides", "args": port, "result": "high" }),
                ),
                mastra("finish", json!({ "stepResult": { "reason": "stop" } })),
            ],
        ),
        (
            Dialect::LibreChat,
            vec![
                libre(
                    "on_run_step_completed",
                    &json!({ "result": { "tool_call": {
                    "id": "c", "name": "tides", "args": text, "output": "high",
                } } }),
                ),
                (
                    "message",
                    json!({ "final": true, "responseMessage": { "text": "" } }),
                ),
            ],
        ),
        (
            Dialect::LibreChat,
            vec![
                libre(
                    "on_run_step",
                    &json!({ "id": "s", "stepDetails": { "type": "tool_calls", "tool_calls": [
                    { "id": "c", "name": "tides", "args": "" },
                ] } }),
                ),
                libre(
                    "on_run_step_delta",
                    &json!({ "id": "s", "delta": { "type": "tool_calls", "tool_calls": [
                    { "index": 0, "args": "{\"po" },
                ] } }),
                ),
                libre(
                    "on_run_step_completed",
                    &json!({ "result": { "tool_call": {
                    "id": "c", "name": "tides", "args": text, "output": "high",
                } } }),
                ),
                (
                    "message",
                    json!({ "final": true, "responseMessage": { "text": "" } }),
                ),
            ],
        ),
        (
            Dialect::Strands,
            vec![
                ("", json!({ "init_event_loop": true })),
                (
                    "",
                    json!({
                        "current_tool_use": { "toolUseId": "c", "name": "tides", "input": "{\"po" },
                        "delta": { "toolUse": { "input": "{\"po" } },
                    }),
                ),
                (
                    "",
                    json!({ "message": { "role": "assistant", "content": [
                        { "toolUse": { "toolUseId": "c", "name": "tides", "input": port } },
                    ] } }),
                ),
                (
                    "",
                    json!({ "result": "AgentResult(stop_reason='end_turn')" }),
                ),
            ],
        ),
        (
            Dialect::LangGraph,
            vec![
                protocol(json!({ "event": "message-start", "id": "m", "role": "ai" })),
                protocol(
                    json!({ "event": "content-block-start", "index": 0, "content": {
                    "type": "tool_call_chunk", "id": "c", "name": "tides", "args": "",
                } }),
                ),
                protocol(
                    json!({ "event": "content-block-finish", "index": 0, "content": {
                    "type": "tool_call", "id": "c", "name": "tides", "args": port,
                } }),
                ),
                protocol(json!({ "event": "message-finish", "reason": "tool_use" })),
                ("lifecycle", ended),
            ],
        ),
        (
            Dialect::LangGraph,
            vec![
                ("metadata", json!({ "run_id": "r" })),
                (
                    "messages",
                    json!([{ "type": "AIMessageChunk", "id": "m", "content": "", "tool_call_chunks": [
                        { "index": 0, "id": "c", "name": "tides", "args": "{\"port\":" },
                    ] }, {}]),
                ),
                (
                    "updates",
                    json!({ "agent": { "messages": [{ "type": "ai", "id": "m", "content": "", "tool_calls": [
                        { "id": "c", "name": "tides", "args": port },
                    ] }] } }),
                ),
                ("end", Value::Null),
            ],
        ),
        (
            Dialect::LangServe,
            vec![
                langserve(
                    "on_chat_model_stream",
                    json!({ "chunk": { "type": "AIMessageChunk", "content": "", "tool_call_chunks": [
                    { "index": 0, "id": "c", "name": "tides", "args": "{" },
                ] } }),
                ),
                langserve(
                    "on_chat_model_end",
                    json!({ "output": { "type": "ai", "content": "", "tool_calls": [
                    { "id": "c", "name": "tides", "args": port },
                ] } }),
                ),
                ("end", Value::Null),
            ],
        ),
        (
            Dialect::AgUi,
            vec![
                run("RUN_STARTED"),
                ("", json!({ "type": "STEP_STARTED", "stepName": "agent" })),
                ("", json!({ "type": "STEP_FINISHED", "stepName": "agent" })),
                (
                    "",
                    json!({ "type": "MESSAGES_SNAPSHOT", "messages": [
                        { "id": "u", "role": "user", "content": "Tides?" },
                        { "id": "a", "role": "assistant", "toolCalls": [
                            { "id": "c", "type": "function", "function": { "name": "tides", "arguments": text } },
                        ] },
                        { "id": "t", "role": "tool", "toolCallId": "c", "content": "high" },
                    ] }),
                ),
                run("RUN_FINISHED"),
            ],
        ),
        (
            Dialect::Convention,
            vec![
                (
                    "",
                    json!({ "type": "tool_start", "id": "c", "name": "tides" }),
                ),
                (
                    "",
                    json!({ "type": "tool_end", "id": "c", "name": "tides", "input": port }),
                ),
                ("", json!({ "type": "done" })),
            ],
        ),
        (
            Dialect::Convention,
            vec![
                (
                    "",
                    json!({ "type": "tool_result", "id": "c", "name": "tides", "args": port, "result": "high" }),
                ),
                ("", json!({ "type": "done" })),
            ],
        ),
    ] {
        assert_eq!(
            told(dialect, &events).calls,
            called(),
            "{dialect} {events:?}"
        );
    }
}

#[test]
fn reasoning_may_come_with_the_answer_at_the_end() {
    let reasoning = |dialect, events: &[(&str, Value)]| {
        let got = played(dialect, events, Target::Events);
        let pieces = got.iter().filter(|event| event["type"] == "reasoning");
        let pieces = pieces.filter_map(|event| event["text"].as_str());
        pieces.collect::<String>()
    };
    let message = json!({ "role": "assistant", "content": [
        { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "s" } } },
        { "text": "Rain" },
    ] });
    let thought = json!({ "reasoningText": "Hm.", "reasoning": true, "delta": {} });
    let whole = ("", json!({ "message": message }));
    let result = (
        "",
        json!({ "result": "AgentResult(stop_reason='end_turn')" }),
    );
    for events in [
        vec![whole.clone(), result.clone()],
        vec![("", thought), whole, result],
    ] {
        assert_eq!(reasoning(Dialect::Strands, &events), "Hm.", "{events:?}");
        assert_eq!(told(Dialect::Strands, &events).text, "Rain");
    }
    let end = json!({ "final": true, "responseMessage": { "content": [
        { "type": "think", "think": "Hm." }, { "type": "text", "text": "Rain" },
    ] } });
    let end = ("message", end);
    let delta = json!({ "event": "on_reasoning_delta", "data": {
        "id": "s", "delta": { "content": [{ "type": "think", "think": "Hm." }] },
    } });
    for events in [vec![end.clone()], vec![("message", delta), end]] {
        assert_eq!(reasoning(Dialect::LibreChat, &events), "Hm.", "{events:?}");
        assert_eq!(told(Dialect::LibreChat, &events).text, "Rain");
    }
}

#[test]
fn a_step_may_have_its_text_at_the_end() {
    let output = json!({ "text": "Rain", "usage": {} });
    let events = [
        ("", json!({ "type": "start", "payload": {} })),
        (
            "",
            json!({ "type": "step-finish", "payload": { "output": output, "stepResult": { "reason": "stop" } } }),
        ),
        (
            "",
            json!({ "type": "finish", "payload": { "stepResult": { "reason": "stop" } } }),
        ),
    ];
    assert_eq!(told(Dialect::Mastra, &events).text, "Rain");
}
