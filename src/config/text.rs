//! Kinds of text: true or false, one of a closed set of words, text with a grammar, and keys of features that this
//! version does not have.

use serde_json::{Value as Json, json};

use crate::config::defaults::Preset;
use crate::config::error::{Path, Report, nearest};
use crate::config::kind::{Kind, Shape, one_of, refuse, scalar};
use crate::config::tree::Node;

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
    /// The words that may be chosen, and what each means.
    pub(crate) choices: Vec<(&'static str, T)>,
    /// The default, as a word.
    pub(crate) preset: Preset<&'static str>,
}

impl<T: Clone> Kind for OneOf<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<T> {
        let words: Vec<_> = self.choices.iter().map(|(word, _)| *word).collect();
        let expected = one_of(&words);
        let (text, _) = scalar(node, path, &expected, report)?;
        if let Some((_, value)) = self.choices.iter().find(|(word, _)| *word == text) {
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
        let words: Vec<_> = self.choices.iter().map(|(word, _)| *word).collect();
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
    /// Description of what is expected, with its article: "a path that begins with `/`".
    pub(crate) form: &'static str,
    /// Parses the text, or returns what is wrong with it.
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
            // The parser's message repeats the value only if it cannot be secret.
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

/// The value of a key whose feature this version does not have. Only the default is allowed.
pub(crate) struct Unbuilt {
    /// The default and the reason for it.
    pub(crate) preset: Preset<&'static str>,
    /// The default as a value of the schema.
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
