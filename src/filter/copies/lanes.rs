//! Keeps the scans of texts in data of any shape, whose number only the application knows.

use super::super::scan::Marks;
use super::super::texts::ScannedText;

/// The most texts of one stream that are kept.
const MAX_TEXTS: usize = 64;

/// The scans of the texts in one stream's data.
#[derive(Debug, Default)]
pub(in crate::filter) struct Lanes {
    pub(in crate::filter) texts: Vec<ScannedText>,
    /// Whether a text is no longer known of which a thought was hidden: it may go on.
    has_lost: bool,
}

impl Lanes {
    /// Takes out the text with this number, or begins it. Returns `None` for a text that may be inside a thought, because
    /// too many were.
    pub(super) fn take(&mut self, id: u64, marks: &Marks) -> Option<ScannedText> {
        match self.texts.iter().position(|text| text.id == id) {
            Some(at) => Some(self.texts.remove(at)),
            None if self.has_lost => None,
            None => Some(ScannedText {
                is_copy: true,
                ..ScannedText::new(id, marks)
            }),
        }
    }

    /// Reports whether the text with this number can be kept: it is known, or not all others are inside thoughts.
    pub(super) fn has_room(&self, id: u64) -> bool {
        let is_free = |text: &ScannedText| text.id == id || text.scanner.is_visible();
        self.texts.len() < MAX_TEXTS || self.texts.iter().any(is_free)
    }

    /// Puts back a text that goes on. Returns how many characters were hidden of the text that had to go for it: the
    /// oldest one of those of which least would be forgotten.
    pub(super) fn put(&mut self, text: ScannedText) -> [u64; 2] {
        let mut hidden = [0; 2];
        if self.texts.len() == MAX_TEXTS {
            let oldest = |is: fn(&ScannedText) -> bool| self.texts.iter().position(is);
            let at = oldest(|text| text.scanner.is_visible() && !text.scanner.is_undecided())
                .or_else(|| oldest(|text| text.scanner.is_visible()));
            if at.is_none() && !text.scanner.is_hidden() {
                return text.scanner.hidden;
            }
            self.has_lost |= at.is_none();
            hidden = self.texts.remove(at.unwrap_or_default()).scanner.hidden;
        }
        self.texts.push(text);
        hidden
    }
}
