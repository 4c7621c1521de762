//! Frames of HTTP/2 (RFC 9113), and the heads in them (RFC 7541), as far as the comparison needs them.

use crate::ask::Ask;

use super::stream;

const HEAD: usize = 9;
/// The largest window that there is.
pub(super) const WINDOW: u32 = 0x7fff_ffff;
/// What the window of a connection begins with.
pub(super) const FIRST_WINDOW: u32 = 65_535;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

/// Of DATA and HEADERS. For SETTINGS and PING the same bit says that it is an answer.
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A frame that has arrived.
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame if it is complete, and returns what follows.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        let frame = Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW,
            payload,
        };
        Some((frame, rest))
    }

    /// Returns the data or the block of headers without what surrounds it.
    pub(super) fn content(&self) -> Option<&'a [u8]> {
        let mut content = self.payload;
        let mut padding = 0;
        if self.flags & PADDED != 0 {
            let (first, rest) = content.split_first()?;
            (padding, content) = (usize::from(*first), rest);
        }
        if self.kind == HEADERS && self.flags & PRIORITY != 0 {
            content = content.get(5..)?;
        }
        content.get(..content.len().checked_sub(padding)?)
    }
}

/// Reports whether a block of headers begins with the status 200, which every encoder writes as one byte. It may
/// announce sizes of the table before that.
pub(super) fn is_ok(mut block: &[u8]) -> bool {
    while let Some((first, rest)) = block.split_first() {
        if first & 0xe0 != 0x20 {
            return *first == 0x88;
        }
        block = rest;
        if first & 0x1f == 0x1f {
            // A number of several bytes, of which the last has no upper bit.
            let end = rest.iter().position(|byte| byte & 0x80 == 0);
            block = end.and_then(|end| rest.get(end + 1..)).unwrap_or(&[]);
        }
    }
    false
}

/// Encodes the head of a request. Nothing is put into the table, so every head is the same.
pub(super) fn head(ask: &Ask, scheme: u8) -> Vec<u8> {
    // `:method: POST` by its index.
    let mut head = vec![0x83, scheme];
    // The other names are indexed too: in four bits of a byte, or what exceeds 15 in the next one.
    let length = stream::body(ask, false).len().to_string();
    let path = ask.to_string();
    let fields: [(&[u8], &str); 6] = [
        (&[0x04], &path),
        (&[0x01], "model.test"),
        (&[0x0f, 58 - 15], "compare"),
        (&[0x0f, 19 - 15], "text/event-stream"),
        (&[0x0f, 31 - 15], "application/json"),
        (&[0x0f, 28 - 15], &length),
    ];
    for (name, value) in fields {
        head.extend_from_slice(name);
        string(value, &mut head);
    }
    head
}

/// Writes a string as it is, with its length in seven bits or more.
fn string(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        short @ ..127 => out.push(short as u8),
        long => {
            out.push(127);
            let mut left = long - 127;
            while left >= 128 {
                out.push((left & 127) as u8 | 128);
                left >>= 7;
            }
            out.push(left as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Adds a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_behind_the_sizes_of_the_table() {
        let blocks: [(&[u8], bool); 6] = [
            (&[0x88], true),
            (&[0x20, 0x88], true),
            (&[0x3f, 0xe1, 0x1f, 0x88], true),
            (&[0x8d], false),
            (&[0x3f, 0xe1], false),
            (&[], false),
        ];
        for (block, expected) in blocks {
            assert_eq!(is_ok(block), expected, "{block:x?}");
        }
    }

    #[test]
    fn long_strings_have_long_lengths() {
        let mut out = Vec::new();
        string(&"x".repeat(300), &mut out);
        // 300 - 127 = 173 = 0b1_0101101.
        assert_eq!(&out[..4], [127, 0b1010_1101, 1, b'x']);
    }
}
