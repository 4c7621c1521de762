//! How streams of each dialect may end, and what may follow such an end.

use weir::dialect::Dialect;

use super::data;

/// A stream with a possible end: what comes before it, the end, what may follow an end, and what takes it back.
pub(super) struct Case {
    pub(super) dialect: Dialect,
    pub(super) before: String,
    pub(super) end: String,
    pub(super) harmless: Vec<String>,
    pub(super) more: Vec<String>,
}

pub(super) fn cases() -> Vec<Case> {
    let chat = |index: u8, delta: &str, finish: &str| {
        data(&format!(
            r#"{{"object":"chat.completion.chunk","choices":[{{"finish_reason":{finish},"delta":{delta},"index":{index}}}]}}"#
        ))
    };
    let adk = |author: &str, rest: &str| {
        data(&format!(
            r#"{{"invocationId":"i","author":"{author}",{rest}}}"#
        ))
    };
    let parts = |text: &str| format!(r#""content":{{"parts":[{{"text":"{text}"}}]}}"#);
    let ag_ui = |kind: &str, rest: &str| data(&format!(r#"{{"type":"{kind}"{rest}}}"#));
    let raw = |kind: &str, rest: &str| {
        data(&format!(
            r#"{{"type":"raw_response_event","data":{{"type":"response.{kind}"{rest}}}}}"#
        ))
    };
    let dify = |word: &str, rest: &str| {
        data(&format!(
            r#"{{"task_id":"k","workflow_run_id":"r","event":"{word}"{rest}}}"#
        ))
    };
    let cohere = |kind: &str, delta: &str| {
        data(&format!(r#"{{"index":0,"type":"{kind}","delta":{delta}}}"#))
    };
    let part = |kind: &str, rest: &str| data(&format!(r#"{{"type":"{kind}"{rest}}}"#));
    let chunk = |kind: &str, payload: &str| {
        data(&format!(
            r#"{{"type":"{kind}","payload":{{{payload}}},"from":"AGENT","runId":"r"}}"#
        ))
    };
    vec![
        Case {
            dialect: Dialect::OpenAiChat,
            before: chat(0, r#"{"role":"assistant","content":"a"}"#, "null"),
            end: chat(0, "{}", r#""stop""#),
            harmless: vec![
                data(
                    r#"{"object":"chat.completion.chunk","choices":[],"usage":{"completion_tokens":1}}"#,
                ),
                chat(0, r#"{"content":""}"#, "null"),
                ": ping\n\n".to_owned(),
            ],
            more: vec![
                chat(0, r#"{"content":"b"}"#, "null"),
                chat(1, r#"{"role":"assistant"}"#, "null"),
            ],
        },
        Case {
            dialect: Dialect::OpenAiChat,
            before: data(
                r#"{"object":"text_completion","choices":[{"index":0,"text":"a","finish_reason":null}]}"#,
            ),
            end: data(
                r#"{"object":"text_completion","choices":[{"index":0,"text":"","finish_reason":"length"}]}"#,
            ),
            harmless: Vec::new(),
            more: vec![data(
                r#"{"object":"text_completion","choices":[{"index":0,"text":"b","finish_reason":null}]}"#,
            )],
        },
        Case {
            dialect: Dialect::Adk,
            before: adk("one", &format!(r#""partial":true,{}"#, parts("a"))),
            end: adk("one", &parts("a")),
            harmless: Vec::new(),
            more: vec![
                adk("two", &format!(r#""partial":true,{}"#, parts("b"))),
                adk(
                    "two",
                    r#""content":{"parts":[{"functionCall":{"name":"f","args":{}}}]}"#,
                ),
            ],
        },
        Case {
            dialect: Dialect::Adk,
            before: adk(
                "one",
                r#""content":{"parts":[{"functionCall":{"name":"f","args":{}}}]}"#,
            ),
            end: adk(
                "one",
                r#""content":{"parts":[{"functionResponse":{"name":"f","response":{}}}]},"actions":{"escalate":true}"#,
            ),
            harmless: Vec::new(),
            more: vec![adk("two", &format!(r#""partial":true,{}"#, parts("b")))],
        },
        Case {
            dialect: Dialect::AgUi,
            before: ag_ui("RUN_STARTED", r#","threadId":"t","runId":"r""#),
            end: ag_ui("RUN_FINISHED", r#","threadId":"t","runId":"r""#),
            harmless: vec![ag_ui("STATE_SNAPSHOT", r#","snapshot":{}"#)],
            more: vec![
                ag_ui("RUN_STARTED", r#","threadId":"t","runId":"s""#),
                ag_ui("STEP_STARTED", r#","stepName":"s""#),
                ag_ui("TEXT_MESSAGE_CONTENT", r#","messageId":"m","delta":"b""#),
            ],
        },
        // A chat, whose end is that of its message.
        Case {
            dialect: Dialect::Dify,
            before: dify("message", r#","message_id":"m","answer":"a""#),
            end: dify("message_end", r#","message_id":"m","metadata":{}"#),
            harmless: vec![
                dify(
                    "workflow_finished",
                    r#","message_id":"m","data":{"status":"succeeded"}"#,
                ),
                "event: ping\n\n".to_owned(),
            ],
            more: vec![
                dify("message", r#","message_id":"m","answer":"b""#),
                dify("node_started", r#","message_id":"m","data":{}"#),
            ],
        },
        Case {
            dialect: Dialect::Dify,
            before: dify("text_chunk", r#","data":{"text":"a"}"#),
            end: dify("workflow_finished", r#","data":{"status":"succeeded"}"#),
            harmless: Vec::new(),
            more: vec![
                dify("text_chunk", r#","data":{"text":"b"}"#),
                dify("workflow_started", r#","data":{}"#),
            ],
        },
        // A run that waits for the user.
        Case {
            dialect: Dialect::Dify,
            before: dify("human_input_required", r#","data":{}"#),
            end: dify("workflow_paused", r#","data":{}"#),
            harmless: Vec::new(),
            more: vec![dify("node_started", r#","data":{}"#)],
        },
        Case {
            dialect: Dialect::Cohere,
            before: cohere("content-delta", r#"{"message":{"content":{"text":"a"}}}"#),
            end: cohere("message-end", r#"{"finish_reason":"COMPLETE"}"#),
            harmless: vec![": ping\n\n".to_owned()],
            more: vec![cohere(
                "content-delta",
                r#"{"message":{"content":{"text":"b"}}}"#,
            )],
        },
        Case {
            dialect: Dialect::OpenAiResponses,
            before: raw("created", r#","response":{"id":"r1"}"#),
            end: raw("completed", r#","response":{"id":"r1"}"#),
            harmless: vec![data(
                r#"{"type":"run_item_stream_event","name":"message_output_created","item":{}}"#,
            )],
            more: vec![
                raw("created", r#","response":{"id":"r2"}"#),
                raw("output_text.delta", r#","delta":"b","item_id":"i""#),
            ],
        },
        Case {
            dialect: Dialect::VercelUi,
            before: part("start", r#","messageId":"m""#),
            end: part("finish", ""),
            harmless: Vec::new(),
            more: vec![
                part("start-step", ""),
                part("text-delta", r#","id":"t","delta":"b""#),
            ],
        },
        Case {
            dialect: Dialect::Mastra,
            before: chunk("start", ""),
            end: chunk("finish", ""),
            harmless: vec![chunk("is-task-complete", "")],
            more: vec![
                chunk("step-start", ""),
                chunk("text-delta", r#""id":"t","text":"b""#),
            ],
        },
        Case {
            dialect: Dialect::Gemini,
            before: data(r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#),
            end: data(r#"{"candidates":[{"finishReason":"STOP"}]}"#),
            harmless: vec![data(r#"{"traceId":"t"}"#)],
            more: vec![data(
                r#"{"candidates":[{"content":{"parts":[{"text":"b"}]}}]}"#,
            )],
        },
    ]
}
