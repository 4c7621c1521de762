//! Whole ("blocking") answers of Dify: of chats and completions, and of workflows.

use super::Sign;
use super::json::Value;
use super::out::{Object, Out};

pub(super) fn sign(answer: Value<'_>) -> Sign {
    Sign::certain_if(is_message(answer) || is_workflow(answer))
}

pub(super) fn write(answer: Value<'_>, out: &mut Out) -> Option<()> {
    if is_message(answer) {
        write_message(answer, out)
    } else {
        write_workflow(answer, out)
    }
}

fn is_message(answer: Value<'_>) -> bool {
    let ids = ["message_id", "conversation_id", "task_id"];
    let is_known = ids.iter().any(|id| answer.member(id).is_some());
    is_known && answer.member("answer").and_then(Value::text).is_some()
}

/// Reports whether the answer is that of a workflow that has ended.
fn is_workflow(answer: Value<'_>) -> bool {
    let is_over = |data: Value<'_>| !matches!(data.word("status"), "" | "running" | "paused");
    answer.member("workflow_run_id").is_some() && answer.object("data").is_some_and(is_over)
}

fn write_message(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let kind = match answer.word("mode") {
        "agent-chat" => "agent_message",
        _ => "message",
    };
    let of = |kind: &str| {
        let ids = [
            "conversation_id",
            "message_id",
            "created_at",
            "task_id",
            "id",
        ];
        ids.iter()
            .fold(Object::new().text("event", kind), |event, id| {
                event.same(id, answer)
            })
    };
    let text = answer.word("answer");
    if !text.is_empty() {
        out.block("", &of(kind).text("answer", text).end())?;
    }
    let known = [
        "event",
        "conversation_id",
        "message_id",
        "created_at",
        "task_id",
        "id",
        "answer",
        "metadata",
        "files",
    ];
    let metadata = answer.member("metadata").map_or("{}", Value::raw);
    let files = answer.member("files").map_or("null", Value::raw);
    let end = of("message_end")
        .raw("metadata", metadata)
        .raw("files", files);
    out.block("", &end.others(answer, &known).end())
}

/// Writes the beginning of a workflow, its text if it has one, and its end.
fn write_workflow(answer: Value<'_>, out: &mut Out) -> Option<()> {
    let data = answer.object("data")?;
    let of = |kind: &str, data: &str| {
        let event = Object::new().text("event", kind);
        let event = event
            .same("workflow_run_id", answer)
            .same("task_id", answer);
        event.raw("data", data)
    };
    let begun = ["id", "workflow_id", "created_at"]
        .iter()
        .fold(Object::new(), |begun, name| begun.same(name, data));
    out.block("", &of("workflow_started", &begun.end()).end())?;
    let text = output(data).and_then(Value::text).unwrap_or_default();
    if !text.is_empty() {
        let chunk = Object::new().text("text", text).end();
        out.block("", &of("text_chunk", &chunk).end())?;
    }
    let end = of("workflow_finished", data.raw());
    let known = ["event", "workflow_run_id", "task_id", "data"];
    out.block("", &end.others(answer, &known).end())
}

/// Returns the output that is the workflow's text: the only one, or the one with a telling name.
fn output(data: Value<'_>) -> Option<Value<'_>> {
    let outputs = data.object("outputs")?;
    let mut members = outputs.members();
    let (_, first) = members.next()?;
    if members.next().is_none() {
        return Some(first);
    }
    ["answer", "text", "output", "result"]
        .iter()
        .find_map(|name| outputs.member(name).filter(|value| value.text().is_some()))
}

#[cfg(test)]
mod tests {
    use crate::unstream::synthesize;
    use crate::unstream::testing::events;

    #[test]
    fn a_message() {
        let body = r#"{"event":"message","task_id":"k1","id":"m1","message_id":"m1","conversation_id":"c1","mode":"chat",
            "answer":"Rain\n","metadata":{"usage":{"completion_tokens":4}},"created_at":9}"#;
        let ids =
            r#""conversation_id":"c1","message_id":"m1","created_at":9,"task_id":"k1","id":"m1""#;
        let expected = [
            format!(r#"{{"event":"message",{ids},"answer":"Rain\n"}}"#),
            format!(
                r#"{{"event":"message_end",{ids},"metadata":{{"usage":{{"completion_tokens":4}}}},"files":null,"mode":"chat"}}"#
            ),
        ];
        assert_eq!(events(None, body), expected);
        let agent = events(None, &body.replace("\"chat\"", "\"agent-chat\""));
        assert!(agent[0].starts_with(r#"{"event":"agent_message","#));
    }

    #[test]
    fn a_workflow() {
        let data = r#"{"id":"r1","workflow_id":"w1","status":"succeeded","outputs":{"reply":"Rain"},"created_at":9}"#;
        let body = format!(r#"{{"workflow_run_id":"r1","task_id":"k1","data":{data}}}"#);
        let of = |kind: &str, data: &str| {
            format!(r#"{{"event":"{kind}","workflow_run_id":"r1","task_id":"k1","data":{data}}}"#)
        };
        let expected = [
            of(
                "workflow_started",
                r#"{"id":"r1","workflow_id":"w1","created_at":9}"#,
            ),
            of("text_chunk", r#"{"text":"Rain"}"#),
            of("workflow_finished", data),
        ];
        assert_eq!(events(None, &body), expected);
        let two = body.replace(r#""reply":"Rain""#, r#""a":"x","text":"Rain""#);
        assert_eq!(events(None, &two).get(1), expected.get(1));
        let running = body.replace("succeeded", "running");
        assert!(synthesize(None, running.as_bytes()).is_none());
    }
}
