//! Follows the frames of one direction of a WebSocket (RFC 6455, 5.2) without changing or keeping a byte of them.
//!
//! ```text
//! head of 2 to 14 bytes ──► payload, skipped by its length ──► head ...
//! ```
//!
//! It is fed with whatever a read brought. Payload costs nothing: it is skipped by arithmetic. Only the code of a close
//! frame is read. Bits of extensions are not looked at, because only the two ends know what they mean. A length in more
//! bytes than it needs is one that many ends accept, so it is followed as it stands.

mod head;

pub(crate) use head::Head;
pub use head::{Sender, Violation};

/// The opcode of a close frame.
const CLOSE: u8 = 8;

/// Follows the frames of one direction.
#[derive(Clone, Debug)]
pub struct Follower {
    sender: Sender,
    /// What an end must not send is refused, and not only what nobody can read.
    is_strict: bool,
    head: Head,
    /// How many bytes of the payload are missing.
    left: u64,
    frames: u64,
    messages: u64,
    /// The frame that has begun last is of a message.
    is_data: bool,
    /// The newest frame of a message was not its final one, so a continuation must follow.
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
    /// The bytes of the code are about to arrive, masked with these.
    Awaited([u8; 2]),
    /// The second byte is about to arrive, after this one.
    Begun(u8, u8),
    Known(u16),
}

impl Follower {
    /// Creates a follower that stands before the first frame of `sender`. It is between the ends, which judge what they
    /// get.
    pub const fn new(sender: Sender) -> Self {
        Self::between(sender, false)
    }

    /// Creates a follower for the end that reads the frames, which refuses every violation.
    pub const fn strict(sender: Sender) -> Self {
        Self::between(sender, true)
    }

    const fn between(sender: Sender, is_strict: bool) -> Self {
        Self {
            sender,
            is_strict,
            head: Head::new(),
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

    /// Follows `bytes` as [`Follower::feed`] does, but goes no further than to the next end of a frame.
    pub fn feed_to_boundary(&mut self, bytes: &[u8]) -> usize {
        self.advance(bytes, true)
    }

    /// Reports whether the bytes so far end with a whole frame, so that another frame may be put behind them.
    pub const fn is_at_boundary(&self) -> bool {
        self.left == 0 && self.head.is_empty() && !self.is_lost()
    }

    /// Reports whether it is no longer known where frames end.
    pub const fn is_lost(&self) -> bool {
        self.violation.is_some() && !self.refuses()
    }

    /// Reports whether a frame came that must not pass: a client sends it without a mask, or with a length that nobody
    /// can mean, or the follower is a strict one. All that comes from here on is part of it.
    pub const fn refuses(&self) -> bool {
        match self.violation {
            None => false,
            Some(Violation::Mask | Violation::Length) => {
                self.is_strict || matches!(self.sender, Sender::Client)
            }
            Some(_) => self.is_strict,
        }
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

    /// Returns a number that grows with each frame of a message and with each byte of its payload, and with nothing
    /// else.
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
                let begins = self.head.is_empty();
                let read = self.read_head(rest);
                if self.refuses() {
                    // The part of the head that came with earlier bytes has passed.
                    if begins {
                        self.head.restart();
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

    /// Reads a head up to its end. Returns how many of the bytes belong to it.
    fn read_head(&mut self, bytes: &[u8]) -> usize {
        let used = self.head.feed(bytes);
        let found = self.head.violation(self.sender);
        // Where the frame ends is known all the same.
        self.violation = found.filter(|found| self.is_strict || *found != Violation::Padding);
        if self.violation.is_none() && self.head.is_whole() {
            self.begin();
        }
        used
    }

    /// Begins the payload that the complete head announces.
    fn begin(&mut self) {
        self.left = self.head.length();
        self.frames += 1;
        self.is_data = !self.head.is_control();
        if self.is_data {
            self.goes_on = !self.head.is_last();
            self.messages += u64::from(!self.goes_on);
            self.progress += 1;
        }
        if self.head.opcode() == CLOSE && !self.closed {
            self.closed = true;
            if self.left >= 2 {
                let [first, second, ..] = self.head.mask();
                self.code = Code::Awaited([first, second]);
            }
        }
        self.head.restart();
    }
}

#[cfg(test)]
mod tests;
