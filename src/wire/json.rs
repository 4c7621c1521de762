//! Finds members of a JSON text without decoding it.
//!
//! A [`Cursor`] walks the bytes once, from left to right: the caller reads the members it wants and skips
//! the rest. Nothing is allocated or copied. Strings are returned as the raw bytes between their quotes, so
//! that they can be spliced without decoding (a lone surrogate escape stays as it is). The cursor is as
//! lenient as Python: it accepts `NaN`, `Infinity` and any nesting. `None` means "not JSON".

use std::ops::Range;

use memchr::memchr2;

use super::json_nesting;

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

/// The kind of the value at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `[`
    Array,
    /// `null`
    Null,
    /// `{`
    Object,
    /// A number, `true`, `false` or `NaN`.
    Scalar,
    /// `"`
    String,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the first byte of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0 }
    }

    /// Enters an object. Returns `None` if there is none at the cursor.
    pub fn enter_object(&mut self) -> Option<()> {
        self.expect(b'{')
    }

    /// Enters an array. Returns `None` if there is none at the cursor.
    pub fn enter_array(&mut self) -> Option<()> {
        self.expect(b'[')
    }

    /// Returns the next key of the entered object and moves the cursor to its value. Returns `Some(None)`
    /// after the closing brace. The value must be read, entered or skipped before the next call.
    pub fn next_key(&mut self) -> Option<Option<&'a [u8]>> {
        if !self.next_item(b'}')? {
            return Some(None);
        }
        let key = self.string()?;
        self.expect(b':')?;
        Some(self.bytes.get(key))
    }

    /// Reports whether the entered array has another element. Returns `Some(false)` after the closing bracket.
    pub fn next_element(&mut self) -> Option<bool> {
        self.next_item(b']')
    }

    /// Returns the kind of the value at the cursor.
    pub fn kind(&mut self) -> Option<Kind> {
        Some(match self.peek()? {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'n' => Kind::Null,
            b'}' | b']' | b',' | b':' => return None,
            _ => Kind::Scalar,
        })
    }

    /// Reads a string and returns the range of the raw bytes between its quotes.
    pub fn string(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.pos;
        loop {
            let at = self.pos + quote_or_escape(self.bytes.get(self.pos..)?)?;
            if self.bytes.get(at) == Some(&b'"') {
                self.pos = at + 1;
                return Some(start..at);
            }
            self.pos = at + 2;
        }
    }

    /// Reads a value and, if it is a string, returns the range of the raw bytes between its quotes.
    pub fn string_or_skip(&mut self) -> Option<Option<Range<usize>>> {
        if self.kind()? == Kind::String {
            return Some(Some(self.string()?));
        }
        self.skip()?;
        Some(None)
    }

    /// Reads a value and returns it if it is a non-negative integer.
    pub fn u64_or_skip(&mut self) -> Option<Option<u64>> {
        let value = self.skip()?;
        let digits = self.bytes.get(value)?;
        if digits.is_empty() {
            return Some(None);
        }
        let mut number: u64 = 0;
        for digit in whole_part(digits) {
            let Some(next) = (digit.is_ascii_digit())
                .then(|| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
                .flatten()
            else {
                return Some(None);
            };
            number = next;
        }
        Some(Some(number))
    }

    /// Reads a value and reports whether it is truthy in Python and JavaScript: not `null`, `false`, `0` or
    /// `""`. Empty objects count as truthy.
    pub fn truthy_or_skip(&mut self) -> Option<bool> {
        let value = self.skip()?;
        Some(!matches!(
            self.bytes.get(value)?,
            b"null" | b"false" | b"0" | b"\"\""
        ))
    }

    /// Skips one value of any kind and returns its range.
    pub fn skip(&mut self) -> Option<Range<usize>> {
        let first = self.peek()?;
        let start = self.pos;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.skip_nested()?,
            b'}' | b']' | b',' | b':' => return None,
            _ => {
                let rest = self.bytes.get(start..)?;
                // White space must be what it is in `peek`. Otherwise a value that begins with another white space
                // byte would have length zero, and a caller that skips values would loop for ever.
                let is_end =
                    |byte: &u8| is_space(*byte) || matches!(byte, b',' | b'}' | b']' | b':' | b'"');
                self.pos = start + rest.iter().position(is_end).unwrap_or(rest.len());
            }
        }
        Some(start..self.pos)
    }

    /// Reports whether only white space is left.
    pub fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    fn skip_nested(&mut self) -> Option<()> {
        /// Beyond this, masks are faster.
        const MAX_PLAIN: usize = 256;
        let start = self.pos;
        let mut depth = 0_usize;
        loop {
            if self.pos - start > MAX_PLAIN {
                self.pos += json_nesting::end(self.bytes.get(self.pos..)?, depth)?;
                return Some(());
            }
            // Nothing else changes the depth or hides a bracket.
            let counts = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
            let rest = self.bytes.get(self.pos..)?;
            let found = rest.iter().position(counts)?;
            self.pos += found;
            match rest.get(found)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                _ => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        self.pos += 1;
                        return Some(());
                    }
                }
            }
            self.pos += 1;
        }
    }

    fn next_item(&mut self, close: u8) -> Option<bool> {
        let byte = self.peek()?;
        if byte == close {
            self.pos += 1;
            return Some(false);
        }
        if byte == b',' {
            self.pos += 1;
        }
        Some(true)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.pos += 1)
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.pos)?;
            if !is_space(byte) {
                return Some(byte);
            }
            self.pos += 1;
        }
    }
}

/// Reports whether `byte` is JSON white space (RFC 8259, 2), which does not include the form feed.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns a number without the fraction that some servers add to their counts (`18.0`); other numbers as they are.
fn whole_part(number: &[u8]) -> &[u8] {
    let whole = number.strip_suffix(b".0").unwrap_or(number);
    if whole.is_empty() { number } else { whole }
}

/// Reports whether `bytes` hold exactly one complete JSON value. Used to detect truncation.
pub fn is_whole(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    cursor.skip().is_some() && cursor.at_end()
}

/// Returns the range of the raw string at `path` (member names from the root), if there is one.
pub fn string_at(bytes: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let mut cursor = Cursor::new(bytes);
    for name in path {
        cursor.enter_object()?;
        loop {
            let key = cursor.next_key()??;
            if key == name.as_bytes() {
                break;
            }
            cursor.skip()?;
        }
    }
    (cursor.kind()? == Kind::String)
        .then(|| cursor.string())
        .flatten()
}

/// Returns the position of the first quote or backslash. Most strings are names of a few bytes, for which setting up a
/// search costs more than the search.
fn quote_or_escape(rest: &[u8]) -> Option<usize> {
    const WORD: usize = size_of::<u64>();
    let Some(first) = rest.first_chunk::<WORD>() else {
        return memchr2(b'"', b'\\', rest);
    };
    let word = u64::from_le_bytes(*first);
    let found = marks(word, b'"') | marks(word, b'\\');
    if found != 0 {
        // The bits above the lowest one may be wrong.
        return Some(found.trailing_zeros() as usize / 8);
    }
    Some(WORD + memchr2(b'"', b'\\', rest.get(WORD..)?)?)
}

/// Marks the highest bit of each byte of `word` that is `byte`: exactly up to the lowest mark.
const fn marks(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let differs = word ^ (ONES * byte as u64);
    differs.wrapping_sub(ONES) & !differs & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_string_is_found_at_any_place() {
        for len in 0..40 {
            for (at, byte) in (0..len).flat_map(|at| [(at, b'"'), (at, b'\\')]) {
                // Bytes beside them, whose marks borrow from one another.
                for other in [b'#', b'!', b']', b'[', 0, 0xff, b'a'] {
                    let mut text = vec![other; len];
                    text[at] = byte;
                    let expected = memchr2(b'"', b'\\', &text);
                    assert_eq!(quote_or_escape(&text), expected, "{text:?}");
                    text[len - 1] = b'"';
                    assert_eq!(quote_or_escape(&text), Some(at), "{text:?}");
                }
            }
        }
    }

    fn at(text: &str, path: &[&str]) -> Option<String> {
        string_at(text.as_bytes(), path).map(|range| text[range].to_owned())
    }

    #[test]
    fn members_are_found_at_any_depth_without_decoding() {
        let text = r#" { "a" : [1,{"b":"]}"}], "c":{"d":"x\"y\ud83d"}, "e":"z" }"#;
        assert_eq!(at(text, &["c", "d"]).as_deref(), Some(r#"x\"y\ud83d"#));
        assert_eq!(at(text, &["e"]).as_deref(), Some("z"));
        assert_eq!(at(text, &["a"]), None);
        assert_eq!(at(text, &["nope"]), None);
    }

    #[test]
    fn whole_values_are_told_from_torn_ones() {
        for whole in [
            "{}",
            " [1, 2] ",
            r#""x""#,
            "12",
            r#"{"a":NaN,"b":[{}]}"#,
            r#""\ud83d""#,
        ] {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
        for torn in [
            "", "{", r#"{"a""#, r#"{"a":"#, r#""x\""#, "[1,", "{}{}", "{} x", "}",
        ] {
            assert!(!is_whole(torn.as_bytes()), "{torn}");
        }
    }

    #[test]
    fn numbers_that_are_not_counts_are_no_numbers() {
        let read = |text: &str| Cursor::new(text.as_bytes()).u64_or_skip();
        assert_eq!(read("12"), Some(Some(12)));
        assert_eq!(read("18.0"), Some(Some(18)));
        for text in ["-1", "1.5", "1e3", "null", "\"7\"", "99999999999999999999"] {
            assert_eq!(read(text), Some(None), "{text}");
        }
    }

    #[test]
    fn no_input_makes_it_panic_or_loop() {
        let text = br#"{"a":[1,{"b":"c\\"}],"d":null}"#;
        for end in 0..text.len() {
            for start in 0..end {
                let _ = Cursor::new(&text[start..end]).skip();
            }
        }
        // Skipping a value always advances, whatever byte the value begins with.
        for byte in 0..=u8::MAX {
            let value = Cursor::new(&[byte, b'1']).skip();
            assert!(value.is_none_or(|value| !value.is_empty()), "{byte}");
            let text = [b'[', byte, byte, byte];
            let mut array = Cursor::new(&text);
            array.enter_array().unwrap();
            let steps = std::iter::from_fn(|| {
                array.next_element()?.then_some(())?;
                array.skip().map(drop)
            });
            assert!(steps.take(5).count() < 5, "{byte}");
        }
    }
}
