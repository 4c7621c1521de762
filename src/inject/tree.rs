//! YAML as a tree in which each value knows where it stands in the text, so that the text can be edited in place.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_saphyr::granit_parser::{
    Event, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle,
};

/// Maximum number of values of a document, aliases counted as often as they are used.
const MAX_NODES: usize = 500_000;

/// Deepest nesting. Manifests, and the schemas in custom resource definitions, have less.
const MAX_DEPTH: usize = 128;

/// What a template looks like, such as `image: {{ .Values.image }}`.
const COMPLEX_KEY: &str = "a mapping or a list as a key; is this a template? Render it first, such as with `helm template`";

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// From the first byte to the byte after the last one. In block style, it begins at the first key or at the first
    /// item, without its dash, and ends with the last value. A value that is not written stands behind its key, before
    /// the colon.
    pub(crate) range: Range<usize>,
    /// Column of the first character, counted from 0.
    pub(crate) column: usize,
    /// The value.
    pub(crate) value: Value,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A sequence.
    List(Style, Vec<Node>),
    /// A mapping in the order of the text.
    Map(Style, Vec<(String, Node)>),
    /// Anything else.
    Scalar(Scalar),
}

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// By indentation.
    Block,
    /// In brackets or braces, as in JSON.
    Flow,
}

/// A single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// Empty, `~` or `null`.
    Null,
    /// A number as it is written.
    Number(String),
    /// A text, in quotes or not.
    Text(String),
}

/// Two trees are the same if they mean the same, wherever and however they are written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::List(_, one), Value::List(_, other)) => one == other,
            (Value::Map(_, one), Value::Map(_, other)) => {
                let same = |(index, (key, value)): (usize, &(String, Self))| {
                    // Mostly in the same order.
                    let here = other.get(index).filter(|(name, _)| name == key);
                    let found = here.or_else(|| other.iter().find(|(name, _)| name == key));
                    found.is_some_and(|(_, theirs)| theirs == value)
                };
                one.len() == other.len() && one.iter().enumerate().all(same)
            }
            (Value::Scalar(one), Value::Scalar(other)) => one == other,
            _ => false,
        }
    }
}

impl Node {
    /// The value under a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(_, entries) = &self.value else {
            return None;
        };
        let mut found = entries.iter().filter(|(name, _)| name == key);
        found.next().map(|(_, value)| value)
    }

    /// The value under these keys.
    pub(crate) fn find(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The items of a sequence; none if this is anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(_, items) => items,
            Value::Map(..) | Value::Scalar(_) => &[],
        }
    }

    /// The entries of a mapping; none if this is anything else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(_, entries) => entries,
            Value::List(..) | Value::Scalar(_) => &[],
        }
    }

    /// A text, or a number as it is written.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar::Number(text) | Scalar::Text(text)) => Some(text),
            Value::List(..) | Value::Map(..) | Value::Scalar(_) => None,
        }
    }

    /// A whole number, if it is written as a number.
    pub(crate) fn number(&self) -> Option<u64> {
        match &self.value {
            Value::Scalar(Scalar::Number(text)) => text.parse().ok(),
            Value::List(..) | Value::Map(..) | Value::Scalar(_) => None,
        }
    }

    /// Whether nothing was given.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Scalar::Null))
    }
}

/// Why a document could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Line in the document, counted from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// Parses one document. `None` if it has no content.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, Unreadable> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        end: 0,
    };
    let mut root = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(builder.node(event, &span, 0)?),
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Anchored nodes, by the number that the parser gives to each anchor.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Where the last value ends so far.
    end: usize,
}

impl<'a> Builder<'a> {
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Unreadable> {
        self.count(1, span)?;
        if depth > MAX_DEPTH {
            return Err(stop(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let start = offset(span.start.byte_offset(), span)?;
        let (anchor, value) = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(stop(span, "an alias refers to a value that contains it"));
                };
                self.count(size(&node), span)?;
                self.end = offset(span.end.byte_offset(), span)?;
                (0, node.value)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.end = offset(span.end.byte_offset(), span)?;
                let quoted = style != ScalarStyle::Plain || tag.is_some();
                (anchor, Value::Scalar(scalar(&text, quoted)))
            }
            Event::SequenceStart(style, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break self.close(style, &span)?;
                    }
                    items.push(self.node(event, &span, depth + 1)?);
                }
                (anchor, Value::List(style_of(style), items))
            }
            Event::MappingStart(style, anchor, _) => {
                let mut entries: Vec<(String, Node)> = Vec::new();
                let mut names = HashSet::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        break self.close(style, &span)?;
                    }
                    let key = self.node(event, &span, depth + 1)?;
                    if !matches!(key.value, Value::Scalar(_)) {
                        return Err(stop(&span, COMPLEX_KEY));
                    }
                    let key = key.text().map_or_else(|| "null".to_owned(), str::to_owned);
                    if key != "<<" && !names.insert(key.clone()) {
                        return Err(stop(&span, format!("the key `{key}` is written twice")));
                    }
                    let behind_key = self.end;
                    let (event, span) = self.next()?;
                    let mut value = self.node(event, &span, depth + 1)?;
                    if value.range.is_empty() {
                        value.range = behind_key..behind_key;
                    }
                    entries.push((key, value));
                }
                (anchor, Value::Map(style_of(style), entries))
            }
            _ => return Err(stop(span, "a value was expected")),
        };
        let node = Node {
            range: start..self.end.max(start),
            column: span.start.col(),
            value,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Notes the end of a collection: in block style, that is the end of its last value.
    fn close(&mut self, style: StructureStyle, span: &Span) -> Result<(), Unreadable> {
        if style_of(style) == Style::Flow {
            self.end = offset(span.end.byte_offset(), span)?;
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Unreadable> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(stop(span, format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }

    /// Returns the next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'a>, Span), Unreadable> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }
}

impl From<ScanError> for Unreadable {
    fn from(error: ScanError) -> Self {
        Self {
            line: error.marker().line(),
            message: format!("not valid YAML: {}", error.info()),
        }
    }
}

fn stop(span: &Span, message: impl Into<String>) -> Unreadable {
    Unreadable {
        line: span.start.line(),
        message: message.into(),
    }
}

fn offset(byte: Option<usize>, span: &Span) -> Result<usize, Unreadable> {
    byte.ok_or_else(|| stop(span, "the place of a value is not known"))
}

const fn style_of(style: StructureStyle) -> Style {
    match style {
        StructureStyle::Block => Style::Block,
        StructureStyle::Flow => Style::Flow,
    }
}

/// What a text means. Only what decides about a port or a number has to be exact: anything else is kept as it is
/// written.
fn scalar(text: &str, quoted: bool) -> Scalar {
    let owned = || text.to_owned();
    match text {
        _ if quoted => Scalar::Text(owned()),
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" => Scalar::Flag(true),
        "false" => Scalar::Flag(false),
        _ if text.parse::<i64>().is_ok() => Scalar::Number(owned()),
        _ => Scalar::Text(owned()),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(_, items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(_, entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
        Value::Scalar(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_stand() {
        let text = "a:\n  b: [1, {c: x}]  # note\n  d: |\n    # no comment\n\ne: 'f'\n";
        let root = parse(text).unwrap().unwrap();
        let at = |keys: &[&str]| &text[root.find(keys).unwrap().range.clone()];
        assert_eq!(at(&["a", "b"]), "[1, {c: x}]");
        assert_eq!(at(&["e"]), "'f'");
        let a = root.get("a").unwrap();
        assert_eq!((a.range.start, a.column), (5, 2));
        assert!(text[..a.range.end].trim_end().ends_with("# no comment"));
    }

    #[test]
    fn trees_are_compared_by_meaning() {
        let parse = |text| parse(text).unwrap().unwrap();
        assert_eq!(parse("a: 1\nb: [x]\n"), parse(r#"{"b": ["x"], "a": 1}"#));
        assert_ne!(parse("a: 1"), parse("a: '1'"));
        assert_ne!(parse("a: [1, 2]"), parse("a: [2, 1]"));
        assert_eq!(parse("x: &x {y: 1}\nz: *x"), parse("x: {y: 1}\nz: {y: 1}"));
    }

    #[test]
    fn an_empty_document_has_no_tree() {
        assert_eq!(parse("# comment\n"), Ok(None));
        assert!(
            parse("---\n# comment\n")
                .unwrap()
                .is_none_or(|node| node.is_null())
        );
    }

    #[test]
    fn what_cannot_be_read_has_a_line() {
        assert_eq!(parse("a: 1\nb: [\n").unwrap_err().line, 2);
        assert_eq!(
            parse("a: 1\na: 2\n").unwrap_err(),
            Unreadable {
                line: 2,
                message: "the key `a` is written twice".to_owned()
            }
        );
        let template = "a: 1\nb: {{ .Values.b }}\n";
        let unread = parse(template).unwrap_err();
        assert!(
            unread.line == 2 && unread.message.contains("helm template"),
            "{unread:?}"
        );
        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..9 {
            let below = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("more than"));
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(parse(&deep).unwrap_err().message.contains("128"));
    }
}
