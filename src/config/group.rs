//! Sections of the configuration. The `group!` macro turns one table of keys into a struct, its decoder and its
//! description, so that the three cannot disagree.

use std::marker::PhantomData;

use serde_json::{Map, Value as Json, json};

use crate::config::error::{Path, Report, nearest, shown};
use crate::config::kind::{Below, Key, Kind, Placed, Shape};
use crate::config::tree::{Key as Written, Node, Value};

/// A section with a fixed set of keys.
pub(crate) trait Group: Default {
    /// Returns every key, in the order of the docs.
    fn keys() -> Vec<Key>;

    /// Reads the value of key `name` into its field. Returns false if there is no such key.
    fn take(&mut self, name: &str, node: &Node, path: &Path, report: &mut Report) -> bool;

    /// Returns the keys that must be present.
    fn required() -> &'static [&'static str] {
        &[]
    }

    /// Reads a whole section. A null value is an empty section, so that all keys may be commented out.
    fn read(node: &Node, path: &Path, report: &mut Report) -> Option<Self> {
        let none = Vec::new();
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &none,
            Value::List(_) | Value::Scalar { .. } => {
                let names: Vec<_> = Self::keys().iter().map(|key| key.name).collect();
                report.at(
                    node.place,
                    path,
                    format!(
                        "{} is not a section with the keys {}{}{}",
                        node.kind(),
                        names.join(", "),
                        indent_hint(path, &names),
                        joined_hint(&node.value, &names)
                    ),
                );
                return None;
            }
        };
        let mut group = Self::default();
        for (key, value) in entries {
            if !group.take(&key.text, value, &path.key(&key.text), report) {
                unknown::<Self>(key, path, report);
            }
        }
        for name in Self::required() {
            if !entries.iter().any(|(key, _)| key.text == *name) {
                report.missing(node.place, path, name);
            }
        }
        Some(group)
    }
}

/// A section as the value of a key.
pub(crate) struct Section<G>(pub(crate) PhantomData<G>);

impl<G: Group> Kind for Section<G> {
    type Out = G;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<G> {
        G::read(node, path, report)
    }

    fn shape(&self) -> Shape {
        Shape {
            below: Below::Keys(G::keys()),
            ..Shape::leaf("section", object::<G>(), None, "")
        }
    }
}

/// A section that switches something on where it is written, or `off`. `null` leaves it as it is, so that the whole
/// section may be commented out.
pub(crate) struct Switch<G>(pub(crate) PhantomData<G>);

impl<G: Group> Kind for Switch<G> {
    /// `None` stands for `off`.
    type Out = Option<G>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::Null => None,
            Value::Scalar { text, .. } if text == "off" => Some(None),
            // Helm writes a bare `off` as `false`.
            Value::Scalar {
                text,
                quoted: false,
            } if text == "false" => Some(None),
            Value::List(_) | Value::Map(_) | Value::Scalar { .. } => {
                G::read(node, path, report).map(Some)
            }
        }
    }

    fn shape(&self) -> Shape {
        let schema = json!({ "anyOf": [object::<G>(), { "enum": ["off", false] }] });
        Shape {
            below: Below::Keys(G::keys()),
            ..Shape::leaf("section or `off`", schema, None, "")
        }
    }
}

/// A list of sections.
pub(crate) struct Sections<G>(pub(crate) PhantomData<G>);

impl<G: Group> Kind for Sections<G> {
    type Out = Vec<Placed<G>>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::List(items) => {
                let read = items.iter().enumerate().map(|(index, item)| {
                    let value = G::read(item, &path.index(index), report).unwrap_or_default();
                    Placed {
                        place: item.place,
                        value,
                    }
                });
                Some(read.collect())
            }
            Value::Null => Some(Vec::new()),
            Value::Map(_) | Value::Scalar { .. } => {
                report.at(
                    node.place,
                    path,
                    format!("{} is not a list; begin each entry with `- `", node.kind()),
                );
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        let schema = json!({ "type": ["array", "null"], "items": object::<G>() });
        Shape {
            below: Below::List(G::keys()),
            ..Shape::leaf("list of sections", schema, None, "")
        }
    }
}

/// A map from names that the operator chooses to sections.
pub(crate) struct Named<G>(pub(crate) PhantomData<G>);

impl<G: Group> Kind for Named<G> {
    type Out = Vec<(Placed<String>, G)>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::Map(entries) => {
                let read = entries.iter().map(|(key, value)| {
                    let path = path.key(&key.text);
                    if let Err(why) = label(&key.text) {
                        report.at(key.place, &path, why);
                    }
                    // An invalid section keeps its name, so that routes to it are not reported as well.
                    let group = G::read(value, &path, report).unwrap_or_default();
                    (
                        Placed {
                            place: key.place,
                            value: key.text.clone(),
                        },
                        group,
                    )
                });
                Some(read.collect())
            }
            Value::Null => Some(Vec::new()),
            Value::List(_) | Value::Scalar { .. } => {
                report.at(node.place, path, format!("{} is not a section of names such as `agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}`", node.kind()));
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        let names = json!({ "pattern": LABEL_PATTERN });
        let schema = json!({ "type": ["object", "null"], "propertyNames": names, "additionalProperties": object::<G>() });
        Shape {
            below: Below::Names(G::keys()),
            ..Shape::leaf("sections by name", schema, None, "")
        }
    }
}

/// Returns the JSON Schema of one section.
pub(crate) fn object<G: Group>() -> Json {
    let properties: Map<_, _> = G::keys()
        .into_iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let mut schema = json!({ "type": ["object", "null"], "additionalProperties": false, "properties": properties });
    if let (Some(object), false) = (schema.as_object_mut(), G::required().is_empty()) {
        object.insert("required".to_owned(), json!(G::required()));
        // A section with required keys cannot be null.
        object.insert("type".to_owned(), json!("object"));
    }
    schema
}

fn property(key: Key) -> Json {
    let mut schema = key.shape.schema;
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), json!(key.doc));
        if let Some(default) = key.shape.default {
            object.insert("default".to_owned(), default);
        }
    }
    schema
}

/// The pattern of what [`label`] accepts, for the schema.
const LABEL_PATTERN: &str = "^[A-Za-z0-9_.-]{1,63}$";

/// Parses a name that is used as a metric label and a log field.
pub(crate) fn label(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a name (1 to 63 of a-z, A-Z, 0-9, `_`, `-`, `.`)",
            shown(text)
        ))
    }
}

/// Returns the end of a message about a name that is a key of its own section, so that it was meant to be inside
/// another one: `upstreams.endpoints`, for instance.
fn indent_hint(path: &Path, names: &[&str]) -> String {
    let last = path.as_str().rsplit('.').next().unwrap_or_default();
    if names.contains(&last) {
        format!("; if this `{last}` belongs to the section above it, indent it further")
    } else {
        String::new()
    }
}

/// Returns the end of a message about a value that is a key and its value, written together.
fn joined_hint(value: &Value, names: &[&str]) -> String {
    match value {
        Value::Scalar {
            text,
            quoted: false,
        } => joined(text, names).map_or_else(String::new, |(_, why)| format!("; {why}")),
        _ => String::new(),
    }
}

/// Finds the key that a text begins with if what separates it from its value is not complete, and says what is missing.
fn joined<'a>(text: &str, names: &[&'a str]) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| {
        let missing = match text.strip_prefix(*name)?.chars().next()? {
            ':' => format!("the `:` after `{name}` needs a space behind it"),
            ' ' => format!("a `:` is missing after `{name}`"),
            _ => return None,
        };
        Some((*name, format!("{missing}: `{name}: value`")))
    })
}

/// Names a character of a key that only looks like a space.
fn false_space(text: &str) -> Option<String> {
    let is_false = |one: &char| {
        !one.is_ascii() && (one.is_whitespace() || matches!(one, '\u{200b}' | '\u{feff}'))
    };
    let found = text.chars().find(is_false)?;
    Some(format!(
        "unknown key; it has the character U+{:04X}, which looks like a space or like nothing; type it anew",
        u32::from(found)
    ))
}

/// Reports an unknown key and suggests the most similar known one.
fn unknown<G: Group>(key: &Written, path: &Path, report: &mut Report) {
    if let Some(message) = false_space(&key.text) {
        report.at(key.place, &path.key(&key.text), message);
        return;
    }
    let keys = G::keys();
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    if let Some((name, why)) = joined(&key.text, &names) {
        // The rest of the text is a value, which is not shown.
        report.at(key.place, &path.key(name), why);
        return;
    }
    let deeper = keys.iter().find_map(|outer| match &outer.shape.below {
        Below::Keys(inner) if inner.iter().any(|inner| inner.name == key.text) => {
            Some(format!("{}.{}", outer.name, key.text))
        }
        _ => None,
    });
    let hint = deeper
        .or_else(|| nearest(&key.text, names.iter().copied()).map(str::to_owned))
        .map_or_else(
            || format!("expected one of {}", names.join(", ")),
            |hint| format!("did you mean `{hint}`?"),
        );
    report.at(
        key.place,
        &path.key(&key.text),
        format!("unknown key; {hint}"),
    );
}

/// Declares a section from one table: its struct, its keys and its decoder.
macro_rules! group {
    (
        $(#[doc = $about:literal])+
        $group:ident $(requires [$($required:literal),+])? {
            $( $(#[doc = $doc:literal])+ $field:ident $(($file:literal))? : $kind:ty = $make:expr; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Default)]
        pub(crate) struct $group {
            $( $(#[doc = $doc])+ pub(crate) $field: Option<$crate::config::kind::Placed<<$kind as $crate::config::kind::Kind>::Out>>, )+
        }

        impl $crate::config::group::Group for $group {
            fn keys() -> Vec<$crate::config::kind::Key> {
                vec![ $( $crate::config::kind::Key {
                    name: $crate::config::group::name!($field $($file)?),
                    doc: concat!($($doc),+).trim().to_owned(),
                    shape: <$kind as $crate::config::kind::Kind>::shape(&$make),
                } ),+ ]
            }

            fn take(
                &mut self,
                name: &str,
                node: &$crate::config::tree::Node,
                path: &$crate::config::error::Path,
                report: &mut $crate::config::error::Report,
            ) -> bool {
                match name {
                    $( $crate::config::group::name!($field $($file)?) => {
                        self.$field = <$kind as $crate::config::kind::Kind>::read(&$make, node, path, report)
                            .map(|value| $crate::config::kind::Placed { place: node.place, value });
                        true
                    } )+
                    _ => false,
                }
            }

            $( fn required() -> &'static [&'static str] { &[$($required),+] } )?
        }
    };
}

/// Expands to the key's name in the file: the name of the field, or the given literal if that name is a Rust keyword.
macro_rules! name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $file:literal) => {
        $file
    };
}

pub(crate) use {group, name};
