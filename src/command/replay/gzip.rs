//! Compresses a body piece by piece, so that each piece can be read when it has come.

use std::io;

use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{EncodeV2, GzipEncoder};

/// The most bytes that the encoder writes at once.
const SPACE: usize = 16 << 10;

/// The encoder of one body.
pub(super) struct Gzip(GzipEncoder);

impl Gzip {
    pub(super) fn new() -> Self {
        Self(GzipEncoder::new(Level::Default.into()))
    }

    /// Returns what is to be sent of a piece, all of which a client can read.
    pub(super) fn piece(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut space = vec![0; SPACE];
        let mut input = PartialBuffer::new(bytes);
        while !input.unwritten().is_empty() {
            let mut output = WriteBuffer::new_initialized(&mut space);
            self.0.encode(&mut input, &mut output)?;
            out.extend_from_slice(output.written());
        }
        drain(&mut out, &mut space, |output| self.0.flush(output))?;
        Ok(out)
    }

    /// Returns the end of the body.
    pub(super) fn finish(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut space = vec![0; SPACE];
        drain(&mut out, &mut space, |output| self.0.finish(output))?;
        Ok(out)
    }
}

/// Calls `write` until it has written all.
fn drain(
    out: &mut Vec<u8>,
    space: &mut [u8],
    mut write: impl FnMut(&mut WriteBuffer<'_>) -> io::Result<bool>,
) -> io::Result<()> {
    loop {
        let mut output = WriteBuffer::new_initialized(space);
        let is_done = write(&mut output)?;
        out.extend_from_slice(output.written());
        if is_done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Flow;
    use crate::wire::encoding::{Coding, Decoder, Error};

    #[test]
    fn each_piece_can_be_read_by_itself() {
        let mut gzip = Gzip::new();
        let mut decoder = Decoder::new(Coding::Gzip).unwrap();
        let large = "data: word\n\n".repeat(20_000);
        for piece in ["data: one\n\n", "", "data: two\n\n", &large] {
            let sent = gzip.piece(piece.as_bytes()).unwrap();
            let mut read = Vec::new();
            let fed = decoder.feed(&sent, |bytes| {
                read.extend_from_slice(bytes);
                Ok::<_, Error>(Flow::while_true(true))
            });
            assert_eq!(fed, Ok(()));
            assert_eq!(read, piece.as_bytes());
        }
        let end = gzip.finish().unwrap();
        assert!(!end.is_empty());
        decoder.feed(&end, |_| Ok::<_, Error>(())).unwrap();
        assert!(decoder.is_complete());
    }
}
