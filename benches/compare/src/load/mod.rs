//! The load generator: one thread that opens streams, counts their stamps, and checks that each is as requested.

mod chunked;
mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::event::epoll::EventFlags;

use crate::ask::Ask;
use crate::clock;
use crate::net::{self, Moved, Poll};

use stream::{Progress, Stream};

/// The most connections that are opened at once: fewer than every listener's backlog.
const OPENING: usize = 128;

/// Deviations from what was asked, and how often each occurred.
pub type Errors = BTreeMap<String, u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Reads all bytes as soon as they arrive.
    Eager,
    /// Never reads.
    Stalled,
}

#[derive(Debug)]
pub struct Load {
    poll: Poll,
    to: SocketAddr,
    /// Streams that wait until others are connected.
    queue: VecDeque<(Ask, Reader)>,
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// Streams whose request was sent and whose response has not begun.
    opening: usize,
    begun: usize,
    ended: u64,
    received: u64,
    /// Deviations from what was asked.
    errors: Errors,
    /// Whether an ended stream is replaced by another of its kind.
    pub again: bool,
    /// Whether latencies are recorded.
    pub recording: bool,
    pub latency: Histogram<u64>,
    happened: Vec<(u64, EventFlags)>,
    buffer: Vec<u8>,
}

impl Load {
    pub fn new(to: SocketAddr) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            to,
            queue: VecDeque::new(),
            streams: Vec::new(),
            free: Vec::new(),
            opening: 0,
            begun: 0,
            ended: 0,
            received: 0,
            errors: Errors::new(),
            again: false,
            recording: false,
            // Up to one minute, with three digits.
            latency: Histogram::new_with_max(60 * clock::SECOND, 3)?,
            happened: Vec::new(),
            buffer: vec![0; 64 << 10],
        })
    }

    pub fn open(&mut self, ask: Ask, reader: Reader) {
        self.queue.push_back((ask, reader));
    }

    /// Returns the number of streams whose response has begun and not ended. A stalled reader's stream counts once its
    /// request is written.
    pub fn running(&self) -> usize {
        self.begun
    }

    /// Returns the number of streams that ended, for any reason.
    pub fn ended(&self) -> u64 {
        self.ended
    }

    /// Returns the number of stamps received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns the number of streams asked for, connected or not.
    pub fn asked(&self) -> usize {
        self.queue.len() + self.streams.len() - self.free.len()
    }

    pub fn received_by(&self, id: u64) -> u32 {
        self.find(id).map_or(0, Stream::received)
    }

    fn find(&self, id: u64) -> Option<&Stream> {
        self.streams
            .iter()
            .flatten()
            .find(|stream| stream.ask.id == id)
    }

    pub fn error(&mut self, what: impl Into<String>, times: u64) {
        if times > 0 {
            *self.errors.entry(what.into()).or_default() += times;
        }
    }

    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// Closes a stream before its end, and returns when.
    pub fn leave(&mut self, id: u64) -> Option<u64> {
        let slot = self
            .streams
            .iter()
            .position(|stream| stream.as_ref().is_some_and(|s| s.ask.id == id))?;
        let at = clock::now();
        self.remove(slot);
        Some(at)
    }

    pub fn leave_all(&mut self) {
        self.queue.clear();
        for slot in 0..self.streams.len() {
            self.remove(slot);
        }
    }

    /// Runs until `done` or `deadline`. Returns whether it is done.
    pub fn until(&mut self, deadline: u64, mut done: impl FnMut(&Self) -> bool) -> Result<bool> {
        loop {
            if done(self) {
                return Ok(true);
            }
            let now = clock::now();
            if now >= deadline {
                return Ok(false);
            }
            self.turn(deadline - now)?;
        }
    }

    /// Runs for `nanoseconds`.
    pub fn during(&mut self, nanoseconds: u64) -> Result<()> {
        self.until(clock::now() + nanoseconds, |_| false)
            .map(|_| ())
    }

    fn turn(&mut self, longest: u64) -> Result<()> {
        let ended = self.ended;
        while self.opening < OPENING
            && let Some((ask, reader)) = self.queue.pop_front()
        {
            self.connect(ask, reader)?;
        }
        // A connection that was refused at once counts as an event, so do not wait.
        let longest = if self.ended == ended { longest } else { 0 };
        let mut happened = std::mem::take(&mut self.happened);
        self.poll
            .wait(Some(&clock::timespec(longest)), &mut happened)?;
        for (slot, flags) in happened.drain(..) {
            self.look(slot as usize, flags)?;
        }
        self.happened = happened;
        Ok(())
    }

    fn connect(&mut self, ask: Ask, reader: Reader) -> Result<()> {
        let socket =
            net::connect(self.to).with_context(|| format!("cannot connect to {}", self.to))?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        let mut stream = Stream::new(socket, ask, reader);
        self.opening += 1;
        let progress = stream.write();
        // On one machine the connection is usually established at once, and the request fits in the send buffer.
        let flags = if stream.writing() {
            EventFlags::OUT
        } else {
            wanted(reader)
        };
        self.poll.add(&stream.socket, slot as u64, flags)?;
        self.streams[slot] = Some(stream);
        self.progressed(slot, progress);
        Ok(())
    }

    fn look(&mut self, slot: usize, flags: EventFlags) -> Result<()> {
        let Some(stream) = &mut self.streams[slot] else {
            return Ok(());
        };
        if stream.writing() {
            let progress = stream.write();
            if !stream.writing() {
                self.poll
                    .modify(&stream.socket, slot as u64, wanted(stream.reader))?;
            }
            self.progressed(slot, progress);
            return Ok(());
        }
        if stream.reader == Reader::Stalled {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                self.progressed(
                    slot,
                    Progress::Broken("connection of a stalled reader closed".to_owned()),
                );
            }
            return Ok(());
        }
        let progress = match net::read(&stream.socket, &mut self.buffer) {
            Moved::Nothing => return Ok(()),
            Moved::Closed => stream.closed(),
            Moved::Bytes(count) => {
                let now = clock::now();
                let (received, recording, latency) =
                    (&mut self.received, self.recording, &mut self.latency);
                stream.read(&self.buffer[..count], |stamp| {
                    *received += 1;
                    if recording {
                        latency.saturating_record(now.saturating_sub(stamp.sent));
                    }
                })
            }
        };
        self.progressed(slot, progress);
        Ok(())
    }

    fn progressed(&mut self, slot: usize, progress: Progress) {
        match progress {
            Progress::Nothing => {}
            Progress::Begins => {
                self.opening -= 1;
                self.begun += 1;
            }
            Progress::Ended { began, wrong } => {
                if began {
                    self.opening -= 1;
                    self.begun += 1;
                }
                for what in wrong {
                    self.error(what, 1);
                }
                self.over(slot);
            }
            Progress::Broken(what) => {
                self.error(what, 1);
                self.over(slot);
            }
        }
    }

    fn over(&mut self, slot: usize) {
        self.ended += 1;
        if let Some((ask, reader)) = self.remove(slot)
            && self.again
        {
            self.open(ask, reader);
        }
    }

    fn remove(&mut self, slot: usize) -> Option<(Ask, Reader)> {
        let stream = self.streams.get_mut(slot)?.take()?;
        if stream.begun() {
            self.begun -= 1;
        } else {
            self.opening -= 1;
        }
        self.free.push(slot);
        Some((stream.ask, stream.reader))
    }
}

fn wanted(reader: Reader) -> EventFlags {
    match reader {
        Reader::Eager => EventFlags::IN,
        // Errors are always reported.
        Reader::Stalled => EventFlags::empty(),
    }
}
