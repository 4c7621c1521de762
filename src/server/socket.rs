//! Binds listening sockets, one for each worker, and tunes accepted ones so that little data hides in the
//! kernel.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Send buffer towards a client. The kernel doubles it. Events in it can no longer be joined or dropped, so
/// its size bounds how late the queue's rules act on a client that stopped reading.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Unsent bytes above which the socket takes no more.
const NOT_SENT_BYTES: u32 = 16 * 1024;
const BACKLOG: i32 = 1024;
/// Accepted sockets have all options of their listener, which saves two system calls for each.
const INHERIT_OPTIONS: bool = cfg!(target_os = "linux");
/// Why a Unix socket cannot be made: its path.
const NO_SOCKET: &str = "there is a file that is no socket";
/// Why a Unix socket cannot be made: the folder in its path.
pub(super) const NO_FOLDER: &str = "its folder does not exist";
/// Added to `client_stall` for the kernel's timeout of what a client does not acknowledge. The kernel counts from its
/// first retransmission, 0.2 to 0.6 s after the data was sent, so the connection ends within `client_stall` + 1 s.
const UNACKNOWLEDGED: Duration = Duration::from_millis(250);
/// Added to `client_stall` instead, while more data waits than the kernel takes. Weir then ends the stream itself, and
/// tells the client why; the kernel does not know the difference between a client that has vanished and one that does
/// not read.
const UNREAD: Duration = Duration::from_secs(5);

/// Binds one listener per worker to `address`. For port 0, all of them get the same free port.
///
/// # Errors
/// When the address is in use, also by another Weir: the first bind tries without `SO_REUSEPORT`.
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
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    if INHERIT_OPTIONS {
        send_at_once(&SockRef::from(&socket));
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Tries whether an address can be listened on, and leaves it as it is.
///
/// # Errors
/// When it is in use, or may not be used.
pub fn try_bind(address: SocketAddr) -> io::Result<()> {
    let kind = Some(Protocol::TCP);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, kind)?;
    socket.set_reuse_address(true)?;
    // Without `listen`: no client connects in this moment.
    socket.bind(&address.into())
}

/// Tries whether a Unix socket is one that a process listens on.
pub fn is_served(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Returns why a Unix socket cannot be listened on, as far as that shows without trying.
pub fn obstacle(path: &Path) -> Option<&'static str> {
    if is_served(path) {
        return Some("a process listens there");
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Some(NO_SOCKET),
        Ok(_) => None,
        Err(_) => {
            let has_folder = path.parent().is_some_and(Path::is_dir);
            (!has_folder).then_some(NO_FOLDER)
        }
    }
}

/// Binds a Unix socket. Replaces a socket that a process left behind when it ended.
///
/// # Errors
/// When the path is in use, is another kind of file, or cannot be written.
pub fn unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, NO_SOCKET));
        }
        Ok(_) if !is_served(path) => std::fs::remove_file(path)?,
        Ok(_) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Sets the options of an accepted connection. No request has set a `client_stall` yet; the longest one is
/// `stall`.
pub fn tune(socket: &tokio::net::TcpStream, stall: Duration) {
    if !INHERIT_OPTIONS {
        send_at_once(&SockRef::from(socket));
    }
    give_up_after(socket, Vanished { stall, full: true });
}

/// Lets all data leave at once, and little of it hide in the kernel.
fn send_at_once(socket: &SockRef<'_>) {
    let results = [
        socket.set_tcp_nodelay(true),
        socket.set_tcp_notsent_lowat(NOT_SENT_BYTES),
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket option was refused");
    }
}

/// When the kernel gives up a connection whose client acknowledges nothing, although small heartbeats still fit its
/// buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vanished {
    /// The `client_stall` in force.
    pub stall: Duration,
    /// More data waits than the kernel takes.
    pub full: bool,
}

/// Sets when the kernel gives up a connection.
pub fn give_up_after(socket: &tokio::net::TcpStream, Vanished { stall, full }: Vanished) {
    let limit = stall + if full { UNREAD } else { UNACKNOWLEDGED };
    if let Err(error) = SockRef::from(socket).set_tcp_user_timeout(Some(limit)) {
        tracing::debug!(%error, "a socket option was refused");
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn an_accepted_socket_sends_at_once() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = tcp(any, 1).unwrap().remove(0);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        tune(&accepted, Duration::from_secs(30));
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().unwrap());
        assert_eq!(options.tcp_notsent_lowat().unwrap(), NOT_SENT_BYTES);
        let timeout = options.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(35)));
    }
}
