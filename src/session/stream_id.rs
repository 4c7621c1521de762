//! Stream ids.

use std::fmt;

/// The id of a stream: 128 random bits. It cannot be guessed, so knowing it is a capability.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId([u8; 16]);

impl StreamId {
    /// Creates an id from the operating system's random source.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        // Without a random source the id can be guessed and is not unique, so the failure is logged.
        if getrandom::fill(&mut bytes).is_err() {
            tracing::error!(
                "the operating system gives no random bytes; stream ids are not unique"
            );
        }
        Self(bytes)
    }

    /// Parses an id as [`StreamId`] displays it: 32 hexadecimal digits, in either case. Returns `None` for anything
    /// else.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let pairs: &[[u8; 2]; 16] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
        let mut bytes = [0; 16];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0_u8; 32];
        f.write_str(hex_into(&self.0, &mut digits))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8; bytes.len() * 2];
    hex_into(bytes, &mut digits).to_owned()
}

/// Writes the bytes as lower-case hexadecimal digits, as far as there is space, and returns all of the space.
pub(super) fn hex_into<'a>(bytes: &[u8], space: &'a mut [u8]) -> &'a str {
    let digit = |value: u8| {
        if value < 10 {
            b'0' + value
        } else {
            b'a' - 10 + value
        }
    };
    for (byte, pair) in bytes.iter().zip(space.as_chunks_mut::<2>().0) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    std::str::from_utf8(space).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = StreamId::random();
        let text = id.to_string();
        assert_eq!(StreamId::parse(&text), Some(id));
        assert_eq!(StreamId::parse(&text.to_uppercase()), Some(id));
        let signed = format!("+{}", text.get(1..).unwrap());
        let longer = format!("{text}0");
        for bad in [
            "",
            "0",
            text.get(1..).unwrap(),
            &signed,
            &longer,
            "é",
            &"é".repeat(16),
        ] {
            assert_eq!(StreamId::parse(bad), None, "{bad:?}");
        }
    }
}
