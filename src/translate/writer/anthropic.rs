//! The events of Anthropic's Messages.
//!
//! Blocks follow each other without gaps in their numbers. Tools that the agent runs are left out: a client would run a
//! `tool_use` again. Clients read the input of a tool while it arrives, and raise an error if it cannot be the
//! beginning of an object.

use super::{Out, Writer, digits, or};
use crate::translate::action::{Action, Args, Call, Facts, Kind, OpenText, Pieces};
use crate::translate::arguments::{Arguments, object};
use crate::translate::few;
use crate::translate::part::{By, Reason};
use crate::translate::raw::escaped;

/// Writes events of Messages.
#[derive(Debug, Default)]
pub(in crate::translate) struct Anthropic {
    /// The number of the next block.
    next: u64,
    /// What the open block holds: the number of a text, or of a call.
    open: Option<Holds>,
    /// The arguments of the open call; `None` before the first one.
    arguments: Option<Box<Arguments>>,
    has_calls: bool,
    /// Calls that began while another one was open: their numbers, and their arguments once they are ready, as an
    /// object.
    pending: Vec<(u64, Option<Vec<u8>>)>,
    /// Pieces of text that came while a call was open.
    held: Vec<(OpenText, Vec<u8>)>,
    /// Calls of which nobody says who runs them, until they have a result: their numbers, and their arguments.
    kept: Vec<(u64, Vec<u8>)>,
}

/// The most bytes that are held, and kept.
const MAX_HELD_BYTES: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Text(u64),
    Call(u64),
}

impl Anthropic {
    fn close(&mut self, out: &mut Out<'_>) {
        if self.open.take().is_some() {
            let index = digits(self.next - 1);
            out.event(
                b"content_block_stop",
                &[b"{\"type\":\"content_block_stop\",\"index\":", &index, b"}"],
            );
        }
    }

    /// Opens a block for `holds`, unless it is open.
    fn enter(&mut self, holds: Holds, block: &[&[u8]], out: &mut Out<'_>) {
        if self.open == Some(holds) {
            return;
        }
        self.close(out);
        let index = digits(self.next);
        out.event(
            b"content_block_start",
            &[
                b"{\"type\":\"content_block_start\",\"index\":",
                &index,
                b",\"content_block\":",
                &block.concat(),
                b"}",
            ],
        );
        self.next += 1;
        self.open = Some(holds);
    }

    fn enter_call(&mut self, call: &Call, out: &mut Out<'_>) {
        let block: [&[u8]; 5] = [
            b"{\"type\":\"tool_use\",\"id\":\"",
            &call.id,
            b"\",\"name\":\"",
            or(&call.name, b"tool"),
            b"\",\"input\":{}}",
        ];
        self.enter(Holds::Call(call.number), &block, out);
        **self.arguments.get_or_insert_default() = Arguments::default();
    }

    /// Writes a piece of the arguments of the open call, as far as the client accepts it.
    fn piece(&mut self, text: &[u8], out: &mut Out<'_>) {
        let text = self.arguments.get_or_insert_default().piece(text);
        self.input(&text, out);
    }

    /// Writes what is missing at the end of the open call. Returns whether the client has got its arguments as they
    /// are.
    fn end_input(&self, args: Args<'_>, out: &mut Out<'_>) -> bool {
        let (text, is_same) = match &self.arguments {
            Some(arguments) => arguments.rest(args),
            None => Arguments::default().rest(args),
        };
        self.input(&text, out);
        is_same
    }

    fn input(&self, text: &[u8], out: &mut Out<'_>) {
        if !text.is_empty() {
            self.delta(
                b"{\"type\":\"input_json_delta\",\"partial_json\":\"",
                text,
                out,
            );
        }
    }

    fn text(&mut self, open: &OpenText, text: &[u8], out: &mut Out<'_>) {
        let (block, delta): (&[u8], &[u8]) = match open.kind {
            Kind::Answer => (
                b"{\"type\":\"text\",\"text\":\"\"}",
                b"{\"type\":\"text_delta\",\"text\":\"",
            ),
            Kind::Reasoning => (
                b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
                b"{\"type\":\"thinking_delta\",\"thinking\":\"",
            ),
        };
        self.enter(Holds::Text(open.number), &[block], out);
        self.delta(delta, text, out);
    }

    /// Closes the open call before its arguments are complete. What may still come of them is left out.
    fn cut_call(&mut self, facts: &Facts, out: &mut Out<'_>) {
        let is_open = |call: &&Call| self.open == Some(Holds::Call(call.number));
        if let Some(call) = facts.calls.iter().find(is_open) {
            self.end_input(Args::Cut(call.pieces()), out);
        }
        self.end_call(facts, out);
    }

    /// Closes the open call, and writes what had to wait for that.
    fn end_call(&mut self, facts: &Facts, out: &mut Out<'_>) {
        self.close(out);
        self.next_calls(facts, out);
        if self.open.is_none() {
            for (open, text) in std::mem::take(&mut self.held) {
                self.text(&open, &text, out);
            }
        }
    }

    /// Writes the calls that had to wait for their block: those that are ready, and the beginning of one that is not.
    fn next_calls(&mut self, facts: &Facts, out: &mut Out<'_>) {
        while self.open.is_none() && !self.pending.is_empty() {
            let (number, args) = self.pending.remove(0);
            let Some(call) = facts.calls.iter().find(|call| call.number == number) else {
                continue;
            };
            self.enter_call(call, out);
            match args {
                Some(args) => {
                    self.input(&escaped(&args), out);
                    self.close(out);
                }
                None => self.piece(call.pieces(), out),
            }
        }
    }

    fn delta(&self, start: &[u8], text: &[u8], out: &mut Out<'_>) {
        let index = digits(self.next.saturating_sub(1));
        out.event(
            b"content_block_delta",
            &[
                b"{\"type\":\"content_block_delta\",\"index\":",
                &index,
                b",\"delta\":",
                start,
                text,
                b"\"}}",
            ],
        );
    }
}

impl Writer for Anthropic {
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        match action {
            Action::Start => out.event(
                b"message_start",
                &[
                    b"{\"type\":\"message_start\",\"message\":{\"id\":\"msg_",
                    or(&facts.run, b"weir"),
                    b"\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"",
                    or(&facts.model, b"agent"),
                    b"\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\
                      \"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}",
                ],
            ),
            Action::NextStep | Action::TextStart(_) | Action::Finish(..) | Action::Stopped => {}
            Action::Message {
                duplicate: true, ..
            } => {}
            Action::TextDelta(open, text) => {
                if matches!(self.open, Some(Holds::Call(_))) {
                    let held: usize = self.held.iter().map(|(_, text)| text.len()).sum();
                    if held + text.len() > MAX_HELD_BYTES {
                        while matches!(self.open, Some(Holds::Call(_))) {
                            self.cut_call(facts, out);
                        }
                        self.text(open, text, out);
                    } else {
                        self.held.push(((*open).clone(), text.to_vec()));
                    }
                } else {
                    self.text(open, text, out);
                }
            }
            Action::TextEnd(open) => {
                if self.open == Some(Holds::Text(open.number)) {
                    self.close(out);
                }
            }
            Action::ToolStart(call) if call.by == By::Client => {
                self.has_calls = true;
                if matches!(self.open, Some(Holds::Call(_))) {
                    self.pending.push((call.number, None));
                } else {
                    self.enter_call(call, out);
                }
            }
            Action::ToolArgs(call, text) if call.by == By::Client => {
                if self.open == Some(Holds::Call(call.number)) {
                    self.piece(text, out);
                }
            }
            Action::ToolReady { call, args, pieces } if call.by == By::Client => {
                if self.open == Some(Holds::Call(call.number)) {
                    let is_same = self.end_input(*args, out);
                    self.end_call(facts, out);
                    return is_same && *pieces != Pieces::Other;
                }
                let waits = (self.pending.iter_mut()).find(|(number, _)| *number == call.number);
                let Some((_, waiting)) = waits else {
                    // It was cut off.
                    return false;
                };
                let (object, is_same) = object(*args);
                *waiting = Some(object.into_owned());
                return is_same;
            }
            Action::ToolReady {
                call,
                args: Args::Json(value),
                ..
            } if call.by == By::Unsaid => {
                let kept: usize = self.kept.iter().map(|(_, args)| args.len()).sum();
                if kept + value.len() <= MAX_HELD_BYTES {
                    few::push(&mut self.kept, (call.number, value.to_vec()));
                }
                return false;
            }
            Action::ToolResult { call, .. } => {
                self.kept.retain(|(number, _)| *number != call.number);
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
            Action::End(Reason::Error) => out.event(
                b"error",
                &[b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"The agent has failed.\"}}"],
            ),
            Action::End(reason) => {
                self.cut_call(facts, out);
                self.close(out);
                for (number, args) in std::mem::take(&mut self.kept) {
                    if let Some(call) = facts.calls.iter().find(|call| call.number == number) {
                        self.has_calls = true;
                        self.enter_call(call, out);
                        let (object, _) = object(Args::Json(&args));
                        self.input(&escaped(&object), out);
                        self.close(out);
                    }
                }
                let reason: &[u8] = match reason {
                    // A call may be cut off: nobody should run it.
                    Reason::ContentFilter => b"refusal",
                    Reason::Length => b"max_tokens",
                    _ if self.has_calls => b"tool_use",
                    _ => b"end_turn",
                };
                let counts = facts.counts().unwrap_or_default();
                let [input, output] = [counts.input, counts.output].map(digits);
                out.event(
                    b"message_delta",
                    &[
                        b"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"",
                        reason,
                        b"\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":",
                        &input,
                        b",\"output_tokens\":",
                        &output,
                        b"}}",
                    ],
                );
                out.event(b"message_stop", &[b"{\"type\":\"message_stop\"}"]);
            }
            Action::Error { code, message } => out.event(
                b"error",
                &[
                    b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"",
                    or(message, b"The agent has failed."),
                    if code.is_empty() { b"" } else { b" (" },
                    code,
                    if code.is_empty() { b"" } else { b")" },
                    b"\"}}",
                ],
            ),
        }
        true
    }
}
