//! Parts of a line: text without control characters, shortened text, lengths of time, sizes, colours.

use std::fmt::{self, Write};

/// The longest line, in characters, without its end.
pub(super) const WIDTH: usize = 159;

/// Writes text without anything that controls a terminal.
#[derive(Debug)]
pub(super) struct Clean<'a> {
    out: &'a mut String,
    line_end: &'static str,
}

impl<'a> Clean<'a> {
    /// Lines but the first one are indented.
    pub(super) const fn indented(out: &'a mut String) -> Self {
        Self {
            out,
            line_end: "\n    ",
        }
    }

    /// All of it stays on one line.
    pub(super) const fn single(out: &'a mut String) -> Self {
        Self { out, line_end: " " }
    }
}

impl Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for next in text.chars() {
            match next {
                '\n' => self.out.push_str(self.line_end),
                next if next.is_control() || reorders(next) => self.out.push('\u{fffd}'),
                next => self.out.push(next),
            }
        }
        Ok(())
    }
}

/// Returns a text on one line, without anything that controls a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing to a string does not fail.
    let _ = Clean::single(&mut out).write_str(text);
    out
}

/// Reports whether a character ends lines in some viewers, is invisible, or changes the order of what is shown.
const fn reorders(next: char) -> bool {
    matches!(
        next,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Returns the length of a text in characters.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// Shortens a text in its middle, so that it has at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let all = width(text);
    if all <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let mut short: String = text.chars().take(head).collect();
    short.push('\u{2026}');
    short.extend(text.chars().skip(all - tail));
    short
}

/// Cuts a text off, so that it has at most `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('\u{2026}');
    short
}

/// Returns a length of time with the unit that suits it.
pub(super) fn time(millis: f64) -> String {
    let seconds = millis / 1000.0;
    if millis < 10.0 {
        format!("{millis:.1}ms")
    } else if millis < 1000.0 {
        format!("{millis:.0}ms")
    } else if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else if seconds < 3600.0 {
        format!(
            "{:.0}m{:02.0}s",
            (seconds / 60.0).floor(),
            (seconds % 60.0).floor()
        )
    } else {
        let minutes = (seconds / 60.0).floor();
        format!("{:.0}h{:02.0}m", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// Returns a number of bytes with the unit that suits it.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes}B"),
        1000..1_000_000 => format!("{}.{}kB", bytes / 1000, bytes / 100 % 10),
        1_000_000..1_000_000_000 => {
            format!("{}.{}MB", bytes / 1_000_000, bytes / 100_000 % 10)
        }
        _ => format!("{}.{}GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

/// A colour on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

impl Colour {
    /// Returns the text in the colour, if there are `colours`.
    pub(super) fn paint(self, text: &str, colours: bool) -> String {
        if !colours {
            return text.to_owned();
        }
        let code = match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Green => 32,
            Self::Red => 31,
            Self::Yellow => 33,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_ends() {
        assert_eq!(shortened("/v1/chat", 8), "/v1/chat");
        assert_eq!(shortened("/v1/chat/completions", 9), "/v1/\u{2026}ions");
        assert_eq!(
            shortened("\u{e4}\u{f6}\u{fc}\u{df}", 3),
            "\u{e4}\u{2026}\u{df}"
        );
        assert_eq!(shortened("abc", 0), "\u{2026}");
        assert_eq!(cut("abcdef", 4), "abc\u{2026}");
    }

    #[test]
    fn units_suit_their_numbers() {
        let times = [0.4, 12.34, 999.0, 1500.0, 59_000.0, 61_000.0, 3_725_000.0].map(time);
        assert_eq!(
            times,
            ["0.4ms", "12ms", "999ms", "1.5s", "59.0s", "1m01s", "1h02m"]
        );
        let sizes = [0, 999, 1400, 2_500_000, 3_000_000_000].map(size);
        assert_eq!(sizes, ["0B", "999B", "1.4kB", "2.5MB", "3.0GB"]);
    }

    #[test]
    fn nothing_controls_the_terminal() {
        let mut out = String::new();
        write!(Clean::single(&mut out), "a\x1b[31mb\r\nc\u{9b}d").unwrap();
        assert_eq!(out, "a\u{fffd}[31mb\u{fffd} c\u{fffd}d");
        let mut out = String::new();
        write!(
            Clean::single(&mut out),
            "a\u{202e}b\u{2028}c\u{200b}d\u{e9}"
        )
        .unwrap();
        assert_eq!(out, "a\u{fffd}b\u{fffd}c\u{fffd}d\u{e9}");
        let mut out = String::new();
        write!(Clean::indented(&mut out), "a\nb").unwrap();
        assert_eq!(out, "a\n    b");
    }
}
