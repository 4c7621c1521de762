//! Follows the frames of one direction of a WebSocket (RFC 6455, 5.2) without changing or keeping a byte of them.
//!
//! ```text
//! head of 2 to 14 bytes ──► payload, skipped by its length ──► head ...
//! ```
//!
//! It is fed with whatever a read brought. Payload costs nothing: it is skipped by arithmetic. Only the code of a close
//! frame is read. Bits of extensions are not looked at, because only the two ends know what they mean.

/// The longest head: two bytes, a length of eight, and a mask of four.
const MAX_HEAD: usize = 14;
/// The longest payload of a control frame.
const MAX_CONTROL: u8 = 125;

/// Which end sends the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client: its frames are masked.
    Client,
    /// The server: its frames are not.
    Server,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A control frame is fragmented, or longer than 125 bytes.
    Control,
    /// The length has its highest bit set.
    Length,
    /// A frame of a client is not masked, or one of a server is.
    Mask,
    /// The opcode is reserved.
    Opcode,
}

/// Follows the frames of one direction.
#[derive(Clone, Debug)]
pub struct Follower {
    sender: Sender,
    /// The part of a head that has arrived: `have` bytes.
    head: [u8; MAX_HEAD],
    have: u8,
    /// How many bytes of the payload are missing.
    left: u64,
    frames: u64,
    messages: u64,
    /// The frame that has begun last is of a message.
    is_data: bool,
    /// The last frame of a message was not its last one.
    goes_on: bool,
    /// The frames of messages so far, and their payload.
    progress: u64,
    /// A close frame has begun.
    closed: bool,
    code: Code,
    /// The first violation. Nothing is followed any more.
    violation: Option<Violation>,
}

/// The code in the first close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// There is none.
    None,
    /// Its bytes are about to arrive, masked with these.
    Awaited([u8; 2]),
    /// The second byte is about to arrive, after this one.
    Begun(u8, u8),
    Known(u16),
}

impl Follower {
    /// Creates a follower that stands before the first frame of `sender`.
    pub const fn new(sender: Sender) -> Self {
        Self {
            sender,
            head: [0; MAX_HEAD],
            have: 0,
            left: 0,
            frames: 0,
            messages: 0,
            is_data: false,
            goes_on: false,
            progress: 0,
            closed: false,
            code: Code::None,
            violation: None,
        }
    }

    /// Follows `bytes`, and returns how many of them may pass: all of them, unless a frame is to be refused (see
    /// [`Follower::refuses`]). Then it is those before that frame, as far as they are in `bytes`.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        self.advance(bytes, false)
    }

    /// The same, but goes no further than to the next end of a frame.
    pub fn feed_to_boundary(&mut self, bytes: &[u8]) -> usize {
        self.advance(bytes, true)
    }

    /// Reports whether the bytes so far end with a whole frame, so that another frame may be put behind them.
    pub const fn is_at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0 && !self.is_lost()
    }

    /// Reports whether nobody knows any more where frames end.
    pub const fn is_lost(&self) -> bool {
        self.violation.is_some() && !self.refuses()
    }

    /// Reports whether a frame came that must not pass: a client sends it without a mask, or with a length that nobody
    /// can mean. All that comes from here on is part of it.
    pub const fn refuses(&self) -> bool {
        matches!(
            (self.sender, self.violation),
            (Sender::Client, Some(Violation::Mask | Violation::Length))
        )
    }

    /// Returns the first violation.
    pub const fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Returns how many frames have begun.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns how many messages have ended, or are about to end with a frame that has begun.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Reports whether a message, or a frame, has begun and not ended.
    pub const fn is_in_message(&self) -> bool {
        self.goes_on || !self.is_at_boundary()
    }

    /// Returns a number that grows with each frame of a message and with each byte of its payload, and with nothing else.
    pub const fn progress(&self) -> u64 {
        self.progress
    }

    /// Reports whether a close frame has begun.
    pub const fn has_closed(&self) -> bool {
        self.closed
    }

    /// Returns the code of the first close frame; `None` without one, or if it has no code.
    pub const fn close_code(&self) -> Option<u16> {
        match self.code {
            Code::Known(code) => Some(code),
            Code::None | Code::Awaited(_) | Code::Begun(..) => None,
        }
    }

    fn advance(&mut self, bytes: &[u8], to_boundary: bool) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            if self.violation.is_some() {
                return if self.refuses() { used } else { bytes.len() };
            }
            if self.left > 0 {
                used += self.skip(rest);
            } else {
                let begins = self.have == 0;
                let read = self.read_head(rest);
                if self.refuses() {
                    // The part of the head that came with earlier bytes has passed.
                    if begins {
                        self.have = 0;
                    }
                    return used;
                }
                used += read;
            }
            if to_boundary && self.is_at_boundary() {
                break;
            }
        }
        used
    }

    /// Skips payload. Returns how many of the bytes belong to it.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let here = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        for byte in bytes.iter().take(here) {
            match self.code {
                Code::Awaited([first, second]) => self.code = Code::Begun(byte ^ first, second),
                Code::Begun(first, mask) => {
                    self.code = Code::Known(u16::from_be_bytes([first, byte ^ mask]));
                }
                // All that is left of the payload costs nothing.
                Code::None | Code::Known(_) => break,
            }
        }
        self.left -= here as u64;
        if self.is_data {
            self.progress += here as u64;
        }
        here
    }

    /// Reads a head up to its end, or up to a violation. Returns how many of the bytes belong to it.
    fn read_head(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        for byte in bytes {
            if let Some(place) = self.head.get_mut(usize::from(self.have)) {
                *place = *byte;
            }
            self.have += 1;
            used += 1;
            self.violation = self.check();
            if self.violation.is_some() {
                break;
            }
            if self.have >= 2 && self.have == self.head_length() {
                self.begin();
                break;
            }
        }
        used
    }

    /// Checks what the last byte of a head made known.
    const fn check(&self) -> Option<Violation> {
        let [first, second, third, ..] = self.head;
        let (opcode, length) = (first & 0x0f, second & 0x7f);
        if self.have == 2 {
            let is_masked = second & 0x80 != 0;
            if is_masked != matches!(self.sender, Sender::Client) {
                return Some(Violation::Mask);
            }
            if matches!(opcode, 3..=7 | 11..=15) {
                return Some(Violation::Opcode);
            }
            if opcode >= 8 && (first & 0x80 == 0 || length > MAX_CONTROL) {
                return Some(Violation::Control);
            }
        }
        if self.have == 3 && length == 127 && third & 0x80 != 0 {
            return Some(Violation::Length);
        }
        None
    }

    const fn head_length(&self) -> u8 {
        let [_, second, ..] = self.head;
        let length = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 != 0 { 4 } else { 0 };
        2 + length + mask
    }

    /// Begins the payload that the complete head announces.
    fn begin(&mut self) {
        let [first, second, a, b, c, d, e, f, g, h, ..] = self.head;
        self.left = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            length => u64::from(length),
        };
        let opcode = first & 0x0f;
        self.frames += 1;
        self.is_data = opcode < 8;
        if self.is_data {
            self.goes_on = first & 0x80 == 0;
            self.messages += u64::from(!self.goes_on);
            self.progress += 1;
        }
        if opcode == 8 && !self.closed {
            self.closed = true;
            if self.left >= 2 {
                // A control frame has a length of one byte, so the mask follows at once.
                let mask = if second & 0x80 != 0 { [a, b] } else { [0; 2] };
                self.code = Code::Awaited(mask);
            }
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(sender: Sender, first: u8, payload: &[u8]) -> Vec<u8> {
        let mask_bit = if sender == Sender::Client { 0x80 } else { 0 };
        let mut out = vec![first];
        match payload.len() {
            short @ 0..=125 => out.push(u8::try_from(short).unwrap() | mask_bit),
            medium @ 126..=65_535 => {
                out.push(126 | mask_bit);
                out.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                out.push(127 | mask_bit);
                out.extend((long as u64).to_be_bytes());
            }
        }
        if sender == Sender::Client {
            let mask = [0x11, 0x22, 0x33, 0x44];
            out.extend(mask);
            out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        } else {
            out.extend(payload);
        }
        out
    }

    #[test]
    fn a_message_has_ended_with_its_last_frame_and_control_frames_are_no_progress() {
        let mut follower = Follower::new(Sender::Client);
        assert!(!follower.is_in_message());
        let first = frame(Sender::Client, 0x01, b"ab");
        follower.feed(&first[..1]);
        assert!(follower.is_in_message(), "part of a head");
        follower.feed(&first[1..7]);
        assert!(follower.is_in_message(), "part of a payload");
        assert_eq!(follower.progress(), 2);
        follower.feed(&first[7..]);
        assert!(follower.is_in_message(), "a first frame");
        assert_eq!(follower.progress(), 3);
        follower.feed(&frame(Sender::Client, 0x8a, b"pong"));
        assert!(follower.is_in_message(), "a pong ends no message");
        assert_eq!(follower.progress(), 3);
        follower.feed(&frame(Sender::Client, 0x80, b""));
        assert!(!follower.is_in_message());
        assert_eq!((follower.progress(), follower.messages()), (4, 1));
    }

    fn fed(sender: Sender, bytes: &[u8], cut: usize) -> (Follower, usize) {
        let mut follower = Follower::new(sender);
        let mut passed = 0;
        for piece in bytes.chunks(cut.max(1)) {
            passed += follower.feed(piece);
        }
        (follower, passed)
    }

    #[test]
    fn frames_messages_and_the_close_code_are_known_at_any_cut() {
        for sender in [Sender::Client, Sender::Server] {
            let bytes = [
                frame(sender, 0x01, b"hel"),
                frame(sender, 0x89, b"ping"),
                frame(sender, 0x80, b"lo"),
                // With a bit of an extension.
                frame(sender, 0xc2, &[7; 300]),
                frame(sender, 0x82, &[8; 70_000]),
                frame(sender, 0x88, b"\x03\xe9bye"),
            ]
            .concat();
            for cut in (1..400).chain([70_000, bytes.len()]) {
                let (follower, passed) = fed(sender, &bytes, cut);
                assert_eq!(passed, bytes.len());
                assert_eq!((follower.frames(), follower.messages()), (6, 3));
                assert_eq!(follower.close_code(), Some(1001));
                assert!(follower.has_closed() && follower.is_at_boundary());
            }
        }
    }

    #[test]
    fn a_close_frame_may_have_no_code() {
        for payload in [&b""[..], b"x"] {
            let (follower, _) = fed(Sender::Client, &frame(Sender::Client, 0x88, payload), 1);
            assert!(follower.has_closed() && follower.is_at_boundary());
            assert_eq!(follower.close_code(), None);
        }
    }

    #[test]
    fn only_what_nobody_can_read_is_refused_and_nothing_of_it_passes() {
        let whole = frame(Sender::Client, 0x81, b"whole");
        for (bad, violation) in [
            (&b"\x81\x02hi"[..], Violation::Mask),
            (b"\x82\xff\x80\0\0\0\0\0\0\0mask", Violation::Length),
        ] {
            let bytes = [&whole[..], bad].concat();
            let (follower, passed) = fed(Sender::Client, &bytes, bytes.len());
            assert_eq!(passed, whole.len());
            assert_eq!(follower.violation(), Some(violation));
            assert!(follower.refuses() && follower.is_at_boundary());
            let (mut follower, passed) = fed(Sender::Client, &bytes, 1);
            assert!(passed >= whole.len() && passed < whole.len() + 3);
            assert!(follower.refuses() && !follower.is_at_boundary());
            assert_eq!(follower.feed(&whole), 0);
        }
    }

    #[test]
    fn other_violations_pass_and_no_frame_can_be_put_behind_them() {
        for (sender, bad, violation) in [
            (Sender::Client, &b"\x83\x80mask"[..], Violation::Opcode),
            (Sender::Client, b"\x09\x80mask", Violation::Control),
            (Sender::Client, b"\x89\xfe\0\x7emask", Violation::Control),
            (Sender::Server, b"\x8b\0", Violation::Opcode),
            (Sender::Server, b"\x81\x80mask", Violation::Mask),
            (
                Sender::Server,
                b"\x82\x7f\x80\0\0\0\0\0\0\0",
                Violation::Length,
            ),
        ] {
            for cut in 1..=bad.len() {
                let (mut follower, passed) = fed(sender, bad, cut);
                assert_eq!(passed, bad.len());
                assert_eq!(follower.violation(), Some(violation));
                assert!(follower.is_lost() && !follower.is_at_boundary());
                assert_eq!(follower.feed(b"more"), 4);
                assert_eq!(follower.feed_to_boundary(b"more"), 4);
            }
        }
    }

    #[test]
    fn a_boundary_inside_a_read_is_found() {
        let frames = [
            frame(Sender::Server, 0x82, &[1; 1000]),
            frame(Sender::Server, 0x81, b"next"),
        ];
        let bytes = frames.concat();
        let mut follower = Follower::new(Sender::Server);
        assert_eq!(follower.feed(&bytes[..10]), 10);
        assert!(!follower.is_at_boundary());
        assert_eq!(
            follower.feed_to_boundary(&bytes[10..]),
            frames[0].len() - 10
        );
        assert!(follower.is_at_boundary());
    }

    proptest! {
        /// A reader that has all bytes at once finds the same frames.
        #[test]
        fn it_agrees_with_a_simple_reader(
            from_client in any::<bool>(),
            frames in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 0..8),
            cuts in vec(1_usize..40, 1..20),
        ) {
            let sender = if from_client { Sender::Client } else { Sender::Server };
            let mut bytes = Vec::new();
            let mut boundaries = vec![0];
            let mut lost = false;
            let (mut count, mut messages) = (0, 0);
            for (first, payload) in &frames {
                let opcode = first & 0x0f;
                let is_control = opcode >= 8;
                bytes.extend(frame(sender, *first, payload));
                lost |= matches!(opcode, 3..=7 | 11..=15)
                    || (is_control && (first & 0x80 == 0 || payload.len() > 125));
                if !lost {
                    boundaries.push(bytes.len());
                    count += 1;
                    messages += u64::from(!is_control && first & 0x80 != 0);
                }
            }
            let mut follower = Follower::new(sender);
            let (mut at, mut next) = (0, cuts.iter().cycle());
            while at < bytes.len() {
                let end = (at + next.next().unwrap()).min(bytes.len());
                prop_assert_eq!(follower.feed(&bytes[at..end]), end - at);
                at = end;
                prop_assert_eq!(
                    follower.is_at_boundary(),
                    boundaries.contains(&at) && !follower.is_lost());
            }
            prop_assert_eq!(follower.is_lost(), lost);
            prop_assert_eq!((follower.frames(), follower.messages()), (count, messages));
        }

        #[test]
        fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300), cut in 1_usize..20) {
            for sender in [Sender::Client, Sender::Server] {
                let (whole, passed) = fed(sender, &bytes, bytes.len());
                let (pieces, _) = fed(sender, &bytes, cut);
                prop_assert!(passed <= bytes.len());
                prop_assert_eq!(whole.violation(), pieces.violation());
                prop_assert_eq!(whole.frames(), pieces.frames());
                prop_assert_eq!(whole.close_code(), pieces.close_code());
            }
        }
    }
}
