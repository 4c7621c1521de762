//! Reads a request body level by level, so that an error can name the place of what it is about.
//!
//! Values stay as they were written until somebody asks what they are. Of members with the same name the last one
//! counts, as in JavaScript and Python.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest word of a client that a message repeats, in characters. Names of types fit; texts do not.
const SHOWN: usize = 40;

/// What cannot be mapped: what was expected and what came, and where. It repeats no text of the conversation.
#[derive(Debug)]
pub(super) struct Problem {
    path: String,
    message: String,
}

impl Problem {
    pub(super) fn at(path: Path<'_>, message: impl Into<String>) -> Self {
        Self {
            path: path.to_string(),
            message: message.into(),
        }
    }

    /// Returns the problem of a value that is missing, or of the wrong kind.
    pub(super) fn expected(path: Path<'_>, what: &str, found: Option<&RawValue>) -> Self {
        let found = found.map_or("nothing", kind);
        Self::at(path, format!("expected {what}, found {found}"))
    }

    /// Returns the problem of a word that is none of the known ones.
    pub(super) fn unknown(path: Path<'_>, known: &str, word: &str) -> Self {
        let is_plain = word.len() <= SHOWN && word.bytes().all(|byte| byte.is_ascii_graphic());
        let found = if is_plain {
            format!("`{word}`")
        } else {
            format!("text of {} characters", word.chars().count())
        };
        Self::at(path, format!("expected {known}, found {found}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The way from the top of the body to a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'p> {
    /// The body itself.
    Top,
    /// A member of the object there.
    Key(&'p Self, &'static str),
    /// An element of the array there.
    Index(&'p Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("body"),
            Self::Key(Self::Top, key) => f.write_str(key),
            Self::Key(above, key) => write!(f, "{above}.{key}"),
            Self::Index(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// An object: its members in order, and its place.
#[derive(Debug)]
pub(super) struct Object<'a, 'p> {
    members: Vec<(String, &'a RawValue)>,
    path: Path<'p>,
}

impl<'a, 'p> Object<'a, 'p> {
    /// Returns the members whose names are not among `left_out`.
    pub(super) fn members_without(&self, left_out: &[&str]) -> Vec<(String, &'a RawValue)> {
        let kept = |(name, _): &&(String, &'a RawValue)| !left_out.contains(&name.as_str());
        self.members.iter().filter(kept).cloned().collect()
    }

    /// Returns the path of a member.
    pub(super) const fn at(&self, key: &'static str) -> Path<'_> {
        Path::Key(&self.path, key)
    }

    /// Returns the path of the object.
    pub(super) const fn path(&self) -> Path<'p> {
        self.path
    }

    /// Returns a member, which may be `null`.
    pub(super) fn raw(&self, key: &str) -> Option<&'a RawValue> {
        let mut members = self.members.iter().rev();
        members
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    /// Returns a member, unless it is `null`.
    pub(super) fn some(&self, key: &str) -> Option<&'a RawValue> {
        self.raw(key).filter(|value| value.get() != "null")
    }

    /// Returns a string as it was written.
    pub(super) fn string(&self, key: &'static str) -> Result<&'a RawValue, Problem> {
        match self.raw(key) {
            Some(value) if is_string(value) => Ok(value),
            value => Err(Problem::expected(self.at(key), "a string", value)),
        }
    }

    /// Returns a string as it was written, if there is one.
    pub(super) fn optional_string(
        &self,
        key: &'static str,
    ) -> Result<Option<&'a RawValue>, Problem> {
        self.some(key).map(|_| self.string(key)).transpose()
    }

    /// Returns what a string says.
    pub(super) fn word(&self, key: &'static str) -> Result<Cow<'a, str>, Problem> {
        decoded(self.string(key)?, self.at(key))
    }

    /// Returns an object.
    pub(super) fn object(&self, key: &'static str) -> Result<Object<'a, '_>, Problem> {
        let path = self.at(key);
        let json = self
            .raw(key)
            .ok_or_else(|| Problem::expected(path, "an object", None))?;
        object(json, path)
    }

    /// Returns an object, if there is one.
    pub(super) fn optional_object(
        &self,
        key: &'static str,
    ) -> Result<Option<Object<'a, '_>>, Problem> {
        self.some(key).map(|_| self.object(key)).transpose()
    }

    /// Returns the elements of an array.
    pub(super) fn array(&self, key: &'static str) -> Result<Vec<&'a RawValue>, Problem> {
        let value = self.raw(key);
        let elements = value.and_then(|value| serde_json::from_str(value.get()).ok());
        elements.ok_or_else(|| Problem::expected(self.at(key), "an array", value))
    }

    /// Returns the elements of an array; none if it is missing.
    pub(super) fn optional_array(&self, key: &'static str) -> Result<Vec<&'a RawValue>, Problem> {
        match self.some(key) {
            Some(_) => self.array(key),
            None => Ok(Vec::new()),
        }
    }
}

/// Reads an object.
pub(super) fn object<'a, 'p>(
    json: &'a RawValue,
    path: Path<'p>,
) -> Result<Object<'a, 'p>, Problem> {
    if !json.get().starts_with('{') {
        return Err(Problem::expected(path, "an object", Some(json)));
    }
    match serde_json::from_str::<Members<'a>>(json.get()) {
        Ok(Members(members)) => Ok(Object { members, path }),
        // The body is JSON: nothing else is left.
        Err(_) => Err(Problem::at(
            path,
            "expected names of members in Unicode, found half a surrogate pair",
        )),
    }
}

/// Returns what a string says.
pub(super) fn decoded<'a>(string: &'a RawValue, path: Path<'_>) -> Result<Cow<'a, str>, Problem> {
    let body = string_body(string);
    if !body.contains('\\') {
        return Ok(Cow::Borrowed(body));
    }
    match serde_json::from_str::<String>(string.get()) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err(Problem::at(
            path,
            "expected text in Unicode, found half a surrogate pair",
        )),
    }
}

/// Reports whether a value is a string.
pub(super) fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// Returns what lies between the quotes of a string, as it was written.
pub(super) fn string_body(string: &RawValue) -> &str {
    let body = string.get().strip_prefix('"');
    body.and_then(|body| body.strip_suffix('"'))
        .unwrap_or_default()
}

/// Returns what a value is, for messages.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'f' | b't') => "a boolean",
        Some(b'n') => "null",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// The members of an object, in order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_path_reads_as_in_javascript() {
        let top = Path::Top;
        let messages = Path::Key(&top, "messages");
        let message = Path::Index(&messages, 2);
        let parts = Path::Key(&message, "parts");
        assert_eq!(Path::Index(&parts, 0).to_string(), "messages[2].parts[0]");
        assert_eq!(top.to_string(), "body");
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let object = object(raw(r#"{"a": 1, "b": null, "\u0061": "x"}"#), Path::Top).unwrap();
        assert_eq!(object.string("a").unwrap().get(), r#""x""#);
        assert!(object.some("b").is_none() && object.raw("b").is_some());
    }

    #[test]
    fn problems_say_what_came_but_no_texts() {
        let object = object(raw(r#"{"a": [], "s": "\ud800"}"#), Path::Top).unwrap();
        for (problem, want) in [
            (
                object.string("a").unwrap_err(),
                "a: expected a string, found an array",
            ),
            (
                object.array("s").unwrap_err(),
                "s: expected an array, found a string",
            ),
            (
                object.array("x").unwrap_err(),
                "x: expected an array, found nothing",
            ),
            (
                object.object("a").unwrap_err(),
                "a: expected an object, found an array",
            ),
            (
                object.word("s").unwrap_err(),
                "s: expected text in Unicode, found half a surrogate pair",
            ),
            (
                Problem::unknown(Path::Top, "`a`", "my secret"),
                "body: expected `a`, found text of 9 characters",
            ),
        ] {
            assert_eq!(problem.to_string(), want);
        }
    }
}
