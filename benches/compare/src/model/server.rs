//! The event loop of the model: which streams are due, which sockets can take more, which peers have left.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;

use anyhow::Result;
use rustix::event::epoll::EventFlags;

use crate::ask::{Ask, Hold};
use crate::clock;
use crate::net::{self, Poll};

use super::connection::{Connection, State, period};
use super::text::Text;
use super::{Note, Shared};

const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

#[derive(Debug)]
pub(super) struct Server {
    poll: Poll,
    listener: OwnedFd,
    bell: Arc<OwnedFd>,
    shared: Arc<Shared>,
    notes: Sender<Note>,
    text: Text,
    /// Slots are reused. The generation of a slot tells which stream a timer was for.
    connections: Vec<Slot>,
    free: Vec<usize>,
    /// Paced streams: when due, slot, generation.
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
    /// Unpaced streams whose socket can take more: slot, generation.
    ready: VecDeque<(usize, u64)>,
    buffer: Vec<u8>,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    generation: u64,
}

impl Server {
    pub(super) fn new(
        address: SocketAddr,
        shared: Arc<Shared>,
        bell: Arc<OwnedFd>,
        notes: Sender<Note>,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let listener = net::listen(address)?;
        poll.add(&listener, LISTENER, EventFlags::IN)?;
        poll.add(&bell, BELL, EventFlags::IN)?;
        Ok(Self {
            poll,
            listener,
            bell,
            shared,
            notes,
            text: Text::new(),
            connections: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            ready: VecDeque::new(),
            buffer: vec![0; 64 << 10],
        })
    }

    pub(super) fn run(mut self) -> Result<()> {
        // By default the kernel delays a wake-up by up to 50 us to combine it with others. Here that would be jitter.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut happened = Vec::new();
        while !self.shared.stop.load(Relaxed) {
            let timeout = if self.ready.is_empty() {
                self.due
                    .peek()
                    .map(|Reverse((due, ..))| due.saturating_sub(clock::now()))
            } else {
                Some(0)
            };
            self.poll
                .wait(timeout.map(clock::timespec).as_ref(), &mut happened)?;
            for (token, flags) in happened.drain(..) {
                match token {
                    LISTENER => self.accept()?,
                    BELL => self.rung(),
                    token => self.happened(token as usize, flags),
                }
            }
            self.send_due();
            self.send_ready();
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        while let Some(socket) = net::accept(&self.listener) {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(Slot::default());
                self.connections.len() - 1
            });
            // Edge-triggered: one registration covers both directions without further system calls.
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            self.poll.add(&socket, slot as u64, flags)?;
            self.connections[slot].connection = Some(Connection::new(socket));
        }
        Ok(())
    }

    fn rung(&mut self) {
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        if self.shared.finish.swap(false, Relaxed) {
            for slot in 0..self.connections.len() {
                let Some(connection) = &mut self.connections[slot].connection else {
                    continue;
                };
                if connection
                    .stream
                    .as_ref()
                    .is_some_and(|stream| stream.ask.is_endless())
                {
                    let state = connection.end(&self.text);
                    self.became(slot, state);
                }
            }
        }
    }

    fn happened(&mut self, slot: usize, flags: EventFlags) {
        let Some(connection) = &mut self.connections[slot].connection else {
            return;
        };
        if flags.intersects(EventFlags::OUT) && connection.waits() {
            let state = connection.flush();
            count(&self.shared, connection);
            match state {
                State::Goes => self.goes(slot),
                state => self.became(slot, state),
            }
        }
        let closing = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(closing)
            && let Some(connection) = &mut self.connections[slot].connection
        {
            let state = connection.readable(&mut self.buffer);
            self.became(slot, state);
        }
    }

    /// Continues a stream after all waiting bytes were taken, if it is not paced.
    fn goes(&mut self, slot: usize) {
        let Slot {
            connection: Some(connection),
            generation,
        } = &self.connections[slot]
        else {
            return;
        };
        if connection
            .stream
            .as_ref()
            .is_some_and(|stream| flat_out(&stream.ask))
        {
            self.ready.push_back((slot, *generation));
        }
    }

    fn became(&mut self, slot: usize, state: State) {
        let Slot {
            connection,
            generation,
        } = &mut self.connections[slot];
        match state {
            State::Waits | State::Goes => {}
            State::Begins => {
                let Some(stream) = connection
                    .as_ref()
                    .and_then(|connection| connection.stream.as_ref())
                else {
                    return;
                };
                let Ask { id, hold, .. } = stream.ask;
                self.shared.live.fetch_add(1, Relaxed);
                let _ = self.notes.send(Note::Started { id });
                if hold != Hold::Nothing {
                    return;
                }
                if flat_out(&stream.ask) {
                    self.ready.push_back((slot, *generation));
                } else {
                    self.due.push(Reverse((stream.due, slot, *generation)));
                }
            }
            State::Ended => {
                // Timers of the ended stream no longer match; the connection may carry the next stream.
                *generation += 1;
                self.shared.live.fetch_sub(1, Relaxed);
                if let Some(connection) = connection {
                    let next = connection.answer();
                    self.became(slot, next);
                }
            }
            State::Closed => {
                *generation += 1;
                let stream = connection
                    .take()
                    .and_then(|mut connection| connection.stream.take());
                self.free.push(slot);
                if let Some(stream) = stream {
                    self.shared.live.fetch_sub(1, Relaxed);
                    let _ = self.notes.send(Note::Left {
                        id: stream.ask.id,
                        at: clock::now(),
                    });
                }
            }
        }
    }

    fn send_due(&mut self) {
        while let Some(Reverse((due, slot, generation))) = self.due.peek().copied() {
            if due > clock::now() {
                break;
            }
            self.due.pop();
            if self.connections[slot].generation != generation {
                continue;
            }
            let state = self.send(slot);
            if let Slot {
                connection: Some(connection),
                generation: same,
            } = &mut self.connections[slot]
                && *same == generation
                && let Some(stream) = &mut connection.stream
                && state != State::Closed
            {
                stream.due += period(&stream.ask) * u64::from(stream.ask.batch);
                self.due.push(Reverse((stream.due, slot, generation)));
            }
        }
    }

    fn send_ready(&mut self) {
        // One write per stream, then the sockets are polled again, as if the streams were separate writers sharing a
        // core.
        for _ in 0..self.ready.len() {
            let Some((slot, generation)) = self.ready.pop_front() else {
                break;
            };
            if self.connections[slot].generation == generation && self.send(slot) == State::Goes {
                self.ready.push_back((slot, generation));
            }
        }
    }

    fn send(&mut self, slot: usize) -> State {
        let Some(connection) = &mut self.connections[slot].connection else {
            return State::Waits;
        };
        let mut sent = 0;
        let state = connection.events(&self.text, &mut sent);
        if sent > 0 {
            self.shared.sent.fetch_add(sent, Relaxed);
        }
        count(&self.shared, connection);
        self.became(slot, state);
        state
    }
}

fn count(shared: &Shared, connection: &mut Connection) {
    let handed = std::mem::take(&mut connection.handed);
    if connection
        .stream
        .as_ref()
        .is_some_and(|stream| stream.ask.count)
    {
        shared.counted.fetch_add(handed, Relaxed);
    }
}

fn flat_out(ask: &Ask) -> bool {
    ask.rate == 0 && ask.hold == Hold::Nothing
}
