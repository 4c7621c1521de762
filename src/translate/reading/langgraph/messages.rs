//! What the model says in the modes of messages: `[message, metadata]`, mostly in pieces.

use super::LangGraph;
use crate::event::Event;
use crate::translate::part::Part;
use crate::translate::raw::{is_json, word};
use crate::translate::reading::langchain::{Message, usage};
use crate::wire::json::Cursor;

impl LangGraph {
    /// Reads `[message, metadata]`.
    pub(super) fn message(&mut self, data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let (message, metadata) = pair(data);
        if message.is_empty() {
            return;
        }
        let message = Message::read(message);
        let msg = if message.id.is_empty() {
            word(metadata, &["langgraph_node"])
        } else {
            message.id
        };
        if message.is_tool() {
            self.messages.result(&message, parts);
        } else if message.is_chunk() || message.kind.is_empty() {
            self.messages.chunk(msg, &message, parts);
            usage(event, message.counts(), parts);
        } else if message.is_ai() {
            // A model that does not stream. Its counts are told with it.
            self.messages.whole(msg, &message, parts);
        } else if is_json(data) {
            parts(Part::Raw {
                name: b"messages".into(),
                data: data.into(),
            });
        }
    }
}

/// Returns the first two elements of an array, empty where there is none.
pub(super) fn pair(data: &[u8]) -> (&[u8], &[u8]) {
    let mut cursor = Cursor::new(data);
    let mut next = |is_first: bool| {
        if is_first {
            cursor.enter_array()?;
        }
        cursor
            .next_element()
            .filter(|more| *more)
            .and_then(|_| cursor.skip())
            .and_then(|range| data.get(range))
    };
    let first = next(true).unwrap_or_default();
    (first, next(false).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::part::{By, Reason, Scope};
    use crate::translate::reading::langgraph::tests::read;
    use crate::translate::reading::testing::{fixture, text_of};

    #[test]
    fn the_text_comes_in_pieces_and_its_copy_is_a_duplicate() {
        let parts = read(&fixture("langgraph", "text.sse"));
        assert_eq!(text_of(&parts), "Rain in Oslo!");
        assert!(parts.contains(&Part::Message {
            msg: b"a1".into(),
            role: b"assistant".into(),
            text: b"Rain in Oslo".into(),
            duplicate: true,
        }));
        assert!(
            parts.contains(&Part::Usage {
                input: Some(9),
                output: Some(4),
                reasoning: Some(2),
                cached: None,
                call: parts
                    .iter()
                    .find_map(|part| match part {
                        Part::Usage { call, .. } => Some(*call),
                        _ => None,
                    })
                    .unwrap(),
            })
        );
    }

    #[test]
    fn calls_are_told_piece_by_piece_with_their_results() {
        let parts = read(&fixture("langgraph", "tools.sse"));
        let calls: Vec<_> = parts
            .iter()
            .filter(|part| {
                matches!(
                    part,
                    Part::ToolStart { .. } | Part::ToolArgs { .. } | Part::ToolReady { .. }
                )
            })
            .cloned()
            .collect();
        let start = |id: &'static str, name: &'static str| Part::ToolStart {
            msg: b"a1".into(),
            id: id.as_bytes().into(),
            name: name.as_bytes().into(),
            by: By::Agent,
        };
        let ready = |id: &'static str| Part::ToolReady {
            msg: b"a1".into(),
            id: id.as_bytes().into(),
            name: b"".into(),
            args: None,
            by: By::Agent,
        };
        let args = |id: &'static str, text: &'static str| Part::ToolArgs {
            id: id.as_bytes().into(),
            text: text.as_bytes().into(),
        };
        let expected = [
            start("t1", "wx"),
            args("t1", r#"{\"c\":1}"#),
            start("t2", "clock"),
            args("t2", "{}"),
            ready("t1"),
            ready("t2"),
        ];
        assert_eq!(calls, expected);
        assert!(parts.contains(&Part::ToolResult {
            id: b"t1".into(),
            name: b"".into(),
            ok: true,
            content: b"\"7 C\"".into(),
            partial: false,
        }));
        assert_eq!(
            parts.last(),
            Some(&Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Run,
            })
        );
    }
}
