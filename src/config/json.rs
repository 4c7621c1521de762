//! The kind of values that are JSON of any shape, written as YAML.

use serde_json::{Map, Value as Any, json};

use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::kind::{Kind, Shape};
use crate::config::tree::{Node, Value};

/// An object of any shape. `null` is none.
pub(crate) struct Json;

impl Kind for Json {
    type Out = Option<Any>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::Null => Some(None),
            Value::Map(_) => Some(Some(any(node))),
            Value::List(_) | Value::Scalar { .. } => {
                report.at(
                    node.place,
                    path,
                    format!(
                        "{} is not a section of members such as `{{model: small}}`",
                        node.kind()
                    ),
                );
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        let schema = json!({ "type": ["object", "null"] });
        Shape::leaf(
            "JSON object or `null`",
            schema,
            Some(Any::Null),
            preset::MERGE_BODY_WHY,
        )
    }
}

/// Returns a value as JSON, by the rules of YAML: what is not quoted may be a number or a boolean. The tree of a file
/// has a bounded depth.
fn any(node: &Node) -> Any {
    match &node.value {
        Value::Null => Any::Null,
        Value::List(items) => items.iter().map(any).collect(),
        Value::Map(entries) => {
            let members = entries
                .iter()
                .map(|(key, value)| (key.text.clone(), any(value)));
            Any::Object(members.collect::<Map<_, _>>())
        }
        Value::Scalar { text, quoted } => match text.as_str() {
            "true" if !quoted => Any::Bool(true),
            "false" if !quoted => Any::Bool(false),
            text if !quoted && is_number(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Any::String(text.to_owned()))
            }
            text => Any::String(text.to_owned()),
        },
    }
}

/// Reports whether a text may be a JSON number.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    #[test]
    fn yaml_becomes_the_json_that_it_looks_like() {
        let read = |text: &str| {
            let mut report = Report::default();
            let node = tree::parse(text, &mut report).unwrap();
            let read = Json.read(&node, &Path::default(), &mut report);
            report.is_empty().then_some(read).flatten()
        };
        let text = "{model: small, n: 2, t: -0.5, v: \"2\", on: true, gone: null, l: [a, {b: 1}], d: 2026-01-02}";
        let expected = json!({
            "model": "small", "n": 2, "t": -0.5, "v": "2", "on": true, "gone": null,
            "l": ["a", {"b": 1}], "d": "2026-01-02",
        });
        assert_eq!(read(text), Some(Some(expected)));
        assert_eq!(read("~"), Some(None));
        assert_eq!(read("[a]"), None);
        assert_eq!(read("text"), None);
    }
}
