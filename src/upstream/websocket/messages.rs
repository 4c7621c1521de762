//! Reads the frames of an agent, and writes each message as one SSE block, piece by piece as it arrives.
//!
//! ```text
//! head of 2 to 10 bytes ──► payload ─┬─ of a message ──► `data: ...`, and a line for each line break in it
//!      ▲                             └─ of a control frame, kept until it is whole
//!      └──────────────────────────────── the end of a frame, or of a message (`\n\n`)
//! ```
//!
//! Binary messages are read like text, because some agents send the bytes of their JSON. What is not UTF-8 cannot be an
//! event, and leaving it out in silence would hide that something is lost: it ends the conversation.

use memchr::memchr2;

use super::frame::{BINARY, CLOSE, NORMAL, PING, PONG, TEXT};
use super::utf8::Utf8;
use crate::wire::websocket::{Head, Sender, Violation};

/// The longest payload of a control frame.
const MAX_CONTROL: usize = 125;

/// Why frames cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The frames violate RFC 6455.
    Protocol(&'static str),
    /// A message is not UTF-8.
    NotText { binary: bool },
    /// A message exceeds the limit.
    TooLarge,
}

impl Fault {
    /// Returns the code that the WebSocket is closed with.
    pub const fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotText { binary: true } => 1003,
            Self::NotText { binary: false } => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// The agent's close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// `None` if it has none.
    pub code: Option<u16>,
}

impl Closed {
    /// Reports whether the agent has said all it wanted to.
    pub fn is_good(self) -> bool {
        self.code.is_none_or(|code| code == NORMAL)
    }
}

/// The payload of a control frame.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    bytes: [u8; MAX_CONTROL],
    have: usize,
}

impl Control {
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.have).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let free = self.bytes.get_mut(self.have..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.have += taken;
    }
}

/// A message that has begun.
#[derive(Clone, Copy, Debug)]
struct Message {
    binary: bool,
    text: Utf8,
    /// Bytes of it so far, those of its unfinished frame included.
    size: u64,
    /// The last byte was a carriage return, which may be half of a line break.
    after_return: bool,
}

/// Reads frames.
#[derive(Debug)]
pub struct Messages {
    head: Head,
    /// Bytes of the payload that are missing; `None` inside a head.
    left: Option<u64>,
    message: Option<Message>,
    control: Control,
    max: u64,
    /// The last ping that has not been taken.
    ping: Option<Control>,
    closed: Option<Closed>,
}

impl Messages {
    /// Creates a reader of messages of at most `max` bytes each.
    pub const fn new(max: usize) -> Self {
        Self {
            head: Head::new(),
            left: None,
            message: None,
            control: Control {
                bytes: [0; MAX_CONTROL],
                have: 0,
            },
            max: max as u64,
            ping: None,
            closed: None,
        }
    }

    /// Takes the last ping. Earlier ones need no answer then (RFC 6455, 5.5.3).
    pub const fn take_ping(&mut self) -> Option<Control> {
        self.ping.take()
    }

    /// Returns the agent's close frame, if it has come. Nothing is read behind it.
    pub const fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// Reads `bytes`, and appends what they contain of messages to `out`.
    ///
    /// # Errors
    /// If they cannot be read any further.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        while self.closed.is_none() {
            if let Some(left) = self.left {
                let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (piece, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
                bytes = rest;
                self.payload(piece, out)?;
                let left = left - here as u64;
                self.left = Some(left);
                if left > 0 {
                    return Ok(());
                }
                self.left = None;
                self.end_frame(out)?;
            } else {
                if bytes.is_empty() {
                    return Ok(());
                }
                let used = self.head.feed(bytes);
                bytes = bytes.get(used..).unwrap_or_default();
                if let Some(violation) = self.head.violation(Sender::Server) {
                    return Err(Fault::Protocol(said(violation)));
                }
                if self.head.is_whole() {
                    self.head.restart();
                    self.begin(out)?;
                    self.left = Some(self.head.length());
                }
            }
        }
        Ok(())
    }

    /// Begins a frame with the head that has arrived.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.head.is_extended() {
            return Err(Fault::Protocol("a WebSocket frame of an extension"));
        }
        if self.head.is_control() {
            self.control.have = 0;
            return Ok(());
        }
        match (self.head.opcode(), self.message.is_some()) {
            (0, true) => {}
            (opcode @ (TEXT | BINARY), false) => {
                self.message = Some(Message {
                    binary: opcode == BINARY,
                    text: Utf8::default(),
                    size: 0,
                    after_return: false,
                });
                out.extend_from_slice(b"data: ");
            }
            _ => return Err(Fault::Protocol("fragments of WebSocket messages")),
        }
        if let Some(message) = &mut self.message {
            message.size = message.size.saturating_add(self.head.length());
            if message.size > self.max {
                return Err(Fault::TooLarge);
            }
        }
        Ok(())
    }

    fn payload(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.head.is_control() {
            self.control.push(bytes);
            return Ok(());
        }
        let Some(message) = &mut self.message else {
            return Ok(());
        };
        if !message.text.accepts(bytes) {
            return Err(message.not_text());
        }
        message.write(bytes, out);
        Ok(())
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self.head.opcode() {
            CLOSE => self.closed = Some(closed(self.control.bytes())?),
            PING => self.ping = Some(self.control),
            PONG => {}
            _ if self.head.is_last() => {
                if let Some(message) = self.message.take_if(|message| !message.text.is_whole()) {
                    return Err(message.not_text());
                }
                self.message = None;
                out.extend_from_slice(b"\n\n");
            }
            _ => {}
        }
        Ok(())
    }
}

impl Message {
    const fn not_text(&self) -> Fault {
        Fault::NotText {
            binary: self.binary,
        }
    }

    /// Writes a piece, with a field for each of its lines.
    fn write(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        if !text.is_empty() && std::mem::take(&mut self.after_return) {
            text = text.strip_prefix(b"\n").unwrap_or(text);
        }
        while let Some(at) = memchr2(b'\n', b'\r', text) {
            let (line, rest) = text.split_at_checked(at).unwrap_or((text, &[]));
            out.extend_from_slice(line);
            out.extend_from_slice(b"\ndata: ");
            text = rest.get(1..).unwrap_or_default();
            if rest.starts_with(b"\r") {
                self.after_return = text.is_empty();
                text = text.strip_prefix(b"\n").unwrap_or(text);
            }
        }
        out.extend_from_slice(text);
    }
}

/// Returns what is wrong with a frame, as the subject of a sentence.
const fn said(violation: Violation) -> &'static str {
    match violation {
        Violation::Control => "a WebSocket control frame",
        Violation::Length => "the length of a WebSocket frame",
        Violation::Mask => "a masked frame of a WebSocket server",
        Violation::Opcode => "the opcode of a WebSocket frame",
        Violation::Padding => "the length of a WebSocket frame, in more bytes than it needs",
    }
}

/// Reads the payload of a close frame.
fn closed(payload: &[u8]) -> Result<Closed, Fault> {
    let code = match payload {
        [] => None,
        [high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        [_] => return Err(Fault::Protocol("a WebSocket close frame")),
    };
    // The others stand for what no close frame says (RFC 6455, 7.4).
    if code.is_some_and(|code| !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)) {
        return Err(Fault::Protocol("the code of a WebSocket close frame"));
    }
    Ok(Closed { code })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..=125 => out.push(u8::try_from(short).unwrap()),
            medium @ 126..=65_535 => {
                out.push(126);
                out.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                out.push(127);
                out.extend((long as u64).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    fn read(bytes: &[u8], cut: usize, max: usize) -> (String, Messages, Result<(), Fault>) {
        let mut messages = Messages::new(max);
        let mut out = Vec::new();
        let mut result = Ok(());
        for piece in bytes.chunks(cut.max(1)) {
            result = messages.feed(piece, &mut out);
            if result.is_err() {
                break;
            }
        }
        (String::from_utf8_lossy(&out).into_owned(), messages, result)
    }

    #[test]
    fn each_message_is_one_block_at_any_cut() {
        let long = "x".repeat(70_000);
        let bytes = [
            frame(0x81, b"{\"type\":\"token\"}"),
            frame(0x01, b"on\xe2"),
            frame(0x89, b"between"),
            frame(0x00, b""),
            frame(0x80, b"\x82\xace"),
            frame(0x81, b"a\r\nb\rc\nd\r"),
            frame(0x81, b"\n"),
            frame(0x81, b""),
            frame(0x82, b" bytes"),
            frame(0x81, long.as_bytes()),
            frame(0x8a, b"unasked"),
            frame(0x88, b"\x03\xe8bye"),
            frame(0x81, b"after the close"),
        ]
        .concat();
        let want = format!(
            "data: {{\"type\":\"token\"}}\n\ndata: on\u{20ac}e\n\n\
             data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n\
             data: \ndata: \n\ndata: \n\ndata:  bytes\n\ndata: {long}\n\n"
        );
        for cut in (1..120).chain([4096, bytes.len()]) {
            let (out, mut messages, result) = read(&bytes, cut, 70_000);
            assert_eq!(result, Ok(()));
            assert!(out == want, "cut {cut}");
            assert_eq!(messages.take_ping().unwrap().bytes(), b"between");
            assert_eq!(messages.closed(), Some(Closed { code: Some(1000) }));
            assert!(messages.closed().unwrap().is_good());
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_code_for_it() {
        let part = frame(0x01, b"part");
        for (bytes, code) in [
            (b"\x81\x80mask".to_vec(), 1002),
            (b"\xc1\x00".to_vec(), 1002),
            (b"\x83\x00".to_vec(), 1002),
            (b"\x80\x00".to_vec(), 1002),
            (b"\x09\x00".to_vec(), 1002),
            (b"\x89\x7e\x00\x7e".to_vec(), 1002),
            (b"\x81\x7f\x80\0\0\0\0\0\0\0".to_vec(), 1002),
            // Lengths in more bytes than they need, of a text and of a ping.
            (b"\x81\x7e\0\x7d".to_vec(), 1002),
            (b"\x81\x7f\0\0\0\0\0\0\0\x05hello".to_vec(), 1002),
            (b"\x81\x7f\0\0\0\0\0\0\xff\xff".to_vec(), 1002),
            (b"\x89\x7e\0\x04ping".to_vec(), 1002),
            (b"\x88\x01x".to_vec(), 1002),
            (frame(0x88, &1005_u16.to_be_bytes()), 1002),
            ([part.clone(), frame(0x81, b"x")].concat(), 1002),
            (frame(0x81, b"\xff"), 1007),
            (frame(0x81, b"\xe2\x82"), 1007),
            (frame(0x82, b"\xff"), 1003),
            (frame(0x81, &[b'x'; 101]), 1009),
            ([part, frame(0x80, &[b'x'; 97])].concat(), 1009),
            // Known from its head alone.
            (b"\x81\x7f\0\0\0\x01\0\0\0\0".to_vec(), 1009),
        ] {
            for cut in [1, bytes.len()] {
                let (_, _, result) = read(&bytes, cut, 100);
                assert_eq!(result.map_err(Fault::code), Err(code), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_close_frame_says_how_it_ended() {
        for (payload, code, is_good) in [
            (&b""[..], None, true),
            (b"\x03\xe8", Some(1000), true),
            (b"\x03\xe9going", Some(1001), false),
            (b"\x0f\xa1", Some(4001), false),
        ] {
            let (_, messages, _) = read(&frame(0x88, payload), 1, 10);
            let closed = messages.closed().unwrap();
            assert_eq!((closed.code, closed.is_good()), (code, is_good));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_cuts_do_not_matter(
            bytes in vec(prop_oneof![Just(0x81_u8), Just(0x01), Just(0x80), Just(2), any::<u8>()], 0..200),
            cut in 1_usize..20,
        ) {
            let (whole, _, first) = read(&bytes, bytes.len(), 100);
            let (pieces, _, second) = read(&bytes, cut, 100);
            prop_assert_eq!(first, second);
            if first.is_ok() {
                prop_assert_eq!(whole, pieces);
            }
        }
    }
}
