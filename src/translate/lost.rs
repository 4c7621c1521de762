//! What a target could not say.

use super::action::{Action, Pieces};
use super::part::By;

/// The kinds of things that a target may not be able to say, by name.
pub const KINDS: [&str; 6] = ["interrupt", "message", "raw", "state", "status", "tool"];

/// How many things of each of [`KINDS`] the client of a stream was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost(pub [u64; KINDS.len()]);

impl Lost {
    /// Counts an action that was left out. Most streams lose nothing, and have no room for counts.
    pub(super) fn note(counts: &mut Option<Box<Self>>, action: &Action<'_>) {
        let kind = match action {
            Action::Interrupt { .. } => 0,
            Action::Message { .. } => 1,
            Action::Raw { .. } => 2,
            Action::State(..) => 3,
            Action::Status { .. } | Action::Step { .. } => 4,
            // The arguments of a call are a part of it, unless the target could say it but not them.
            Action::ToolStart(_) | Action::ToolResult { .. } => 5,
            Action::ToolReady {
                pieces: Pieces::Other,
                ..
            } => 5,
            Action::ToolReady { call, .. } if call.by == By::Client => 5,
            _ => return,
        };
        if let Some(count) = counts.get_or_insert_default().0.get_mut(kind) {
            *count += 1;
        }
    }
}
