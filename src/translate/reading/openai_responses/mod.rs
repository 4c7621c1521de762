//! OpenAI Responses, also as the OpenAI Agents SDK wraps its events: what is kept between events, and which of the two
//! an event is.
//!
//! | file | answers |
//! |---|---|
//! | `api` | what an event of the API says |
//! | `agents_sdk` | what an item of the Agents SDK adds to the events of the API |
//! | `output` | what an item of a response says, as it begins and as it is complete |
//! | `call` | which tool an item calls, and how far its input has come |
//! | `item` | which items are known, and which texts of them have come |

mod agents_sdk;
mod api;
mod call;
mod item;
mod output;

use item::Item;

use super::Reading;
use super::shared::finish;
use crate::event::{Class, Event};
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{member, word};
use crate::translate::skipped::Skipped;
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct OpenAiResponses {
    started: bool,
    /// The number of responses that began. Each counts its items from zero.
    responses: u64,
    /// Whether the events come from the Agents SDK: it runs the tools, and a response is one step.
    wrapped: bool,
    /// Whether any piece of an answer has come.
    said: bool,
    /// Whether any piece of reasoning has come.
    thought: bool,
    /// Whether the run is over.
    finished: bool,
    /// The last items, in the order in which they began.
    items: Vec<Item>,
    /// Where the item is whose text came last.
    speaker: usize,
    /// The number of calls that had no id.
    nameless: u64,
}

impl Reading for OpenAiResponses {
    /// The whole text follows the pieces.
    fn measures_skipped(&self) -> bool {
        true
    }

    fn skipped(&mut self, skipped: &Skipped) {
        if let Some(item) = self.items.get_mut(self.speaker) {
            item.go_on(skipped.length, skipped.last());
        }
    }

    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if event.class == Class::Heartbeat {
            return;
        }
        if data.starts_with(b"[DONE]") {
            if !std::mem::replace(&mut self.finished, true) {
                finish(Reason::Stop, Scope::Run, parts);
            }
            return;
        }
        match word(data, &["type"]) {
            b"agent_updated_stream_event" => {
                self.wrapped = true;
                parts(Part::Step {
                    kind: b"agent".into(),
                    name: word(data, &["new_agent", "name"]).into(),
                    ends: false,
                    detail: data.into(),
                });
            }
            b"raw_response_event" => {
                self.wrapped = true;
                let inner = member(data, "data").unwrap_or_default();
                self.event(inner, word(inner, &["type"]), event, parts);
            }
            b"run_item_stream_event" => {
                self.wrapped = true;
                self.run_item(data, parts);
            }
            b"" => self.event(data, frame.name(), event, parts),
            kind => self.event(data, kind, event, parts),
        }
    }
}

#[cfg(test)]
mod testing;
