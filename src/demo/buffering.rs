//! A proxy that behaves as many intermediaries do unless they are told otherwise, to compare Weir with.
//!
//! It holds what the agent sends until it has [`HELD_BYTES`] or [`HELD_FOR`] has passed, heads included. It ends an
//! answer after [`MAX_SILENCE`] without a byte. When its client leaves, it reads the answer on to its end. It passes
//! bytes and knows nothing of what they mean; each connection serves one request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Request, Status};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::tasks;

/// How much is collected before any of it is passed on, unless it has waited for [`HELD_FOR`].
const HELD_BYTES: usize = 4096;
/// How long what was collected waits at most.
const HELD_FOR: Duration = Duration::from_secs(2);
/// Silence of the agent after which an answer is cut.
const MAX_SILENCE: Duration = Duration::from_secs(4);

/// Further connections are closed at once.
const MAX_CONNECTIONS: usize = 64;
const MAX_REQUEST_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes nothing for this long has left.
const CLIENT_STALL: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(180);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Room for what is held and for one read.
const BUFFER_BYTES: usize = 4 * HELD_BYTES;
/// Buffers of the sockets, which the kernel doubles. Large ones would hide for how long a slow client holds the agent
/// up.
const SOCKET_BYTES: u32 = 64 * 1024;

/// Serves the proxy for as long as its runtime.
pub(super) async fn serve(listener: std::net::TcpListener, agent: SocketAddr) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        tasks::spawn(async move {
            // What breaks concerns only its client.
            let _ = timeout(LONGEST, exchange(client, agent)).await;
            drop(place);
        });
    }
}

async fn exchange(mut client: TcpStream, agent: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    SockRef::from(&client).set_send_buffer_size(SOCKET_BYTES as usize)?;
    let request = timeout(REQUEST_WITHIN, read_request(&mut client)).await??;
    let socket = match agent {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Set before connecting, because the TCP handshake fixes the window scale.
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    let mut agent = socket.connect(agent).await?;
    agent.write_all(&request).await?;
    relay(agent, client).await
}

/// Reads a request, and returns it as it goes to the agent.
async fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut got = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        if let Some(request) = whole_request(&got)? {
            return Ok(request);
        }
        if got.len() >= MAX_REQUEST_BYTES {
            return Err(invalid("the request is too large"));
        }
        if client.read_buf(&mut got).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Returns the request as it goes to the agent, once all of it is there. The agent is told to close after its answer:
/// its end is then the end of the connection.
fn whole_request(got: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let parsed = request
        .parse(got)
        .map_err(|error| invalid(&error.to_string()))?;
    let (Status::Complete(head), Some(method), Some(path)) = (parsed, request.method, request.path)
    else {
        return Ok(None);
    };
    let mut length = 0;
    let mut out = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n").into_bytes();
    for header in &*request.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("connection") || is("keep-alive") {
            continue;
        }
        if is("transfer-encoding") {
            return Err(invalid("requests need a length"));
        }
        if is("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default();
            length = text
                .parse::<usize>()
                .map_err(|_| invalid("the length of the request is no number"))?;
        }
        out.extend_from_slice(header.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(header.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    let body = got.get(head..).unwrap_or_default();
    let Some(body) = body.get(..length) else {
        return Ok(None);
    };
    out.extend_from_slice(body);
    Ok(Some(out))
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Passes the answer on in the manner of this proxy, to its end.
async fn relay<A, C>(mut agent: A, client: C) -> io::Result<()>
where
    A: AsyncRead + Unpin,
    C: AsyncWrite + Unpin,
{
    let mut client = Client(Some(client));
    let mut held = BytesMut::with_capacity(BUFFER_BYTES);
    let mut silent_at = Instant::now() + MAX_SILENCE;
    let mut due: Option<Instant> = None;
    loop {
        let wake = due.map_or(silent_at, |due| due.min(silent_at));
        let is_due = match timeout_at(wake, agent.read_buf(&mut held)).await {
            Ok(Ok(0)) => {
                client.send(&mut held).await;
                return client.close().await;
            }
            Ok(read) => {
                read?;
                let now = Instant::now();
                silent_at = now + MAX_SILENCE;
                let due = *due.get_or_insert(now + HELD_FOR);
                held.len() >= HELD_BYTES || now >= due
            }
            // The client sees a connection that ends in the middle of an answer.
            Err(_) if Instant::now() >= silent_at => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => true,
        };
        if is_due {
            let began = Instant::now();
            client.send(&mut held).await;
            due = None;
            // While the client took its time, the agent was not listened to.
            silent_at += began.elapsed();
        }
    }
}

/// The client, until it has left.
#[derive(Debug)]
struct Client<C>(Option<C>);

impl<C: AsyncWrite + Unpin> Client<C> {
    /// Passes on what is held, or throws it away if nobody is there any more.
    async fn send(&mut self, held: &mut BytesMut) {
        if let Some(client) = &mut self.0 {
            let written = timeout(CLIENT_STALL, client.write_all(held)).await;
            if !matches!(written, Ok(Ok(()))) {
                self.0 = None;
            }
        }
        held.clear();
    }

    async fn close(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Some(client) => client.shutdown().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    /// An agent and a client with the proxy between them, and the end of the proxy.
    fn between() -> (DuplexStream, DuplexStream, JoinHandle<io::Result<()>>) {
        let (agent, from_agent) = duplex(1 << 16);
        let (to_client, client) = duplex(1 << 16);
        (agent, client, tasks::spawn(relay(from_agent, to_client)))
    }

    #[tokio::test(start_paused = true)]
    async fn it_holds_what_it_gets_for_a_while() {
        let (mut agent, mut client, _proxy) = between();
        let began = Instant::now();
        agent.write_all(b"data: one\n\n").await.unwrap();
        sleep(Duration::from_millis(500)).await;
        agent.write_all(b"data: two\n\n").await.unwrap();
        let mut got = [0; 22];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(began.elapsed(), HELD_FOR);
        assert_eq!(&got, b"data: one\n\ndata: two\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn it_passes_on_at_once_what_is_large() {
        let (mut agent, mut client, _proxy) = between();
        let began = Instant::now();
        agent.write_all(&[b'x'; HELD_BYTES]).await.unwrap();
        let mut got = [0; HELD_BYTES];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn it_cuts_silence() {
        let (mut agent, mut client, proxy) = between();
        let began = Instant::now();
        agent.write_all(b"data: one\n\n").await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"data: one\n\n");
        assert_eq!(began.elapsed(), MAX_SILENCE);
        let error = proxy.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(agent.write_all(b"x").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn it_reads_on_when_its_client_has_left() {
        let (mut agent, client, proxy) = between();
        drop(client);
        for _ in 0..1000 {
            agent.write_all(&[b'x'; 1000]).await.unwrap();
        }
        drop(agent);
        proxy.await.unwrap().unwrap();
    }

    #[test]
    fn a_request_is_passed_on_when_it_is_whole() {
        let request = b"POST /a?b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..request.len() {
            assert!(whole_request(&request[..cut]).unwrap().is_none(), "{cut}");
        }
        let passed = whole_request(request).unwrap().unwrap();
        let wanted =
            "POST /a?b HTTP/1.1\r\nconnection: close\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8(passed).unwrap(), wanted);
        for bad in ["GET\r\n\r\n", "GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n"] {
            assert!(whole_request(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
