//! The kinds of values a key can have: how each is read, and how it describes itself to the schema and the docs.
//!
//! A kind is a value in the key table (`raw.rs`). The decoder, `weir schema` and the table in
//! `docs/configuration.md` all come from it, so they cannot disagree.

use serde_json::Value as Json;

use crate::config::error::{Path, Place, Report, shown};
use crate::config::tree::{Node, Value};

/// A value with the place it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    /// Where it stands.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) value: T,
}

/// How a value is read and described.
pub(crate) trait Kind {
    /// What reading gives.
    type Out;

    /// Reads `node`, or reports why not and gives `None`.
    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out>;

    /// What the schema and the docs say.
    fn shape(&self) -> Shape;
}

/// How a value describes itself.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// For people, as in "duration, 1s to 1h".
    pub(crate) form: String,
    /// JSON Schema without description and default.
    pub(crate) schema: Json,
    /// As in the schema; `None` where there is none.
    pub(crate) default: Option<Json>,
    /// Why this default.
    pub(crate) why: &'static str,
    /// Keys below this one, for sections.
    pub(crate) below: Below,
}

/// What is below a key.
#[derive(Clone, Debug, Default)]
pub(crate) enum Below {
    /// A section with these keys.
    Keys(Vec<super::group::Key>),
    /// A list of such sections.
    List(Vec<super::group::Key>),
    /// Sections by name.
    Names(Vec<super::group::Key>),
    /// Nothing.
    #[default]
    Nothing,
}

impl Shape {
    /// A single value.
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

/// The text of a single value, and whether it was quoted.
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

/// `a`, `b` or `c`.
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

/// Reports `text` and why it is refused.
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
