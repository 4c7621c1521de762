//! Finds the top-level members of a JSON object that arrives in pieces, and buffers nothing else.
//!
//! Used for request bodies, which are forwarded unchanged whatever their size. A few of their top-level members show
//! what kind of request it is.

use memchr::memchr2;

/// Longer keys and values are truncated: those that matter are short.
const MAX_BYTES: usize = 256;

/// The scanner's position in a JSON text, with the current key and value.
#[derive(Debug, Default)]
pub struct Scanner {
    at: Place,
    /// How many brackets are open inside the top-level object.
    depth: usize,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the opening brace.
    #[default]
    Start,
    /// Before a top-level key.
    BeforeKey,
    Key,
    KeyEscape,
    /// After a top-level key.
    Colon,
    /// Before a top-level value.
    BeforeValue,
    /// In a top-level string.
    Text,
    TextEscape,
    /// In a top-level number or literal.
    Scalar,
    /// In a nested object or array.
    Deep,
    DeepText,
    DeepEscape,
    /// The text is not an object, or the object has ended.
    Done,
}

impl Scanner {
    /// Scans the next piece and calls `found` with the key and the raw value of each top-level member. For an object
    /// or array, `found` is called when the value begins, and gets its first byte only.
    pub fn feed(&mut self, piece: &[u8], found: &mut impl FnMut(&[u8], &[u8])) {
        let mut pos = 0;
        while let Some(byte) = piece.get(pos).copied() {
            pos += 1;
            if self.at == Place::Done {
                return;
            }
            if matches!(self.at, Place::Text | Place::DeepText) {
                // Most bytes of a request lie in strings, so they are skipped with one search.
                let rest = piece.get(pos - 1..).unwrap_or_default();
                let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                if plain > 0 {
                    if self.at == Place::Text {
                        keep(&mut self.value, rest.get(..plain).unwrap_or_default());
                    }
                    pos += plain - 1;
                    continue;
                }
            }
            self.step(byte, found);
        }
    }

    fn step(&mut self, byte: u8, found: &mut impl FnMut(&[u8], &[u8])) {
        let is_space = byte.is_ascii_whitespace();
        self.at = match (self.at, byte) {
            (Place::Start, b'{') => Place::BeforeKey,
            // A byte order mark is not white space, but it is harmless.
            (Place::Start, 0xEF | 0xBB | 0xBF) => Place::Start,
            (Place::Start, _) if is_space => Place::Start,
            (Place::Start, _) => Place::Done,
            (Place::BeforeKey, b'"') => {
                self.key.clear();
                Place::Key
            }
            (Place::BeforeKey, b'}') => Place::Done,
            (Place::BeforeKey, _) => Place::BeforeKey,
            (Place::Key, b'"') => Place::Colon,
            (Place::Key, _) => {
                keep(&mut self.key, &[byte]);
                if byte == b'\\' {
                    Place::KeyEscape
                } else {
                    Place::Key
                }
            }
            (Place::KeyEscape, _) => {
                keep(&mut self.key, &[byte]);
                Place::Key
            }
            (Place::Colon, b':') => {
                self.value.clear();
                Place::BeforeValue
            }
            (Place::Colon, _) => Place::Colon,
            (Place::BeforeValue, b'{' | b'[') => {
                self.depth = 1;
                found(&self.key, &[byte]);
                Place::Deep
            }
            (Place::BeforeValue, b'"') => {
                self.value.push(byte);
                Place::Text
            }
            (Place::BeforeValue, _) if is_space => Place::BeforeValue,
            (Place::BeforeValue, _) => {
                self.value.push(byte);
                Place::Scalar
            }
            (Place::Text, b'"') => {
                self.value.push(byte);
                found(&self.key, &self.value);
                Place::BeforeKey
            }
            (Place::Text, _) => {
                keep(&mut self.value, &[byte]);
                if byte == b'\\' {
                    Place::TextEscape
                } else {
                    Place::Text
                }
            }
            (Place::TextEscape, _) => {
                keep(&mut self.value, &[byte]);
                Place::Text
            }
            (Place::Scalar, b',' | b'}') => {
                found(&self.key, self.value.trim_ascii_end());
                if byte == b'}' {
                    Place::Done
                } else {
                    Place::BeforeKey
                }
            }
            (Place::Scalar, _) => {
                keep(&mut self.value, &[byte]);
                Place::Scalar
            }
            (Place::Deep, b'"') => Place::DeepText,
            (Place::Deep, b'{' | b'[') => {
                self.depth += 1;
                Place::Deep
            }
            (Place::Deep, b'}' | b']') => {
                self.depth -= 1;
                if self.depth == 0 {
                    Place::BeforeKey
                } else {
                    Place::Deep
                }
            }
            (Place::Deep, _) => Place::Deep,
            (Place::DeepText, b'"') => Place::Deep,
            (Place::DeepText, b'\\') => Place::DeepEscape,
            (Place::DeepText | Place::DeepEscape, _) => Place::DeepText,
            (Place::Done, _) => Place::Done,
        };
    }
}

/// Appends `bytes`, up to [`MAX_BYTES`] in all. The caller adds the closing quote of a string beyond that.
fn keep(to: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_BYTES.saturating_sub(to.len());
    to.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(body: &str, cut: usize) -> Vec<(String, String)> {
        let mut scanner = Scanner::default();
        let mut out = Vec::new();
        for piece in body.as_bytes().chunks(cut) {
            scanner.feed(piece, &mut |key, value| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                out.push((text(key), text(value)));
            });
        }
        out
    }

    #[test]
    fn members_at_the_top_are_found_however_the_body_is_cut() {
        let body = r#" {"jsonrpc" : "2.0","params":{"id":1,"x":["]}",{"id":2}],"\"":"\\"}, "id" : 7 ,
            "stream":true,"text":"say \"stream\": false}","list":[],"n":null} {"late":1}"#;
        let expected = [
            ("jsonrpc", "\"2.0\""),
            ("params", "{"),
            ("id", "7"),
            ("stream", "true"),
            ("text", r#""say \"stream\": false}""#),
            ("list", "["),
            ("n", "null"),
        ];
        for cut in 1..=body.len() {
            let found = members(body, cut);
            let found: Vec<(&str, &str)> = found
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            assert_eq!(found, expected, "cut into {cut}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for body in ["[{\"id\":1}]", "\"id\"", "", "}", "stream=true", "{"] {
            assert_eq!(members(body, 2), []);
        }
    }

    #[test]
    fn long_values_are_cut_and_forgotten() {
        let body = format!("{{\"a\":\"{}\",\"b\":1}}", "x".repeat(10_000));
        let found = members(&body, 100);
        assert!(found[0].1.len() <= MAX_BYTES + 1);
        assert_eq!(found[1], ("b".to_owned(), "1".to_owned()));
    }
}
