//! Reads one response from the bytes of a connection, and writes it to the book.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::book::{Book, Heads};
use super::sent_request::SentRequest;
use crate::recording::message::Malformed;
use crate::recording::response_reader::{Found, ResponseReader};
use crate::recording::{Ending, MALFORMED, UPGRADED};

/// One request and its response.
pub(super) struct Exchange<'a> {
    book: &'a Book,
    request: &'a Mutex<SentRequest>,
    reader: ResponseReader,
    sent: Instant,
    /// The number in the file, once the head has come.
    number: Option<u64>,
    /// The status of the response, once it is known.
    status: Option<u16>,
    /// The head of the response says that the connection ends with it.
    closes: bool,
}

impl<'a> Exchange<'a> {
    /// Begins an exchange whose request was sent at `sent`.
    pub(super) fn new(book: &'a Book, request: &'a Mutex<SentRequest>, sent: Instant) -> Self {
        let method = lock(request).head.method.clone();
        Self {
            book,
            request,
            reader: ResponseReader::new(method),
            sent,
            number: None,
            status: None,
            closes: false,
        }
    }

    /// Takes what one read returned at `now`. Returns how many bytes belong to the response.
    ///
    /// # Errors
    /// If the bytes are no response. Its end has been written.
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant) -> Result<usize, Malformed> {
        let Self {
            book,
            request,
            reader,
            sent,
            number,
            status,
            closes,
        } = self;
        let taken = reader.take(bytes, &mut |found| match found {
            Found::Head(head, framing) => {
                *status = Some(head.status);
                *closes = head.closes();
                let request = lock(request);
                let heads = Heads {
                    request: &request.head,
                    asks_for: request.dialect(),
                    response: head,
                    framing,
                };
                *number = book.heads(heads, *sent, now);
                if let Some(number) = *number
                    && head.status == 101
                {
                    book.end(number, Ending::Truncated, Some(UPGRADED), now);
                }
            }
            Found::Body(bytes) => {
                if let Some(number) = *number {
                    book.piece(number, bytes, now);
                }
            }
            Found::End => {
                if let Some(number) = *number {
                    book.end(number, Ending::Clean, None, now);
                }
            }
        });
        if taken.is_err() {
            self.end(Ending::Truncated, Some(MALFORMED), now);
        }
        taken
    }

    /// Writes how the response ended, if it has not ended by itself.
    pub(super) fn end(&self, how: Ending, reason: Option<&str>, now: Instant) {
        if let Some(number) = self.number {
            self.book.end(number, how, reason, now);
        }
    }

    /// Reports whether the response is complete.
    pub(super) const fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Reports whether the head has come.
    pub(super) const fn has_head(&self) -> bool {
        self.reader.has_head()
    }

    /// Reports whether the response is complete if the connection ends here.
    pub(super) fn may_close(&self) -> bool {
        self.reader.may_close()
    }

    /// Reports whether the connection has become another protocol.
    pub(super) fn is_upgraded(&self) -> bool {
        self.status == Some(101)
    }

    /// Reports whether the connection to the agent ends with the response.
    pub(super) const fn closes(&self) -> bool {
        self.closes
    }
}

/// Locks what is known about the request.
pub(super) fn lock(request: &Mutex<SentRequest>) -> std::sync::MutexGuard<'_, SentRequest> {
    // Each change is complete when the lock is released, so a poisoned lock is harmless.
    request.lock().unwrap_or_else(PoisonError::into_inner)
}
