//! How streams of tasks, nodes and runs may end, and what may follow such an end.

use weir::dialect::Dialect;

use super::cases::Case;
use super::data;

/// A result of an A2A call.
fn a2a(result: &str) -> String {
    data(&format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{{result}}}}}"#
    ))
}

/// A status of version 1.0.
pub(super) fn status(state: &str) -> String {
    a2a(&format!(
        r#""statusUpdate":{{"taskId":"k","status":{{"state":"TASK_STATE_{state}"}}}}"#
    ))
}

/// A status of version 0.3.
pub(super) fn old_status(state: &str, is_final: bool) -> String {
    a2a(&format!(
        r#""kind":"status-update","taskId":"k","status":{{"state":"{state}"}},"final":{is_final}"#
    ))
}

pub(super) fn cases() -> Vec<Case> {
    let artifact = |part: &str| {
        a2a(&format!(
            r#""artifactUpdate":{{"taskId":"k","append":true,"artifact":{{"artifactId":"a","parts":[{part}]}}}}"#
        ))
    };
    let task = |state: &str| {
        a2a(&format!(
            r#""task":{{"id":"k","status":{{"state":"TASK_STATE_{state}"}}}}"#
        ))
    };
    let model = |event: &str| data(&format!(r#"{{"event":{{{event}}}}}"#));
    let node = |word: &str, rest: &str| {
        data(&format!(
            r#"{{"type":"multiagent_{word}","node_id":"b"{rest}}}"#
        ))
    };
    let run = |event: &str, id: &str, parents: &str, rest: &str| {
        data(&format!(
            r#"{{"event":"{event}","run_id":"{id}","parent_ids":[{parents}],"data":{{{rest}}}}}"#
        ))
    };
    vec![
        Case {
            dialect: Dialect::A2a,
            before: status("WORKING"),
            end: status("COMPLETED"),
            harmless: vec![
                task("COMPLETED"),
                a2a(r#""statusUpdate":{"taskId":"k","metadata":{}}"#),
            ],
            more: vec![
                status("WORKING"),
                status("SUBMITTED"),
                task("SUBMITTED"),
                artifact(r#"{"text":"b"}"#),
                artifact(r#"{"data":{}}"#),
            ],
        },
        // A task that waits for the user.
        Case {
            dialect: Dialect::A2a,
            before: status("WORKING"),
            end: status("INPUT_REQUIRED"),
            harmless: vec![task("INPUT_REQUIRED")],
            more: vec![status("WORKING")],
        },
        Case {
            dialect: Dialect::A2a,
            before: old_status("working", false),
            end: old_status("input-required", true),
            harmless: Vec::new(),
            more: vec![old_status("working", false)],
        },
        Case {
            dialect: Dialect::Strands,
            before: model(r#""messageStart":{"role":"assistant"}"#),
            end: model(r#""messageStop":{"stopReason":"end_turn"}"#),
            harmless: vec![
                model(r#""metadata":{"usage":{"inputTokens":1,"outputTokens":2}}"#),
                data(r#"{"message":{"role":"assistant","content":[]}}"#),
                node("node_stop", r#","node_result":{}"#),
            ],
            more: vec![
                data(r#"{"init_event_loop":true}"#),
                data(r#"{"start_event_loop":true}"#),
                model(r#""messageStart":{"role":"assistant"}"#),
                model(r#""contentBlockStart":{"start":{},"contentBlockIndex":0}"#),
                model(r#""contentBlockDelta":{"delta":{"text":"b"},"contentBlockIndex":0}"#),
                node("node_start", r#","node_type":"agent""#),
                data(
                    r#"{"type":"multiagent_handoff","from_node_ids":["a"],"to_node_ids":["b"],"message":"go"}"#,
                ),
            ],
        },
        // A graph of agents.
        Case {
            dialect: Dialect::Strands,
            before: node("node_start", r#","node_type":"agent""#),
            end: data(r#"{"type":"multiagent_result","result":{"status":"completed"}}"#),
            harmless: Vec::new(),
            more: vec![node("node_start", r#","node_type":"agent""#)],
        },
        Case {
            dialect: Dialect::LangServe,
            before: run("on_chain_start", "r", "", ""),
            end: run("on_chain_end", "r", "", ""),
            harmless: Vec::new(),
            more: vec![
                run("on_chain_start", "s", "", ""),
                run("on_chat_model_start", "t", r#""s""#, ""),
                run(
                    "on_chat_model_stream",
                    "t",
                    r#""s""#,
                    r#""chunk":{"content":"b"}"#,
                ),
            ],
        },
    ]
}
