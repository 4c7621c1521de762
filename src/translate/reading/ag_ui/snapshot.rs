//! A snapshot of the messages. What the agent wrote and did after the user, and did not stream, is its answer.

use super::{AgUi, go_on, state};
use crate::translate::part::{By, Part, StateOp};
use crate::translate::raw::{elements, member, string, unescaped, word};

impl AgUi {
    /// Reads all messages of the conversation.
    pub(super) fn messages(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let Some(list) = member(data, "messages") else {
            return;
        };
        let messages = elements(list);
        let is_user = |message: &&[u8]| word(message, &["role"]) == b"user";
        let new = messages.iter().rposition(is_user).map_or(0, |at| at + 1);
        for message in messages.into_iter().skip(new) {
            if word(message, &["role"]) == b"assistant" {
                self.whole_text(message, parts);
            }
            if self.has_begun {
                whole_calls(message, parts);
            }
        }
        let value = [b"{\"messages\":".as_slice(), list, b"}"].concat();
        state(StateOp::Update, Some(&value), parts);
    }

    /// Reads the text of a message, which may have come in pieces.
    fn whole_text(&mut self, message: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let text = member(message, "content").and_then(string);
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let msg = word(message, &["id"]);
        if self.told.iter().any(|told| told == msg) {
            parts(Part::Message {
                msg: msg.into(),
                role: b"assistant".into(),
                text: text.into(),
                duplicate: true,
            });
        } else {
            go_on(&mut self.text, msg);
            self.tell();
            parts(Part::Text {
                msg: msg.into(),
                text: text.into(),
            });
        }
    }
}

/// Tells the calls of a whole message, and the result if it is one. Those that were told before are not told again.
fn whole_calls(message: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let answered = word(message, &["toolCallId"]);
    if word(message, &["role"]) == b"tool" && !answered.is_empty() {
        let error = member(message, "error").filter(|error| *error != b"\"\"");
        let content = member(message, "content").or(error);
        parts(Part::ToolResult {
            id: answered.into(),
            name: b"".into(),
            ok: error.is_none(),
            content: content.unwrap_or(b"null").into(),
            partial: false,
        });
    }
    let calls = member(message, "toolCalls").map(elements);
    for call in calls.unwrap_or_default() {
        let id = word(call, &["id"]);
        if !id.is_empty() {
            parts(Part::ToolReady {
                msg: word(message, &["id"]).into(),
                id: id.into(),
                name: word(call, &["function", "name"]).into(),
                args: Some(unescaped(word(call, &["function", "arguments"])).into()),
                by: By::Agent,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{parts_of, text_of};
    use crate::wire::Framing;

    fn read(events: &[&str]) -> Vec<Part<'static>> {
        let blocks: Vec<String> = events
            .iter()
            .map(|data| format!("data: {data}\n\n"))
            .collect();
        let mut reading = AgUi::default();
        parts_of(
            &mut reading,
            Dialect::AgUi,
            Framing::Sse,
            blocks.concat().as_bytes(),
        )
    }

    const STARTED: &str = r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#;
    const SNAPSHOT: &str = r#"{"type":"MESSAGES_SNAPSHOT","messages":[{"id":"u","role":"user","content":"Tides?"},{"id":"a","role":"assistant","content":"Let me look.","toolCalls":[{"id":"c","type":"function","function":{"name":"tides","arguments":"{\"port\":\"Oslo\"}"}}]},{"id":"x","role":"tool","toolCallId":"c","content":"high"}]}"#;

    #[test]
    fn what_was_not_streamed_is_told() {
        let step = r#"{"type":"STEP_STARTED","stepName":"agent"}"#;
        let parts = read(&[STARTED, step, SNAPSHOT]);
        assert_eq!(text_of(&parts), "Let me look.");
        let call = Part::ToolReady {
            msg: b"a".into(),
            id: b"c".into(),
            name: b"tides".into(),
            args: Some(br#"{"port":"Oslo"}"#.into()),
            by: By::Agent,
        };
        let result = Part::ToolResult {
            id: b"c".into(),
            name: b"".into(),
            ok: true,
            content: b"\"high\"".into(),
            partial: false,
        };
        let place = |wanted: &Part<'_>| parts.iter().position(|part| part == wanted);
        assert!(place(&call).unwrap() < place(&result).unwrap());
    }

    #[test]
    fn the_conversation_so_far_has_no_calls_of_this_run() {
        let parts = read(&[STARTED, SNAPSHOT]);
        let is_call =
            |part: &Part<'_>| matches!(part, Part::ToolReady { .. } | Part::ToolResult { .. });
        assert!(!parts.iter().any(is_call));
    }
}
