//! The kinds of values that a key can take: how each is parsed, and how it is described in the schema and the docs.
//!
//! A kind is a value in the key table (`raw`). The decoder, `weir schema` and the table in
//! `docs/configuration.md` all come from it, so they cannot disagree.

use serde_json::Value as Json;

use crate::config::error::{Path, Place, Report, shown};
use crate::config::tree::{Node, Value};

/// A value with its position in the file.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    /// Position in the file.
    pub(crate) place: Place,
    /// The value.
    pub(crate) value: T,
}

/// A kind of value: how it is parsed and described.
pub(crate) trait Kind {
    /// The parsed value.
    type Out;

    /// Parses `node`, or reports the problem and returns `None`.
    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out>;

    /// Returns the description for the schema and the docs.
    fn shape(&self) -> Shape;
}

/// The description of a kind of value.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Description for people, such as "duration, 1s to 1h".
    pub(crate) form: String,
    /// JSON Schema without description and default.
    pub(crate) schema: Json,
    /// The default as a JSON value; `None` if there is none.
    pub(crate) default: Option<Json>,
    /// The reason for the default.
    pub(crate) why: &'static str,
    /// The keys below this one, for sections.
    pub(crate) below: Below,
}

/// The keys below a key.
#[derive(Clone, Debug, Default)]
pub(crate) enum Below {
    /// A section with these keys.
    Keys(Vec<Key>),
    /// A list of sections with these keys.
    List(Vec<Key>),
    /// A map from names to sections with these keys.
    Names(Vec<Key>),
    /// None: the value is not a section.
    #[default]
    Nothing,
}

/// One key of a section.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Name as written in the file.
    pub(crate) name: &'static str,
    /// What the key does; a sentence for the docs and the schema.
    pub(crate) doc: String,
    /// Which values the key takes.
    pub(crate) shape: Shape,
}

impl Shape {
    /// Returns the shape of a value without keys below it.
    pub(crate) fn leaf(
        form: impl Into<String>,
        schema: Json,
        default: Option<Json>,
        why: &'static str,
    ) -> Self {
        Self {
            form: form.into(),
            schema,
            default,
            why,
            below: Below::Nothing,
        }
    }
}

/// Returns the value of a field, or the default.
pub(crate) fn or<T: Copy>(field: Option<&Placed<T>>, default: T) -> T {
    field.map_or(default, |placed| placed.value)
}

/// Returns the value of a key, unless it is `null`.
pub(crate) fn given<T: Clone>(key: &Placed<Option<T>>) -> Option<Placed<T>> {
    Some(Placed {
        place: key.place,
        value: key.value.clone()?,
    })
}

/// Returns the text of a scalar and whether it was quoted, or reports that `node` is not a scalar.
pub(crate) fn scalar<'a>(
    node: &'a Node,
    path: &Path,
    expected: &str,
    report: &mut Report,
) -> Option<(&'a str, bool)> {
    if let Value::Scalar { text, quoted } = &node.value {
        return Some((text, *quoted));
    }
    report.at(
        node.place,
        path,
        format!("{} is not {expected}", node.kind()),
    );
    None
}

/// Formats words as "`a`, `b` or `c`".
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// Reports why `text` is rejected and returns `None`.
pub(crate) fn refuse<T>(
    node: &Node,
    path: &Path,
    text: &str,
    why: &str,
    report: &mut Report,
) -> Option<T> {
    report.at(node.place, path, format!("{} {why}", shown(text)));
    None
}
