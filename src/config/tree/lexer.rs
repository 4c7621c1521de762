//! Finds the brackets and quotes that are open at a position of a YAML text.
//!
//! The parser says where it could not go on. What is wrong is often earlier: a bracket or a quote that was never
//! closed.

use crate::config::error::Place;

/// What is open at a position.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Brackets and braces, the innermost last.
    pub(crate) brackets: Vec<(char, Place)>,
    /// The quote that the position lies in.
    pub(crate) quote: Option<(char, Place)>,
    /// The last quote before the position that was closed in a later line than its own: where it opened, and the line
    /// in which it was closed.
    pub(crate) long_quote: Option<(char, Place, usize)>,
}

/// Reads `text` up to `until`, and returns what is open there.
pub(crate) fn open_at(text: &str, until: Place) -> Open {
    let mut open = Open::default();
    // The indentation of the line that began a block scalar.
    let mut block = None;
    for (index, line) in text.lines().enumerate().take(until.line) {
        let number = index + 1;
        let indent = indentation(line);
        if let Some(outer) = block {
            if line.trim().is_empty() || indent > outer {
                continue;
            }
            block = None;
        }
        let chars = if number == until.line {
            until.column.saturating_sub(1)
        } else {
            usize::MAX
        };
        let shown: String = line.chars().take(chars).collect();
        if open.read(&shown, number) {
            block = Some(indent);
        }
    }
    open
}

/// Returns the number of spaces and tabs that a line begins with.
pub(crate) fn indentation(line: &str) -> usize {
    line.chars()
        .take_while(|next| matches!(next, ' ' | '\t'))
        .count()
}

impl Open {
    /// Reads one line, or the beginning of one. Returns whether a block scalar begins at its end.
    fn read(&mut self, line: &str, number: usize) -> bool {
        let mut chars = line.chars().enumerate().peekable();
        let mut is_plain = false;
        let mut before = ' ';
        while let Some((column, next)) = chars.next() {
            let place = Place {
                line: number,
                column: column + 1,
            };
            let after = chars.peek().map(|(_, after)| *after);
            if let Some((quote, opened)) = self.quote {
                if next == '\\' && quote == '"'
                    || next == quote && quote == '\'' && after == Some('\'')
                {
                    chars.next();
                } else if next == quote {
                    self.quote = None;
                    if opened.line < number {
                        self.long_quote = Some((quote, opened, number));
                    }
                }
                before = next;
                continue;
            }
            let is_flow = !self.brackets.is_empty();
            match next {
                ' ' | '\t' => {}
                '#' if before.is_whitespace() => return false,
                '"' | '\'' if !is_plain => self.quote = Some((next, place)),
                '[' | '{' if !is_plain || is_flow => {
                    self.brackets.push((next, place));
                    is_plain = false;
                }
                ']' | '}' if is_flow => {
                    self.brackets.pop();
                    is_plain = false;
                }
                ',' if is_flow => is_plain = false,
                ':' if after.is_none_or(|after| {
                    after.is_whitespace() || is_flow && ",[]{}".contains(after)
                }) =>
                {
                    is_plain = false;
                }
                // An anchor or a tag; the value comes after it.
                '&' | '!' if !is_plain => {
                    while chars.next_if(|(_, next)| !next.is_whitespace()).is_some() {}
                }
                '-' if !is_plain && after.is_none_or(char::is_whitespace) => {}
                '|' | '>' if !is_plain && !is_flow => {
                    let rest: String = chars.map(|(_, next)| next).collect();
                    let header = rest.split(" #").next().unwrap_or_default().trim();
                    return header
                        .chars()
                        .all(|next| next.is_ascii_digit() || "+-".contains(next));
                }
                _ => is_plain = true,
            }
            before = next;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Open {
        let line = text.lines().count();
        let column = text.lines().last().unwrap_or_default().chars().count() + 1;
        open_at(text, Place { line, column })
    }

    #[test]
    fn brackets_and_quotes_are_followed() {
        for (text, brackets) in [
            ("a: [b, {c: d", "[{"),
            ("a: [b, {c: d}", "["),
            ("a: [b]", ""),
            ("a: b[0", ""),
            ("a: &x [b", "["),
            ("a: \"[\"", ""),
            ("a: '[ it''s [' # [", ""),
            ("a: it's [", ""),
            ("a: |\n  [ {\n  \"\nb: {", "{"),
            ("a: \"x \\\" [\"\nb: [c,\n  d", "["),
        ] {
            let open = at(text);
            let found: String = open.brackets.iter().map(|(bracket, _)| *bracket).collect();
            assert_eq!(found, brackets, "{text}");
            assert_eq!(open.quote, None, "{text}");
        }
        let open = at("a: b\nc: \"d\n  e");
        let place = Place { line: 2, column: 4 };
        assert_eq!(open.quote, Some(('"', place)));
        let open = at("c: \"d\ne: \"f");
        let place = Place { line: 1, column: 4 };
        assert_eq!(open.long_quote, Some(('"', place, 2)));
    }
}
