//! Finds one member of a JSON object that arrives in pieces, also inside other objects, and buffers nothing else.
//!
//! What comes twice counts where it comes first. The text is not checked: what is no JSON has no members, or others.

use memchr::memchr2;

/// Longer keys and values are not looked at. A name of 512 characters fits, even if each is escaped.
const MAX_BYTES: usize = 3 << 10;

/// Searches for a string or number at a path of member names.
#[derive(Debug)]
pub(super) struct MemberReader {
    path: Box<[String]>,
    /// How many of the path's members have been entered.
    entered: usize,
    at: Place,
    /// How many brackets are open in a value that is skipped.
    nested: usize,
    /// The raw key or value that is being read.
    text: Vec<u8>,
    /// The key or value is too long.
    overflows: bool,
    found: Option<String>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first brace.
    Start,
    BeforeKey,
    Key,
    KeyEscape,
    Colon,
    BeforeValue,
    /// In a string that is wanted.
    Text,
    TextEscape,
    /// In a number that is wanted.
    Number,
    /// In an object or array that is skipped.
    Skipped,
    SkippedText,
    SkippedEscape,
    /// Nothing more is wanted.
    Done,
}

impl MemberReader {
    /// Creates a reader for the member at `path`: names with dots between them.
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.split('.').map(str::to_owned).collect(),
            entered: 0,
            at: Place::Start,
            nested: 0,
            text: Vec::new(),
            overflows: false,
            found: None,
        }
    }

    /// Returns the string or the digits of the number, if it has arrived and is neither missing nor too long.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// Reads the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((byte, after)) = rest.split_first() {
            if self.at == Place::Done {
                return;
            }
            if matches!(self.at, Place::Key | Place::SkippedText | Place::Text) {
                // Most bytes of a request lie in strings, so they are skipped with one search.
                let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                if plain > 0 {
                    let (text, left) = rest.split_at(plain);
                    if self.at != Place::SkippedText {
                        self.keep(text);
                    }
                    rest = left;
                    continue;
                }
            }
            self.step(*byte);
            rest = after;
        }
    }

    fn step(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            // A byte order mark is not white space, but it is harmless.
            (Place::Start, 0xEF | 0xBB | 0xBF) => Place::Start,
            (Place::Start | Place::BeforeValue, _) if byte.is_ascii_whitespace() => self.at,
            (Place::Start, b'{') => Place::BeforeKey,
            (Place::Start | Place::Done, _) => Place::Done,
            (Place::BeforeKey, b'"') => self.begin(Place::Key),
            (Place::BeforeKey, b'}') => self.leave(),
            (Place::BeforeKey, _) => Place::BeforeKey,
            (Place::Key, b'"') => Place::Colon,
            (Place::Key, b'\\') => self.kept(byte, Place::KeyEscape),
            (Place::Key | Place::KeyEscape, _) => self.kept(byte, Place::Key),
            (Place::Colon, b':') => Place::BeforeValue,
            (Place::Colon, _) => Place::Colon,
            (Place::BeforeValue, _) => self.value(byte),
            (Place::Text, b'"') => {
                self.found = self.string();
                Place::Done
            }
            (Place::Text, b'\\') => self.kept(byte, Place::TextEscape),
            (Place::Text | Place::TextEscape, _) => self.kept(byte, Place::Text),
            (Place::Number, b',' | b'}' | b' ' | b'\t' | b'\n' | b'\r') => {
                self.found = self.number();
                Place::Done
            }
            (Place::Number, _) => self.kept(byte, Place::Number),
            (Place::Skipped, b'"') => Place::SkippedText,
            (Place::Skipped, b'{' | b'[') => {
                self.nested += 1;
                Place::Skipped
            }
            (Place::Skipped, b'}' | b']') => {
                self.nested = self.nested.saturating_sub(1);
                self.skipping()
            }
            (Place::Skipped, _) => Place::Skipped,
            (Place::SkippedText, b'"') => self.skipping(),
            (Place::SkippedText, b'\\') => Place::SkippedEscape,
            (Place::SkippedText | Place::SkippedEscape, _) => Place::SkippedText,
        };
    }

    /// Begins a value. `byte` is its first.
    fn value(&mut self, byte: u8) -> Place {
        let is_on_path = self.is_on_path();
        let is_last = self.entered + 1 == self.path.len();
        match byte {
            b'"' if is_on_path && is_last => self.begin(Place::Text),
            b'-' | b'0'..=b'9' if is_on_path && is_last => {
                self.begin(Place::Number);
                self.kept(byte, Place::Number)
            }
            _ if is_on_path && is_last => Place::Done,
            b'{' if is_on_path => {
                self.entered += 1;
                Place::BeforeKey
            }
            b'{' | b'[' => {
                self.nested = 1;
                Place::Skipped
            }
            b'"' => {
                self.nested = 0;
                Place::SkippedText
            }
            b'}' => self.leave(),
            // Of a number or literal nothing looks like a key.
            _ => Place::BeforeKey,
        }
    }

    /// Reports whether the key that was read is the next one of the path.
    fn is_on_path(&self) -> bool {
        let wanted = self.path.get(self.entered);
        wanted.is_some_and(|wanted| self.string().as_ref() == Some(wanted))
    }

    /// Leaves the object at its closing brace.
    const fn leave(&mut self) -> Place {
        if self.entered == 0 {
            return Place::Done;
        }
        self.entered -= 1;
        Place::BeforeKey
    }

    /// Returns the place after a bracket or string that is skipped.
    const fn skipping(&self) -> Place {
        if self.nested == 0 {
            Place::BeforeKey
        } else {
            Place::Skipped
        }
    }

    fn begin(&mut self, at: Place) -> Place {
        self.text.clear();
        self.overflows = false;
        at
    }

    fn kept(&mut self, byte: u8, at: Place) -> Place {
        self.keep(&[byte]);
        at
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.text.len() + bytes.len() > MAX_BYTES {
            self.overflows = true;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// Decodes the string that was read.
    fn string(&self) -> Option<String> {
        if self.overflows {
            return None;
        }
        serde_json::from_slice(&[&b"\""[..], &self.text, b"\""].concat()).ok()
    }

    /// Returns the number that was read, as it was written.
    fn number(&self) -> Option<String> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let is_number = !self.overflows && self.text.iter().all(is_part);
        is_number.then(|| String::from_utf8_lossy(&self.text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, body: &[u8], cut: usize) -> Option<String> {
        let mut reader = MemberReader::new(path);
        body.chunks(cut).for_each(|piece| reader.feed(piece));
        reader.found().map(str::to_owned)
    }

    #[test]
    fn the_member_is_found_however_the_body_is_cut() {
        let deep = r#"{"a":{"c":[{"b":"no"},"b"],"b":{"id":"no"},"id":"yes"},"id":"no"}"#;
        for (path, body, want) in [
            ("id", r#"{"id":"c1"}"#, Some("c1")),
            ("id", "\u{feff} {\n\"id\"\t:  \"c1\"}", Some("c1")),
            ("id", r#"{"id":7,"a":1}"#, Some("7")),
            ("id", "{\"id\":-1.5e+3\n}", Some("-1.5e+3")),
            (
                "id",
                r#"{"a":"}\"","b":[{"id":1},"]"],"c":null,"id":"x"}"#,
                Some("x"),
            ),
            ("id", r#"{"a":true,"b":12,"id":"x","id":"y"}"#, Some("x")),
            (
                "id",
                r#"{"\u0069d":"caf\u00e9 \ud83d\ude00 \"\\"}"#,
                Some("caf\u{e9} \u{1f600} \"\\"),
            ),
            ("id", "{\"id\":\"\u{e9}\"}", Some("\u{e9}")),
            ("id", r#"{"id":""}"#, Some("")),
            ("id", r#"{"ID":"a","id ":"b","xid":"c","i":"d"}"#, None),
            ("id", r#"{"id":null,"id":"x"}"#, None),
            ("id", r#"{"id":{"id":"x"}}"#, None),
            ("id", r#"{"id":["x"]}"#, None),
            ("id", r#"{"id":true}"#, None),
            ("id", r#"{"id":"\ud800"}"#, None),
            ("id", r#"{"id":1x}"#, None),
            ("id", r#"{"id":"cut"#, None),
            ("id", r#"[{"id":"x"}]"#, None),
            ("id", r#"{"a":1} {"id":"x"}"#, None),
            ("id", r#""id""#, None),
            ("id", "id=x", None),
            ("id", "", None),
            ("id", r#"{"a":{"id":"x"}}"#, None),
            ("a.id", deep, Some("yes")),
            ("a.b.id", deep, Some("no")),
            ("a.c", deep, None),
            ("a.c.b", deep, None),
            ("a.d", deep, None),
            ("a.id", r#"{"a.id":"x"}"#, None),
            ("a.id", r#"{"a":"x","id":"y"}"#, None),
            ("a.id", r#"{"a":{},"a":{"id":"x"}}"#, Some("x")),
            ("a.id", r#"{"a":{"x":{}},"id":"y"}"#, None),
        ] {
            for cut in 1..=body.len().max(1) {
                let got = read(path, body.as_bytes(), cut);
                assert_eq!(got.as_deref(), want, "{path} {body} cut into {cut}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        for text in ["x".repeat(MAX_BYTES + 1), r"\n".repeat(MAX_BYTES)] {
            let before = format!("{{\"{text}\":\"{text}\",\"id\":\"c\"}}");
            let wanted = format!("{{\"id\":\"{text}\"}}");
            for cut in [1, 7, 4096, 1 << 20] {
                assert_eq!(read("id", before.as_bytes(), cut).as_deref(), Some("c"));
                assert_eq!(read("id", wanted.as_bytes(), cut), None);
            }
            let mut reader = MemberReader::new("id");
            reader.feed(wanted.as_bytes());
            assert!(reader.text.capacity() <= 2 * MAX_BYTES);
        }
        let fits = "x".repeat(MAX_BYTES);
        let body = format!("{{\"id\":\"{fits}\"}}");
        assert_eq!(read("id", body.as_bytes(), 100), Some(fits));
    }

    #[test]
    fn brackets_without_end_take_no_memory() {
        let mut reader = MemberReader::new("a.b");
        for _ in 0..1000 {
            reader.feed(&b"{\"a\":[[[[{{{{".repeat(20));
        }
        assert_eq!(reader.found(), None);
        assert!(reader.text.capacity() < 64);
    }
}
