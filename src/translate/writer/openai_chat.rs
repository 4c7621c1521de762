//! Chunks of OpenAI's chat completions.
//!
//! A client runs every tool call that it is sent. So a call that the agent runs itself is left out, unless the run ends
//! without its result: then nobody else will run it.
//!
//! Several agents write one text, one after the other, each under a heading with its name. Which agent a chunk is of is
//! also in its member `weir`, which clients ignore.

use super::lines::Lines;
use super::{Out, Writer, digits, or};
use crate::translate::action::{Action, Args, Call, Facts, Kind, OpenText, Pieces};
use crate::translate::ensemble::{Voice, Voiced};
use crate::translate::few;
use crate::translate::part::{By, Reason};
use crate::translate::turns::Turn;

/// Writes chunks.
#[derive(Debug)]
pub(in crate::translate) struct OpenAiChat {
    /// Unix time in seconds.
    created: u64,
    /// What each chunk begins with, up to its delta.
    prefix: Vec<u8>,
    /// The text that was written last, and whether any answer was.
    last: Option<u64>,
    /// The calls that were written: their ids, and their numbers in the stream.
    calls: Vec<(Vec<u8>, u64)>,
    /// The arguments of the calls that the agent runs, in case that it does not: their ids, and JSON.
    kept: Vec<(Vec<u8>, Vec<u8>)>,
    /// Tells what is going on by reasoning text; `None` if nobody is to be told.
    lines: Option<Lines>,
    voice: Voiced,
}

/// The most bytes of arguments that are kept.
const MAX_KEPT_BYTES: usize = 1024 * 1024;

impl OpenAiChat {
    /// Creates a writer for a stream that began at this Unix time in seconds. `tells`: statuses, and tools that the
    /// agent runs, become reasoning text. `voice` says whose words it writes, if there are several agents.
    pub(in crate::translate) fn new(created: u64, tells: bool, voice: Voiced) -> Self {
        Self {
            created,
            prefix: Vec::new(),
            last: None,
            calls: Vec::new(),
            kept: Vec::new(),
            lines: tells.then(Lines::new),
            voice,
        }
    }

    fn chunk(&self, delta: &[&[u8]], reason: &[u8], out: &mut Out<'_>) {
        let agent = self.voice.0.as_deref().map(Voice::name);
        self.chunk_of(agent, delta, reason, out);
    }

    /// Writes a chunk of the agent with this name; empty if it is of none.
    fn chunk_of(&self, agent: Option<&[u8]>, delta: &[&[u8]], reason: &[u8], out: &mut Out<'_>) {
        let mut parts: [&[u8]; 14] = [b""; 14];
        let start: [&[u8]; 2] = [&self.prefix, b",\"choices\":[{\"index\":0,\"delta\":{"];
        let name = agent.unwrap_or_default();
        let (opens, closes): (&[u8], &[u8]) = if name.is_empty() {
            (b"}]}", b"")
        } else {
            (b"}],\"weir\":{\"agent\":\"", b"\"}}")
        };
        let end: [&[u8]; 5] = [b"},\"finish_reason\":", reason, opens, name, closes];
        let all = start.iter().chain(delta).chain(&end);
        for (place, part) in parts.iter_mut().zip(all) {
            *place = part;
        }
        out.data(&parts);
    }

    /// Writes a piece of the text of one of several agents, if it is its turn. Returns false if it is the only agent.
    fn piece(&mut self, open: &OpenText, text: &[u8], out: &mut Out<'_>) -> bool {
        let Some(voice) = self.voice.agent() else {
            return false;
        };
        let Some(agent) = voice.agent() else {
            return false;
        };
        if open.kind == Kind::Reasoning {
            // Of those who have to wait, only the answer is kept.
            return !voice.ensemble().turns().speaks(agent);
        }
        let is_another = self.last != Some(open.number);
        let turn = voice.ensemble().turns().take(agent, text, is_another);
        match turn {
            Turn::GoesOn => return false,
            Turn::Waits => {}
            Turn::Begins { first } => {
                self.heading(voice.name(), first, out);
                self.chunk(&[b"\"content\":\"", text, b"\""], b"null", out);
            }
        }
        self.last = Some(open.number);
        true
    }

    /// Writes the heading of an agent.
    fn heading(&self, name: &[u8], first: bool, out: &mut Out<'_>) {
        let before: &[u8] = if first { b"" } else { b"\\n\\n" };
        let start = b"\"content\":\"".as_slice();
        let heading = [start, before, b"**", name, b"**\\n\\n\""].concat();
        // Without it, the text that follows would be another agent's.
        out.keep_next();
        self.chunk_of(Some(name), &[&heading], b"null", out);
    }

    /// Ends the turn of one of several agents, and writes what was held back of those whose turn it is now.
    fn end_turn(&self, voice: &Voice, out: &mut Out<'_>) {
        let ensemble = voice.ensemble();
        if let Some(agent) = voice.agent() {
            ensemble.turns().end(agent);
        }
        loop {
            let next = ensemble.turns().next();
            let Some((agent, text, turn)) = next else {
                return;
            };
            let name = ensemble.name(agent);
            let first = turn == Turn::Begins { first: true };
            self.heading(name, first, out);
            let content: [&[u8]; 3] = [b"\"content\":\"", &text, b"\""];
            self.chunk_of(Some(name), &content, b"null", out);
        }
    }

    /// Writes what happens to one of several agents as a whole. Returns false if it is something else.
    fn of_agent(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        if !matches!(
            action,
            Action::Start | Action::End(_) | Action::Error { .. }
        ) {
            return false;
        }
        let Some(voice) = self.voice.agent().cloned() else {
            return false;
        };
        if self.prefix.is_empty() {
            self.begin(voice.ensemble().run(), &facts.model);
        }
        match action {
            Action::Start => {}
            Action::Error { code, message } => {
                self.end_turn(&voice, out);
                out.data(&[
                    &self.prefix,
                    b",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}]",
                    b",\"weir\":{\"agent\":\"",
                    voice.name(),
                    b"\",\"state\":\"failed\",\"code\":\"",
                    or(code, b"upstream_error"),
                    b"\",\"message\":\"",
                    message,
                    b"\"}}",
                ]);
            }
            // Nobody should run its calls.
            Action::End(Reason::Cancelled) => self.end_turn(&voice, out),
            _ => {
                self.write_kept(facts, out);
                if !self.calls.is_empty() {
                    voice.ensemble().note_wait();
                }
                self.end_turn(&voice, out);
            }
        }
        true
    }

    /// Sets what each chunk begins with.
    fn begin(&mut self, run: &[u8], model: &[u8]) {
        self.prefix = [
            b"{\"id\":\"chatcmpl-".as_slice(),
            or(run, b"weir"),
            b"\",\"object\":\"chat.completion.chunk\",\"created\":",
            &digits(self.created),
            b",\"model\":\"",
            or(model, b"agent"),
            b"\"",
        ]
        .concat();
    }

    /// Writes the calls of the agent that it has not run.
    fn write_kept(&mut self, facts: &Facts, out: &mut Out<'_>) {
        for (id, args) in std::mem::take(&mut self.kept) {
            if let Some(call) = facts.calls.iter().find(|call| call.id == id) {
                self.start_call(call, out);
                self.arguments(&id, &crate::translate::raw::escaped(&args), out);
            }
        }
    }

    fn text(&mut self, open: &OpenText, text: &[u8], out: &mut Out<'_>) {
        if self.piece(open, text, out) {
            return;
        }
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
        let own = self.calls.len() as u64;
        let index = (self.voice.agent()).map_or(own, |voice| voice.ensemble().next_call());
        few::push(&mut self.calls, (call.id.clone(), index));
        let index = digits(index);
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
        let Some((_, index)) = self.calls.iter().find(|(call, _)| call == id) else {
            return;
        };
        let index = digits(*index);
        let start: [&[u8]; 3] = [
            b"\"tool_calls\":[{\"index\":",
            &index,
            b",\"function\":{\"arguments\":\"",
        ];
        self.chunk(&[&start.concat(), text, b"\"}}]"], b"null", out);
    }

    /// Writes what chunks have their own words for. Returns false if there are none.
    fn say(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        if self.of_agent(facts, action, out) {
            return true;
        }
        match action {
            Action::Start => {
                self.begin(&facts.run, &facts.model);
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
            Action::ToolReady { call, args, pieces } if call.by == By::Client => match pieces {
                Pieces::None => self.arguments(&call.id, &args.body(), out),
                Pieces::All => {}
                Pieces::Other => return false,
            },
            Action::ToolReady {
                call,
                args: Args::Json(value),
                ..
            } => {
                let kept: usize = self.kept.iter().map(|(_, args)| args.len()).sum();
                if kept + value.len() <= MAX_KEPT_BYTES {
                    few::push(&mut self.kept, (call.id.clone(), value.to_vec()));
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
                self.write_kept(facts, out);
                let agents_wait = (self.voice.run()).is_some_and(|voice| voice.ensemble().waits());
                let reason: &[u8] = match reason {
                    // A call may be cut off: nobody should run it.
                    Reason::ContentFilter => b"\"content_filter\"",
                    Reason::Length => b"\"length\"",
                    _ if agents_wait || !self.calls.is_empty() => b"\"tool_calls\"",
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
