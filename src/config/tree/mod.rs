//! Parses YAML text into a tree in which each key and value has its position in the file.
//!
//! It uses the event parser inside serde-saphyr, because a serde `Deserialize` stops at the first invalid value and
//! loses the lines of duplicate keys. Aliases and merge keys (`<<`) are resolved here.

mod builder;
mod found;
mod lexer;
mod recover;
mod snippet;
mod syntax;

use crate::config::error::{Path, Place, Report};
use builder::{MAX_NODES, Stop, document, place_of};
use recover::Rest;
use snippet::snippet;
use syntax::{Diagnosis, explain};

/// Maximum number of mistakes in YAML itself that are reported together.
const MAX_MISTAKES: usize = 8;

/// How often a text is read again at most, each time without another part that cannot be read.
const MAX_READINGS: usize = 32;

/// A value and its position.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Position of the first character.
    pub(crate) place: Place,
    /// The value.
    pub(crate) value: Value,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file. Keys are unique.
    Map(Vec<(Key, Node)>),
    /// An empty value, `~` or `null`.
    Null,
    /// Any other single value. Quoted text is never a number or a boolean.
    Scalar {
        /// The text after unescaping.
        text: String,
        /// Whether the value is written in quotes or as a block scalar.
        quoted: bool,
    },
}

/// A key and its position.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Position of the first character.
    pub(crate) place: Place,
    /// The text of the key.
    pub(crate) text: String,
}

impl Node {
    /// Returns what the value is, in the words of a message.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
        }
    }
}

/// Parses one document. If the text is not valid YAML, adds the problem to `report`, and parses the text without the
/// key or entry that has it, so that problems elsewhere are found as well. Returns `None` if nothing can be read.
pub(crate) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    // Of a text that is read again, only the problems of the last reading count.
    let mut read = Report::default();
    let stop = match document(text, &mut read) {
        Ok(node) => {
            report.absorb(read);
            return Some(node);
        }
        Err(stop) => stop,
    };
    let mut rest = Rest::new(text);
    let mut mistakes = Mistakes::default();
    let mut reading = mistakes.take(stop, text, &mut rest);
    for _ in 0..MAX_READINGS {
        if !reading {
            break;
        }
        let readable = rest.text();
        let mut read = Report::default();
        match document(&readable, &mut read) {
            Ok(node) => {
                report.absorb(mistakes.report);
                report.absorb(read);
                report.leave_out(rest.left_out(), rest.dropped());
                return Some(node);
            }
            Err(stop) => reading = mistakes.take(stop, &readable, &mut rest),
        }
    }
    report.absorb(mistakes.report);
    None
}

/// The mistakes in YAML itself so far.
#[derive(Default)]
struct Mistakes {
    report: Report,
    count: usize,
}

impl Mistakes {
    /// Adds a mistake, and leaves out of the rest what it makes unreadable. Returns whether the rest can be read.
    fn take(&mut self, stop: Stop, text: &str, rest: &mut Rest<'_>) -> bool {
        // An anchor that was left out is missed where it is used.
        let follows = stop.is_unknown_anchor() && rest.is_anchor_lost();
        let is_final = matches!(stop, Stop::TooMany { .. });
        let Diagnosis { place, message } = explained(stop, text);
        if !follows && !rest.is_left_out(place.line) {
            self.report.at(place, &Path::default(), message);
            self.count += 1;
        }
        !is_final && self.count < MAX_MISTAKES && rest.leave_out(place.line)
    }
}

/// Says what is wrong in words for people, and shows the line if it is not valid YAML.
fn explained(stop: Stop, text: &str) -> Diagnosis {
    match stop {
        Stop::Invalid(error) => {
            let said = explain(text, &error, place_of(error.marker()));
            let message = said.message + &snippet(text, said.place);
            Diagnosis { message, ..said }
        }
        Stop::Refused { place, message } => Diagnosis { place, message },
        Stop::TooMany { place } => Diagnosis {
            place,
            message: format!(
                "more than {MAX_NODES} values, aliases counted as often as they are used"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let mut report = Report::default();
        parse(text, &mut report);
        report.into_problems(None).to_string()
    }

    fn keys(node: &Node) -> Vec<String> {
        match &node.value {
            Value::Map(entries) => entries.iter().map(|(key, _)| key.text.clone()).collect(),
            _ => panic!("not a map"),
        }
    }

    #[test]
    fn json_is_yaml() {
        let mut report = Report::default();
        let node = parse(r#"{"a": {"b": [1, "2", null]}}"#, &mut report).unwrap();
        assert!(report.is_empty());
        assert_eq!(keys(&node), ["a"]);
    }

    #[test]
    fn both_places_of_a_duplicate_key_are_told() {
        assert_eq!(
            problems("a: 1\nb: 2\na: 3\n"),
            "3:1: a: is written twice; the first stands in line 1"
        );
    }

    #[test]
    fn merge_keys_add_what_is_missing() {
        let mut report = Report::default();
        let node = parse(
            "base: &base {x: 1, y: 2}\nuse:\n  y: 3\n  <<: *base\n",
            &mut report,
        )
        .unwrap();
        let Value::Map(entries) = &node.value else {
            panic!()
        };
        assert_eq!(keys(&entries[1].1), ["y", "x"]);
        assert!(report.is_empty());
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..9 {
            let below = vec![format!("*a{}", level - 1); 10].join(",");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(
            problems(&text).contains("more than 200000 values"),
            "{}",
            problems(&text)
        );
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(problems(&text), "1:34: nested deeper than 32 levels");
        let said = problems(&"[".repeat(5000));
        assert!(said.contains("nested too deeply"), "{said}");
    }

    #[test]
    fn mistakes_are_shown_without_values() {
        assert_eq!(
            problems("a: [1, 2\nb: 3\n"),
            "1:4: not valid YAML: this `[` is never closed; add a `]`\n  1 | a: [***, ***\n    |    ^"
        );
        assert_eq!(
            problems("a: b: c\n"),
            "1:5: not valid YAML: a second `: ` in one value; put the value in quotes, or begin a new line for another key\n  1 | a: ***: ***\n    |       ^"
        );
        assert_eq!(
            problems("a: 1\n---\nb: 2\n"),
            "2:1: a second document begins; one file holds one configuration"
        );
        for text in [
            "a: \"s3cret\n  b: s3cret\nc: \"s3cret\"\n",
            "a: s3cret: x\n",
            "a: {b: s3cret, c: [s3cret}\n",
            "a:\n  s3cret s3cret\n    b: s3cret\n",
            "a: *s3cret # s3cret\n",
        ] {
            let said = problems(text);
            assert!(!said.is_empty() && !said.contains("s3cret"), "{said}");
        }
    }

    #[test]
    fn the_rest_is_read_without_the_part_that_has_a_mistake() {
        let text = "a:\n  b: [1\n  c: 2\nd: 'x\ne: *lost\nf:\n  - g: 1\n   h: 2\n  - i: 3\n  - i: 4\n    i: 5\n";
        let mut report = Report::default();
        let node = parse(text, &mut report).unwrap();
        assert_eq!(keys(&node), ["a", "d", "e", "f"]);
        let said = report.into_problems(None).to_string();
        let places: Vec<_> = (said.lines().filter(|line| !line.starts_with(' ')))
            .filter_map(|line| line.split_once(": "))
            .map(|(place, _)| place)
            .collect();
        assert_eq!(places, ["2:6", "4:4", "5:4", "8:4", "11:5"], "{said}");
    }

    #[test]
    fn an_alias_of_what_cannot_be_read_is_no_mistake_of_its_own() {
        let said = problems("a: &x [1\nb: *x\nc: 1\nc: 2\n");
        assert_eq!(said.lines().count(), 4, "{said}");
        assert!(
            said.ends_with("4:1: c: is written twice; the first stands in line 3"),
            "{said}"
        );
    }

    #[test]
    fn problems_where_nothing_was_read_are_not_reported() {
        let mut report = Report::default();
        parse("a: [1\nb: 2\n", &mut report).unwrap();
        for (line, want) in [(1, 1), (2, 2)] {
            let place = Place { line, column: 1 };
            report.at(place, &Path::default().key("a"), "is missing");
            assert_eq!(report.len(), want);
        }
    }
}
