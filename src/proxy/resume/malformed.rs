//! Parts of a request that say which stream it means, or which part of it, but have not the form that they must have.

use thiserror::Error;

/// What is wrong with such a part. The message does not repeat what came: it may be long, or meant for nobody else.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{what}: expected {expected}, {came} came")]
pub(super) struct Malformed {
    /// The name of the part.
    pub(super) what: &'static str,
    pub(super) expected: &'static str,
    /// What kind of thing came instead.
    pub(super) came: &'static str,
}
