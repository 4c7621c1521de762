//! Which texts of a conversation make up one message.

use super::action::Kind;
use super::gather::{Gathered, Item, Said};

/// The texts of one message of the agent.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// The source's name for it; empty if it has none.
    pub(super) msg: &'a [u8],
    /// The answer.
    pub(super) text: Vec<u8>,
    pub(super) reasoning: Vec<u8>,
}

/// Returns the texts by message, in the order in which the messages began.
pub(super) fn messages(gathered: &Gathered) -> Vec<Message<'_>> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    let mut follows_text = false;
    for item in gathered.items() {
        let Item::Text(said) = item else {
            follows_text = false;
            continue;
        };
        let at = place(&messages, said, follows_text).unwrap_or_else(|| {
            messages.push(Message {
                msg: b"",
                text: Vec::new(),
                reasoning: Vec::new(),
            });
            messages.len() - 1
        });
        follows_text = true;
        if let Some(message) = messages.get_mut(at) {
            if message.msg.is_empty() {
                message.msg = &said.msg;
            }
            match said.kind {
                Kind::Answer => join(&mut message.text, &said.body),
                Kind::Reasoning => join(&mut message.reasoning, &said.body),
            }
        }
    }
    messages
}

/// Returns the message that a text belongs to, if it has begun. A text without a name belongs to the one beside it.
fn place(messages: &[Message<'_>], said: &Said, follows_text: bool) -> Option<usize> {
    let named = messages
        .iter()
        .rposition(|message| !said.msg.is_empty() && message.msg == said.msg);
    let last = messages.last().filter(|last| {
        let is_nameless = [last.msg, &said.msg].map(<[u8]>::is_empty);
        match is_nameless {
            [true, true] => true,
            [false, false] => false,
            // Reasoning, which has no name in many sources, or that of another message?
            _ => last.text.is_empty(),
        }
    });
    let beside = last.filter(|_| follows_text).map(|_| messages.len() - 1);
    named.or(beside)
}

/// Adds a text to those of the same message or answer.
pub(super) fn join(texts: &mut Vec<u8>, body: &[u8]) {
    if !texts.is_empty() {
        texts.extend_from_slice(b"\\n\\n");
    }
    texts.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use crate::translate::part::{By, Part};
    use crate::translate::writer::whole::testing::{Last, call_of, gather, reasoning, text};

    /// The texts of each message: its name, answer and reasoning.
    fn messages(parts: &[Part<'static>]) -> Vec<[String; 3]> {
        let (gathered, _) = gather(parts, Last::Finish, 1000);
        let own = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all = super::messages(&gathered);
        all.iter()
            .map(|message| [message.msg, &message.text, &message.reasoning].map(own))
            .collect()
    }

    #[test]
    fn texts_belong_to_messages() {
        let cases = [
            (
                vec![reasoning("m1", "R"), text("m1", "T")],
                vec![["m1", "T", "R"]],
            ),
            (
                vec![reasoning("", "R"), text("m1", "T")],
                vec![["m1", "T", "R"]],
            ),
            (
                vec![text("m1", "T"), reasoning("", "R"), text("m2", "U")],
                vec![["m1", "T", ""], ["m2", "U", "R"]],
            ),
            (
                vec![text("m1", "T"), text("m2", "U"), text("m1", "V")],
                vec![["m1", "TV", ""], ["m2", "U", ""]],
            ),
            (
                vec![text("m1", "T"), Part::TextEnd, text("m1", "U")],
                vec![["m1", "T\\n\\nU", ""]],
            ),
        ];
        for (parts, expected) in cases {
            assert_eq!(messages(&parts), expected, "{parts:?}");
        }
        // Texts without a name, before and after a call, are two messages.
        let mut parts = vec![text("", "T")];
        parts.extend(call_of("c1", "wx", By::Agent));
        parts.push(text("", "U"));
        assert_eq!(messages(&parts), [["", "T", ""], ["", "U", ""]]);
    }
}
