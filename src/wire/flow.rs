//! Whether a decoder goes on after a frame.
//!
//! A few bytes may hold many frames, and compressed ones any number. Whoever receives the frames can stop the decoder
//! after each one, and let it go on later.

/// The answer to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More frames are welcome.
    Go,
    /// The decoder stops here, and keeps the bytes that follow.
    Pause,
}

impl From<()> for Flow {
    /// A receiver that returns nothing takes everything.
    fn from((): ()) -> Self {
        Self::Go
    }
}

impl Flow {
    /// Goes on if `holds`.
    pub const fn while_true(holds: bool) -> Self {
        if holds { Self::Go } else { Self::Pause }
    }
}
