//! Kinds built from other kinds: values that may also be `off`, `auto` or `null`, one value or a list, and a map of
//! headers.

use http::{HeaderName, HeaderValue};
use serde_json::{Value as Json, json};

use crate::config::defaults::Preset;
use crate::config::error::{Path, Place, Report};
use crate::config::kind::{Kind, Placed, Shape, scalar};
use crate::config::tree::{Node, Value};

/// `off`, or a value of the inner kind. `0s` and `false` also mean `off`, because Helm writes a bare `off` as `false`.
pub(crate) struct OrOff<K> {
    /// The kind of a value other than `off`.
    pub(crate) inner: K,
    /// The reason why `off` is the default; `None` if it is not.
    pub(crate) off: Option<&'static str>,
}

impl<K: Kind> Kind for OrOff<K> {
    type Out = Option<K::Out>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::Scalar { text, .. } if text == "off" || text == "0s" => Some(None),
            Value::Scalar {
                text,
                quoted: false,
            } if text == "false" => Some(None),
            _ => self.inner.read(node, path, report).map(Some),
        }
    }

    fn shape(&self) -> Shape {
        let mut shape = either(
            self.inner.shape(),
            json!({ "enum": ["off", false] }),
            "`off`",
        );
        if let Some(why) = self.off {
            (shape.default, shape.why) = (Some(json!("off")), why);
        }
        shape
    }
}

/// `auto`, or a value of the inner kind. `auto` is the default.
pub(crate) struct OrAuto<K> {
    /// The kind of a value other than `auto`.
    pub(crate) inner: K,
    /// What `auto` results in, and the reason for it.
    pub(crate) why: &'static str,
}

impl<K: Kind> Kind for OrAuto<K> {
    type Out = Option<K::Out>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::Scalar { text, .. } if text == "auto" => Some(None),
            _ => self.inner.read(node, path, report).map(Some),
        }
    }

    fn shape(&self) -> Shape {
        let mut shape = either(self.inner.shape(), json!({ "const": "auto" }), "`auto`");
        (shape.default, shape.why) = (Some(json!("auto")), self.why);
        shape
    }
}

/// `null`, or a value of the inner kind. `null` is the default.
pub(crate) struct OrNull<K> {
    /// The kind of a value other than `null`.
    pub(crate) inner: K,
    /// The reason why `null` is the default.
    pub(crate) why: &'static str,
}

impl<K: Kind> Kind for OrNull<K> {
    type Out = Option<K::Out>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        match &node.value {
            Value::Null => Some(None),
            _ => self.inner.read(node, path, report).map(Some),
        }
    }

    fn shape(&self) -> Shape {
        let mut shape = either(self.inner.shape(), json!({ "type": "null" }), "`null`");
        (shape.default, shape.why) = (Some(Json::Null), self.why);
        shape
    }
}

/// One value, or a non-empty list of values.
pub(crate) struct OneOrMany<K> {
    /// The kind of each value.
    pub(crate) inner: K,
}

/// One value of [`OneOrMany`].
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    /// Index in the list as written; `None` if the value is not in a list.
    pub(crate) index: Option<usize>,
    /// Position in the file.
    pub(crate) place: Place,
    /// The value.
    pub(crate) value: T,
}

impl<K: Kind> Kind for OneOrMany<K> {
    type Out = Vec<Entry<K::Out>>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        let Value::List(items) = &node.value else {
            let value = self.inner.read(node, path, report)?;
            return Some(vec![Entry {
                index: None,
                place: node.place,
                value,
            }]);
        };
        if items.is_empty() {
            report.at(
                node.place,
                path,
                "the list is empty; at least one entry is needed",
            );
            return None;
        }
        let read = items.iter().enumerate().filter_map(|(index, item)| {
            let value = self.inner.read(item, &path.index(index), report)?;
            Some(Entry {
                index: Some(index),
                place: item.place,
                value,
            })
        });
        let read: Vec<_> = read.collect();
        Some(read).filter(|read| !read.is_empty())
    }

    fn shape(&self) -> Shape {
        let inner = self.inner.shape();
        let many = json!({ "type": "array", "minItems": 1, "items": &inner.schema });
        let mut shape = either(inner, many, "a list of such");
        shape.form = shape.form.replace(" or a list", ", or a list");
        shape
    }
}

/// A map from header names to values. Values never appear in a message.
pub(crate) struct Fields<T> {
    /// Description of a value, with its article.
    pub(crate) form: &'static str,
    /// Parses a value. The error message must not repeat it.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// The reason why the map is empty by default.
    pub(crate) why: &'static str,
}

/// Parses any valid header value.
pub(crate) fn field_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text)
        .map_err(|_| "the value holds characters that a header field cannot carry".to_owned())
}

impl<T> Kind for Fields<T> {
    type Out = Vec<(HeaderName, Placed<T>)>;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Self::Out> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return Some(Vec::new()),
            Value::List(_) | Value::Scalar { .. } => {
                report.at(
                    node.place,
                    path,
                    format!(
                        "{} is not a section of header fields such as `{{x-team: search}}`",
                        node.kind()
                    ),
                );
                return None;
            }
        };
        let mut fields: Self::Out = Vec::new();
        for (key, value) in entries {
            let path = path.key(&key.text);
            let Ok(name) = HeaderName::from_bytes(key.text.as_bytes()) else {
                report.at(key.place, &path, "is not the name of a header field");
                continue;
            };
            if fields.iter().any(|(other, _)| *other == name) {
                report.at(
                    key.place,
                    &path,
                    "is written twice; names of header fields do not depend on case",
                );
                continue;
            }
            let Some((text, _)) = scalar(value, &path, self.form, report) else {
                continue;
            };
            let place = value.place;
            match (self.parse)(text) {
                Ok(value) => fields.push((name, Placed { place, value })),
                Err(why) => report.at(place, &path, why),
            }
        }
        Some(fields)
    }

    fn shape(&self) -> Shape {
        let schema = json!({ "type": ["object", "null"], "additionalProperties": { "type": ["string", "number", "boolean"] } });
        Shape::leaf(
            "header fields and their values",
            schema,
            Some(json!({})),
            self.why,
        )
    }
}

/// Gives a default to a kind that has none.
pub(crate) struct Preferred<K> {
    /// The kind of the value.
    pub(crate) inner: K,
    /// The default.
    pub(crate) preset: Preset<&'static str>,
}

impl<K: Kind> Kind for Preferred<K> {
    type Out = K::Out;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<K::Out> {
        self.inner.read(node, path, report)
    }

    fn shape(&self) -> Shape {
        let mut shape = self.inner.shape();
        (shape.default, shape.why) = (Some(json!(self.preset.value)), self.preset.why);
        shape
    }
}

/// Returns `shape`, extended by the values that the schema `other` allows. `word` describes them.
fn either(mut shape: Shape, other: Json, word: &str) -> Shape {
    shape.form = format!("{} or {word}", shape.form);
    shape.schema = match shape.schema {
        Json::Object(mut object) if object.len() == 1 && object.contains_key("anyOf") => {
            if let Some(Json::Array(list)) = object.get_mut("anyOf") {
                list.push(other);
            }
            Json::Object(object)
        }
        schema => json!({ "anyOf": [schema, other] }),
    };
    shape
}
