//! Stores one stream that runs here.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::commands::End;
use super::journal::{Added, Journal};
use super::meta;
use super::terms::Control;
use super::terms::Meta;
use super::worker_store::WorkerStore;
use super::{Bounds, Store};

/// Stores the events of one stream, on the worker that runs it. Nothing here waits.
///
/// Dropped without an end, as after a panic, it leaves a stream that ends in a gap.
#[derive(Debug)]
pub struct Writer {
    store: Arc<Store>,
    worker_store: Arc<WorkerStore>,
    journal: Arc<Journal>,
    /// Nothing is stored any more.
    is_over: bool,
}

impl Writer {
    pub(super) fn new(
        store: Arc<Store>,
        worker_store: Arc<WorkerStore>,
        id: &str,
        meta: Meta,
        bounds: Bounds,
    ) -> Self {
        let journal = Arc::new(Journal::new(id, bounds, meta.last));
        store.register(&journal);
        let mut writer = Self {
            store,
            worker_store,
            journal,
            is_over: false,
        };
        writer.update(meta);
        writer
    }

    fn follow_up(&mut self, added: Added) {
        self.is_over = !self.worker_store.outbox.follow_up(&self.journal, added);
    }

    /// Adds the events of one read, or of a part of it. `last_seq` is the number of the last one, `events` has the
    /// class and the length of each, `blocks` their blocks one after the other. Numbers must not leave any out.
    ///
    /// If they cannot be stored, the stream is broken off: nobody can come back to it on another process.
    #[inline]
    pub fn append(&mut self, last_seq: u64, events: &[(u8, u32)], blocks: &[u8]) {
        if self.is_over || events.is_empty() {
            return;
        }
        let room = self.worker_store.outbox.room();
        let added = self.journal.append(last_seq, events, blocks, room);
        self.follow_up(added);
    }

    /// Replaces what is known of the stream.
    pub fn update(&mut self, mut meta: Meta) {
        if self.is_over {
            return;
        }
        self.store.instance.clone_into(&mut meta.owner);
        let id = self.journal.id();
        let keep = self.journal.bounds().after_end();
        let stored = meta::store(&meta, id, keep, &self.store.sealer);
        let added = self
            .journal
            .describe(stored, self.worker_store.outbox.room());
        self.follow_up(added);
        self.worker_store.outbox.hurry();
    }

    /// Ends the stream. `terminal` is the last block if Weir wrote one; it has a number of its own then, and the class
    /// [`super::WRITTEN_BY_WEIR`]. `is_clean`: whether the response ended as the protocol says.
    pub fn end(mut self, outcome: &str, terminal: &[u8], is_clean: bool) {
        if self.is_over {
            return;
        }
        let end = End {
            outcome: outcome.to_owned(),
            terminal: terminal.to_vec(),
            is_clean,
        };
        let added = self.journal.end(end, self.worker_store.outbox.room());
        self.follow_up(added);
        self.is_over = true;
    }

    /// Reports whether the stream was broken off: something of it is not stored.
    pub fn is_broken(&self) -> bool {
        self.journal.is_broken()
    }

    /// Returns what another process asks.
    pub fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<Control> {
        self.journal.mailbox.poll(cx)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_over {
            let added = self.journal.break_off(self.worker_store.outbox.room());
            self.worker_store.outbox.follow_up(&self.journal, added);
        }
        self.store.unregister(self.journal.id());
    }
}
