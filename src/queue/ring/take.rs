//! The reader's end of a ring: what it takes, and with how little copying.

use super::{LARGE_BYTES, Ring, Taken};

impl Ring {
    /// Appends as many whole events as fit in `max_bytes` to `out`, but at least one. Returns `None` if nothing waits.
    pub fn take(&mut self, max_bytes: usize, out: &mut Vec<u8>) -> Option<Taken> {
        self.take_some(usize::MAX, max_bytes, out)
    }

    /// Takes at most `max_events`, otherwise as [`Ring::take`].
    #[expect(
        clippy::inline_always,
        reason = "a call for each event costs 20 instructions"
    )]
    #[inline(always)]
    pub fn take_some(
        &mut self,
        max_events: usize,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Option<Taken> {
        if self.entries.len() == 1
            && let Some(taken) = self.take_only(out)
        {
            return Some(taken);
        }
        self.take_several(max_events, max_bytes, out)
    }

    #[inline(never)]
    fn take_several(
        &mut self,
        max_events: usize,
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Option<Taken> {
        let first = self.entries.iter().find(|entry| !entry.dead)?;
        // They are in the order in which they came.
        let oldest = first.arrived;
        let have_ids = self.ids.is_some();
        let (start, mut end) = (first.start, first.start);
        let (mut events, mut bytes, mut seen) = (0, 0, 0);
        let mut plain = true;
        for entry in &self.entries {
            if !entry.dead {
                if events > 0 && (events == max_events || bytes + entry.len > max_bytes) {
                    break;
                }
                // With a gap it is copied, whether or not the client is told.
                plain &= entry.start == end
                    && entry.gap.events == 0
                    && !(have_ids && self.has_id(entry));
                end = entry.start + entry.len;
                bytes += entry.len;
                events += 1;
                if let Some(count) = self.taken.get_mut(entry.class.index()) {
                    *count += 1;
                }
            }
            seen += 1;
        }
        let before = out.len();
        if plain {
            self.store.take(start, end, out);
        } else {
            self.copy(seen, out);
        }
        self.taken_bytes += (out.len() - before) as u64;
        self.live -= events;
        self.bytes -= bytes;
        if self.live == 0 {
            self.empty();
        } else {
            self.entries.drain(..seen);
        }
        self.compacted = self.compacted.saturating_sub(seen);
        self.droppable = self.droppable.saturating_sub(seen);
        Some(Taken { events, oldest })
    }

    /// Takes the oldest event in its own buffer, if it is large. Returns `None` if it is not.
    pub fn take_large(&mut self) -> Option<(Vec<u8>, Taken)> {
        let oldest = *self.entries.front()?;
        if oldest.dead || oldest.gap.events > 0 || oldest.len <= LARGE_BYTES || self.has_id(&oldest)
        {
            return None;
        }
        let block = self.store.split(oldest.start, oldest.len)?;
        self.entries.pop_front();
        for entry in &mut self.entries {
            entry.start -= oldest.len;
        }
        if let Some(count) = self.taken.get_mut(oldest.class.index()) {
            *count += 1;
        }
        self.taken_bytes += oldest.len as u64;
        self.live -= 1;
        self.bytes -= oldest.len;
        self.compacted = self.compacted.saturating_sub(1);
        self.droppable = self.droppable.saturating_sub(1);
        let taken = Taken {
            events: 1,
            oldest: oldest.arrived,
        };
        Some((block, taken))
    }

    /// Takes the only event that waits. This is nearly always the case while the reader keeps up.
    #[inline]
    fn take_only(&mut self, out: &mut Vec<u8>) -> Option<Taken> {
        let only = self.entries.back()?;
        if only.dead || only.gap.events > 0 {
            return None;
        }
        let oldest = only.arrived;
        let before = out.len();
        let (start, len, has_id) = (only.start, only.len, self.has_id(only));
        if has_id {
            self.write(only, out);
        }
        if let Some(count) = self.taken.get_mut(only.class.index()) {
            *count += 1;
        }
        if !has_id {
            self.store.take(start, start + len, out);
        }
        self.taken_bytes += (out.len() - before) as u64;
        self.empty();
        (self.live, self.bytes) = (0, 0);
        (self.compacted, self.droppable) = (0, 0);
        let events = 1;
        Some(Taken { events, oldest })
    }
}
