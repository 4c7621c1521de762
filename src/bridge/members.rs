//! JSON objects of clients, member by member: what is passed on keeps the bytes that came.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// Maximum number of members in a message. They are those of the request's body, if the message has no `body`.
pub(super) const MAX_MEMBERS: usize = 256;
/// The longest id that a client may give a message, as JSON.
pub(super) const MAX_ID_BYTES: usize = 256;

/// Why a message is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The message is JSON, but means nothing.
    Meaningless {
        code: &'static str,
        message: String,
        request: Option<String>,
    },
    /// The message is no JSON.
    NotJson,
}

/// The members of an object, as they are written.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// If it is none, or has too many members.
    pub(super) fn read(text: &'a str) -> Result<Self, Mistake> {
        serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Data => Mistake::Meaningless {
                code: "bad_message",
                message: format!(
                    "The message is not a JSON object with at most {MAX_MEMBERS} members."
                ),
                request: None,
            },
            Category::Eof | Category::Io | Category::Syntax => Mistake::NotJson,
        })
    }

    /// Returns a member that is there and not null. Of several with the same name the last counts.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.get())
            .filter(|value| *value != "null")
    }

    /// Returns all members.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.get()))
    }

    /// Returns a member that is text.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, Mistake> {
        let read = |value| serde_json::from_str(value).map_err(|_| self.wrong(name, "text"));
        self.get(name).map(read).transpose()
    }

    /// Returns a member that is a whole number.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, Mistake> {
        let read =
            |value| serde_json::from_str(value).map_err(|_| self.wrong(name, "a whole number"));
        self.get(name).map(read).transpose()
    }

    /// Returns the id of the message, as JSON.
    pub(super) fn id(&self, name: &'static str) -> Result<Option<String>, Mistake> {
        let Some(id) = self.get(name) else {
            return Ok(None);
        };
        let is_plain = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        if is_plain && id.len() <= MAX_ID_BYTES {
            return Ok(Some(id.to_owned()));
        }
        Err(Mistake::Meaningless {
            code: "bad_message",
            message: format!(
                "The `{name}` is neither a text of at most {MAX_ID_BYTES} bytes nor a number."
            ),
            request: None,
        })
    }

    /// Returns an object without some of the members.
    pub(super) fn without(&self, names: &[&str]) -> String {
        let kept = self.iter().filter(|(key, _)| !names.contains(key));
        object(&kept.collect::<Vec<_>>())
    }

    fn wrong(&self, name: &str, expected: &str) -> Mistake {
        Mistake::Meaningless {
            code: "bad_message",
            message: format!("The `{name}` of the message is not {expected}."),
            request: self.id("id").ok().flatten(),
        }
    }
}

/// Writes an object of members whose values are JSON.
pub(super) fn object(members: &[(&str, &str)]) -> String {
    let mut object = String::from("{");
    for (key, value) in members {
        if object.len() > 1 {
            object.push(',');
        }
        // Texts can always be written.
        object.push_str(&serde_json::to_string(key).unwrap_or_default());
        object.push(':');
        object.push_str(value);
    }
    object.push('}');
    object
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
            if members.len() == MAX_MEMBERS {
                return Err(de::Error::custom("too many members"));
            }
            members.push(member);
        }
        Ok(Members(members))
    }
}
