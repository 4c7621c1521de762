//! Chunks of OpenAI's chat completions.
//!
//! A client runs every tool call that it is sent. So a call that the agent runs itself is left out, unless the run ends
//! without its result: then nobody else will run it.

use super::lines::Lines;
use super::{Out, Writer, digits, or};
use crate::translate::action::{Action, Args, Call, Facts, Kind, OpenText};
use crate::translate::part::{By, Reason};

/// Writes chunks.
#[derive(Debug)]
pub(in crate::translate) struct OpenAiChat {
    /// Unix time in seconds.
    created: u64,
    /// What each chunk begins with, up to its delta.
    prefix: Vec<u8>,
    /// The text that was written last, and whether any answer was.
    last: Option<u64>,
    /// The calls that were written: their ids.
    calls: Vec<Vec<u8>>,
    /// The arguments of the calls that the agent runs, in case that it does not: their ids, and JSON.
    kept: Vec<(Vec<u8>, Vec<u8>)>,
    /// Tells what is going on by reasoning text; `None` if nobody is to be told.
    lines: Option<Lines>,
}

/// The most bytes of arguments that are kept.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

impl OpenAiChat {
    /// Creates a writer for a stream that began at this Unix time in seconds. `tells`: statuses, and tools that the agent
    /// runs, become reasoning text.
    pub(in crate::translate) fn new(created: u64, tells: bool) -> Self {
        Self {
            created,
            prefix: Vec::new(),
            last: None,
            calls: Vec::new(),
            kept: Vec::new(),
            lines: tells.then(Lines::new),
        }
    }

    fn chunk(&self, delta: &[&[u8]], reason: &[u8], out: &mut Out<'_>) {
        let mut parts: [&[u8]; 12] = [b""; 12];
        let start: [&[u8]; 2] = [&self.prefix, b",\"choices\":[{\"index\":0,\"delta\":{"];
        let end: [&[u8]; 3] = [b"},\"finish_reason\":", reason, b"}]}"];
        let all = start.iter().chain(delta).chain(&end);
        for (place, part) in parts.iter_mut().zip(all) {
            *place = part;
        }
        out.data(&parts);
    }

    fn text(&mut self, open: &OpenText, text: &[u8], out: &mut Out<'_>) {
        let member: &[u8] = match open.kind {
            Kind::Answer => b"\"content\":\"",
            Kind::Reasoning => b"\"reasoning_content\":\"",
        };
        if open.kind == Kind::Answer && self.last != Some(open.number) {
            if self.last.is_some() {
                // Clients have one text, in which the texts of several messages follow each other.
                self.chunk(&[member, b"\\n\\n", b"\""], b"null", out);
            }
            self.last = Some(open.number);
        }
        self.chunk(&[member, text, b"\""], b"null", out);
    }

    fn start_call(&mut self, call: &Call, out: &mut Out<'_>) {
        let index = digits(self.calls.len() as u64);
        self.calls.push(call.id.clone());
        let call = [
            b"\"tool_calls\":[{\"index\":".as_slice(),
            &index,
            b",\"id\":\"",
            &call.id,
            b"\",\"type\":\"function\",\"function\":{\"name\":\"",
            or(&call.name, b"tool"),
            b"\",\"arguments\":\"\"}}]",
        ];
        self.chunk(&[&call.concat()], b"null", out);
    }

    fn arguments(&self, id: &[u8], text: &[u8], out: &mut Out<'_>) {
        let Some(index) = self.calls.iter().position(|call| call == id) else {
            return;
        };
        let index = digits(index as u64);
        let start: [&[u8]; 3] = [
            b"\"tool_calls\":[{\"index\":",
            &index,
            b",\"function\":{\"arguments\":\"",
        ];
        self.chunk(&[&start.concat(), text, b"\"}}]"], b"null", out);
    }

    /// Writes what chunks have their own words for. Returns false if there are none.
    fn say(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        match action {
            Action::Start => {
                self.prefix = [
                    b"{\"id\":\"chatcmpl-".as_slice(),
                    or(&facts.run, b"weir"),
                    b"\",\"object\":\"chat.completion.chunk\",\"created\":",
                    &digits(self.created),
                    b",\"model\":\"",
                    or(&facts.model, b"agent"),
                    b"\"",
                ]
                .concat();
                self.chunk(&[b"\"role\":\"assistant\",\"content\":\"\""], b"null", out);
            }
            Action::NextStep
            | Action::TextStart(_)
            | Action::TextEnd(_)
            | Action::Finish(..)
            | Action::Stopped => {}
            Action::Message {
                duplicate: true, ..
            } => {}
            Action::TextDelta(open, text) => self.text(open, text, out),
            Action::ToolStart(call) if call.by == By::Client => self.start_call(call, out),
            Action::ToolArgs(call, text) if call.by == By::Client => {
                self.arguments(&call.id, text, out);
            }
            Action::ToolReady { call, args, pieces } if call.by == By::Client => {
                if let Args::Json(value) = args
                    && !pieces
                {
                    let text = crate::translate::raw::escaped(value);
                    self.arguments(&call.id, &text, out);
                }
            }
            Action::ToolReady {
                call,
                args: Args::Json(value),
                ..
            } => {
                let kept: usize = self.kept.iter().map(|(_, args)| args.len()).sum();
                if kept + value.len() <= MAX_KEPT_BYTES {
                    self.kept.push((call.id.clone(), value.to_vec()));
                }
                return false;
            }
            Action::ToolResult { call, .. } => {
                self.kept.retain(|(id, _)| *id != call.id);
                return false;
            }
            Action::ToolStart(_)
            | Action::ToolArgs(..)
            | Action::ToolReady { .. }
            | Action::Status { .. }
            | Action::Step { .. }
            | Action::State(..)
            | Action::Interrupt { .. }
            | Action::Message { .. }
            | Action::Raw { .. } => return false,
            Action::End(Reason::Error) => {
                out.data(&[
                    b"{\"error\":{\"message\":\"The agent has failed.\",\"type\":\"upstream_error\",\
                      \"param\":null,\"code\":\"upstream_error\"}}",
                ]);
            }
            Action::End(reason) => {
                for (id, args) in std::mem::take(&mut self.kept) {
                    if let Some(call) = facts.calls.iter().find(|call| call.id == id) {
                        self.start_call(call, out);
                        self.arguments(&id, &crate::translate::raw::escaped(&args), out);
                    }
                }
                let reason: &[u8] = match reason {
                    // A call may be cut off: nobody should run it.
                    Reason::ContentFilter => b"\"content_filter\"",
                    Reason::Length => b"\"length\"",
                    _ if !self.calls.is_empty() => b"\"tool_calls\"",
                    _ => b"\"stop\"",
                };
                self.chunk(&[], reason, out);
                if let Some(counts) = facts.counts() {
                    let total = counts.input.saturating_add(counts.output);
                    let [input, output, total] = [counts.input, counts.output, total].map(digits);
                    let reasoning = counts.reasoning.map(digits);
                    let has_reasoning = reasoning.is_some();
                    out.data(&[
                        &self.prefix,
                        b",\"choices\":[],\"usage\":{\"prompt_tokens\":",
                        &input,
                        b",\"completion_tokens\":",
                        &output,
                        b",\"total_tokens\":",
                        &total,
                        if has_reasoning {
                            b",\"completion_tokens_details\":{\"reasoning_tokens\":"
                        } else {
                            b""
                        },
                        reasoning.as_deref().unwrap_or_default(),
                        if has_reasoning { b"}}}" } else { b"}}" },
                    ]);
                }
                out.data(&[b"[DONE]"]);
            }
            Action::Error { code, message } => {
                let code = or(code, b"upstream_error");
                out.data(&[
                    b"{\"error\":{\"message\":\"",
                    or(message, b"The agent has failed."),
                    b"\",\"type\":\"",
                    code,
                    b"\",\"param\":null,\"code\":\"",
                    code,
                    b"\"}}",
                ]);
            }
        }
        true
    }
}

impl Writer for OpenAiChat {
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        let line = (self.lines.as_mut()).and_then(|lines| lines.of(action));
        if let Some(line) = &line {
            self.chunk(&[b"\"reasoning_content\":\"", line, b"\""], b"null", out);
        }
        self.say(facts, action, out) || line.is_some()
    }
}
