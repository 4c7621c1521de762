//! Finds the strings in a payload of any shape that most likely are pieces of a text.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::super::markers::Kind;
use super::super::named;
use super::nested::{holds_json, within_quotes};
use crate::wire::json::{Cursor, Kind as Value};

/// Values nested deeper than this are not searched, so their event cannot be vouched for.
const MAX_DEPTH: usize = 48;
/// The most strings beside the text of one event that are compared with it.
const MAX_OTHERS: usize = 256;
/// The members that most likely hold the text, the likeliest first.
const LIKELY: [&[u8]; 12] = [
    b"token",
    b"delta",
    b"text",
    b"content",
    b"chunk",
    b"answer",
    b"message",
    b"output",
    b"response",
    b"result",
    b"value",
    b"data",
];
/// The top-level members that hold the application's data in the dialects that wrap it.
const OWN: [&[u8]; 5] = [b"data", b"event", b"params", b"payload", b"value"];
/// Members that hold a thought as an object.
const THOUGHTS: [&[u8]; 3] = [b"reasoning", b"thinking", b"thought"];
/// Members that name things, if they hold one word. Ids are never text, either.
const NAMES: [&[u8]; 11] = [
    b"agent", b"author", b"event", b"kind", b"model", b"name", b"node", b"role", b"source",
    b"status", b"type",
];

/// The strings of a payload.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    /// The string that most likely is the text.
    pub(super) best: Option<Leaf>,
    /// The strings beside the text, which may repeat it.
    pub(super) others: Vec<Range<usize>>,
    /// A hash of the members that name the payload: texts of different names are different texts.
    pub(super) names: u64,
    /// What the payload says that it is, if that is a thought or a call.
    pub(super) tells: Option<Kind>,
    /// Whether something cannot be searched: a string that holds JSON, or values that are nested too deeply.
    pub(super) nested: bool,
    /// Whether the member that is read is one of [`OWN`].
    is_own: bool,
}

/// The strings in one place of a payload: one, or those of a list.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Lower is likelier.
    rank: (usize, bool, usize, u64),
    /// A hash of where in the payload they are.
    pub(super) path: u64,
    pub(super) pieces: Vec<Range<usize>>,
}

impl Leaves {
    /// Reads the value at `cursor`, which has this name and place. Returns `None` if it is not JSON.
    pub(super) fn read(
        &mut self,
        data: &[u8],
        cursor: &mut Cursor<'_>,
        name: &[u8],
        path: u64,
        depth: usize,
    ) -> Option<()> {
        match cursor.kind()? {
            Value::Object if depth < MAX_DEPTH => {
                cursor.enter_object()?;
                while let Some(name) = cursor.next_key()? {
                    if depth == 0 {
                        self.is_own = OWN.contains(&name);
                    }
                    if cursor.kind()? == Value::Object && THOUGHTS.contains(&name) {
                        self.tells = Some(Kind::Reasoning);
                    }
                    self.read(data, cursor, name, key(name, path), depth + 1)?;
                }
            }
            Value::Array if depth < MAX_DEPTH => {
                cursor.enter_array()?;
                while cursor.next_element()? {
                    self.read(data, cursor, name, key("element", path), depth + 1)?;
                }
            }
            Value::String => {
                let range = cursor.string()?;
                self.string(data, range, name, path, depth);
            }
            Value::Array | Value::Object => {
                self.nested = true;
                cursor.skip()?;
            }
            Value::Null | Value::Scalar => {
                let is_true = data.get(cursor.skip()?) == Some(b"true");
                if is_true && named::word(name) == Some(Kind::Reasoning) {
                    // A flag of the text beside it.
                    self.tells = Some(Kind::Reasoning);
                }
            }
        }
        Some(())
    }

    fn string(&mut self, data: &[u8], range: Range<usize>, name: &[u8], path: u64, depth: usize) {
        let text = data.get(range.clone()).unwrap_or_default();
        self.nested |= holds_json(text);
        if is_word(text) {
            self.tells = self.tells.or_else(|| named::member(name, text));
        }
        let is_id = name.ends_with(b"id") || name.ends_with(b"ids");
        if is_id || (NAMES.contains(&name) && is_word(text)) {
            if !is_id {
                // The sum does not depend on the order of the members.
                self.names = self.names.wrapping_add(key(path, text));
            }
            return;
        }
        let range = within_quotes(text, range);
        if let Some(best) = self.best.as_mut().filter(|best| best.path == path) {
            best.pieces.push(range);
            return;
        }
        let likely = LIKELY.iter().position(|likely| *likely == name);
        let rank = (likely.unwrap_or(LIKELY.len()), !self.is_own, depth, path);
        if self.best.as_ref().is_none_or(|best| rank < best.rank) {
            let leaf = Leaf {
                rank,
                path,
                pieces: vec![range],
            };
            for piece in self
                .best
                .replace(leaf)
                .map_or_else(Vec::new, |old| old.pieces)
            {
                self.beside(piece);
            }
        } else {
            self.beside(range);
        }
    }

    /// Notes a string beside the text.
    fn beside(&mut self, range: Range<usize>) {
        if self.others.len() < MAX_OTHERS {
            self.others.push(range);
        }
    }
}

/// Reports whether a string is one word, such as the name of a node.
pub(super) fn is_word(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:/|".contains(byte);
    text.iter().all(is_part)
}

/// Returns a hash of both.
pub(super) fn key(a: impl Hash, b: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (a, b).hash(&mut hasher);
    hasher.finish()
}
