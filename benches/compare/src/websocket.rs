//! WebSockets (RFC 6455) as far as the comparison needs them: one handshake, binary messages from the model, and the
//! close frames of both ends.

use crate::stamp::{self, Stamp};

/// The key that every client sends, from the example in RFC 6455. So there is only one answer to it, too.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The head with which the model accepts.
pub const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    upgrade: websocket\r\n\
    connection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What the accepting head must contain when it reaches the client, in lower case.
pub const ACCEPT: &str = "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=";

/// The model's close frame, with code 1000.
pub const CLOSE: &[u8] = &[CLOSE_FRAME, 2, 0x03, 0xe8];

/// The client's answer to it, with a mask of zeros.
pub const CLOSE_ANSWER: &[u8] = &[CLOSE_FRAME, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// The first byte of a whole binary message, and of a close frame.
const MESSAGE: u8 = 0x82;
const CLOSE_FRAME: u8 = 0x88;

/// Adds a message of `size` bytes that begins with a stamp. A smaller size than that of a stamp is raised to it.
pub fn message(stamp: Stamp, size: u32, out: &mut Vec<u8>) {
    let size = size.max(stamp::LEN as u32);
    out.push(MESSAGE);
    match u16::try_from(size) {
        Ok(size @ ..126) => out.push(size as u8),
        Ok(size) => {
            out.push(126);
            out.extend_from_slice(&size.to_be_bytes());
        }
        Err(_) => {
            out.push(127);
            out.extend_from_slice(&u64::from(size).to_be_bytes());
        }
    }
    let at = out.len();
    out.resize(at + size as usize, b' ');
    stamp.write(&mut out[at..]);
}

/// Reads the frames of the model.
#[derive(Debug, Default)]
pub struct Frames {
    /// The head of the current frame, of which `taken` bytes have arrived.
    head: [u8; 10],
    taken: usize,
    /// The part of its payload that has not arrived.
    left: u64,
    closing: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Frames {
    /// Reports whether the close frame has arrived.
    pub fn ended(&self) -> bool {
        self.closing && self.left == 0
    }

    /// Calls `data` for each piece of a message.
    pub fn feed(&mut self, mut bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<(), Malformed> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.ended() {
                return Err(Malformed);
            }
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX);
                let (payload, rest) = bytes.split_at(bytes.len().min(here));
                if !self.closing {
                    data(payload);
                }
                self.left -= payload.len() as u64;
                bytes = rest;
                continue;
            }
            self.head[self.taken] = *first;
            self.taken += 1;
            bytes = rest;
            let needed = match self.head[1] {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            if self.taken >= 2 && self.taken == needed {
                self.begin()?;
            }
        }
        Ok(())
    }

    /// Begins the payload of a frame whose head is complete.
    fn begin(&mut self) -> Result<(), Malformed> {
        let [first, second, length @ ..] = self.head;
        self.left = match second {
            126 => u16::from_be_bytes([length[0], length[1]]).into(),
            127 => u64::from_be_bytes(length),
            short @ ..126 => short.into(),
            // The model masks nothing.
            _ => return Err(Malformed),
        };
        self.closing = match first {
            MESSAGE => false,
            CLOSE_FRAME => true,
            _ => return Err(Malformed),
        };
        self.head = [0; 10];
        self.taken = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        sequence: 3,
        sent: 4,
    };

    #[test]
    fn messages_are_read_whatever_the_cut() {
        let sizes = [26, 125, 126, 200, 65_535, 65_536];
        let mut whole = Vec::new();
        for size in sizes {
            message(STAMP, size, &mut whole);
        }
        whole.extend_from_slice(CLOSE);
        for cut in (0..300).chain(whole.len() - 300..=whole.len()) {
            let (mut frames, mut finder) = (Frames::default(), stamp::Finder::default());
            let (mut bytes, mut stamps) = (0, Vec::new());
            for part in [&whole[..cut], &whole[cut..]] {
                frames
                    .feed(part, |data| {
                        bytes += data.len() as u32;
                        finder.feed(data, |stamp| stamps.push(stamp));
                    })
                    .unwrap();
            }
            assert_eq!(bytes, sizes.iter().sum::<u32>(), "cut at {cut}");
            assert_eq!(stamps, [Some(STAMP); 6]);
            assert!(frames.ended());
        }
    }

    #[test]
    fn a_message_has_room_for_its_stamp() {
        let mut out = Vec::new();
        message(STAMP, 1, &mut out);
        assert_eq!(out.len(), 2 + stamp::LEN);
    }

    #[test]
    fn what_the_model_does_not_send_is_told() {
        for bytes in [&[0x81, 0][..], &[MESSAGE, 0x80], &[CLOSE_FRAME, 0, 0]] {
            assert_eq!(Frames::default().feed(bytes, |_| {}), Err(Malformed));
        }
    }
}
