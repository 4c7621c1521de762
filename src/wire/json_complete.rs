//! Checks whether a JSON text that arrives in pieces adds up to exactly one value.
//!
//! Each piece is the raw body of a JSON string, as in the streamed arguments of a tool call.

/// Deeper nesting is not followed: such a text counts as complete.
const MAX_DEPTH: usize = 256;
/// Longer numbers and literals count as malformed: none that is sent in practice is longer.
const MAX_WORD_BYTES: usize = 40;

/// The state of a JSON text, of which a part has been read.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    at: Place,
    /// The open brackets: `true` for an object, `false` for an array.
    open: Vec<bool>,
    /// The unfinished number or literal.
    word: Vec<u8>,
    /// Something other than white space was read.
    any: bool,
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Value,
    /// The first element of an array, or the end of the array.
    FirstElement,
    /// The first key of an object, or the end of the object.
    FirstKey,
    Key,
    InKey,
    KeyEscape,
    Colon,
    InText,
    TextEscape,
    InWord,
    /// A comma, or the end of the innermost object or array.
    Comma,
    /// Not JSON.
    Broken,
    /// Nested too deeply to check.
    TooDeep,
}

impl Whole {
    /// Reads the next piece: the raw body of a JSON string, whose escapes are decoded here.
    pub fn feed(&mut self, body: &[u8]) {
        let mut bytes = body.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                self.step(byte);
                continue;
            }
            match bytes.next() {
                Some(b'n' | b'r' | b't') => self.step(b' '),
                Some(b'u') => {
                    let mut code = 0_u32;
                    for digit in bytes.by_ref().take(4) {
                        code = code * 16 + char::from(digit).to_digit(16).unwrap_or(0);
                    }
                    // A character outside ASCII is valid only inside a string.
                    self.step(u8::try_from(code).unwrap_or(0xFF));
                }
                Some(other) => self.step(other),
                None => {}
            }
        }
    }

    /// Reports whether the text so far is exactly one value, or empty.
    pub fn is_whole(&self) -> bool {
        match self.at {
            Place::TooDeep => true,
            Place::Comma => self.open.is_empty(),
            Place::InWord => self.open.is_empty() && is_word(&self.word),
            _ => !self.any,
        }
    }

    /// Reports whether the text so far is the beginning of a value, and no more than that.
    pub fn is_begun(&self) -> bool {
        !self.is_whole() && self.at != Place::Broken
    }

    fn step(&mut self, byte: u8) {
        let is_space = byte.is_ascii_whitespace();
        self.any |= !is_space;
        self.at = match (self.at, byte) {
            (Place::Broken | Place::TooDeep, _) => self.at,
            (Place::InText, b'"') => Place::Comma,
            (Place::InText, b'\\') => Place::TextEscape,
            (Place::InText | Place::TextEscape, _) => Place::InText,
            (Place::InKey, b'"') => Place::Colon,
            (Place::InKey, b'\\') => Place::KeyEscape,
            (Place::InKey | Place::KeyEscape, _) => Place::InKey,
            (Place::InWord, b',' | b'}' | b']') => self.after_word(byte),
            (Place::InWord, _) if is_space => {
                let whole = is_word(&self.word);
                if whole { Place::Comma } else { Place::Broken }
            }
            (Place::InWord, _) => {
                self.word.push(byte);
                if self.word.len() > MAX_WORD_BYTES {
                    Place::Broken
                } else {
                    Place::InWord
                }
            }
            (place, _) if is_space => place,
            (Place::FirstElement, b']') | (Place::FirstKey, b'}') => self.close(),
            (Place::FirstKey | Place::Key, b'"') => Place::InKey,
            (Place::Colon, b':') => Place::Value,
            (Place::Comma, b',') => match self.open.last() {
                Some(true) => Place::Key,
                Some(false) => Place::Value,
                None => Place::Broken,
            },
            (Place::Comma, b'}') if self.open.last() == Some(&true) => self.close(),
            (Place::Comma, b']') if self.open.last() == Some(&false) => self.close(),
            (Place::Value | Place::FirstElement, _) => self.value(byte),
            _ => Place::Broken,
        };
    }

    fn value(&mut self, byte: u8) -> Place {
        match byte {
            b'"' => Place::InText,
            b'{' | b'[' if self.open.len() == MAX_DEPTH => Place::TooDeep,
            b'{' => {
                self.open.push(true);
                Place::FirstKey
            }
            b'[' => {
                self.open.push(false);
                Place::FirstElement
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'-' => {
                self.word.clear();
                self.word.push(byte);
                Place::InWord
            }
            _ => Place::Broken,
        }
    }

    fn after_word(&mut self, byte: u8) -> Place {
        if !is_word(&self.word) {
            return Place::Broken;
        }
        self.at = Place::Comma;
        self.step(byte);
        self.at
    }

    fn close(&mut self) -> Place {
        self.open.pop();
        Place::Comma
    }
}

/// Reports whether `word` is a number, or a literal of JSON or of Python's variant of it.
fn is_word(word: &[u8]) -> bool {
    let names: [&[u8]; 6] = [
        b"true",
        b"false",
        b"null",
        b"NaN",
        b"Infinity",
        b"-Infinity",
    ];
    let is_number = || {
        let text = std::str::from_utf8(word).unwrap_or_default();
        text.parse::<f64>().is_ok() && text.bytes().all(|byte| b"+-.eE0123456789".contains(&byte))
    };
    names.contains(&word) || is_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(text: &str, cut: usize) -> bool {
        let mut whole = Whole::default();
        // Escapes are never split: each piece is a JSON string of its own.
        let mut pieces: Vec<String> = Vec::new();
        for (at, character) in text.chars().enumerate() {
            let escaped = serde_json::to_string(&character.to_string()).unwrap();
            if at % cut == 0 {
                pieces.push(String::new());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.push_str(&escaped[1..escaped.len() - 1]);
            }
        }
        for piece in &pieces {
            whole.feed(piece.as_bytes());
        }
        whole.is_whole()
    }

    #[test]
    fn whole_texts_are_told_from_others_however_they_come() {
        let whole = [
            "",
            " \n",
            "{}",
            "[]",
            r#"{"city": "Os\"lo\\", "n": [1, -2.5e3, true, null, {}]}"#,
            "\"text\"",
            "12",
            "{\"a\":\"\u{e9}\u{1f600}\\u00e9\"}",
            " [ [ ] , { } ] ",
            "{\"n\":NaN}",
        ];
        let broken = [
            "{",
            "}",
            "{\"a\"",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1,]",
            "[1 2]",
            "{}{}",
            "{\"a\":1}}",
            "{a:1}",
            "nul",
            "truefalse",
            "1.2.3",
            "\"open",
            "[}",
            "{]",
            "rain",
        ];
        for cut in 1..8 {
            for text in whole {
                assert!(is_whole(text, cut), "{text}");
            }
            for text in broken {
                assert!(!is_whole(text, cut), "{text}");
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut whole = Whole::default();
        whole.feed("[".repeat(100_000).as_bytes());
        assert!(whole.is_whole() && whole.open.len() == MAX_DEPTH);
    }
}
