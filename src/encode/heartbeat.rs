//! Heartbeats: the bytes that keep a silent connection alive.

use super::Encoder;

impl Encoder {
    /// A heartbeat that this client's library is known to skip between two events; `None` if there is no such thing in
    /// this dialect and framing.
    pub fn heartbeat(self) -> Option<&'static [u8]> {
        self.dialect.heartbeat(self.framing)
    }
}
