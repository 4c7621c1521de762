//! The scanner of marked text: how a text is split changes nothing, and text that is not hidden
//! stays byte for byte the same.

use weir::filter::markers::Family;
use weir::filter::scan::{Marks, Scanner, Visible};

/// Checks any text. The first byte selects what is hidden, the second is the size of the pieces.
pub fn check(data: &[u8]) {
    let [pick, cut, text @ ..] = data else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut marks = Marks::new(&Family::ALL, pick & 1 == 0, pick & 2 == 0, pick & 4 == 0);
    marks.starts_hidden = pick & 8 != 0;
    let body = serde_json::to_string(text).unwrap_or_default();
    let body = body.trim_matches('"');
    let whole = run(&marks, &[body]);
    let characters: Vec<String> = text
        .chars()
        .map(|character| {
            let escaped = serde_json::to_string(&character.to_string()).unwrap_or_default();
            escaped[1..escaped.len() - 1].to_owned()
        })
        .collect();
    if characters.concat() != body {
        // The text begins or ends with quotes, which were stripped as the string's own.
        return;
    }
    let pieces: Vec<String> = characters
        .chunks(usize::from(*cut).max(1))
        .map(|piece| piece.concat())
        .collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(run(&marks, &pieces), whole, "{text:?}");
    if pick & 6 == 6 {
        assert_eq!(whole, body.as_bytes(), "nothing is hidden");
    }
}

fn run(marks: &Marks, pieces: &[&str]) -> Vec<u8> {
    let mut scanner = Scanner::new(marks);
    let mut out = Visible::of(b"");
    for piece in pieces {
        scanner.feed(marks, piece.as_bytes(), &mut out);
    }
    scanner.finish(&mut out);
    out.changed().unwrap_or_default()
}
