//! The kinds of values a key can have: how each is read, and how it describes itself to the schema and the docs.
//!
//! A kind is a value in the key table (`raw.rs`). The decoder, `weir schema` and the table in
//! `docs/configuration.md` all come from it, so they cannot disagree.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::defaults::Preset;
use crate::config::error::{Path, Place, Report, nearest, shown};
use crate::config::tree::{Node, Value};
use crate::config::units;

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

/// A duration with a unit.
pub(crate) struct Time {
    /// The default.
    pub(crate) preset: Preset<Duration>,
    /// Smallest and largest.
    pub(crate) range: (Duration, Duration),
}

impl Kind for Time {
    type Out = Duration;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<Duration> {
        let (text, _) = scalar(node, path, "a duration such as `5s`", report)?;
        let (low, high) = self.range;
        match units::duration(text) {
            Ok(time) if (low..=high).contains(&time) => Some(time),
            Ok(_) => {
                let (low, high) = (units::show_duration(low), units::show_duration(high));
                report.at(
                    node.place,
                    path,
                    format!("{} is not allowed ({low} to {high})", shown(text)),
                );
                None
            }
            Err(why) => refuse(node, path, text, &why, report),
        }
    }

    fn shape(&self) -> Shape {
        let (low, high) = (
            units::show_duration(self.range.0),
            units::show_duration(self.range.1),
        );
        let default = json!(units::show_duration(self.preset.value));
        let schema = json!({ "type": "string", "minLength": 2, "pattern": units::TIME_PATTERN });
        Shape::leaf(
            format!("duration, {low} to {high}"),
            schema,
            Some(default),
            self.preset.why,
        )
    }
}

/// A size in bytes, with a unit or as a plain whole number.
pub(crate) struct Size {
    /// The default.
    pub(crate) preset: Preset<u64>,
    /// Smallest and largest.
    pub(crate) range: (u64, u64),
}

impl Kind for Size {
    type Out = u64;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<u64> {
        let (text, _) = scalar(node, path, "a size such as `64KiB`", report)?;
        let (low, high) = self.range;
        match units::size(text) {
            Ok(bytes) if (low..=high).contains(&bytes) => Some(bytes),
            Ok(_) => {
                let (low, high) = (units::show_size(low), units::show_size(high));
                report.at(
                    node.place,
                    path,
                    format!("{} is not allowed ({low} to {high})", shown(text)),
                );
                None
            }
            Err(why) => refuse(node, path, text, &why, report),
        }
    }

    fn shape(&self) -> Shape {
        let (low, high) = (
            units::show_size(self.range.0),
            units::show_size(self.range.1),
        );
        let default = match self.preset.value {
            0 => json!(0),
            bytes => json!(units::show_size(bytes)),
        };
        let schema = json!({ "anyOf": [
            { "type": "string", "pattern": units::SIZE_PATTERN },
            { "type": "integer", "minimum": self.range.0, "maximum": self.range.1 },
        ] });
        Shape::leaf(
            format!("size, {low} to {high}"),
            schema,
            Some(default),
            self.preset.why,
        )
    }
}

/// A whole number.
pub(crate) struct Count {
    /// The default.
    pub(crate) preset: Preset<u64>,
    /// Smallest and largest.
    pub(crate) range: (u64, u64),
}

impl Kind for Count {
    type Out = u64;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<u64> {
        let (text, quoted) = scalar(node, path, "a whole number", report)?;
        let (low, high) = self.range;
        match units::whole(text).filter(|_| !quoted) {
            Some(count) if (low..=high).contains(&count) => Some(count),
            Some(_) => {
                report.at(
                    node.place,
                    path,
                    format!("{text} is not allowed ({low} to {high})"),
                );
                None
            }
            // `-1` and the like are numbers to whoever wrote them.
            None if !quoted && text.parse::<f64>().is_ok() => {
                report.at(
                    node.place,
                    path,
                    format!(
                        "{} is not allowed (whole number, {low} to {high})",
                        shown(text)
                    ),
                );
                None
            }
            None if quoted && units::whole(text).is_some() => refuse(
                node,
                path,
                text,
                "is text; write the number without quotes",
                report,
            ),
            None => refuse(
                node,
                path,
                text,
                &format!("is not a whole number ({low} to {high})"),
                report,
            ),
        }
    }

    fn shape(&self) -> Shape {
        let (low, high) = self.range;
        let schema = json!({ "type": "integer", "minimum": low, "maximum": high });
        Shape::leaf(
            format!("number, {low} to {high}"),
            schema,
            Some(json!(self.preset.value)),
            self.preset.why,
        )
    }
}

/// `true` or `false`.
pub(crate) struct Flag {
    /// The default.
    pub(crate) preset: Preset<bool>,
}

impl Kind for Flag {
    type Out = bool;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<bool> {
        let (text, quoted) = scalar(node, path, "`true` or `false`", report)?;
        match text {
            "true" | "True" | "TRUE" if !quoted => Some(true),
            "false" | "False" | "FALSE" if !quoted => Some(false),
            _ => refuse(node, path, text, "is not `true` or `false`", report),
        }
    }

    fn shape(&self) -> Shape {
        Shape::leaf(
            "true or false",
            json!({ "type": "boolean" }),
            Some(json!(self.preset.value)),
            self.preset.why,
        )
    }
}

/// One of a closed set of words.
pub(crate) struct OneOf<T> {
    /// The words and what they mean.
    pub(crate) words: Vec<(&'static str, T)>,
    /// The default, as a word.
    pub(crate) preset: Preset<&'static str>,
}

impl<T: Clone> Kind for OneOf<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<T> {
        let words: Vec<_> = self.words.iter().map(|(word, _)| *word).collect();
        let expected = one_of(&words);
        let (text, _) = scalar(node, path, &expected, report)?;
        if let Some((_, value)) = self.words.iter().find(|(word, _)| *word == text) {
            return Some(value.clone());
        }
        let hint = nearest(text, words.iter().copied())
            .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
        refuse(
            node,
            path,
            text,
            &format!("is not {expected}{hint}"),
            report,
        )
    }

    fn shape(&self) -> Shape {
        let words: Vec<_> = self.words.iter().map(|(word, _)| *word).collect();
        Shape::leaf(
            one_of(&words),
            json!({ "type": "string", "enum": words }),
            Some(json!(self.preset.value)),
            self.preset.why,
        )
    }
}

/// Text that `parse` accepts.
pub(crate) struct Text<T> {
    /// What is expected, with its article: "a path that begins with `/`".
    pub(crate) form: &'static str,
    /// Gives the value, or what is wrong with it.
    pub(crate) parse: fn(&str) -> Result<T, String>,
    /// The default; `None` where the key is required or nullable.
    pub(crate) preset: Option<Preset<&'static str>>,
}

impl<T> Kind for Text<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<T> {
        let (text, _) = scalar(node, path, self.form, report)?;
        match (self.parse)(text) {
            Ok(value) => Some(value),
            // The parser decides what of the value may be repeated.
            Err(why) => {
                report.at(node.place, path, why);
                None
            }
        }
    }

    fn shape(&self) -> Shape {
        let form = self
            .form
            .strip_prefix("a ")
            .or_else(|| self.form.strip_prefix("an "))
            .unwrap_or(self.form);
        let (default, why) = self
            .preset
            .map_or((None, ""), |preset| (Some(json!(preset.value)), preset.why));
        Shape::leaf(
            form,
            json!({ "type": "string", "minLength": 1 }),
            default,
            why,
        )
    }
}

/// A key of a feature that this version does not have: only its default is allowed.
pub(crate) struct Unbuilt {
    /// The default and why.
    pub(crate) preset: Preset<&'static str>,
    /// The same for the schema.
    pub(crate) json: Json,
}

impl Kind for Unbuilt {
    type Out = ();

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<()> {
        let only = self.preset.value;
        let (text, _) = scalar(node, path, &format!("`{only}`"), report)?;
        if text == only {
            Some(())
        } else {
            refuse(
                node,
                path,
                text,
                &format!("is not supported in this version (only `{only}`)"),
                report,
            )
        }
    }

    fn shape(&self) -> Shape {
        let form = format!("only `{}` in this version", self.preset.value);
        Shape::leaf(
            form,
            json!({ "const": self.json }),
            Some(self.json.clone()),
            self.preset.why,
        )
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

fn refuse<T>(node: &Node, path: &Path, text: &str, why: &str, report: &mut Report) -> Option<T> {
    report.at(node.place, path, format!("{} {why}", shown(text)));
    None
}
