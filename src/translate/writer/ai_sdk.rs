//! The UI message stream of the Vercel AI SDK, as `useChat` of 5, 6 and 7 reads it.
//!
//! A delta after a `finish-step` raises in 5 and 6, and so does anything for an unknown part. `null` raises for any
//! member.

use super::{Out, Writer, digits, or};
use crate::translate::action::{Action, Args, Call, Facts, Kind, OpenText};
use crate::translate::ensemble::Voiced;
use crate::translate::part::{By, Reason, StateOp};

/// The end of an event of a call that is not the client's to run.
const PROVIDER_EXECUTED: &[u8] = b",\"providerExecuted\":true}";

/// Writes a UI message stream.
#[derive(Debug, Default)]
pub(in crate::translate) struct AiSdk {
    voice: Voiced,
}

impl AiSdk {
    /// Creates a writer. `voice` says whose words it writes, if there are several agents.
    pub(in crate::translate) const fn new(voice: Voiced) -> Self {
        Self { voice }
    }

    fn text(&self, open: &OpenText, what: [&[u8]; 2], rest: &[&[u8]], out: &mut Out<'_>) {
        let [answer, reasoning] = what;
        let kind = match open.kind {
            Kind::Answer => answer,
            Kind::Reasoning => reasoning,
        };
        let number = digits(open.number);
        let start: &[u8] = b"{\"type\":\"";
        let prefix = self.voice.prefix();
        match rest {
            [text] => out.data(&[
                start,
                kind,
                b"\",\"id\":\"",
                prefix,
                b"p",
                &number,
                b"\",\"delta\":\"",
                text,
                b"\"}",
            ]),
            _ => out.data(&[
                start,
                kind,
                b"\",\"id\":\"",
                prefix,
                b"p",
                &number,
                b"\"",
                if kind.ends_with(b"-start") {
                    self.voice.metadata()
                } else {
                    b""
                },
                b"}",
            ]),
        }
    }

    /// Writes the state of one of several agents, as a part that later ones replace. `rest` follows the state.
    fn state(name: &[u8], state: &[u8], rest: &[&[u8]], out: &mut Out<'_>) {
        let rest = rest.concat();
        out.data(&[
            b"{\"type\":\"data-weir-agent\",\"id\":\"",
            name,
            b"\",\"data\":{\"agent\":\"",
            name,
            b"\",\"state\":\"",
            state,
            b"\"",
            &rest,
            b"}}",
        ]);
    }

    /// Writes what happens to one of several agents as a whole. Returns false if it is something else. Steps are those
    /// of the message, which all agents write.
    fn of_agent(&self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        let Some(voice) = self.voice.agent() else {
            return false;
        };
        let name = voice.name();
        match action {
            Action::Start | Action::NextStep => {}
            Action::End(Reason::Cancelled) => Self::state(name, b"cancelled", &[], out),
            Action::End(reason) => {
                if facts.calls.iter().any(waits) {
                    voice.ensemble().note_wait();
                }
                let reason = reason.as_str().as_bytes();
                let rest: [&[u8]; 3] = [b",\"reason\":\"", reason, b"\""];
                Self::state(name, b"finished", &rest, out);
            }
            Action::Error { code, message } => {
                let code = or(code, b"upstream_error");
                let rest: [&[u8]; 5] =
                    [b",\"code\":\"", code, b"\",\"message\":\"", message, b"\""];
                Self::state(name, b"failed", &rest, out);
            }
            _ => return false,
        }
        true
    }

    fn by(call: &Call) -> &'static [u8] {
        match call.by {
            By::Agent => PROVIDER_EXECUTED,
            By::Client | By::Unsaid => b"}",
        }
    }
}

/// Reports whether the client must run a call.
fn waits(call: &Call) -> bool {
    call.by != By::Agent && !call.answered
}

/// Returns the word of the closed set that clients accept.
const fn reason_word(reason: Reason) -> &'static [u8] {
    match reason {
        Reason::ContentFilter => b"content-filter",
        Reason::Error => b"error",
        Reason::Length => b"length",
        Reason::Stop => b"stop",
        Reason::ToolCalls => b"tool-calls",
        Reason::Cancelled | Reason::Interrupt | Reason::Other => b"other",
    }
}

impl Writer for AiSdk {
    fn tells_stop(&self) -> bool {
        true
    }

    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        if let Action::TextDelta(open, text) = action {
            self.text(open, [b"text-delta", b"reasoning-delta"], &[text], out);
            return true;
        }
        if self.of_agent(facts, action, out) {
            return true;
        }
        let (metadata, named) = (self.voice.metadata(), self.voice.named());
        match action {
            Action::Start => {
                let id = or(&facts.first_msg, or(&facts.run, b"m1"));
                out.data(&[b"{\"type\":\"start\",\"messageId\":\"", id, b"\"}"]);
                out.data(&[b"{\"type\":\"start-step\"}"]);
                let agents = (self.voice.run()).map_or(&[][..], |voice| voice.ensemble().names());
                for name in agents {
                    Self::state(name, b"running", &[], out);
                }
            }
            Action::NextStep => {
                out.data(&[b"{\"type\":\"finish-step\"}"]);
                out.data(&[b"{\"type\":\"start-step\"}"]);
            }
            Action::TextStart(open) => {
                self.text(open, [b"text-start", b"reasoning-start"], &[], out);
            }
            Action::TextDelta(..) => {}
            Action::TextEnd(open) => self.text(open, [b"text-end", b"reasoning-end"], &[], out),
            Action::ToolStart(call) => out.data(&[
                b"{\"type\":\"tool-input-start\",\"toolCallId\":\"",
                &call.id,
                b"\",\"toolName\":\"",
                or(&call.name, b"tool"),
                b"\"",
                metadata,
                Self::by(call),
            ]),
            Action::ToolArgs(call, text) => out.data(&[
                b"{\"type\":\"tool-input-delta\",\"toolCallId\":\"",
                &call.id,
                b"\",\"inputTextDelta\":\"",
                text,
                b"\"}",
            ]),
            Action::ToolReady { call, args, .. } => {
                let (kind, value, end): (&[u8], Vec<u8>, &[u8]) = match args {
                    Args::Json(value) => (b"tool-input-available", value.to_vec(), b""),
                    Args::Broken(text) => (
                        b"tool-input-error",
                        [b"\"", *text, b"\""].concat(),
                        b",\"errorText\":\"The arguments are no JSON.\"",
                    ),
                    Args::Cut(text) => (
                        b"tool-input-error",
                        [b"\"", *text, b"\""].concat(),
                        b",\"errorText\":\"The call was cut off.\"",
                    ),
                };
                out.data(&[
                    b"{\"type\":\"",
                    kind,
                    b"\",\"toolCallId\":\"",
                    &call.id,
                    b"\",\"toolName\":\"",
                    or(&call.name, b"tool"),
                    b"\",\"input\":",
                    &value,
                    end,
                    metadata,
                    // Clients that go on by themselves once all of their calls have an answer would take the error for
                    // one, and ask all agents again.
                    if matches!(args, Args::Cut(_)) {
                        PROVIDER_EXECUTED
                    } else {
                        Self::by(call)
                    },
                ]);
            }
            Action::ToolResult {
                call,
                ok: true,
                content,
                partial,
            } => out.data(&[
                b"{\"type\":\"tool-output-available\",\"toolCallId\":\"",
                &call.id,
                b"\",\"output\":",
                content,
                if *partial {
                    b",\"preliminary\":true"
                } else {
                    b""
                },
                Self::by(call),
            ]),
            Action::ToolResult { call, content, .. } => out.data(&[
                b"{\"type\":\"tool-output-error\",\"toolCallId\":\"",
                &call.id,
                b"\",\"errorText\":\"",
                &super::text_of(content),
                b"\"",
                Self::by(call),
            ]),
            Action::Status { name, text, detail } => out.data(&[
                b"{\"type\":\"data-weir-status\",\"data\":{",
                named,
                b"\"name\":\"",
                name,
                b"\",\"text\":\"",
                text,
                super::to_detail(detail),
                detail,
                b"},\"transient\":true}",
            ]),
            Action::Step {
                kind,
                name,
                ends,
                detail,
            } => out.data(&[
                b"{\"type\":\"data-weir-status\",\"data\":{",
                named,
                b"\"name\":\"",
                kind,
                b"\",\"text\":\"",
                name,
                if *ends {
                    b"\",\"phase\":\"end\""
                } else {
                    b"\""
                },
                if detail.is_empty() {
                    b""
                } else {
                    b",\"detail\":"
                },
                detail,
                b"},\"transient\":true}",
            ]),
            Action::State(op, value) => out.data(&[
                b"{\"type\":\"data-weir-state\",\"data\":{",
                named,
                b"\"op\":\"",
                match op {
                    StateOp::Snapshot => b"snapshot",
                    StateOp::Patch => b"patch",
                    StateOp::Update => b"update",
                },
                b"\",\"value\":",
                value,
                b"},\"transient\":true}",
            ]),
            Action::Interrupt {
                id,
                reason,
                payload,
            } => out.data(&[
                b"{\"type\":\"data-weir-interrupt\",\"data\":{",
                named,
                b"\"id\":\"",
                id,
                b"\",\"reason\":\"",
                reason,
                b"\",\"payload\":",
                or(payload, b"{}"),
                b"}}",
            ]),
            Action::Message {
                duplicate: true, ..
            }
            | Action::Finish(..) => {}
            Action::Message { .. } => return false,
            Action::Raw { name, data } => out.data(&[
                b"{\"type\":\"data-weir-raw\",\"data\":{",
                named,
                b"\"name\":\"",
                name,
                b"\",\"data\":",
                or(data, b"{}"),
                b"},\"transient\":true}",
            ]),
            Action::End(reason) => {
                out.data(&[b"{\"type\":\"finish-step\"}"]);
                let agents_wait = (self.voice.run()).is_some_and(|voice| voice.ensemble().waits());
                let reason = match reason {
                    Reason::Stop | Reason::Other
                        if agents_wait || facts.calls.iter().any(waits) =>
                    {
                        Reason::ToolCalls
                    }
                    reason => *reason,
                };
                let mut usage = Vec::new();
                if let Some(counts) = facts.counts() {
                    let [input, output, total] = [
                        counts.input,
                        counts.output,
                        counts.input.saturating_add(counts.output),
                    ]
                    .map(digits);
                    let reasoning = counts.reasoning.map(digits);
                    let cached = counts.cached.map(digits);
                    usage = [
                        b",\"messageMetadata\":{\"usage\":{\"inputTokens\":".as_slice(),
                        &input,
                        b",\"outputTokens\":",
                        &output,
                        if reasoning.is_some() {
                            b",\"reasoningTokens\":"
                        } else {
                            b""
                        },
                        reasoning.as_deref().unwrap_or_default(),
                        if cached.is_some() {
                            b",\"cachedInputTokens\":"
                        } else {
                            b""
                        },
                        cached.as_deref().unwrap_or_default(),
                        b",\"totalTokens\":",
                        &total,
                        b"}}",
                    ]
                    .concat();
                }
                out.data(&[
                    b"{\"type\":\"finish\",\"finishReason\":\"",
                    reason_word(reason),
                    b"\"",
                    &usage,
                    b"}",
                ]);
                out.data(&[b"[DONE]"]);
            }
            Action::Stopped => {
                out.data(&[b"{\"type\":\"abort\",\"reason\":\"stopped\"}"]);
                out.data(&[b"[DONE]"]);
            }
            Action::Error { code, message } => {
                out.data(&[
                    b"{\"type\":\"error\",\"errorText\":\"",
                    or(message, b"The agent has failed."),
                    if code.is_empty() { b"" } else { b" (" },
                    code,
                    if code.is_empty() { b"" } else { b")" },
                    b"\"}",
                ]);
                out.data(&[b"[DONE]"]);
            }
        }
        true
    }
}
