//! The vocabulary: what one event of a stream *means*.
//!
//! A **chunk** is raw bytes, a **frame** ([`crate::wire::Frame`]) is one block of the framing (an SSE
//! block, an NDJSON line), an **event** is what a dialect makes of a frame. The words are never mixed.

use std::ops::Range;

/// What an event is for. The class alone decides what may happen to it in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Transport sentinel: nothing follows it (`[DONE]`, `message_stop`).
    Done,
    /// In-band failure.
    Error,
    /// End of a choice, a message or a run.
    Finish,
    /// Comment or ping: says only "I am alive".
    Heartbeat,
    /// Not recognised: critical and verbatim.
    Opaque,
    /// Thinking text.
    Reasoning,
    /// Snapshot or patch of agent state.
    State,
    /// Progress, node names, metadata.
    Status,
    /// Opens or closes a block or message; client state machines fail without it.
    Structure,
    /// Answer text.
    Token,
    /// Tool call, its arguments, its result.
    Tool,
    /// Token counts.
    Usage,
}

impl Class {
    /// Every class, in the order of [`Class::index`].
    pub const ALL: [Self; 12] = [
        Self::Done,
        Self::Error,
        Self::Finish,
        Self::Heartbeat,
        Self::Opaque,
        Self::Reasoning,
        Self::State,
        Self::Status,
        Self::Structure,
        Self::Token,
        Self::Tool,
        Self::Usage,
    ];

    /// The word used in metrics, logs and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Error => "error",
            Self::Finish => "finish",
            Self::Heartbeat => "heartbeat",
            Self::Opaque => "opaque",
            Self::Reasoning => "reasoning",
            Self::State => "state",
            Self::Status => "status",
            Self::Structure => "structure",
            Self::Token => "token",
            Self::Tool => "tool",
            Self::Usage => "usage",
        }
    }

    /// Position in [`Class::ALL`], for tables with one entry per class.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a full queue may drop it. Everything else is critical and waits.
    pub const fn is_droppable(self) -> bool {
        matches!(
            self,
            Self::Heartbeat | Self::Reasoning | Self::Status | Self::Token
        )
    }
}

/// What an event adds for the reader. Empty text adds nothing: a role-only chunk is no first token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Nothing to show: structure, usage, heartbeats, empty text.
    #[default]
    None,
    /// Something that is neither text nor a tool call: status, state, an unrecognised event.
    Other,
    /// Reasoning text.
    Reasoning,
    /// Answer text.
    Token,
    /// A tool call, a fragment of its arguments, or its result.
    Tool,
}

/// How an event ends its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// The dialect's own good end.
    Done,
    /// The upstream's own error event.
    Error,
    /// A complete answer after which the dialect allows, but does not require, a [`Terminal::Done`]:
    /// end of input is a good end from here on.
    MayEnd,
    /// A failure that the upstream tells, after which its dialect allows more: end of input is the end of a stream
    /// that failed.
    MayFail,
}

/// Token counts that the upstream stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens.
    pub input: Option<u64>,
    /// Output tokens, reasoning included.
    pub output: Option<u64>,
    /// The reasoning share of `output`.
    pub reasoning: Option<u64>,
    /// Which model call they belong to, where a stream may hold several: the counts of different calls add
    /// up, a later statement about one call replaces the earlier. Zero where there is one call only.
    pub call: u64,
}

/// A half-open byte range in a frame's block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// `None` when the range does not fit 32 bits; no frame is that large, so callers treat it as absent.
    pub fn new(range: Range<usize>) -> Option<Self> {
        let start = u32::try_from(range.start).ok()?;
        let end = u32::try_from(range.end).ok()?;
        (start <= end).then_some(Self { start, end })
    }

    /// Length in bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers no byte.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes it covers; empty when it does not lie within `block`.
    pub fn of(self, block: &[u8]) -> &[u8] {
        block
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The same range, `by` bytes further on.
    pub fn shifted(self, by: usize) -> Option<Self> {
        Self::new(self.start as usize + by..self.end as usize + by)
    }
}

/// Which bytes survive when two events are merged: everything outside the text span comes from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The earlier event's envelope (OpenAI: id and created of the first).
    First,
    /// The later event's envelope (Ollama: `created_at` of the last).
    Last,
    /// The later event alone: it already contains the earlier one's text (cumulative partials, snapshots).
    Replace,
}

/// How an event joins its neighbour: adjacent events with equal keys become one by joining the raw bytes
/// of their JSON string bodies at `text`. Escapes are closed under concatenation, so nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Equal keys may join. Made of all that must agree: choice, block, kind, name.
    pub key: u64,
    /// Where the text lies in the block, between its quotes.
    pub text: Span,
    /// Whose envelope stays.
    pub keep: Keep,
    /// Beside the text lie [`LISTS`] with an entry for each of its tokens, which grow with it.
    pub lists: bool,
}

/// Members whose arrays, or whose members' arrays, grow with a text: log probabilities (OpenAI, Ollama), token ids
/// (vLLM).
pub const LISTS: [&[u8]; 2] = [b"logprobs", b"token_ids"];

/// Which side of a model's output an event belongs to, where its class does not say: the brackets around a thought
/// belong to the thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// What the reader is meant to see, or no side at all.
    #[default]
    Answer,
    /// Thinking.
    Reasoning,
    /// Calls and results of tools.
    Tool,
}

/// What happens to a tool call whose arguments are streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins; the text, if there is any, is the start of its arguments.
    Begins,
    /// The text goes on with its arguments.
    GoesOn,
    /// It ends.
    Ends,
    /// All calls of this group end.
    GroupEnds,
    /// The text goes on with its arguments, and all calls of this group end.
    Last,
    /// The first piece of a call whose end nobody tells.
    FirstPiece,
    /// Another one.
    Piece,
    /// Several calls at once: [`crate::dialect::calls`] reads them.
    Several,
}

/// A step of one tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What happens.
    pub step: Step,
    /// What ends together, by its number: a choice. Zero where nothing else is told.
    pub group: u32,
    /// Which call of the group.
    pub id: u64,
}

/// What a dialect says about one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Decides its fate in the queue.
    pub class: Class,
    /// What it adds for the reader.
    pub content: Content,
    /// Where the text lies in the block, if there is one such place.
    pub text: Option<Span>,
    /// How it may be joined with an equal neighbour.
    pub merge: Option<Merge>,
    /// Whether it ends the stream.
    pub terminal: Option<Terminal>,
    /// Token counts it states.
    pub usage: Option<Usage>,
    /// Where a number or a time lies that is another one in each event and decides nothing.
    pub varying: Option<Span>,
    /// What it does to a tool call whose arguments are streamed.
    pub call: Option<Call>,
    /// Which text of several its text belongs to: a choice, a block, a message. What ends a text has the same.
    pub lane: u64,
    /// The side it belongs to.
    pub side: Side,
}

impl Event {
    /// An event of `class` that adds nothing for the reader.
    pub const fn bare(class: Class) -> Self {
        Self {
            class,
            content: Content::None,
            text: None,
            merge: None,
            terminal: None,
            usage: None,
            varying: None,
            call: None,
            lane: 0,
            side: Side::Answer,
        }
    }

    /// An event nobody recognised: critical, verbatim, and content, because it may be the answer.
    pub const fn opaque() -> Self {
        Self {
            content: Content::Other,
            ..Self::bare(Class::Opaque)
        }
    }

    /// The same event, in one text of several.
    pub const fn in_lane(self, lane: u64) -> Self {
        Self { lane, ..self }
    }

    /// The same event, of one side.
    pub const fn on(self, side: Side) -> Self {
        Self { side, ..self }
    }

    /// The same event, as a step of a tool call.
    pub const fn of_call(self, step: Step, group: u32, id: u64) -> Self {
        Self {
            call: Some(Call { step, group, id }),
            ..self
        }
    }

    /// The same event, ending its stream.
    pub const fn ending(self, terminal: Terminal) -> Self {
        Self {
            terminal: Some(terminal),
            ..self
        }
    }
}
