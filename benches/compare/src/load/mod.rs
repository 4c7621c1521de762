//! The load generator: one thread that opens streams, counts their stamps, and checks that each is as requested.

mod body;
mod chunked;
mod frame;
mod http2;
mod requests;
mod stream;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::event::epoll::EventFlags;

use crate::ask::Ask;
use crate::clock;
use crate::front::Front;
use crate::net::{self, Moved, Poll};
use crate::stamp::Stamp;

pub use requests::Requests;

use http2::{Change, Shared};
use stream::{Progress, Stream};
use wire::Connector;

/// The most connections that are opened at once: fewer than every listener's backlog.
const OPENING: usize = 128;
/// Streams on a connection of HTTP/2.
pub const EACH: usize = 100;

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
    front: Front,
    connector: Connector,
    /// Streams that wait until others are connected.
    queue: VecDeque<(Ask, Reader)>,
    lines: Vec<Option<Line>>,
    free: Vec<usize>,
    /// Streams that were begun to connect and have not ended.
    open: usize,
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

/// A connection.
#[derive(Debug)]
enum Line {
    /// With a stream of its own.
    One(Box<Stream>),
    /// With several, over HTTP/2.
    Many(Box<Shared>),
}

impl Load {
    /// For a server of plain HTTP/1.1.
    pub fn new(to: SocketAddr) -> Result<Self> {
        Self::at(Front::plain(to))
    }

    pub fn at(front: Front) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            front,
            connector: Connector::new(front.client)?,
            queue: VecDeque::new(),
            lines: Vec::new(),
            free: Vec::new(),
            open: 0,
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
        self.queue.len() + self.open
    }

    pub fn received_by(&self, id: u64) -> u32 {
        self.find(id).map_or(0, Stream::received)
    }

    /// Finds a stream that has a connection of its own.
    fn find(&self, id: u64) -> Option<&Stream> {
        self.lines.iter().flatten().find_map(|line| match line {
            Line::One(stream) if stream.ask.id == id => Some(&**stream),
            _ => None,
        })
    }

    pub fn error(&mut self, what: impl Into<String>, times: u64) {
        if times > 0 {
            *self.errors.entry(what.into()).or_default() += times;
        }
    }

    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// Closes a stream with a connection of its own before its end, and returns when.
    pub fn leave(&mut self, id: u64) -> Option<u64> {
        let slot = self
            .lines
            .iter()
            .position(|line| matches!(line, Some(Line::One(stream)) if stream.ask.id == id))?;
        let at = clock::now();
        self.remove(slot);
        Some(at)
    }

    pub fn leave_all(&mut self) {
        self.queue.clear();
        for slot in 0..self.lines.len() {
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
            if self.front.client.is_h2() {
                self.connect_many(ask)?;
            } else {
                self.connect(ask, reader)?;
            }
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
        let wire = self.connector.wire(self.socket()?)?;
        let slot = self.slot();
        let mut stream = Stream::new(wire, ask, reader, self.front.in_body);
        self.opening += 1;
        self.open += 1;
        let progress = stream.write();
        // On one machine the connection is usually established at once, and the request fits in the send buffer.
        let flags = if stream.writing() {
            EventFlags::OUT
        } else {
            wanted(reader)
        };
        self.poll.add(stream.wire.socket(), slot as u64, flags)?;
        self.lines[slot] = Some(Line::One(Box::new(stream)));
        self.progressed(slot, progress);
        Ok(())
    }

    /// Opens a connection for this stream and others that wait. All of their readers are eager.
    fn connect_many(&mut self, first: Ask) -> Result<()> {
        let mut asks = vec![first];
        while asks.len() < EACH
            && let Some((ask, _)) = self.queue.pop_front()
        {
            asks.push(ask);
        }
        let wire = self.connector.wire(self.socket()?)?;
        let slot = self.slot();
        self.opening += asks.len();
        self.open += asks.len();
        let mut shared = Shared::new(wire, asks);
        let changes = shared.write();
        let flags = shared.wanted();
        self.poll.add(shared.wire.socket(), slot as u64, flags)?;
        self.lines[slot] = Some(Line::Many(Box::new(shared)));
        self.changed(slot, changes);
        Ok(())
    }

    fn socket(&self) -> Result<OwnedFd> {
        let to = self.front.address;
        net::connect(to).with_context(|| format!("cannot connect to {to}"))
    }

    fn slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.lines.push(None);
            self.lines.len() - 1
        })
    }

    fn look(&mut self, slot: usize, flags: EventFlags) -> Result<()> {
        match &self.lines[slot] {
            None => Ok(()),
            Some(Line::One(_)) => self.look_at_one(slot, flags),
            Some(Line::Many(_)) => self.look_at_many(slot),
        }
    }

    fn look_at_one(&mut self, slot: usize, flags: EventFlags) -> Result<()> {
        let Some(Line::One(stream)) = &mut self.lines[slot] else {
            return Ok(());
        };
        if stream.writing() {
            let progress = stream.write();
            if !stream.writing() {
                self.poll
                    .modify(stream.wire.socket(), slot as u64, wanted(stream.reader))?;
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
        let progress = match stream.wire.read(&mut self.buffer) {
            Moved::Nothing => Progress::Nothing,
            Moved::Closed => stream.closed(),
            Moved::Bytes(count) => {
                let stamp = seen(&mut self.received, self.recording, &mut self.latency);
                stream.read(&self.buffer[..count], stamp)
            }
        };
        if stream.writing() {
            // What a handshake adds, if the kernel did not take it.
            self.poll
                .modify(stream.wire.socket(), slot as u64, EventFlags::OUT)?;
        }
        self.progressed(slot, progress);
        Ok(())
    }

    fn look_at_many(&mut self, slot: usize) -> Result<()> {
        let Some(Line::Many(shared)) = &mut self.lines[slot] else {
            return Ok(());
        };
        let had = shared.wanted();
        let mut changes = if shared.writing() {
            shared.write()
        } else {
            Vec::new()
        };
        match shared.wire.read(&mut self.buffer) {
            Moved::Nothing => {}
            Moved::Closed => changes.extend(shared.closed()),
            Moved::Bytes(count) => {
                let stamp = seen(&mut self.received, self.recording, &mut self.latency);
                changes.extend(shared.read(&self.buffer[..count], stamp));
            }
        }
        let wants = shared.wanted();
        if wants != had {
            self.poll.modify(shared.wire.socket(), slot as u64, wants)?;
        }
        self.changed(slot, changes);
        Ok(())
    }

    /// Handles what has become of the streams of a connection.
    fn changed(&mut self, slot: usize, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Begins => {
                    self.opening -= 1;
                    self.begun += 1;
                }
                Change::Ends { ask, begun, wrong } => {
                    if begun {
                        self.begun -= 1;
                    } else {
                        self.opening -= 1;
                    }
                    self.open -= 1;
                    self.ended += 1;
                    for what in wrong {
                        self.error(what, 1);
                    }
                    if self.again {
                        self.open(ask, Reader::Eager);
                    }
                }
            }
        }
        if matches!(&self.lines[slot], Some(Line::Many(shared)) if shared.is_over()) {
            self.remove(slot);
        }
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

    /// Closes a connection. Returns what its stream was asked, if it had one of its own.
    fn remove(&mut self, slot: usize) -> Option<(Ask, Reader)> {
        let line = self.lines.get_mut(slot)?.take()?;
        self.free.push(slot);
        let (begun, opening) = match &line {
            Line::One(stream) if stream.begun() => (1, 0),
            Line::One(_) => (0, 1),
            Line::Many(shared) => shared.open(),
        };
        self.begun -= begun;
        self.opening -= opening;
        self.open -= begun + opening;
        match line {
            Line::One(stream) => Some((stream.ask, stream.reader)),
            Line::Many(_) => None,
        }
    }
}

/// Returns what to do with a stamp that arrives now.
fn seen<'a>(
    received: &'a mut u64,
    recording: bool,
    latency: &'a mut Histogram<u64>,
) -> impl FnMut(Stamp) + use<'a> {
    let now = clock::now();
    move |stamp| {
        *received += 1;
        if recording {
            latency.saturating_record(now.saturating_sub(stamp.sent));
        }
    }
}

fn wanted(reader: Reader) -> EventFlags {
    match reader {
        Reader::Eager => EventFlags::IN,
        // Errors are always reported.
        Reader::Stalled => EventFlags::empty(),
    }
}
