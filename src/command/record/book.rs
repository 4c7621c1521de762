//! Writes exchanges to the file of a recording, and reports the progress to people.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::file::Target;
use crate::config::rough_size;
use crate::log::printable;
use crate::recording::message::{RequestHead, ResponseHead};
use crate::recording::redact::Redaction;
use crate::recording::write::{Error, Writer};
use crate::recording::{BodyFraming, Ended, Ending, MAX_SIZE, Request, Response, field};
use crate::session::unix_time;
use crate::translate::rfc3339;

/// How often a terminal shows the progress of a response.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// A recording that is being written.
pub(super) struct Book {
    inner: Mutex<Inner>,
    redaction: Redaction,
    /// Nothing more is recorded.
    is_over: watch::Sender<bool>,
}

struct Inner {
    writer: Writer<Target>,
    name: String,
    max_bytes: u64,
    live: BTreeMap<u64, Live>,
    begun: u64,
    say: Box<dyn FnMut(&str) + Send>,
    is_terminal: bool,
    told_at: Option<Instant>,
    problem: Option<String>,
}

/// A response that has not ended.
struct Live {
    /// When the request was sent.
    sent: Instant,
    reads: u64,
    bytes: u64,
}

/// The heads of an exchange.
pub(super) struct Heads<'a> {
    pub(super) request: &'a RequestHead,
    pub(super) asks_for: Option<String>,
    pub(super) response: &'a ResponseHead,
    pub(super) framing: BodyFraming,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").finish_non_exhaustive()
    }
}

impl Book {
    /// Begins a recording of at most `max_bytes` in `file`.
    pub(super) fn begin(
        file: Target,
        name: &str,
        max_bytes: u64,
        redaction: Redaction,
        say: Box<dyn FnMut(&str) + Send>,
    ) -> Result<Self, Error> {
        let recorded = rfc3339(unix_time().saturating_mul(1000));
        let by = concat!("weir ", env!("CARGO_PKG_VERSION"));
        let writer = Writer::begin(file, max_bytes, &recorded, by)?;
        Ok(Self {
            inner: Mutex::new(Inner {
                writer,
                name: name.to_owned(),
                max_bytes,
                live: BTreeMap::new(),
                begun: 0,
                say,
                is_terminal: stderr().is_terminal(),
                told_at: None,
                problem: None,
            }),
            redaction,
            is_over: watch::Sender::new(false),
        })
    }

    /// Reports something to people, on a separate line.
    pub(super) fn say(&self, text: &str) {
        self.lock().line(text);
    }

    /// Returns a URL without credentials.
    pub(super) fn shown(&self, url: &str) -> String {
        self.redaction.url(url)
    }

    /// Writes the heads of an exchange whose request was sent at `sent`. Returns its number, or `None` if nothing more
    /// is recorded.
    pub(super) fn heads(&self, heads: Heads<'_>, sent: Instant, now: Instant) -> Option<u64> {
        let Heads {
            request,
            asks_for,
            response,
            framing,
        } = heads;
        let kind = field(&response.fields, "content-type").unwrap_or("no content type");
        let status = response.status;
        let kind = kind.to_owned();
        let request = Request {
            method: request.method.clone(),
            target: self.redaction.url(&request.target),
            fields: self.redaction.fields(&request.fields),
            asks_for,
        };
        let response = Response {
            at: micros(sent, now),
            status,
            reason: response.reason.clone(),
            fields: self.redaction.fields(&response.fields),
            framing,
        };
        let mut inner = self.lock();
        if *self.is_over.borrow() {
            return None;
        }
        match inner.writer.heads(&request, &response) {
            Ok(number) => {
                inner.begun = number;
                let live = Live {
                    sent,
                    reads: 0,
                    bytes: 0,
                };
                inner.live.insert(number, live);
                let after = seconds(now.duration_since(sent));
                inner.line(&format!(
                    "{number}  {} {}: {status} {kind}, {}, head after {after}",
                    request.method,
                    request.target,
                    framing.as_str(),
                ));
                Some(number)
            }
            Err(error) => {
                self.give_up(&mut inner, &error);
                None
            }
        }
    }

    /// Writes some bytes of a body.
    pub(super) fn piece(&self, number: u64, bytes: &[u8], now: Instant) {
        let mut inner = self.lock();
        let Some(live) = inner.live.get_mut(&number) else {
            return;
        };
        let at = micros(live.sent, now);
        live.reads += 1;
        live.bytes += bytes.len() as u64;
        if let Err(error) = inner.writer.piece(number, at, bytes) {
            self.give_up(&mut inner, &error);
            return;
        }
        inner.show_progress(number, now);
    }

    /// Writes how an exchange ended.
    pub(super) fn end(&self, number: u64, how: Ending, reason: Option<&str>, now: Instant) {
        let mut inner = self.lock();
        if let Err(error) = inner.end(number, how, reason, now) {
            self.give_up(&mut inner, &error);
        }
    }

    /// Ends all exchanges, because nothing more is recorded.
    pub(super) fn stop(&self, reason: &str) {
        self.is_over.send_replace(true);
        let mut inner = self.lock();
        if let Err(error) = inner.end_all(reason) {
            inner.problem.get_or_insert_with(|| error.to_string());
        }
    }

    /// Waits until nothing more is recorded.
    pub(super) async fn over(&self) {
        let mut changes = self.is_over.subscribe();
        // The sender is as old as the book.
        let _ = changes.wait_for(|is_over| *is_over).await;
    }

    /// Reports to people what the file holds. Returns the number of exchanges.
    pub(super) fn close(&self) -> u64 {
        let mut inner = self.lock();
        let count = inner.begun;
        if count > 0 {
            let noun = if count == 1 { "exchange" } else { "exchanges" };
            let size = rough_size(inner.writer.bytes());
            let text = format!("{}: {count} {noun}, {size}", inner.name);
            inner.line(&text);
        }
        count
    }

    /// Returns why the recording is not complete, if it is not.
    pub(super) fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Stops because a line could not be written.
    fn give_up(&self, inner: &mut Inner, error: &Error) {
        let name = &inner.name;
        let problem = match error {
            Error::Full => format!(
                "{name} has reached --max-size ({}): nothing more is recorded; the file is valid up to there",
                rough_size(inner.max_bytes)
            ),
            Error::Io(error) => format!("{name}: {error}: nothing more is recorded"),
        };
        inner.problem.get_or_insert(problem);
        self.is_over.send_replace(true);
        // A file that cannot be written cannot get its ends either.
        let _ = inner.end_all(MAX_SIZE);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is complete when the lock is released, so a poisoned lock is harmless.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn end(
        &mut self,
        number: u64,
        how: Ending,
        reason: Option<&str>,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(live) = self.live.remove(&number) else {
            return Ok(());
        };
        let ended = Ended {
            at: micros(live.sent, now),
            how,
            reason: reason.map(ToOwned::to_owned),
        };
        self.writer.end(number, &ended)?;
        let why = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
        let size = rough_size(live.bytes);
        let after = seconds(now.duration_since(live.sent));
        self.line(&format!(
            "{number}  {}{why}: {}, {size}, {after}",
            how.as_str(),
            reads(live.reads)
        ));
        Ok(())
    }

    fn end_all(&mut self, reason: &str) -> Result<(), Error> {
        let now = Instant::now();
        let numbers: Vec<u64> = self.live.keys().copied().collect();
        for number in numbers {
            self.end(number, Ending::Truncated, Some(reason), now)?;
        }
        Ok(())
    }

    fn line(&mut self, text: &str) {
        let clear = if self.told_at.take().is_some() {
            "\r\x1b[K"
        } else {
            ""
        };
        // The content type and the target come from peers.
        (self.say)(&format!("{clear}{}\n", printable(text)));
    }

    /// Shows how far a response has come, on a terminal, in a line that is written over.
    fn show_progress(&mut self, number: u64, now: Instant) {
        let is_due = self
            .told_at
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if !self.is_terminal || !is_due {
            return;
        }
        let Some(live) = self.live.get(&number) else {
            return;
        };
        let text = format!(
            "\r\x1b[K{number}  {}, {}, {}",
            reads(live.reads),
            rough_size(live.bytes),
            seconds(now.saturating_duration_since(live.sent))
        );
        (self.say)(&text);
        self.told_at = Some(now);
    }
}

fn reads(count: u64) -> String {
    let noun = if count == 1 { "read" } else { "reads" };
    format!("{count} {noun}")
}

fn micros(since: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u64::MAX)
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.3} s", time.as_secs_f64())
    }
}
