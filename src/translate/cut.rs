//! Where the raw body of a JSON string may be cut: never within a character, however it is written.

/// Returns how many bytes of a raw body are kept if there is room for `max`: whole characters only.
pub(super) fn length(body: &[u8], max: usize) -> usize {
    if body.len() <= max {
        return body.len();
    }
    let mut end = 0;
    while let Some(rest) = body.get(end..) {
        let length = character_length(rest);
        if length == 0 || end + length > max {
            break;
        }
        end += length;
    }
    end
}

/// Returns the length of the first character as it is written: in UTF-8, as an escape, or as two that belong together.
fn character_length(body: &[u8]) -> usize {
    match body {
        [] => 0,
        [b'\\', b'u', ..] if is_first_half(body) && is_second_half(body) => 12,
        [b'\\', b'u', ..] => 6,
        [b'\\' | 0xC0..=0xDF, ..] => 2,
        [0xE0..=0xEF, ..] => 3,
        [0xF0..=0xFF, ..] => 4,
        [_, ..] => 1,
    }
}

/// Reports whether a body begins with the escape of a high surrogate.
const fn is_first_half(body: &[u8]) -> bool {
    matches!(
        body,
        [
            b'\\',
            b'u',
            b'd' | b'D',
            b'8' | b'9' | b'a' | b'A' | b'b' | b'B',
            ..
        ]
    )
}

/// Reports whether the second escape of a body is that of a low surrogate.
fn is_second_half(body: &[u8]) -> bool {
    matches!(
        body.get(6..),
        Some([
            b'\\',
            b'u',
            b'd' | b'D',
            b'c' | b'C' | b'd' | b'D' | b'e' | b'E' | b'f' | b'F',
            ..
        ])
    )
}

/// Removes the escape of a high surrogate from the end of a body: its other half came with a piece that is not kept.
pub(super) fn drop_half(body: &mut Vec<u8>) {
    body.truncate(without_half(body).len());
}

/// Returns a body without the escape of a high surrogate at its end: its other half comes with the next piece.
pub(super) fn without_half(body: &[u8]) -> &[u8] {
    let Some((before, last)) = (body.len().checked_sub(6)).and_then(|at| body.split_at_checked(at))
    else {
        return body;
    };
    if !is_first_half(last) {
        return body;
    }
    // An escaped backslash before plain text.
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    if slashes.count() % 2 == 0 {
        before
    } else {
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_characters_are_kept() {
        let cases = [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("abc", 0, ""),
            ("a\\n", 2, "a"),
            ("a\\\\b", 2, "a"),
            ("a\\\\b", 3, "a\\\\"),
            ("a\\u00e9b", 6, "a"),
            ("a\\u00e9b", 7, "a\\u00e9"),
            ("aé!", 2, "a"),
            ("aé!", 3, "aé"),
            ("a€!", 3, "a"),
            ("a€!", 4, "a€"),
            ("a😀!", 4, "a"),
            ("a😀!", 5, "a😀"),
            ("a\\uD83D\\uDE00!", 12, "a"),
            ("a\\ud83d\\ude00!", 13, "a\\ud83d\\ude00"),
            // Two characters.
            ("a\\u00e9\\uDE00!", 12, "a\\u00e9"),
        ];
        for (body, max, expected) in cases {
            assert_eq!(length(body.as_bytes(), max), expected.len(), "{body} {max}");
        }
        // What is no text is cut all the same.
        assert_eq!(length(b"\xff\xff\\", 2), 0);
        assert_eq!(length(b"\x80\x80\x80", 2), 2);
    }

    #[test]
    fn half_a_character_is_removed() {
        let cases = [
            ("a\\uD83D", "a"),
            ("a\\udbff", "a"),
            ("\\uD83D", ""),
            ("a\\uD83D\\uDE00", "a\\uD83D\\uDE00"),
            ("a\\u00e9", "a\\u00e9"),
            // An escaped backslash before plain text, and before an escape.
            ("a\\\\uD83D", "a\\\\uD83D"),
            ("a\\\\\\uD83D", "a\\\\"),
            ("abc", "abc"),
        ];
        for (body, expected) in cases {
            let mut found = body.as_bytes().to_vec();
            drop_half(&mut found);
            assert_eq!(found, expected.as_bytes(), "{body}");
        }
    }
}
