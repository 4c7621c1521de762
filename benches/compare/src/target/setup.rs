//! What a workload needs of a target besides passing streams on.

use crate::front::Client;

use super::WORKERS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What clients speak.
    pub client: Client,
    /// Whether the model compresses, and clients want it plain.
    pub gzip: bool,
    /// The number of workers or threads, where it can be configured.
    pub workers: usize,
    /// Whether Weir is asked for its figures while it runs.
    pub admin: bool,
}

impl Setup {
    /// HTTP/1.1 in plain text.
    pub const PLAIN: Self = Self {
        client: Client::Http1,
        gzip: false,
        workers: WORKERS,
        admin: false,
    };

    pub const fn of(client: Client) -> Self {
        Self {
            client,
            ..Self::PLAIN
        }
    }
}

/// For targets that need no configuration of their own for anything.
pub(super) const fn can_do_all(_: Setup) -> Option<&'static str> {
    None
}

/// For targets that are configured for plain HTTP/1.1 alone.
pub(super) fn plain_only(setup: Setup) -> Option<&'static str> {
    (setup.client != Client::Http1 || setup.gzip)
        .then_some("it is configured for plain HTTP/1.1 here")
}
