//! Follows the text of a JSON object that arrives in pieces, and notices when what has arrived cannot be the beginning
//! of one.
//!
//! Each piece is the raw body of a JSON string, as in the streamed arguments of a tool call. The rules are those of
//! RFC 8259, and as strict as the strictest client: a character beyond the basic plane is written as two escapes that
//! belong together, nesting has a bound, and so have numbers.

mod escape;
mod number;

use escape::Escape;
use number::Number;

/// Deeper nesting counts as no JSON. Clients follow less than 200 levels, and parsers of servers often 128.
const MAX_DEPTH: u32 = 100;
/// Longer numbers count as no JSON: Python reads integers of up to 4,300 digits.
const MAX_NUMBER_BYTES: u16 = 4096;

/// The beginning of a JSON object.
#[derive(Clone, Debug, Default)]
pub struct ObjectPrefix {
    place: Place,
    /// The open brackets, the innermost in the lowest bit: set for an object.
    open: u128,
    depth: u32,
    /// How long the open number is.
    digits: u16,
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The object.
    #[default]
    Start,
    /// The first key of an object, or its end.
    FirstKey,
    Key,
    Colon,
    Value,
    /// The first element of an array, or its end.
    FirstElement,
    /// A comma, or the end of the innermost object or array.
    Comma,
    /// More of a string, or its end.
    Text {
        is_key: bool,
        escape: Escape,
    },
    /// The letters of `true`, `false` or `null` that are left.
    Literal(&'static [u8]),
    Number(Number),
    /// White space.
    End,
}

impl ObjectPrefix {
    /// Reads the next piece: the raw body of a JSON string, whose escapes are decoded here. Returns false if the text
    /// is not the beginning of an object any more; then nothing is known of it.
    pub fn feed(&mut self, body: &[u8]) -> bool {
        let mut rest = body;
        while let Some((byte, after)) = rest.split_first() {
            if *byte != b'\\' {
                if !self.step(*byte) {
                    return false;
                }
                rest = after;
                continue;
            }
            let (byte, length) = match after {
                [b'n', ..] => (b'\n', 2),
                [b'r', ..] => (b'\r', 2),
                [b't', ..] => (b'\t', 2),
                [b'b', ..] => (8, 2),
                [b'f', ..] => (12, 2),
                [byte @ (b'"' | b'\\' | b'/'), ..] => (*byte, 2),
                [b'u', ..] => match unit(rest) {
                    // Only whole characters are text, whoever writes them.
                    Some(0xD800..=0xDBFF) => match rest.get(6..).and_then(unit) {
                        Some(0xDC00..=0xDFFF) => (BEYOND_ASCII, 12),
                        _ => return false,
                    },
                    Some(0xDC00..=0xDFFF) | None => return false,
                    Some(code) => (u8::try_from(code).unwrap_or(BEYOND_ASCII), 6),
                },
                _ => return false,
            };
            if !self.step(byte) {
                return false;
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        true
    }

    /// Reports whether nothing but white space has come.
    pub const fn is_empty(&self) -> bool {
        matches!(self.place, Place::Start)
    }

    /// Reports whether all of an object has come.
    pub const fn is_whole(&self) -> bool {
        matches!(self.place, Place::End)
    }

    /// Returns what makes the text so far one to which a last member can be added, and after it the brace that closes
    /// the object. `None` if no object is open.
    pub fn before_last_member(&self) -> Option<Vec<u8>> {
        let mut rest = Vec::new();
        match self.place {
            Place::Start | Place::End => return None,
            Place::Text { is_key, escape } => {
                rest.extend_from_slice(escape.rest().as_bytes());
                rest.push(b'"');
                if is_key {
                    rest.extend_from_slice(b":null");
                }
            }
            Place::Colon => rest.extend_from_slice(b":null"),
            Place::Value => rest.extend_from_slice(b"null"),
            Place::Key if self.depth > 1 => rest.extend_from_slice(b"\"\":null"),
            Place::Literal(letters) => rest.extend_from_slice(letters),
            Place::Number(number) if !number.is_whole() => rest.push(b'0'),
            Place::FirstKey
            | Place::Key
            | Place::FirstElement
            | Place::Comma
            | Place::Number(_) => {}
        }
        for level in 0..self.depth.saturating_sub(1) {
            let is_object = self.open >> level & 1 == 1;
            rest.push(if is_object { b'}' } else { b']' });
        }
        if self.depth > 1 || !matches!(self.place, Place::FirstKey | Place::Key) {
            rest.push(b',');
        }
        Some(rest)
    }

    /// Reads a byte of the decoded text. Returns false if it must not be there.
    fn step(&mut self, byte: u8) -> bool {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let next = match self.place {
            Place::Text { is_key, escape } => text(is_key, escape, byte),
            Place::Literal([letter, rest @ ..]) if *letter == byte => Some(match rest {
                [] => Place::Comma,
                rest => Place::Literal(rest),
            }),
            Place::Literal(_) => None,
            Place::Number(number) => return self.number(number, byte),
            place if is_space => Some(place),
            Place::Start if byte == b'{' => self.enter(true),
            Place::FirstKey if byte == b'}' => self.leave(true),
            Place::FirstElement if byte == b']' => self.leave(false),
            Place::FirstKey | Place::Key if byte == b'"' => Some(Place::Text {
                is_key: true,
                escape: Escape::None,
            }),
            Place::Colon if byte == b':' => Some(Place::Value),
            Place::Value | Place::FirstElement => self.value(byte),
            Place::Comma => self.after_value(byte),
            Place::Start | Place::FirstKey | Place::Key | Place::Colon | Place::End => None,
        };
        let Some(next) = next else {
            return false;
        };
        self.place = next;
        true
    }

    /// Reads the first byte of a value.
    fn value(&mut self, byte: u8) -> Option<Place> {
        self.digits = 0;
        Some(match byte {
            b'"' => Place::Text {
                is_key: false,
                escape: Escape::None,
            },
            b'{' => return self.enter(true),
            b'[' => return self.enter(false),
            b't' => Place::Literal(b"rue"),
            b'f' => Place::Literal(b"alse"),
            b'n' => Place::Literal(b"ull"),
            b'-' => Place::Number(Number::Minus),
            b'0' => Place::Number(Number::Zero),
            b'1'..=b'9' => Place::Number(Number::Whole),
            _ => return None,
        })
    }

    /// Reads a byte after a value.
    fn after_value(&mut self, byte: u8) -> Option<Place> {
        let in_object = self.open & 1 == 1;
        match byte {
            b',' if in_object => Some(Place::Key),
            b',' => Some(Place::Value),
            b'}' => self.leave(true),
            b']' => self.leave(false),
            _ => None,
        }
    }

    /// Reads a byte of a number, or the one after it.
    fn number(&mut self, number: Number, byte: u8) -> bool {
        self.digits = self.digits.saturating_add(1);
        if let Some(next) = number.next(byte) {
            self.place = Place::Number(next);
            return self.digits < MAX_NUMBER_BYTES;
        }
        self.place = Place::Comma;
        number.is_whole() && self.step(byte)
    }

    fn enter(&mut self, is_object: bool) -> Option<Place> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.open = self.open << 1 | u128::from(is_object);
        Some(if is_object {
            Place::FirstKey
        } else {
            Place::FirstElement
        })
    }

    fn leave(&mut self, is_object: bool) -> Option<Place> {
        if (self.open & 1 == 1) != is_object {
            return None;
        }
        self.open >>= 1;
        self.depth = self.depth.saturating_sub(1);
        Some(if self.depth == 0 {
            Place::End
        } else {
            Place::Comma
        })
    }
}

/// Stands for any character that is valid within strings only.
const BEYOND_ASCII: u8 = 0x80;

/// Reads a byte of a string.
fn text(is_key: bool, escape: Escape, byte: u8) -> Option<Place> {
    Some(match (escape, byte) {
        (Escape::None, b'"') if is_key => Place::Colon,
        (Escape::None, b'"') => Place::Comma,
        _ => Place::Text {
            is_key,
            escape: escape.next(byte)?,
        },
    })
}

/// Returns the UTF-16 unit that a body begins with, written as an escape.
fn unit(body: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = body else {
        return None;
    };
    let mut code = 0;
    for digit in digits.first_chunk::<4>()? {
        code = code << 4 | char::from(*digit).to_digit(16)?;
    }
    Some(code)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use serde_json::Value;

    use super::*;

    /// Returns the body of the JSON string that says `text`.
    fn body_of(text: &str) -> String {
        let quoted = serde_json::to_string(text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    }

    /// Reads a text in pieces of `cut` characters.
    fn read(text: &str, cut: usize) -> Option<ObjectPrefix> {
        let mut prefix = ObjectPrefix::default();
        let characters: Vec<char> = text.chars().collect();
        let mut pieces = characters.chunks(cut).map(|piece| piece.iter().collect());
        pieces
            .all(|piece: String| prefix.feed(body_of(&piece).as_bytes()))
            .then_some(prefix)
    }

    const OBJECTS: [&str; 12] = [
        "{}",
        " {\n} ",
        r#"{"city": "Os\"lo\\", "n": [1, -2.5e3, true, null, {}]}"#,
        "{\"a\":\"\u{e9}\u{1f600}\\u00e9\\/\\b\"}",
        r#"{"a":"\ud83d\ude00","\ud83d\ude00":0}"#,
        r#"{"a":[[],[{}],{"b":{"c":[]}}],"d":-0,"e":0.10,"f":1E+07,"g":12e-1}"#,
        r#"{ "a" : [ false , true ] , "b" : { "c" : null } }"#,
        r#"{"":""}"#,
        r#"{"a":"\uD7FF\uE000\uabcd\u0000"}"#,
        r#"{"a":"\uDbFf\uDfFf"}"#,
        "{\"a\":\"\u{7f}\u{2028}\"}",
        r#"{"a":123456789012345678901234567890.5}"#,
    ];

    const CHARACTERS: [char; 24] = [
        '{', '}', '[', ']', '"', ':', ',', '\\', '0', '1', '-', '.', 'e', '+', 't', 'f', 'n', 'u',
        'a', 'l', ' ', '\n', '\0', 'é',
    ];

    #[test]
    fn every_beginning_of_an_object_is_one_and_can_be_ended() {
        for text in OBJECTS {
            for cut in 1..8 {
                assert!(read(text, cut).is_some_and(|all| all.is_whole()), "{text}");
            }
            for (end, _) in text.char_indices() {
                let start = &text[..end];
                let prefix = read(start, 3).unwrap_or_else(|| panic!("{start}"));
                assert_eq!(prefix.is_empty(), start.trim().is_empty(), "{start}");
                let Some(rest) = prefix.before_last_member() else {
                    assert!(prefix.is_empty() || prefix.is_whole(), "{start}");
                    continue;
                };
                let rest = String::from_utf8(rest).unwrap();
                let ended = format!("{start}{rest}\"last\":1}}");
                let value: Value =
                    serde_json::from_str(&ended).unwrap_or_else(|error| panic!("{ended}: {error}"));
                assert_eq!(value["last"], 1, "{ended}");
            }
        }
    }

    #[test]
    fn what_is_no_beginning_of_an_object_is_not_taken_for_one() {
        for text in [
            "hello",
            "[1",
            "\"a\"",
            "1",
            "null",
            "{a",
            "{\"a\"}",
            "{\"a\" 1",
            "{\"a\":}",
            "{\"a\":,",
            "{\"a\":1,}",
            "{\"a\":1]",
            "{\"a\":[1}",
            "{\"a\":[1,]",
            "{\"a\":1 2",
            "{\"a\":01",
            "{\"a\":-a",
            "{\"a\":+1",
            "{\"a\":.5",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":1e5.",
            "{\"a\":1x",
            "{\"a\":tru}",
            "{\"a\":True",
            "{\"a\":NaN",
            "{\"a\":Infinity",
            "{\"a\":\"\n",
            "{\"a\":\"\u{1}",
            "{\"a\":\"\\x",
            "{\"a\":\"\\u12g",
            "{\"a\":\"\\udc",
            "{\"a\":\"\\ud83d\"",
            "{\"a\":\"\\ud83d\\n",
            "{\"a\":\"\\ud83d\\u00",
            "{\"a\":\"\\ud83d\\udb",
            "{} x",
            "{}}",
            "\u{a0}{",
            "\u{c}{",
            "{\u{e9}",
        ] {
            for cut in 1..4 {
                assert!(read(text, cut).is_none(), "{text}");
            }
        }
    }

    #[test]
    fn escapes_of_the_pieces_are_decoded() {
        let read = |body: &str| {
            let mut prefix = ObjectPrefix::default();
            prefix.feed(body.as_bytes()).then(|| prefix.is_whole())
        };
        assert_eq!(
            read(r#"\u007b\u0022a\":\n\"\ud83d\ude00\u00e9\"}"#),
            Some(true)
        );
        assert_eq!(read(r#"{\"a\":\"\u"#), None);
        assert_eq!(read(r#"{\"a\":\"\x"#), None);
        assert_eq!(read(r"\"), None);
        // Halves of characters, and a character that is no white space.
        assert_eq!(read(r#"{\"a\":\"\ud83d\"}"#), None);
        assert_eq!(read(r#"{\"a\":\"\ude00\"}"#), None);
        assert_eq!(read(r#"{\"a\":\"\ud83d\u0041\"}"#), None);
        assert_eq!(read(r"\u00a0{}"), None);
    }

    #[test]
    fn nesting_and_numbers_have_bounds() {
        let nested = |depth: usize| format!("{{\"a\":{}", "[".repeat(depth - 1));
        let deep = read(&nested(100), 7).unwrap();
        let rest = String::from_utf8(deep.before_last_member().unwrap()).unwrap();
        let ended = format!("{}{rest}\"b\":1}}", nested(100));
        assert_eq!(serde_json::from_str::<Value>(&ended).unwrap()["b"], 1);
        assert!(read(&nested(101), 7).is_none());
        let number = |length: usize| format!("{{\"a\":{}", "1".repeat(length));
        assert!(read(&number(4096), 100).is_some());
        assert!(read(&number(4097), 100).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        /// Another parser is the judge.
        #[test]
        fn other_parsers_say_the_same(
            object in 0_usize..OBJECTS.len(),
            odd in vec((any::<Index>(), select(CHARACTERS.to_vec())), 0..3),
            end in any::<Index>(),
            cut in 1_usize..6,
        ) {
            let mut characters: Vec<char> = OBJECTS[object].trim_start().chars().collect();
            for (at, character) in odd {
                characters.insert(1 + at.index(characters.len()), character);
            }
            characters.truncate(1 + end.index(characters.len()));
            let text: String = characters.into_iter().collect();
            // It takes an escape that is cut off for one, whatever is in it.
            prop_assume!(!text.contains("\\u"));
            let found = read(&text, cut);
            let judged = match serde_json::from_str::<Value>(&text) {
                Ok(_) => Some(true),
                Err(error) if error.is_eof() => Some(false),
                Err(error) if error.to_string().starts_with("number out of range") => return Ok(()),
                Err(_) => None,
            };
            prop_assert_eq!(found.map(|prefix| prefix.is_whole()), judged, "{}", text);
        }
    }
}
