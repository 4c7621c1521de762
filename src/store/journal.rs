//! Events of a local stream that are not stored yet.
//!
//! The stream's task adds events; the connection of its worker takes them away. A stream whose events cannot all be
//! stored is broken off: nothing more is stored of it, and what is stored is sealed with a gap, or deleted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Cmd;
use tokio::time::Instant;

use super::commands::{self, End, Names};
use super::control::Mailbox;
use super::entry::{self, Chunk};
use super::keys::Keys;
use super::reply::Verdict;
use super::room::Room;
use super::seal::Sealer;
use super::terms::{Bounds, Control};
use super::trim::Trim;

/// Maximum number of bytes of one stream that wait or are being sent.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// If this many bytes of one stream wait, they are sent soon.
const MUCH_BYTES: usize = MAX_BYTES / 8;
/// What a stream takes besides its events.
const OWN_BYTES: usize = 512;
/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Everything is stored.
    Whole,
    /// The end of the stream is known, and waits or is stored.
    Ended,
    /// Something is not stored.
    Broken,
}

/// What is to be done about what is stored of a broken stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remains {
    Nothing,
    SealOff,
    Delete,
}

/// What was sent and is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Journal,
    Seal,
    Delete,
}

#[derive(Debug)]
struct State {
    fate: Fate,
    /// The number of the last event that was added.
    last: u64,
    /// The number of the last event that was sent.
    sent_last: u64,
    chunks: Vec<Chunk>,
    /// The size of the blocks of the fullest chunk that was taken last: the next ones may be as many.
    usual: usize,
    meta: Option<Vec<u8>>,
    end: Option<End>,
    remains: Remains,
    /// What it takes of the room, sent or not.
    held: usize,
    /// Whether it waits in the outbox, or was sent and is not answered.
    is_queued: bool,
    /// Whether anything was sent.
    is_touched: bool,
    /// Whether the Redis stream was created.
    is_created: bool,
    sent: Option<Sent>,
    trim: Trim,
    renewed: Option<Instant>,
}

/// One stream that runs here. Locked for a copy.
#[derive(Debug)]
pub(super) struct Journal {
    id: String,
    bounds: Bounds,
    state: Mutex<State>,
    /// A client has followed the stream elsewhere.
    is_followed: AtomicBool,
    pub(super) mailbox: Mailbox,
}

/// What became of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// The journal must be put into the outbox.
    First,
    /// The outbox has the journal already.
    More,
    /// The outbox has the journal already, and so much waits that it is to be sent soon.
    Much,
    /// The stream is broken off, by this addition; it must be put into the outbox if it says so.
    BrokeOff { is_to_queue: bool },
    /// The stream is over already.
    Over,
}

/// What became of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Whether more waits, so that it must be put into the outbox again.
    pub(super) has_more: bool,
    /// Whether the stream was broken off by this.
    pub(super) is_broken_off: bool,
}

impl State {
    /// Gives up what was not sent. Reports whether there is something to do about what was.
    fn break_off(&mut self, room: &Room, sent: usize) {
        self.fate = Fate::Broken;
        self.chunks = Vec::new();
        self.meta = None;
        self.end = None;
        let freed = self.held.saturating_sub(sent);
        self.held -= freed;
        room.leave(freed);
        if self.is_touched && self.remains == Remains::Nothing {
            self.remains = Remains::SealOff;
        }
    }

    const fn has_work(&self) -> bool {
        !matches!(self.remains, Remains::Nothing)
            || !self.chunks.is_empty()
            || self.meta.is_some()
            || self.end.is_some()
    }

    /// Marks it as queued, if it has work and is not.
    const fn enqueue(&mut self) -> bool {
        let is_new = !self.is_queued && self.has_work();
        self.is_queued |= is_new;
        is_new
    }
}

impl Journal {
    pub(super) fn new(id: &str, bounds: Bounds, last: u64) -> Self {
        let most = |bound: usize| u64::try_from(bound).unwrap_or(u64::MAX);
        Self {
            id: id.to_owned(),
            bounds,
            state: Mutex::new(State {
                fate: Fate::Whole,
                last,
                sent_last: last,
                chunks: Vec::new(),
                usual: 0,
                meta: None,
                end: None,
                remains: Remains::Nothing,
                held: 0,
                is_queued: false,
                is_touched: false,
                is_created: false,
                sent: None,
                trim: Trim::new(most(bounds.max_events), most(bounds.max_bytes)),
                renewed: None,
            }),
            is_followed: AtomicBool::new(false),
            mailbox: Mailbox::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Reports whether its events must not wait long: a client has followed the stream elsewhere, or there are many.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed) || self.lock().held >= MUCH_BYTES
    }

    /// Hands over what another process asks.
    pub(super) fn deliver(&self, control: Control) {
        if matches!(control, Control::ViewerCame { .. }) {
            self.is_followed.store(true, Ordering::Relaxed);
        }
        self.mailbox.put(control);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.lock().fate == Fate::Broken
    }

    /// Adds to what waits, if there is room for `bytes` and the stream is whole.
    fn add(&self, room: &Room, bytes: usize, put: impl FnOnce(&mut State) -> bool) -> Added {
        let mut state = self.lock();
        if state.fate != Fate::Whole {
            return Added::Over;
        }
        let fits = state.held.saturating_add(bytes) <= MAX_BYTES && room.enter(bytes);
        if fits {
            state.held += bytes;
            if put(&mut state) {
                return if state.enqueue() {
                    Added::First
                } else if state.held >= MUCH_BYTES {
                    Added::Much
                } else {
                    Added::More
                };
            }
        }
        Self::broken(&mut state, room)
    }

    fn broken(state: &mut State, room: &Room) -> Added {
        // While something is on its way, its room is held until it is answered; only then the rest is known to be free.
        let sent = if state.sent.is_some() { state.held } else { 0 };
        state.break_off(room, sent);
        Added::BrokeOff {
            is_to_queue: state.enqueue(),
        }
    }

    /// Adds events. `last` is the number of the last one.
    pub(super) fn append(
        &self,
        last: u64,
        list: &[(u8, u32)],
        blocks: &[u8],
        room: &Room,
    ) -> Added {
        let bytes = entry::size(list, blocks);
        self.add(room, bytes, |state| {
            // Numbers are implied in an entry, so none may be missing.
            if list.is_empty() || state.last.checked_add(entry::count(list)) != Some(last) {
                return false;
            }
            state.last = last;
            match state.chunks.last_mut() {
                Some(chunk) if chunk.has_room() => chunk.extend(last, list, blocks),
                full => {
                    let before = full.map_or(state.usual, |full| full.blocks.len());
                    state.chunks.push(Chunk::new(last, list, blocks, before));
                }
            }
            true
        })
    }

    /// Adds what is known of the stream, in its stored form.
    pub(super) fn describe(&self, meta: Option<Vec<u8>>, room: &Room) -> Added {
        let bytes = meta.as_ref().map_or(0, Vec::len) + OWN_BYTES;
        self.add(room, bytes, |state| {
            state.meta = meta;
            state.meta.is_some()
        })
    }

    /// Adds the end of the stream.
    pub(super) fn end(&self, end: End, room: &Room) -> Added {
        let bytes = end.size();
        self.add(room, bytes, |state| {
            state.fate = Fate::Ended;
            state.end = Some(end);
            true
        })
    }

    /// Breaks the stream off, if it has not ended.
    pub(super) fn break_off(&self, room: &Room) -> Added {
        let mut state = self.lock();
        if state.fate == Fate::Whole {
            Self::broken(&mut state, room)
        } else {
            Added::Over
        }
    }

    /// Takes what waits. Returns the commands that store it, and the room that they hold.
    pub(super) fn take(&self, keys: &Keys, sealer: &Sealer) -> Option<(Vec<Cmd>, usize)> {
        let names = Names::new(keys, &self.id);
        let mut state = self.lock();
        if !state.has_work() {
            state.is_queued = false;
            return None;
        }
        let held = state.held;
        let is_touched = std::mem::replace(&mut state.is_touched, true);
        match state.remains {
            Remains::Nothing => {}
            Remains::SealOff => {
                state.sent = Some(Sent::Seal);
                return Some((
                    commands::seal_off(&names, state.sent_last, &self.bounds),
                    held,
                ));
            }
            Remains::Delete => {
                state.sent = Some(Sent::Delete);
                return Some((vec![commands::delete(&names)], held));
            }
        }
        state.sent = Some(Sent::Journal);
        let mut list = Vec::new();
        if let Some(meta) = state.meta.take() {
            list.push(commands::metadata(&names, &meta, &self.bounds));
        }
        let is_due = |renewed: Instant| renewed.elapsed() > self.bounds.live / 2;
        let is_due = is_touched && state.renewed.is_none_or(is_due);
        if is_due || state.renewed.is_none() {
            state.renewed = Some(Instant::now());
        }
        if is_due {
            commands::renew(&names, &self.bounds, &mut list);
        }
        // All but the last are full.
        let fullest = state.chunks.first();
        state.usual = fullest.map_or(state.usual, |fullest| fullest.blocks.len());
        for chunk in std::mem::take(&mut state.chunks) {
            let size = u64::try_from(chunk.size()).unwrap_or(u64::MAX);
            let below = state.trim.store(chunk.last, chunk.events, size);
            state.sent_last = chunk.last;
            let is_first = !std::mem::replace(&mut state.is_created, true);
            let first = is_first.then_some(&self.bounds);
            if !commands::events(&names, chunk, below, first, sealer, &mut list) {
                list.clear();
                break;
            }
        }
        if let Some(end) = state.end.take() {
            let number = end.number(state.last);
            state.sent_last = number;
            if !commands::end(&names, end, number, &self.bounds, sealer, &mut list) {
                list.clear();
            }
        }
        drop(state);
        // If something could not be sealed, there is no command: the outbox takes that for a refusal.
        Some((list, held))
    }

    /// Records whether what was taken has been stored.
    pub(super) fn settle(&self, held: usize, verdict: Verdict, room: &Room) -> Settled {
        let mut state = self.lock();
        let held = held.min(state.held);
        state.held -= held;
        room.leave(held);
        let is_done = verdict == Verdict::Done;
        let mut is_broken_off = false;
        match state.sent.take() {
            Some(Sent::Journal) if !is_done => {
                is_broken_off = state.fate != Fate::Broken;
                state.break_off(room, 0);
            }
            Some(Sent::Seal) if !is_done => state.remains = Remains::Delete,
            Some(Sent::Seal | Sent::Delete) => state.remains = Remains::Nothing,
            Some(Sent::Journal) | None => {}
        }
        if state.fate == Fate::Broken {
            let rest = std::mem::take(&mut state.held);
            room.leave(rest);
        }
        state.is_queued = state.has_work();
        Settled {
            has_more: state.is_queued,
            is_broken_off,
        }
    }
}
