//! Edits a document twice: in its text, where everything else stays as it is written, and in its tree, with which the
//! edited text is compared.

use std::cmp::Reverse;

use serde_json::json;

use crate::inject::tree::{self, Node, Scalar, Style, Value};

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The item of a sequence.
    Item(usize),
    /// The value under a key.
    Key(&'static str),
}

/// An edit of the collection or single value at `path`. All YAML is in block style, without indentation.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// Which value.
    pub(crate) path: Vec<Step>,
    /// How it changes.
    pub(crate) change: Change,
}

/// What happens to a value.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A mapping gets another key.
    Add {
        /// The key.
        key: &'static str,
        /// The value of the key.
        yaml: String,
    },
    /// A sequence gets another last item.
    Append(String),
    /// A value that is empty or `null` gets a content.
    Fill(String),
    /// A sequence gets another first item.
    Prepend(String),
    /// Another single value takes its place.
    Replace(String),
}

/// Applies edits to a document. `None` if its text cannot be edited so that it means exactly this: if an anchor would
/// repeat a change elsewhere, for instance.
pub(crate) fn apply(text: &str, root: &Node, edits: &[Edit]) -> Option<String> {
    let mut wanted = root.clone();
    let mut inserts = Vec::new();
    for edit in edits {
        let node = at(root, &edit.path)?;
        inserts.push(insert(text, node, edit)?);
        change(at_mut(&mut wanted, &edit.path)?, &edit.change)?;
    }
    // What ends at the same place is written from the inside out.
    inserts.sort_by_key(|insert| (insert.start, Reverse(insert.depth)));
    let mut out = String::with_capacity(text.len() + 4096);
    let mut rest = 0;
    for insert in inserts {
        out.push_str(text.get(rest..insert.start)?);
        if insert.lines && !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&insert.text);
        rest = insert.end;
    }
    out.push_str(text.get(rest..)?);
    if text.contains("\r\n") {
        out = out.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    let made = tree::parse(&out).ok()??;
    (made == wanted).then_some(out)
}

/// Text that takes the place of a range.
struct Insert {
    start: usize,
    end: usize,
    text: String,
    /// Whether the text consists of lines of their own.
    lines: bool,
    /// How deep in the document.
    depth: usize,
}

fn insert(text: &str, node: &Node, edit: &Edit) -> Option<Insert> {
    let depth = edit.path.len();
    let lines = |start: usize, text: String| Insert {
        start,
        end: start,
        text,
        lines: true,
        depth,
    };
    let within = |range: std::ops::Range<usize>, text: String| Insert {
        start: range.start,
        end: range.end,
        text,
        lines: false,
        depth,
    };
    match (&edit.change, &node.value) {
        (Change::Add { key, yaml }, Value::Map(Style::Block, _)) => Some(lines(
            after(text, node),
            indented(&entry(key, yaml), node.column),
        )),
        (Change::Append(yaml), Value::List(Style::Block, _)) => Some(lines(
            after(text, node),
            indented(&item(yaml), dash(text, node)?.1),
        )),
        (Change::Prepend(yaml), Value::List(Style::Block, _)) => {
            let (start, column) = dash(text, node)?;
            Some(lines(start, indented(&item(yaml), column)))
        }
        (Change::Add { key, yaml }, Value::Map(Style::Flow, _)) => {
            let (place, comma) = before_end(text, node)?;
            Some(within(
                place..place,
                format!("{comma}\"{key}\": {}", flow_text(yaml)?),
            ))
        }
        (Change::Append(yaml), Value::List(Style::Flow, _)) => {
            let (place, comma) = before_end(text, node)?;
            Some(within(place..place, format!("{comma}{}", flow_text(yaml)?)))
        }
        (Change::Prepend(yaml), Value::List(Style::Flow, items)) => {
            let place = node.range.start + 1;
            let comma = if items.is_empty() { "" } else { ", " };
            Some(within(place..place, format!("{}{comma}", flow_text(yaml)?)))
        }
        (Change::Fill(yaml), Value::Scalar(Scalar::Null)) => {
            // In one line, which is right in block style and in flow style.
            let flow = flow_text(yaml)?;
            if !node.range.is_empty() {
                return Some(within(node.range.clone(), flow));
            }
            let behind = text.get(node.range.start..)?.find(':')?;
            let place = node.range.start + behind + 1;
            Some(within(place..place, format!(" {flow}")))
        }
        (Change::Replace(yaml), Value::Scalar(_)) => Some(within(node.range.clone(), yaml.clone())),
        _ => None,
    }
}

/// Where the line after the end of a block collection begins.
fn after(text: &str, node: &Node) -> usize {
    let end = node.range.end;
    let inside = text.get(..end).unwrap_or_default();
    // A block scalar ends where the next token begins; empty lines at its end can be part of it.
    let lines = inside.trim_end_matches(' ');
    if lines.ends_with('\n') {
        return lines.len();
    }
    let rest = text.get(end..).unwrap_or_default();
    rest.find('\n').map_or(text.len(), |line| end + line + 1)
}

/// Where the line with the first dash of a block sequence begins, and the column of the dash. The sequence begins
/// there, or with its first item, which can be some lines below.
fn dash(text: &str, node: &Node) -> Option<(usize, usize)> {
    let mut end = node.range.start;
    loop {
        let before = text.get(..end)?;
        let start = before.rfind('\n').map_or(0, |line| line + 1);
        let line = text.get(start..)?;
        let column = line.len() - line.trim_start_matches(' ').len();
        if line.get(column..)?.starts_with('-') {
            return Some((start, column));
        }
        end = start.checked_sub(1)?;
    }
}

/// Where a flow collection gets its next entry, and what separates it from the one before.
fn before_end(text: &str, node: &Node) -> Option<(usize, &'static str)> {
    let inside = text.get(..node.range.end.checked_sub(1)?)?.trim_end();
    let comma = if inside.ends_with(['{', '[']) {
        ""
    } else if inside.ends_with(',') {
        " "
    } else {
        ", "
    };
    Some((inside.len(), comma))
}

/// `key: value`, or the key in a line above the value.
pub(crate) fn entry(key: &str, yaml: &str) -> String {
    if yaml.contains('\n') {
        format!("{key}:\n{}", indented(yaml, 2))
    } else {
        format!("{key}: {yaml}\n")
    }
}

/// An item of a sequence, with its dash.
pub(crate) fn item(yaml: &str) -> String {
    let lines = indented(yaml, 2);
    format!("- {}", lines.trim_start())
}

fn indented(yaml: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in yaml.lines() {
        out.extend(std::iter::repeat_n(' ', columns));
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The YAML as JSON, for use within a flow collection. Comments are left out.
fn flow_text(yaml: &str) -> Option<String> {
    Some(json_of(&tree::parse(yaml).ok()??).to_string())
}

fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::List(_, items) => items.iter().map(json_of).collect(),
        Value::Map(_, entries) => entries
            .iter()
            .map(|(key, value)| (key.clone(), json_of(value)))
            .collect(),
        Value::Scalar(Scalar::Flag(flag)) => json!(flag),
        Value::Scalar(Scalar::Null) => json!(null),
        Value::Scalar(Scalar::Number(text)) => match text.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => json!(text),
        },
        Value::Scalar(Scalar::Text(text)) => json!(text),
    }
}

fn at<'a>(root: &'a Node, path: &[Step]) -> Option<&'a Node> {
    path.iter().try_fold(root, |node, step| match step {
        Step::Item(index) => node.items().get(*index),
        Step::Key(key) => node.get(key),
    })
}

fn at_mut<'a>(root: &'a mut Node, path: &[Step]) -> Option<&'a mut Node> {
    path.iter()
        .try_fold(root, |node, step| match (step, &mut node.value) {
            (Step::Item(index), Value::List(_, items)) => items.get_mut(*index),
            (Step::Key(key), Value::Map(_, entries)) => {
                let mut found = entries.iter_mut().filter(|(name, _)| name == key);
                found.next().map(|(_, value)| value)
            }
            _ => None,
        })
}

fn change(node: &mut Node, change: &Change) -> Option<()> {
    let yaml = match change {
        Change::Add { yaml, .. }
        | Change::Append(yaml)
        | Change::Fill(yaml)
        | Change::Prepend(yaml)
        | Change::Replace(yaml) => tree::parse(yaml).ok()??,
    };
    match (change, &mut node.value) {
        (Change::Add { key, .. }, Value::Map(_, entries)) => {
            entries.push(((*key).to_owned(), yaml));
        }
        (Change::Append(_), Value::List(_, items)) => items.push(yaml),
        (Change::Prepend(_), Value::List(_, items)) => items.insert(0, yaml),
        (Change::Fill(_) | Change::Replace(_), value) => *value = yaml.value,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, path: &[Step], change: Change) -> Option<String> {
        let root = tree::parse(text).unwrap().unwrap();
        let edit = Edit {
            path: path.to_vec(),
            change,
        };
        apply(text, &root, &[edit])
    }

    fn add() -> Change {
        Change::Add {
            key: "new",
            yaml: "x: 1\ny: [a]\n".to_owned(),
        }
    }

    #[test]
    fn a_mapping_gets_a_key_in_its_own_style() {
        let a = [Step::Key("a")];
        assert_eq!(
            edited("a:\n   b: 1 # one\n\n# two\nc: 3\n", &a, add()).unwrap(),
            "a:\n   b: 1 # one\n   new:\n     x: 1\n     y: [a]\n\n# two\nc: 3\n"
        );
        assert_eq!(
            edited("a: {b: 1}", &a, add()).unwrap(),
            "a: {b: 1, \"new\": {\"x\":1,\"y\":[\"a\"]}}"
        );
        assert_eq!(
            edited("a: {}", &a, add()).unwrap(),
            "a: {\"new\": {\"x\":1,\"y\":[\"a\"]}}"
        );
        assert_eq!(
            edited("a:\r\n  b: |\r\n    t\r\nc: 3", &a, add()).unwrap(),
            "a:\r\n  b: |\r\n    t\r\n  new:\r\n    x: 1\r\n    y: [a]\r\nc: 3"
        );
        assert_eq!(
            edited("a:\n  b: 1", &a, add()).unwrap(),
            "a:\n  b: 1\n  new:\n    x: 1\n    y: [a]\n"
        );
    }

    #[test]
    fn what_is_added_is_no_part_of_a_block_scalar() {
        let a = [Step::Key("a")];
        for (style, blank) in [("|", ""), ("|+", "\n\n"), ("|-", "\n"), (">", "")] {
            let text = format!("a:\n  b: {style}\n    # t\n{blank}c: 3\n");
            let added = edited(&text, &a, add()).unwrap();
            let place = text.len() - 5;
            let new = "  new:\n    x: 1\n    y: [a]\n";
            assert_eq!(added, format!("{}{new}c: 3\n", &text[..place]));
            assert_eq!(
                edited(&text[..place], &a, add()).unwrap(),
                format!("{}{new}", &text[..place])
            );
        }
    }

    #[test]
    fn a_sequence_gets_items_at_both_ends() {
        let a = [Step::Key("a")];
        let first = || Change::Prepend("n: 1\nm: 2\n".to_owned());
        let last = || Change::Append("n: 1\nm: 2\n".to_owned());
        let text = "a:\n# all\n- n: 0\nb: 1\n";
        assert_eq!(
            edited(text, &a, first()).unwrap(),
            "a:\n# all\n- n: 1\n  m: 2\n- n: 0\nb: 1\n"
        );
        assert_eq!(
            edited(text, &a, last()).unwrap(),
            "a:\n# all\n- n: 0\n- n: 1\n  m: 2\nb: 1\n"
        );
        assert_eq!(
            edited("a:\n  -\n    # - no\n    n: 0\n", &a, first()).unwrap(),
            "a:\n  - n: 1\n    m: 2\n  -\n    # - no\n    n: 0\n"
        );
        assert_eq!(
            edited("a: [ {n: 0}, ]", &a, first()).unwrap(),
            "a: [{\"m\":2,\"n\":1},  {n: 0}, ]"
        );
        assert_eq!(
            edited("a: [ {n: 0}, ]", &a, last()).unwrap(),
            "a: [ {n: 0}, {\"m\":2,\"n\":1} ]"
        );
    }

    #[test]
    fn what_ends_together_is_written_from_the_inside_out() {
        let text = "a:\n  b:\n  - c: 1\n";
        let root = tree::parse(text).unwrap().unwrap();
        let edit = |path: &[Step], key| Edit {
            path: path.to_vec(),
            change: Change::Add {
                key,
                yaml: "2".to_owned(),
            },
        };
        let inner = [Step::Key("a"), Step::Key("b"), Step::Item(0)];
        let edits = [edit(&[Step::Key("a")], "e"), edit(&inner, "d")];
        assert_eq!(
            apply(text, &root, &edits).unwrap(),
            "a:\n  b:\n  - c: 1\n    d: 2\n  e: 2\n"
        );
    }

    #[test]
    fn a_single_value_is_replaced() {
        let change = || Change::Replace("8080".to_owned());
        assert_eq!(
            edited("a: http # the agent\n", &[Step::Key("a")], change()).unwrap(),
            "a: 8080 # the agent\n"
        );
        assert_eq!(edited("a: [1]\n", &[Step::Key("a")], change()), None);
    }

    #[test]
    fn what_is_empty_is_filled_in_one_line() {
        let fill = || Change::Fill("- n: 1\n".to_owned());
        for (text, want) in [
            ("a:\nb: 1\n", "a: [{\"n\":1}]\nb: 1\n"),
            ("a: # none\nb: 1\n", "a: [{\"n\":1}] # none\nb: 1\n"),
            ("a: null # none\n", "a: [{\"n\":1}] # none\n"),
            ("a: ~\n", "a: [{\"n\":1}]\n"),
            ("{\"a\": null}\n", "{\"a\": [{\"n\":1}]}\n"),
            ("a:", "a: [{\"n\":1}]"),
        ] {
            assert_eq!(
                edited(text, &[Step::Key("a")], fill()).as_deref(),
                Some(want),
                "{text}"
            );
        }
        assert_eq!(edited("a: 1\n", &[Step::Key("a")], fill()), None);
    }

    #[test]
    fn an_anchor_that_would_repeat_a_change_prevents_it() {
        let text = "a: &a\n  b: 1\nc: *a\n";
        assert_eq!(edited(text, &[Step::Key("a")], add()), None);
        assert_eq!(edited(text, &[Step::Key("c")], add()), None);
    }
}
