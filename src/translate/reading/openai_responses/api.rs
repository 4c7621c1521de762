//! What an event of the Responses API says.

use super::OpenAiResponses;
use super::item::{Item, Lane};
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{elements, id, member, number, string, word};
use crate::translate::reading::shared::{finish, unknown, usage};

impl OpenAiResponses {
    /// Reads an event of the API.
    pub(super) fn event(
        &mut self,
        data: &[u8],
        kind: &[u8],
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let Some(short) = kind.strip_prefix(b"response.") else {
            return if kind == b"error" {
                error(member(data, "error").unwrap_or(data), parts);
            } else {
                unknown(kind, data, parts);
            };
        };
        match short {
            b"output_text.delta" | b"refusal.delta" => {
                self.piece(data, Lane::Answer, word(data, &["delta"]), parts);
            }
            b"reasoning_text.delta" => {
                self.piece(data, Lane::Thought, word(data, &["delta"]), parts);
            }
            b"reasoning_summary_text.delta" => {
                self.piece(data, Lane::Summary, word(data, &["delta"]), parts);
            }
            b"code_interpreter_call_code.delta"
            | b"custom_tool_call_input.delta"
            | b"function_call_arguments.delta"
            | b"mcp_call_arguments.delta" => {
                self.argument(data, short, word(data, &["delta"]), parts);
            }
            b"output_text.done" => self.whole(data, Lane::Answer, word(data, &["text"]), parts),
            b"refusal.done" => self.whole(data, Lane::Answer, word(data, &["refusal"]), parts),
            b"reasoning_text.done" => {
                self.whole(data, Lane::Thought, word(data, &["text"]), parts);
            }
            b"reasoning_summary_text.done" => {
                self.whole(data, Lane::Summary, word(data, &["text"]), parts);
            }
            b"function_call_arguments.done" | b"mcp_call_arguments.done" => {
                self.arguments(data, short, word(data, &["arguments"]), parts);
            }
            b"custom_tool_call_input.done" => {
                self.arguments(data, short, word(data, &["input"]), parts);
            }
            b"code_interpreter_call_code.done" => {
                self.arguments(data, short, word(data, &["code"]), parts);
            }
            b"output_item.added" => {
                if let Some(item) = member(data, "item") {
                    self.added(number(data, &["output_index"]), item, parts);
                }
            }
            b"output_item.done" => {
                if let Some(item) = member(data, "item") {
                    let place = number(data, &["output_index"]);
                    self.done(place, item, parts);
                    if let Some(known) = self.item(place, word(item, &["id"])) {
                        known.is_done = true;
                    }
                    if matches!(word(item, &["type"]), b"message" | b"reasoning") {
                        parts(Part::TextEnd);
                    }
                }
            }
            b"content_part.done" | b"reasoning_part.done" | b"reasoning_summary_part.done" => {
                self.part(data, short, parts);
            }
            // What they contain comes in other events.
            b"content_part.added" | b"reasoning_part.added" | b"reasoning_summary_part.added" => {}
            b"created" => {
                self.responses += 1;
                self.finished = false;
                self.start(data, parts);
            }
            b"in_progress" => self.start(data, parts),
            b"queued" => {
                self.start(data, parts);
                parts(Part::Status {
                    name: b"response".into(),
                    text: short.into(),
                    detail: b"".into(),
                });
            }
            b"cancelled" | b"completed" | b"failed" | b"incomplete" => {
                self.end(data, short, event, parts);
            }
            _ if is_progress(short) => parts(Part::Status {
                name: b"tool".into(),
                text: short.into(),
                detail: data.into(),
            }),
            _ => unknown(kind, data, parts),
        }
    }

    /// Begins the run, if it has not begun yet.
    fn start(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: word(data, &["response", "id"]).into(),
                thread: word(data, &["response", "conversation", "id"]).into(),
                model: word(data, &["response", "model"]).into(),
            });
        }
    }

    /// Reads the end of a response.
    fn end(
        &mut self,
        data: &[u8],
        word_of_end: &[u8],
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        self.start(data, parts);
        let response = member(data, "response").unwrap_or_default();
        let number_of_response = self.responses;
        let is_new = |item: &Item| item.response == number_of_response;
        let known = self.items.iter().filter(|item| is_new(item)).count();
        let output = member(response, "output").map(elements).unwrap_or_default();
        // With as many items as there are, one that is not known is another name for one of them.
        let some_are_new = known < output.len();
        for (place, item) in (0..).zip(output) {
            self.repeated(place, item, some_are_new, parts);
        }
        let mut calls_client = false;
        for item in self.items.iter_mut().filter(|item| is_new(item)) {
            if let Some(call) = &mut item.call {
                calls_client |= call.by == By::Client;
                call.ready(b"", None, parts);
            }
        }
        let cached = number(
            response,
            &["usage", "input_tokens_details", "cached_tokens"],
        );
        usage(event, cached, parts);
        let reason = match word_of_end {
            b"failed" => {
                self.finished = true;
                return error(member(response, "error").unwrap_or_default(), parts);
            }
            b"cancelled" => Reason::Cancelled,
            b"incomplete" => Reason::of(word(response, &["incomplete_details", "reason"])),
            _ if calls_client => Reason::ToolCalls,
            _ => Reason::Stop,
        };
        if self.wrapped {
            finish(reason, Scope::Step, parts);
        } else {
            self.finished = true;
            finish(reason, Scope::Run, parts);
        }
    }

    /// Reads a piece of an answer or of reasoning.
    fn piece(&mut self, data: &[u8], lane: Lane, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if text.is_empty() {
            return;
        }
        let part = number(data, &[lane.index()]).unwrap_or_default();
        let place = number(data, &["output_index"]);
        self.say(place, word(data, &["item_id"]), (lane, part), text, parts);
    }

    /// Reads a whole text, of which all pieces have come before, or some, or none.
    fn whole(&mut self, data: &[u8], lane: Lane, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let part = number(data, &[lane.index()]).unwrap_or_default();
        let place = number(data, &["output_index"]);
        let id = word(data, &["item_id"]);
        let item = self.item(place, id);
        let text = item.map_or(text, |item| item.missing(lane, part, text));
        self.say(place, id, (lane, part), text, parts);
    }

    /// Reads a whole part of an item, of which the pieces have come before, or none has.
    fn part(&mut self, data: &[u8], kind: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let part = member(data, "part").unwrap_or_default();
        let is_thought = word(part, &["type"]) == b"reasoning_text";
        let lane = match kind {
            b"reasoning_summary_part.done" => Lane::Summary,
            b"content_part.done" if !is_thought => Lane::Answer,
            _ => Lane::Thought,
        };
        let text = match word(part, &["text"]) {
            b"" => word(part, &["refusal"]),
            text => text,
        };
        self.whole(data, lane, text, parts);
    }

    /// Reads a piece of the input of a call.
    fn argument(&mut self, data: &[u8], kind: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let place = number(data, &["output_index"]);
        if let Some(call) = self.call(place, word(data, &["item_id"]), kind, parts) {
            call.piece(text, parts);
        }
    }

    /// Reads the whole input of a call.
    fn arguments(
        &mut self,
        data: &[u8],
        kind: &[u8],
        text: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let place = number(data, &["output_index"]);
        if let Some(call) = self.call(place, word(data, &["item_id"]), kind, parts) {
            call.ready(text, None, parts);
        }
    }
}

/// Passes on an error.
fn error(error: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let code = match id(error, &["code"]) {
        b"" => id(error, &["type"]),
        code => code,
    };
    parts(Part::Error {
        code: code.into(),
        message: string(error)
            .unwrap_or_else(|| word(error, &["message"]))
            .into(),
    });
}

/// Reports whether an event tells how far a tool of the server is.
fn is_progress(kind: &[u8]) -> bool {
    let ends: [&[u8]; 6] = [
        b".completed",
        b".failed",
        b".generating",
        b".in_progress",
        b".interpreting",
        b".searching",
    ];
    let is_tool = kind.starts_with(b"mcp_") || kind.windows(6).any(|part| part == b"_call.");
    is_tool && ends.iter().any(|end| kind.ends_with(end))
}
