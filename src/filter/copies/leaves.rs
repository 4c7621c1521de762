//! Finds the strings in a payload of any shape: each place is a text, of which each event may hold a piece.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use super::super::item::ids_of_item;
use super::super::markers::Kind;
use super::super::named::{self, is_schema};
use super::nested::{holds_json, within_quotes};
use crate::dialect::names_writer;
use crate::wire::json::{Cursor, Kind as Value};

/// Values nested deeper than this are not searched, so they cannot be vouched for.
const MAX_DEPTH: usize = 48;
/// The most places of one payload whose strings are texts that go on. Further strings are scanned each by itself.
const MAX_PLACES: usize = 64;
/// Members that most likely hold a text.
const LIKELY: [&[u8]; 12] = [
    b"answer",
    b"chunk",
    b"content",
    b"data",
    b"delta",
    b"message",
    b"output",
    b"response",
    b"result",
    b"text",
    b"token",
    b"value",
];
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
/// The ids that tell one writer's text from another's, wherever in a payload they stand.
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
    /// Whether the member that is read is outside [`Leaves::wraps`].
    pub(super) is_outside: bool,
}

/// The strings in one place of a payload: one, unless an object has two members of one name.
#[derive(Debug)]
pub(super) struct Leaf {
    /// A hash of where in the payload they are, and in which item.
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
                let path = match ids_of_item(data, cursor.clone(), true) {
                    0 => path,
                    ids => key(ids, path),
                };
                cursor.enter_object()?;
                while let Some(name) = cursor.next_key()? {
                    if depth == 0 {
                        self.is_outside = !self.wraps.is_empty() && !self.wraps.contains(&name);
                    }
                    if self.is_dialects && ARGUMENTS.contains(&name) {
                        cursor.skip()?;
                        continue;
                    }
                    if cursor.kind()? == Value::Object
                        && THOUGHTS.contains(&name)
                        && !is_schema(data, cursor.clone())
                    {
                        self.tells = Some(Kind::Reasoning);
                    }
                    self.read(data, cursor, name, key(name, path), depth + 1)?;
                }
            }
            Value::Array if depth < MAX_DEPTH => {
                cursor.enter_array()?;
                let mut index = 0_usize;
                while cursor.next_element()? {
                    self.read(data, cursor, name, key(index, path), depth + 1)?;
                    index += 1;
                }
            }
            Value::String => {
                let range = cursor.string()?;
                self.string(data, range, name, path);
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

    fn string(&mut self, data: &[u8], range: Range<usize>, name: &[u8], path: u64) {
        let text = data.get(range.clone()).unwrap_or_default();
        if holds_json(text) && !(self.is_dialects && LIKELY.contains(&name)) {
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
        if let Some(known) = self.texts.iter_mut().rev().find(|leaf| leaf.path == path) {
            known.pieces.push(range);
        } else if self.texts.len() < MAX_PLACES {
            self.texts.push(Leaf {
                path,
                pieces: vec![range],
            });
        } else {
            self.rest.push(range);
        }
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
