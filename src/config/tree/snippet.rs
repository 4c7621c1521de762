//! Shows a line of the file with a mark below a column, for problems of YAML itself. A line shows its keys and its
//! brackets; every value is replaced, because any of them may be secret.

use super::lexer::open_at;
use crate::config::error::{MAX_KEY, Place};

/// Replaces a value.
const MASK: &str = "***";

/// Longest line that is shown, in characters.
const MAX_LINE: usize = 160;

/// Returns two lines, each after a line break: the line of `place` without its values, and the mark below the column.
/// Returns nothing if there is no such line, or if it is too long.
pub(crate) fn snippet(text: &str, place: Place) -> String {
    let Some(line) = place
        .line
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index))
    else {
        return String::new();
    };
    let start = Place {
        line: place.line,
        column: 1,
    };
    let open = open_at(text, start);
    let mut masked = Masked::new(place.column);
    if open.quote.is_some() {
        masked.hide(line.chars().count());
    } else {
        masked.line(line, open.brackets.len());
    }
    let Masked { text, mark, .. } = masked;
    let shown = text.trim_end();
    if shown.is_empty() || shown.chars().count() > MAX_LINE {
        return String::new();
    }
    let number = place.line;
    let gutter = " ".repeat(number.to_string().len());
    let blank = " ".repeat(mark.unwrap_or_else(|| shown.chars().count()));
    format!("\n  {number} | {shown}\n  {gutter} | {blank}^")
}

/// A line whose values are being replaced.
struct Masked {
    text: String,
    /// Characters of the original so far.
    read: usize,
    /// The column that is marked, counted from 1.
    column: usize,
    /// Where the mark belongs in `text`, in characters, once that column was read.
    mark: Option<usize>,
}

impl Masked {
    const fn new(column: usize) -> Self {
        Self {
            text: String::new(),
            read: 0,
            column,
            mark: None,
        }
    }

    /// Replaces the values of a line that begins inside `depth` brackets.
    fn line(&mut self, line: &str, mut depth: usize) {
        let mut rest = line;
        while let Some(next) = rest.chars().next() {
            let is_flow = depth > 0;
            match next {
                '#' if self.text.ends_with([' ', '\t']) || self.text.is_empty() => {
                    self.show("#");
                    return;
                }
                ' ' | '\t' => rest = self.pass(rest, 1),
                '[' | '{' => {
                    depth += 1;
                    rest = self.pass(rest, 1);
                }
                ']' | '}' | ',' if is_flow => {
                    depth = depth.saturating_sub(usize::from(next != ','));
                    rest = self.pass(rest, 1);
                }
                ':' | '-' if ends(rest.chars().nth(1), is_flow) => rest = self.pass(rest, 1),
                '"' | '\'' => rest = self.quoted(rest, next),
                _ => {
                    let (word, is_key) = word(rest, is_flow);
                    let chars = word.chars().count();
                    // In brackets, a key follows a brace or a comma. Behind a `:` it may be a value.
                    let may_be_key = if is_flow {
                        self.text.trim_end().ends_with(['{', ','])
                    } else {
                        self.text.trim_start_matches(['-', ' ']).is_empty()
                    };
                    if is_key && may_be_key && is_name(word) {
                        rest = self.pass(rest, chars);
                    } else {
                        self.hide(chars);
                        rest = rest.get(word.len()..).unwrap_or_default();
                    }
                }
            }
        }
    }

    /// Shows the quotes of a value and replaces what is between them.
    fn quoted<'a>(&mut self, rest: &'a str, quote: char) -> &'a str {
        let rest = self.pass(rest, 1);
        let mut chars = rest.char_indices().peekable();
        let mut inside = 0;
        while let Some((at, next)) = chars.next() {
            if next == quote
                && !(quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\''))
            {
                self.hide(inside);
                return self.pass(rest.get(at..).unwrap_or_default(), 1);
            }
            inside += 1;
            if (next == '\\' && quote == '"' || next == quote) && chars.next().is_some() {
                inside += 1;
            }
        }
        self.hide(inside);
        ""
    }

    /// Shows the next characters, and returns what follows them. A tab is shown as a space.
    fn pass<'a>(&mut self, rest: &'a str, count: usize) -> &'a str {
        let end = rest
            .char_indices()
            .nth(count)
            .map_or(rest.len(), |(at, _)| at);
        let (shown, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        for next in shown.chars() {
            self.count(1);
            self.text.push(if next == '\t' { ' ' } else { next });
        }
        rest
    }

    /// Shows what stands for the rest of the line.
    fn show(&mut self, text: &str) {
        self.count(1);
        self.text.push_str(text);
    }

    /// Replaces the next `count` characters.
    fn hide(&mut self, count: usize) {
        if count > 0 {
            self.count(count);
            self.text.push_str(MASK);
        }
    }

    /// Takes note that the next `count` characters of the line begin here in the text.
    fn count(&mut self, count: usize) {
        self.read += count;
        if self.mark.is_none() && self.read >= self.column {
            self.mark = Some(self.text.chars().count());
        }
    }
}

/// Returns a key or a plain value at the beginning of `rest`, and whether it is a key.
fn word(rest: &str, is_flow: bool) -> (&str, bool) {
    let mut chars = rest.char_indices().peekable();
    while let Some((at, next)) = chars.next() {
        let after = chars.peek().map(|(_, after)| *after);
        let head = || rest.get(..at).unwrap_or_default();
        match next {
            ':' if ends(after, is_flow) => return (head(), true),
            ',' | '[' | ']' | '{' | '}' if is_flow => return (head(), false),
            ' ' | '\t' if after == Some('#') => return (head(), false),
            _ => {}
        }
    }
    (rest.trim_end(), false)
}

/// Reports whether `:` or `-` before `after` is an indicator.
fn ends(after: Option<char>, is_flow: bool) -> bool {
    after.is_none_or(|after| after.is_whitespace() || is_flow && ",[]{}".contains(after))
}

/// Reports whether a word may be shown, as messages show keys.
fn is_name(word: &str) -> bool {
    word.len() <= MAX_KEY
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, line: usize, column: usize) -> String {
        snippet(text, Place { line, column })
    }

    #[test]
    fn keys_and_brackets_are_shown_and_values_are_not() {
        for (line, column, want, mark) in [
            (
                "  agent: { endpoints: [\"http://u:pw@h\" }",
                23,
                "  agent: { endpoints: [\"***\" }",
                22,
            ),
            ("token: s3cret", 1, "token: ***", 0),
            ("  - name: a b: c", 14, "  - name: ***: ***", 13),
            (
                "- {a: b, key: 's3''cret', d}",
                10,
                "- {a: ***, key: '***', ***}",
                11,
            ),
            ("a: s3cret # s3cret", 4, "a: *** #", 3),
            ("s3cret word", 1, "***", 0),
            ("\tx: y", 1, " x: ***", 0),
            ("a: [b", 6, "a: [***", 7),
            ("say it: s3cret", 1, "***: ***", 0),
            ("a: {b: s3cret: c", 1, "a: {b: ***: ***", 0),
        ] {
            let text = shown(line, 1, column);
            let blank = " ".repeat(mark);
            assert_eq!(text, format!("\n  1 | {want}\n    | {blank}^"), "{line}");
        }
    }

    #[test]
    fn quoted_text_is_never_shown() {
        let text = "a: \"b\n  key: s3cret\nc: d\n";
        assert_eq!(shown(text, 2, 3), "\n  2 | ***\n    | ^");
        assert_eq!(shown(text, 9, 1), "");
        let long = format!("{}a: b", "- ".repeat(100));
        assert_eq!(shown(&long, 1, 1), "");
    }
}
