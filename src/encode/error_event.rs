//! Error events: how a client is told that its stream failed.

use super::Encoder;
use crate::dialect::ErrorContext;

impl Encoder {
    /// Returns the event that ends a failed stream, given what its client has `seen`. Returns `None` if the dialect
    /// has no such event: then only a truncated body shows the failure.
    pub fn failure(self, seen: &ErrorContext, code: &str, message: &str) -> Option<String> {
        match self.whole {
            Some(target) => String::from_utf8(target.whole_failure(code, message)).ok(),
            None => self.dialect.failure(self.framing, seen, code, message),
        }
    }
}
