//! What all agents of a stream have in common.

use std::sync::Arc;

use super::board::Board;
use crate::dialect::{Choice, Members};
use crate::filter;
use crate::stream::deadline::Lengths;
use crate::translate::{Ensemble, Statuses, Target};

/// What all agents of a stream have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What their streams are translated to.
    pub target: Target,
    /// When the stream began: Unix time in seconds.
    pub began: u64,
    /// What the client is told about what is going on.
    pub statuses: Statuses,
    /// What their translators share.
    pub ensemble: Arc<Ensemble>,
    /// Where it is noted what becomes of them.
    pub board: Arc<Board>,
    /// The deadlines of each.
    pub lengths: Lengths,
    /// The dialect that the route sets, or that it must be detected.
    pub choice: Choice,
    /// What the request says about its stream.
    pub members: Members,
    /// The largest event, in bytes.
    pub max_event_bytes: usize,
    /// What is hidden from the client.
    pub hide: Arc<filter::Rules>,
}

impl Settings {
    /// Reports whether an agent must not be read, because another one speaks.
    pub(super) fn holds_back(&self, agent: usize) -> bool {
        self.target == Target::OpenAiChat && self.ensemble.holds_back(agent)
    }
}
