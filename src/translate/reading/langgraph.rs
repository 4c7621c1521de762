//! LangGraph Platform: the event name is a stream mode. A run may be streamed in several modes at once.

use super::langchain::{Answer, Message, Messages, hash, usage};
use super::langserve;
use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{Part, Reason, Scope, StateOp};
use crate::translate::raw::{at, elements, id, is_object, member, members, string, word};
use crate::wire::Frame;
use crate::wire::json::Cursor;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct LangGraph {
    messages: Messages,
    /// What the mode `events` holds.
    objects: langserve::LangServe,
    /// Hashes of the interrupts that were told.
    interrupts: Vec<u64>,
    /// Whether a snapshot of the state was seen.
    has_snapshot: bool,
    /// In the thread protocol: the message that each namespace writes.
    open: Vec<(Vec<u8>, Vec<u8>)>,
    /// In the thread protocol: hashes of the content blocks whose text comes in pieces.
    blocks: Vec<u64>,
}

impl Reading for LangGraph {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if data.starts_with(b"{")
            && word(data, &["type"]) == b"event"
            && let Some(method) = member(data, "method").and_then(string)
        {
            return self.protocol(method, data, event, parts);
        }
        let mut path = frame.name().split(|byte| *byte == b'|');
        match path.next().unwrap_or_default() {
            b"messages" | b"messages-tuple" => self.message(data, event, parts),
            b"messages/partial" => {
                let (message, _) = pair(data);
                let message = Message::read(message);
                self.messages.partial(message.id, &message, parts);
                usage(event, message.counts(), parts);
            }
            b"messages/complete" => {
                let (message, _) = pair(data);
                let message = Message::read(message);
                self.messages.whole(message.id, &message, parts);
            }
            b"metadata" => parts(Part::Start {
                run: word(data, &["run_id"]).into(),
                thread: word(data, &["thread_id"]).into(),
                model: b"".into(),
            }),
            b"updates" => self.updates(data, parts),
            b"values" => self.values(data, parts),
            b"custom" => custom(data, parts),
            b"tasks" => self.task(data, parts),
            b"tools" => self.tool(data, parts),
            b"events" => self.objects.read(frame, event, parts),
            b"error" => parts(error(data)),
            b"end" => self.end(Reason::Stop, parts),
            name if is_json(data) => parts(Part::Raw {
                name: name.into(),
                data: data.into(),
            }),
            _ => {}
        }
    }
}

/// Returns the first two elements of an array, empty where there is none.
fn pair(data: &[u8]) -> (&[u8], &[u8]) {
    let mut cursor = Cursor::new(data);
    let mut next = |is_first: bool| {
        if is_first {
            cursor.enter_array()?;
        }
        cursor
            .next_element()
            .filter(|more| *more)
            .and_then(|_| cursor.skip())
            .and_then(|range| data.get(range))
    };
    let first = next(true).unwrap_or_default();
    (first, next(false).unwrap_or_default())
}

fn is_json(data: &[u8]) -> bool {
    !data.is_empty() && crate::wire::json::is_whole(data)
}

fn error(data: &[u8]) -> Part<'_> {
    let message = word(data, &["message"]);
    let code = word(data, &["error"]);
    if message.is_empty() {
        // Older servers put all of it in one member.
        return Part::Error {
            code: b"".into(),
            message: code.into(),
        };
    }
    Part::Error {
        code: code.into(),
        message: message.into(),
    }
}

/// Tells the application's own data.
fn custom(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    if let Some(text) = string(data) {
        return parts(Part::Status {
            name: b"custom".into(),
            text: text.into(),
            detail: b"".into(),
        });
    }
    if is_object(data) && is_json(data) {
        let text = ["status", "message", "text", "content"]
            .into_iter()
            .map(|name| word(data, &[name]))
            .find(|text| !text.is_empty());
        return parts(Part::Status {
            name: b"custom".into(),
            text: text.unwrap_or_default().into(),
            detail: data.into(),
        });
    }
    if is_json(data) {
        parts(Part::Raw {
            name: b"custom".into(),
            data: data.into(),
        });
    }
}

impl LangGraph {
    /// Reads `[message, metadata]`.
    fn message(&mut self, data: &[u8], event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let (message, metadata) = pair(data);
        if message.is_empty() {
            return;
        }
        let message = Message::read(message);
        let msg = if message.id.is_empty() {
            word(metadata, &["langgraph_node"])
        } else {
            message.id
        };
        if message.is_tool() {
            self.messages.result(&message, parts);
        } else if message.is_chunk() || message.kind.is_empty() {
            self.messages.chunk(msg, &message, parts);
            usage(event, message.counts(), parts);
        } else if message.is_ai() {
            // A model that does not stream. Its counts are told with it.
            self.messages.whole(msg, &message, parts);
        } else if is_json(data) {
            parts(Part::Raw {
                name: b"messages".into(),
                data: data.into(),
            });
        }
    }

    /// Reads what the nodes have changed. Their messages may be the answer, if it was not streamed.
    fn updates(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let nodes = members(data);
        let mut has_nodes = false;
        for (node, change) in &nodes {
            if *node == b"__interrupt__" {
                self.interrupt(change, parts);
                continue;
            }
            has_nodes = true;
            let changes = elements(change);
            if changes.is_empty() {
                self.change(node, change, parts);
            }
            for change in changes {
                self.change(node, change, parts);
            }
        }
        if has_nodes && is_json(data) {
            parts(Part::State {
                op: StateOp::Update,
                value: data.into(),
            });
        }
    }

    /// Reads one change of a node.
    fn change(&mut self, node: &[u8], change: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let Some(messages) = member(change, "messages") else {
            return;
        };
        let list = if is_object(messages) {
            vec![messages]
        } else {
            elements(messages)
        };
        for message in list {
            let message = Message::read(message);
            let msg = if message.id.is_empty() {
                node
            } else {
                message.id
            };
            self.messages.whole(msg, &message, parts);
        }
    }

    /// Reads a snapshot of the state. The first one is usually the input, with the conversation so far.
    fn values(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if let Some(interrupts) = member(data, "__interrupt__") {
            self.interrupt(interrupts, parts);
        }
        let list = member(data, "messages").map(elements).unwrap_or_default();
        let messages: Vec<Message<'_>> = list.into_iter().map(Message::read).collect();
        let is_first = !std::mem::replace(&mut self.has_snapshot, true);
        let is_input = is_first
            && self.messages.is_empty()
            && !messages
                .last()
                .is_some_and(|last| last.is_ai() && !last.has_calls());
        let new = messages
            .iter()
            .rposition(Message::is_human)
            .map_or(0, |at| at + 1);
        for (at, message) in messages.iter().enumerate() {
            // Without an id, a message cannot be told from those in the other snapshots.
            if message.id.is_empty() && !(message.is_tool() || self.messages.is_empty()) {
                continue;
            }
            if is_input || at < new {
                self.messages.earlier(message.id, message);
            } else {
                self.messages.whole(message.id, message, parts);
            }
        }
        if is_json(data) {
            parts(Part::State {
                op: StateOp::Snapshot,
                value: data.into(),
            });
        }
    }

    /// Reads a list of interrupts. Several modes tell the same ones.
    fn interrupt(&mut self, interrupts: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        for interrupt in elements(interrupts) {
            let told = ["interrupt_id", "id"]
                .into_iter()
                .map(|name| id(interrupt, &[name]))
                .find(|id| !id.is_empty())
                .unwrap_or_default();
            let payload = member(interrupt, "value").unwrap_or(interrupt);
            let seal = if told.is_empty() {
                hash(payload)
            } else {
                hash(told)
            };
            if self.interrupts.contains(&seal) {
                continue;
            }
            shared::remember(&mut self.interrupts, seal);
            parts(Part::Interrupt {
                id: told.into(),
                reason: b"interrupt".into(),
                payload: payload.into(),
            });
        }
    }

    /// Reads the beginning or the end of a task, which runs one node.
    fn task(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !is_object(data) || !is_json(data) {
            return;
        }
        parts(Part::Status {
            name: b"task".into(),
            text: word(data, &["name"]).into(),
            detail: data.into(),
        });
        if let Some(interrupts) = member(data, "interrupts") {
            self.interrupt(interrupts, parts);
        }
    }

    /// Reads what a tool does.
    fn tool(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let name = ["tool_name", "name"]
            .into_iter()
            .map(|member| word(data, &[member]))
            .find(|name| !name.is_empty())
            .unwrap_or_default();
        let call = ["tool_call_id", "toolCallId"]
            .into_iter()
            .map(|member| word(data, &[member]))
            .find(|call| !call.is_empty())
            .unwrap_or_default();
        if call.is_empty() {
            // The messages have the call as well, with its id.
            if is_object(data) && is_json(data) {
                parts(Part::Status {
                    name: b"tool".into(),
                    text: name.into(),
                    detail: data.into(),
                });
            }
            return;
        }
        match word(data, &["event"]) {
            b"on_tool_start" | b"tool-started" => {
                let input = member(data, "input").filter(|input| is_object(input));
                self.messages.call(b"", call, name, input, parts);
            }
            b"on_tool_event" | b"tool-output-delta" => {
                let output = member(data, "data").or_else(|| member(data, "delta"));
                let output = output.unwrap_or(b"null");
                self.messages
                    .answer(call, name, Answer::Partial, output, parts);
            }
            b"on_tool_end" | b"tool-finished" => {
                let output = member(data, "output").unwrap_or(b"null");
                let message = Message::read(output);
                if message.is_tool() {
                    self.messages.result(&message, parts);
                } else {
                    self.messages
                        .answer(call, name, Answer::Succeeded, output, parts);
                }
            }
            b"on_tool_error" | b"tool-error" => {
                let error = member(data, "error").or_else(|| member(data, "message"));
                let error = error.unwrap_or(b"null");
                self.messages
                    .answer(call, name, Answer::Failed, error, parts);
            }
            event if is_json(data) => parts(Part::Raw {
                name: event.into(),
                data: data.into(),
            }),
            _ => {}
        }
    }

    fn end(&mut self, reason: Reason, parts: &mut dyn FnMut(Part<'_>)) {
        self.messages.close_all(parts);
        let reason = match reason {
            Reason::Stop if !self.interrupts.is_empty() => Reason::Interrupt,
            reason => reason,
        };
        parts(Part::Finish {
            reason,
            scope: Scope::Run,
        });
    }

    /// Reads an event of the thread protocol.
    fn protocol(
        &mut self,
        method: &[u8],
        event_data: &[u8],
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let params = member(event_data, "params").unwrap_or_default();
        let Some(data) = member(params, "data") else {
            return;
        };
        let namespace = member(params, "namespace").unwrap_or_default();
        match method {
            b"messages" => self.protocol_message(namespace, data, event, parts),
            b"tools" => self.tool(data, parts),
            b"values" => self.values(data, parts),
            b"updates" => self.updates(data, parts),
            b"custom" => custom(data, parts),
            b"tasks" => self.task(data, parts),
            b"input.requested" => {
                let told = ["interrupt_id", "id"]
                    .into_iter()
                    .map(|name| id(data, &[name]))
                    .find(|id| !id.is_empty())
                    .unwrap_or_default();
                let seal = if told.is_empty() {
                    hash(data)
                } else {
                    hash(told)
                };
                if !self.interrupts.contains(&seal) {
                    shared::remember(&mut self.interrupts, seal);
                    parts(Part::Interrupt {
                        id: told.into(),
                        reason: b"interrupt".into(),
                        payload: member(data, "payload").unwrap_or(data).into(),
                    });
                }
            }
            // Those of a subgraph are not those of the run.
            b"lifecycle" if elements(namespace).is_empty() => match word(data, &["event"]) {
                b"started" | b"running" => parts(Part::Start {
                    run: word(data, &["run_id"]).into(),
                    thread: word(data, &["thread_id"]).into(),
                    model: b"".into(),
                }),
                b"completed" => self.end(Reason::Stop, parts),
                b"interrupted" => self.end(Reason::Interrupt, parts),
                b"cancelled" | b"canceled" => self.end(Reason::Cancelled, parts),
                b"failed" => parts(Part::Error {
                    code: b"".into(),
                    message: word(data, &["error"]).into(),
                }),
                _ => parts(Part::Raw {
                    name: b"lifecycle".into(),
                    data: event_data.into(),
                }),
            },
            _ => parts(Part::Raw {
                name: method.into(),
                data: event_data.into(),
            }),
        }
    }

    fn protocol_message(
        &mut self,
        namespace: &[u8],
        data: &[u8],
        event: &Event,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let step = word(data, &["event"]);
        if step == b"message-start" {
            let told = word(data, &["id"]);
            let msg = if told.is_empty() {
                word(data, &["message_id"])
            } else {
                told
            };
            self.open.retain(|(open, _)| open != namespace);
            self.messages.note_pieces(msg);
            return shared::remember(&mut self.open, (namespace.to_vec(), msg.to_vec()));
        }
        let open = self.open.iter().find(|(open, _)| open == namespace);
        let msg = open.map(|(_, msg)| msg.clone()).unwrap_or_default();
        let index = id(data, &["index"]);
        let block = hash((namespace, &msg, index));
        match step {
            b"content-block-start" => {
                let content = member(data, "content").unwrap_or_default();
                self.piece(&msg, index, block, content, parts);
            }
            b"content-block-delta" => {
                let delta = member(data, "delta").unwrap_or_default();
                let delta = member(delta, "fields").unwrap_or(delta);
                self.piece(&msg, index, block, delta, parts);
            }
            b"content-block-finish" => {
                let content = member(data, "content").unwrap_or_default();
                self.messages.close_at(&msg, index, parts);
                let args = member(content, "args").filter(|args| is_object(args));
                let call = word(content, &["id"]);
                if args.is_some() && !call.is_empty() {
                    let name = word(content, &["name"]);
                    self.messages.call(&msg, call, name, args, parts);
                } else if args.is_none() && !self.blocks.contains(&block) {
                    self.piece(&msg, index, block, content, parts);
                }
                self.blocks.retain(|known| *known != block);
                parts(Part::TextEnd);
            }
            b"message-finish" => {
                self.messages.close(&msg, parts);
                let counts = member(data, "usage");
                usage(event, counts, parts);
                let word = [
                    &["reason"][..],
                    &["finish_reason"],
                    &["metadata", "finish_reason"],
                ]
                .into_iter()
                .find_map(|path| at(data, path).and_then(string));
                parts(Part::Finish {
                    reason: word.map_or(Reason::Stop, Reason::of),
                    scope: Scope::Choice,
                });
            }
            b"error" => parts(error(data)),
            step => parts(Part::Raw {
                name: step.into(),
                data: data.into(),
            }),
        }
    }

    /// Reads a content block, or a piece of one.
    fn piece(
        &mut self,
        msg: &[u8],
        index: &[u8],
        block: u64,
        piece: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let kind = word(piece, &["type"]);
        match kind {
            b"" => {}
            b"text" | b"text-delta" | b"reasoning" | b"reasoning-delta" => {
                let is_text = kind.starts_with(b"text");
                let text = word(piece, &[if is_text { "text" } else { "reasoning" }]);
                if text.is_empty() {
                    return;
                }
                if !self.blocks.contains(&block) {
                    shared::remember(&mut self.blocks, block);
                }
                parts(if is_text {
                    Part::Text {
                        msg: msg.into(),
                        text: text.into(),
                    }
                } else {
                    Part::Reasoning {
                        msg: msg.into(),
                        text: text.into(),
                    }
                });
            }
            b"tool_call" | b"tool_call_chunk" | b"tool-call-delta" => {
                let args = word(piece, &["args"]);
                self.messages.fragment(msg, index, piece, args, parts);
            }
            kind => parts(Part::Raw {
                name: kind.into(),
                data: piece.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::part::By;
    use crate::wire::Framing;

    fn read(bytes: &[u8]) -> Vec<Part<'static>> {
        let mut reading = LangGraph::default();
        parts_of(&mut reading, Dialect::LangGraph, Framing::Sse, bytes)
    }

    #[test]
    fn the_text_comes_in_pieces_and_its_copy_is_a_duplicate() {
        let parts = read(&fixture("langgraph", "text.sse"));
        assert_eq!(text_of(&parts), "Rain in Oslo!");
        assert!(parts.contains(&Part::Message {
            msg: b"a1".into(),
            role: b"assistant".into(),
            text: b"Rain in Oslo".into(),
            duplicate: true,
        }));
        assert!(
            parts.contains(&Part::Usage {
                input: Some(9),
                output: Some(4),
                reasoning: Some(2),
                cached: None,
                call: parts
                    .iter()
                    .find_map(|part| match part {
                        Part::Usage { call, .. } => Some(*call),
                        _ => None,
                    })
                    .unwrap(),
            })
        );
    }

    #[test]
    fn cumulative_messages_tell_what_they_add() {
        let parts = read(&fixture("langgraph", "partials.sse"));
        assert_eq!(text_of(&parts), "RainB");
        assert!(parts.contains(&Part::Interrupt {
            id: b"".into(),
            reason: b"interrupt".into(),
            payload: b"\"ok?\"".into(),
        }));
    }

    #[test]
    fn calls_are_told_piece_by_piece_with_their_results() {
        let parts = read(&fixture("langgraph", "tools.sse"));
        let calls: Vec<_> = parts
            .iter()
            .filter(|part| {
                matches!(
                    part,
                    Part::ToolStart { .. } | Part::ToolArgs { .. } | Part::ToolReady { .. }
                )
            })
            .cloned()
            .collect();
        let start = |id: &'static str, name: &'static str| Part::ToolStart {
            msg: b"a1".into(),
            id: id.as_bytes().into(),
            name: name.as_bytes().into(),
            by: By::Agent,
        };
        let ready = |id: &'static str| Part::ToolReady {
            msg: b"a1".into(),
            id: id.as_bytes().into(),
            name: b"".into(),
            args: None,
            by: By::Agent,
        };
        let args = |id: &'static str, text: &'static str| Part::ToolArgs {
            id: id.as_bytes().into(),
            text: text.as_bytes().into(),
        };
        let expected = [
            start("t1", "wx"),
            args("t1", r#"{\"c\":1}"#),
            start("t2", "clock"),
            args("t2", "{}"),
            ready("t1"),
            ready("t2"),
        ];
        assert_eq!(calls, expected);
        assert!(parts.contains(&Part::ToolResult {
            id: b"t1".into(),
            name: b"".into(),
            ok: true,
            content: b"\"7 C\"".into(),
            partial: false,
        }));
        assert_eq!(
            parts.last(),
            Some(&Part::Finish {
                reason: Reason::Stop,
                scope: Scope::Run,
            })
        );
    }

    #[test]
    fn the_thread_protocol_says_the_same() {
        let parts = read(&fixture("langgraph", "protocol.sse"));
        assert_eq!(text_of(&parts), "Rain in");
        assert!(parts.contains(&Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Choice,
        }));
    }

    #[test]
    fn an_answer_that_was_not_streamed_is_text() {
        let update = br#"{"agent":{"messages":[{"type":"ai","id":"a1","content":"Rain"}]}}"#;
        let stream = [b"event: updates\ndata: ".as_slice(), update, b"\n\n"].concat();
        assert_eq!(text_of(&read(&stream)), "Rain");
    }
}
