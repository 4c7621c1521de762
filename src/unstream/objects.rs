//! Whole answers that are made of the same objects as the stream: Gemini's, A2A's, and the events of a run of ADK.

use super::Sign;
use super::json::Value;
use super::out::Out;

/// Reports whether the answer is a response of Gemini that is complete: an answer that does not say why it ends would
/// pass for a truncated stream.
pub(super) fn gemini_sign(answer: Value<'_>) -> Sign {
    let candidates = answer.array("candidates");
    let ends = |candidate: Value<'_>| !candidate.word("finishReason").is_empty();
    let is_over = candidates.into_iter().flat_map(Value::elements).any(ends);
    let is_blocked =
        (answer.object("promptFeedback")).is_some_and(|told| told.member("blockReason").is_some());
    Sign::certain_if(is_over || is_blocked)
}

/// Reports whether the answer is the result of a call of A2A, or of its REST binding, and is final: a message, or a
/// task that is over or asks for something.
pub(super) fn a2a_sign(answer: Value<'_>) -> Sign {
    if let Some(result) = answer.object("result") {
        return Sign::certain_if(answer.member("jsonrpc").is_some() && is_result(result));
    }
    if is_result(answer) {
        Sign::IfExpected
    } else {
        Sign::None
    }
}

fn is_result(result: Value<'_>) -> bool {
    match result.word("kind") {
        "message" => result.array("parts").is_some(),
        "task" => is_over(result),
        _ => {
            let message = result.object("message");
            message.is_some_and(|message| message.array("parts").is_some())
                || result.object("task").is_some_and(is_over)
        }
    }
}

fn is_over(task: Value<'_>) -> bool {
    let state = task
        .object("status")
        .map(|status| status.word("state"))
        .unwrap_or_default();
    let word = state
        .strip_prefix("TASK_STATE_")
        .unwrap_or(state)
        .to_ascii_lowercase();
    matches!(
        &*word,
        "completed"
            | "failed"
            | "rejected"
            | "canceled"
            | "cancelled"
            | "input_required"
            | "input-required"
            | "auth_required"
            | "auth-required"
    )
}

/// Writes the answer as the only event.
pub(super) fn write_one(answer: Value<'_>, out: &mut Out) -> Option<()> {
    out.block("", answer.raw())
}

/// Reports whether the answer is a list of events of ADK.
pub(super) fn adk_sign(answer: Value<'_>) -> Sign {
    let is_event = |event: Value<'_>| {
        let mut runs = ["invocationId", "invocation_id"].into_iter();
        event.member("author").is_some() && runs.any(|run| event.member(run).is_some())
    };
    let mut events = answer.elements().peekable();
    Sign::certain_if(events.peek().is_some() && events.all(is_event))
}

/// Writes each element of the answer as an event.
pub(super) fn write_each(answer: Value<'_>, out: &mut Out) -> Option<()> {
    for event in answer.elements() {
        out.block("", event.raw())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use crate::dialect::Dialect;
    use crate::unstream::synthesize;
    use crate::unstream::testing::events;

    #[test]
    fn one_object_is_one_event() {
        let whole = [
            r#"{"candidates":[{"content":{"parts":[{"text":"Rain\n"}],"role":"model"},"finishReason":"STOP","index":0}],"modelVersion":"m"}"#,
            r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"message","messageId":"m","role":"agent","parts":[{"kind":"text","text":"Rain"}]}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"task":{"id":"k1","status":{"state":"TASK_STATE_COMPLETED"},"artifacts":[]}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"task","id":"k1","status":{"state":"input-required"}}}"#,
        ];
        for body in whole {
            assert_eq!(events(None, body), [body]);
        }
        let rest = r#"{"message":{"role":"ROLE_AGENT","parts":[{"text":"Rain"}]}}"#;
        assert_eq!(events(Some(Dialect::A2a), rest), [rest]);
    }

    #[test]
    fn what_is_not_over_is_no_answer() {
        let others = [
            r#"{"candidates":[{"content":{"parts":[{"text":"Rain"}]}}]}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"task","id":"k1","status":{"state":"working"}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"task":{"taskId":"k1","status":"completed"}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"Rain"}]}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"no"}}"#,
            r#"{"message":{"role":"ROLE_AGENT","parts":[{"text":"Rain"}]}}"#,
        ];
        for body in others {
            assert!(synthesize(None, body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn a_list_is_as_many_events() {
        let event = |text: &str| {
            format!(
                r#"{{"author":"wx","invocationId":"i1","content":{{"parts":[{{"text":"{text}"}}]}}}}"#
            )
        };
        let body = format!("[\n  {},\n  {}\n]", event("a"), event("b"));
        assert_eq!(events(None, &body), [event("a"), event("b")]);
        assert!(synthesize(None, br#"[{"author":"wx"}]"#).is_none());
    }
}
