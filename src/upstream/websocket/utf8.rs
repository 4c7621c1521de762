//! Checks text that arrives in pieces.

/// The longest character has four bytes; three of them are not a whole one.
const MAX_CHARACTER: usize = 4;

/// Whether the bytes so far are UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The bytes of a character that is not complete yet.
    held: [u8; MAX_CHARACTER],
    have: usize,
}

impl Utf8 {
    /// Reports whether the text may still be UTF-8 with these bytes.
    pub(super) fn accepts(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while self.have > 0 {
            let Some((next, after)) = rest.split_first() else {
                return true;
            };
            let Some(place) = self.held.get_mut(self.have) else {
                return false;
            };
            *place = *next;
            self.have += 1;
            rest = after;
            let held = self.held.get(..self.have).unwrap_or_default();
            match std::str::from_utf8(held) {
                Ok(_) => self.have = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(rest) else {
            return true;
        };
        if error.error_len().is_some() {
            return false;
        }
        let begun = rest.get(error.valid_up_to()..).unwrap_or_default();
        for (place, byte) in self.held.iter_mut().zip(begun) {
            *place = *byte;
        }
        self.have = begun.len().min(MAX_CHARACTER);
        true
    }

    /// Reports whether the text may end here.
    pub(super) const fn is_whole(&self) -> bool {
        self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn checked(bytes: &[u8], cut: usize) -> bool {
        let mut text = Utf8::default();
        bytes.chunks(cut).all(|piece| text.accepts(piece)) && text.is_whole()
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "a\u{e4}\u{20ac}\u{1f600}z".as_bytes();
        for cut in 1..=text.len() {
            assert!(checked(text, cut));
            assert!(!checked(&text[..text.len() - 2], cut), "torn");
        }
        for wrong in [
            &b"\xff"[..],
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xe2\x82a",
            b"\x80",
        ] {
            for cut in 1..=wrong.len() {
                assert!(!checked(wrong, cut), "{wrong:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library(
            bytes in vec(prop_oneof![Just(0xe2), Just(0x82), Just(0xac), Just(0xf0), any::<u8>()], 0..12),
            cut in 1_usize..6,
        ) {
            prop_assert_eq!(checked(&bytes, cut), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
