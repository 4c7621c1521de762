//! What an item of the OpenAI Agents SDK adds to the events of the API, which the SDK wraps.

use super::OpenAiResponses;
use super::call::Tool;
use super::item::{Item, Lane};
use crate::translate::part::{By, Part};
use crate::translate::raw::{is_object, member, word};
use crate::translate::reading::shared::unknown;

impl OpenAiResponses {
    /// Reads an item of the Agents SDK. It repeats what the events of the API said before, if the
    /// server forwards them.
    pub(super) fn run_item(&mut self, data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let name = word(data, &["name"]);
        let item = member(data, "item").unwrap_or_default();
        let raw = member(item, "raw_item").unwrap_or_default();
        match name {
            b"message_output_created" if self.said || !is_object(raw) => {}
            b"message_output_created" => {
                if word(raw, &["id"]).is_empty() {
                    self.push(None, b"");
                }
                let text = self.contents(None, raw, Lane::Answer, "content", parts);
                // The next message comes as a whole, too.
                self.said &= text.is_empty();
            }
            b"reasoning_item_created" if self.thought || !is_object(raw) => {}
            b"reasoning_item_created" => {
                self.contents(None, raw, Lane::Summary, "summary", parts);
                self.thought = false;
            }
            b"tool_called" => {
                let told = Tool::of(raw, By::Agent)
                    .map(|tool| tool.id)
                    .unwrap_or_default();
                let is_told = |item: &Item| item.call.as_ref().is_some_and(|call| call.id == told);
                if !told.is_empty() && !self.items.iter().any(is_told) {
                    self.done(None, raw, parts);
                }
            }
            b"tool_output" => {
                let output = member(item, "output").or_else(|| member(raw, "output"));
                parts(Part::ToolResult {
                    id: word(raw, &["call_id"]).into(),
                    name: b"".into(),
                    ok: true,
                    content: output.unwrap_or(item).into(),
                    partial: false,
                });
            }
            b"handoff_occured" | b"handoff_occurred" | b"handoff_requested" => {
                parts(Part::Status {
                    name: b"handoff".into(),
                    text: word(item, &["target_agent", "name"]).into(),
                    detail: item.into(),
                });
            }
            b"mcp_approval_requested" => parts(Part::Interrupt {
                id: word(raw, &["id"]).into(),
                reason: b"approval".into(),
                payload: item.into(),
            }),
            _ => unknown(name, data, parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::read;
    use crate::translate::part::{Part, Reason, Scope};
    use crate::translate::reading::testing::text_of;

    #[test]
    fn a_response_of_the_agents_sdk_is_a_step() {
        let parts = read("agents_sdk.sse");
        assert_eq!(text_of(&parts), "Rain.");
        let is_step = |part: &&Part<'_>| {
            matches!(
                part,
                Part::Finish {
                    reason: Reason::Stop,
                    scope: Scope::Step
                }
            )
        };
        assert_eq!(parts.iter().filter(is_step).count(), 2);
    }
}
