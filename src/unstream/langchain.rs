//! Whole answers of LangGraph (the last state of a run) and of LangServe (the output of a chain).

use super::Sign;
use super::json::Value;
use super::out::{Change, Object, Out};

/// Reports whether the answer is the state of a graph. Only its messages show that, and a graph need not have any.
pub(super) fn graph_sign(answer: Value<'_>) -> Sign {
    let is_failed = answer.member("__error__").is_some();
    if !answer.is_object() || is_failed {
        return Sign::None;
    }
    let mut messages = answer
        .array("messages")
        .into_iter()
        .flat_map(Value::elements)
        .peekable();
    let is_certain = messages.peek().is_some() && messages.all(is_message);
    if is_certain {
        Sign::Certain
    } else {
        Sign::IfExpected
    }
}

/// Writes what the run has added to the conversation, as pieces of messages, and the state itself.
pub(super) fn write_graph(answer: Value<'_>, out: &mut Out) -> Option<()> {
    // The answer does not say which run it was.
    out.block("metadata", r#"{"attempt":1}"#)?;
    let messages: Vec<Value<'_>> = (answer.array("messages").into_iter())
        .flat_map(Value::elements)
        .collect();
    let asked = messages.iter().rposition(|message| {
        matches!(message.word("type"), "human" | "HumanMessage" | "user")
            || message.word("role") == "user"
    });
    let new = messages
        .get(asked.map_or(0, |at| at + 1)..)
        .unwrap_or_default();
    for message in new {
        match message.word("type") {
            "ai" | "AIMessage" | "AIMessageChunk" => write_message(*message, out)?,
            "tool" | "ToolMessage" => send(message.raw(), out)?,
            _ => {}
        }
    }
    out.block("values", answer.raw())
}

/// Reports whether a value is a message as LangGraph serialises it.
fn is_message(value: Value<'_>) -> bool {
    let kinds = [
        "ai",
        "human",
        "system",
        "tool",
        "function",
        "developer",
        "remove",
        "chat",
        "AIMessageChunk",
    ];
    kinds.contains(&value.word("type")) && value.member("content").is_some()
}

/// Writes a message of a model as up to three pieces: its reasoning, its text, and what else it has.
fn write_message(message: Value<'_>, out: &mut Out) -> Option<()> {
    let thoughts = message.object("additional_kwargs").filter(|more| {
        let names = ["reasoning_content", "reasoning"];
        names
            .iter()
            .any(|name| more.member(name).is_some_and(Value::says_something))
    });
    if let Some(thoughts) = thoughts {
        let piece = piece(message).text("content", "");
        send(&piece.raw("additional_kwargs", thoughts.raw()).end(), out)?;
    }
    let content = message
        .member("content")
        .filter(|content| content.says_something());
    if let Some(content) = content {
        send(&piece(message).raw("content", content.raw()).end(), out)?;
    }
    let last = Object::new().changed(message, |name| match name {
        "type" => Change::To("\"AIMessageChunk\""),
        "content" => Change::To("\"\""),
        "additional_kwargs" if thoughts.is_some() => Change::To("{}"),
        _ => Change::Keep,
    });
    send(&last.raw("chunk_position", "\"last\"").end(), out)
}

/// Begins a piece of a message.
fn piece(message: Value<'_>) -> Object {
    Object::of_type("AIMessageChunk")
        .same("id", message)
        .same("name", message)
}

fn send(message: &str, out: &mut Out) -> Option<()> {
    out.block("messages", &format!("[{message},{{}}]"))
}

/// Reports whether the answer is that of LangServe's `invoke`, which has the id of its run.
pub(super) fn chain_sign(answer: Value<'_>) -> Sign {
    if answer.member("output").is_none() {
        return Sign::None;
    }
    let has_run = answer
        .object("metadata")
        .is_some_and(|metadata| metadata.member("run_id").is_some());
    if has_run {
        Sign::Certain
    } else {
        Sign::IfExpected
    }
}

/// Writes the output as the only chunk of its stream.
pub(super) fn write_chain(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let output = answer.member("output")?;
    let metadata = answer.object("metadata").unwrap_or(Value::new("{}"));
    let metadata = Object::new()
        .others(metadata, &[])
        .others(answer, &["output", "metadata"]);
    out.block("metadata", &metadata.end())?;
    out.block("data", output.raw())?;
    out.name("end")
}

#[cfg(test)]
mod tests {
    use crate::dialect::Dialect;
    use crate::unstream::synthesize;
    use crate::unstream::testing::named;

    fn stream(expected: Option<Dialect>, body: &str) -> String {
        String::from_utf8(synthesize(expected, body.as_bytes()).unwrap().body).unwrap()
    }

    #[test]
    fn a_run_adds_its_messages_and_ends_with_its_state() {
        let body = concat!(
            r#"{"messages":[{"type":"ai","id":"a0","content":"Hello"},{"type":"human","id":"h1","content":"Rain?"},"#,
            r#"{"type":"ai","id":"a1","content":"","tool_calls":[{"name":"wx","args":{},"id":"t1"}]},"#,
            r#"{"type":"tool","content":"4 C","tool_call_id":"t1"},"#,
            r#"{"type":"ai","id":"a2","content":"Rain\n","additional_kwargs":{"reasoning_content":"Hm"},"usage_metadata":{"output_tokens":4}}],"n":1}"#,
        );
        let of = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        let message = |data: &str| of("messages", &format!("[{data},{{}}]"));
        let expected = [
            of("metadata", r#"{"attempt":1}"#),
            message(
                r#"{"type":"AIMessageChunk","id":"a1","content":"","tool_calls":[{"name":"wx","args":{},"id":"t1"}],"chunk_position":"last"}"#,
            ),
            message(r#"{"type":"tool","content":"4 C","tool_call_id":"t1"}"#),
            message(
                r#"{"type":"AIMessageChunk","id":"a2","content":"","additional_kwargs":{"reasoning_content":"Hm"}}"#,
            ),
            message(r#"{"type":"AIMessageChunk","id":"a2","content":"Rain\n"}"#),
            message(
                r#"{"type":"AIMessageChunk","id":"a2","content":"","additional_kwargs":{},"usage_metadata":{"output_tokens":4},"chunk_position":"last"}"#,
            ),
            of("values", body),
        ];
        assert_eq!(named(None, body), expected);
    }

    #[test]
    fn a_state_without_messages_must_be_expected() {
        let body = r#"{"answer":"Rain"}"#;
        assert!(synthesize(None, body.as_bytes()).is_none());
        let expected = "event: metadata\ndata: {\"attempt\":1}\n\nevent: values\ndata: {\"answer\":\"Rain\"}\n\n";
        assert_eq!(stream(Some(Dialect::LangGraph), body), expected);
        let failed = br#"{"__error__":{"error":"ValueError","message":"no"}}"#;
        assert!(synthesize(Some(Dialect::LangGraph), failed).is_none());
    }

    #[test]
    fn an_output_is_one_chunk() {
        let body = r#"{"output":"Rain\n","metadata":{"run_id":"r1"}}"#;
        let expected = "event: metadata\ndata: {\"run_id\":\"r1\"}\n\nevent: data\ndata: \"Rain\\n\"\n\nevent: end\n\n";
        assert_eq!(stream(None, body), expected);
        let bare = r#"{"output":{"answer":"Rain"}}"#;
        assert!(synthesize(None, bare.as_bytes()).is_none());
        let expected = "event: metadata\ndata: {}\n\nevent: data\ndata: {\"answer\":\"Rain\"}\n\nevent: end\n\n";
        assert_eq!(stream(Some(Dialect::LangServe), bare), expected);
    }
}
