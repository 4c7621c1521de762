//! Requests whose answer is no stream: a number of connections that stay open, each with one request at a time.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::event::epoll::EventFlags;

use crate::ask::Ask;
use crate::clock;
use crate::net::{self, Moved, Poll};

use super::Errors;

#[derive(Debug)]
pub struct Requests {
    poll: Poll,
    to: SocketAddr,
    /// What each connection sends again and again.
    request: Vec<u8>,
    connections: Vec<Connection>,
    answered: u64,
    errors: Errors,
    /// Whether latencies are recorded.
    pub recording: bool,
    /// From the first byte of the request to the last one of the answer.
    pub latency: Histogram<u64>,
    happened: Vec<(u64, EventFlags)>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    begun: u64,
    written: usize,
    answer: Answer,
}

/// An answer that is arriving.
#[derive(Debug, Default)]
struct Answer {
    head: Vec<u8>,
    /// The part of the body that is missing, once the head is complete.
    left: Option<usize>,
}

impl Requests {
    /// Opens `width` connections, on each of which `ask` is sent with a body of `size` bytes.
    pub fn new(to: SocketAddr, width: usize, ask: &Ask, size: usize) -> Result<Self> {
        let mut requests = Self {
            poll: Poll::new()?,
            to,
            request: post(ask, size),
            connections: Vec::new(),
            answered: 0,
            errors: Errors::new(),
            recording: false,
            latency: Histogram::new_with_max(60 * clock::SECOND, 3)?,
            happened: Vec::new(),
            buffer: vec![0; 64 << 10],
        };
        for _ in 0..width {
            let connection = requests.connect(requests.connections.len())?;
            requests.connections.push(connection);
        }
        Ok(requests)
    }

    /// Returns the number of requests that were answered as they should be.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// Runs for `nanoseconds`.
    pub fn during(&mut self, nanoseconds: u64) -> Result<()> {
        let end = clock::now() + nanoseconds;
        loop {
            let now = clock::now();
            if now >= end {
                return Ok(());
            }
            let mut happened = std::mem::take(&mut self.happened);
            self.poll
                .wait(Some(&clock::timespec(end - now)), &mut happened)?;
            for (index, _) in happened.drain(..) {
                self.look(index as usize)?;
            }
            self.happened = happened;
        }
    }

    fn connect(&self, index: usize) -> Result<Connection> {
        let socket =
            net::connect(self.to).with_context(|| format!("cannot connect to {}", self.to))?;
        let both = EventFlags::IN | EventFlags::OUT;
        self.poll.add(&socket, index as u64, both)?;
        Ok(Connection {
            socket,
            begun: clock::now(),
            written: 0,
            answer: Answer::default(),
        })
    }

    fn look(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let request = &self.request;
        if connection.written < request.len() {
            if !connection.write(request) {
                return self.replace(index, "connection closed during a request");
            }
            if connection.written < request.len() {
                return Ok(());
            }
            // A socket that can take more would be reported all the time.
            self.poll
                .modify(&connection.socket, index as u64, EventFlags::IN)?;
        }
        let count = match net::read(&connection.socket, &mut self.buffer) {
            Moved::Nothing => return Ok(()),
            Moved::Closed => return self.replace(index, "connection closed before an answer"),
            Moved::Bytes(count) => count,
        };
        match connection.answer.feed(&self.buffer[..count]) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let now = clock::now();
                if self.recording {
                    self.latency
                        .saturating_record(now.saturating_sub(connection.begun));
                }
                self.answered += 1;
                (connection.begun, connection.written) = (now, 0);
                connection.answer = Answer::default();
                if !connection.write(request) {
                    return self.replace(index, "connection closed between requests");
                }
                if connection.written < request.len() {
                    let both = EventFlags::IN | EventFlags::OUT;
                    self.poll.modify(&connection.socket, index as u64, both)?;
                }
                Ok(())
            }
            Err(what) => self.replace(index, &what),
        }
    }

    /// Opens a new connection in place of one that is useless.
    fn replace(&mut self, index: usize, what: &str) -> Result<()> {
        *self.errors.entry(what.to_owned()).or_default() += 1;
        // The old one is closed, and so leaves the poll.
        self.connections[index] = self.connect(index)?;
        Ok(())
    }
}

impl Connection {
    /// Writes what the kernel takes. Returns whether the connection lives.
    fn write(&mut self, request: &[u8]) -> bool {
        while self.written < request.len() {
            match net::write(&self.socket, &request[self.written..]) {
                Moved::Bytes(count) => self.written += count,
                Moved::Nothing => return true,
                Moved::Closed => return false,
            }
        }
        true
    }
}

impl Answer {
    /// Takes bytes of the answer. Returns whether it is complete, or what is wrong with it.
    fn feed(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let here = if let Some(left) = self.left {
            (left, bytes.len())
        } else {
            self.head.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else {
                return Ok(false);
            };
            let body = self.head.len() - (end + 4);
            (length(&self.head[..end])?, body)
        };
        match here {
            (left, count) if count > left => Err("answer with more than its length".to_owned()),
            (left, count) => {
                self.left = Some(left - count);
                Ok(left == count)
            }
        }
    }
}

/// Returns the length of the body that this head announces.
fn length(head: &[u8]) -> Result<usize, String> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("status {status}"));
    }
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(name, _)| *name == "content-length")
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| "answer without a length".to_owned())
}

/// Returns a request with a JSON body of `size` bytes, or the shortest that there is.
fn post(ask: &Ask, size: usize) -> Vec<u8> {
    let head = r#"{"model":"mock7","stream":false,"messages":[{"role":"user","content":""#;
    let tail = r#""}]}"#;
    let text = "x".repeat(size.saturating_sub(head.len() + tail.len()));
    format!(
        "POST {ask} HTTP/1.1\r\nHost: model.test\r\nUser-Agent: compare\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{head}{text}{tail}",
        head.len() + text.len() + tail.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_whatever_the_cut() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
        for cut in 1..whole.len() {
            let mut answer = Answer::default();
            assert_eq!(answer.feed(&whole[..cut]), Ok(false), "cut at {cut}");
            assert_eq!(answer.feed(&whole[cut..]), Ok(true), "cut at {cut}");
        }
        let told = |answer: &[u8]| Answer::default().feed(answer).unwrap_err();
        assert_eq!(told(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "status 502");
        assert_eq!(told(b"HTTP/1.1 200 OK\r\n\r\n"), "answer without a length");
    }

    #[test]
    fn a_body_has_its_size() {
        let whole = post(&Ask::default(), 5000);
        let at = memchr::memmem::find(&whole, b"\r\n\r\n").unwrap() + 4;
        assert_eq!(whole.len() - at, 5000);
        assert!(memchr::memmem::find(&whole, b"Content-Length: 5000\r\n").is_some());
    }
}
