//! A thought that is never closed before a tool is called: what the model writes then is another text, which is neither
//! hidden for ever nor taken for the rest of the text before.

use super::{Hide, rules, text, through};
use weir::dialect::Dialect;
use weir::wire::Framing;

fn sse(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// Wraps a piece of text in an event.
type Say = Box<dyn Fn(&str) -> String>;

/// How a dialect writes the text before a tool, the tool, and the text after it.
struct Case {
    dialect: Dialect,
    framing: Framing,
    name: &'static str,
    before: Say,
    tool: String,
    after: Say,
}

impl Case {
    fn new(
        dialect: Dialect,
        name: &'static str,
        say: impl Fn(&str) -> String + Clone + 'static,
        tool: &[&str],
    ) -> Self {
        Self {
            dialect,
            framing: Framing::Sse,
            name,
            before: Box::new(say.clone()),
            tool: tool.iter().map(|data| sse(data)).collect(),
            after: Box::new(say),
        }
    }
}

fn models() -> Vec<Case> {
    let chat = |text: &str| {
        sse(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#
        ))
    };
    let gemini = |text: &str| {
        sse(&format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#
        ))
    };
    let cohere = |text: &str| {
        sse(&format!(
            r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{"text":"{text}"}}}}}}}}"#
        ))
    };
    let ollama = |text: &str| {
        format!(r#"{{"model":"m","message":{{"content":"{text}"}},"done":false}}"#) + "\n"
    };
    let anthropic = |index: usize| {
        move |text: &str| {
            [
                sse(&format!(
                    r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}"#
                )),
                sse(&format!(
                    r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":"{text}"}}}}"#
                )),
                sse(&format!(r#"{{"type":"content_block_stop","index":{index}}}"#)),
            ]
            .concat()
        }
    };
    let responses = |index: usize| {
        move |text: &str| {
            sse(&format!(
                r#"{{"type":"response.output_text.delta","item_id":"i","output_index":{index},"content_index":0,"delta":"{text}"}}"#
            ))
        }
    };
    vec![
        Case::new(
            Dialect::OpenAiChat,
            "a call in pieces",
            chat,
            &[
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"x","arguments":""}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
            ],
        ),
        Case::new(
            Dialect::Gemini,
            "a call",
            gemini,
            &[
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"x","args":{}}}]}}]}"#,
            ],
        ),
        Case::new(
            Dialect::Cohere,
            "a call",
            cohere,
            &[
                r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"c","function":{"name":"x","arguments":""}}}}}"#,
                r#"{"type":"tool-call-end","index":0}"#,
            ],
        ),
        Case {
            framing: Framing::Ndjson,
            tool: r#"{"model":"m","message":{"content":"","tool_calls":[{"function":{"name":"x","arguments":{}}}]},"done":false}"#.to_owned() + "\n",
            ..Case::new(Dialect::Ollama, "a call", ollama, &[])
        },
        Case {
            after: Box::new(anthropic(2)),
            ..Case::new(
                Dialect::Anthropic,
                "a block",
                anthropic(0),
                &[
                    r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"c","name":"x","input":{}}}"#,
                    r#"{"type":"content_block_stop","index":1}"#,
                ],
            )
        },
        Case {
            after: Box::new(responses(2)),
            ..Case::new(
                Dialect::OpenAiResponses,
                "an item",
                responses(0),
                &[
                    r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"f","name":"x"}}"#,
                    r#"{"type":"response.function_call_arguments.done","item_id":"f","output_index":1,"arguments":"{}"}"#,
                ],
            )
        },
    ]
}

fn agents() -> Vec<Case> {
    let convention = |text: &str| sse(&format!(r#"{{"type":"token","content":"{text}"}}"#));
    let adk = |text: &str| {
        sse(&format!(
            r#"{{"author":"a","invocationId":"i","partial":true,"content":{{"parts":[{{"text":"{text}"}}]}}}}"#
        ))
    };
    let graph = |id: &'static str| {
        move |text: &str| {
            format!(
                "event: messages\ndata: [{{\"type\":\"AIMessageChunk\",\"id\":{id},\"content\":\"{text}\"}},{{\"langgraph_node\":\"n\"}}]\n\n"
            )
        }
    };
    let serve = |text: &str| {
        sse(&format!(
            r#"{{"event":"on_chat_model_stream","run_id":"r","parent_ids":["p"],"data":{{"chunk":{{"type":"AIMessageChunk","content":"{text}"}}}}}}"#
        ))
    };
    let agui = |text: &str| {
        sse(&format!(
            r#"{{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"{text}"}}"#
        ))
    };
    let strands = |text: &str| sse(&format!(r#"{{"data":"{text}"}}"#));
    let dify = |text: &str| {
        sse(&format!(
            r#"{{"event":"agent_message","task_id":"t","message_id":"m","answer":"{text}"}}"#
        ))
    };
    let libre = |step: &'static str| {
        move |text: &str| {
            sse(&format!(
                r#"{{"event":"on_message_delta","data":{{"id":"{step}","delta":{{"content":[{{"type":"text","text":"{text}"}}]}}}}}}"#
            ))
        }
    };
    let ui = |id: &'static str| {
        move |text: &str| {
            [
                sse(&format!(r#"{{"type":"text-start","id":"{id}"}}"#)),
                sse(&format!(
                    r#"{{"type":"text-delta","id":"{id}","delta":"{text}"}}"#
                )),
                sse(&format!(r#"{{"type":"text-end","id":"{id}"}}"#)),
            ]
            .concat()
        }
    };
    let mastra = |id: &'static str| {
        move |text: &str| {
            let chunk = |kind: &str, more: &str| {
                sse(&format!(
                    r#"{{"type":"{kind}","runId":"r","from":"AGENT","payload":{{"id":"{id}"{more}}}}}"#
                ))
            };
            let piece = format!(r#","text":"{text}""#);
            [
                chunk("text-start", ""),
                chunk("text-delta", &piece),
                chunk("text-end", ""),
            ]
            .concat()
        }
    };
    let v4 = |text: &str| format!("0:\"{text}\"\n");
    vec![
        Case::new(
            Dialect::Convention,
            "a call",
            convention,
            &[r#"{"type":"tool_call","name":"x"}"#],
        ),
        Case::new(
            Dialect::Adk,
            "a call",
            adk,
            &[
                r#"{"author":"a","invocationId":"i","content":{"parts":[{"functionCall":{"name":"x","args":{}}}]}}"#,
            ],
        ),
        Case {
            tool: "event: messages\ndata: [{\"type\":\"AIMessageChunk\",\"id\":\"a\",\"content\":\"\",\"tool_call_chunks\":[{\"name\":\"x\",\"args\":\"{}\",\"id\":\"c\",\"index\":0}]},{\"langgraph_node\":\"n\"}]\n\n".to_owned(),
            ..Case::new(Dialect::LangGraph, "a call in its message", graph("\"a\""), &[])
        },
        Case {
            tool: "event: messages\ndata: [{\"type\":\"tool\",\"id\":null,\"content\":\"x\"},{\"langgraph_node\":\"tools\"}]\n\n".to_owned(),
            ..Case::new(Dialect::LangGraph, "messages without ids", graph("null"), &[])
        },
        Case::new(
            Dialect::LangServe,
            "a call in its run",
            serve,
            &[
                r#"{"event":"on_chat_model_stream","run_id":"r","parent_ids":["p"],"data":{"chunk":{"type":"AIMessageChunk","content":"","tool_call_chunks":[{"name":"x","args":"{}","id":"c","index":0}]}}}"#,
            ],
        ),
        Case::new(
            Dialect::AgUi,
            "a call in its message",
            agui,
            &[
                r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"x"}"#,
                r#"{"type":"TOOL_CALL_END","toolCallId":"c"}"#,
            ],
        ),
        Case::new(
            Dialect::AgUi,
            "a call in chunks",
            agui,
            &[r#"{"type":"TOOL_CALL_CHUNK","toolCallId":"c","toolCallName":"x","delta":"{}"}"#],
        ),
        Case::new(
            Dialect::Strands,
            "a call",
            strands,
            &[r#"{"current_tool_use":{"name":"x"}}"#],
        ),
        Case::new(
            Dialect::Strands,
            "a message",
            strands,
            &[r#"{"message":{"role":"user","content":[{"toolResult":{"content":[]}}]}}"#],
        ),
        Case::new(
            Dialect::Dify,
            "a round",
            dify,
            &[
                r#"{"event":"agent_thought","task_id":"t","message_id":"m","id":"1","tool":"x","tool_input":"{}"}"#,
            ],
        ),
        Case {
            after: Box::new(libre("s3")),
            ..Case::new(
                Dialect::LibreChat,
                "a step",
                libre("s1"),
                &[
                    r#"{"event":"on_run_step","data":{"id":"s2","stepDetails":{"type":"tool_calls","tool_calls":[{"id":"c","name":"x"}]}}}"#,
                ],
            )
        },
        Case {
            after: Box::new(ui("b")),
            ..Case::new(
                Dialect::VercelUi,
                "a call",
                ui("a"),
                &[
                    r#"{"type":"tool-input-available","toolCallId":"c","toolName":"x","input":{}}"#,
                ],
            )
        },
        Case {
            after: Box::new(mastra("b")),
            ..Case::new(
                Dialect::Mastra,
                "a call",
                mastra("a"),
                &[
                    r#"{"type":"tool-call","runId":"r","from":"AGENT","payload":{"toolCallId":"c","toolName":"x","args":{}}}"#,
                ],
            )
        },
        Case {
            framing: Framing::Lines,
            tool: "9:{\"toolCallId\":\"c\",\"toolName\":\"x\",\"args\":{}}\n".to_owned(),
            ..Case::new(Dialect::VercelV4, "a call", v4, &[])
        },
    ]
}

#[test]
fn the_text_after_a_tool_is_another_one() {
    for tools in [Hide::Drop, Hide::Keep] {
        let rules = rules(Hide::Drop, tools);
        for case in models().into_iter().chain(agents()) {
            for rest in ["Rain.", "<think>SECRET</think>Rain."] {
                let start = (case.before)("<think>SECRET");
                let stream = [start, case.tool.clone(), (case.after)(rest)].concat();
                let bytes = stream.as_bytes();
                let (dialect, framing, name) = (case.dialect, case.framing, case.name);
                let whole = through(dialect, framing, &rules, &[bytes]);
                let shown = String::from_utf8_lossy(&whole);
                assert!(!shown.contains("SECRET"), "{dialect} {name}\n{shown}");
                let seen = text(dialect, framing, &whole);
                assert!(seen.ends_with("Rain."), "{dialect} {name}: {seen}\n{shown}");
                let singles: Vec<&[u8]> = bytes.chunks(1).collect();
                let out = through(dialect, framing, &rules, &singles);
                assert_eq!(out, whole, "{dialect} {name}");
            }
        }
    }
}

#[test]
fn the_tool_of_another_one_does_not_end_a_thought() {
    let graph = |text: &str| {
        format!(
            "event: messages\ndata: [{{\"type\":\"AIMessageChunk\",\"id\":\"a\",\"content\":\"{text}\"}},{{\"langgraph_node\":\"n\"}}]\n\n"
        )
    };
    let chat = |choice: usize, members: &str| {
        sse(&format!(
            r#"{{"choices":[{{"index":{choice},"delta":{{{members}}}}}]}}"#
        ))
    };
    let call = r#""tool_calls":[{"index":0,"id":"c","function":{"name":"x","arguments":"{}"}}]"#;
    let table = [
        (
            Dialect::LangGraph,
            [
                graph("<think>SECRET"),
                "event: messages\ndata: [{\"type\":\"tool\",\"id\":\"t\",\"content\":\"x\"},{\"langgraph_node\":\"o\"}]\n\n".to_owned(),
                graph("SECRET</think>Rain."),
            ],
        ),
        (
            Dialect::OpenAiChat,
            [
                chat(1, r#""content":"<think>SECRET""#),
                chat(0, call),
                chat(1, r#""content":"SECRET</think>Rain.""#),
            ],
        ),
        (
            // What stands beside the call belongs to the text before it.
            Dialect::OpenAiChat,
            [
                chat(0, r#""content":"<think>SECRET""#),
                chat(0, &format!(r#""content":"SECRET</think>",{call}"#)),
                chat(0, r#""content":"Rain.""#),
            ],
        ),
    ];
    let rules = rules(Hide::Drop, Hide::Drop);
    for (dialect, events) in table {
        let out = through(dialect, Framing::Sse, &rules, &[events.concat().as_bytes()]);
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        assert!(shown.contains("Rain."), "{dialect}\n{shown}");
    }
}

#[test]
fn a_copy_of_the_text_does_not_keep_a_thought_open() {
    let say = |text: &str| {
        [
            sse(&format!(
                r#"{{"type":"RAW","event":{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}}}"#
            )),
            sse(&format!(
                r#"{{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"{text}"}}"#
            )),
        ]
        .concat()
    };
    let call = sse(r#"{"type":"TOOL_CALL_START","toolCallId":"c","toolCallName":"x"}"#);
    let stream = [say("<think>SECRET"), call, say("Rain.")].concat();
    let rules = rules(Hide::Drop, Hide::Drop);
    let out = through(Dialect::AgUi, Framing::Sse, &rules, &[stream.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    assert!(!shown.contains("SECRET"), "{shown}");
    assert!(shown.ends_with(&say("Rain.")), "{shown}");
}
