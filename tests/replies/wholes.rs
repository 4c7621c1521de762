//! Agents that tell at the end what they have not streamed, or not all of it: nothing of it is lost, and nothing comes
//! twice.

use serde_json::{Value, json};
use weir::dialect::Dialect;
use weir::translate::Target;

use crate::unruly::played;

/// What a client of native events is told, and what one of AG-UI puts together.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) text: String,
    /// The name and the arguments of each call.
    pub(crate) calls: Vec<(String, Value)>,
}

pub(crate) fn told(dialect: Dialect, events: &[(&str, Value)]) -> Told {
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

pub(crate) fn called() -> Vec<(String, Value)> {
    vec![("tides".to_owned(), json!({ "port": "Oslo" }))]
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
