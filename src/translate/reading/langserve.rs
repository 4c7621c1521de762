//! LangServe, and the objects of `astream_events`.

use super::langchain::{Answer, Message, Messages, usage};
use super::{Reading, shared};
use crate::event::{Class, Event};
use crate::translate::part::{Part, Reason, Scope, StateOp};
use crate::translate::raw::{elements, id, is_object, member, members, string, word};
use crate::wire::{Frame, json};

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct LangServe {
    messages: Messages,
    /// The outermost run, once its start was seen.
    root: Option<Vec<u8>>,
    /// Whether the agent has written anything.
    has_text: bool,
    /// The runs of tools, and their calls.
    calls: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Reading for LangServe {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        match frame.name() {
            b"end" => self.finish(parts),
            b"error" => parts(Part::Error {
                code: id(data, &["status_code"]).into(),
                message: word(data, &["message"]).into(),
            }),
            b"metadata" => parts(Part::Start {
                run: word(data, &["run_id"]).into(),
                thread: b"".into(),
                model: b"".into(),
            }),
            _ if data.starts_with(b"[DONE]") => self.finish(parts),
            _ if data.starts_with(b"\"") && json::is_whole(data) => {
                if let Some(text) = string(data).filter(|text| !text.is_empty()) {
                    self.has_text = true;
                    parts(Part::Text {
                        msg: b"".into(),
                        text: text.into(),
                    });
                }
            }
            _ if !json::is_whole(data) => {}
            _ => match member(data, "event").and_then(string) {
                Some(kind) => self.object(kind, data, event, parts),
                None => self.chunk(frame.name(), data, event, parts),
            },
        }
    }
}

impl LangServe {
    fn finish(&mut self, parts: &mut dyn FnMut(Part<'_>)) {
        self.messages.close_all(parts);
        parts(Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        });
    }

    /// Reads a chunk of the output of a runnable, which may have any shape.
    fn chunk(&mut self, name: &[u8], data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        if let Some(ops) = member(data, "ops") {
            return self.ops(ops, parts);
        }
        let message = Message::read(data);
        if message.is_tool() {
            self.messages.result(&message, parts);
        } else if message.is_ai() && !message.is_chunk() {
            self.messages.whole(message.id, &message, parts);
        } else if message.is_message() && !message.is_human() {
            self.messages.chunk(message.id, &message, parts);
            usage(event, message.counts(), parts);
        } else if let Some((place, text)) = added(data, event) {
            parts(Part::Text {
                msg: place.into(),
                text: text.into(),
            });
        } else {
            parts(Part::Raw {
                name: name.into(),
                data: data.into(),
            });
        }
        self.has_text |= event.text.is_some();
    }

    /// Reads the operations of `/stream_log`. The text is in those that append to the output of the whole run.
    fn ops(&mut self, ops: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        for op in elements(ops) {
            if word(op, &["path"]) == b"/streamed_output_str/-" {
                let text = word(op, &["value"]);
                if !text.is_empty() {
                    self.has_text = true;
                    parts(Part::Text {
                        msg: b"".into(),
                        text: text.into(),
                    });
                }
            }
        }
        parts(Part::State {
            op: StateOp::Patch,
            value: ops.into(),
        });
    }

    /// Reads an object of `astream_events`.
    fn object(&mut self, kind: &[u8], data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let run = word(data, &["run_id"]);
        let inner = member(data, "data").unwrap_or_default();
        let name = word(data, &["name"]);
        // Older versions do not say which run is the outermost one.
        let parents = member(data, "parent_ids");
        let has_parents = parents.map(|parents| !elements(parents).is_empty());
        match kind {
            b"on_chat_model_stream" | b"on_llm_stream" => {
                let chunk = member(inner, "chunk").unwrap_or_default();
                self.has_text = true;
                // A model of completions streams strings.
                if let Some(text) = string(chunk).filter(|text| !text.is_empty()) {
                    parts(Part::Text {
                        msg: run.into(),
                        text: text.into(),
                    });
                }
                let chunk = Message::read(chunk);
                self.messages.chunk(run, &chunk, parts);
                usage(event, chunk.counts(), parts);
            }
            b"on_chat_model_end" | b"on_llm_end" => {
                let output = member(inner, "output").unwrap_or_default();
                let message = Message::read(output);
                if self.messages.has(run) || !message.is_message() {
                    self.messages.ended(run, &message, parts);
                    self.messages.close(run, parts);
                } else {
                    // The model did not stream.
                    self.has_text = true;
                    self.messages.chunk(run, &message, parts);
                    self.messages.close(run, parts);
                }
                usage(event, message.counts(), parts);
                parts(Part::TextEnd);
            }
            b"on_tool_start" => self.tool_start(run, name, inner, data, parts),
            b"on_tool_end" | b"on_tool_error" => self.tool_end(kind, run, name, inner, parts),
            // These repeat the model's text at each enclosing level.
            b"on_chain_stream" | b"on_parser_stream" => {}
            b"on_custom_event" => parts(Part::Status {
                name: b"custom".into(),
                text: name.into(),
                detail: Some(inner)
                    .filter(|inner| is_object(inner))
                    .unwrap_or_default()
                    .into(),
            }),
            b"on_chain_end" | b"on_chain_start" => {}
            kind if kind.starts_with(b"on_") && kind.ends_with(b"_start") => {
                let kind = kind.strip_suffix(b"_start").unwrap_or(kind);
                parts(Part::Status {
                    name: kind.strip_prefix(b"on_").unwrap_or(kind).into(),
                    text: name.into(),
                    detail: b"".into(),
                });
            }
            kind => parts(Part::Raw {
                name: kind.into(),
                data: data.into(),
            }),
        }
        if kind.ends_with(b"_start") {
            self.begin(kind, run, name, has_parents, parts);
        } else if kind.ends_with(b"_end") {
            let is_root = self.root.as_deref() == Some(run);
            if has_parents.map_or(is_root, |has| !has) {
                self.whole_output(member(inner, "output").unwrap_or_default(), parts);
                self.finish(parts);
            }
        }
    }

    /// Reads the start of a run.
    fn begin(
        &mut self,
        kind: &[u8],
        run: &[u8],
        name: &[u8],
        has_parents: Option<bool>,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let is_outermost = has_parents.map_or(kind == b"on_chain_start", |has| !has);
        if is_outermost && self.root.is_none() {
            self.root = Some(run.to_vec());
            parts(Part::Start {
                run: run.into(),
                thread: b"".into(),
                model: b"".into(),
            });
        } else if kind == b"on_chain_start" {
            parts(Part::Step {
                kind: b"node".into(),
                name: name.into(),
                ends: false,
                detail: b"".into(),
            });
        }
    }

    /// Reads the output of the outermost run, which repeats the text, unless nothing was streamed.
    fn whole_output(&mut self, output: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let Some(text) = string(output) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.has_text, true) {
            parts(Part::Message {
                msg: b"".into(),
                role: b"assistant".into(),
                text: text.into(),
                duplicate: true,
            });
        } else {
            parts(Part::Text {
                msg: b"".into(),
                text: text.into(),
            });
        }
    }

    /// Reads the start of a tool. If no model has called it, the run itself is the call.
    fn tool_start(
        &mut self,
        run: &[u8],
        name: &[u8],
        inner: &[u8],
        data: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let told = call_id(inner, data);
        let pending = if told.is_empty() {
            self.messages.run(name)
        } else {
            None
        };
        let is_pending = pending.is_some();
        let made = if told.is_empty() { run } else { told };
        let call = pending.unwrap_or_else(|| made.to_vec());
        let input = member(inner, "input").filter(|input| is_object(input));
        self.messages.call(b"", &call, name, input, parts);
        if !is_pending {
            self.messages.run(name);
        }
        shared::remember(&mut self.calls, (run.to_vec(), call));
    }

    fn tool_end(
        &mut self,
        kind: &[u8],
        run: &[u8],
        name: &[u8],
        inner: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let value = member(inner, "output").or_else(|| member(inner, "error"));
        let value = value.unwrap_or(b"null");
        let message = Message::read(value);
        let known = self.calls.iter().find(|(of, _)| of == run);
        let call = known.map_or(run, |(_, call)| call);
        let content = message.tool_content().unwrap_or(value);
        let ok = kind == b"on_tool_end" && !message.has_failed();
        let how = if ok {
            Answer::Succeeded
        } else {
            Answer::Failed
        };
        self.messages.answer(call, name, how, content, parts);
    }
}

/// Returns the id that a model gave a call, empty if nothing says so.
fn call_id<'a>(inner: &'a [u8], data: &'a [u8]) -> &'a [u8] {
    let paths: [(&[u8], &[&str]); 4] = [
        (inner, &["tool_call_id"]),
        (inner, &["input", "tool_call_id"]),
        (data, &["tool_call_id"]),
        (data, &["metadata", "tool_call_id"]),
    ];
    paths
        .into_iter()
        .map(|(value, path)| word(value, path))
        .find(|call| !call.is_empty())
        .unwrap_or_default()
}

/// Returns the member of an object that a chain puts out piece by piece, and what this piece adds to it: the client
/// adds up the strings of each member. `None` if the object holds more than that.
fn added<'a>(data: &'a [u8], event: &Event) -> Option<(&'a [u8], &'a [u8])> {
    if event.class != Class::Token {
        return None;
    }
    let mut strings = members(data)
        .into_iter()
        .filter_map(|(name, value)| Some((name, string(value)?)));
    let only = strings.next()?;
    strings.next().is_none().then_some(only)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::part::By;
    use crate::wire::Framing;

    const STOP: Part<'static> = Part::Finish {
        reason: Reason::Stop,
        scope: Scope::Run,
    };

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = LangServe::default();
        let bytes = fixture("langserve", name);
        parts_of(&mut reading, Dialect::LangServe, Framing::Sse, &bytes)
    }

    #[test]
    fn strings_and_messages_are_the_text() {
        let parts = read("text.sse");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\"Rainx"#);
        assert_eq!(parts.last(), Some(&STOP));
    }

    #[test]
    fn pieces_of_an_object_and_of_a_completion_are_text() {
        let parts = |body: &[&str]| {
            let bytes: String = body
                .iter()
                .map(|data| format!("event: data\ndata: {data}\n\n"))
                .collect();
            let mut reading = LangServe::default();
            parts_of(
                &mut reading,
                Dialect::LangServe,
                Framing::Sse,
                bytes.as_bytes(),
            )
        };
        let object = parts(&[
            r#"{"answer":"Ra"}"#,
            r#"{"answer":"in"}"#,
            r#"{"answer":""}"#,
        ]);
        assert_eq!(text_of(&object), "Rain");
        let chunk = |text: &str| {
            format!(r#"{{"event":"on_llm_stream","run_id":"r","data":{{"chunk":"{text}"}}}}"#)
        };
        assert_eq!(text_of(&parts(&[&chunk("Ra"), &chunk("in")])), "Rain");
    }

    #[test]
    fn only_the_models_events_are_the_text() {
        assert_eq!(text_of(&read("events.sse")), "Rain in OsloRaz");
        let parts = read("reasoning.sse");
        assert_eq!(text_of(&parts), "Rain");
        assert!(parts.contains(&STOP));
        assert_eq!(text_of(&read("log.sse")), "Rain");
    }

    #[test]
    fn a_tool_that_runs_is_a_call_with_a_result() {
        let parts = read("tools.sse");
        assert!(parts.contains(&Part::ToolReady {
            msg: b"".into(),
            id: b"r2".into(),
            name: b"llm".into(),
            args: Some(br#"{"c":1}"#.into()),
            by: By::Agent,
        }));
        assert!(parts.contains(&Part::ToolResult {
            id: b"r2".into(),
            name: b"llm".into(),
            ok: true,
            content: b"\"7 C\"".into(),
            partial: false,
        }));
    }
}
