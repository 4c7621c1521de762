//! Sockets and epoll, as the model, the load generator and the relay use them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

const SOCKET: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// What came of a read or a write that may not wait.
#[derive(Debug)]
pub enum Moved {
    Bytes(usize),
    Nothing,
    Closed,
}

pub fn read(socket: impl AsFd, buffer: &mut [u8]) -> Moved {
    match rustix::io::read(socket, buffer) {
        Ok(0) => Moved::Closed,
        Ok(count) => Moved::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR) => Moved::Nothing,
        Err(_) => Moved::Closed,
    }
}

pub fn write(socket: impl AsFd, bytes: &[u8]) -> Moved {
    // Not write(2): a peer that is gone must not raise a signal.
    match rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL) {
        Ok(count) => Moved::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Moved::Nothing,
        Err(_) => Moved::Closed,
    }
}

/// A listener that several threads may share an address of.
pub fn listen(address: SocketAddr) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SOCKET,
        Some(ipproto::TCP),
    )?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &address).with_context(|| format!("cannot listen on {address}"))?;
    rustix::net::listen(&socket, 4096)?;
    Ok(socket)
}

pub fn accept(listener: impl AsFd) -> Option<OwnedFd> {
    let socket = rustix::net::accept_with(listener, SOCKET).ok()?;
    sockopt::set_tcp_nodelay(&socket, true).ok()?;
    Some(socket)
}

/// Begins to connect; the first write finds out whether it worked.
pub fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SOCKET,
        Some(ipproto::TCP),
    )?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Bounds what the kernel keeps of what was written; it takes twice the number, for its own use too.
pub fn set_send_buffer(socket: impl AsFd, bytes: usize) {
    // A bound that is refused shows in what is measured.
    let _ = sockopt::set_socket_send_buffer_size(socket, bytes);
}

/// An address of this machine that nobody listens on.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub fn new() -> Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    pub fn add(&self, socket: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            flags,
        )?)
    }

    pub fn modify(&self, socket: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(token),
            flags,
        )?)
    }

    /// Puts what happened into `happened`, at the latest after `timeout`; `None` waits for ever.
    pub fn wait(
        &self,
        timeout: Option<&Timespec>,
        happened: &mut Vec<(u64, EventFlags)>,
    ) -> Result<()> {
        happened.clear();
        let mut events = [const { MaybeUninit::<Event>::uninit() }; 256];
        match epoll::wait(&self.epoll, &mut events, timeout) {
            Ok((events, _)) => {
                happened.extend(events.iter().map(|event| (event.data.u64(), event.flags)));
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
