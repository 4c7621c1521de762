//! What the nodes have changed, snapshots of the state, and interrupts. The messages in them may be the answer.

use super::LangGraph;
use crate::translate::part::{Part, StateOp};
use crate::translate::raw::{elements, id, is_object, member, members};
use crate::translate::reading::langchain::{Message, hash};
use crate::translate::reading::shared::remember;

impl LangGraph {
    /// Reads what the nodes have changed. Their messages may be the answer, if it was not streamed.
    pub(super) fn updates(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let nodes = members(data);
        let mut has_nodes = false;
        for (node, change) in &nodes {
            if *node == b"__interrupt__" {
                self.interrupt(change, parts);
                continue;
            }
            has_nodes = true;
            let changes = elements(change);
            if changes.is_empty() {
                self.change(node, change, parts);
            }
            for change in changes {
                self.change(node, change, parts);
            }
        }
        if has_nodes {
            parts(Part::State {
                op: StateOp::Update,
                value: data.into(),
            });
        }
    }

    /// Reads one change of a node.
    fn change(&mut self, node: &[u8], change: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let Some(messages) = member(change, "messages") else {
            return;
        };
        let list = if is_object(messages) {
            vec![messages]
        } else {
            elements(messages)
        };
        for message in list {
            let message = Message::read(message);
            let msg = if message.id.is_empty() {
                node
            } else {
                message.id
            };
            self.messages.whole(msg, &message, parts);
        }
    }

    /// Reads a snapshot of the state. The first one is usually the input, with the conversation so far.
    pub(super) fn values(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if let Some(interrupts) = member(data, "__interrupt__") {
            self.interrupt(interrupts, parts);
        }
        let list = member(data, "messages").map(elements).unwrap_or_default();
        let messages: Vec<Message<'_>> = list.into_iter().map(Message::read).collect();
        let is_first = !std::mem::replace(&mut self.has_snapshot, true);
        let is_input = is_first
            && self.messages.is_empty()
            && !messages
                .last()
                .is_some_and(|last| last.is_ai() && !last.has_calls());
        let new = messages
            .iter()
            .rposition(Message::is_human)
            .map_or(0, |at| at + 1);
        for (at, message) in messages.iter().enumerate() {
            // Without an id, a message cannot be told from those in the other snapshots.
            if message.id.is_empty() && !(message.is_tool() || self.messages.is_empty()) {
                continue;
            }
            if is_input || at < new {
                self.messages.earlier(message.id, message);
            } else {
                self.messages.whole(message.id, message, parts);
            }
        }
        parts(Part::State {
            op: StateOp::Snapshot,
            value: data.into(),
        });
    }

    /// Reads a list of interrupts. Several modes tell the same ones.
    pub(super) fn interrupt(&mut self, interrupts: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        for interrupt in elements(interrupts) {
            let told = ["interrupt_id", "id"]
                .into_iter()
                .map(|name| id(interrupt, &[name]))
                .find(|id| !id.is_empty())
                .unwrap_or_default();
            let payload = member(interrupt, "value").unwrap_or(interrupt);
            let seal = if told.is_empty() {
                hash(payload)
            } else {
                hash(told)
            };
            if self.interrupts.contains(&seal) {
                continue;
            }
            remember(&mut self.interrupts, seal);
            parts(Part::Interrupt {
                id: told.into(),
                reason: b"interrupt".into(),
                payload: payload.into(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::translate::reading::langgraph::tests::read;
    use crate::translate::reading::testing::text_of;

    #[test]
    fn an_answer_that_was_not_streamed_is_text() {
        let update = br#"{"agent":{"messages":[{"type":"ai","id":"a1","content":"Rain"}]}}"#;
        let stream = [b"event: updates\ndata: ".as_slice(), update, b"\n\n"].concat();
        assert_eq!(text_of(&read(&stream)), "Rain");
    }
}
