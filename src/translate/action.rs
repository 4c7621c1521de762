//! What a conversation tells a writer, and what a writer may ask about it.

use super::part::{By, Reason, Scope, StateOp, Text};
use super::raw::escaped;

/// Whether a text is the answer or reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Answer,
    Reasoning,
}

/// A text that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenText {
    pub(super) kind: Kind,
    /// The source's name for it; may be empty.
    pub(super) msg: Vec<u8>,
    /// The number of the text in the conversation, from 1.
    pub(super) number: u64,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The id of the call for the client. No other call of the stream has it.
    pub(super) id: Vec<u8>,
    /// The id of the call in the source, which may use it again in a later step.
    pub(super) source: Vec<u8>,
    pub(super) name: Vec<u8>,
    /// The message it belongs to; empty if nobody says.
    pub(super) msg: Vec<u8>,
    pub(super) by: By,
    /// The number of the call in the conversation, from 0.
    pub(super) number: u64,
    /// The pieces of its arguments so far: the raw body of a JSON string.
    pub(super) args: Vec<u8>,
    /// Further pieces are left out: there are too many.
    pub(super) is_full: bool,
    pub(super) ready: bool,
    pub(super) answered: bool,
}

impl Call {
    /// Returns the pieces of its arguments so far, until it is ready: the raw body of a JSON string.
    pub(super) fn pieces(&self) -> &[u8] {
        &self.args
    }
}

/// The arguments of a call that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Args<'a> {
    /// A raw JSON value.
    Json(&'a [u8]),
    /// The raw body of a JSON string whose text is no JSON value.
    Broken(&'a [u8]),
    /// The arguments that came before the agent ended: the raw body of a JSON string. They may look complete, but
    /// nobody should run the call.
    Cut(&'a [u8]),
}

impl<'a> Args<'a> {
    /// Returns their text as the raw body of a JSON string.
    pub(super) fn body(self) -> Text<'a> {
        match self {
            Self::Json(value) => escaped(value),
            Self::Broken(body) | Self::Cut(body) => body.into(),
        }
    }
}

/// What of the arguments of a call came in pieces, before it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    None,
    /// All arguments.
    All,
    /// Others: the agent contradicts itself.
    Other,
}

/// Token counts of the whole conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) reasoning: Option<u64>,
    pub(super) cached: Option<u64>,
}

/// What a writer writes.
#[derive(Debug)]
pub(super) enum Action<'a> {
    Start,
    /// Another call of the model begins, after tools have answered.
    NextStep,
    TextStart(&'a OpenText),
    TextDelta(&'a OpenText, &'a [u8]),
    TextEnd(&'a OpenText),
    ToolStart(&'a Call),
    ToolArgs(&'a Call, &'a [u8]),
    ToolReady {
        call: &'a Call,
        args: Args<'a>,
        pieces: Pieces,
    },
    ToolResult {
        call: &'a Call,
        ok: bool,
        content: &'a [u8],
        partial: bool,
    },
    Status {
        name: &'a [u8],
        text: &'a [u8],
        detail: &'a [u8],
    },
    /// A part of the agent's work begins or ends. They may overlap, and need not end.
    Step {
        kind: &'a [u8],
        name: &'a [u8],
        ends: bool,
        detail: &'a [u8],
    },
    State(StateOp, &'a [u8]),
    Message {
        msg: &'a [u8],
        role: &'a [u8],
        text: &'a [u8],
        duplicate: bool,
    },
    Interrupt {
        id: &'a [u8],
        reason: &'a [u8],
        payload: &'a [u8],
    },
    /// A choice or a step is over.
    Finish(Reason, Scope),
    /// The run is over. Nothing follows.
    End(Reason),
    /// Somebody has stopped the run. Nothing follows.
    Stopped,
    /// The agent has failed. Nothing follows.
    Error {
        code: &'a [u8],
        message: &'a [u8],
    },
    Raw {
        name: &'a [u8],
        data: &'a [u8],
    },
}

impl<'a> Action<'a> {
    /// Returns the beginning or the end of a step, or a status if it has no name.
    pub(super) const fn step(kind: &'a [u8], name: &'a [u8], ends: bool, detail: &'a [u8]) -> Self {
        if name.is_empty() {
            return Self::Status {
                name: kind,
                text: name,
                detail,
            };
        }
        Self::Step {
            kind,
            name,
            ends,
            detail,
        }
    }
}

/// What is known of a conversation.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) run: Box<[u8]>,
    pub(super) thread: Box<[u8]>,
    pub(super) model: Box<[u8]>,
    /// The source's name for the first text; empty if there is none yet.
    pub(super) first_msg: Box<[u8]>,
    /// The calls so far, the oldest first.
    pub(super) calls: Vec<Call>,
    late: Option<Box<Late>>,
}

/// What most streams say only when they end.
#[derive(Debug, Default)]
struct Late {
    /// The token counts of each model call.
    counts: Vec<(u64, Counts)>,
    /// The agent has not failed by its own words: Weir has given up on it.
    by_proxy: bool,
}

impl Facts {
    /// Returns the token counts, if there are any.
    pub(super) fn counts(&self) -> Option<Counts> {
        let add = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        let late = self.late.as_ref()?;
        (late.counts.iter().map(|(_, counts)| *counts)).reduce(|sum, counts| Counts {
            input: sum.input.saturating_add(counts.input),
            output: sum.output.saturating_add(counts.output),
            reasoning: add(sum.reasoning, counts.reasoning),
            cached: add(sum.cached, counts.cached),
        })
    }

    /// Returns the token counts of each model call, to add to them.
    pub(super) fn counts_mut(&mut self) -> &mut Vec<(u64, Counts)> {
        &mut self.late.get_or_insert_default().counts
    }

    /// Reports whether the agent has not failed by its own words, but Weir has given up on it.
    pub(super) fn is_by_proxy(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.by_proxy)
    }

    /// Notes that Weir has given up on the agent.
    pub(super) fn note_proxy(&mut self) {
        self.late.get_or_insert_default().by_proxy = true;
    }
}
