//! Drop notices: a slow client is told what its queue has dropped.

use super::Encoder;

impl Encoder {
    /// Whether drops can be told without disturbing the client's library.
    pub const fn tells_drops(self) -> bool {
        self.knows_comments()
    }

    /// A line in front of the next block: an SSE comment that says how many events and characters are missing there.
    /// Empty where [`Encoder::tells_drops`] is false.
    pub fn drop_notice(self, events: u64, chars: u64) -> String {
        if self.tells_drops() {
            format!(": weir dropped={events} chars={chars}\n")
        } else {
            String::new()
        }
    }
}
