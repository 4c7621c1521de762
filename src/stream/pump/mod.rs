//! One stream at work: upstream | reader | timer | stop -> queue.
//!
//! ```text
//!            read            full
//! Reading ---------> push ---------> Blocked --- room ---> Reading
//!    |                                  |
//!    +---- end of input, deadline, reader gone, stop ----> Ended(End)
//! ```
//!
//! The pump owns the upstream body: when the pump ends, the body is dropped and the upstream call is
//! cancelled. It is a future of its own, and not the body of the response, because a body is not polled while the
//! client does not read. Whoever drives the client's connection runs it, or a task does.

mod farewell;
mod flood;
mod parts;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::deadline::Table;
use super::end::End;
use super::meter::Meter;
use super::pipeline::{Fault, Item, Pipeline, Verdict, is_content};
use super::registry::Stop;
use crate::event::Terminal;
use crate::queue::{Batch, Came, Sender};
use flood::Flood;
pub use parts::{Arrived, Failure, Observer, Parts, Reader, Report, Source};

/// How long a full queue waits for its reader before it drops: what a network and a busy client need to take
/// a burst. Long enough to lose nothing to it, short against any stall.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes read without a pause: then the thread's other streams have their turn.
const SHARE_BYTES: u64 = 32 * 1024;

/// Places for events that [`ITEMS`] keeps: those of a large read.
const KEEP_ITEMS: usize = 512;

thread_local! {
    /// The events of one read, on their way into the queue. Nothing stays in it between two reads.
    static ITEMS: Cell<Vec<Item>> = const { Cell::new(Vec::new()) };
}

/// One stream.
pub struct Pump {
    /// `None` once the upstream call is over.
    source: Option<Box<dyn Source>>,
    pipeline: Pipeline,
    queue: Sender,
    table: Table,
    heartbeat: Duration,
    stop: Arc<Stop>,
    observer: Box<dyn Observer>,
    reader: Arc<dyn Reader>,
    meter: Meter,
    /// Events that wait for room: the pump is blocked while there are any.
    blocked: Vec<Item>,
    /// How the stream ends once they are in the queue.
    ending: Option<Failure>,
    /// The reader took nothing when last asked, and what does not fit is dropped.
    flood: Option<Flood>,
    /// Until when the upstream is not read, for the others' sake.
    rest: Option<Instant>,
    /// Until when the reader may come before the overflow rule acts.
    patience: Option<Instant>,
    held_since: Option<Instant>,
    held: Duration,
    heartbeats: u64,
    /// Bytes read since the pump last waited.
    share: u64,
    /// Bytes and events that the queue was not told of yet.
    came: Came,
    /// What was read went into the queue, and nobody there had anything else to tell.
    pushed: bool,
    /// Who is woken by the reader, the stop and the timer.
    task: Option<Waker>,
    /// Takes of the reader that the queue has told of.
    seen: u64,
    last_push: Instant,
    last_read: Instant,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump")
            .field("pipeline", &self.pipeline)
            .finish_non_exhaustive()
    }
}

/// What the pump woke up for.
enum Wake {
    Read(Result<bool, Failure>),
    Queue,
    Stop(End),
    Timer,
}

impl Pump {
    /// A pump before its first read.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            source,
            pipeline,
            queue,
            table,
            heartbeat,
            stop,
            observer,
            reader,
        } = parts;
        let now = Instant::now();
        Self {
            source: Some(source),
            pipeline,
            queue,
            table,
            heartbeat,
            stop,
            observer,
            reader,
            meter: Meter::default(),
            blocked: Vec::new(),
            ending: None,
            flood: None,
            rest: None,
            patience: None,
            held_since: None,
            held: Duration::ZERO,
            heartbeats: 0,
            share: 0,
            came: Came::default(),
            pushed: false,
            task: None,
            seen: 0,
            last_push: now,
            last_read: now,
        }
    }

    /// Runs the stream to its end, tells the client how it ended, and waits until the client has it all.
    /// [`Pump::linger`] may follow.
    pub async fn run(&mut self) -> Report {
        let failure = self.flow().await;
        let now = Instant::now();
        self.held += self
            .held_since
            .map_or(Duration::ZERO, |since| now.duration_since(since));
        if failure.end != End::Finished {
            // Before anything else: this is what cancels the upstream call.
            self.source = None;
        }
        let left = self.queue.status().reader_gone_at;
        let failure = self.part(failure).await;
        let status = self.queue.status();
        let mut counts = status.counts;
        for item in &self.blocked {
            if let Some(count) = counts.unsent.get_mut(item.event.class.index()) {
                *count += 1;
            }
        }
        Report {
            end: failure.end,
            code: failure.code,
            dialect: self.pipeline.dialect(),
            framing: self.pipeline.framing(),
            meter: self.meter.clone(),
            queue: counts,
            unmet: status.unmet,
            held: self.held,
            heartbeats: self.heartbeats,
            cancelled_after: left.map(|left| left.elapsed()),
        }
    }

    async fn flow(&mut self) -> Failure {
        let timer = sleep_until(self.next_timer());
        tokio::pin!(timer);
        let mut chunks = Vec::new();
        loop {
            let wake = poll_fn(|cx| self.poll_wake(cx, timer.as_mut(), &mut chunks)).await;
            let now = Instant::now();
            let read = matches!(wake, Wake::Read(_));
            let mut step = match wake {
                Wake::Read(result) => self.read(result, &mut chunks, now),
                Wake::Queue => self.room(now),
                Wake::Stop(end) => Some(end.into()),
                Wake::Timer => None,
            };
            let due = timer.deadline() <= now;
            if step.is_none() && due {
                // Whatever else there was to do: a flood must not outrun its deadlines.
                step = self.tick(now);
            }
            if let Some(failure) = step {
                return failure;
            }
            if read && self.flood.is_some() {
                self.flood = self.flood.take().filter(|_| self.queue.overflows());
                self.rest = self.flood.as_ref().and_then(|_| Flood::next_slot(now));
            }
            if self.rest.is_none() && self.share > SHARE_BYTES {
                self.share = 0;
                self.pushed = false;
                yield_now().await;
            }
            // Lazily: the timer moves only when it fired or something now comes earlier, which a read that was
            // pushed on hardly ever brings about.
            if self.table.take_sooner()
                || !read
                || self.patience.is_some()
                || self.rest.is_some()
                || due
            {
                let next = self.next_timer();
                if due || next < timer.deadline() {
                    timer.as_mut().reset(next);
                    self.pushed = false;
                }
            }
        }
    }

    fn poll_wake(
        &mut self,
        cx: &mut Context<'_>,
        timer: Pin<&mut Sleep>,
        chunks: &mut Vec<Bytes>,
    ) -> Poll<Wake> {
        let blocked = !self.blocked.is_empty();
        let pushed = std::mem::take(&mut self.pushed);
        if !blocked
            && self.rest.is_none()
            && let Some(source) = &mut self.source
            && let Poll::Ready(result) = source.poll_read(cx, chunks)
        {
            return Poll::Ready(Wake::Read(result));
        }
        self.share = 0;
        let known = (self.task.as_ref()).is_some_and(|task| task.will_wake(cx.waker()));
        if pushed && known && !blocked {
            // The upstream is what woke the pump. The others have its waker, and the push would have told.
            return Poll::Pending;
        }
        if !known {
            self.task = Some(cx.waker().clone());
        }
        if (self.queue.poll_change(cx, &mut self.seen, blocked)).is_ready() {
            return Poll::Ready(Wake::Queue);
        }
        if let Poll::Ready(end) = self.stop.poll(cx) {
            return Poll::Ready(Wake::Stop(end));
        }
        timer.poll(cx).map(|()| Wake::Timer)
    }

    /// What one read brought: events to the queue, or the end.
    fn read(
        &mut self,
        result: Result<bool, Failure>,
        chunks: &mut Vec<Bytes>,
        now: Instant,
    ) -> Option<Failure> {
        let mut items = ITEMS.take();
        let step = self.take_in(result, chunks, &mut items, now);
        items.clear();
        items.shrink_to(KEEP_ITEMS);
        ITEMS.set(items);
        step
    }

    fn take_in(
        &mut self,
        result: Result<bool, Failure>,
        chunks: &mut Vec<Bytes>,
        items: &mut Vec<Item>,
        now: Instant,
    ) -> Option<Failure> {
        self.table.note_read(now);
        let mut fault = None;
        let mut bytes = 0;
        for chunk in chunks.drain(..) {
            bytes += chunk.len() as u64;
            if fault.is_none() {
                fault = self.pipeline.feed(chunk, items).err();
            }
        }
        let ended = match (&result, fault) {
            (_, Some(Fault::Corrupt)) => Some(End::UpstreamError.into()),
            (_, Some(Fault::TooLarge)) => Some(End::TooLarge.into()),
            _ if self.pipeline.terminal().is_some() => None,
            (Ok(true), None) => None,
            (Ok(false), None) => match self.pipeline.finish(items) {
                Verdict::Complete if self.pipeline.terminal().is_some() => None,
                Verdict::Complete => Some(Failure::from(End::Finished)),
                Verdict::Truncated => Some(End::Truncated.into()),
            },
            (Err(failure), None) => match self.pipeline.finish(items) {
                // The dialect's own end was there; how the transport ended does not matter.
                Verdict::Complete if self.pipeline.terminal().is_some() => None,
                _ => Some(failure.clone()),
            },
        };
        self.share += bytes;
        self.meter.bytes_in += bytes;
        self.came.bytes += bytes;
        self.came.events += items.len() as u64;
        let gap = self
            .meter
            .observe(items, self.pipeline.take_heartbeats(), now);
        self.observer.read(Arrived {
            items,
            gap,
            last: self.last_read,
            now,
            dialect: self.pipeline.dialect(),
        });
        self.last_read = now;
        if items.iter().any(|item| is_content(&item.event)) {
            self.table.note_content(now);
        }
        self.ending = ended;
        self.push(items, now).or_else(|| self.ended())
    }

    /// How the stream ends, once every event before its end is in the queue.
    fn ended(&mut self) -> Option<Failure> {
        if !self.blocked.is_empty() {
            return None;
        }
        self.ending.take().or_else(|| self.terminal())
    }

    /// The end that the upstream's own terminal event means.
    fn terminal(&self) -> Option<Failure> {
        match self.pipeline.terminal()? {
            Terminal::Done | Terminal::MayEnd => Some(End::Finished.into()),
            Terminal::Error => Some(End::UpstreamError.into()),
        }
    }

    fn push(&mut self, items: &mut Vec<Item>, now: Instant) -> Option<Failure> {
        if items.is_empty() {
            return None;
        }
        let batch = items
            .iter()
            .map(|item| (item.frame.block.as_ref(), &item.event));
        let came = std::mem::take(&mut self.came);
        let pushed = self.queue.push(batch, came, now);
        self.last_push = now;
        self.note_waiting(pushed.waiting_since);
        match pushed.batch {
            Batch::Accepted => {
                items.clear();
                self.pushed = !pushed.alarmed;
            }
            Batch::Disconnect => {
                return Some(Failure {
                    message:
                        "the client reads too slowly: its queue is full (overflow: disconnect)"
                            .to_owned(),
                    ..End::ClientStalled.into()
                });
            }
            Batch::Full(position) => self.block(items, position, now),
            Batch::Wait(position) => {
                self.patience = Some(now + PATIENCE);
                self.block(items, position, now);
            }
        }
        None
    }

    /// From `position` on, `items` must wait: the upstream is not read meanwhile.
    fn block(&mut self, items: &mut Vec<Item>, position: usize, now: Instant) {
        self.blocked.extend(items.drain(..).skip(position));
        self.held_since.get_or_insert(now);
        self.table.hold();
    }

    /// The reader took something, or is gone.
    fn room(&mut self, now: Instant) -> Option<Failure> {
        let status = self.queue.status();
        if status.reader_gone {
            return Some(End::ClientGone.into());
        }
        self.note_waiting(status.waiting_since.max(status.in_hand));
        self.unblock(now)
    }

    /// Once more to the queue with what waits outside.
    fn unblock(&mut self, now: Instant) -> Option<Failure> {
        self.patience = None;
        if self.blocked.is_empty() {
            return None;
        }
        let mut waiting = std::mem::take(&mut self.blocked);
        let pushed = self.push(&mut waiting, now);
        if pushed.is_none() && self.blocked.is_empty() {
            self.held += self
                .held_since
                .take()
                .map_or(Duration::ZERO, |since| now.duration_since(since));
            self.table.release(now);
            return self.ended();
        }
        pushed
    }

    /// A deadline has passed, or it is time for a heartbeat, or the timer was early.
    fn tick(&mut self, now: Instant) -> Option<Failure> {
        let status = self.queue.status();
        self.note_waiting(status.waiting_since.max(status.in_hand));
        if let Some(end) = self.table.expired(now) {
            // An answer that may be complete, and nothing came after it: it was.
            let silence = matches!(
                end,
                End::FirstEventTimeout | End::IdleTimeout | End::ProgressTimeout
            );
            let end = if silence && self.pipeline.may_end() {
                End::Finished
            } else {
                end
            };
            if end == End::FirstEventTimeout
                && let Some(source) = &mut self.source
            {
                source.blame();
            }
            return Some(end.into());
        }
        if self.rest.is_some_and(|rest| rest <= now) {
            self.rest = None;
        }
        if self.patience.is_some_and(|patience| patience <= now) {
            self.queue.give_up();
            self.flood.get_or_insert_with(Flood::new);
            return self.unblock(now);
        }
        if let Some(at) = self.next_heartbeat()
            && at <= now
        {
            let dialect = self.pipeline.dialect();
            self.last_push = now;
            if let Some(bytes) = dialect.heartbeat(self.pipeline.framing())
                && self.queue.heartbeat(bytes, now)
            {
                self.heartbeats += 1;
                self.observer.heartbeat();
            }
        }
        None
    }

    /// Something waits since `since`; what the connection still takes counts as progress.
    fn note_waiting(&mut self, since: Option<Instant>) {
        // In that order: nothing, or something of either, or of both, of which the later counts.
        self.table
            .note_waiting(since.max(self.reader.last_progress()));
    }

    fn next_timer(&self) -> Instant {
        let others = [self.next_heartbeat(), self.patience, self.rest];
        let deadline = self.table.next();
        others.into_iter().flatten().fold(deadline, Instant::min)
    }

    fn next_heartbeat(&self) -> Option<Instant> {
        (!self.heartbeat.is_zero()).then(|| self.last_push + self.heartbeat)
    }
}

#[cfg(test)]
mod tests;
