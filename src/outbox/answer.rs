//! What a webhook answers: reads the head of a response, and says what it means for the record.

use std::io;
use std::iter::successors;
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, StatusCode, header, response};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::retry::Failure;
use crate::upstream;
use crate::upstream::http1::head;

/// Maximum number of bytes in a response head.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Why there was no response.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("the connection ended before a response head")]
    Closed,
    #[error(transparent)]
    Dial(#[from] upstream::Error),
    #[error(transparent)]
    Malformed(#[from] upstream::Malformed),
    #[error("a response head beyond 16 KiB")]
    TooLarge,
}

impl Error {
    /// Returns the text of the error and of its sources.
    pub(super) fn chain(&self) -> String {
        let first: &(dyn std::error::Error + 'static) = self;
        let all: Vec<String> = successors(Some(first), |error| error.source())
            .map(ToString::to_string)
            .collect();
        all.join(": ")
    }
}

/// Reads up to the end of the response head. Interim (1xx) heads are skipped.
pub(super) async fn read_head(mut io: impl AsyncRead + Unpin) -> Result<response::Parts, Error> {
    let mut unread = BytesMut::with_capacity(1024);
    loop {
        while let Some((head, size)) = head::parse(&unread, false)? {
            let status = head.parts.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(head.parts);
            }
            unread.advance(size);
        }
        if unread.len() > MAX_HEAD_BYTES {
            return Err(Error::TooLarge);
        }
        if io.read_buf(&mut unread).await? == 0 {
            return Err(Error::Closed);
        }
    }
}

/// Returns what a response means for its record.
pub(super) fn judged(answer: &response::Parts, now: SystemTime) -> Result<(), Failure> {
    let status = answer.status;
    let is_passing = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    );
    if status.is_success() {
        Ok(())
    } else if status.is_client_error() && !is_passing {
        Err(Failure::Refused)
    } else {
        Err(Failure::Later(retry_after(&answer.headers, now)))
    }
}

/// Returns how long the receiver wants to be left alone: in seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_date_is_a_time_from_now() {
        let mut headers = HeaderMap::new();
        let date = "Thu, 01 Jan 1970 00:02:00 GMT".parse().unwrap();
        headers.insert(header::RETRY_AFTER, date);
        let after = |seconds| {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            retry_after(&headers, now).map(|after| after.as_secs())
        };
        assert_eq!([0, 30, 500].map(after), [Some(120), Some(90), Some(0)]);
    }

    #[tokio::test]
    async fn a_head_is_read_in_pieces_and_has_a_bound() {
        let whole = &b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 Yes\r\n\r\n"[..];
        for cut in 0..whole.len() {
            let (start, rest) = whole.split_at(cut);
            let head = read_head(tokio::io::AsyncReadExt::chain(start, rest))
                .await
                .unwrap();
            assert_eq!(head.status, StatusCode::OK);
            let ended = read_head(start).await;
            assert!(matches!(ended, Err(Error::Closed)), "{cut}: {ended:?}");
        }
        let long = format!("HTTP/1.1 200 Yes\r\nx: {}", "x".repeat(MAX_HEAD_BYTES));
        let read = read_head(long.as_bytes()).await;
        assert!(matches!(read, Err(Error::TooLarge)), "{read:?}");
    }

    #[test]
    fn an_error_is_told_with_its_sources() {
        let error = Error::Broken(io::Error::other("a reason"));
        assert_eq!(error.chain(), "the connection broke: a reason");
    }
}
