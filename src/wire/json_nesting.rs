//! Finds the end of a large JSON object or array, 64 bytes at a time.
//!
//! Byte by byte, an event of many megabytes would keep its thread from the other streams for too long.

/// Bytes in a chunk: a mask has a bit for each of them, the lowest for the first.
const CHUNK: usize = 64;
const LANES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LANES << 7;

/// Returns the length of `bytes` up to the bracket that closes the outermost of `depth` open ones. `bytes` begin
/// outside of strings. Any bracket closes any other.
pub(super) fn end(bytes: &[u8], depth: usize) -> Option<usize> {
    let mut place = Place {
        depth,
        in_string: false,
        escaped: false,
    };
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    for (number, chunk) in chunks.iter().enumerate() {
        if let Some(end) = place.chunk(chunk) {
            return Some(number * CHUNK + end);
        }
    }
    let end = place.bytes(rest)?;
    Some(chunks.len() * CHUNK + end)
}

/// What the next byte belongs to.
struct Place {
    /// How many brackets are open.
    depth: usize,
    in_string: bool,
    /// After a backslash in a string.
    escaped: bool,
}

impl Place {
    /// Reads a chunk. Returns the end of the outermost bracket, if it lies there.
    fn chunk(&mut self, chunk: &[u8; CHUNK]) -> Option<usize> {
        let masks = Masks::of(chunk);
        if masks.backslashes != 0 || self.escaped {
            return self.bytes(chunk);
        }
        let within = in_strings(masks.quotes, self.in_string);
        self.in_string = within >> (CHUNK - 1) == 1;
        let (opening, closing) = (masks.opening & !within, masks.closing & !within);
        let closed = closing.count_ones() as usize;
        if closed < self.depth {
            self.depth += opening.count_ones() as usize;
            self.depth -= closed;
            return None;
        }
        let mut brackets = opening | closing;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            if opening >> at & 1 == 1 {
                self.depth += 1;
            } else {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Some(at as usize + 1);
                }
            }
            brackets &= brackets - 1;
        }
        None
    }

    /// Like [`Place::chunk`], byte by byte.
    fn bytes(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// Which bytes of a chunk have a meaning in JSON: one bit for each byte.
#[derive(Default)]
struct Masks {
    quotes: u64,
    backslashes: u64,
    opening: u64,
    closing: u64,
}

impl Masks {
    fn of(chunk: &[u8; CHUNK]) -> Self {
        let mut masks = Self::default();
        let (words, _) = chunk.as_chunks();
        for word in words.iter().rev() {
            let word = u64::from_le_bytes(*word);
            // `[` and `]` differ from `{` and `}` in this bit only.
            let folded = word | LANES << 5;
            masks.quotes = masks.quotes << 8 | equal(word, b'"');
            masks.backslashes = masks.backslashes << 8 | equal(word, b'\\');
            masks.opening = masks.opening << 8 | equal(folded, b'{');
            masks.closing = masks.closing << 8 | equal(folded, b'}');
        }
        masks
    }
}

/// Returns eight bits, the lowest for the first byte of `word` (its lowest): whether it is `byte`.
const fn equal(word: u64, byte: u8) -> u64 {
    let different = word ^ (LANES * byte as u64);
    // The high bit of each byte is set if any bit of it is: no addition carries into the next byte.
    let nonzero = ((different & !HIGH_BITS) + !HIGH_BITS) | different;
    // Moves the high bit of byte n to bit n of the highest byte.
    ((!nonzero & HIGH_BITS) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Returns which bytes lie within strings, the opening quotes among them. `inside` is whether the first byte does.
const fn in_strings(quotes: u64, inside: bool) -> u64 {
    let mut odd = quotes;
    let mut distance = 1;
    while distance < u64::BITS {
        odd ^= odd << distance;
        distance *= 2;
    }
    if inside { !odd } else { odd }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Does the same as the function under test, byte by byte.
    fn plain(bytes: &[u8], depth: usize) -> Option<usize> {
        let mut place = Place {
            depth,
            in_string: false,
            escaped: false,
        };
        place.bytes(bytes)
    }

    #[test]
    fn the_end_is_found_wherever_it_lies() {
        for len in 0..200 {
            let text = format!("\"}}]\\\"{}\":[{{}}]}}]", "x".repeat(len));
            let end = text.len() - 1;
            assert_eq!(super::end(text.as_bytes(), 1), Some(end), "{text}");
            assert_eq!(super::end(text.as_bytes(), 2), Some(end + 1), "{text}");
            assert_eq!(super::end(text.as_bytes(), 3), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn chunks_say_what_bytes_say(text in "[\\[\\]{}\"a,\\\\é ]{0,300}", sparse in "[\\[{}a\"]{0,8}(a{0,90}[\\]}\"{\\\\]){0,6}", depth in 1_usize..6) {
            for text in [&text, &sparse] {
                prop_assert_eq!(end(text.as_bytes(), depth), plain(text.as_bytes(), depth));
            }
        }

        #[test]
        fn any_bytes_do(bytes in proptest::collection::vec(any::<u8>(), 0..400), depth in 1_usize..4) {
            prop_assert_eq!(end(&bytes, depth), plain(&bytes, depth));
        }
    }
}
