//! Tells what is going on by lines of reasoning text, for targets that have no other words for it: statuses, and the
//! tools that the agent runs itself.
//!
//! A line is short, whatever the agent says: it is read in passing, and stays in the conversation of the client.

use crate::translate::action::{Action, Call, Kind};
use crate::translate::part::By;
use crate::translate::{cut, raw};

/// The most bytes of what the agent says in a line.
const MAX_BYTES: usize = 200;

/// Makes lines of the actions of one conversation.
#[derive(Debug)]
pub(super) struct Lines {
    /// The model has reasoned since the last line.
    follows_reasoning: bool,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self {
            follows_reasoning: false,
        }
    }

    /// Returns the line for an action: the raw body of a JSON string, with its line break. `None` if there is nothing
    /// to tell, or if the target has its own words for it. To be called for each action, in order.
    pub(super) fn of(&mut self, action: &Action<'_>) -> Option<Vec<u8>> {
        let line = match action {
            Action::TextDelta(open, _) => {
                self.follows_reasoning |= open.kind == Kind::Reasoning;
                return None;
            }
            Action::Status { text, .. } => said(text)?,
            Action::Step {
                name, ends: false, ..
            } => [&*said(name)?, b"..."].concat(),
            Action::ToolStart(call) if call.by != By::Client => {
                let name = said(&call.name);
                let name = name.as_deref().unwrap_or(b"a tool");
                [b"Using ", name, b"..."].concat()
            }
            Action::ToolResult {
                call,
                ok,
                content,
                partial: false,
            } if call.by != By::Client => result(call, *ok, content),
            _ => return None,
        };
        let follows_reasoning = std::mem::take(&mut self.follows_reasoning);
        let before: &[u8] = if follows_reasoning { b"\\n" } else { b"" };
        Some([before, &line, b"\\n"].concat())
    }
}

/// Returns what a tool has answered: the beginning of it.
fn result(call: &Call, ok: bool, content: &[u8]) -> Vec<u8> {
    let name = said(&call.name);
    let name = name.as_deref().unwrap_or(b"The tool");
    let content = match raw::string(content) {
        Some(body) => said(body),
        None if content.trim_ascii() == b"null" => None,
        None => said(content).map(|json| raw::escaped(&json).into_owned()),
    };
    match (content, ok) {
        (Some(content), true) => [name, b": ", &content].concat(),
        (Some(content), false) => [name, b" has failed: ", &content].concat(),
        (None, true) => [name, b" has answered."].concat(),
        (None, false) => [name, b" has failed."].concat(),
    }
}

/// Returns the beginning of the raw body of a JSON string; `None` if it is empty.
fn said(body: &[u8]) -> Option<Vec<u8>> {
    if body.trim_ascii().is_empty() {
        return None;
    }
    let kept = cut::length(body, MAX_BYTES);
    let mut said = body.get(..kept)?.to_vec();
    if kept < body.len() {
        cut::drop_half(&mut said);
        said.extend_from_slice(b"...");
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::action::OpenText;

    fn call(name: &str, by: By) -> Call {
        Call {
            id: b"c1".to_vec(),
            source: b"c1".to_vec(),
            name: name.as_bytes().to_vec(),
            msg: Vec::new(),
            by,
            number: 0,
            args: Vec::new(),
            is_full: false,
            ready: false,
            answered: false,
        }
    }

    fn line(lines: &mut Lines, action: &Action<'_>) -> String {
        let line = lines.of(action).unwrap_or_default();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn statuses_and_tools_of_the_agent_are_lines() {
        let (own, nameless) = (call("wx", By::Agent), call("", By::Unsaid));
        let client = call("wx", By::Client);
        let status = |text| Action::Status {
            name: b"progress",
            text,
            detail: b"",
        };
        let step = |ends| Action::Step {
            kind: b"node",
            name: b"planner",
            ends,
            detail: b"",
        };
        let result = |call, ok, content, partial| Action::ToolResult {
            call,
            ok,
            content,
            partial,
        };
        for (action, expected) in [
            (status(b"Half way"), "Half way\\n"),
            (status(b" "), ""),
            (step(false), "planner...\\n"),
            (step(true), ""),
            (Action::ToolStart(&own), "Using wx...\\n"),
            (Action::ToolStart(&nameless), "Using a tool...\\n"),
            (Action::ToolStart(&client), ""),
            (result(&own, true, b"\"4 C\"", false), "wx: 4 C\\n"),
            (
                result(&own, true, b"{\"c\":4}", false),
                "wx: {\\\"c\\\":4}\\n",
            ),
            (result(&own, true, b"null", false), "wx has answered.\\n"),
            (result(&own, false, b"\"\"", false), "wx has failed.\\n"),
            (
                result(&nameless, false, b"\"no\"", false),
                "The tool has failed: no\\n",
            ),
            (result(&own, true, b"\"4\"", true), ""),
            (result(&client, true, b"\"4 C\"", false), ""),
            (Action::NextStep, ""),
        ] {
            assert_eq!(line(&mut Lines::new(), &action), expected, "{action:?}");
        }
    }

    #[test]
    fn lines_are_short() {
        let own = call("wx", By::Agent);
        let long = "\u{1f600}".repeat(100);
        let quoted = format!("\"{long}\"");
        let result = |content| Action::ToolResult {
            call: &own,
            ok: true,
            content,
            partial: false,
        };
        let found = line(&mut Lines::new(), &result(quoted.as_bytes()));
        assert_eq!(found, format!("wx: {}...\\n", "\u{1f600}".repeat(50)));
        // The text of another value is cut before it is escaped, and stays the body of a string.
        let list = format!("[{quoted}]");
        let found = line(&mut Lines::new(), &result(list.as_bytes()));
        let json = format!("\"{found}\"");
        let text: String = serde_json::from_str(&json).unwrap();
        assert_eq!(text, format!("wx: [\"{}...\n", "\u{1f600}".repeat(49)));
    }

    #[test]
    fn a_line_begins_after_the_reasoning_before_it() {
        let open = |kind| OpenText {
            kind,
            msg: Vec::new(),
            number: 1,
        };
        let (reasoning, answer) = (open(Kind::Reasoning), open(Kind::Answer));
        let status = Action::Status {
            name: b"",
            text: b"Half way",
            detail: b"",
        };
        let mut lines = Lines::new();
        assert_eq!(lines.of(&Action::TextDelta(&answer, b"Hi")), None);
        assert_eq!(line(&mut lines, &status), "Half way\\n");
        assert_eq!(lines.of(&Action::TextDelta(&reasoning, b"Hm")), None);
        assert_eq!(line(&mut lines, &status), "\\nHalf way\\n");
        assert_eq!(line(&mut lines, &status), "Half way\\n");
    }
}
