//! The mock model: a single-threaded HTTP/1.1 server that streams what a request asks for.

mod compressed;
mod connection;
mod server;
mod text;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rustix::event::EventfdFlags;

use crate::clock;

/// What the model reports while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The request of this stream has arrived, and the head was sent unless it is held back.
    Started { id: u64 },
    /// The peer closed the connection of this stream before its end.
    Left { id: u64, at: u64 },
}

/// State shared by the model's thread and its owner.
#[derive(Debug, Default)]
struct Shared {
    finish: AtomicBool,
    stop: AtomicBool,
    /// Stamped events that were handed to the kernel or wait to be.
    sent: AtomicU64,
    /// Bytes that the kernel took, for streams that asked to be counted.
    counted: AtomicU64,
    /// Running streams.
    live: AtomicU64,
}

#[derive(Debug)]
pub struct Model {
    pub address: SocketAddr,
    pub notes: Receiver<Note>,
    shared: Arc<Shared>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Model {
    pub fn start() -> Result<Self> {
        let address = crate::net::free_address()?;
        let shared = Arc::<Shared>::default();
        let bell = Arc::new(rustix::event::eventfd(
            0,
            EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?);
        let (teller, notes) = channel();
        let server = server::Server::new(address, Arc::clone(&shared), Arc::clone(&bell), teller)?;
        let thread = std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || server.run())?;
        Ok(Self {
            address,
            notes,
            shared,
            bell,
            thread: Some(thread),
        })
    }

    /// Ends every stream that was not given a number of events.
    pub fn finish(&self) {
        self.shared.finish.store(true, Relaxed);
        self.ring();
    }

    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }

    pub fn counted(&self) -> u64 {
        self.shared.counted.load(Relaxed)
    }

    pub fn live(&self) -> u64 {
        self.shared.live.load(Relaxed)
    }

    /// Waits until no stream runs, so that one measurement does not disturb the next.
    pub fn settle(&self) -> Result<()> {
        let end = clock::now() + 10 * clock::SECOND;
        while self.live() > 0 {
            if clock::now() > end {
                bail!("{} streams of the model do not end", self.live());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        while self.notes.try_recv().is_ok() {}
        Ok(())
    }

    fn ring(&self) {
        // This fails only if the bell was rung already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    pub fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Relaxed);
        self.ring();
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(anyhow!("the model panicked")),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}
