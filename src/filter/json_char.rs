//! Reads the raw body of a JSON string one character at a time and keeps each character's original spelling.

/// One character: its raw spelling and its meaning in UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonChar<'a> {
    pub(super) raw: &'a [u8],
    meaning: [u8; 4],
    len: u8,
}

/// Stands for one half of a surrogate pair. No marker contains this byte.
const HALF: u8 = 0xFF;

impl<'a> JsonChar<'a> {
    /// Splits off the first character of a body.
    pub(super) fn first(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = match *body.first()? {
            b'\\' => match body.get(1) {
                Some(b'u') => 6,
                _ => 2,
            },
            byte if byte < 0x80 => 1,
            byte if byte >= 0xF0 => 4,
            byte if byte >= 0xE0 => 3,
            _ => 2,
        };
        let (raw, rest) = body.split_at(length.min(body.len()));
        let (meaning, len) = match raw {
            [b'\\', b'u', digits @ ..] => escaped(digits),
            [b'\\', b'n'] => one(b'\n'),
            [b'\\', b'r'] => one(b'\r'),
            [b'\\', b't'] => one(b'\t'),
            [b'\\', b'b'] => one(0x08),
            [b'\\', b'f'] => one(0x0C),
            [b'\\', other] => one(*other),
            plain => {
                let mut meaning = [0; 4];
                for (to, from) in meaning.iter_mut().zip(plain) {
                    *to = *from;
                }
                (meaning, plain.len())
            }
        };
        let len = u8::try_from(len).unwrap_or(0);
        Some((Self { raw, meaning, len }, rest))
    }

    /// Returns the decoded character in UTF-8.
    pub(super) fn bytes(&self) -> &[u8] {
        self.meaning.get(..self.len.into()).unwrap_or_default()
    }
}

/// Reports whether a body contains only white space.
pub(super) fn is_blank(mut body: &[u8]) -> bool {
    while let Some((unit, rest)) = JsonChar::first(body) {
        if !unit.bytes().trim_ascii().is_empty() {
            return false;
        }
        body = rest;
    }
    true
}

const fn one(byte: u8) -> ([u8; 4], usize) {
    ([byte, 0, 0, 0], 1)
}

fn escaped(digits: &[u8]) -> ([u8; 4], usize) {
    let code = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(character) = code.and_then(char::from_u32) else {
        return one(HALF);
    };
    let mut meaning = [0; 4];
    let len = character.encode_utf8(&mut meaning).len();
    (meaning, len)
}
