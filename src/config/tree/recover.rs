//! Reads the rest of a file that is not valid YAML: the smallest part around a mistake is left out, so that mistakes
//! elsewhere are found as well. A part is a key or an entry of a list, with everything below it.

use std::borrow::Cow;
use std::ops::Range;

use super::lexer::indentation;

/// A text, and which of its lines were left out.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    lines: Vec<Cow<'a, str>>,
    /// Lines that were left out, counted from 1.
    left_out: Vec<Range<usize>>,
    /// Keys that were left out altogether. Nothing can be said to be missing that has such a name.
    dropped: Vec<String>,
    /// An anchor was left out, so that aliases elsewhere may refer to nothing.
    is_anchor_lost: bool,
}

impl<'a> Rest<'a> {
    /// Begins with the whole text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            lines: text.lines().map(Cow::Borrowed).collect(),
            left_out: Vec::new(),
            dropped: Vec::new(),
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

    /// Returns the keys that were left out altogether.
    pub(crate) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Reports whether a line belongs to what was left out.
    pub(crate) fn is_left_out(&self, line: usize) -> bool {
        self.left_out.iter().any(|lines| lines.contains(&line))
    }

    /// Reports whether an anchor was left out.
    pub(crate) const fn is_anchor_lost(&self) -> bool {
        self.is_anchor_lost
    }

    /// Leaves out what a mistake in `line` makes unreadable: the value of the key or the entry of a list that the line
    /// belongs to; if that was in vain, the key itself, and then the one around it. Returns false if there is none.
    pub(crate) fn leave_out(&mut self, line: usize) -> bool {
        let Some(index) = line.checked_sub(1) else {
            return false;
        };
        let first = self.lines.iter().find(|line| is_content(line));
        let has_sections =
            first.is_some_and(|line| depth(line) == 0 && placeholder(line).is_some());
        if !has_sections {
            return false;
        }
        let mut start = self.begins_at_or_above(index);
        while let Some(at) = start {
            let part = self.part(at);
            if !self.left_out.contains(&(part.start + 1..part.end + 1)) {
                self.remove(&part);
                return true;
            }
            if self.drop_key(at) {
                return true;
            }
            start = self.around(at);
        }
        false
    }

    /// Returns the line that begins the smallest part with `index`, counted from 0.
    fn begins_at_or_above(&self, index: usize) -> Option<usize> {
        // A line that was left out is blank, and belongs to what begins above it.
        let mut above = self.lines.iter().enumerate().take(index + 1).rev();
        let (at, line) = above.find(|(_, line)| is_content(line))?;
        if placeholder(line).is_some() {
            Some(at)
        } else {
            self.around(at)
        }
    }

    /// Returns the line that begins the part around the one that begins at `index`.
    fn around(&self, index: usize) -> Option<usize> {
        let inner = self.lines.get(index).map(|line| depth(line))?;
        let mut above = self.lines.iter().enumerate().take(index).rev();
        let around = above.find(|(_, line)| depth(line) < inner && placeholder(line).is_some());
        around.map(|(at, _)| at)
    }

    /// Returns the lines of the part that begins at `start`, counted from 0.
    fn part(&self, start: usize) -> Range<usize> {
        let own = self.lines.get(start).map_or(0, |line| depth(line));
        let mut below = self.lines.iter().enumerate().skip(start + 1);
        let next = below.find(|(_, line)| is_content(line) && depth(line) <= own);
        start..next.map_or(self.lines.len(), |(at, _)| at)
    }

    /// Leaves out a key whose value was left out before, unless it is at the top: its indentation may be what is wrong.
    fn drop_key(&mut self, index: usize) -> bool {
        let Some(line) = self.lines.get_mut(index) else {
            return false;
        };
        let key = line.trim().strip_suffix(": ~").map(str::to_owned);
        let Some(key) = key.filter(|_| indentation(line) > 0) else {
            return false;
        };
        *line = Cow::Borrowed("");
        self.dropped.push(key);
        true
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

/// Returns how deep a line lies: the dashes of a list may stand below the first letter of its key.
fn depth(line: &str) -> usize {
    let is_dash = line.trim_start_matches(' ').starts_with('-');
    indentation(line) * 2 + usize::from(is_dash)
}

/// Returns what stands for the entry that a line begins: its key or its dash, without a value. Returns `None` if the
/// line begins none.
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
        let want = TEXT.replace("    endpoints: x\n", "    endpoints: ~\n");
        assert_eq!((text, &*lines), (want, std::slice::from_ref(&(5..6))));
        // The second time, the key itself; the third time, the part around it.
        let (text, lines) = without(&[5, 5]);
        let want = TEXT.replace("    endpoints: x\n", "\n");
        assert_eq!((text, &*lines), (want, std::slice::from_ref(&(5..6))));
        let (text, lines) = without(&[5, 5, 5]);
        let want = TEXT.replace("  a:\n    endpoints: x\n", "  a: ~\n\n");
        assert_eq!((text, lines), (want, vec![5..6, 4..6]));
        let (text, lines) = without(&[8]);
        let want = TEXT.replace("- name: c\n  upstream: a\n", "- ~\n\n");
        assert_eq!((text, &*lines), (want, std::slice::from_ref(&(8..10))));
        let (text, lines) = without(&[6, 6, 3]);
        let want =
            "# c\nlisten: :1\nupstreams: ~\n\n\n\nroutes:\n- name: c\n  upstream: a\n- name: d\n";
        assert_eq!((&*text, lines), (want, vec![6..7, 3..7]));
        let (text, _) = without(&[8, 8]);
        let end = TEXT.find("routes:").unwrap();
        assert_eq!(text, format!("{}routes: ~\n\n\n\n", &TEXT[..end]));
        let (text, _) = without(&[2]);
        assert_eq!(text, TEXT.replace("listen: :1", "listen: ~"));
    }

    #[test]
    fn only_keys_and_entries_are_left_out() {
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
