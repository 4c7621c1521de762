//! Vercel AI SDK UI message stream, version 1.

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{
    at, id, is_object, is_true, member, number, quoted, string, unescaped, word,
};
use crate::wire::{Frame, json};

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct VercelUi {
    /// The calls so far: id, and whether the client runs the tool.
    calls: Vec<(Vec<u8>, By)>,
    /// Whether the run is over, so that only `[DONE]` may follow.
    is_over: bool,
}

impl Reading for VercelUi {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if data.starts_with(b"[DONE]") {
            if !std::mem::replace(&mut self.is_over, true) {
                parts(finish(Reason::Stop));
            }
            return;
        }
        let kind = word(data, &["type"]);
        match kind {
            b"text-delta" => {
                let text = word(data, &["delta"]);
                if !text.is_empty() {
                    parts(Part::Text {
                        msg: word(data, &["id"]).into(),
                        text: text.into(),
                    });
                }
            }
            b"reasoning-delta" => {
                let text = word(data, &["delta"]);
                if !text.is_empty() {
                    parts(Part::Reasoning {
                        msg: word(data, &["id"]).into(),
                        text: text.into(),
                    });
                }
            }
            b"text-start" | b"reasoning-start" => {}
            b"text-end" | b"reasoning-end" => parts(Part::TextEnd),
            b"tool-input-delta" => {
                let text = word(data, &["inputTextDelta"]);
                if !text.is_empty() {
                    parts(Part::ToolArgs {
                        id: word(data, &["toolCallId"]).into(),
                        text: text.into(),
                    });
                }
            }
            kind if kind.starts_with(b"tool-") => self.tool(kind, data, parts),
            b"start" => {
                self.is_over = false;
                parts(Part::Start {
                    run: word(data, &["messageId"]).into(),
                    thread: b"".into(),
                    model: word(data, &["messageMetadata", "model"]).into(),
                });
                usage(data, event, parts);
            }
            b"start-step" => parts(Part::Status {
                name: b"step".into(),
                text: b"".into(),
                detail: b"".into(),
            }),
            b"finish-step" => parts(Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Step,
            }),
            b"message-metadata" => {
                if let Some(value) = member(data, "messageMetadata") {
                    parts(Part::State {
                        op: StateOp::Update,
                        value: [b"{\"metadata\":".as_slice(), value, b"}"].concat().into(),
                    });
                }
                usage(data, event, parts);
            }
            b"finish" => {
                usage(data, event, parts);
                let told = word(data, &["finishReason"]);
                self.is_over = true;
                parts(finish(if told.is_empty() {
                    Reason::Stop
                } else {
                    Reason::of(told)
                }));
            }
            b"abort" => {
                self.is_over = true;
                parts(finish(Reason::Cancelled));
            }
            b"error" => {
                self.is_over = true;
                parts(Part::Error {
                    code: b"".into(),
                    message: word(data, &["errorText"]).into(),
                });
            }
            kind if !json::is_whole(data) || kind.is_empty() => {}
            kind if kind.starts_with(b"data-") => custom(kind, data, parts),
            kind => parts(Part::Raw {
                name: kind.into(),
                data: data.into(),
            }),
        }
    }
}

const fn finish(reason: Reason) -> Part<'static> {
    Part::Finish {
        reason,
        scope: Scope::Run,
    }
}

/// Tells the token counts that a server may have put in the metadata of its message.
fn usage(data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
    let Some(usage) = event
        .usage
        .filter(|usage| usage.input.is_some() || usage.output.is_some())
    else {
        return;
    };
    let paths: [&[&str]; 6] = [
        &["messageMetadata", "totalUsage", "cachedInputTokens"],
        &["messageMetadata", "usage", "cachedInputTokens"],
        &[
            "messageMetadata",
            "totalUsage",
            "inputTokenDetails",
            "cacheReadTokens",
        ],
        &[
            "messageMetadata",
            "usage",
            "inputTokenDetails",
            "cacheReadTokens",
        ],
        &["messageMetadata", "totalUsage", "inputTokens", "cacheRead"],
        &["messageMetadata", "usage", "inputTokens", "cacheRead"],
    ];
    parts(Part::Usage {
        input: usage.input,
        output: usage.output,
        reasoning: usage.reasoning,
        cached: paths.into_iter().find_map(|path| number(data, path)),
        call: usage.call,
    });
}

/// Tells a part that the application has defined.
fn custom(kind: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let name = kind.strip_prefix(b"data-").unwrap_or(kind);
    let value = member(data, "data").unwrap_or(b"null");
    let text = string(value).unwrap_or_else(|| word(value, &["message"]));
    let detail = if is_object(value) { value } else { data };
    parts(Part::Status {
        name: name.into(),
        text: text.into(),
        detail: detail.into(),
    });
}

impl VercelUi {
    fn tool(&mut self, kind: &[u8], data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let call = word(data, &["toolCallId"]);
        let name = word(data, &["toolName"]);
        let result = |ok: bool, content: &[u8], parts: &mut dyn FnMut(Part<'_>)| {
            parts(Part::ToolResult {
                id: call.into(),
                name: name.into(),
                ok,
                content: content.into(),
                partial: is_true(data, &["preliminary"]),
            });
        };
        match kind {
            b"tool-input-start" => {
                let by = self.by(call, data);
                parts(Part::ToolStart {
                    msg: b"".into(),
                    id: call.into(),
                    name: name.into(),
                    by,
                });
            }
            b"tool-input-available" | b"tool-input-error" => {
                let by = self.by(call, data);
                let input = member(data, "input");
                // Arguments that are no JSON are a string.
                let text = input
                    .filter(|_| kind == b"tool-input-error")
                    .and_then(string);
                parts(Part::ToolReady {
                    msg: b"".into(),
                    id: call.into(),
                    name: name.into(),
                    args: match text {
                        Some(text) => Some(unescaped(text).into()),
                        None => input.map(Into::into),
                    },
                    by,
                });
                if kind == b"tool-input-error" {
                    let error = quoted(word(data, &["errorText"]));
                    result(false, &error, parts);
                }
            }
            b"tool-output-available" => {
                let output = member(data, "output").unwrap_or(b"null");
                result(true, output, parts);
            }
            b"tool-output-error" => result(false, &quoted(word(data, &["errorText"])), parts),
            b"tool-output-denied" => result(false, b"\"denied\"", parts),
            b"tool-approval-request" if json::is_whole(data) => {
                let told = id(data, &["approvalId"]);
                parts(Part::Interrupt {
                    id: if told.is_empty() { call } else { told }.into(),
                    reason: b"approval".into(),
                    payload: data.into(),
                });
            }
            kind if json::is_whole(data) => parts(Part::Raw {
                name: kind.into(),
                data: data.into(),
            }),
            _ => {}
        }
    }

    /// Returns who runs the tool of a call.
    fn by(&mut self, call: &[u8], data: &[u8]) -> By {
        let known = self.calls.iter().position(|(id, _)| id == call);
        let told = at(data, &["providerExecuted"]).is_some();
        // Servers do not mark the tools that they run themselves, only those of their provider.
        let by = if is_true(data, &["providerExecuted"]) {
            By::Agent
        } else {
            By::Unsaid
        };
        match known.and_then(|at| self.calls.get_mut(at)) {
            Some((_, known)) => {
                if told {
                    *known = by;
                }
                *known
            }
            None => {
                shared::remember(&mut self.calls, (call.to_vec(), by));
                by
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = VercelUi::default();
        let bytes = fixture("vercel_ui", name);
        parts_of(&mut reading, Dialect::VercelUi, Framing::Sse, &bytes)
    }

    #[test]
    fn the_deltas_are_the_text() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\""#);
        assert_eq!(parts.last(), Some(&finish(Reason::Stop)));
        assert!(parts.iter().any(|part| matches!(
            part,
            Part::Usage {
                input: Some(9),
                output: Some(4),
                ..
            }
        )));
    }

    #[test]
    fn an_abort_is_the_end() {
        let parts = read("reasoning.sse");
        assert_eq!(text_of(&parts), "Rain.");
        assert_eq!(parts.last(), Some(&finish(Reason::Cancelled)));
    }

    #[test]
    fn calls_have_results_and_may_need_an_approval() {
        let parts = read("tools.sse");
        assert!(parts.contains(&Part::ToolReady {
            msg: b"".into(),
            id: b"c1".into(),
            name: b"wx".into(),
            args: Some(br#"{"c":"Oslo"}"#.into()),
            by: By::Unsaid,
        }));
        let result = |ok, content: &'static [u8], id: &'static [u8], partial| Part::ToolResult {
            id: id.into(),
            name: b"".into(),
            ok,
            content: content.into(),
            partial,
        };
        assert!(parts.contains(&result(true, b"\"half\"", b"c1", true)));
        assert!(parts.contains(&result(true, b"\"4 C\"", b"c1", false)));
        assert!(parts.contains(&result(false, b"\"no clock\"", b"c2", false)));
        assert!(
            parts
                .iter()
                .any(|part| matches!(part, Part::Interrupt { id, .. } if **id == *b"a"))
        );
    }
}
