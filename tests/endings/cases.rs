//! How streams of each dialect may end, and what may follow such an end. Dialects of tasks, nodes and runs are in
//! `agents.rs`.

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
    let mut cases = vec![
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
            harmless: vec![
                adk("one", r#""actions":{"stateDelta":{"k":1}}"#),
                adk("flow", r#""actions":{"agentState":null,"endOfAgent":true}"#),
            ],
            more: vec![
                adk("two", &format!(r#""partial":true,{}"#, parts("b"))),
                adk(
                    "two",
                    r#""content":{"parts":[{"functionCall":{"name":"f","args":{}}}]}"#,
                ),
                adk("flow", r#""actions":{"agentState":{"current":"two"}}"#),
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
            harmless: vec![
                ag_ui("STATE_SNAPSHOT", r#","snapshot":{}"#),
                ag_ui("MESSAGES_SNAPSHOT", r#","messages":[]"#),
                ag_ui("CUSTOM", r#","name":"n","value":1"#),
                ag_ui("STEP_FINISHED", r#","stepName":"s""#),
                ag_ui("TEXT_MESSAGE_END", r#","messageId":"m""#),
            ],
            more: vec![
                ag_ui(
                    "TEXT_MESSAGE_START",
                    r#","messageId":"m","role":"assistant""#,
                ),
                ag_ui("TEXT_MESSAGE_CHUNK", r#","messageId":"m","delta":"""#),
                ag_ui("REASONING_START", r#","messageId":"m""#),
                ag_ui("REASONING_MESSAGE_START", r#","messageId":"m""#),
                ag_ui("THINKING_START", ""),
                ag_ui("TOOL_CALL_START", r#","toolCallId":"c","toolCallName":"f""#),
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
                dify("node_finished", r#","message_id":"m","data":{}"#),
                "event: ping\n\n".to_owned(),
            ],
            more: vec![
                dify("iteration_started", r#","message_id":"m","data":{}"#),
                dify("loop_next", r#","message_id":"m","data":{}"#),
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
            harmless: vec![": ping\n\n".to_owned(), cohere("citation-end", "{}")],
            more: vec![
                cohere("content-delta", r#"{"message":{"content":{"text":"b"}}}"#),
                cohere("message-start", r#"{"message":{"role":"assistant"}}"#),
                cohere(
                    "content-start",
                    r#"{"message":{"content":{"type":"text","text":""}}}"#,
                ),
            ],
        },
        // The model calls a tool, and then is called again.
        Case {
            dialect: Dialect::Cohere,
            before: cohere(
                "tool-call-start",
                r#"{"message":{"tool_calls":{"id":"c","function":{"name":"f"}}}}"#,
            ),
            end: cohere("message-end", r#"{"finish_reason":"TOOL_CALL"}"#),
            harmless: Vec::new(),
            more: vec![cohere(
                "message-start",
                r#"{"message":{"role":"assistant"}}"#,
            )],
        },
        Case {
            dialect: Dialect::OpenAiResponses,
            before: raw("created", r#","response":{"id":"r1"}"#),
            end: raw("completed", r#","response":{"id":"r1"}"#),
            harmless: vec![
                data(
                    r#"{"type":"run_item_stream_event","name":"message_output_created","item":{}}"#,
                ),
                raw("in_progress", r#","response":{"id":"r1"}"#),
            ],
            more: vec![
                raw("created", r#","response":{"id":"r2"}"#),
                raw("queued", r#","response":{"id":"r2"}"#),
                raw("in_progress", r#","response":{"id":"r2"}"#),
                raw(
                    "output_item.added",
                    r#","output_index":0,"item":{"type":"message"}"#,
                ),
                raw("output_text.delta", r#","delta":"b","item_id":"i""#),
                data(r#"{"type":"agent_updated_stream_event","new_agent":{"name":"b"}}"#),
                data(r#"{"type":"run_item_stream_event","name":"handoff_requested","item":{}}"#),
                data(r#"{"name":"handoff_occured","type":"run_item_stream_event","item":{}}"#),
            ],
        },
        // An application that forwards the events as they are.
        Case {
            dialect: Dialect::OpenAiResponses,
            before: part("response.created", r#","response":{"id":"r1"}"#),
            end: part("response.completed", r#","response":{"id":"r1"}"#),
            harmless: vec![part("response.in_progress", r#","response":{"id":"r1"}"#)],
            more: vec![
                part("response.created", r#","response":{"id":"r2"}"#),
                part("response.queued", r#","response":{"id":"r2"}"#),
                part("response.in_progress", r#","response":{"id":"r2"}"#),
                part(
                    "response.reasoning_summary_part.added",
                    r#","output_index":0,"summary_index":0"#,
                ),
            ],
        },
        Case {
            dialect: Dialect::VercelUi,
            before: part("start", r#","messageId":"m""#),
            end: part("finish", ""),
            harmless: vec![
                part("message-metadata", r#","messageMetadata":{"a":1}"#),
                part("data-note", r#","data":{}"#),
                part("finish-step", ""),
            ],
            more: vec![
                part("start-step", ""),
                part("reset-step", ""),
                part("text-start", r#","id":"t""#),
                part("reasoning-start", r#","id":"t""#),
                part("tool-input-start", r#","toolCallId":"c","toolName":"f""#),
                part("text-delta", r#","id":"t","delta":"b""#),
            ],
        },
        Case {
            dialect: Dialect::Mastra,
            before: chunk("start", ""),
            end: chunk("finish", ""),
            harmless: vec![
                chunk("is-task-complete", ""),
                chunk("workflow-step-result", r#""id":"s","status":"success""#),
            ],
            more: vec![
                chunk("step-start", ""),
                chunk("text-start", r#""id":"t""#),
                chunk("reasoning-start", r#""id":"t""#),
                chunk("text-delta", r#""id":"t","text":"b""#),
                chunk("routing-agent-start", ""),
                chunk("workflow-step-start", r#""id":"s""#),
                chunk("agent-execution-event-start", r#""payload":{}"#),
                chunk("background-task-started", r#""taskId":"k""#),
            ],
        },
        Case {
            dialect: Dialect::Mastra,
            before: chunk("workflow-start", r#""workflowId":"w""#),
            end: chunk("workflow-finish", r#""workflowStatus":"success""#),
            harmless: Vec::new(),
            more: vec![
                chunk("workflow-start", r#""workflowId":"v""#),
                chunk("workflow-step-start", r#""id":"s""#),
                chunk("workflow-step-output", r#""output":{"type":"text-start"}"#),
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
    ];
    cases.extend(super::agents::cases());
    cases
}
