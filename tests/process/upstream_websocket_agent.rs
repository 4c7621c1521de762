//! The end of a WebSocket at an agent that accepts one, on a raw socket.

use std::io::Read as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::support::{Accepted, PATIENCE, Upstream};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A frame as a server sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(u8::try_from(short).unwrap()),
        middle @ 126..=65_535 => {
            bytes.push(126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// The agent's end of a WebSocket.
pub(crate) struct Agent(pub(crate) Accepted);

impl Agent {
    /// Accepts the next connection and its handshake.
    pub(crate) fn accept(upstream: &Upstream) -> Self {
        let mut accepted = upstream.accept();
        let head = accepted.request.to_ascii_lowercase();
        let at = head.find("sec-websocket-key: ").expect("a key") + "sec-websocket-key: ".len();
        let key = &accepted.request[at..at + 24];
        let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
        accepted.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-accept: {accept}\r\nset-cookie: a=b\r\n\r\n"
        ));
        accepted.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(accepted)
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.0.send(frame(first, payload));
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    pub(crate) fn close(&mut self, code: u16) {
        self.send(CLOSE, &code.to_be_bytes());
    }

    /// Returns the next frame, which must be masked.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2);
        assert!(head[1] & 0x80 != 0, "frames of a client are masked");
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).try_into().unwrap()),
            short => u64::from(short),
        };
        let mask = self.take(4);
        let mut payload = self.take(usize::try_from(length).unwrap());
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        (head[0], payload)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn hears(&mut self, text: &str) {
        let (opcode, payload) = self.frame();
        assert_eq!((opcode, &*String::from_utf8_lossy(&payload)), (TEXT, text));
    }

    pub(crate) fn is_closed_with(&mut self, code: u16) {
        assert_eq!(self.frame(), (CLOSE, code.to_be_bytes().to_vec()));
    }
}
