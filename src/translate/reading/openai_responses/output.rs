//! What an item of a response says, as it begins and as it is complete. A text that came in pieces is not told again.

use super::OpenAiResponses;
use super::call::Tool;
use super::item::{Item, Lane, Progress};
use crate::translate::part::{By, Part};
use crate::translate::raw::{elements, member, string, word};
use crate::translate::reading::shared::unknown;

impl OpenAiResponses {
    /// Reads an item that begins.
    pub(super) fn added(
        &mut self,
        place: Option<u64>,
        item: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let id = word(item, &["id"]);
        let is_known = self.find(place, id).and_then(|at| self.items.get(at));
        if is_known.is_none_or(|known| known.id != id) {
            // Some servers give every item the same place.
            self.push(place, id);
        }
        let Some(tool) = Tool::of(item, self.runner()) else {
            return;
        };
        if (self.item(place, id)).is_some_and(|item| item.call.is_none()) {
            let call = self.begin(tool.id, tool.name, tool.input, tool.by, parts);
            if let Some(item) = self.item(place, id) {
                item.call = Some(call);
            }
        }
    }

    /// Reads an item that is complete.
    pub(super) fn done(
        &mut self,
        place: Option<u64>,
        item: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let kind = word(item, &["type"]);
        let id = word(item, &["id"]);
        match kind {
            b"message" => return self.message(place, item, parts),
            b"reasoning" => {
                for (lane, name) in [(Lane::Summary, "summary"), (Lane::Thought, "content")] {
                    self.contents(place, item, lane, name, parts);
                }
                return;
            }
            b"mcp_approval_request" => {
                return parts(Part::Interrupt {
                    id: id.into(),
                    reason: b"approval".into(),
                    payload: item.into(),
                });
            }
            b"mcp_list_tools" => {
                return parts(Part::Status {
                    name: b"tool".into(),
                    text: kind.into(),
                    detail: item.into(),
                });
            }
            _ if kind.ends_with(b"_call_output") => {
                return parts(Part::ToolResult {
                    id: word(item, &["call_id"]).into(),
                    name: b"".into(),
                    ok: word(item, &["status"]) != b"failed",
                    content: member(item, "output").unwrap_or(item).into(),
                    partial: false,
                });
            }
            _ => {}
        }
        let Some(tool) = Tool::of(item, self.runner()) else {
            return unknown(kind, item, parts);
        };
        if self.find_call(tool.id, place, id).is_none() {
            self.added(place, item, parts);
        }
        let at = self.find_call(tool.id, place, id);
        let known = at.and_then(|at| self.items.get_mut(at));
        let Some(call) = known.and_then(|item| item.call.as_mut()) else {
            return;
        };
        match kind {
            b"custom_tool_call" => call.ready(word(item, &["input"]), None, parts),
            b"code_interpreter_call" => call.ready(word(item, &["code"]), None, parts),
            b"function_call" | b"mcp_call" => {
                let args = member(item, "arguments");
                // Some servers send the value and not its text.
                let value = args.filter(|args| string(args).is_none());
                call.ready(word(item, &["arguments"]), value, parts);
            }
            b"file_search_call" => {
                let queries = member(item, "queries").unwrap_or(b"[]");
                let input = [&b"{\"queries\":"[..], queries, b"}"].concat();
                call.ready(b"", Some(&input), parts);
            }
            _ => {
                let input = member(item, "action").or_else(|| member(item, "operation"));
                call.ready(b"", Some(input.unwrap_or(b"{}")), parts);
            }
        }
        if tool.by == By::Agent && kind != b"function_call" && kind != b"custom_tool_call" {
            let failure = member(item, "error");
            let content = ["output", "outputs", "results", "result"]
                .iter()
                .find_map(|name| member(item, name));
            parts(Part::ToolResult {
                id: (&call.id).into(),
                name: tool.name.into(),
                ok: failure.is_none() && word(item, &["status"]) != b"failed",
                content: content.or(failure).unwrap_or(item).into(),
                partial: false,
            });
        }
    }

    /// Reads an item of a response that is over. Most were told before. `some_are_new`: it may be one of which nothing
    /// has come.
    pub(super) fn repeated(
        &mut self,
        place: u64,
        item: &[u8],
        some_are_new: bool,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let id = word(item, &["id"]);
        let has_id = |known: &&Item| known.response == self.responses && known.id == id;
        let named = (self.items.iter()).rfind(|known| !id.is_empty() && has_id(known));
        let at_place = || self.find(Some(place), id).and_then(|at| self.items.get(at));
        let (place, progress) = match named.or_else(at_place) {
            Some(known) => (known.place, known.progress()),
            None if some_are_new => (Some(place), Progress::Nothing),
            None => return,
        };
        match progress {
            Progress::Nothing => self.done(place, item, parts),
            Progress::Begun => self.rest(place, item, parts),
            Progress::Done => {}
        }
    }

    /// Reads what is missing of the texts of a message that came in pieces.
    fn rest(&mut self, place: Option<u64>, item: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let id = word(item, &["id"]);
        let contents = member(item, "content").map(elements).unwrap_or_default();
        for (number, content) in (0..).zip(contents) {
            let Some(known) = self.item(place, id) else {
                return;
            };
            if known.has_said(Lane::Answer, number) {
                let text = known.missing(Lane::Answer, number, word(content, &["text"]));
                self.say(place, id, (Lane::Answer, number), text, parts);
            }
        }
    }

    /// Reads a complete message.
    fn message(&mut self, place: Option<u64>, item: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let text = self.contents(place, item, Lane::Answer, "content", parts);
        if !text.is_empty() {
            let role: &[u8] = match word(item, &["role"]) {
                b"" => b"assistant",
                role => role,
            };
            parts(Part::Message {
                msg: word(item, &["id"]).into(),
                role: role.into(),
                text: text.into(),
                duplicate: true,
            });
        }
    }

    /// Reads the texts in the list `name` of a complete item. Returns all of them, joined.
    pub(super) fn contents(
        &mut self,
        place: Option<u64>,
        item: &[u8],
        lane: Lane,
        name: &str,
        parts: &mut dyn FnMut(Part<'_>),
    ) -> Vec<u8> {
        let id = word(item, &["id"]);
        let mut joined = Vec::new();
        let contents = member(item, name).map(elements).unwrap_or_default();
        for (number, content) in (0..).zip(contents) {
            let text = match word(content, &["text"]) {
                b"" => word(content, &["refusal"]),
                text => text,
            };
            joined.extend_from_slice(text);
            let item = self.item(place, id);
            let text = item.map_or(text, |item| item.missing(lane, number, text));
            self.say(place, id, (lane, number), text, parts);
        }
        joined
    }

    /// Passes on a text of an item.
    pub(super) fn say(
        &mut self,
        place: Option<u64>,
        id: &[u8],
        (lane, part): (Lane, u64),
        text: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        if text.is_empty() {
            return;
        }
        match lane {
            Lane::Answer => self.said = true,
            Lane::Summary | Lane::Thought => self.thought = true,
        }
        let at = match self.find(place, id) {
            Some(at) => at,
            None => self.push(place, id),
        };
        self.speaker = at;
        let Some(item) = self.items.get_mut(at) else {
            return;
        };
        let msg = item.say(lane, part, text).into();
        let text = text.into();
        parts(match lane {
            Lane::Answer => Part::Text { msg, text },
            Lane::Summary | Lane::Thought => Part::Reasoning { msg, text },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::read;
    use crate::translate::part::{Part, Reason, Scope};
    use crate::translate::reading::testing::text_of;

    #[test]
    fn a_text_comes_once() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\"\n"#);
        let is_copy = |part: &Part<'_>| {
            matches!(part, Part::Message { duplicate: true, text, .. }
                if &**text == br#"Rain in \"Oslo\"\n"#)
        };
        assert_eq!(parts.iter().filter(|part| is_copy(part)).count(), 1);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
    }
}
