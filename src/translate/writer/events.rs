//! The native events, as SSE or as NDJSON.

use super::{Digits, Out, Writer, digits};
use crate::translate::action::{Action, Args, Facts, Kind};
use crate::translate::part::{Scope, StateOp};

/// Writes native events.
#[derive(Debug)]
pub(in crate::translate) struct Events {
    /// The name of the source's dialect.
    dialect: &'static str,
    as_lines: bool,
    /// The number of the last event.
    seq: u64,
}

impl Events {
    /// Creates a writer for a source in this dialect.
    pub(in crate::translate) const fn new(dialect: &'static str, as_lines: bool) -> Self {
        Self {
            dialect,
            as_lines,
            seq: 0,
        }
    }

    fn event(&mut self, kind: &[u8], rest: &[&[u8]], out: &mut Out<'_>) {
        self.seq += 1;
        let seq = digits(self.seq);
        let head: [&[u8]; 4] = [b"{\"type\":\"", kind, b"\",\"seq\":", &seq];
        // The longest event has fewer parts.
        let mut parts: [&[u8]; 24] = [b""; 24];
        let end: [&[u8]; 1] = [b"}"];
        let all = head.iter().chain(rest).chain(&end);
        for (place, part) in parts.iter_mut().zip(all) {
            *place = part;
        }
        if self.as_lines {
            out.line(&parts);
        } else {
            out.event(kind, &parts);
        }
    }
}

/// Returns the opening of a string member, or of nothing if the string is empty.
const fn opens<'a>(member: &'a [u8], value: &[u8]) -> &'a [u8] {
    if value.is_empty() { b"" } else { member }
}

const fn closes(value: &[u8]) -> &'static [u8] {
    if value.is_empty() { b"" } else { b"\"" }
}

impl Writer for Events {
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        match action {
            Action::Start => self.event(
                b"start",
                &[
                    opens(b",\"run\":\"", &facts.run),
                    &facts.run,
                    closes(&facts.run),
                    opens(b",\"thread\":\"", &facts.thread),
                    &facts.thread,
                    closes(&facts.thread),
                    opens(b",\"model\":\"", &facts.model),
                    &facts.model,
                    closes(&facts.model),
                    b",\"dialect\":\"",
                    self.dialect.as_bytes(),
                    b"\"",
                ],
                out,
            ),
            // Their texts need no frame.
            Action::NextStep | Action::TextStart(_) | Action::TextEnd(_) | Action::Stopped => {}
            Action::TextDelta(open, text) => self.event(
                match open.kind {
                    Kind::Answer => b"token",
                    Kind::Reasoning => b"reasoning",
                },
                &[
                    opens(b",\"msg\":\"", &open.msg),
                    &open.msg,
                    closes(&open.msg),
                    b",\"text\":\"",
                    text,
                    b"\"",
                ],
                out,
            ),
            Action::ToolStart(call) => self.event(
                b"tool_call",
                &[
                    opens(b",\"msg\":\"", &call.msg),
                    &call.msg,
                    closes(&call.msg),
                    b",\"id\":\"",
                    &call.id,
                    b"\",\"name\":\"",
                    &call.name,
                    b"\",\"phase\":\"start\"",
                ],
                out,
            ),
            Action::ToolArgs(call, text) => self.event(
                b"tool_call",
                &[
                    b",\"id\":\"",
                    &call.id,
                    b"\",\"phase\":\"args\",\"text\":\"",
                    text,
                    b"\"",
                ],
                out,
            ),
            Action::ToolReady { call, args, .. } => {
                let (member, value, end): (&[u8], &[u8], &[u8]) = match args {
                    Args::Json(value) => (b",\"args\":", value, b""),
                    Args::Broken(text) => (b",\"args_text\":\"", text, b"\""),
                };
                self.event(
                    b"tool_call",
                    &[
                        b",\"id\":\"",
                        &call.id,
                        b"\",\"name\":\"",
                        &call.name,
                        b"\",\"phase\":\"ready\"",
                        member,
                        value,
                        end,
                    ],
                    out,
                );
            }
            Action::ToolResult {
                call,
                ok,
                content,
                partial,
            } => self.event(
                b"tool_result",
                &[
                    b",\"id\":\"",
                    &call.id,
                    b"\",\"name\":\"",
                    &call.name,
                    if *ok {
                        b"\",\"ok\":true"
                    } else {
                        b"\",\"ok\":false"
                    },
                    if *partial { b",\"partial\":true" } else { b"" },
                    b",\"content\":",
                    content,
                ],
                out,
            ),
            Action::Status { name, text, detail } => self.event(
                b"status",
                &[
                    b",\"name\":\"",
                    name,
                    b"\",\"text\":\"",
                    text,
                    if detail.is_empty() {
                        b"\""
                    } else {
                        b"\",\"detail\":"
                    },
                    detail,
                ],
                out,
            ),
            Action::Step {
                kind,
                name,
                ends,
                detail,
            } => self.event(
                b"status",
                &[
                    b",\"name\":\"",
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
                ],
                out,
            ),
            Action::State(op, value) => self.event(
                b"state",
                &[
                    match op {
                        StateOp::Snapshot => b",\"op\":\"snapshot\",\"value\":",
                        StateOp::Patch => b",\"op\":\"patch\",\"value\":",
                        StateOp::Update => b",\"op\":\"update\",\"value\":",
                    },
                    value,
                ],
                out,
            ),
            Action::Message {
                msg,
                role,
                text,
                duplicate,
            } => self.event(
                b"message",
                &[
                    opens(b",\"msg\":\"", msg),
                    msg,
                    closes(msg),
                    b",\"role\":\"",
                    role,
                    b"\",\"text\":\"",
                    text,
                    if *duplicate {
                        b"\",\"duplicate\":true"
                    } else {
                        b"\",\"duplicate\":false"
                    },
                ],
                out,
            ),
            Action::Interrupt {
                id,
                reason,
                payload,
            } => self.event(
                b"interrupt",
                &[
                    opens(b",\"id\":\"", id),
                    id,
                    closes(id),
                    b",\"reason\":\"",
                    reason,
                    if payload.is_empty() {
                        b"\""
                    } else {
                        b"\",\"payload\":"
                    },
                    payload,
                ],
                out,
            ),
            Action::Finish(reason, scope) => self.event(
                b"finish",
                &[
                    b",\"reason\":\"",
                    reason.as_str().as_bytes(),
                    match scope {
                        Scope::Choice => b"\",\"scope\":\"choice\"",
                        Scope::Step => b"\",\"scope\":\"step\"",
                        Scope::Run => b"\",\"scope\":\"run\"",
                    },
                ],
                out,
            ),
            Action::End(reason) => {
                if let Some(counts) = facts.counts() {
                    let [input, output] = [counts.input, counts.output].map(digits);
                    let [reasoning, cached] =
                        [counts.reasoning, counts.cached].map(|count| count.map(digits));
                    let member = |name, count: &Option<Digits>| -> &'static [u8] {
                        if count.is_some() { name } else { b"" }
                    };
                    self.event(
                        b"usage",
                        &[
                            b",\"input\":",
                            &input,
                            b",\"output\":",
                            &output,
                            member(b",\"reasoning\":", &reasoning),
                            reasoning.as_deref().unwrap_or_default(),
                            member(b",\"cached\":", &cached),
                            cached.as_deref().unwrap_or_default(),
                            b",\"cumulative\":false",
                        ],
                        out,
                    );
                }
                let reason = reason.as_str().as_bytes();
                self.event(
                    b"finish",
                    &[b",\"reason\":\"", reason, b"\",\"scope\":\"run\""],
                    out,
                );
            }
            Action::Error { code, message } => self.event(
                b"error",
                &[
                    b",\"code\":\"",
                    super::or(code, b"upstream_error"),
                    b"\",\"message\":\"",
                    message,
                    b"\",\"retryable\":false,\"source\":\"agent\",\"terminal\":true",
                ],
                out,
            ),
            Action::Raw { name, data } => self.event(
                b"raw",
                &[
                    b",\"dialect\":\"",
                    self.dialect.as_bytes(),
                    if name.is_empty() {
                        b"\",\"name\":null"
                    } else {
                        b"\",\"name\":\""
                    },
                    name,
                    closes(name),
                    b",\"data\":",
                    if data.is_empty() { b"null" } else { data },
                ],
                out,
            ),
        }
        true
    }
}
