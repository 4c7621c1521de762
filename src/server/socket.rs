//! Sockets: bound so that each worker has its own, tuned so that nothing hides in the kernel.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Send buffer towards a client. The kernel doubles it; what lies in it can no longer be joined or
/// dropped, so it bounds how late the queue's rules act on a client that stopped reading.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Unsent bytes above which the socket takes no more.
const NOT_SENT_BYTES: u32 = 16 * 1024;
const BACKLOG: i32 = 1024;

/// One listener per worker on `address`; port 0 is the same free port for all.
///
/// # Errors
/// When the address is in use, also by another Weir: the first socket is tried without sharing.
pub fn tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let exclusive = bind(address, false)?;
    let address = exclusive.local_addr()?;
    drop(exclusive);
    (0..workers.max(1)).map(|_| bind(address, true)).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Inherited by accepted sockets, and agreed on in their handshakes.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A Unix socket; one left behind by a process that is gone is replaced.
///
/// # Errors
/// When the path is in use, is another kind of file, or cannot be written.
pub fn unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let message = "there is a file that is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(_) if UnixStream::connect(path).is_err() => std::fs::remove_file(path)?,
        Ok(_) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Options of an accepted connection. `stall`: after this time without an acknowledgement the kernel
/// gives up, so that a vanished client is noticed although small heartbeats fit its buffers.
pub fn tune(socket: &tokio::net::TcpStream, stall: Duration) {
    let options = SockRef::from(socket);
    let results = [
        options.set_tcp_nodelay(true),
        options.set_tcp_notsent_lowat(NOT_SENT_BYTES),
        options.set_tcp_user_timeout(Some(stall)),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket option was refused");
    }
}
