//! The head of a frame (RFC 6455, 5.2) as it arrives: where it ends, what it says, and what is wrong with it.

/// The longest head: two bytes, a length of eight, and a mask of four.
const MAX_HEAD: usize = 14;
/// The longest payload of a control frame.
const MAX_CONTROL: u64 = 125;

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
    /// The length is written in more bytes than it needs.
    Padding,
}

/// A head, or the part of it that has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    bytes: [u8; MAX_HEAD],
    /// How many of the bytes have arrived.
    have: u8,
}

impl Head {
    /// Creates a head of which nothing has arrived.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; MAX_HEAD],
            have: 0,
        }
    }

    /// Takes bytes up to the end of the head. Returns how many of them belong to it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        if self.have == 0
            && let Some(all) = bytes.first_chunk()
        {
            // Most heads are not cut. What follows the head is copied along, and nobody looks at it.
            self.bytes = *all;
            self.have = self.size();
            return usize::from(self.have);
        }
        let begin = self.fill(bytes, 2);
        if self.have < 2 {
            return begin;
        }
        begin + self.fill(bytes.get(begin..).unwrap_or_default(), self.size())
    }

    /// Takes bytes until `until` of them have arrived.
    fn fill(&mut self, bytes: &[u8], until: u8) -> usize {
        let missing = usize::from(self.have)..usize::from(until);
        let places = self.bytes.get_mut(missing).unwrap_or_default();
        let mut taken = 0;
        for (place, byte) in places.iter_mut().zip(bytes) {
            *place = *byte;
            taken += 1;
        }
        self.have += taken;
        usize::from(taken)
    }

    /// Forgets what has arrived: another frame begins. What the last head said stays known until it does.
    pub(crate) const fn restart(&mut self) {
        self.have = 0;
    }

    /// Reports whether nothing of the head has arrived.
    pub(crate) const fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// Reports whether the whole head has arrived.
    pub(crate) const fn is_whole(&self) -> bool {
        self.have >= 2 && self.have == self.size()
    }

    /// Returns what is wrong with the part that has arrived: the same, however it was cut.
    pub(crate) fn violation(&self, sender: Sender) -> Option<Violation> {
        if self.have < 2 {
            return None;
        }
        if self.is_masked() != matches!(sender, Sender::Client) {
            return Some(Violation::Mask);
        }
        if matches!(self.opcode(), 3..=7 | 11..=15) {
            return Some(Violation::Opcode);
        }
        if self.is_control() && !self.is_last() {
            return Some(Violation::Control);
        }
        let [_, _, third, ..] = self.bytes;
        let extra = self.extra();
        if extra == 8 && self.have > 2 && third & 0x80 != 0 {
            return Some(Violation::Length);
        }
        if extra == 0 || self.have < 2 + extra {
            return None;
        }
        let (length, least) = (self.length(), if extra == 2 { 126 } else { 65_536 });
        if self.is_control() && length > MAX_CONTROL {
            return Some(Violation::Control);
        }
        (length < least).then_some(Violation::Padding)
    }

    /// Reports whether the frame is the last one of its message.
    pub(crate) const fn is_last(&self) -> bool {
        let [first, ..] = self.bytes;
        first & 0x80 != 0
    }

    /// Reports whether a bit is set that belongs to extensions.
    pub(crate) const fn is_extended(&self) -> bool {
        let [first, ..] = self.bytes;
        first & 0x70 != 0
    }

    pub(crate) const fn opcode(&self) -> u8 {
        let [first, ..] = self.bytes;
        first & 0x0f
    }

    /// Reports whether the frame is a close, a ping or a pong, and no part of a message.
    pub(crate) const fn is_control(&self) -> bool {
        self.opcode() & 0x08 != 0
    }

    /// Returns how many bytes of payload the complete head announces.
    pub(crate) fn length(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.bytes;
        match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([a, b])),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            length => u64::from(length),
        }
    }

    /// Returns the mask of the complete head; zeros if the frame has none.
    pub(crate) const fn mask(&self) -> [u8; 4] {
        if !self.is_masked() {
            return [0; 4];
        }
        let [_, _, a, b, c, d, e, f, _, _, m, n, o, p] = self.bytes;
        match self.extra() {
            0 => [a, b, c, d],
            2 => [c, d, e, f],
            _ => [m, n, o, p],
        }
    }

    const fn is_masked(&self) -> bool {
        let [_, second, ..] = self.bytes;
        second & 0x80 != 0
    }

    /// Returns how many bytes the length takes beyond the second one.
    const fn extra(&self) -> u8 {
        let [_, second, ..] = self.bytes;
        match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// Returns how long the head is, once its second byte is known.
    const fn size(&self) -> u8 {
        2 + self.extra() + if self.is_masked() { 4 } else { 0 }
    }
}
