//! Sockets and epoll for the model, the load generator and the relay.

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

/// The result of a non-blocking read or write.
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
    // Not write(2): writing to a closed connection must not raise SIGPIPE.
    match rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL) {
        Ok(count) => Moved::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Moved::Nothing,
        Err(_) => Moved::Closed,
    }
}

/// Opens a listener whose address several threads may share.
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

/// Starts to connect. The first write shows whether it succeeded.
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

/// Bounds the kernel's send buffer. The kernel doubles the number to allow for its own bookkeeping.
pub fn set_send_buffer(socket: impl AsFd, bytes: usize) {
    // A refused bound shows in the measurement.
    let _ = sockopt::set_socket_send_buffer_size(socket, bytes);
}

/// Returns a local address that nobody listens on.
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

    /// Waits for events and puts them into `happened`. Returns after `timeout` at the latest; `None` waits forever.
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
