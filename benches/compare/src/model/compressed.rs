//! Events as a model writes them that compresses: each write of its own is flushed, so that nothing waits for the next
//! one.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::stamp::Stamp;

use super::text::{DONE, Text, finish};

#[derive(Debug)]
pub(super) struct Compressed {
    encoder: GzEncoder<Vec<u8>>,
    /// What one write compresses.
    plain: Vec<u8>,
}

impl Default for Compressed {
    fn default() -> Self {
        Self {
            // The least effort: the model shares the machine with what is measured.
            encoder: GzEncoder::new(Vec::new(), Compression::fast()),
            plain: Vec::new(),
        }
    }
}

impl Compressed {
    pub(super) fn event(&mut self, text: &Text, stamp: Stamp) {
        text.data(stamp, &mut self.plain);
    }

    /// Adds a chunk with the events since the last one.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail.
        let _ = self.encoder.write_all(&self.plain);
        let _ = self.encoder.flush();
        self.plain.clear();
        chunk(self.encoder.get_mut(), out);
    }

    /// Adds the end of the stream and of the body.
    pub(super) fn end(mut self, out: &mut Vec<u8>) {
        self.plain.extend_from_slice(finish().as_bytes());
        self.plain.extend_from_slice(DONE.as_bytes());
        let _ = self.encoder.write_all(&self.plain);
        let mut last = self.encoder.finish().unwrap_or_default();
        chunk(&mut last, out);
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

/// Moves bytes into a chunk.
fn chunk(bytes: &mut Vec<u8>, out: &mut Vec<u8>) {
    if bytes.is_empty() {
        // An empty chunk would end the body.
        return;
    }
    let _ = write!(out, "{:x}\r\n", bytes.len());
    out.append(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_flushed_can_be_read() {
        let text = Text::new();
        let (mut compressed, mut out) = (Compressed::default(), Vec::new());
        let (mut body, mut expected) = (Vec::new(), Vec::new());
        for sequence in 0..3 {
            let stamp = Stamp { sequence, sent: 1 };
            compressed.event(&text, stamp);
            compressed.flush(&mut out);
            text.data(stamp, &mut expected);
            // One chunk each.
            body.extend(data(&mut out));
        }
        compressed.end(&mut out);
        assert!(out.ends_with(b"\r\n0\r\n\r\n"));
        body.extend(data(&mut out));
        expected.extend_from_slice(finish().as_bytes());
        expected.extend_from_slice(DONE.as_bytes());
        let mut read = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&body[..]);
        decoder.read_to_end(&mut read).unwrap();
        assert_eq!(read, expected);
    }

    /// Takes the first chunk out.
    fn data(out: &mut Vec<u8>) -> Vec<u8> {
        let at = memchr::memmem::find(out, b"\r\n").unwrap();
        let size = std::str::from_utf8(&out[..at]).unwrap().to_owned();
        let size = usize::from_str_radix(&size, 16).unwrap();
        let data = out[at + 2..at + 2 + size].to_vec();
        out.drain(..at + 2 + size + 2);
        data
    }
}
