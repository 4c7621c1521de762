//! What is kept of a conversation: one thing after the other, and how it ended.

use crate::translate::action::Kind;
use crate::translate::part::{By, Reason};

/// One thing that was said. Strings are raw bodies of JSON strings, empty if nothing is known.
#[derive(Debug)]
pub(in crate::translate) enum Item {
    Call(Called),
    Interrupt {
        id: Vec<u8>,
        reason: Vec<u8>,
        /// A raw JSON value; empty if there is none.
        payload: Vec<u8>,
    },
    /// Another call of the model begins, after tools have answered.
    Step,
    Text(Said),
}

/// A text.
#[derive(Debug)]
pub(in crate::translate) struct Said {
    pub(in crate::translate) kind: Kind,
    /// The source's name for it.
    pub(in crate::translate) msg: Vec<u8>,
    /// The number of the text in the conversation.
    pub(in crate::translate) number: u64,
    /// All of it.
    pub(in crate::translate) body: Vec<u8>,
}

/// A tool call.
#[derive(Debug)]
pub(in crate::translate) struct Called {
    pub(in crate::translate) id: Vec<u8>,
    pub(in crate::translate) name: Vec<u8>,
    pub(in crate::translate) by: By,
    /// The number of the call in the conversation.
    pub(super) number: u64,
    /// The arguments of the call; `None` if they never were complete, or are too large.
    pub(in crate::translate) input: Option<Input>,
    pub(in crate::translate) result: Option<Outcome>,
}

/// The arguments of a call.
#[derive(Debug)]
pub(in crate::translate) enum Input {
    /// Text that is no JSON value.
    Broken(Vec<u8>),
    /// A raw JSON value.
    Json(Vec<u8>),
}

/// What a tool has answered.
#[derive(Debug)]
pub(in crate::translate) struct Outcome {
    pub(in crate::translate) ok: bool,
    /// A raw JSON value; empty if it is too large.
    pub(super) content: Vec<u8>,
    /// More was to follow.
    pub(in crate::translate) partial: bool,
}

/// How the conversation is over.
#[derive(Debug)]
pub(in crate::translate) enum Ending {
    Failed { code: Vec<u8>, message: Vec<u8> },
    Finished(Reason),
    Stopped,
}

impl Outcome {
    /// Returns the raw JSON value that the tool has answered; `null` if it is too large.
    pub(in crate::translate) fn content(&self) -> &[u8] {
        if self.content.is_empty() {
            b"null"
        } else {
            &self.content
        }
    }
}
