//! A tap: passes requests to an agent and its responses back, byte for byte, and records the responses.
//!
//! One connection of a client has one connection to the agent, as without the tap. Only the head of a request changes:
//! `Host` names the agent, and the path of its URL stands before the target.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::book::Book;
use super::exchange::{Exchange, lock};
use super::place::{Place, Wire};
use super::sent_request::SentRequest;
use super::{Problem, failed, usage};
use crate::config::{self, Address, Endpoint};
use crate::recording::message::{BodyReader, RequestHead, request_head};
use crate::recording::{CLIENT_LEFT, CLOSED, Ending};
use crate::tasks;

/// The most clients at once. Others wait until one leaves.
const MAX_CONNECTIONS: usize = 256;
/// The largest head of a request, and the most that a client may send ahead.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How long a client may take for the head of its next request.
const HEAD_WITHIN: Duration = Duration::from_secs(120);
/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// The pause after a connection could not be accepted, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A tap that is ready to run.
#[derive(Debug)]
pub(super) struct Tap {
    listener: std::net::TcpListener,
    place: Arc<Place>,
}

impl Tap {
    /// Listens on `address` for clients of the agent at `place`.
    pub(super) fn bind(address: &str, place: Place) -> Result<Self, Problem> {
        let wrong = |why: String| usage(format!("--listen: {why}"));
        let Address::Tcp(address) = config::read_listen(address).map_err(wrong)? else {
            return Err(wrong("expected HOST:PORT, not a Unix socket".to_owned()));
        };
        let listener = std::net::TcpListener::bind(address)
            .map_err(|error| failed(format!("--listen {address}: {error}")))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            place: Arc::new(place),
        })
    }

    /// Serves clients until the recording is over, and then those whose responses have not ended.
    pub(super) async fn run(self, book: &Arc<Book>) -> Result<(), Problem> {
        let listener = TcpListener::from_std(self.listener)?;
        let address = listener.local_addr()?;
        book.say(&format!(
            "recording what {} answers; the tap listens on http://{address}, Ctrl-C stops it",
            self.place.endpoint.authority
        ));
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepting = async {
                // Never closed.
                let permit = Arc::clone(&places).acquire_owned().await.ok();
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                accepted = accepting => accepted,
                () = book.over() => break,
            };
            let Ok((client, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let connection = Connection {
                book: Arc::clone(book),
                place: Arc::clone(&self.place),
            };
            tasks::spawn(async move {
                let _permit = permit;
                connection.serve(client).await;
            });
        }
        drop(listener);
        // All places are free again once the last client has left.
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let _ = places.acquire_many(all).await;
        Ok(())
    }
}

/// A client's connection.
struct Connection {
    book: Arc<Book>,
    place: Arc<Place>,
}

/// How an exchange ended, for the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The client's connection is reset.
    Breaks,
    Closes,
    GoesOn,
}

impl Connection {
    async fn serve(&self, mut client: TcpStream) {
        // A socket without the option works, too.
        let _ = client.set_nodelay(true);
        let mut buffer = Vec::new();
        let mut agent: Option<Box<dyn Wire>> = None;
        loop {
            let head = tokio::select! {
                head = next_head(&mut client, &mut buffer, agent.as_mut()) => head,
                () = self.book.over(), if buffer.is_empty() => return,
            };
            let (head, length) = match head {
                Ok(Some(found)) => found,
                Ok(None) => return,
                Err(why) => return refuse(&mut client, "400 Bad Request", &why).await,
            };
            let mut wire = match agent.take() {
                Some(wire) => wire,
                None => match self.place.dial().await {
                    Ok(wire) => wire,
                    Err(problem) => {
                        self.say_missing(&head, &problem.message);
                        return refuse(&mut client, "502 Bad Gateway", &problem.message).await;
                    }
                },
            };
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            let bytes = addressed(&bytes, &self.place.endpoint);
            let after = self
                .exchange(&mut client, &mut buffer, &mut wire, head, &bytes)
                .await;
            match after {
                After::Breaks => return,
                After::Closes => {
                    let _ = client.shutdown().await;
                    return;
                }
                After::GoesOn => agent = Some(wire),
            }
        }
    }

    /// Passes one request and its response on.
    async fn exchange(
        &self,
        client: &mut TcpStream,
        buffer: &mut Vec<u8>,
        wire: &mut Box<dyn Wire>,
        head: RequestHead,
        bytes: &[u8],
    ) -> After {
        let body = match BodyReader::of_request(&head) {
            Ok(body) => body,
            Err(malformed) => {
                refuse(client, "400 Bad Request", &malformed.to_string()).await;
                return After::Closes;
            }
        };
        let closes = head.closes();
        let request = Mutex::new(SentRequest::new(head));
        let upgraded = AtomicBool::new(false);
        let (client_read, mut client_write) = client.split();
        let (agent_read, mut agent_write) = tokio::io::split(wire);
        // If the agent does not take the head, its answer may say why.
        let _ = agent_write.write_all(bytes).await;
        let _ = agent_write.flush().await;
        let sent = Instant::now();
        let mut exchange = Exchange::new(&self.book, &request, sent);
        let mut upload = Upload {
            client: client_read,
            agent: agent_write,
            buffer,
            body,
            request: &request,
            upgraded: &upgraded,
        };
        let outcome = tokio::select! {
            outcome = download(agent_read, &mut client_write, &mut exchange, &upgraded) => outcome,
            () = upload.run() => Download::ClientLeft,
        };
        let is_sent = upload.body.is_done();
        drop(upload);
        let now = Instant::now();
        if !exchange.has_head() {
            self.say_missing(&lock(&request).head, outcome.before_a_head());
        }
        match outcome {
            Download::Done => {
                let both_stay = !closes && !exchange.closes() && is_sent;
                return if both_stay {
                    After::GoesOn
                } else {
                    After::Closes
                };
            }
            Download::ClientLeft => exchange.end(Ending::Truncated, Some(CLIENT_LEFT), now),
            Download::Closed if exchange.may_close() => exchange.end(Ending::Clean, None, now),
            Download::Closed => exchange.end(Ending::Truncated, Some(CLOSED), now),
            // Its end was written where it was noticed.
            Download::Malformed => {}
            Download::Reset => {
                exchange.end(Ending::Reset, None, now);
                // The client sees what one without the tap would see.
                let _ = client.set_zero_linger();
                return After::Breaks;
            }
        }
        After::Closes
    }

    /// Reports to people which request has no response in the file, and why.
    fn say_missing(&self, head: &RequestHead, why: &str) {
        let target = self.book.shown(&head.target);
        self.book
            .say(&format!("{} {target}: not recorded: {why}", head.method));
    }
}

/// Reads the head of the next request into `buffer`; `None` if the client or the agent leaves instead.
async fn next_head(
    client: &mut TcpStream,
    buffer: &mut Vec<u8>,
    mut agent: Option<&mut Box<dyn Wire>>,
) -> Result<Option<(RequestHead, usize)>, String> {
    let reading = async {
        let mut bytes = vec![0; READ_BYTES];
        loop {
            match request_head(buffer) {
                Ok(Some((head, length))) => {
                    if !head.target.starts_with('/') && head.target != "*" {
                        return Err("the tap takes requests with a path only".to_owned());
                    }
                    return Ok(Some((head, length)));
                }
                Ok(None) => {}
                Err(malformed) => return Err(malformed.to_string()),
            }
            if buffer.len() > MAX_HEAD_BYTES {
                return Err(format!("the head has more than {MAX_HEAD_BYTES} bytes"));
            }
            let mut unasked = [0];
            let read = match &mut agent {
                // An agent that closes an idle connection closes the client's.
                Some(wire) if buffer.is_empty() => tokio::select! {
                    read = client.read(&mut bytes) => read,
                    _ = wire.read(&mut unasked) => return Ok(None),
                },
                _ => client.read(&mut bytes).await,
            };
            match read {
                Ok(0) | Err(_) => return Ok(None),
                Ok(count) => buffer.extend(bytes.iter().take(count)),
            }
        }
    };
    timeout(HEAD_WITHIN, reading).await.unwrap_or(Ok(None))
}

/// Answers a request that cannot be passed on.
async fn refuse(client: &mut TcpStream, status: &str, why: &str) {
    let body = format!("weir record: {why}\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // The client may have left.
    let _ = client.write_all(answer.as_bytes()).await;
    let _ = client.shutdown().await;
}

/// Returns the head of a request as it is sent to the agent.
fn addressed(head: &[u8], endpoint: &Endpoint) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + endpoint.authority.len());
    for (index, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let space = line.iter().position(|byte| *byte == b' ');
        let target = space.and_then(|space| line.split_at_checked(space + 1));
        if let Some((method, target)) = target
            && index == 0
            && target.starts_with(b"/")
        {
            out.extend(method);
            out.extend(endpoint.path_prefix.as_bytes());
            out.extend(target);
            continue;
        }
        let name = line.split_at_checked(b"host:".len()).map(|(name, _)| name);
        match name {
            Some(name) if name.eq_ignore_ascii_case(b"host:") => {
                out.extend(name);
                out.extend(b" ");
                out.extend(endpoint.authority.as_bytes());
                out.extend(b"\r\n");
            }
            _ => out.extend(line),
        }
    }
    out
}

/// The way from the client to the agent.
struct Upload<'a, C, A> {
    client: C,
    agent: A,
    /// Bytes of the client that were not passed on yet.
    buffer: &'a mut Vec<u8>,
    body: BodyReader,
    request: &'a Mutex<SentRequest>,
    upgraded: &'a AtomicBool,
}

impl<C: AsyncRead + Unpin, A: AsyncWrite + Unpin> Upload<'_, C, A> {
    /// Passes the body on, and then waits until the client leaves. What it sends ahead stays in the buffer.
    async fn run(&mut self) {
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let is_raw = self.upgraded.load(Ordering::Relaxed);
            if !self.buffer.is_empty() && (is_raw || !self.body.is_done()) {
                let ready = std::mem::take(self.buffer);
                let used = if is_raw {
                    ready.len()
                } else {
                    let taken = self.body.take(&ready);
                    lock(self.request).read(&taken.body);
                    if taken.broken.is_some() {
                        return;
                    }
                    taken.used
                };
                let (pass, rest) = ready
                    .split_at_checked(used)
                    .unwrap_or((ready.as_slice(), [].as_slice()));
                self.buffer.extend_from_slice(rest);
                let passed = async {
                    self.agent.write_all(pass).await?;
                    self.agent.flush().await
                };
                if passed.await.is_err() {
                    // Its answer may say why it takes no more.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if self.buffer.len() >= MAX_HEAD_BYTES {
                // It waits for its turn; that it leaves is noticed when something is written to it.
                std::future::pending::<()>().await;
            }
            match self.client.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(count) => self.buffer.extend(bytes.iter().take(count)),
            }
        }
    }
}

/// How passing a response to the client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Download {
    ClientLeft,
    /// The agent closed the connection.
    Closed,
    /// The response is complete.
    Done,
    Malformed,
    /// The connection to the agent broke.
    Reset,
}

impl Download {
    /// Returns what happened, if it happened before the head of a response.
    const fn before_a_head(self) -> &'static str {
        match self {
            Self::ClientLeft => "the client left before a response came",
            Self::Closed | Self::Done => "the agent closed the connection before its response",
            Self::Malformed => "the agent did not send an HTTP/1.1 response",
            Self::Reset => "the connection to the agent broke before a response came",
        }
    }
}

/// Passes one response on, as it comes, and records it.
async fn download(
    mut agent: impl AsyncRead + Unpin,
    client: &mut (impl AsyncWrite + Unpin),
    exchange: &mut Exchange<'_>,
    upgraded: &AtomicBool,
) -> Download {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = agent.read(&mut buffer).await;
        let now = Instant::now();
        let bytes = match read {
            Ok(0) => return Download::Closed,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(_) => return Download::Reset,
        };
        let taken = exchange.take(bytes, now);
        // Before the client can answer in the other protocol.
        upgraded.store(exchange.is_upgraded(), Ordering::Relaxed);
        let written = async {
            client.write_all(bytes).await?;
            client.flush().await
        };
        if written.await.is_err() {
            return Download::ClientLeft;
        }
        match taken {
            Err(_) => return Download::Malformed,
            // What follows a complete response belongs to nobody.
            Ok(used) if exchange.is_done() && used < bytes.len() => return Download::Closed,
            Ok(_) if exchange.is_done() => return Download::Done,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_changes_in_the_head_of_a_request() {
        let head = b"POST /v1/chat?key=1 HTTP/1.1\r\nHOST: 127.0.0.1:9\r\nX-Odd:  a \xe9\r\n\r\n";
        let to = |url: &str| config::read_endpoint(url).unwrap();
        let sent = addressed(head, &to("https://api.example.com/openai"));
        let expected =
            b"POST /openai/v1/chat?key=1 HTTP/1.1\r\nHOST: api.example.com\r\nX-Odd:  a \xe9\r\n\r\n";
        assert_eq!(sent, expected);
        let sent = addressed(b"OPTIONS * HTTP/1.1\r\n\r\n", &to("http://a/b"));
        assert_eq!(sent, b"OPTIONS * HTTP/1.1\r\n\r\n");
    }
}
