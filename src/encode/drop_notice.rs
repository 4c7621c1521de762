//! Drop notices: tell a slow client what its queue has dropped.

use super::Encoder;

impl Encoder {
    /// Reports whether the client can be told about drops without disturbing its library.
    pub const fn tells_drops(self) -> bool {
        self.knows_comments() || self.has_drop_event()
    }

    /// Reports whether drops are told by an event. Only a translation has such events: Weir adds none to what an agent
    /// says.
    const fn has_drop_event(self) -> bool {
        self.fixed && self.whole.is_none() && self.dialect.has_drop_event()
    }

    /// Returns what to write before the next block: an SSE comment, or an event that the client's application may show,
    /// with the number of events and characters that are missing there. Empty if [`Encoder::tells_drops`] is false.
    pub fn drop_notice(self, events: u64, chars: u64) -> String {
        if self.has_drop_event() {
            let counts = format!("{{\"events\":{events},\"characters\":{chars}}}");
            self.dialect.drop_event(&counts).unwrap_or_default()
        } else if self.tells_drops() {
            format!(": weir dropped={events} chars={chars}\n")
        } else {
            String::new()
        }
    }
}
