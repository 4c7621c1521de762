//! The native events, as SSE or as NDJSON.

use std::sync::Arc;

use super::{Digits, Out, Writer, digits};
use crate::translate::action::{Action, Args, Counts, Facts, Kind};
use crate::translate::ensemble::{Ensemble, Voiced};
use crate::translate::part::{Scope, StateOp};

/// Writes native events.
#[derive(Debug)]
pub(in crate::translate) struct Events {
    /// The name of the source's dialect.
    dialect: &'static str,
    as_lines: bool,
    /// The number of the last event. Of several agents, their ensemble has it.
    seq: u64,
    voice: Voiced,
}

impl Events {
    /// Creates a writer for a source in this dialect.
    pub(in crate::translate) const fn new(
        dialect: &'static str,
        as_lines: bool,
        voice: Voiced,
    ) -> Self {
        Self {
            dialect,
            as_lines,
            seq: 0,
            voice,
        }
    }

    fn event(&mut self, kind: &[u8], rest: &[&[u8]], out: &mut Out<'_>) {
        self.seq = match &self.voice.0 {
            None => self.seq + 1,
            Some(voice) => voice.next_seq(),
        };
        let seq = digits(self.seq);
        let agent = self.voice.member();
        let head: [&[u8]; 5] = [b"{\"type\":\"", kind, b"\",\"seq\":", &seq, agent];
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

    /// Writes the start of one of several agents.
    fn start_agent(&mut self, facts: &Facts, out: &mut Out<'_>) {
        let [opens, model, closes] = member(b",\"model\":\"", &facts.model);
        let scope = b",\"scope\":\"agent\"";
        self.event(b"start", &[scope, opens, model, closes], out);
    }

    /// Writes the start of a run: of one agent, or of several.
    fn start_run(&mut self, facts: &Facts, out: &mut Out<'_>) {
        let agents = self.voice.run().map(|voice| voice.ensemble().list());
        let [third, fourth]: [[&[u8]; 3]; 2] = match &agents {
            Some(agents) => [[b",\"scope\":\"run\",\"agents\":", agents, b""], [b""; 3]],
            None => [
                member(b",\"model\":\"", &facts.model),
                [b",\"dialect\":\"", self.dialect.as_bytes(), b"\""],
            ],
        };
        let run = member(b",\"run\":\"", &facts.run);
        let thread = member(b",\"thread\":\"", &facts.thread);
        self.event(b"start", [run, thread, third, fourth].as_flattened(), out);
    }

    /// Writes that one of several agents has failed. The run goes on.
    fn fail_agent(&mut self, facts: &Facts, code: &[u8], message: &[u8], out: &mut Out<'_>) {
        let end = failure_end(facts.is_by_proxy(), code, true);
        self.event(
            b"error",
            &[
                b",\"code\":\"",
                super::or(code, b"upstream_error"),
                b"\",\"message\":\"",
                message,
                end,
            ],
            out,
        );
        let finish: &[&[u8]] = &[b",\"reason\":\"error\",\"scope\":\"agent\""];
        self.event(b"finish", finish, out);
    }

    /// Writes that a run of several agents has failed.
    fn fail_run(
        &mut self,
        (code, message): (&[u8], &[u8]),
        ensemble: &Ensemble,
        out: &mut Out<'_>,
    ) {
        let outcomes = ensemble.outcomes();
        self.event(
            b"error",
            &[
                b",\"code\":\"",
                code,
                b"\",\"message\":\"",
                message,
                failure_end(true, code, false),
                b",\"scope\":\"run\",\"agents\":",
                &outcomes,
            ],
            out,
        );
    }

    /// Writes token counts, if there are any. `rest` are further members.
    fn usage(&mut self, counts: Option<Counts>, rest: &[u8], out: &mut Out<'_>) {
        let Some(counts) = counts else { return };
        let [input, output] = [counts.input, counts.output].map(digits);
        let [reasoning, cached] = [counts.reasoning, counts.cached].map(|count| count.map(digits));
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
                rest,
            ],
            out,
        );
    }
}

/// Returns the members of an error that follow its message.
fn failure_end(by_proxy: bool, code: &[u8], goes_on: bool) -> &'static [u8] {
    // The same request would fail again, or was meant to end.
    let is_final = matches!(code, b"stopped" | b"too_large");
    match (by_proxy, goes_on) {
        (true, true) if is_final => {
            b"\",\"retryable\":false,\"source\":\"proxy\",\"terminal\":false,\"scope\":\"agent\""
        }
        (true, true) => {
            b"\",\"retryable\":true,\"source\":\"proxy\",\"terminal\":false,\"scope\":\"agent\""
        }
        (true, false) if is_final => {
            b"\",\"retryable\":false,\"source\":\"proxy\",\"terminal\":true"
        }
        (true, false) => b"\",\"retryable\":true,\"source\":\"proxy\",\"terminal\":true",
        (false, _) => {
            b"\",\"retryable\":false,\"source\":\"agent\",\"terminal\":false,\"scope\":\"agent\""
        }
    }
}

/// Returns a string member, or nothing if the string is empty.
const fn member<'a>(name: &'a [u8], value: &'a [u8]) -> [&'a [u8]; 3] {
    [member_start(name, value), value, member_end(value)]
}

/// Returns what stands before the value of a string member, or nothing if the string is empty.
const fn member_start<'a>(member: &'a [u8], value: &[u8]) -> &'a [u8] {
    if value.is_empty() { b"" } else { member }
}

const fn member_end(value: &[u8]) -> &'static [u8] {
    if value.is_empty() { b"" } else { b"\"" }
}

impl Writer for Events {
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        match action {
            Action::Start if self.voice.agent().is_some() => self.start_agent(facts, out),
            Action::Start => self.start_run(facts, out),
            // Their texts need no frame.
            Action::NextStep | Action::TextStart(_) | Action::TextEnd(_) | Action::Stopped => {}
            Action::TextDelta(open, text) => self.event(
                match open.kind {
                    Kind::Answer => b"token",
                    Kind::Reasoning => b"reasoning",
                },
                &[
                    member_start(b",\"msg\":\"", &open.msg),
                    &open.msg,
                    member_end(&open.msg),
                    b",\"text\":\"",
                    text,
                    b"\"",
                ],
                out,
            ),
            Action::ToolStart(call) => self.event(
                b"tool_call",
                &[
                    member_start(b",\"msg\":\"", &call.msg),
                    &call.msg,
                    member_end(&call.msg),
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
                    Args::Broken(text) | Args::Cut(text) => (b",\"args_text\":\"", text, b"\""),
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
                    super::to_detail(detail),
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
                    member_start(b",\"msg\":\"", msg),
                    msg,
                    member_end(msg),
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
                    member_start(b",\"id\":\"", id),
                    id,
                    member_end(id),
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
                let reason = reason.as_str().as_bytes();
                let (of_usage, scope, agents): (&[u8], &[u8], _) = match &self.voice.0 {
                    None => (b",\"cumulative\":false", b"\",\"scope\":\"run\"", None),
                    Some(voice) if voice.agent().is_some() => {
                        (b"", b"\",\"scope\":\"agent\"", None)
                    }
                    Some(voice) => (
                        b",\"scope\":\"run\"",
                        b"\",\"scope\":\"run\",\"agents\":",
                        Some(voice.ensemble().outcomes()),
                    ),
                };
                let agents = agents.unwrap_or_default();
                self.usage(facts.counts(), of_usage, out);
                let finish: [&[u8]; 4] = [b",\"reason\":\"", reason, scope, &agents];
                self.event(b"finish", &finish, out);
            }
            Action::Error { code, message } if self.voice.agent().is_some() => {
                self.fail_agent(facts, code, message, out);
            }
            Action::Error { code, message } if self.voice.run().is_some() => {
                let ensemble = self.voice.run().map(|voice| Arc::clone(voice.ensemble()));
                if let Some(ensemble) = ensemble {
                    self.fail_run((*code, *message), &ensemble, out);
                }
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
                    member_end(name),
                    b",\"data\":",
                    if data.is_empty() { b"null" } else { data },
                ],
                out,
            ),
        }
        true
    }
}
