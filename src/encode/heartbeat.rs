//! Heartbeats: the bytes that keep a silent connection alive.

use super::Encoder;

impl Encoder {
    /// Returns a heartbeat that the client's library is known to skip between two events. Returns `None` if there is
    /// none in this dialect and framing.
    pub fn heartbeat(self) -> Option<&'static [u8]> {
        match self.whole {
            // White space before a JSON value means nothing.
            Some(_) => Some(b" "),
            None => self.dialect.heartbeat(self.framing),
        }
    }
}
