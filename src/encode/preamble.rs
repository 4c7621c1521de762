//! The preamble: padding before a stream, for intermediaries that buffer the first 1 to 4 KiB of a body.

use bytes::Bytes;

use super::Encoder;

impl Encoder {
    /// Returns a comment of `bytes` bytes; empty if the client does not skip comments.
    pub fn preamble(self, bytes: usize) -> Bytes {
        if self.knows_comments() {
            comment(bytes)
        } else {
            Bytes::new()
        }
    }
}

/// Returns an SSE comment of `bytes` bytes; empty if these are too few for one.
pub fn comment(bytes: usize) -> Bytes {
    if bytes < 2 {
        return Bytes::new();
    }
    let mut comment = vec![b' '; bytes];
    if let Some(first) = comment.first_mut() {
        *first = b':';
    }
    if let Some(last) = comment.last_mut() {
        *last = b'\n';
    }
    Bytes::from(comment)
}
