//! What people may be told while they wait, where the target has words for it.

use super::action::Action;
use super::raw;

/// What the clients of a translation are told about what is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statuses {
    /// What the agent says, if the target has words for it.
    #[default]
    Names,
    /// Also that the model thinks, which tool is used, and for how long nothing has come.
    Visible,
    /// All of this, and as reasoning text if the target has no words for it.
    Text,
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// The model thinks, and that is hidden.
    Thinking,
    /// A tool is used; its name if it is known.
    Tool(Option<&'a str>),
    /// The agent has sent nothing for this many seconds.
    Waiting(u64),
}

/// A status as a part has it: raw bodies of JSON strings, and an object.
pub(super) struct StatusText {
    pub(super) name: &'static [u8],
    pub(super) text: Vec<u8>,
    pub(super) detail: Vec<u8>,
}

impl StatusText {
    pub(super) fn action(&self) -> Action<'_> {
        Action::Status {
            name: self.name,
            text: &self.text,
            detail: &self.detail,
        }
    }
}

impl Status<'_> {
    pub(super) fn text(self) -> StatusText {
        match self {
            Self::Thinking => StatusText {
                name: b"thinking",
                text: b"Thinking...".to_vec(),
                detail: Vec::new(),
            },
            Self::Tool(None) => StatusText {
                name: b"tool",
                text: b"Using a tool...".to_vec(),
                detail: Vec::new(),
            },
            Self::Tool(Some(name)) => using(&raw::escaped(name.as_bytes())),
            Self::Waiting(seconds) => StatusText {
                name: b"waiting",
                text: format!("Waiting for {seconds} s...").into_bytes(),
                detail: format!("{{\"seconds\":{seconds}}}").into_bytes(),
            },
        }
    }
}

/// Returns the status of a call to a tool of this name, the raw body of a JSON string.
pub(super) fn using(name: &[u8]) -> StatusText {
    StatusText {
        name: b"tool",
        text: [b"Using ", name, b"..."].concat(),
        detail: [b"{\"tool\":\"", name, b"\"}"].concat(),
    }
}
