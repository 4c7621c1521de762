//! What events repeat of a hidden side: whole messages, states and results.

use super::{Hide, rules, through};
use weir::dialect::Dialect;
use weir::wire::Framing;

#[test]
fn what_repeats_a_hidden_side_does_not_tell_it() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let object = |event: &str, chunk: &str| {
        format!(
            "event: data\ndata: {{\"event\":\"{event}\",\"run_id\":\"r\",\"parent_ids\":[\"p\"],\"data\":{{\"chunk\":{chunk}}}}}\n\n"
        )
    };
    let repeats: String = ["<think>", "SECRET", "</think>", "Rain"]
        .into_iter()
        .flat_map(|piece| {
            let message = format!("{{\"content\":\"{piece}\",\"type\":\"AIMessageChunk\"}}");
            [
                object("on_chat_model_stream", &message),
                object("on_parser_stream", &format!("\"{piece}\"")),
                object("on_chain_stream", &message),
            ]
        })
        .chain(["event: end\n\n".to_owned()])
        .collect();
    let dify = |word: &str, members: &str| {
        format!("data: {{\"event\":\"{word}\",\"task_id\":\"k\",\"id\":\"i\",{members}}}\n\n")
    };
    let artifact = |append: bool, text: &str| {
        format!(
            "data: {{\"artifactUpdate\":{{\"taskId\":\"k\",\"append\":{append},\"artifact\":{{\"artifactId\":\"a\",\"parts\":[{{\"text\":\"{text}\"}}]}}}}}}\n\n"
        )
    };
    let table = [
        (Dialect::LangServe, repeats),
        (
            Dialect::A2a,
            [
                artifact(false, "<think>Hm"),
                artifact(true, " SECRET"),
                artifact(true, "</think>Rain"),
            ]
            .concat(),
        ),
        (
            Dialect::AgUi,
            "data: {\"type\":\"MESSAGES_SNAPSHOT\",\"messages\":[{\"role\":\"assistant\",\"content\":\"Rain\",\"toolCalls\":[{\"function\":{\"name\":\"SECRET\"}}]},{\"role\":\"tool\",\"content\":\"SECRET\"},{\"role\":\"reasoning\",\"content\":\"SECRET\"}]}\n\n".to_owned(),
        ),
        (
            Dialect::AgUi,
            "data: {\"type\":\"STATE_SNAPSHOT\",\"snapshot\":{\"draft\":\"<think>SECRET</think>Rain\",\"notes\":[\"<think>SECRET</think>\"]}}\n\n".to_owned(),
        ),
        (
            Dialect::Adk,
            "data: {\"author\":\"a\",\"content\":{\"parts\":[{\"text\":\"<think>SECRET</think>Rain\"}]},\"actions\":{\"stateDelta\":{\"draft\":\"<think>SECRET</think>Rain\",\"all\":{\"drafts\":[\"<think>SECRET</think>\"]}}}}\n\n".to_owned(),
        ),
        (
            Dialect::Adk,
            "data: {\"author\":\"a\",\"invocation_id\":\"i\",\"content\":{\"parts\":[{\"function_call\":null,\"text\":\"Rain\"},{\"function_call\":{\"name\":\"SECRET\"},\"text\":null},{\"function_response\":{\"name\":\"SECRET\"}}]}}\n\n".to_owned(),
        ),
        (
            Dialect::OpenAiResponses,
            "data: {\"type\":\"response.reasoning.delta\",\"item_id\":\"a\",\"output_index\":0,\"delta\":\"SECRET\"}\n\ndata: {\"type\":\"response.reasoning.done\",\"item_id\":\"a\",\"output_index\":0,\"text\":\"SECRET\"}\n\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":1,\"content_index\":0,\"delta\":\"Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::LangGraph,
            "event: values\ndata: {\"summary\":\"<think>SECRET</think>Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::LangGraph,
            "event: updates\ndata: {\"tools\":{\"messages\":[{\"type\":\"tool\",\"content\":\"SECRET\"},{\"type\":\"ai\",\"content\":\"<think>SECRET</think>Rain\"}]}}\n\n".to_owned(),
        ),
        (
            Dialect::Strands,
            r#"data: {"data":"<think>SECRET","delta":{"text":"<think>SECRET"}}

data: {"data":" SECRET</think>Rain","delta":{"text":" SECRET</think>Rain"}}

data: {"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"SECRET"}}},{"reasoningContent":{"redactedContent":"SECRET"}},{"toolUse":{"input":"SECRET"}},{"text":"Rain"}]}}

"#.to_owned(),
        ),
        (
            Dialect::LibreChat,
            r#"data: {"sync":true,"resumeState":{"aggregatedContent":[{"type":"think","think":"SECRET"},{"type":"tool_call","tool_call":{"args":"SECRET"}},{"type":"text","text":"Rain"}]}}

data: {"final":true,"responseMessage":{"content":[{"type":"think","think":"SECRET"},{"type":"tool_call","tool_call":{"args":"SECRET"}},{"type":"text","text":"Rain"}]}}

"#.to_owned(),
        ),
        (
            Dialect::LangGraph,
            r#"event: updates
data: {"agent":{"messages":[{"type":"ai","content":"Rain","additional_kwargs":{"reasoning":{"summary":[{"type":"summary_text","text":"SECRET"}]}}},{"type":"ai","content":[{"type":"reasoning","summary":[{"type":"summary_text","text":"SECRET"}]},{"type":"reasoning_content","reasoning_content":{"text":"SECRET"}},{"type":"non_standard","value":{"type":"redacted_thinking","data":"SECRET"}}]}],"last":{"type":"reasoning_content","reasoning_content":{"text":"SECRET"}}}}

"#.to_owned(),
        ),
        (
            Dialect::Mastra,
            r#"data: {"type":"finish","runId":"r","from":"AGENT","payload":{"output":{"steps":[{"text":"Rain","reasoningText":"SECRET","reasoning":[{"type":"reasoning","payload":{"text":"SECRET"}}],"toolResults":[{"payload":{"result":"SECRET"}}],"content":[{"type":"reasoning","text":"SECRET"},{"type":"tool-call","input":{"a":"SECRET"}}]}]},"messages":{"nonUser":[{"role":"assistant","parts":[{"type":"reasoning","details":[{"type":"text","text":"SECRET"}]},{"type":"tool-invocation","toolInvocation":{"args":"SECRET"}}]}]}}}

"#.to_owned(),
        ),
        (
            Dialect::Convention,
            "data: {\"type\":\"final_answer\",\"data\":\"<think>SECRET</think>Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::OpenAiResponses,
            "event: response.web_search_call.searching\ndata: {\"type\":\"response.web_search_call.searching\",\"item_id\":\"SECRET\",\"output_index\":0}\n\nevent: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"output_index\":1,\"text\":\"Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::Gemini,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Rain\"},{\"toolCall\":{\"toolType\":\"SECRET\"}}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"candidatesTokenCount\":1}}\n\n".to_owned(),
        ),
        (
            Dialect::Tgi,
            "data:{\"index\":1,\"token\":{\"id\":1,\"text\":\"<think>\",\"logprob\":-1,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":2,\"token\":{\"id\":2,\"text\":\"SECRET\",\"logprob\":-1,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":3,\"token\":{\"id\":3,\"text\":\"</s>\",\"logprob\":-1,\"special\":true},\"generated_text\":\"<think>SECRET</think>Rain\",\"details\":null}\n\n".to_owned(),
        ),
        (
            Dialect::Dify,
            [
                dify("message_replace", "\"answer\":\"<think>SECRET</think>Rain\""),
                dify("agent_thought", "\"thought\":\"SECRET\",\"tool\":\"\""),
                dify("agent_thought", "\"thought\":\"SECRET\",\"tool\":\"SECRET\",\"observation\":\"SECRET\""),
                dify("agent_log", "\"data\":{\"label\":\"ROUND 1\",\"data\":{\"output\":\"SECRET\"}}"),
                dify("node_finished", "\"data\":{\"node_type\":\"agent\",\"outputs\":{\"text\":\"Rain\",\"reasoning_content\":\"SECRET\"},\"execution_metadata\":{\"agent_log\":[{\"label\":\"SECRET\"}]}}"),
                dify("node_finished", "\"data\":{\"node_type\":\"tool\",\"outputs\":{\"text\":\"SECRET\"}}"),
                dify("workflow_finished", "\"data\":{\"status\":\"succeeded\",\"outputs\":{\"reply\":\"<think>SECRET</think>Rain\"}}"),
            ]
            .concat(),
        ),
        (
            Dialect::Cohere,
            "data: {\"type\":\"content-delta\",\"index\":1,\"delta\":{\"message\":{\"content\":{\"text\":\"Rain\"}}}}\n\ndata: {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":{\"citations\":{\"start\":0,\"end\":4,\"text\":\"Rain\",\"sources\":[{\"type\":\"tool\",\"id\":\"t:0\",\"tool_output\":{\"content\":\"SECRET\"}}]}}}}\n\ndata: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"SECRET\"}}}\n\n".to_owned(),
        ),
    ];
    for (dialect, stream) in table {
        let out = through(dialect, Framing::Sse, &rules, &[stream.as_bytes()]);
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        assert!(shown.contains("Rain"), "{dialect}\n{shown}");
    }
}

#[test]
fn the_thoughts_of_agents_that_are_tools_are_hidden_though_their_texts_stay() {
    let rules = rules(Hide::Drop, Hide::Keep);
    let output = |kind: &str, text: &str| {
        format!(
            r#"data: {{"type":"tool-output","runId":"r","from":"USER","payload":{{"toolCallId":"c","output":{{"payload":{{"text":"{text}","id":"t"}},"type":"{kind}"}}}}}}"#
        ) + "\n\n"
    };
    let stream = output("reasoning-delta", "SECRET") + &output("text-delta", "Rain");
    let out = through(Dialect::Mastra, Framing::Sse, &rules, &[stream.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    assert!(!shown.contains("SECRET"), "{shown}");
    assert!(shown.ends_with(&output("text-delta", "Rain")), "{shown}");
}

#[test]
fn events_that_close_a_part_stay_whatever_they_repeat() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let text = "<think>SECRET</think>Rain";
    let responses = |kind: &str, more: &str| {
        format!(
            "data: {{\"type\":\"response.{kind}\",\"output_index\":0,\"content_index\":0,{more}}}\n\n"
        )
    };
    let stream = [
        responses("output_text.delta", &format!("\"delta\":\"{text}\"")),
        responses("output_text.done", &format!("\"text\":\"{text}\"")),
        responses(
            "content_part.done",
            &format!("\"part\":{{\"type\":\"output_text\",\"text\":\"{text}\"}}"),
        ),
        responses(
            "output_item.done",
            &format!(
                "\"item\":{{\"type\":\"message\",\"content\":[{{\"type\":\"output_text\",\"text\":\"{text}\"}}]}}"
            ),
        ),
    ]
    .concat();
    let out = through(
        Dialect::OpenAiResponses,
        Framing::Sse,
        &rules,
        &[stream.as_bytes()],
    );
    assert_eq!(
        String::from_utf8_lossy(&out),
        stream.replace("<think>SECRET</think>", "")
    );
    let end = "data: {\"type\":\"TEXT_MESSAGE_END\",\"messageId\":\"m\",\"rawEvent\":{\"content\":\"<think>SE\"}}\n\n";
    let out = through(Dialect::AgUi, Framing::Sse, &rules, &[end.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    assert!(
        shown.contains("TEXT_MESSAGE_END") && !shown.contains("SE\""),
        "{shown}"
    );
}

#[test]
fn arguments_of_tools_that_stay_are_never_looked_into() {
    let rules = rules(Hide::Drop, Hide::Keep);
    let stream = "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"f\",\"output_index\":0,\"delta\":\"<think>x</think>\"}\n\n";
    let out = through(
        Dialect::OpenAiResponses,
        Framing::Sse,
        &rules,
        &[stream.as_bytes()],
    );
    assert_eq!(String::from_utf8_lossy(&out), stream);
}
