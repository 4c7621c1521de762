//! Where the bytes of a read go: into a buffer that all connections of a thread share.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};

use crate::upstream::socket::Io;

/// Maximum number of bytes in one read: enough for many small events, and yet a fair share of the thread's time.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Maximum number of bytes in one read of a body whose client takes nothing: 20 events, 10 us of the thread's time.
pub(super) const NARROW_READ_BYTES: usize = 4 * 1024;

thread_local! {
    /// The buffer that all connections of a thread read into. Nothing stays in it between two reads.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads once, at most `most` bytes, into the thread's buffer, and calls `then` with them.
pub(super) fn poll_read<T>(
    io: &mut Io,
    cx: &mut Context<'_>,
    most: usize,
    then: impl FnOnce(&mut [u8]) -> T,
) -> Poll<io::Result<T>> {
    READ.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(then(buffer.filled_mut())))
    })
}
