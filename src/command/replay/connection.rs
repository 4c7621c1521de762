//! A client's connection: reads its requests, and plays the responses.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::pick::Picks;
use super::play::{Manner, Outcome, RequestFacts, play};
use super::script::Script;
use crate::recording::lists;
use crate::recording::message::{BodyReader, RequestHead, request_head};

/// The largest head of a request, and the most that a client may send ahead.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How long a client may take for the next part of its request.
const PART_WITHIN: Duration = Duration::from_secs(120);
/// How long a client may take to close a connection that is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// How long what was sent before a reset may take to arrive: a reset discards what the kernel has not sent.
const BEFORE_RESET: Duration = Duration::from_millis(20);
/// The most bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// What is played to all clients.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) scripts: Vec<Script>,
    pub(super) picks: Picks,
    pub(super) manner: Manner,
}

impl Stage {
    /// Serves one client until it leaves, or a response ends the connection.
    pub(super) async fn serve(&self, mut client: TcpStream) {
        // A socket without the option works, too.
        let _ = client.set_nodelay(true);
        let mut buffer = Vec::new();
        loop {
            let head = match request(&mut client, &mut buffer).await {
                Ok(Some(head)) => head,
                Ok(None) => return,
                Err(why) => {
                    refuse(&mut client, &why).await;
                    return close(&mut client).await;
                }
            };
            let path = head.target.split('?').next().unwrap_or_default();
            let index = self.picks.pick(&head.method, path);
            let Some(script) = self.scripts.get(index) else {
                return;
            };
            let facts = RequestFacts {
                at: Instant::now(),
                closes: head.closes(),
                is_old: head.is_old,
                is_head: head.method == "HEAD",
            };
            let (mut from, mut to) = client.split();
            let outcome = tokio::select! {
                outcome = play(&mut to, script, &self.manner, facts) => outcome,
                () = left(&mut from, &mut buffer) => Outcome::Gone,
            };
            match outcome {
                Outcome::Stays => {}
                Outcome::Closes => return close(&mut client).await,
                Outcome::Gone => return,
                Outcome::Resets => {
                    sleep(BEFORE_RESET).await;
                    let _ = client.set_zero_linger();
                    return;
                }
            }
        }
    }
}

/// Reads a request to the end of its body, which is discarded; `None` if the client leaves or takes too long.
async fn request(
    client: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> Result<Option<RequestHead>, String> {
    let head = loop {
        let found = request_head(buffer).map_err(|malformed| malformed.to_string())?;
        if let Some((head, length)) = found {
            buffer.drain(..length);
            break head;
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(format!("the head has more than {MAX_HEAD_BYTES} bytes"));
        }
        if !more(client, buffer).await {
            return Ok(None);
        }
    };
    let mut body = BodyReader::of_request(&head).map_err(|malformed| malformed.to_string())?;
    if !body.is_done() && lists(&head.fields, "expect", "100-continue") {
        // The client may have left.
        let _ = client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
    while !body.is_done() {
        let taken = body.take(buffer);
        if let Some(broken) = taken.broken {
            return Err(format!("malformed: {broken}"));
        }
        buffer.drain(..taken.used.min(buffer.len()));
        if !body.is_done() && !more(client, buffer).await {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// Reads more of a request. Returns false if nothing comes.
async fn more(client: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut bytes = vec![0; READ_BYTES];
    match timeout(PART_WITHIN, client.read(&mut bytes)).await {
        Ok(Ok(count)) if count > 0 => {
            buffer.extend(bytes.iter().take(count));
            true
        }
        _ => false,
    }
}

/// Waits until the client leaves. What it sends ahead stays in the buffer.
async fn left(client: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        if buffer.len() >= MAX_HEAD_BYTES {
            // That it leaves is noticed when something is written to it.
            std::future::pending::<()>().await;
        }
        match client.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend(bytes.iter().take(count)),
        }
    }
}

async fn refuse(client: &mut TcpStream, why: &str) {
    let body = format!("weir replay: {why}\n");
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // The client may have left.
    let _ = client.write_all(answer.as_bytes()).await;
}

/// Closes the connection. What the client still sends is read, because unread bytes would make a reset of it.
async fn close(client: &mut TcpStream) {
    let _ = client.shutdown().await;
    let mut bytes = vec![0; READ_BYTES];
    let reading =
        async { while matches!(client.read(&mut bytes).await, Ok(count) if count > 0) {} };
    let _ = timeout(CLOSE_WITHIN, reading).await;
}
