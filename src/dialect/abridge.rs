//! Shortens a large event to what recognition needs.
//!
//! To recognise a dialect, every dialect reads the first event. Of a large event they read an extract: the same JSON,
//! with long strings cut and without what follows the first few thousand bytes, so that the extract is valid whenever
//! the event is.

use memchr::memchr2;

use crate::event::Span;
use crate::wire::{Frame, Payload};

/// Payloads up to this size are read whole. The size of an extract, too.
const MAX_BYTES: usize = 16 * 1024;
/// Longer strings are cut. What they say is not looked at, only that they are there.
const MAX_STRING_BYTES: usize = 256;
/// More brackets are not opened within each other.
const MAX_DEPTH: usize = 64;

/// Returns an extract of a frame with a large payload, or `None` if the payload is not large.
pub fn abridged(frame: &Frame<'_>) -> Option<Frame<'static>> {
    const FIELD: &[u8] = b"data: ";
    if frame.data().len() <= MAX_BYTES {
        return None;
    }
    let extract = extract(frame.data());
    // A payload at the very beginning tells a line from an event.
    let is_line = matches!(frame.data, Some(Payload::InBlock(span)) if span.start == 0);
    let field = if is_line { b"" } else { FIELD };
    let mut block = [field, &extract].concat();
    let data = Span::new(field.len()..block.len()).map(Payload::InBlock);
    block.extend_from_slice(b"\n\n");
    let start = block.len();
    block.extend_from_slice(frame.name());
    let name = frame.name.and_then(|_| Span::new(start..block.len()));
    Some(Frame {
        block: block.into(),
        name,
        data,
        whole: frame.whole,
        raw: frame.raw,
    })
}

/// Returns the extract of a JSON text; of any other text, its beginning.
fn extract(text: &[u8]) -> Vec<u8> {
    let mut extract = Extract::default();
    let mut at = 0;
    while extract.out.len() < MAX_BYTES
        && let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty())
        && let Some(used) = extract.token(rest)
    {
        at += used;
    }
    if extract.valid == 0 {
        return text.get(..MAX_BYTES).unwrap_or(text).to_vec();
    }
    extract.closed()
}

#[derive(Default)]
struct Extract {
    out: Vec<u8>,
    /// What closes the open brackets.
    open: Vec<u8>,
    /// Up to here `out` is valid once the open brackets are closed. Every bracket sets it.
    valid: usize,
    /// The next string is a key.
    before_key: bool,
}

impl Extract {
    /// Takes the first token of `rest`, and returns its length. Returns `None` if it cannot be taken.
    fn token(&mut self, rest: &[u8]) -> Option<usize> {
        let first = *rest.first()?;
        match first {
            b'{' | b'[' => {
                if self.open.len() >= MAX_DEPTH {
                    return None;
                }
                self.out.push(first);
                self.open.push(if first == b'{' { b'}' } else { b']' });
                self.before_key = first == b'{';
                self.can_close();
                Some(1)
            }
            b'}' | b']' => {
                if self.open.pop() != Some(first) {
                    return None;
                }
                self.out.push(first);
                self.can_close();
                // Nothing follows the outermost value.
                (!self.open.is_empty()).then_some(1)
            }
            b',' => {
                self.out.push(first);
                self.before_key = self.open.last() == Some(&b'}');
                Some(1)
            }
            b':' => {
                self.out.push(first);
                self.before_key = false;
                Some(1)
            }
            b'"' => self.string(rest),
            _ if first.is_ascii_whitespace() => {
                self.out.push(first);
                Some(1)
            }
            _ => {
                let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",:]}\"".contains(byte);
                let len = rest.iter().take(MAX_STRING_BYTES).position(is_end)?;
                self.out.extend_from_slice(rest.get(..len)?);
                self.can_close();
                Some(len)
            }
        }
    }

    fn string(&mut self, rest: &[u8]) -> Option<usize> {
        let mut end = 1;
        // Where it can be cut: not within an escape, of which the longest has twelve bytes.
        let mut cut = None;
        loop {
            let found = memchr2(b'"', b'\\', rest.get(end..)?)?;
            if cut.is_none() && end + found > MAX_STRING_BYTES {
                cut = Some(end.max(MAX_STRING_BYTES));
            }
            end += found;
            if rest.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let mut kept = cut.unwrap_or(end);
        while kept < end && (rest.get(kept)? & 0xC0) == 0x80 {
            kept += 1;
        }
        self.out.extend_from_slice(rest.get(..kept)?);
        self.out.push(b'"');
        if !self.before_key {
            self.can_close();
        }
        Some(end + 1)
    }

    const fn can_close(&mut self) {
        self.valid = self.out.len();
    }

    /// Returns the text with its brackets closed.
    fn closed(mut self) -> Vec<u8> {
        self.out.truncate(self.valid);
        self.out.extend(self.open.into_iter().rev());
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;

    #[test]
    fn an_extract_is_valid_and_says_what_stands_in_front() {
        let long = "x".repeat(100_000);
        let members = |count: usize| -> String {
            (0..count)
                .map(|n| format!(",\"k{n}\": [{n}, {{\"a\": null}}]"))
                .collect()
        };
        for text in [
            format!("{{\"type\":\"delta\",\"text\":\"{long}\",\"end\":true}}"),
            format!(
                "{{\"type\":\"delta\",\"text\":\"{}\",\"end\":true}}",
                "\\\"\\u00e9é".repeat(9_000)
            ),
            format!("{{\"type\":\"delta\",\"end\":true{}}}", members(9_000)),
            format!("[{{\"type\":\"delta\",\"end\":true{}}}]", members(9_000)),
            format!(
                "{{\"type\":\"delta\",\"end\":true,\"deep\":{}1{}}}",
                "[".repeat(40_000),
                "]".repeat(40_000)
            ),
            format!("{{\"type\":\"delta\",\"end\":true,\"{long}\":1}}"),
        ] {
            let extract = extract(text.as_bytes());
            assert!(extract.len() < MAX_BYTES + 1024);
            let extract = String::from_utf8(extract).unwrap();
            assert!(json::is_whole(extract.as_bytes()), "{extract}");
            for part in ["\"type\":\"delta\"", "\"end\":true"] {
                assert!(extract.contains(part), "{part} in {extract}");
            }
        }
    }

    #[test]
    fn no_text_makes_it_fail() {
        let text = br#"{"a": ["b\\\"", {"c": 1.5e3}, null], "d": "\u00e9"} "#;
        for end in 0..text.len() {
            for start in 0..end {
                let _ = extract(&text[start..end]);
            }
        }
        let text = "It rains. ".repeat(9_000);
        let extract = extract(text.as_bytes());
        assert!(text.as_bytes().starts_with(&extract) && extract.len() >= MAX_BYTES);
    }
}
