//! What is said to an agent that speaks only WebSocket, besides the request: how its first message is made, and the
//! last one to an agent whose client has left.

use serde::de::IgnoredAny;
use serde_json::{Number, Value as Json, json};

use crate::config::error::{Path, Report};
use crate::config::kind::{Kind, Shape};
use crate::config::tree::{Node, Value};

/// The value in the first message that stands for the request's body, as JSON.
const BODY: &str = "\"$body\"";

/// The section `upstreams.<name>.websocket`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// How the first message is made; `None` sends the request's body as it is.
    pub open: Option<Opening>,
    /// Sent before the WebSocket is closed because the client has left.
    pub interrupt: Option<String>,
}

/// A message with a place for the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    before: String,
    after: String,
}

impl Opening {
    /// Parses JSON in which one value is `"$body"`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return Err("is not JSON".to_owned());
        }
        match *places(text) {
            [place] => Ok(Self {
                before: text.get(..place).unwrap_or_default().to_owned(),
                after: text
                    .get(place + BODY.len()..)
                    .unwrap_or_default()
                    .to_owned(),
            }),
            _ => Err(
                "must have `$body` as a value once, where the body of the request is put"
                    .to_owned(),
            ),
        }
    }

    /// Returns the message with `body`, which is JSON, in its place.
    pub(crate) fn around(&self, body: &str) -> String {
        [&*self.before, body, &*self.after].concat()
    }

    /// Returns the message as it was written.
    pub(crate) fn written(&self) -> String {
        self.around(BODY)
    }
}

/// Returns where `"$body"` is a value in a JSON text.
fn places(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(start) = text.get(at..).and_then(|rest| rest.find('"')) {
        let start = at + start;
        let end = string_end(text, start);
        let is_key = text
            .get(end..)
            .is_some_and(|rest| rest.trim_start().starts_with(':'));
        if text.get(start..end) == Some(BODY) && !is_key {
            places.push(start);
        }
        at = end;
    }
    places
}

/// Returns the end of the string that begins at `start`.
fn string_end(text: &str, start: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A message: a section or a list, which is written as JSON, or text that is sent as it is.
pub(crate) struct Message<T> {
    /// Parses the text of the message, or returns what is wrong with it.
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

/// Accepts any message.
pub(crate) fn any(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

impl<T> Kind for Message<T> {
    type Out = T;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<T> {
        let text = match &node.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::List(_) | Value::Map(_) | Value::Null => {
                let mut text = String::new();
                write(node, &mut text);
                text
            }
        };
        (self.parse)(&text)
            .map_err(|why| report.at(node.place, path, why))
            .ok()
    }

    fn shape(&self) -> Shape {
        let schema = json!({ "type": ["string", "object", "array"] });
        Shape::leaf("message, as a section or as text", schema, None, "")
    }
}

/// Writes a node as JSON, with its keys in the order of the file.
fn write(node: &Node, out: &mut String) {
    let separate = |index: usize, out: &mut String| {
        if index > 0 {
            out.push(',');
        }
    };
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Scalar {
            text,
            quoted: false,
        } if matches!(&**text, "true" | "false") || text.parse::<Number>().is_ok() => {
            out.push_str(text);
        }
        Value::Scalar { text, .. } => write_text(text, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, out);
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                separate(index, out);
                write_text(&key.text, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&Json::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    #[test]
    fn the_body_has_one_place_in_the_first_message() {
        for (text, want) in [
            (r#""$body""#, r#"[1]"#),
            (r#"{"a": "$body", "b": 2}"#, r#"{"a": [1], "b": 2}"#),
            (r#"{"$body" : "$body"}"#, r#"{"$body" : [1]}"#),
            (
                r#"{"a": "\"$body", "b": "x $body", "c": ["$body"]}"#,
                r#"{"a": "\"$body", "b": "x $body", "c": [[1]]}"#,
            ),
        ] {
            let open = Opening::parse(text).unwrap();
            assert_eq!(open.around("[1]"), want);
            assert_eq!(open.written(), text);
        }
        for wrong in [
            "",
            "$body",
            "{",
            "{}",
            r#"{"$body": 1}"#,
            r#"["$body", "$body"]"#,
        ] {
            assert!(Opening::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn loaded(upstream: &str) -> Result<Talk, Vec<String>> {
        let text = format!("upstreams: {{agent: {{{upstream}}}}}\n");
        match config::load(Some(("f", &text)), &Overrides::default()) {
            Ok(config) => Ok(config.upstreams[0].talk.clone()),
            Err(problems) => Err(problems
                .list
                .iter()
                .map(|problem| problem.path.clone())
                .collect()),
        }
    }

    #[test]
    fn messages_are_sections_or_text() {
        let section = r#"endpoints: "ws://a/ws", websocket: {open: {type: go, "n": [1, "2", ~, true], in: $body}, interrupt: stop}"#;
        let talk = loaded(section).unwrap();
        assert_eq!(
            talk.open.as_ref().unwrap().written(),
            r#"{"type":"go","n":[1,"2",null,true],"in":"$body"}"#
        );
        assert_eq!(talk.interrupt.as_deref(), Some("stop"));
        let text = r#"endpoints: "wss://a", websocket: {open: '{"type": "$body"}', interrupt: '{"type": "interrupt"}'}"#;
        let talk = loaded(text).unwrap();
        assert_eq!(talk.open.unwrap().written(), r#"{"type": "$body"}"#);
        assert_eq!(talk.interrupt.unwrap(), r#"{"type": "interrupt"}"#);
    }

    #[test]
    fn what_has_no_sense_is_a_problem() {
        for (upstream, path) in [
            ("endpoints: [\"ws://a\", \"wss://b\"]", None),
            (
                "endpoints: [\"http://a\"], websocket: {open: null, interrupt: null}",
                None,
            ),
            (
                "endpoints: [\"ws://a\", \"http://b\"]",
                Some("endpoints[1]"),
            ),
            ("endpoints: [\"unix:/a\", \"ws://b\"]", Some("endpoints[0]")),
            ("endpoints: [\"ws://a\"], http2: true", Some("http2")),
            (
                "endpoints: [\"http://a\"], websocket: {interrupt: stop}",
                Some("websocket"),
            ),
            (
                "endpoints: [\"ws://a\"], websocket: {open: {q: 1}}",
                Some("websocket.open"),
            ),
            (
                "endpoints: [\"ws://a\"], websocket: {interrupt: \"\"}",
                Some("websocket.interrupt"),
            ),
        ] {
            let want = path.map(|path| vec![format!("upstreams.agent.{path}")]);
            assert_eq!(loaded(upstream).err(), want, "{upstream}");
        }
    }
}
