//! Parses YAML text into a tree in which each key and value has its position in the file.
//!
//! It uses the event parser inside serde-saphyr, because a serde `Deserialize` stops at the first invalid value and
//! loses the lines of duplicate keys. Aliases and merge keys (`<<`) are resolved here.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use crate::config::error::{Path, Place, Report};

/// Most nodes of a document after aliases are expanded. Thousands of routes fit, an alias bomb ("billion laughs") does
/// not.
const MAX_NODES: usize = 200_000;

/// Deepest nesting. The deepest key of a valid file is at level five.
const MAX_DEPTH: usize = 32;

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

/// Parses one document. If the text is not valid YAML, adds the problem to `report` and returns `None`.
pub(crate) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        report,
    };
    match builder.document() {
        Ok(node) => Some(node),
        Err(Stop { place, message }) => {
            report.at(place, &Path::default(), message);
            None
        }
    }
}

/// A problem after which parsing cannot continue.
struct Stop {
    place: Place,
    message: String,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self {
            place: place_of(error.marker()),
            message: format!("not valid YAML: {}", error.info()),
        }
    }
}

struct Builder<'a, 'r> {
    parser: Parser<'a, StrInput<'a>>,
    /// Anchored nodes, by the number that the parser gives to each anchor.
    anchors: HashMap<usize, Node>,
    /// Number of nodes so far, including copies made for aliases.
    nodes: usize,
    report: &'r mut Report,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(Stop {
                        place,
                        message: "a second document begins; one file holds one configuration"
                            .to_owned(),
                    });
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, place, &Path::default(), 0)?),
            }
        }
        Ok(root.unwrap_or(Node {
            place: Place { line: 1, column: 1 },
            value: Value::Null,
        }))
    }

    fn node(
        &mut self,
        event: Event<'a>,
        place: Place,
        path: &Path,
        depth: usize,
    ) -> Result<Node, Stop> {
        self.count(1, place)?;
        if depth > MAX_DEPTH {
            return Err(Stop {
                place,
                message: format!("nested deeper than {MAX_DEPTH} levels"),
            });
        }
        let (anchor, tagged, value) = match event {
            Event::Alias(id) => return self.alias(id, place, path),
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain;
                let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        quoted,
                    }
                };
                (anchor, tag.is_some(), value)
            }
            Event::SequenceStart(_, anchor, tag) => {
                (anchor, tag.is_some(), self.list(path, depth)?)
            }
            Event::MappingStart(_, anchor, tag) => (anchor, tag.is_some(), self.map(path, depth)?),
            _ => {
                return Err(Stop {
                    place,
                    message: "not valid YAML: a value was expected".to_owned(),
                });
            }
        };
        if tagged {
            self.report.at(
                place,
                path,
                "YAML tags (`!...`) have no meaning here; remove the tag",
            );
        }
        let node = Node { place, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, path: &Path, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, place, &path.index(items.len()), depth + 1)?);
        }
    }

    fn map(&mut self, path: &Path, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = match self.node(event, place, path, depth + 1)?.value {
                Value::Scalar { text, .. } => text,
                Value::Null => "null".to_owned(),
                Value::List(_) | Value::Map(_) => {
                    return Err(Stop {
                        place,
                        message: "a key must be a single word".to_owned(),
                    });
                }
            };
            let (event, value_place) = self.next()?;
            let value = self.node(event, value_place, &path.key(&key), depth + 1)?;
            if key == "<<" {
                merged.push(value);
            } else if let Some((first, _)) = entries.iter().find(|(other, _)| other.text == key) {
                let message = format!(
                    "is written twice; the first stands in line {}",
                    first.place.line
                );
                self.report.at(place, &path.key(&key), message);
            } else {
                entries.push((Key { place, text: key }, value));
            }
        }
        for node in merged {
            self.merge(node, path, &mut entries);
        }
        Ok(Value::Map(entries))
    }

    /// Resolves `<<: *base`: adds the keys of the base that the section does not have. Of several bases the first wins.
    fn merge(&mut self, node: Node, path: &Path, entries: &mut Vec<(Key, Node)>) {
        match node.value {
            Value::Map(base) => {
                for (key, value) in base {
                    if !entries.iter().any(|(other, _)| other.text == key.text) {
                        entries.push((key, value));
                    }
                }
            }
            Value::List(bases) if bases.iter().all(|base| matches!(base.value, Value::Map(_))) => {
                for base in bases {
                    self.merge(base, path, entries);
                }
            }
            Value::List(_) | Value::Null | Value::Scalar { .. } => {
                self.report.at(
                    node.place,
                    &path.key("<<"),
                    "a merge key takes a section or a list of sections",
                );
            }
        }
    }

    /// Copies an anchored node. The copy keeps the positions of the original, where an invalid value must be corrected.
    fn alias(&mut self, id: usize, place: Place, path: &Path) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&id) else {
            let path = path.as_str();
            return Err(Stop {
                place,
                message: format!("the alias at `{path}` refers to a value that contains it"),
            });
        };
        let node = node.clone();
        self.count(size(&node), place)?;
        Ok(node)
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Stop {
                place,
                message: format!(
                    "more than {MAX_NODES} values, aliases counted as often as they are used"
                ),
            });
        }
        Ok(())
    }

    /// Returns the next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'a>, Place), Stop> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, place_of(&span.start))),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok((Event::StreamEnd, Place { line: 1, column: 1 })),
            }
        }
    }
}

/// Converts a position of the parser, which counts columns from 0.
fn place_of(mark: &Marker) -> Place {
    Place {
        line: mark.line(),
        column: mark.col() + 1,
    }
}

/// Returns how many nodes a copy of `node` adds.
fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
        Value::Null | Value::Scalar { .. } => 1,
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
    }

    #[test]
    fn syntax_errors_have_a_place_and_no_snippet() {
        assert_eq!(
            problems("a: [1, 2\nb: 3\n"),
            "2:2: not valid YAML: illegal placement of ':' indicator"
        );
        assert_eq!(
            problems("a: b: c\n"),
            "1:5: not valid YAML: mapping values are not allowed in this context"
        );
        assert_eq!(
            problems("a: *nowhere\n"),
            "1:4: not valid YAML: while parsing node, found unknown anchor"
        );
        assert_eq!(
            problems("a: 1\n---\nb: 2\n"),
            "2:1: a second document begins; one file holds one configuration"
        );
    }
}
