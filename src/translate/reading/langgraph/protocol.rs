//! The thread protocol: events with a method and a namespace, and messages in content blocks.

use super::actions::custom;
use super::{LangGraph, error};
use crate::event::Event;
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{at, elements, id, is_object, member, string, word};
use crate::translate::reading::langchain::{hash, usage};
use crate::translate::reading::shared::remember;

impl LangGraph {
    /// Reads an event of the thread protocol.
    pub(super) fn protocol(
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
                    remember(&mut self.interrupts, seal);
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
            return remember(&mut self.open, (namespace.to_vec(), msg.to_vec()));
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
                let args = member(content, "args").filter(|args| is_object(args));
                let call = word(content, &["id"]);
                if args.is_some() && !call.is_empty() {
                    let name = word(content, &["name"]);
                    self.messages.whole_call(&msg, call, name, args, parts);
                }
                self.messages.close_at(&msg, index, args, parts);
                if args.is_none() && !self.blocks.contains(&block) {
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
                    remember(&mut self.blocks, block);
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
    use super::*;
    use crate::translate::reading::langgraph::tests::read;
    use crate::translate::reading::testing::{fixture, text_of};

    #[test]
    fn the_thread_protocol_says_the_same() {
        let parts = read(&fixture("langgraph", "protocol.sse"));
        assert_eq!(text_of(&parts), "Rain in");
        assert!(parts.contains(&Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Choice,
        }));
    }
}
