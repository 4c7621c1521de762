//! Finds the strings in a payload of any shape: each place is a text, of which each event may hold a piece.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::super::markers::Kind;
use super::super::named;
use super::nested::{holds_json, within_quotes};
use crate::dialect::names_writer;
use crate::wire::json::{Cursor, Kind as Value};

/// Values nested deeper than this are not searched, so they cannot be vouched for.
const MAX_DEPTH: usize = 48;
/// The most places of one payload whose strings are texts that go on. Further strings are scanned each by itself.
const MAX_PLACES: usize = 64;
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
/// Members that name things, if they hold one word, beside those that name a writer.
const NAMES: [&[u8]; 9] = [
    b"event",
    b"kind",
    b"level",
    b"logger",
    b"mimeType",
    b"progressToken",
    b"status",
    b"type",
    b"uri",
];
/// What the name of an id ends with. An id of one word is no text.
const IDS: [&[u8]; 6] = [b"_id", b"_ids", b"ID", b"Id", b"Ids", b"uid"];
/// The ids that tell one writer's text from another's. Others may be new in every event.
const WRITERS_IDS: [&[u8]; 4] = [b"agentId", b"agent_id", b"runId", b"run_id"];
/// Members that hold the arguments of tools in the dialects' own events.
const ARGUMENTS: [&[u8]; 5] = [
    b"args",
    b"arguments",
    b"tool_call_chunks",
    b"tool_calls",
    b"tool_input",
];

/// The strings of a payload.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    /// The strings by their places.
    pub(super) texts: Vec<Leaf>,
    /// The strings for whose places there was no room.
    pub(super) rest: Vec<Range<usize>>,
    /// A hash of the members that name the payload: texts of different names are different texts.
    pub(super) names: u64,
    /// What the payload says that it is, if that is a thought or a call.
    pub(super) tells: Option<Kind>,
    /// What cannot be searched, strings that hold JSON and values that are nested too deeply, and what is empty in its
    /// place.
    pub(super) unread: Vec<(Range<usize>, &'static [u8])>,
    /// The top-level members with texts; empty if all may have some.
    pub(super) wraps: &'static [&'static [u8]],
    /// Whether the payload is an event of the dialect: JSON in the members of [`LIKELY`] is what the model wrote, and
    /// the arguments of tools are no texts.
    pub(super) is_dialects: bool,
    /// Whether the member that is read is one of [`OWN`].
    pub(super) is_own: bool,
    /// Whether the member that is read is outside [`Leaves::wraps`].
    pub(super) is_outside: bool,
}

/// The strings in one place of a payload: one, or those of a list.
#[derive(Debug)]
pub(super) struct Leaf {
    /// How likely it is the text that the payload is about. Lower is likelier.
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
                        self.is_outside = !self.wraps.is_empty() && !self.wraps.contains(&name);
                    }
                    if self.is_dialects && ARGUMENTS.contains(&name) {
                        cursor.skip()?;
                        continue;
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
            Value::Array => self.unread.push((cursor.skip()?, b"[]")),
            Value::Object => self.unread.push((cursor.skip()?, b"{}")),
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
        let likely = LIKELY.iter().position(|likely| *likely == name);
        if holds_json(text) && !(self.is_dialects && likely.is_some()) {
            self.unread.push((range, b""));
            return;
        }
        if is_word(text) {
            self.tells = self.tells.or_else(|| named::member(name, text));
            let is_id = is_id(name);
            let is_name = NAMES.contains(&name) || (names_writer(name) && !is_id);
            if is_name || WRITERS_IDS.contains(&name) {
                // The sum does not depend on the order of the members.
                self.names = self.names.wrapping_add(key(path, text));
            }
            if is_name || is_id {
                return;
            }
        }
        if self.is_outside {
            return;
        }
        let range = within_quotes(text, range);
        // The strings of a list follow each other.
        if let Some(known) = self.texts.iter_mut().rev().find(|leaf| leaf.path == path) {
            known.pieces.push(range);
        } else if self.texts.len() < MAX_PLACES {
            let likely = likely.unwrap_or(LIKELY.len());
            self.texts.push(Leaf {
                rank: (likely, !self.is_own, depth, path),
                path,
                pieces: vec![range],
            });
        } else {
            self.rest.push(range);
        }
    }

    /// Returns which text is the one that the payload is about, if one is likely to be: what may become a marker in it
    /// waits for the next piece.
    pub(super) fn likeliest(&self) -> Option<u64> {
        let best = self.texts.iter().min_by_key(|leaf| leaf.rank)?;
        (best.rank.0 < LIKELY.len() || self.texts.len() == 1).then_some(best.path)
    }
}

/// Reports whether a member with this name holds an id.
fn is_id(name: &[u8]) -> bool {
    matches!(name, b"id" | b"ids" | b"guid") || IDS.iter().any(|end| name.ends_with(end))
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
