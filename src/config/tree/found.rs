//! Finds the mistake in a text near the place where the parser stopped.

use super::lexer::{Open, indentation};
use crate::config::error::Place;

/// Where the parser stopped.
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    pub(super) place: Place,
    pub(super) open: Open,
}

/// What is wrong, and where.
pub(super) type Said = (Place, String);

impl Found<'_> {
    fn line(&self, number: usize) -> &str {
        let index = number.checked_sub(1);
        index
            .and_then(|index| self.text.lines().nth(index))
            .unwrap_or_default()
    }

    /// Returns the number and the text of the last line before `number` that has content.
    fn before(&self, number: usize) -> Option<(usize, &str)> {
        let above = self.text.lines().take(number.saturating_sub(1)).enumerate();
        let with_content = above.filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        with_content.last().map(|(index, line)| (index + 1, line))
    }

    /// A quote that is open here.
    pub(super) fn quote(&self) -> Said {
        match self.open.quote {
            Some((quote, opened)) => (opened, quote_never_closed(quote)),
            None => (self.place, "a quote is never closed".to_owned()),
        }
    }

    /// Text behind a closing quote. If the quote was closed lines later, that was the next one's opening quote.
    pub(super) fn after_quote(&self) -> Said {
        match self.open.long_quote {
            Some((quote, opened, closed)) if closed == self.place.line => {
                (opened, quote_never_closed(quote))
            }
            _ => (
                self.place,
                "unexpected text after a closing quote; a comma is missing, or the value has a quote inside".to_owned(),
            ),
        }
    }

    /// A bracket of an earlier line that was never closed: a line after it stands as far left as its own.
    pub(super) fn bracket(&self) -> Option<Said> {
        let (bracket, opened) = self.open.brackets.last()?;
        let outer = indentation(self.line(opened.line));
        let next = self.line(opened.line + 1);
        let is_left = |line: &str| indentation(line) <= outer && !line.trim().is_empty();
        let is_open =
            self.place.line > opened.line && (is_left(self.line(self.place.line)) || is_left(next));
        is_open.then(|| (*opened, never_closed(*bracket)))
    }

    /// A `:` that the parser cannot use.
    pub(super) fn colon(&self) -> Said {
        let number = self.place.line;
        let line = self.line(number);
        let key = |line: &str| has_key(line.trim_start().trim_start_matches("- "));
        // The key of this line itself.
        let head: String = line
            .chars()
            .take(self.place.column.saturating_sub(1))
            .collect();
        if has_key(&head) {
            let message = "a second `: ` in one value; put the value in quotes, or begin a new line for another key";
            return (self.place, message.to_owned());
        }
        if !key(line) {
            return without_colon(number, line);
        }
        let Some((above, before)) = self.before(number) else {
            return (self.place, "a `:` is not possible here".to_owned());
        };
        if let Some(said) = dash(above, before) {
            return said;
        }
        if !key(before) {
            return without_colon(above, before);
        }
        let place = Place {
            line: number,
            column: indentation(line) + 1,
        };
        let message = format!(
            "this line is indented deeper than line {above}, which has a value already; keys of one section begin in the same column"
        );
        (place, message)
    }

    /// A line whose indentation fits no section above it.
    pub(super) fn indentation(&self) -> Said {
        let number = self.place.line;
        let line = self.line(number);
        let own = indentation(line);
        if self.place.column > own + 1 {
            let message = "expected a new line, or the end of the file, before this";
            return (self.place, message.to_owned());
        }
        if let Some((above, before)) = self.before(number)
            && let Some(said) = dash(above, before)
        {
            return said;
        }
        if !has_key(line.trim_start()) && !line.trim_start().starts_with('-') {
            return without_colon(number, line);
        }
        let (mut left, mut right) = (None, None);
        for column in self.columns_above(number) {
            if column < own {
                left = left.max(Some(column));
            } else if column > own {
                right = Some(right.map_or(column, |right: usize| right.min(column)));
            }
        }
        let expected = match (left, right) {
            (Some(left), Some(right)) => format!("; expected {left} or {right}"),
            (Some(one), None) | (None, Some(one)) => format!("; expected {one}"),
            (None, None) => String::new(),
        };
        let spaces = if own == 1 { "space" } else { "spaces" };
        (
            self.place,
            format!(
                "this line is indented by {own} {spaces}, which fits no section above it{expected}"
            ),
        )
    }

    /// Returns how far the sections that are open before line `number` are indented.
    fn columns_above(&self, number: usize) -> Vec<usize> {
        let mut columns = Vec::new();
        let mut outer = usize::MAX;
        let above: Vec<&str> = self.text.lines().take(number.saturating_sub(1)).collect();
        for line in above.into_iter().rev() {
            let content = line.trim_start();
            let own = indentation(line);
            if content.is_empty() || content.starts_with('#') || own >= outer {
                continue;
            }
            outer = own;
            if content.starts_with("- ") {
                columns.push(
                    own + content
                        .chars()
                        .skip(1)
                        .take_while(|next| *next == ' ')
                        .count()
                        + 1,
                );
            }
            columns.push(own);
        }
        columns
    }

    /// A tab where YAML wants spaces.
    pub(super) fn tab(&self) -> Said {
        let line = self.line(self.place.line);
        let head = line.chars().take(indentation(line));
        let column = head.take_while(|next| *next != '\t').count() + 1;
        let is_indent = column <= indentation(line);
        let place = Place {
            line: self.place.line,
            column: if is_indent { column } else { self.place.column },
        };
        let message = "a tab; YAML is indented by spaces alone";
        (place, message.to_owned())
    }
}

/// Reports whether a line, or the beginning of one, has a key: text before a `:` that a space or nothing follows.
fn has_key(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim_end();
    line.contains(": ") || line.ends_with(':')
}

/// Returns the bracket that closes another.
pub(super) const fn closing(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

/// Says that a bracket is never closed.
pub(super) fn never_closed(open: char) -> String {
    format!("this `{open}` is never closed; add a `{}`", closing(open))
}

fn quote_never_closed(quote: char) -> String {
    format!("this `{quote}` is never closed; add a `{quote}` at the end of the value")
}

/// A line that begins with a dash without a space.
fn dash(number: usize, line: &str) -> Option<Said> {
    let content = line.trim_start();
    let is_dash =
        content.starts_with('-') && content.chars().nth(1).is_some_and(char::is_alphanumeric);
    let place = Place {
        line: number,
        column: indentation(line) + 1,
    };
    is_dash.then(|| {
        (
            place,
            "a dash that begins an entry needs a space after it: `- name: …`".to_owned(),
        )
    })
}

/// A line that should have a key, and has none.
fn without_colon(number: usize, line: &str) -> Said {
    if let Some(said) = dash(number, line) {
        return said;
    }
    let colon = line.chars().position(|next| next == ':');
    match colon {
        Some(at) => (
            Place {
                line: number,
                column: at + 1,
            },
            "the `:` after a key needs a space behind it: `key: value`".to_owned(),
        ),
        None => (
            Place {
                line: number,
                column: indentation(line) + 1,
            },
            "a `:` is missing after this key".to_owned(),
        ),
    }
}
