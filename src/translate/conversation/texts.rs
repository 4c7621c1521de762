//! The texts of a conversation that are open.

use super::{Act, Conversation};
use crate::translate::action::{Action, Kind, OpenText};
use crate::translate::few;

/// The most texts that are open at once. Beyond that the oldest is ended.
const MAX_TEXTS: usize = 16;

impl Conversation {
    /// Returns the open text of this kind and name.
    pub(in crate::translate) fn open_text(&self, kind: Kind, msg: &[u8]) -> Option<&OpenText> {
        self.texts
            .iter()
            .find(|text| text.kind == kind && self.is_named(text, msg))
    }

    /// Reports whether the source has this name for a text.
    fn is_named(&self, text: &OpenText, msg: &[u8]) -> bool {
        let prefix = self.prefix();
        if prefix.is_empty() || msg.is_empty() {
            return text.msg == msg;
        }
        text.msg.len() == prefix.len() + msg.len() && text.msg.ends_with(msg)
    }

    /// Returns the only open text.
    pub(in crate::translate) fn only_text(&self) -> Option<&OpenText> {
        match self.texts.as_slice() {
            [text] => Some(text),
            _ => None,
        }
    }

    pub(super) fn text(&mut self, kind: Kind, msg: &[u8], text: &[u8], act: Act<'_>) {
        if text.is_empty() {
            return;
        }
        self.speak(msg, act);
        if self.open_text(kind, msg).is_none() {
            // An answer ends the reasoning before it, and the other way round.
            let is_alone = self.texts.len() == 1;
            let name = self.own(msg.to_vec());
            let other = |open: &OpenText| open.kind != kind && (is_alone || open.msg == name);
            for text in self.texts.extract_if(.., |open| other(open)) {
                act(&self.facts, &Action::TextEnd(&text));
            }
            if self.texts.len() == MAX_TEXTS {
                let oldest = self.texts.remove(0);
                act(&self.facts, &Action::TextEnd(&oldest));
            }
            self.text_count += 1;
            let open = OpenText {
                kind,
                msg: name,
                number: self.text_count,
            };
            act(&self.facts, &Action::TextStart(&open));
            few::push(&mut self.texts, open);
        }
        if let Some(open) = self.open_text(kind, msg) {
            act(&self.facts, &Action::TextDelta(open, text));
        }
    }

    pub(super) fn end_texts(&mut self, act: Act<'_>) {
        for text in std::mem::take(&mut self.texts) {
            act(&self.facts, &Action::TextEnd(&text));
        }
    }
}
