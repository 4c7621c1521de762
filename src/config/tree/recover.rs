//! Reads the rest of a file that is not valid YAML: the smallest part around a mistake is left out, so that mistakes
//! elsewhere are found as well.

use std::borrow::Cow;
use std::ops::Range;

use super::lexer::indentation;

/// A text, and which of its lines were left out.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    lines: Vec<Cow<'a, str>>,
    /// Lines that were left out, counted from 1.
    left_out: Vec<Range<usize>>,
    /// An anchor was left out, so that aliases elsewhere may refer to nothing.
    is_anchor_lost: bool,
}

impl<'a> Rest<'a> {
    /// Begins with the whole text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            lines: text.lines().map(Cow::Borrowed).collect(),
            left_out: Vec::new(),
            is_anchor_lost: false,
        }
    }

    /// Returns the text without what was left out. Every line keeps its number.
    pub(crate) fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }

    /// Returns the lines that were left out, counted from 1.
    pub(crate) fn left_out(&self) -> &[Range<usize>] {
        &self.left_out
    }

    /// Reports whether a line belongs to what was left out.
    pub(crate) fn is_left_out(&self, line: usize) -> bool {
        self.left_out.iter().any(|lines| lines.contains(&line))
    }

    /// Reports whether an anchor was left out.
    pub(crate) const fn is_anchor_lost(&self) -> bool {
        self.is_anchor_lost
    }

    /// Leaves out what a mistake in `line` makes unreadable: an entry of a section, or the section if its entry was left
    /// out in vain. Returns false if there is no such part.
    pub(crate) fn leave_out(&mut self, line: usize) -> bool {
        let Some(index) = line.checked_sub(1) else {
            return false;
        };
        let Some(section) = self.section(index) else {
            return false;
        };
        let entry = self
            .entry(&section, index)
            .filter(|_| !self.is_left_out(line));
        let is_again = self
            .left_out
            .contains(&(section.start + 1..section.end + 1));
        match entry {
            Some(entry) => self.remove(&entry),
            None if is_again => return false,
            None => self.remove(&section),
        }
        true
    }

    /// Returns the lines of the section at the top of the file that `index` lies in, counted from 0.
    fn section(&self, index: usize) -> Option<Range<usize>> {
        let is_key = |line: &str| {
            placeholder(line).is_some() && indentation(line) == 0 && !line.starts_with('-')
        };
        let first = self.lines.iter().position(|line| is_content(line))?;
        if !is_key(self.lines.get(first)?) {
            return None;
        }
        let above = self.lines.iter().take(index + 1);
        let start = above.enumerate().filter(|(_, line)| is_key(line)).last()?.0;
        let below = self.lines.iter().enumerate().skip(start + 1);
        let end = below
            .into_iter()
            .find(|(_, line)| is_key(line))
            .map_or(self.lines.len(), |(at, _)| at);
        Some(start..end)
    }

    /// Returns the lines of the entry of a section that `index` lies in, counted from 0.
    fn entry(&self, section: &Range<usize>, index: usize) -> Option<Range<usize>> {
        let inside = || {
            (self.lines.iter().enumerate())
                .take(section.end)
                .skip(section.start + 1)
        };
        let column = inside()
            .find(|(_, line)| is_content(line))
            .map(|(_, line)| indentation(line))?;
        let is_entry = |line: &str| indentation(line) == column && placeholder(line).is_some();
        let start = inside()
            .take_while(|(at, _)| *at <= index)
            .filter(|(_, line)| is_entry(line))
            .last()?
            .0;
        let end = inside()
            .skip_while(|(at, _)| *at <= start)
            .find(|(_, line)| is_content(line) && indentation(line) <= column)
            .map_or(section.end, |(at, _)| at);
        (start..end).contains(&index).then_some(start..end)
    }

    /// Replaces lines by blank ones, and the first by its key alone.
    fn remove(&mut self, lines: &Range<usize>) {
        for (at, line) in self.lines.iter_mut().enumerate() {
            if !lines.contains(&at) {
                continue;
            }
            self.is_anchor_lost |= line.contains('&');
            let kept = placeholder(line).filter(|_| at == lines.start);
            *line = Cow::Owned(kept.unwrap_or_default());
        }
        self.left_out.push(lines.start + 1..lines.end + 1);
    }
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// Returns what stands for the entry that a line begins: its key or its dash, without a value. Returns `None` if the line
/// begins none.
fn placeholder(line: &str) -> Option<String> {
    let content = line.trim_start_matches(' ');
    let head = " ".repeat(indentation(line));
    if content == "-" || content.starts_with("- ") {
        return Some(format!("{head}- ~"));
    }
    let (key, rest) = content.split_once(':')?;
    let is_name = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && (rest.is_empty() || rest.starts_with([' ', '\t']));
    is_name.then(|| format!("{head}{key}: ~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# c\nlisten: :1\nupstreams:\n  a:\n    endpoints: x\n  b: {y\nroutes:\n- name: c\n  upstream: a\n- name: d\n";

    fn without(lines: &[usize]) -> (String, Vec<Range<usize>>) {
        let mut rest = Rest::new(TEXT);
        for line in lines {
            assert!(rest.leave_out(*line), "{line}");
        }
        (rest.text(), rest.left_out().to_vec())
    }

    #[test]
    fn the_smallest_part_is_left_out_first() {
        let (text, lines) = without(&[5]);
        let want = TEXT.replace("  a:\n    endpoints: x\n", "  a: ~\n\n");
        assert_eq!((text, lines), (want, vec![4..6]));
        let (text, lines) = without(&[9]);
        let want = TEXT.replace("- name: c\n  upstream: a\n", "- ~\n\n");
        assert_eq!((text, lines), (want, vec![8..10]));
        // The second time, all of the section.
        let (text, lines) = without(&[6, 6]);
        let want =
            "# c\nlisten: :1\nupstreams: ~\n\n\n\nroutes:\n- name: c\n  upstream: a\n- name: d\n";
        assert_eq!((&*text, lines), (want, vec![6..7, 3..7]));
        let (text, _) = without(&[2]);
        assert_eq!(text, TEXT.replace("listen: :1", "listen: ~"));
    }

    #[test]
    fn what_is_no_section_stays() {
        for text in ["", "{\n\"a\": 1}\n", " a: b\nc: d\n", "a b\nc: d\n"] {
            for line in 0..4 {
                assert!(!Rest::new(text).leave_out(line), "{text}");
            }
        }
        let mut rest = Rest::new("a: b\n");
        assert!(rest.leave_out(1) && !rest.leave_out(1));
        assert_eq!(rest.text(), "a: ~\n");
    }
}
