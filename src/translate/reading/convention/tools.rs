//! What tools are called with and what they return: which result is of which call, in events with and without ids.

use super::Convention;
use super::fields::{Fields, TEXTS};
use crate::translate::part::{By, Part};
use crate::translate::raw::{is_object, is_true, member, string, unescaped};
use crate::translate::reading::shared::{json, remember, unknown};
use crate::wire::json as wire_json;

const INPUTS: [&str; 9] = [
    "args",
    "arguments",
    "input",
    "tool_input",
    "toolInput",
    "parameters",
    "params",
    "action_input",
    "query",
];
const RESULTS: [&str; 10] = [
    "output",
    "result",
    "tool_output",
    "observation",
    "content",
    "response",
    "data",
    "text",
    "error",
    "message",
];

impl Convention {
    /// Reads an event about a tool.
    pub(super) fn tool(
        &mut self,
        kind: &[u8],
        fields: &Fields<'_>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let ends = || {
            let status = fields.word(&["status", "phase", "state"]);
            matches!(
                status,
                b"completed"
                    | b"complete"
                    | b"done"
                    | b"end"
                    | b"error"
                    | b"failed"
                    | b"finished"
                    | b"result"
                    | b"success"
            ) || fields.first(&["output", "result", "observation"]).is_some()
        };
        match kind {
            b"function_response" | b"function_result" | b"observation" | b"tool_call_result"
            | b"tool_output" | b"tool_response" | b"tool_result" | b"tool_results" => {
                self.result(fields, true, parts);
            }
            b"tool_error" => self.result(fields, false, parts),
            b"tool_args" => {
                let Some(value) = fields.first(&INPUTS).or_else(|| fields.first(&TEXTS)) else {
                    return unknown(kind, fields.data, parts);
                };
                let Some(text) = string(value) else {
                    let last = self.calls.last().map(|(_, id, _)| id.clone());
                    let is_of_last = fields.id().is_empty() && fields.name().is_empty();
                    return match last.filter(|_| is_of_last) {
                        Some(id) => parts(Part::ToolReady {
                            msg: b"".into(),
                            id: id.into(),
                            name: b"".into(),
                            args: Some(value.into()),
                            by: By::Agent,
                        }),
                        None => self.call(fields, parts),
                    };
                };
                let id = fields.id();
                let last = self.calls.last().map(|(_, id, _)| id.as_slice());
                parts(Part::ToolArgs {
                    id: if id.is_empty() {
                        last.unwrap_or_default()
                    } else {
                        id
                    }
                    .into(),
                    text: text.into(),
                });
            }
            b"tool_call_completed"
            | b"tool_call_end"
            | b"tool_complete"
            | b"tool_completed"
            | b"tool_done"
            | b"tool_end"
            | b"tool_finished" => {
                if fields.first(&RESULTS).is_some() {
                    self.result(fields, true, parts);
                } else {
                    self.ready(fields, parts);
                }
            }
            _ if ends() => self.result(fields, true, parts),
            _ => self.call(fields, parts),
        }
    }

    /// Reads the beginning of a call, with its arguments if they are there.
    pub(super) fn call(&mut self, fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        let name = fields.name();
        let told = fields.id();
        let known = self
            .calls
            .iter()
            .rposition(|(_, id, _)| !told.is_empty() && id == told);
        let id = if told.is_empty() {
            let number = self.nameless;
            self.nameless += 1;
            format!("call-{number}").into_bytes()
        } else {
            told.to_vec()
        };
        let args = input(fields);
        let is_ready = args.is_some();
        let (msg, by) = (b"".into(), By::Agent);
        parts(if is_ready {
            Part::ToolReady {
                msg,
                id: (&id).into(),
                name,
                args: args.map(Into::into),
                by,
            }
        } else {
            Part::ToolStart {
                msg,
                id: (&id).into(),
                name,
                by,
            }
        });
        match known.and_then(|at| self.calls.get_mut(at)) {
            Some((_, _, ready)) => *ready |= is_ready,
            None => {
                remember(&mut self.calls, (fields.name().into_owned(), id, is_ready));
            }
        }
    }

    /// Reads the end of the arguments of a call.
    fn ready(&mut self, fields: &Fields<'_>, parts: &mut dyn FnMut(Part<'_>)) {
        if let Some((_, id, ready)) = self.find(fields).and_then(|at| self.calls.get_mut(at))
            && !std::mem::replace(ready, true)
        {
            parts(Part::ToolReady {
                msg: b"".into(),
                id: (&*id).into(),
                name: b"".into(),
                args: input(fields).map(Into::into),
                by: By::Agent,
            });
        }
    }

    /// Reads the result of a call.
    pub(super) fn result(
        &mut self,
        fields: &Fields<'_>,
        ok: bool,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        self.in_pieces = false;
        let call = self.find(fields).map(|at| self.calls.remove(at));
        let (id, is_ready) = match call {
            Some((_, id, is_ready)) => (id, is_ready),
            None if fields.id().is_empty() => {
                let number = self.nameless;
                self.nameless += 1;
                (format!("call-{number}").into_bytes(), false)
            }
            None => (fields.id().to_vec(), false),
        };
        // Not those within the result, which may have anything.
        let args = INPUTS.iter().find_map(|name| member(fields.data, name));
        if let Some(args) = args.filter(|_| !is_ready) {
            parts(Part::ToolReady {
                msg: b"".into(),
                id: (&id).into(),
                name: fields.name(),
                args: Some(value_of(args).into()),
                by: By::Agent,
            });
        }
        let failed = is_true(fields.data, &["is_error"])
            || fields
                .first(&["error"])
                .is_some_and(|error| !matches!(error, b"false" | b"\"\""))
            || ["success", "ok"]
                .iter()
                .any(|name| member(fields.data, name).is_some_and(|ok| ok == b"false"))
            || matches!(fields.word(&["status"]), b"error" | b"failed");
        let content = fields.first(&RESULTS);
        parts(Part::ToolResult {
            id: id.into(),
            name: fields.name(),
            ok: ok && !failed,
            content: match content {
                Some(content) => content.into(),
                None if fields.is_object() || fields.data.is_empty() => b"null".into(),
                None => json(fields.data),
            },
            partial: false,
        });
    }

    /// Finds the call of an event: by its id, or by the name of the tool, or the last one if the
    /// event tells neither.
    fn find(&self, fields: &Fields<'_>) -> Option<usize> {
        let told = fields.id();
        if !told.is_empty() {
            return self.calls.iter().rposition(|(_, id, _)| id == told);
        }
        let name = fields.name();
        if !name.is_empty() && fields.is_object() {
            return self.calls.iter().position(|(of, _, _)| **of == *name);
        }
        self.calls.len().checked_sub(1)
    }
}

/// Returns the arguments in an event, if it has any.
fn input(fields: &Fields<'_>) -> Option<Vec<u8>> {
    let input = fields.first(&INPUTS);
    input.or_else(|| fields.input_of_function()).map(value_of)
}

/// Returns arguments as a value: many agents write an object as a string.
fn value_of(input: &[u8]) -> Vec<u8> {
    let text = string(input).map(unescaped);
    let text = text.filter(|text| is_object(text) && wire_json::is_whole(text));
    text.unwrap_or_else(|| input.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::reading::convention::tests::read;
    use crate::translate::reading::testing::text_of;
    use crate::wire::Framing;

    #[test]
    fn results_find_their_calls() {
        let parts = read("tools.sse", Framing::Sse);
        assert_eq!(text_of(&parts), "Let me look.Dry.");
        let result = |id: &'static [u8], content: &'static [u8]| Part::ToolResult {
            id: id.into(),
            name: b"wx".into(),
            ok: true,
            content: content.into(),
            partial: false,
        };
        assert!(parts.contains(&result(b"b", br#""wet""#)));
        assert!(parts.contains(&result(b"a", br#""dry""#)));
        assert!(parts.contains(&result(b"call-0", br#""dry""#)));
    }
}
