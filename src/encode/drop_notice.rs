//! Drop notices: tell a slow client what its queue has dropped.

use super::Encoder;

impl Encoder {
    /// Reports whether the client can be told about drops without disturbing its library.
    pub const fn tells_drops(self) -> bool {
        self.knows_comments()
    }

    /// Returns a line to write before the next block: an SSE comment with the number of events and characters that are
    /// missing there. Empty if [`Encoder::tells_drops`] is false.
    pub fn drop_notice(self, events: u64, chars: u64) -> String {
        if self.tells_drops() {
            format!(": weir dropped={events} chars={chars}\n")
        } else {
            String::new()
        }
    }
}
