//! The overflow rule `drop_oldest`: drops events from a full ring, and tells the client what is missing.
//!
//! Only droppable events (token, reasoning, status, heartbeat) are dropped, the oldest first. A dropped entry is marked
//! as dead, and stays until the ring is tidied. The next event that stays records what was dropped before it.

use super::Ring;
use super::gap::{Gap, chars};
use super::parts::Entry;
use crate::event::{Class, Event};
use crate::queue::limits::Overflow;

/// How many agents are told apart when events are dropped fairly. The first place is for events
/// without an agent.
const MAX_AGENTS: usize = 32;

impl Ring {
    /// Drops the oldest droppable events until `len` more bytes and one more event fit, or none is left.
    pub(super) fn drop_oldest(&mut self, len: usize) {
        while !self.fits(len) {
            let can_go = |entry: &Entry| !entry.dead && entry.class.is_droppable();
            let rest = self.entries.iter().skip(self.droppable);
            self.droppable += rest.take_while(|entry| !can_go(entry)).count();
            let at = if self.is_fair {
                self.most_waiting()
            } else {
                self.droppable
            };
            let Some(entry) = self.entries.get_mut(at) else {
                break;
            };
            entry.dead = true;
            let entry = *entry;
            (self.live, self.bytes) = (self.live - 1, self.bytes - entry.len);
            self.count_drop(entry.class);
            let block = self.store.block(entry.start, entry.len);
            let mut gap = entry.gap;
            gap.add(Gap {
                // A heartbeat is nothing that a client misses.
                events: u64::from(entry.class != Class::Heartbeat),
                chars: chars(entry.text.of(block)),
            });
            // Unless events are dropped fairly, all dead entries lie before the first one that can be dropped, so the
            // next entry is live.
            let mut rest = self.entries.iter_mut().skip(at + 1);
            match rest.find(|entry| !entry.dead) {
                Some(next) => next.gap.add(gap),
                None => self.gap.add(gap),
            }
        }
        if self.entries.len() > 2 * self.live + 16 {
            self.tidy();
        }
    }

    /// Returns the place of the oldest event that can be dropped of the agent of which the most waits.
    fn most_waiting(&self) -> usize {
        let rest = self.entries.iter().enumerate().skip(self.droppable);
        let fresh = rest.filter(|(_, entry)| !entry.dead && entry.class.is_droppable());
        // How much waits of each agent, and where its oldest event is. Agents beyond these count as the last one.
        let mut agents = [(0, self.droppable); MAX_AGENTS];
        for (at, entry) in fresh {
            let place = usize::from(entry.agent).min(MAX_AGENTS - 1);
            if let Some((bytes, oldest)) = agents.get_mut(place) {
                if *bytes == 0 {
                    *oldest = at;
                }
                *bytes += entry.len.max(1);
            }
        }
        let most = agents.iter().max_by_key(|(bytes, _)| *bytes);
        most.map_or(self.droppable, |(_, oldest)| *oldest)
    }

    /// Reports whether an event of `len` bytes must wait for an empty ring: it exceeds the ring, and dropping cannot
    /// make room.
    pub fn is_too_small_for(&self, len: usize) -> bool {
        let can_go = |entry: &Entry| !entry.dead && entry.class.is_droppable();
        let is_larger = !self.is_empty() && len > self.store.max_live();
        is_larger
            && match self.limits.overflow {
                _ if !self.slow => true,
                Overflow::Block => true,
                Overflow::Disconnect => false,
                Overflow::DropOldest => {
                    self.bytes > self.store.max_live()
                        || !self.entries.iter().skip(self.droppable).any(can_go)
                }
            }
    }

    /// Drops the new event: no older event can be dropped, so it is the oldest droppable one.
    pub(super) fn drop_new(&mut self, block: &[u8], event: &Event) {
        self.count_drop(event.class);
        self.gap.add(Gap {
            events: 1,
            chars: chars(event.text.map_or(&[], |text| text.of(block))),
        });
    }

    /// Returns the drop notice for what is missing; empty if nothing is missing, or if the client cannot be told.
    pub(super) fn notice(&self, gap: Gap) -> String {
        if gap.events == 0 {
            return String::new();
        }
        self.encoder.drop_notice(gap.events, gap.chars)
    }

    fn count_drop(&mut self, class: Class) {
        if let Some(count) = self
            .losses
            .get_or_insert_default()
            .dropped
            .get_mut(class.index())
        {
            *count += 1;
        }
    }
}
