//! What goes into a model and is repeated in its events: earlier messages with their thoughts, and the user's own
//! words.

use super::{Hide, rules, through};
use weir::dialect::Dialect;
use weir::wire::Framing;

fn left(dialect: Dialect, tools: Hide, stream: &str) -> String {
    let rules = rules(Hide::Drop, tools);
    let whole = through(dialect, Framing::Sse, &rules, &[stream.as_bytes()]);
    let singles: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(through(dialect, Framing::Sse, &rules, &singles), whole);
    String::from_utf8(whole).unwrap()
}

/// The messages of a prompt. The tool's argument is named like a thought.
const MESSAGES: &str = r#"[[{"type":"human","content":"Hi"},{"type":"ai","content":"<think>SECRET</think>Rain","additional_kwargs":{"reasoning_content":"SECRET"},"tool_calls":[{"name":"plan","args":{"thought":"KEPT"}}]},{"type":"ai","content":[{"type":"thinking","thinking":"SECRET"},{"type":"tool_use","id":"c","name":"plan","input":{"thought":"KEPT"}}]},{"type":"tool","content":"4 C"}]]"#;

#[test]
fn thoughts_in_a_prompt_are_hidden_and_tools_stay_in_it() {
    for (event, input) in [
        (
            "on_chat_model_start",
            format!(r#"{{"messages":{MESSAGES}}}"#),
        ),
        ("on_chat_model_end", format!(r#"{{"messages":{MESSAGES}}}"#)),
        ("on_chain_start", MESSAGES.to_owned()),
        (
            "on_chain_start",
            format!(r#"{{"input":{{"history":{MESSAGES}}}}}"#),
        ),
        ("on_chain_end", format!(r#"{{"messages":{MESSAGES}}}"#)),
    ] {
        let object = format!(
            r#"{{"event":"{event}","run_id":"r","parent_ids":["p"],"data":{{"input":{input}}}}}"#
        );
        for (dialect, stream) in [
            (Dialect::LangServe, format!("data: {object}\n\n")),
            (
                Dialect::LangGraph,
                format!("event: events\ndata: {object}\n\n"),
            ),
            (
                Dialect::AgUi,
                format!("data: {{\"type\":\"RAW\",\"event\":{object}}}\n\n"),
            ),
        ] {
            let shown = left(dialect, Hide::Keep, &stream);
            assert!(!shown.contains("SECRET"), "{dialect} {event}\n{shown}");
            assert_eq!(
                shown.matches("KEPT").count(),
                2,
                "{dialect} {event}\n{shown}"
            );
            for word in ["Hi", "Rain", "4 C"] {
                assert!(shown.contains(word), "{dialect} {event} {word}\n{shown}");
            }
        }
    }
}

#[test]
fn the_input_of_a_tool_that_stays_is_not_looked_into() {
    let stream = "data: {\"event\":\"on_tool_start\",\"run_id\":\"r\",\"parent_ids\":[\"p\"],\"data\":{\"input\":{\"thought\":\"x\",\"content\":\"<think>x</think>\"}}}\n\n";
    assert_eq!(left(Dialect::LangServe, Hide::Keep, stream), stream);
}

#[test]
fn what_the_user_wrote_is_no_text_of_the_model() {
    let words = "<think>Hm</think> Rain?";
    let stream = [
        format!(
            "event: message\ndata: {{\"message\":{{\"messageId\":\"u\",\"text\":\"{words}\",\"isCreatedByUser\":true}},\"created\":true}}\n\n"
        ),
        format!(
            "event: message\ndata: {{\"sync\":true,\"resumeState\":{{\"userMessage\":{{\"text\":\"{words}\"}},\"aggregatedContent\":[]}}}}\n\n"
        ),
        format!(
            "event: message\ndata: {{\"final\":true,\"requestMessage\":{{\"text\":\"{words}\",\"isCreatedByUser\":true}},\"responseMessage\":{{\"text\":\"Snow.\"}}}}\n\n"
        ),
    ]
    .concat();
    assert_eq!(left(Dialect::LibreChat, Hide::Drop, &stream), stream);
    let answer = stream.replace("Snow.", "<think>SECRET</think>Snow.");
    assert_eq!(left(Dialect::LibreChat, Hide::Drop, &answer), stream);
}
