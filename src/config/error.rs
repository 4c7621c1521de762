//! Configuration errors. All problems are reported at once, each with its position, its key and a hint how to fix it.
//!
//! Invariant: a message never contains more than [`SHOWN`] characters of a value, and nothing at all of a value that
//! may be secret (header values, URLs with user information).

use std::error::Error;
use std::fmt;
use std::ops::Range;

use crate::config::Listening;

/// Longest value that a message repeats, in characters. Words, durations and sizes fit; pasted tokens and keys do not.
const SHOWN: usize = 40;

/// Longest key that a path repeats, in characters: the maximum length of an upstream's name.
pub(crate) const MAX_KEY: usize = 63;

/// A position in the file. Line and column are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Position in the file; `None` for flags and for the file as a whole.
    pub place: Option<Place>,
    /// The key, such as `routes[2].queue.max_events`; empty for syntax errors.
    pub path: String,
    /// What was expected, what was found and what to change.
    pub message: String,
}

/// All problems of one configuration, ordered by line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// File name as given; `None` if there is no file.
    pub file: Option<String>,
    /// The problems.
    pub list: Vec<Problem>,
    /// Doubtful settings that were noticed beside them. Empty if little could be read.
    pub warnings: Vec<Problem>,
    /// The addresses that it would listen on, as far as they could be read.
    pub listening: Vec<Listening>,
}

impl fmt::Display for Problems {
    /// Writes one problem per line, without a trailing newline. Problems of YAML itself have two more lines, which show
    /// where they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (&self.file, problem.place) {
                (Some(file), Some(at)) => write!(f, "{file}:{at}: ")?,
                (None, Some(at)) => write!(f, "{at}: ")?,
                (Some(file), None) if !problem.path.starts_with("--") => write!(f, "{file}: ")?,
                (_, None) => {}
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    /// Writes `LINE:COLUMN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Problem {
    /// Writes `KEY: MESSAGE`, without the position.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Error for Problems {}

impl Problems {
    /// Returns a single problem of the file as a whole.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self {
            file: Some(file.to_owned()),
            list: vec![Problem {
                place: None,
                path: String::new(),
                message,
            }],
            warnings: Vec::new(),
            listening: Vec::new(),
        }
    }
}

/// Collects problems while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    list: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Lines that could not be read. What seems to be wrong there follows from that.
    unread: Vec<Range<usize>>,
    /// Keys that stand in such lines.
    dropped: Vec<String>,
}

impl Report {
    /// Adds a problem at a position in the file.
    pub(crate) fn at(&mut self, place: Place, path: &Path, message: impl Into<String>) {
        if self.is_unread(place) {
            return;
        }
        // Values of flags and variables have line 0.
        self.push(
            Some(place).filter(|place| place.line > 0),
            path.0.clone(),
            message.into(),
        );
    }

    /// Adds a doubtful setting.
    pub(crate) fn warn(&mut self, place: Place, path: &Path, message: impl Into<String>) {
        if !self.is_unread(place) {
            self.warnings.push(Problem {
                place: Some(place).filter(|place| place.line > 0),
                path: path.0.clone(),
                message: message.into(),
            });
        }
    }

    /// Returns the doubtful settings, and forgets them.
    pub(crate) fn take_warnings(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.warnings)
    }

    /// Adds the problems of another report.
    pub(crate) fn absorb(&mut self, problems: Self) {
        self.list.extend(problems.list);
    }

    /// Adds no later problem in `lines`, which could not be read, and none that one of `keys` is missing, which stand
    /// there.
    pub(crate) fn leave_out(&mut self, lines: &[Range<usize>], keys: &[String]) {
        self.unread.extend_from_slice(lines);
        self.dropped.extend_from_slice(keys);
    }

    /// Adds the problem that a section has no key `name`, unless the key may be there and could not be read.
    pub(crate) fn missing(&mut self, section: Place, path: &Path, name: &str) {
        if !self.is_dropped(name) {
            self.at(section, &path.key(name), "is missing");
        }
    }

    /// Reports whether a key of this name could not be read, somewhere in the file.
    pub(crate) fn is_dropped(&self, name: &str) -> bool {
        self.dropped.iter().any(|key| key == name)
    }

    /// Reports whether a position is in lines that could not be read.
    pub(crate) fn is_unread(&self, place: Place) -> bool {
        self.unread.iter().any(|lines| lines.contains(&place.line))
    }

    /// Reports whether a key and the keys below it could be read. What seems to be missing there may be there
    /// otherwise.
    pub(crate) fn is_fine(&self, key: &str) -> bool {
        let is_below = |path: &str| {
            let rest = path.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.unread.is_empty() && !self.list.iter().any(|problem| is_below(&problem.path))
    }

    /// Adds a problem that has no position in the file.
    pub(crate) fn of(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(None, path.into(), message.into());
    }

    /// Reports whether no problem was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns how many problems were added.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns all problems, ordered by line. Those without a line come last.
    pub(crate) fn into_problems(mut self, file: Option<&str>) -> Problems {
        self.list
            .sort_by_key(|problem| (problem.place.is_none(), problem.place));
        // Two routes that inherit the same invalid default report the same problem.
        self.list.dedup();
        Problems {
            file: file.map(str::to_owned),
            list: self.list,
            warnings: self.warnings,
            listening: Vec::new(),
        }
    }

    fn push(&mut self, place: Option<Place>, path: String, message: String) {
        self.list.push(Problem {
            place,
            path,
            message,
        });
    }
}

/// The path from the top of the file to a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    /// Returns the path of the key `name` below this one.
    pub(crate) fn key(&self, name: &str) -> Self {
        // An overlong or unprintable key may be a secret value written in the place of a key, so it is not shown.
        let chars = name.chars().count();
        let long = chars > MAX_KEY || name.chars().any(char::is_control);
        let name = if long {
            format!("(key of {chars} characters)")
        } else {
            name.to_owned()
        };
        if self.0.is_empty() {
            Self(name)
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    /// Returns the path of entry `index` of this list.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// Returns the path of one of several values: the entry of a list, or the key itself if it has a single value.
    pub(crate) fn entry(&self, index: Option<usize>) -> Self {
        index.map_or_else(|| self.clone(), |index| self.index(index))
    }

    /// Returns the path as messages show it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Formats a value for a message. A value that is too long or not printable is only described.
pub(crate) fn shown(text: &str) -> String {
    let chars = text.chars().count();
    if chars > SHOWN || text.chars().any(char::is_control) {
        format!("text of {chars} characters")
    } else {
        format!("`{text}`")
    }
}

/// Returns the candidate most similar to `word` if `word` may be a typo of it, else one that begins with `word`.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    // A third of the characters, one to three, may differ: `hart_beat` finds `heartbeat`, `x` finds nothing.
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let begins = |candidate: &&str| word.len() >= 3 && candidate.starts_with(word);
    candidates
        .clone()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or_else(|| candidates.into_iter().find(begins))
}

/// Returns the edit distance of two words (Damerau-Levenshtein: insert, delete, replace, swap neighbours). Upper and
/// lower case count as equal, and so does `-` in `left` with `_` in `right`.
fn distance(left: &str, right: &str) -> usize {
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b) || (a == '-' && b == '_');
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut last = None;
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = at(&row, j) + usize::from(!same(*a, *b));
            let mut best = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let before = j.checked_sub(1).and_then(|j| right.get(j).map(|b| (j, b)));
            if let (Some(last), Some((j, before))) = (last, before)
                && same(*a, *before)
                && same(last, *b)
            {
                best = best.min(at(&above, j) + 1);
            }
            next.push(best);
        }
        above = std::mem::replace(&mut row, next);
        last = Some(*a);
    }
    at(&row, right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_key() {
        let keys = ["heartbeat", "max_bytes", "max_events", "idle"];
        for (word, want) in [
            ("heart_beat", Some("heartbeat")),
            ("max-bytes", Some("max_bytes")),
            ("maxevents", Some("max_events")),
            ("idel", Some("idle")),
            ("hea", Some("heartbeat")),
            ("idl", Some("idle")),
            ("x", None),
            ("completely_else", None),
        ] {
            assert_eq!(nearest(word, keys.into_iter()), want, "{word}");
        }
    }

    #[test]
    fn long_values_are_described_not_shown() {
        assert_eq!(shown("5 s"), "`5 s`");
        assert_eq!(shown(&"k".repeat(41)), "text of 41 characters");
        assert_eq!(shown("a\nb"), "text of 3 characters");
    }
}
