//! What the members of an object say about it: a thought, a tool call, a message of the user.

use crate::wire::json::{Cursor, Kind as Value};

/// Members that hold reasoning in any dialect.
const REASONING: [&[u8]; 15] = [
    b"agent_log",
    b"reasoning",
    b"reasoningContent",
    b"reasoningText",
    b"reasoning_content",
    b"reasoning_delta",
    b"reasoning_details",
    b"reasoning_opaque",
    b"reasoning_summary",
    b"reasoning_text",
    b"think",
    b"thinking",
    b"thinking_content",
    b"thought",
    b"tool_plan",
];
/// The types of content blocks that hold reasoning.
pub(super) const THOUGHTS: [&[u8]; 7] = [
    b"reasoning",
    b"reasoning_content",
    b"reasoning_text",
    b"redacted_thinking",
    b"summary_text",
    b"think",
    b"thinking",
];
/// The members of a block or an object of reasoning that contain it.
pub(super) const THOUGHT: [&[u8]; 7] = [
    b"content",
    b"data",
    b"details",
    b"redactedContent",
    b"summary",
    b"text",
    b"thinking",
];
/// Members that make a part of a Google content, or a block of a Bedrock message, a tool call or its result.
const CALLS: [&[u8]; 12] = [
    b"codeExecutionResult",
    b"code_execution_result",
    b"executableCode",
    b"executable_code",
    b"functionCall",
    b"functionResponse",
    b"function_call",
    b"function_response",
    b"toolCall",
    b"toolResponse",
    b"toolResult",
    b"toolUse",
];

/// What an object's own members say about it.
#[derive(Debug, Default)]
pub(super) struct About<'a> {
    pub(super) kind: &'a [u8],
    role: &'a [u8],
    /// The name of an event of a LangChain run.
    event: &'a [u8],
    thought: bool,
    /// Whether Google's OpenAI API says that the content is a thought.
    is_googles: bool,
    pub(super) calls: bool,
    /// Whether it is a message that the user wrote (LibreChat).
    by_user: bool,
    /// Whether there is text in `data`.
    has_data: bool,
}

impl<'a> About<'a> {
    /// Reads the members of the object at `cursor`.
    pub(super) fn read(data: &'a [u8], mut cursor: Cursor<'_>) -> Option<Self> {
        let mut about = Self::default();
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key()? {
            about.calls |= CALLS.contains(&key) && cursor.clone().truthy_or_skip()?;
            match key {
                b"event" | b"role" | b"type" => {
                    let range = cursor.string_or_skip()?;
                    let word = range.and_then(|range| data.get(range)).unwrap_or_default();
                    match key {
                        b"event" => about.event = word,
                        b"role" => about.role = word,
                        _ => about.kind = word,
                    }
                }
                b"isCreatedByUser" => about.by_user = cursor.truthy_or_skip()?,
                b"data" => about.has_data = cursor.string_or_skip()?.is_some(),
                b"thought" => about.thought = cursor.truthy_or_skip()?,
                b"extra_content" => {
                    let extra = data.get(cursor.skip()?);
                    about.is_googles = extra.and_then(googles_thought).unwrap_or_default();
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        Some(about)
    }

    /// Reports whether it is an event of a run whose input is a prompt: of a model or a chain, not of a tool.
    pub(super) fn runs_on_prompt(&self) -> bool {
        self.event.starts_with(b"on_") && !self.event.starts_with(b"on_tool")
    }

    /// Reports whether it is a tool call, whose input is its arguments.
    pub(super) fn is_call(&self) -> bool {
        self.calls || is_tool_block(self.kind) || is_tool_part(self.kind)
    }

    /// Reports whether this member repeats the text beside it: Strands' `delta` beside its `data`.
    pub(super) fn repeats(&self, key: &[u8]) -> bool {
        self.has_data && key == b"delta"
    }

    /// Reports whether this member holds the result of a tool.
    pub(super) fn tells_result(&self, key: &[u8]) -> bool {
        let is_result = self.role == b"tool" || matches!(self.kind, b"tool" | b"ToolMessage");
        is_result && matches!(key, b"artifact" | b"content")
    }

    /// Reports whether an object in this member holds a thought: Bedrock's reasoning content, and the chunk of another
    /// agent's reasoning in Mastra.
    pub(super) fn wraps_thought(&self, key: &[u8]) -> bool {
        matches!(key, b"reasoningContent" | b"reasoning_content")
            || (self.kind == b"reasoning-delta" && key == b"payload")
    }

    /// Reports whether this member holds reasoning.
    pub(super) fn hides(&self, key: &[u8]) -> bool {
        REASONING.contains(&key)
            || (THOUGHTS.contains(&self.kind) && THOUGHT.contains(&key))
            || (self.thought && key == b"text")
            || ((self.is_googles || self.role == b"reasoning") && key == b"content")
    }
}

/// Reads whether Google's additions to a delta say that it is a thought: `{"google":{"thought":true}}`.
fn googles_thought(extra: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(extra);
    let mut is_thought = false;
    cursor.enter_object()?;
    while let Some(vendor) = cursor.next_key()? {
        if vendor != b"google" || cursor.kind()? != Value::Object {
            cursor.skip()?;
            continue;
        }
        cursor.enter_object()?;
        while let Some(key) = cursor.next_key()? {
            if key == b"thought" {
                is_thought = cursor.truthy_or_skip()?;
            } else {
                cursor.skip()?;
            }
        }
    }
    Some(is_thought)
}

/// Reports whether an item of a response is a tool call or describes tools.
pub(super) fn is_tool_item(kind: &[u8]) -> bool {
    kind.ends_with(b"_call") || kind.ends_with(b"_call_output") || kind.starts_with(b"mcp_")
}

/// Reports whether a content block of a message is a tool call, a piece of one, or a result.
pub(super) fn is_tool_block(kind: &[u8]) -> bool {
    let begins = |word: &[u8]| kind.starts_with(word);
    kind.ends_with(b"tool_use")
        || kind.ends_with(b"tool_result")
        || begins(b"tool_call")
        || begins(b"server_tool_call")
        || matches!(kind, b"function_call" | b"input_json_delta")
}

/// Reports whether a part of a message of the AI SDK, or a block of its content, is a tool call or a result.
pub(super) fn is_tool_part(kind: &[u8]) -> bool {
    kind.starts_with(b"tool-") || kind == b"dynamic-tool"
}

/// Reports whether this member holds what the user wrote, as LibreChat repeats it in its events.
pub(super) fn is_users(about: &About<'_>, key: &[u8]) -> bool {
    matches!(key, b"requestMessage" | b"userMessage")
        || (about.by_user && matches!(key, b"content" | b"text"))
}
