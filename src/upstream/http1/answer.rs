//! How the head of a response is awaited, while its request is still being sent.

use std::io;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode, response};
use memchr::memmem;

use super::Connection;
use super::head::{self, Head, Length};
use super::read::{READ_BYTES, poll_read};
use super::state::State;
use super::upload::Cut;
use crate::upstream::error::Malformed;
use crate::upstream::progress::Failure;
use crate::upstream::trust::Doubt;
use crate::wire::chunked::Chunked;

/// A request of at most this size is read in one go by every server, whatever it answers.
const MOST_READ_BY_ALL: u64 = 16 * 1024;
/// Maximum number of reads in one poll that bring nothing but interim (1xx) heads.
const READS_PER_POLL: usize = 4;

impl Connection {
    /// Sends the request, and reads up to the end of the response head. Interim (1xx) heads are passed to `interim`.
    ///
    /// An upstream may answer before it has read the whole request, and close. A write then fails although the response
    /// can be read. So what has arrived is read before anything more is written, and a failed write only ends the
    /// upload: the response is awaited as usual.
    pub(in crate::upstream) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<response::Parts, Failure>> {
        // What arrives before the request is no answer to it.
        if self.upload.as_ref().is_some_and(|upload| upload.began())
            && let Poll::Ready(head) = self.poll_answer(cx, &mut interim)
        {
            return Poll::Ready(head);
        }
        if let Poll::Ready(Err(Cut)) = self.poll_upload(cx) {
            return Poll::Ready(Err(Failure::RequestBody));
        }
        self.poll_answer(cx, &mut interim)
    }

    /// Reads up to the end of the response head.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<response::Parts, Failure>> {
        for _ in 0..READS_PER_POLL {
            let before = self.unread.len();
            let failure = match ready!(self.poll_more(cx)) {
                Ok(0) => Failure::Reset(self.ended()),
                Ok(_) => match self.take_heads(before, interim) {
                    Ok(Some(head)) => return Poll::Ready(Ok(self.answered(head))),
                    Ok(None) => continue,
                    Err(malformed) => Failure::Malformed(malformed),
                },
                Err(error) => Failure::Reset(error),
            };
            return Poll::Ready(Err(failure));
        }
        // Yields to other tasks, and to the deadline of this call.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns why the connection ended before a response head.
    fn ended(&mut self) -> io::Error {
        let refused = self.refused.take();
        refused.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads once and appends to `unread`.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { io, unread, .. } = self;
        poll_read(io, cx, READ_BYTES, |bytes| {
            unread.extend_from_slice(bytes);
            bytes.len()
        })
    }

    /// Parses the heads in `unread`, and returns the final one once it is complete. The first `before` bytes of
    /// `unread` have been searched already.
    fn take_heads(
        &mut self,
        before: usize,
        interim: &mut impl FnMut(StatusCode, &HeaderMap),
    ) -> Result<Option<Head>, Malformed> {
        self.heard = true;
        let mut seen = before;
        loop {
            // A head that arrives byte by byte is not parsed again for each of them.
            let fresh = self
                .unread
                .get(seen.saturating_sub(3)..)
                .unwrap_or_default();
            let whole =
                memmem::find(fresh, b"\n\r\n").is_some() || memmem::find(fresh, b"\n\n").is_some();
            if seen > 0 && !whole && self.unread.len() < head::MAX_HEAD_BYTES {
                return Ok(None);
            }
            let Some((head, size)) = head::parse(&self.unread, self.is_head)? else {
                return Ok(None);
            };
            self.unread.drain(..size);
            let status = head.parts.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            interim(status, &head.parts.headers);
            seen = 0;
            if self.unread.is_empty() {
                return Ok(None);
            }
        }
    }

    fn answered(&mut self, head: Head) -> response::Parts {
        let written = self
            .upload
            .as_ref()
            .map_or(self.written, |upload| upload.written());
        // An upstream that answers may not have read all of the request, although the kernel has taken it. Then it
        // closes the connection a moment later, and the next request on it would be lost. One that refuses a large
        // request hardly ever reads it; any other one has to show that it keeps its connections open.
        let (is_early, is_large) = (self.upload.is_some(), written > MOST_READ_BY_ALL);
        let refuses = !head.parts.status.is_success();
        self.keep_alive = head.keep_alive && !(refuses && (is_early || is_large));
        self.doubt = self
            .has_body
            .then_some(match (is_early, refuses, is_large) {
                (true, ..) => Doubt::Early,
                (_, true, _) => Doubt::Refused,
                _ if head.length == Length::Chunked => Doubt::Streamed,
                (_, _, true) => Doubt::Large,
                _ => Doubt::Small,
            });
        self.state = match head.length {
            Length::Chunked => State::Chunked(Chunked::default()),
            Length::Exact(0) => State::Over(None),
            Length::Exact(left) => State::Exact(left),
            Length::Close => State::Close,
        };
        if matches!(self.state, State::Chunked(_) | State::Close) {
            self.acks.begin();
            // After a request the kernel would delay the acknowledgement by 40 ms, to send it along with the next one.
            // The upstream may hold back its first event until then (Nagle's algorithm).
            self.io.delay_acks(false);
        }
        if self.unread.is_empty() {
            // A connection holds no memory between two reads.
            self.unread = Vec::new();
        }
        head.parts
    }
}
