//! The event model: defines what one event of a stream *means*.
//!
//! A **chunk** is raw bytes. A **frame** ([`crate::wire::Frame`]) is one block of the framing (an SSE block,
//! an NDJSON line). An **event** is a dialect's interpretation of a frame. The code uses these three terms
//! strictly.

use std::ops::Range;

/// The purpose of an event. The class alone decides how the queue may treat the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A transport sentinel that nothing follows (`[DONE]`, `message_stop`).
    Done,
    /// An error reported within the stream.
    Error,
    /// The end of a choice, a message or a run.
    Finish,
    /// A comment or ping, which only shows that the upstream is alive.
    Heartbeat,
    /// An unrecognised event: critical, and forwarded verbatim.
    Opaque,
    /// Reasoning text.
    Reasoning,
    /// A snapshot or patch of agent state.
    State,
    /// Progress, node names, metadata.
    Status,
    /// The start or end of a block or message. Client state machines fail without it.
    Structure,
    /// Answer text.
    Token,
    /// A tool call, its arguments or its result.
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

    /// Returns the name used in metrics, logs and documentation.
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

    /// Returns the position in [`Class::ALL`], for tables with one entry per class.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Reports whether a full queue may drop the event. All other events are critical and wait.
    pub const fn is_droppable(self) -> bool {
        matches!(
            self,
            Self::Heartbeat | Self::Reasoning | Self::Status | Self::Token
        )
    }
}

/// What an event adds for the reader. Empty text adds nothing, so a role-only chunk is not the first token.
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
    /// The dialect's own marker of a successful end.
    Done,
    /// An error event of the upstream.
    Error,
    /// A complete response, after which the dialect allows, but does not require, a [`Terminal::Done`]. From here
    /// on, the end of the input is a successful end.
    MayEnd,
    /// An error reported by the upstream, after which its dialect allows further events. From here on, the end of
    /// the input is the end of a failed stream.
    MayFail,
    /// Something begins, such as a message, a step, a run or another agent: after a possible end, the end of input
    /// would truncate it. An event with text, reasoning or a tool call does the same without saying so.
    Reopens,
    /// The event may be the last: the end of input is a good end, but silence proves nothing, however long it is.
    MayEndWithInput,
}

/// Token counts reported by the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens.
    pub input: Option<u64>,
    /// Output tokens, reasoning included.
    pub output: Option<u64>,
    /// The reasoning share of `output`.
    pub reasoning: Option<u64>,
    /// The model call that the counts belong to, where a stream may hold several calls. The counts of different
    /// calls add up; later counts of the same call replace earlier ones. Zero if there is only one call.
    pub call: u64,
}

/// What is kept of an event beside its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The length of its block.
    pub len: usize,
    /// The class of the event.
    pub class: Class,
    /// Whose event it is: [`Event::agent`].
    pub agent: u8,
    /// Where its text lies in the block; empty if it has none.
    pub text: Span,
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
    /// Converts a range. Returns `None` if the range does not fit in 32 bits; no frame is that large, so callers
    /// treat such a range as absent.
    pub fn new(range: Range<usize>) -> Option<Self> {
        let start = u32::try_from(range.start).ok()?;
        let end = u32::try_from(range.end).ok()?;
        (start <= end).then_some(Self { start, end })
    }

    /// Returns the length in bytes.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Reports whether the span covers no byte.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the bytes of `block` that the span covers; empty if it does not lie within `block`.
    pub fn of(self, block: &[u8]) -> &[u8] {
        block
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Returns the span as a range of what begins at `start` in the block; `None` if the span begins before it.
    pub fn within(self, start: usize) -> Option<Range<usize>> {
        let [from, to] = [self.start, self.end].map(|at| (at as usize).checked_sub(start));
        Some(from?..to?)
    }

    /// Returns the span moved `by` bytes towards the end.
    pub fn shifted(self, by: usize) -> Option<Self> {
        Self::new(self.start as usize + by..self.end as usize + by)
    }
}

/// Which event's bytes are kept when two events are merged: all bytes outside the text come from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The earlier event's envelope (OpenAI: `id` and `created` of the first).
    First,
    /// The later event's envelope (Ollama: `created_at` of the last).
    Last,
    /// The later event alone: it already contains the earlier one's text (cumulative partials, snapshots).
    Replace,
}

/// How an event is merged with its neighbour. Adjacent events with equal keys become one by joining the raw
/// bytes of their JSON string bodies at `text`. Two joined string bodies are again a valid string body, so
/// nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Events with equal keys may be merged. The key is made of everything that must agree: choice, block, kind, name.
    pub key: u64,
    /// Where the text lies in the block, between its quotes.
    pub text: Span,
    /// Whose envelope is kept.
    pub keep: Keep,
    /// Whether the block also holds [`LISTS`] with one entry per token of the text. They are joined with the text.
    pub lists: bool,
    /// In how many other members, which [`COPIES`] names, the block holds the text: servers send a thought under
    /// several names, and each client reads another one. They are joined with the text.
    pub copies: u8,
}

/// Names of the members that hold arrays, directly or in their own members, with one entry per token of a text: log
/// probabilities (OpenAI, Ollama, Cohere, which adds the text itself), token ids (vLLM), and the alternatives to each
/// token (TGI).
pub const LISTS: [&[u8]; 3] = [b"logprobs", b"token_ids", b"top_tokens"];

/// Names of the members that may hold the text of an event once more.
pub const COPIES: [&[u8]; 6] = [
    b"reasoning",
    b"reasoning_content",
    b"reasoning_text",
    b"summary",
    b"text",
    b"thinking",
];

/// The part of a model's output that an event belongs to, where its class does not show it. For example, the events
/// that open and close a reasoning block belong to the reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// The answer for the reader, or no particular part.
    #[default]
    Answer,
    /// Reasoning.
    Reasoning,
    /// Tool calls and their results.
    Tool,
    /// The application's own data, of any shape, which may repeat what the model wrote.
    Application,
    /// Data of any shape in an event that the dialect defines: it may repeat what the model wrote, too, but the client
    /// counts on the event.
    Data,
}

/// Which texts are over with an event: the next piece in their lane begins another text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextsOver {
    /// None, as far as the event says.
    #[default]
    None,
    /// The text in the event's lane, after the event's own piece if it has one. Lane zero: some text, nobody says
    /// which; a tool's event in lane zero ends the only text of its stream, even inside a hidden span.
    InLane,
    /// Perhaps the text in the event's lane before the event, and those in the application's data: they go on if they have
    /// begun a hidden span, or if what came last may become a mark.
    Perhaps,
    /// All texts before the event. One in the event's own lane goes on if it has begun a hidden span.
    All,
}

/// What happens to a tool call whose arguments are streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The call begins. The text, if there is any, is the start of its arguments.
    Begins,
    /// The text continues the arguments.
    GoesOn,
    /// The call ends.
    Ends,
    /// All calls of this group end.
    GroupEnds,
    /// The text continues the arguments, and all calls of this group end.
    Last,
    /// The first piece of a call whose end is not signalled.
    FirstPiece,
    /// A further piece of such a call.
    Piece,
    /// The event holds pieces of several calls. [`crate::dialect::calls`] reads them.
    Several,
}

/// A step of one tool call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What happens.
    pub step: Step,
    /// The calls that end together: the number of a choice. Zero if the upstream gives no number.
    pub group: u32,
    /// Identifies the call within its group.
    pub id: u64,
}

/// A dialect's interpretation of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Decides how the queue may treat the event.
    pub class: Class,
    /// What the event adds for the reader.
    pub content: Content,
    /// Where the text lies in the block, if it lies in one place.
    pub text: Option<Span>,
    /// How the event may be merged with a neighbour of the same kind.
    pub merge: Option<Merge>,
    /// Whether, and how, the event ends the stream.
    pub terminal: Option<Terminal>,
    /// The token counts in the event.
    pub usage: Option<Usage>,
    /// Where a number or time lies that differs in every event and does not affect its meaning.
    pub varying: Option<Span>,
    /// What the event does to a tool call whose arguments are streamed.
    pub call: Option<Call>,
    /// Which of several parallel texts the event belongs to: a choice, a block, a message. The event that ends a text
    /// has the same lane.
    pub lane: u64,
    /// The part of the output that the event belongs to.
    pub side: Side,
    /// Which texts are over with the event.
    pub texts_over: TextsOver,
    /// Whose event it is, where several agents write one stream: from 1. Zero is for events without an agent.
    pub agent: u8,
}

impl Event {
    /// Creates an event of `class` that adds nothing for the reader.
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
            texts_over: TextsOver::None,
            agent: 0,
        }
    }

    /// Creates an unrecognised event. It is critical, forwarded verbatim, and counts as content, because it may be
    /// the answer.
    pub const fn opaque() -> Self {
        Self {
            content: Content::Other,
            ..Self::bare(Class::Opaque)
        }
    }

    /// Returns the event with its lane set.
    pub const fn in_lane(self, lane: u64) -> Self {
        Self { lane, ..self }
    }

    /// Returns the event with its side set.
    pub const fn on(self, side: Side) -> Self {
        Self { side, ..self }
    }

    /// Returns the event as one with which these texts are over.
    pub const fn with_texts_over(self, texts_over: TextsOver) -> Self {
        Self { texts_over, ..self }
    }

    /// Returns the event as a step of a tool call.
    pub const fn of_call(self, step: Step, group: u32, id: u64) -> Self {
        Self {
            call: Some(Call { step, group, id }),
            ..self
        }
    }

    /// Reports whether the stream ends with the event, or may end with it.
    pub const fn ends_stream(&self) -> bool {
        !matches!(self.terminal, None | Some(Terminal::Reopens))
    }

    /// Returns the event as one that ends its stream.
    pub const fn ending(self, terminal: Terminal) -> Self {
        Self {
            terminal: Some(terminal),
            ..self
        }
    }
}
