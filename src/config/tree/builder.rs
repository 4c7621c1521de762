//! Builds the tree from the events of the parser.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput,
};

use super::{Key, Node, Value};
use crate::config::error::{Path, Place, Report};

/// Maximum number of nodes of a document after aliases are expanded. Thousands of routes fit, an alias bomb ("billion
/// laughs") does not.
pub(super) const MAX_NODES: usize = 200_000;

/// Deepest nesting. The deepest key of a valid file is at level five.
const MAX_DEPTH: usize = 32;

/// Parses one document, or says where and why it stopped. Problems that do not stop it are added to `report`.
pub(super) fn document(text: &str, report: &mut Report) -> Result<Node, Stop> {
    Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        report,
    }
    .document()
}

/// A problem after which parsing cannot continue.
pub(super) enum Stop {
    /// The text is not valid YAML.
    Invalid(Box<ScanError>),
    /// A value that is valid YAML, and that no configuration has.
    Refused { place: Place, message: String },
    /// More than [`MAX_NODES`] values.
    TooMany { place: Place },
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Invalid(Box::new(error))
    }
}

impl Stop {
    /// Reports whether an alias refers to no anchor.
    pub(super) fn is_unknown_anchor(&self) -> bool {
        matches!(self, Self::Invalid(error) if *error.kind() == ErrorKind::UnknownAnchor)
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
                    let why = "a second document begins; one file holds one configuration";
                    self.report.at(place, &Path::default(), why);
                    break;
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
            return Err(Stop::Refused {
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
                return Err(Stop::Refused {
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
                    return Err(Stop::Refused {
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
            return Err(Stop::Refused {
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
            return Err(Stop::TooMany { place });
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
pub(super) fn place_of(mark: &Marker) -> Place {
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
