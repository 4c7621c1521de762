//! The baseline: a relay that copies bytes between two sockets and does nothing else.
//!
//! It costs the system calls that any proxy must make. What a proxy costs above it is due to what the proxy does with
//! the bytes. The relay runs as its own process, so its time is measured like that of the others.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::{Result, anyhow};
use rustix::event::epoll::EventFlags;

use crate::net::{self, Moved, Poll};

/// The number of threads: as many as the other targets have workers.
const THREADS: usize = 2;
const LISTENER: u64 = u64::MAX;
/// The index of the client's side in a pair.
const CLIENT: usize = 0;

#[derive(Debug)]
struct Pair {
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    /// Bytes that this side has not taken yet. The other side is not read until it has.
    waiting: Vec<u8>,
}

pub fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let threads: Vec<_> = (0..THREADS)
        .map(|_| std::thread::spawn(move || serve(listen, upstream)))
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow!("a thread of the relay panicked"))??;
    }
    Ok(())
}

fn serve(listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
    let poll = Poll::new()?;
    // Each thread has its own listener for the same address, and the kernel distributes the connections.
    let listener = net::listen(listen)?;
    poll.add(&listener, LISTENER, EventFlags::IN)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut happened = Vec::new();
    loop {
        poll.wait(None, &mut happened)?;
        let mut closed = Vec::new();
        for (token, flags) in happened.drain(..) {
            if token == LISTENER {
                while let Some(client) = net::accept(&listener) {
                    let Ok(server) = net::connect(upstream) else {
                        continue;
                    };
                    let pair = free.pop().unwrap_or_else(|| {
                        pairs.push(None);
                        pairs.len() - 1
                    });
                    let sides = [client, server].map(|socket| Side {
                        socket,
                        waiting: Vec::new(),
                    });
                    let flags =
                        EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    for (side, token) in sides.iter().zip(pair as u64 * 2..) {
                        poll.add(&side.socket, token, flags)?;
                    }
                    pairs[pair] = Some(Pair { sides });
                }
                continue;
            }
            let at = (token / 2) as usize;
            if let Some(pair) = &mut pairs[at]
                && !pair.happened((token % 2) as usize, flags, &mut buffer)
            {
                pairs[at] = None;
                closed.push(at);
            }
        }
        // Slots are freed only here: a slot must not be reused while events of its last pair remain to be handled.
        free.append(&mut closed);
    }
}

impl Pair {
    /// Handles an event on one side. Returns whether the pair lives on.
    fn happened(&mut self, side: usize, flags: EventFlags, buffer: &mut [u8]) -> bool {
        let closing = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if closing && side == CLIENT {
            // Bytes for a client that left are discarded.
            return false;
        }
        // An edge is reported once and says little, so first write what this side can take, then read what it has.
        let had = !self.sides[side].waiting.is_empty();
        if !self.flush(side) {
            return false;
        }
        let freed = had && self.sides[side].waiting.is_empty();
        if freed && !self.copy(1 - side, false, buffer) {
            return false;
        }
        self.copy(side, closing, buffer)
    }

    fn flush(&mut self, side: usize) -> bool {
        let Side { socket, waiting } = &mut self.sides[side];
        if waiting.is_empty() {
            return true;
        }
        match net::write(socket, waiting) {
            Moved::Bytes(count) => drop(waiting.drain(..count)),
            Moved::Nothing => {}
            Moved::Closed => return false,
        }
        true
    }

    fn copy(&mut self, from: usize, to_the_end: bool, buffer: &mut [u8]) -> bool {
        while self.sides[1 - from].waiting.is_empty() {
            let count = match net::read(&self.sides[from].socket, buffer) {
                Moved::Bytes(count) => count,
                Moved::Nothing => return true,
                Moved::Closed => return false,
            };
            let Side { socket, waiting } = &mut self.sides[1 - from];
            match net::write(socket, &buffer[..count]) {
                Moved::Bytes(taken) => waiting.extend_from_slice(&buffer[taken..count]),
                Moved::Nothing => waiting.extend_from_slice(&buffer[..count]),
                Moved::Closed => return false,
            }
            if count < buffer.len() && !to_the_end {
                // All bytes were read, and later ones raise another edge. But the end may have come with this one.
                return true;
            }
        }
        true
    }
}
