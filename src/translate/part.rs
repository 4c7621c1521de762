//! The parts of a conversation: what the events of an agent say, in the words of no dialect.

use std::borrow::Cow;

/// The raw body of a JSON string: the bytes between its quotes. Empty where nothing is known.
pub(super) type Text<'a> = Cow<'a, [u8]>;

/// A raw JSON value.
pub(super) type Json<'a> = Cow<'a, [u8]>;

/// One thing that an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// The run begins. Any number of these is one beginning: later ones add what was not known.
    Start {
        /// Identifies the run or the response.
        run: Text<'a>,
        /// Identifies the conversation.
        thread: Text<'a>,
        /// The model.
        model: Text<'a>,
    },
    /// A piece of the answer.
    Text {
        /// Identifies the message or block: pieces with different ones are different texts.
        msg: Text<'a>,
        /// The piece.
        text: Text<'a>,
    },
    /// A piece of reasoning.
    Reasoning {
        /// Identifies the message or block, as in [`Part::Text`].
        msg: Text<'a>,
        /// The piece.
        text: Text<'a>,
    },
    /// The open text or reasoning is over: what comes next is another one, even if its `msg` is the same.
    TextEnd,
    /// A tool call begins. Its arguments may follow in pieces.
    ToolStart {
        /// The message it belongs to.
        msg: Text<'a>,
        /// Identifies the call. Empty if its id is not known yet.
        id: Text<'a>,
        /// The name of the tool.
        name: Text<'a>,
        /// Who runs the tool.
        by: By,
    },
    /// A piece of the arguments.
    ToolArgs {
        /// The call. Empty: the one that began last.
        id: Text<'a>,
        /// A piece of the JSON text of the arguments.
        text: Text<'a>,
    },
    /// The arguments are complete. The call has begun with it if it has not before.
    ToolReady {
        /// The message it belongs to.
        msg: Text<'a>,
        /// The call. Empty: the one that began last.
        id: Text<'a>,
        /// The name of the tool. Empty if it was told before.
        name: Text<'a>,
        /// The arguments; `None` if they are what the pieces before add up to.
        args: Option<Json<'a>>,
        /// Who runs the tool.
        by: By,
    },
    /// A tool has answered.
    ToolResult {
        /// The call.
        id: Text<'a>,
        /// The name of the tool. Empty if it was told before.
        name: Text<'a>,
        /// Whether it has succeeded.
        ok: bool,
        /// What it has answered.
        content: Json<'a>,
        /// More of it follows: a later result of the same call replaces this one.
        partial: bool,
    },
    /// What the agent is doing.
    Status {
        /// The kind of status, such as `node`, `step` or `tool`.
        name: Text<'a>,
        /// What people may see.
        text: Text<'a>,
        /// More about it; an object. Empty if there is no more.
        detail: Json<'a>,
    },
    /// The agent begins or ends a part of its work that has a name.
    Step {
        /// What it is, such as `node` or `agent`.
        kind: Text<'a>,
        /// The name of the step. Empty if it has none: then this is a status like others.
        name: Text<'a>,
        /// Whether it ends.
        ends: bool,
        /// More about it; an object. Empty if there is no more.
        detail: Json<'a>,
    },
    /// The state of the agent.
    State {
        /// What `value` is.
        op: StateOp,
        /// The value.
        value: Json<'a>,
    },
    /// A whole message.
    Message {
        /// The id of the message.
        msg: Text<'a>,
        /// Whose message it is, such as `assistant`.
        role: Text<'a>,
        /// All of its text.
        text: Text<'a>,
        /// The text came in pieces before.
        duplicate: bool,
    },
    /// The agent waits for a person.
    Interrupt {
        /// Identifies what it waits for.
        id: Text<'a>,
        /// Why, such as `approval`.
        reason: Text<'a>,
        /// What the person needs to know.
        payload: Json<'a>,
    },
    /// Token counts.
    Usage {
        /// Prompt tokens.
        input: Option<u64>,
        /// Output tokens, reasoning included.
        output: Option<u64>,
        /// The reasoning among them.
        reasoning: Option<u64>,
        /// Prompt tokens from a cache.
        cached: Option<u64>,
        /// Identifies the model call. Counts of different calls add up; later ones of the same call replace earlier
        /// ones.
        call: u64,
    },
    /// A choice, a step or the run is over.
    Finish {
        /// Why it is over.
        reason: Reason,
        /// What is over.
        scope: Scope,
    },
    /// The agent has failed.
    Error {
        /// The agent's code. Empty if there is none.
        code: Text<'a>,
        /// The agent's message.
        message: Text<'a>,
    },
    /// Something that has no other part.
    Raw {
        /// The name in its dialect. Empty if there is none.
        name: Text<'a>,
        /// All of it.
        data: Json<'a>,
    },
}

/// Who runs a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The agent, which also reports the result.
    Agent,
    /// The client, which is expected to send the result with its next request.
    Client,
    /// The stream does not say who. If the run ends without the result, the client runs it.
    Unsaid,
}

/// What the value of a state part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateOp {
    /// The whole state.
    Snapshot,
    /// A JSON patch (RFC 6902).
    Patch,
    /// What some nodes have changed: an object with the name of each.
    Update,
}

/// Why something is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Cancelled,
    ContentFilter,
    Error,
    Interrupt,
    Length,
    Other,
    Stop,
    ToolCalls,
}

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One of several answers to the same question, or one message.
    Choice,
    /// One call of a model, of which a run may have several.
    Step,
    /// The run.
    Run,
}

impl Reason {
    /// Returns the word of the native events.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
            Self::Interrupt => "interrupt",
            Self::Length => "length",
            Self::Other => "other",
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
        }
    }

    /// Returns the reason that the word of a model or framework stands for, in whatever dialect and spelling.
    pub(super) fn of(word: &[u8]) -> Self {
        let plain: Vec<u8> = word
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_lowercase)
            .collect();
        match plain.as_slice() {
            b"stop" | b"endturn" | b"stopsequence" | b"complete" | b"completed" | b"success"
            | b"finished" | b"eos" | b"eostoken" | b"done" => Self::Stop,
            b"length"
            | b"maxtokens"
            | b"maxoutputtokens"
            | b"modelcontextwindowexceeded"
            | b"maxlength" => Self::Length,
            b"toolcalls" | b"tooluse" | b"toolcall" | b"functioncall" => Self::ToolCalls,
            b"contentfilter"
            | b"contentfiltered"
            | b"safety"
            | b"recitation"
            | b"refusal"
            | b"blocklist"
            | b"prohibitedcontent"
            | b"spii"
            | b"guardrailintervened" => Self::ContentFilter,
            b"error" | b"failed" | b"erroroccurred" => Self::Error,
            b"interrupt" | b"interrupted" | b"pauseturn" | b"inputrequired" | b"authrequired" => {
                Self::Interrupt
            }
            b"cancelled" | b"canceled" | b"abort" | b"aborted" | b"stopped" | b"usercancel" => {
                Self::Cancelled
            }
            _ => Self::Other,
        }
    }
}
