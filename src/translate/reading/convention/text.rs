//! What the agent says: pieces of the answer and of reasoning, and whole texts, which may repeat the pieces.

use std::hash::{DefaultHasher, Hasher};

use super::Convention;
use super::fields::{Fields, TEXTS, plain};
use crate::event::{Content, Event};
use crate::translate::part::{Part, Text};
use crate::translate::raw::{elements, id, is_object, member, string, word};
use crate::translate::reading::shared::{remember, unknown};
use crate::wire::{Frame, json};

/// The members that may carry a whole answer.
const ANSWERS: [&str; 9] = [
    "content",
    "text",
    "answer",
    "final_answer",
    "response",
    "output",
    "result",
    "message",
    "value",
];
/// The members that say in which message, or by whom, something is said.
const AUTHORS: [&str; 17] = [
    "message_id",
    "messageId",
    "agent",
    "agent_id",
    "agentId",
    "agent_name",
    "agentName",
    "author",
    "branch",
    "langgraph_node",
    "node",
    "node_name",
    "name",
    "sender",
    "source",
    "speaker",
    "worker",
];

impl Convention {
    /// Reads a piece of the answer or of reasoning.
    pub(super) fn piece(
        &mut self,
        frame: &Frame<'_>,
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let data = frame.data();
        let text = piece_of(data);
        if text.is_empty() {
            return;
        }
        // Without an author, all pieces are of the same lane.
        let author: &[u8] = match event.lane {
            0 => b"",
            _ => AUTHORS
                .iter()
                .map(|name| id(data, &[name]))
                .find(|id| !id.is_empty())
                .unwrap_or_default(),
        };
        let msg = author.into();
        parts(if event.content == Content::Reasoning {
            Part::Reasoning { msg, text }
        } else {
            (self.said, self.in_pieces) = (true, true);
            Part::Text { msg, text }
        });
    }

    /// Passes on a whole text: as the answer, unless it repeats what has come before.
    fn say_whole(
        &mut self,
        msg: &[u8],
        role: &[u8],
        text: Text<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if text.is_empty() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(&text);
        let hash = hasher.finish();
        let is_known = self.wholes.contains(&hash);
        let duplicate = std::mem::take(&mut self.in_pieces) || is_known;
        if !is_known {
            remember(&mut self.wholes, hash);
        }
        let msg = msg.into();
        if duplicate {
            return parts(Part::Message {
                msg,
                role: role.into(),
                text,
                duplicate,
            });
        }
        self.said = true;
        parts(Part::Text { msg, text });
        parts(Part::TextEnd);
    }

    /// Reads the answer in the event that ends the stream. It repeats what was said, if anything
    /// was.
    pub(super) fn answer_at_end(&mut self, fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        if self.said {
            return;
        }
        let text = fields.first(&ANSWERS).and_then(string).unwrap_or_default();
        self.say_whole(b"", b"assistant", text.into(), parts);
    }

    /// Reads an event that carries a whole text.
    pub(super) fn whole(
        &mut self,
        kind: &[u8],
        fields: &Fields<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let answer = ANSWERS.iter().find_map(|name| member(fields.data, name));
        let Some(value) = answer.or_else(|| member(fields.data, "data")) else {
            let text = fields.plain();
            return if text.is_empty() {
                unknown(kind, fields.data, parts);
            } else {
                self.say_whole(b"", b"assistant", text, parts);
            };
        };
        let message = if is_object(value) { value } else { fields.data };
        let role = match word(message, &["role"]) {
            b"" if is_object(value) => word(message, &["type"]),
            role => role,
        };
        let msg = match id(message, &["id"]) {
            b"" => id(fields.data, &["message_id"]),
            msg => msg,
        };
        let text = match string(value) {
            Some(text) => text,
            None => TEXTS
                .iter()
                .map(|name| word(message, &[name]))
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
        };
        match role {
            b"" | b"ai" | b"assistant" | b"AIMessage" | b"agent" | b"model" | b"text" => {
                if text.is_empty() && string(value).is_none() && !is_object(value) {
                    unknown(kind, fields.data, parts);
                }
                self.say_whole(msg, b"assistant", text.into(), parts);
                let calls = member(message, "tool_calls")
                    .map(elements)
                    .unwrap_or_default();
                for call in calls {
                    self.call(&Fields::of(call), parts);
                }
            }
            b"tool" | b"ToolMessage" => self.result(&Fields::of(message), true, parts),
            b"human" | b"user" | b"system" | b"HumanMessage" => parts(Part::Message {
                msg: msg.into(),
                role: role.into(),
                text: text.into(),
                duplicate: false,
            }),
            _ => unknown(role, value, parts),
        }
    }
}

/// Returns the text of a piece.
fn piece_of(data: &[u8]) -> Text<'_> {
    match data.trim_ascii_start().first() {
        Some(b'{') => {
            let first = TEXTS.iter().find_map(|name| {
                let value = member(data, name)?;
                match *name {
                    "data" if is_object(value) => ["content", "text", "token", "chunk"]
                        .iter()
                        .find_map(|name| member(value, name).and_then(string)),
                    _ => string(value),
                }
            });
            first.unwrap_or_default().into()
        }
        Some(b'[') if json::is_whole(data) => b"".into(),
        _ => plain(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::part::{Reason, Scope};
    use crate::translate::reading::convention::tests::read;
    use crate::translate::reading::testing::text_of;
    use crate::wire::Framing;

    #[test]
    fn plain_text_is_escaped() {
        let parts = read("plain.sse", Framing::Sse);
        assert_eq!(text_of(&parts), r#"Rain in\nOsloquoted too42"#);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }

    #[test]
    fn a_whole_text_after_pieces_is_a_copy() {
        let parts = read("text.sse", Framing::Sse);
        assert_eq!(text_of(&parts), "Rainx");
        assert!(parts.contains(&Part::Message {
            msg: b"".into(),
            role: b"assistant".into(),
            text: b"Rain".into(),
            duplicate: true,
        }));
    }
}
