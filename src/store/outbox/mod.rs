//! What waits to be stored, of all streams of one worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Cmd;
use tokio::sync::Notify;

use super::Watch;
use super::journal::{Added, Journal, Settled};
use super::keys::Keys;
use super::reply::Verdict;
use super::room::Room;
use super::seal::Sealer;

/// Beyond this size, the rest waits for the next pipeline.
const PIPELINE_BYTES: usize = 1 << 20;
/// Maximum number of parcels of one pipeline.
const PIPELINE_PARCELS: usize = 512;
/// Maximum number of notes that wait.
const MAX_NOTES: usize = 1_024;

/// The outbox of one worker.
#[derive(Debug)]
pub(super) struct Outbox {
    room: Arc<Room>,
    watch: Arc<dyn Watch>,
    waiting: Mutex<Waiting>,
    ready: Notify,
    /// What waits is to be sent soon.
    urgent: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Each at most once.
    journals: VecDeque<Arc<Journal>>,
    /// Commands that belong to no stream.
    notes: VecDeque<Cmd>,
}

impl Outbox {
    pub(super) fn new(room: Arc<Room>, watch: Arc<dyn Watch>) -> Self {
        Self {
            room,
            watch,
            waiting: Mutex::default(),
            ready: Notify::new(),
            urgent: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    fn push(&self, journal: Arc<Journal>) {
        let is_urgent = journal.is_urgent();
        self.lock().journals.push_back(journal);
        self.ready.notify_one();
        if is_urgent {
            self.hurry();
        }
    }

    /// Has what waits sent soon.
    pub(super) fn hurry(&self) {
        self.urgent.notify_one();
    }

    /// Does what an addition to a journal asks for. Reports whether the addition will be stored.
    #[inline]
    pub(super) fn follow_up(&self, journal: &Arc<Journal>, added: Added) -> bool {
        match added {
            Added::More => true,
            Added::Much => {
                self.hurry();
                true
            }
            Added::First => {
                self.push(Arc::clone(journal));
                true
            }
            Added::BrokeOff { is_to_queue } => {
                if is_to_queue {
                    self.push(Arc::clone(journal));
                }
                self.watch.broken();
                false
            }
            Added::Over => false,
        }
    }

    /// Adds a command that belongs to no stream. It is given up if too many wait.
    pub(super) fn note(&self, command: Cmd) {
        let mut waiting = self.lock();
        if waiting.notes.len() >= MAX_NOTES {
            drop(waiting);
            self.watch.error();
            return;
        }
        waiting.notes.push_back(command);
        drop(waiting);
        self.ready.notify_one();
        // Another process may be asked for it at once.
        self.hurry();
    }

    /// Reports whether anything waits.
    pub(super) fn has_more(&self) -> bool {
        let waiting = self.lock();
        !waiting.journals.is_empty() || !waiting.notes.is_empty()
    }

    /// Waits until something was added.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Waits until something is to be sent soon.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// Takes what waits, up to the size of a pipeline.
    pub(super) fn take(self: &Arc<Self>, keys: &Keys, sealer: &Sealer) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        let mut size = 0_usize;
        while size < PIPELINE_BYTES && parcels.len() < PIPELINE_PARCELS {
            let (journal, note) = {
                let mut waiting = self.lock();
                let note = waiting.notes.pop_front();
                let journal = if note.is_none() {
                    waiting.journals.pop_front()
                } else {
                    None
                };
                (journal, note)
            };
            if let Some(note) = note {
                parcels.push(Parcel {
                    commands: vec![note],
                    held: None,
                });
                continue;
            }
            let Some(journal) = journal else {
                return parcels;
            };
            let Some((commands, bytes)) = journal.take(keys, sealer) else {
                continue;
            };
            size += bytes;
            let held = Held {
                outbox: Arc::clone(self),
                journal,
                bytes,
                verdict: Verdict::Refused,
            };
            // Without commands, it is dropped, which is a refusal.
            if !commands.is_empty() {
                parcels.push(Parcel {
                    commands,
                    held: Some(held),
                });
            }
        }
        // There is more.
        self.ready.notify_one();
        parcels
    }
}

/// Commands that are sent together: all keys lie in one slot.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) commands: Vec<Cmd>,
    held: Option<Held>,
}

impl Parcel {
    /// Ends with what became of the commands.
    pub(super) fn settle(self, verdict: Verdict) {
        if let Some(mut held) = self.held {
            held.verdict = verdict;
        }
    }
}

/// What a parcel holds of its journal's room. Dropped without a verdict, as after a panic, it counts as refused, so
/// that no stream goes on with a hole that nobody knows of.
#[derive(Debug)]
struct Held {
    outbox: Arc<Outbox>,
    journal: Arc<Journal>,
    bytes: usize,
    verdict: Verdict,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Settled {
            has_more,
            is_broken_off,
        } = self
            .journal
            .settle(self.bytes, self.verdict, &self.outbox.room);
        if has_more {
            self.outbox.push(Arc::clone(&self.journal));
        }
        if is_broken_off {
            self.outbox.watch.broken();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
