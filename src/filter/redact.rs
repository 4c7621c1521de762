//! Empties the hidden parts of events that are forwarded: fields that hold reasoning or tool calls, parts of an answer,
//! and texts that are repeated in full.

use std::ops::Range;

use super::about::{About, THOUGHT, THOUGHTS, is_tool_block, is_tool_item, is_tool_part, is_users};
use super::edit::Edit;
use super::item::ids_of_item;
use super::markers::Kind;
use super::named;
use super::scan::{Marks, Scanner, Visible};
use crate::wire::json::{Cursor, Kind as Value};

/// Values nested deeper than this are left unchanged.
const MAX_DEPTH: usize = 48;
/// Members that hold tool calls or their results. Dify's log of an agent holds thoughts as well.
const TOOLS: [&[u8]; 13] = [
    b"agent_log",
    b"dynamicToolCalls",
    b"dynamicToolResults",
    b"function_call",
    b"staticToolCalls",
    b"staticToolResults",
    b"toolCalls",
    b"toolInvocations",
    b"toolResults",
    b"invalid_tool_calls",
    b"tool_call_chunks",
    b"tool_calls",
    b"tool_output",
];
/// Members that may repeat an answer in full.
const TEXTS: [&[u8]; 13] = [
    b"answer",
    b"chunk",
    b"content",
    b"data",
    b"delta",
    b"generated_text",
    b"message",
    b"output",
    b"response",
    b"result",
    b"text",
    b"token",
    b"value",
];
/// Members that hold tool arguments or metadata. Text in them is not an answer, so it is left unchanged.
const ARGUMENTS: [&[u8]; 6] = [
    b"args",
    b"arguments",
    b"input",
    b"metadata",
    b"tool_calls",
    b"tool_input",
];
/// Members with an entry for each token, which are wrong once tokens were removed.
const TRACES: [&[u8]; 3] = [b"logprobs", b"token_ids", b"top_tokens"];

/// Finds the parts of a payload that must be emptied.
#[derive(Debug)]
pub(super) struct Redactor<'a> {
    pub(super) reasoning: bool,
    pub(super) tools: bool,
    /// The markers to look for in texts that are repeated in full.
    pub(super) marks: Option<&'a Marks>,
    /// The positions of the text that is scanned as a stream, in order. They are left to that scan.
    pub(super) skip: &'a [Range<usize>],
    /// Members that hold data of any shape, which is left to other scans.
    pub(super) beside: &'static [&'static [u8]],
    /// Empties the members with an entry for each token, too.
    pub(super) traces: bool,
    /// The payload is data of the application: any string may be such a text, and names are taken at their word.
    pub(super) all_texts: bool,
    /// The payload is the state of an application, which gives its members their names: any string may be such a text.
    pub(super) is_state: bool,
}

/// The edits to a payload, in order, and how many characters they hide: of reasoning, and of tools.
#[derive(Debug, Default)]
pub(super) struct Redacted {
    pub(super) edits: Vec<Edit>,
    pub(super) hidden: [u64; 2],
    /// The members of [`Redactor::beside`].
    pub(super) beside: Vec<Beside>,
}

/// A member that holds data of any shape.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) name: &'static [u8],
    /// Where its value lies.
    pub(super) range: Range<usize>,
    /// A hash of the ids of the items around it.
    pub(super) item: u64,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    depth: usize,
    /// A hash of the ids of the items around it.
    item: u64,
    /// Whether it is within an object that holds a thought, so that its texts are reasoning.
    thinks: bool,
    /// Whether it is an input or output of a workflow (Dify), to which the application gives its name.
    is_output: bool,
    /// Whether it is within what an event adds to a state (ADK), in which answers are kept.
    in_state: bool,
    /// Whether it is the data of a run that is no tool (LangChain), whose input is a prompt.
    has_prompt: bool,
    /// Whether it is within such a prompt.
    in_prompt: bool,
    /// Whether it is within data of any shape.
    in_data: bool,
}

impl Place {
    /// Returns the place of a value in this one.
    const fn below(self, thinks: bool) -> Self {
        Self {
            depth: self.depth + 1,
            thinks: self.thinks || thinks,
            ..self
        }
    }

    /// Returns the place of an object with this name as that of its members.
    fn of_members(self, name: &[u8]) -> Self {
        Self {
            is_output: matches!(name, b"inputs" | b"outputs"),
            ..self
        }
    }

    /// Returns the place of the member `name` of an object in this one.
    fn of_member(self, about: &About<'_>, name: &[u8]) -> Self {
        Self {
            has_prompt: about.runs_on_prompt() && name == b"data",
            in_prompt: self.in_prompt || (self.has_prompt && name == b"input"),
            in_state: self.in_state || matches!(name, b"stateDelta" | b"state_delta"),
            ..self.below(about.wraps_thought(name))
        }
    }
}

impl Redactor<'_> {
    pub(super) fn run(&self, data: &[u8]) -> Redacted {
        let mut out = Redacted::default();
        // A payload that is not JSON has no members to empty.
        let _ = self.value(
            data,
            &mut Cursor::new(data),
            b"",
            Place::default(),
            &mut out,
        );
        out
    }

    /// Redacts a value.
    fn value(
        &self,
        data: &[u8],
        cursor: &mut Cursor<'_>,
        key: &[u8],
        place: Place,
        out: &mut Redacted,
    ) -> Option<()> {
        match cursor.kind()? {
            Value::Object if place.depth < MAX_DEPTH => {
                self.object(data, cursor, place.of_members(key), out)
            }
            Value::Array if place.depth < MAX_DEPTH => self.array(data, cursor, key, place, out),
            Value::String if place.in_data => cursor.skip().map(drop),
            Value::String
                if self.all_texts
                    || self.is_state
                    || place.is_output
                    || place.in_prompt
                    || place.in_state
                    || TEXTS.contains(&key) =>
            {
                let range = cursor.string()?;
                self.text(data, range, out);
                Some(())
            }
            _ => cursor.skip().map(drop),
        }
    }

    fn object(
        &self,
        data: &[u8],
        cursor: &mut Cursor<'_>,
        place: Place,
        out: &mut Redacted,
    ) -> Option<()> {
        let about = About::read(data, cursor.clone())?;
        let mut place = place;
        if !self.beside.is_empty() && !place.in_data {
            let ids = ids_of_item(data, cursor.clone(), false);
            place.item = place.item.wrapping_add(ids);
        }
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key()? {
            let by_name = self.all_texts || place.in_data;
            let is_thought = about.hides(key)
                || (place.thinks && THOUGHT.contains(&key))
                || (by_name && named::is_thought(key));
            let is_thought = is_thought && !(by_name && named::is_schema(data, cursor.clone()));
            let is_tool =
                TOOLS.contains(&key) || about.tells_result(key) || (by_name && named::is_call(key));
            let hides = if self.reasoning && is_thought {
                Some(Kind::Reasoning)
            } else if self.tools && is_tool {
                Some(Kind::Tool)
            } else {
                None
            };
            if !self.all_texts && is_users(&about, key) {
                // What the user wrote is no text of the model.
                cursor.skip()?;
            } else if let Some(kind) = hides
                && let Some(empty) = self.empty(cursor.kind()?, key)
            {
                self.replace(data, cursor.skip()?, empty, Some(kind), out);
            } else if self.traces && (TRACES.contains(&key) || about.repeats(key)) {
                let empty: &[u8] = match cursor.kind()? {
                    Value::Array => b"[]",
                    Value::Object if about.repeats(key) => b"{}",
                    _ => b"null",
                };
                self.replace(data, cursor.skip()?, empty, None, out);
            } else if key == b"rawEvent" && (self.reasoning || self.tools) {
                // AG-UI: the event of the framework, which repeats a piece of the text. Pieces cannot be searched
                // one by one.
                self.replace(data, cursor.skip()?, b"null", None, out);
            } else if let Some(&name) = self.beside.iter().find(|name| **name == key)
                && !place.in_data
            {
                out.beside.push(Beside {
                    name,
                    range: cursor.clone().skip()?,
                    item: place.item,
                });
                let place = Place {
                    in_data: true,
                    ..place.of_member(&about, key)
                };
                self.value(data, cursor, key, place, out)?;
            } else if ARGUMENTS.contains(&key) && !self.looks_into(key, &about, place) {
                cursor.skip()?;
            } else {
                self.value(data, cursor, key, place.of_member(&about, key), out)?;
            }
        }
        Some(())
    }

    fn array(
        &self,
        data: &[u8],
        cursor: &mut Cursor<'_>,
        key: &[u8],
        place: Place,
        out: &mut Redacted,
    ) -> Option<()> {
        // The range of each element, and the kind of output if the element is removed.
        let mut elements: Vec<(Range<usize>, Option<Kind>)> = Vec::new();
        let mut edits = Vec::new();
        cursor.enter_array()?;
        while cursor.next_element()? {
            let range = cursor.clone().skip()?;
            let goes = self.goes(data, key, cursor)?;
            if goes.is_some() {
                cursor.skip()?;
            } else {
                let before = out.edits.len();
                self.value(data, cursor, key, place.below(false), out)?;
                edits.extend(out.edits.drain(before..));
            }
            elements.push((range, goes));
        }
        let last_kept = elements.iter().rposition(|(_, goes)| goes.is_none());
        for (at, (range, goes)) in elements.iter().enumerate() {
            let Some(kind) = goes else { continue };
            self.count(data, range.clone(), *kind, out);
            // The comma between the element and a neighbour that stays is removed, too.
            let cut = match (last_kept, elements.get(at + 1)) {
                (Some(last), Some((next, _))) if at < last => range.start..next.start,
                (Some(last), _) if at > 0 => {
                    let start = elements.get(last.max(at - 1)).map(|(before, _)| before.end);
                    start.unwrap_or(range.start)..range.end
                }
                (_, Some((next, _))) => range.start..next.start,
                _ => range.clone(),
            };
            edits.push((cut, Vec::new()));
        }
        edits.sort_by_key(|(range, _)| range.start);
        out.edits.extend(edits);
        Some(())
    }

    /// Reports whether an array element is removed as a whole, and as which kind of output.
    fn goes(&self, data: &[u8], key: &[u8], cursor: &mut Cursor<'_>) -> Option<Option<Kind>> {
        if cursor.kind()? != Value::Object {
            return Some(None);
        }
        let about = About::read(data, cursor.clone())?;
        Some(match key {
            b"parts" if self.tools && (about.calls || is_tool_part(about.kind)) => Some(Kind::Tool),
            b"output" if self.reasoning && about.kind == b"reasoning" => Some(Kind::Reasoning),
            b"output" if self.tools && is_tool_item(about.kind) => Some(Kind::Tool),
            b"aggregatedContent" if self.tools && is_tool_block(about.kind) => Some(Kind::Tool),
            b"content" if self.reasoning && THOUGHTS.contains(&about.kind) => Some(Kind::Reasoning),
            b"content"
                if self.tools
                    && (about.calls || is_tool_block(about.kind) || is_tool_part(about.kind)) =>
            {
                Some(Kind::Tool)
            }
            _ => None,
        })
    }

    /// Scans a text that is complete in this payload: an open hidden span ends with it.
    fn text(&self, data: &[u8], range: Range<usize>, out: &mut Redacted) {
        let (Some(marks), Some(text)) = (self.marks, data.get(range.clone())) else {
            return;
        };
        let is_skipped = (self.skip)
            .binary_search_by_key(&range.start, |skip| skip.start)
            .is_ok();
        if is_skipped || text.is_empty() {
            return;
        }
        let mut scanner = Scanner::new(marks);
        let mut visible = Visible::of(text);
        scanner.feed(marks, text, &mut visible);
        scanner.finish(&mut visible);
        if let Some(visible) = visible.changed() {
            for (total, hidden) in out.hidden.iter_mut().zip(scanner.hidden) {
                *total += hidden;
            }
            out.edits.push((range, visible));
        }
    }

    fn replace(
        &self,
        data: &[u8],
        range: Range<usize>,
        with: &[u8],
        kind: Option<Kind>,
        out: &mut Redacted,
    ) {
        if data.get(range.clone()) == Some(with) {
            return;
        }
        if let Some(kind) = kind {
            self.count(data, range.clone(), kind, out);
        }
        out.edits.push((range, with.to_vec()));
    }

    #[expect(clippy::unused_self, reason = "a method like its neighbours")]
    fn count(&self, data: &[u8], range: Range<usize>, kind: Kind, out: &mut Redacted) {
        let hidden = data.get(range).map_or(0, super::characters);
        if let Some(total) = out.hidden.get_mut(kind as usize) {
            *total += hidden;
        }
    }

    /// Reports whether a member that may hold arguments is searched nevertheless: in data of the application, and as
    /// the prompt of a model, whose earlier messages may hold thoughts.
    fn looks_into(&self, key: &[u8], about: &About<'_>, place: Place) -> bool {
        let is_prompt = place.has_prompt || (place.in_prompt && !about.is_call());
        self.all_texts || (key == b"input" && (self.tools || is_prompt))
    }

    /// Returns the empty value of the same JSON type; `None` for a value that hides nothing.
    const fn empty(&self, kind: Value, key: &[u8]) -> Option<&'static [u8]> {
        match kind {
            Value::Array => Some(b"[]"),
            Value::String => Some(b"\"\""),
            // Only a call or a result is emptied as an object. An object with the name of a reasoning field holds
            // settings, and stays, unless only the application knows what it holds.
            Value::Object if matches!(key, b"function_call") => Some(b"null"),
            Value::Object if self.all_texts || matches!(key, b"tool_output") => Some(b"{}"),
            Value::Null | Value::Object | Value::Scalar => None,
        }
    }
}
