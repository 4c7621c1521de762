//! What is known of a request that was refused before its head was read. It is the last one of its connection.

use std::sync::OnceLock;

use http::{HeaderValue, StatusCode};

/// The id and the status of the request, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Refused(OnceLock<Box<(HeaderValue, StatusCode)>>);

impl Refused {
    /// Records that the request is refused. Returns `false` if one was before.
    pub(crate) fn set(&self, id: HeaderValue, status: StatusCode) -> bool {
        self.0.set(Box::new((id, status))).is_ok()
    }

    /// Returns the id and the status.
    pub(crate) fn get(&self) -> Option<&(HeaderValue, StatusCode)> {
        self.0.get().map(|refused| &**refused)
    }
}
