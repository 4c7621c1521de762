//! How far an escape in a JSON string has come. Halves of characters are told from whole ones.

/// How far an escape in a string has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// None is open.
    None,
    Backslash,
    /// This many digits of `code` are missing. `is_low`: it must be the second half of a character.
    Hex {
        left: u8,
        code: u16,
        is_low: bool,
    },
    /// The backslash of the second half of a character.
    Low,
    /// The `u` of the second half.
    LowMark,
}

impl Escape {
    /// Reads a byte of a string, but not the quote that ends it. `None` if it must not be there.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::None, b'\\') => Self::Backslash,
            (Self::None, 0..=0x1F) => return None,
            (Self::None, _)
            | (Self::Backslash, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                Self::None
            }
            (Self::Backslash, b'u') => Self::Hex {
                left: 4,
                code: 0,
                is_low: false,
            },
            (Self::Low, b'\\') => Self::LowMark,
            (Self::LowMark, b'u') => Self::Hex {
                left: 4,
                code: 0,
                is_low: true,
            },
            (Self::Hex { left, code, is_low }, _) => {
                let digit = u16::try_from(char::from(byte).to_digit(16)?).ok()?;
                let code = code << 4 | digit;
                // Two digits tell halves of a character from others.
                let is_second_half = match left {
                    4 => is_low && digit == 0xD,
                    3 => code & 0xFC == 0xDC,
                    _ => is_low,
                };
                if is_second_half != is_low {
                    return None;
                }
                match left {
                    1 if code & 0xFC00 == 0xD800 => Self::Low,
                    1 => Self::None,
                    _ => Self::Hex {
                        left: left - 1,
                        code,
                        is_low,
                    },
                }
            }
            (Self::Backslash | Self::Low | Self::LowMark, _) => return None,
        })
    }

    /// Returns what completes the escape.
    pub(super) const fn rest(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Backslash => "\\",
            Self::Low => "\\udc00",
            Self::LowMark => "udc00",
            Self::Hex {
                left: 4,
                is_low: true,
                ..
            } => "dc00",
            Self::Hex {
                left: 3,
                is_low: true,
                ..
            } => "c00",
            // The first half of a character is one after two digits.
            Self::Hex {
                left: 2,
                code: 0xD8..=0xDB,
                ..
            } => "00\\udc00",
            Self::Hex {
                left: 1,
                code: 0xD80..=0xDBF,
                ..
            } => "0\\udc00",
            Self::Hex { left, .. } => match left {
                4 => "0000",
                3 => "000",
                2 => "00",
                _ => "0",
            },
        }
    }
}
