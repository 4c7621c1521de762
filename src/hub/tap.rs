//! A second place for the events of a stream: a store in which other processes find them.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, State, wake};
use crate::encode::Encoder;
use crate::end::End;
use crate::event::{Brief, Class};
use crate::queue::Close;

/// Where the events of a stream are kept as well. Nothing here may wait.
pub trait Tap: Send + fmt::Debug {
    /// Keeps events that came together, one read or a part of it: the number of the last, each one's class and length,
    /// and their blocks one after the other.
    fn append(&mut self, last: u64, events: &[(Class, u32)], blocks: &[u8]);

    /// Notes how the events are encoded, which the first ones show.
    fn describe(&mut self, encoder: Encoder);

    /// Keeps how the stream has ended, and the block that Weir has written at the end; empty if there is none.
    fn end(&mut self, outcome: End, last: &[u8], how: Close);

    /// Is ready when another process asks something of the stream.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<ControlMessage>;
}

/// A message in which another process asks something of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlMessage {
    /// The run is to be stopped.
    Stop,
    /// The viewer of this name follows the stream there.
    ViewerCame(Box<str>),
    /// The viewer of this name has left.
    ViewerLeft(Box<str>),
}

/// How long a viewer of another process counts after it was last heard of: that process may be gone.
pub const ELSEWHERE_FOR: Duration = Duration::from_secs(15);
/// Maximum number of viewers of other processes that are counted.
const MAX_ELSEWHERE: usize = 4096;

/// A tap, and what it gets at the end of a read.
#[derive(Debug)]
pub(super) struct Tapped {
    pub(super) tap: Box<dyn Tap>,
    events: Vec<(Class, u32)>,
    blocks: Vec<u8>,
}

/// A buffer of at most this size is kept for the next read.
const KEEP_BYTES: usize = 4 * 1024;

impl Tapped {
    /// Notes the event with this number. `more`: others of the same read follow.
    #[inline(never)]
    pub(super) fn note(&mut self, block: &[u8], class: Class, seq: u64, more: bool) {
        let event = (class, length(block.len()));
        if !more && self.events.is_empty() {
            self.tap.append(seq, &[event], block);
            return;
        }
        self.events.push(event);
        self.blocks.extend_from_slice(block);
    }

    /// Hands on events of a read whose blocks lie one after the other already. `last` is the number of the last one.
    pub(super) fn hand_on(
        &mut self,
        last: u64,
        blocks: &[u8],
        events: impl ExactSizeIterator<Item = Brief>,
    ) {
        // What was noted comes before them.
        self.flush(last - events.len() as u64);
        let events = events.map(|event| (event.class, length(event.len)));
        self.events.extend(events);
        self.tap.append(last, &self.events, blocks);
        self.empty();
    }

    /// Hands on what was noted, whose last event has this number.
    pub(super) fn flush(&mut self, last: u64) {
        if self.events.is_empty() {
            return;
        }
        self.tap.append(last, &self.events, &self.blocks);
        self.empty();
    }

    fn empty(&mut self) {
        self.events.clear();
        self.blocks.clear();
        self.events.shrink_to(KEEP_BYTES / 8);
        self.blocks.shrink_to(KEEP_BYTES);
    }
}

/// The length of a block as the tap gets it. The pipeline lets no block of 4 GiB through.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Hub {
    /// Keeps the events in a second place from here on.
    pub fn tap(&self, tap: Box<dyn Tap>) {
        self.lock().tap = Some(Tapped {
            tap,
            events: Vec::new(),
            blocks: Vec::new(),
        });
    }

    /// Does what other processes ask: counts their viewers. Is ready when the run is to be stopped.
    pub fn poll_control(&self, cx: &mut Context<'_>) -> Poll<End> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut pump = None;
        while let Some(tapped) = &mut state.tap {
            let Poll::Ready(message) = tapped.tap.poll_control(cx) else {
                break;
            };
            match message {
                ControlMessage::Stop => return Poll::Ready(End::Stopped),
                ControlMessage::ViewerCame(name) => {
                    if state.elsewhere.len() < MAX_ELSEWHERE || state.elsewhere.contains_key(&name)
                    {
                        let until = Instant::now() + ELSEWHERE_FOR;
                        state.elsewhere.insert(name, until);
                        state.left = None;
                    }
                }
                ControlMessage::ViewerLeft(name) => {
                    state.elsewhere.remove(&name);
                    state.note_empty(End::ClientGone);
                }
            }
            state.changes += 1;
            pump = state.pump.take().or(pump);
        }
        drop(guard);
        wake(pump);
        Poll::Pending
    }
}

impl State {
    /// Forgets viewers of other processes of which nothing was heard.
    pub(super) fn forget_elsewhere(&mut self, now: Instant) {
        if !self.elsewhere.is_empty() {
            self.elsewhere.retain(|_, until| *until > now);
            self.note_empty(End::ClientGone);
        }
    }

    /// Keeps how the stream has ended.
    pub(super) fn end_tap(&mut self, last: &[u8], how: Close) {
        let numbered = self.journal.last() - u64::from(!last.is_empty());
        let outcome = self.outcome.unwrap_or(End::Truncated);
        if let Some(mut tapped) = self.tap.take() {
            tapped.flush(numbered);
            tapped.tap.end(outcome, last, how);
        }
    }
}
