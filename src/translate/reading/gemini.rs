//! Gemini `streamGenerateContent`.

use super::Reading;
use super::shared::{finish, remember, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{elements, id, is_true, member, members, number, string, word};
use crate::wire::Frame;

/// The state that is kept between chunks.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    started: bool,
    /// Whether the upstream sent an error.
    failed: bool,
    /// Why the first choice ended.
    reason: Option<Reason>,
    /// Whether the client is asked to run a tool.
    calls_client: bool,
    /// The number of calls that had no id.
    nameless: u64,
    /// The calls whose results may follow: name and id.
    calls: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Reading for Gemini {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        if event.class == Class::Heartbeat {
            return;
        }
        match &*frame.block {
            b"[" => return,
            b"]" => {
                if !self.failed {
                    finish(self.reason.unwrap_or(Reason::Stop), Scope::Run, parts);
                }
                return;
            }
            _ => {}
        }
        let data = frame.data();
        if let Some(error) = member(data, "error") {
            self.failed = true;
            let code = match word(error, &["status"]) {
                b"" => id(error, &["code"]),
                status => status,
            };
            return parts(Part::Error {
                code: code.into(),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
        }
        if event.class == Class::Opaque && member(data, "candidates").is_none() {
            return unknown(frame.name(), data, parts);
        }
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: word(data, &["responseId"]).into(),
                thread: b"".into(),
                model: word(data, &["modelVersion"]).into(),
            });
        }
        // The end of a candidate comes after its counts.
        let candidates = member(data, "candidates").map(elements).unwrap_or_default();
        for candidate in &candidates {
            self.candidate(candidate, parts);
        }
        let cached = number(data, &["usageMetadata", "cachedContentTokenCount"]);
        usage(event, cached, parts);
        for candidate in candidates {
            let told = word(candidate, &["finishReason"]);
            if !told.is_empty() {
                self.end(told, parts);
            }
        }
        if !word(data, &["promptFeedback", "blockReason"]).is_empty() {
            self.end(b"SAFETY", parts);
        }
    }
}

impl Gemini {
    /// Reads what a candidate says.
    fn candidate(&mut self, candidate: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let index = number(candidate, &["index"]).unwrap_or_default();
        // Several candidates are several texts.
        let msg = if index == 0 {
            Vec::new()
        } else {
            format!("choice-{index}").into_bytes()
        };
        let content = member(candidate, "content").unwrap_or_default();
        for part in member(content, "parts").map(elements).unwrap_or_default() {
            self.part(&msg, part, parts);
        }
        for name in [
            "citationMetadata",
            "groundingMetadata",
            "urlContextMetadata",
        ] {
            if let Some(more) = member(candidate, name).filter(|more| *more != b"{}") {
                unknown(name.as_bytes(), more, parts);
            }
        }
    }

    /// Reads a part of a candidate.
    fn part(&mut self, msg: &[u8], part: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let text = word(part, &["text"]);
        if !text.is_empty() {
            let (msg, text) = (msg.into(), text.into());
            parts(if is_true(part, &["thought"]) {
                Part::Reasoning { msg, text }
            } else {
                Part::Text { msg, text }
            });
        }
        for (name, value) in members(part) {
            match name {
                b"text" | b"thought" => {}
                b"functionCall" => {
                    let name = word(value, &["name"]);
                    if name.is_empty() {
                        // A piece of a call whose arguments are streamed.
                        unknown(b"functionCall", value, parts);
                        continue;
                    }
                    self.calls_client = true;
                    let args = member(value, "args").unwrap_or(b"{}");
                    self.call(msg, (name, value), args, By::Client, parts);
                }
                b"executableCode" => {
                    self.call(msg, (b"code_execution", value), value, By::Agent, parts);
                }
                b"toolCall" => {
                    let args = member(value, "args").unwrap_or(b"{}");
                    let name = word(value, &["toolType"]);
                    self.call(msg, (name, value), args, By::Agent, parts);
                }
                b"codeExecutionResult" => {
                    let ok = word(value, &["outcome"]) == b"OUTCOME_OK";
                    self.result(b"code_execution", value, (value, ok), parts);
                }
                b"functionResponse" => {
                    let response = member(value, "response").unwrap_or(value);
                    let ok = member(response, "error").is_none();
                    self.result(word(value, &["name"]), value, (response, ok), parts);
                }
                b"toolResponse" => {
                    let response = member(value, "response").unwrap_or(value);
                    self.result(word(value, &["toolType"]), value, (response, true), parts);
                }
                _ => unknown(name, value, parts),
            }
        }
    }

    /// Reads a call of the tool `name`, whose id may be in `value`.
    fn call(
        &mut self,
        msg: &[u8],
        (name, value): (&[u8], &[u8]),
        args: &[u8],
        by: By,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let id = match word(value, &["id"]) {
            b"" => {
                let number = self.nameless;
                self.nameless += 1;
                format!("call-{number}").into_bytes()
            }
            id => id.to_vec(),
        };
        parts(Part::ToolReady {
            msg: msg.into(),
            id: (&id).into(),
            name: name.into(),
            args: Some(args.into()),
            by,
        });
        remember(&mut self.calls, (name.to_vec(), id));
    }

    /// Reads the result of a call, which may have no id: then it is that of the first open call of
    /// the tool.
    fn result(
        &mut self,
        name: &[u8],
        value: &[u8],
        (content, ok): (&[u8], bool),
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let told = word(value, &["id"]);
        let is_it = |(of, id): &(Vec<u8>, Vec<u8>)| match told {
            b"" => of == name,
            told => id == told,
        };
        let at = self.calls.iter().position(is_it);
        let call = at.map(|at| self.calls.remove(at));
        let id = call.map_or_else(|| told.to_vec(), |(_, id)| id);
        parts(Part::ToolResult {
            id: id.into(),
            name: name.into(),
            ok,
            content: content.into(),
            partial: false,
        });
    }

    /// Reads the end of a candidate. The API says `STOP` even if it calls tools.
    fn end(&mut self, told: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let reason = match Reason::of(told) {
            Reason::Stop if self.calls_client => Reason::ToolCalls,
            reason => reason,
        };
        self.reason.get_or_insert(reason);
        finish(reason, Scope::Choice, parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str, framing: Framing) -> Vec<Part<'static>> {
        let mut reading = Gemini::default();
        let bytes = fixture("gemini", name);
        parts_of(&mut reading, Dialect::Gemini, framing, &bytes)
    }

    #[test]
    fn texts_are_pieces_of_candidates() {
        let parts = read("text.sse", Framing::Sse);
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\"\né😀!?."#);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Choice,
        };
        assert!(parts.contains(&end));
        assert_eq!(text_of(&read("reasoning.sse", Framing::Sse)), "Rainabc");
    }

    #[test]
    fn the_end_of_the_array_ends_the_run() {
        let parts = read("array_empty.json", Framing::JsonArray);
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts, [end]);
        let parts = read("array_error.json", Framing::JsonArray);
        assert_eq!(text_of(&parts), "Rain");
        assert!(matches!(parts.last(), Some(Part::Error { .. })));
    }

    #[test]
    fn calls_come_whole() {
        let parts = read("tools.sse", Framing::Sse);
        let call = |msg: &'static [u8], id: &'static [u8], args: &'static [u8]| Part::ToolReady {
            msg: msg.into(),
            id: id.into(),
            name: b"wx".into(),
            args: Some(args.into()),
            by: By::Client,
        };
        assert!(parts.contains(&call(b"", b"call-0", br#"{"c":1}"#)));
        assert!(parts.contains(&call(b"", b"call-2", b"{}")));
        assert!(parts.contains(&Part::ToolResult {
            id: b"call-1".into(),
            name: b"code_execution".into(),
            ok: true,
            content: br#"{"outcome":"OUTCOME_OK","output":"1"}"#.into(),
            partial: false,
        }));
        let end = Part::Finish {
            reason: Reason::ToolCalls,
            scope: Scope::Choice,
        };
        assert_eq!(parts.last(), Some(&end));
    }
}
