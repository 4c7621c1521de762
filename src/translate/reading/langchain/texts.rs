//! Which messages of a stream were told, in which way, and what of their text is new.

use super::message::{Message, Piece, each_element};
use super::{Messages, hash};
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{elements, id, number, word};
use crate::translate::reading::shared;

/// How the text of a message was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// In pieces.
    Chunks,
    /// In messages each of which has all of the text so far.
    Partials,
    /// At once.
    Whole,
    /// Before this run.
    Earlier,
}

/// A message that was told.
#[derive(Debug)]
pub(super) struct SeenMessage {
    msg: Vec<u8>,
    how: How,
    /// The length and the hash of the text so far, if it does not come in chunks.
    text: (usize, u64),
    /// The length and the hash of the reasoning.
    thought: (usize, u64),
    /// Whether the whole message was told as well.
    repeated: bool,
}

impl Messages {
    /// Reports whether no message was told yet.
    pub(in crate::translate::reading) const fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Tells a piece of a message.
    pub(in crate::translate::reading) fn chunk(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let how = self.find(msg).map(|seen| seen.how);
        if matches!(how, Some(How::Partials | How::Whole)) && !msg.is_empty() {
            return;
        }
        let has_fragments = !message.fragments.is_empty();
        let mut is_content = has_fragments;
        message.pieces(&mut |piece| match piece {
            Piece::Text(b"") | Piece::Reasoning(b"") => {}
            Piece::Text(text) => {
                is_content = true;
                parts(Part::Text {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
            Piece::Reasoning(text) => {
                is_content = true;
                parts(Part::Reasoning {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
            Piece::Block(kind, block) => self.block(msg, kind, block, has_fragments, parts),
        });
        if is_content && how.is_none() {
            self.tell(msg, How::Chunks);
        }
        if has_fragments {
            each_element(message.fragments, |call| {
                let args = word(call, &["args"]);
                self.fragment(msg, id(call, &["index"]), call, args, parts);
            });
        } else if message.has_calls() {
            self.whole_calls(msg, message, parts);
        }
        let finish = word(message.response, &["finish_reason"]);
        let stop = word(message.response, &["stop_reason"]);
        let reason = if finish.is_empty() { stop } else { finish };
        if message.is_last || !reason.is_empty() {
            self.close(msg, parts);
        }
        if !reason.is_empty() {
            parts(Part::Finish {
                reason: Reason::of(reason),
                scope: Scope::Choice,
            });
        }
    }

    /// Tells what a message with all of the text so far adds to the one before it.
    pub(in crate::translate::reading) fn partial(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        match self.find(msg).map(|seen| seen.how) {
            Some(How::Partials) => {}
            Some(How::Chunks | How::Whole | How::Earlier) => return,
            None => self.tell(msg, How::Partials),
        }
        let (thought, text) = (message.joined(true), message.joined(false));
        if let Some(seen) = self.find_mut(msg) {
            if let Some(text) = added(&mut seen.thought, &thought) {
                parts(Part::Reasoning {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
            if let Some(text) = added(&mut seen.text, &text) {
                parts(Part::Text {
                    msg: msg.into(),
                    text: text.into(),
                });
            }
        }
    }

    /// Tells a whole message, whose text and calls may have been told before.
    pub(in crate::translate::reading) fn whole(
        &mut self,
        msg: &[u8],
        message: &Message<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if message.is_tool() {
            return self.result(message, parts);
        }
        if !message.is_ai() {
            return;
        }
        if self.find(msg).is_some_and(|seen| seen.how == How::Earlier) {
            return;
        }
        // What is missing at the end of the partial messages.
        if self.find(msg).is_some_and(|seen| seen.how == How::Partials) {
            self.partial(msg, message, parts);
        }
        let text = message.joined(false);
        let seal = (text.len(), hash(&text));
        let known = self.find(msg).is_some_and(|seen| {
            // Without an id of its own, the message may be another one of the same author.
            seen.how != How::Whole || !message.id.is_empty() || seen.text == seal
        });
        if known {
            // What is missing of the calls, before they are closed.
            self.whole_calls(msg, message, parts);
            self.close(msg, parts);
            let is_first = self
                .find_mut(msg)
                .is_some_and(|seen| !std::mem::replace(&mut seen.repeated, true));
            if is_first && !text.is_empty() {
                parts(Part::Message {
                    msg: msg.into(),
                    role: b"assistant".into(),
                    text,
                    duplicate: true,
                });
            }
        } else {
            self.seen.retain(|seen| seen.msg != msg);
            self.tell(msg, How::Whole);
            if let Some(seen) = self.find_mut(msg) {
                seen.text = seal;
                seen.repeated = true;
            }
            message.pieces(&mut |piece| match piece {
                Piece::Text(b"") | Piece::Reasoning(b"") | Piece::Block(..) => {}
                Piece::Text(text) => parts(Part::Text {
                    msg: msg.into(),
                    text: text.into(),
                }),
                Piece::Reasoning(text) => parts(Part::Reasoning {
                    msg: msg.into(),
                    text: text.into(),
                }),
            });
            if let Some(usage) = message.counts() {
                parts(Part::Usage {
                    input: number(usage, &["input_tokens"]),
                    output: number(usage, &["output_tokens"]),
                    reasoning: number(usage, &["output_token_details", "reasoning"]),
                    cached: number(usage, &["input_token_details", "cache_read"]),
                    call: hash(msg),
                });
            }
        }
        self.whole_calls(msg, message, parts);
    }

    /// Notes a message of an earlier run.
    pub(in crate::translate::reading) fn earlier(&mut self, msg: &[u8], message: &Message<'_>) {
        if message.is_tool() {
            shared::remember(&mut self.results, message.call.to_vec());
        } else if self.find(msg).is_none() {
            self.tell(msg, How::Earlier);
            for call in elements(message.calls) {
                self.know(msg, b"", word(call, &["id"]), word(call, &["name"]), false);
            }
        }
    }

    /// Reports whether a message was told, or a part of it.
    pub(in crate::translate::reading) fn has(&self, msg: &[u8]) -> bool {
        self.find(msg).is_some()
    }

    /// Notes that the text of a message comes in pieces.
    pub(in crate::translate::reading) fn note_pieces(&mut self, msg: &[u8]) {
        if self.find(msg).is_none() {
            self.tell(msg, How::Chunks);
        }
    }

    fn tell(&mut self, msg: &[u8], how: How) {
        let seen = SeenMessage {
            msg: msg.to_vec(),
            how,
            text: (0, hash(b"".as_slice())),
            thought: (0, hash(b"".as_slice())),
            repeated: false,
        };
        shared::remember(&mut self.seen, seen);
    }

    fn find(&self, msg: &[u8]) -> Option<&SeenMessage> {
        self.seen.iter().rev().find(|seen| seen.msg == msg)
    }

    fn find_mut(&mut self, msg: &[u8]) -> Option<&mut SeenMessage> {
        self.seen.iter_mut().rev().find(|seen| seen.msg == msg)
    }
}

/// Returns what a text adds to the one before it, of which the length and the hash are known.
fn added<'a>(before: &mut (usize, u64), text: &'a [u8]) -> Option<&'a [u8]> {
    let (length, seal) = *before;
    let (head, more) = text.split_at_checked(length)?;
    if more.is_empty() || hash(head) != seal {
        return None;
    }
    *before = (text.len(), hash(text));
    Some(more)
}
