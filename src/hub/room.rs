//! Makes room in a full journal: decides whose events are dropped, and who has to wait.

use tokio::time::Instant;

use super::{Settings, State};
use crate::queue::{Offer, Overflow};

impl State {
    /// Reports whether an event of `len` bytes fits, whoever follows the stream.
    #[inline]
    pub(super) const fn has_room(&self, len: usize, settings: &Settings) -> bool {
        !matches!(settings.limits.overflow, Overflow::Disconnect) && self.journal.fits(len)
    }

    /// Evicts the oldest events until one of `len` bytes fits. Returns how the event is received instead, if somebody
    /// who is alone has not taken what would be evicted.
    #[inline(never)]
    pub(super) fn make_room(
        &mut self,
        len: usize,
        settings: &Settings,
        now: Instant,
    ) -> Option<Offer> {
        let overflow = settings.limits.overflow;
        if overflow == Overflow::Disconnect {
            for slot in &mut self.viewers {
                self.has_lost |= slot.lose_if_slow(now);
            }
        }
        while !self.journal.fits(len) {
            let seq = self.journal.first();
            if !self.viewers.iter().any(|slot| slot.needs(seq)) {
                self.journal.evict();
                self.evicted += 1;
                continue;
            }
            let droppable =
                (self.journal.oldest()).is_none_or(|oldest| oldest.class.is_droppable());
            if self.viewers.len() == 1 {
                match overflow {
                    _ if !self.slow => return Some(Offer::Wait),
                    Overflow::Block => return Some(Offer::Full),
                    Overflow::DropOldest if !droppable => return Some(Offer::Full),
                    Overflow::DropOldest | Overflow::Disconnect => {}
                }
            }
            self.evict_oldest(overflow);
            self.evicted += 1;
        }
        None
    }

    /// Evicts the oldest event because the memory is needed for other streams. Returns whether there was one.
    pub(super) fn evict_for_others(&mut self) -> bool {
        let is_some = self.journal.oldest().is_some();
        if is_some {
            self.evict_oldest(Overflow::DropOldest);
        }
        is_some
    }

    /// Evicts the oldest event. Viewers who have not taken it miss it, and are told, or end if it is critical.
    fn evict_oldest(&mut self, overflow: Overflow) {
        let seq = self.journal.first();
        if let Some(oldest) = self.journal.oldest() {
            for slot in self.viewers.iter_mut().filter(|slot| slot.needs(seq)) {
                if oldest.class.is_droppable() && overflow == Overflow::DropOldest {
                    slot.miss(seq, &oldest);
                } else {
                    slot.lose();
                    self.has_lost = true;
                }
            }
        }
        self.journal.evict();
    }
}
