//! Changes a JSON body by a merge patch (RFC 7396). What the patch does not name is copied as it was written: numbers,
//! escapes and the order of members stay.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::Unmappable;
use crate::wire::json::Cursor;

/// Returns the body with the changes of `patch`. An empty body becomes the patch.
///
/// # Errors
///
/// If the body is no JSON object.
pub fn patched(body: &[u8], patch: &Map<String, Value>) -> Result<Vec<u8>, Unmappable> {
    let body = body.trim_ascii();
    let is_object = body.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(body).is_ok();
    if !is_object && !body.is_empty() {
        return Err(Unmappable {
            message: "the request cannot be changed for its agents: expected a JSON object as the body; send one, or remove `body` from the agents of the route".to_owned(),
        });
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    merge(Some(body).filter(|body| !body.is_empty()), patch, &mut out);
    Ok(out)
}

/// Writes an object with the changes of `patch`. It is as deep as the patch, which the configuration bounds.
fn merge(target: Option<&[u8]>, patch: &Map<String, Value>, out: &mut Vec<u8>) {
    let members = target.map_or_else(Vec::new, members);
    out.push(b'{');
    let start = out.len();
    for (name, value) in &members {
        match patch.get(&plain(name)) {
            None => {
                open(name, start, out);
                out.extend_from_slice(value);
            }
            Some(Value::Null) => {}
            Some(change) => {
                open(name, start, out);
                apply(Some(value), change, out);
            }
        }
    }
    for (name, change) in patch {
        let is_known = members.iter().any(|(known, _)| plain(known) == *name);
        if is_known || change.is_null() {
            continue;
        }
        let quoted = Value::from(name.as_str()).to_string();
        let body = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        open(body.as_bytes(), start, out);
        apply(None, change, out);
    }
    out.push(b'}');
}

fn apply(target: Option<&[u8]>, change: &Value, out: &mut Vec<u8>) {
    match change {
        Value::Object(patch) => merge(target, patch, out),
        other => out.extend_from_slice(other.to_string().as_bytes()),
    }
}

/// Begins a member, after a comma unless it is the first one since `start`.
fn open(name: &[u8], start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
}

/// Returns the members of an object: the raw body of each name, and the raw value. None if it is no object.
fn members(object: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut members = Vec::new();
    let mut cursor = Cursor::new(object);
    if cursor.enter_object().is_some() {
        while let Some(Some(name)) = cursor.next_key() {
            let Some(value) = cursor.skip().and_then(|range| object.get(range)) else {
                break;
            };
            members.push((name, value));
        }
    }
    members
}

/// Returns what the raw body of a name says.
fn plain(name: &[u8]) -> String {
    let raw = String::from_utf8_lossy(name);
    if !raw.contains('\\') {
        return raw.into_owned();
    }
    serde_json::from_str(&format!("\"{raw}\"")).unwrap_or_else(|_| raw.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(body: &str, patch: &Value) -> Result<String, String> {
        let patch = patch.as_object().unwrap();
        let changed = patched(body.as_bytes(), patch).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(changed).unwrap())
    }

    #[test]
    fn members_are_replaced_removed_and_added_and_the_rest_stays_as_it_was() {
        let table = [
            (
                r#"{"z":1.50,"a":[1, 2]}"#,
                json!({}),
                r#"{"z":1.50,"a":[1, 2]}"#,
            ),
            (r#"{"z":1,"a":2}"#, json!({"z": "x"}), r#"{"z":"x","a":2}"#),
            (r#"{"z":1,"a":2}"#, json!({"z": null}), r#"{"a":2}"#),
            (
                r#"{"z":1}"#,
                json!({"b": {"c": null, "d": 1}}),
                r#"{"z":1,"b":{"d":1}}"#,
            ),
            (
                r#"{"o":{"p":1e3,"q":2}}"#,
                json!({"o": {"q": 3}}),
                r#"{"o":{"p":1e3,"q":3}}"#,
            ),
            (r#"{"o":5}"#, json!({"o": {"q": 3}}), r#"{"o":{"q":3}}"#),
            (r#"{"\u0061":1}"#, json!({"a": 2}), r#"{"\u0061":2}"#),
            ("{}", json!({"q\"": true}), r#"{"q\"":true}"#),
            ("", json!({"a": 1}), r#"{"a":1}"#),
        ];
        for (body, patch, expected) in table {
            assert_eq!(
                changed(body, &patch).as_deref(),
                Ok(expected),
                "{body} {patch}"
            );
        }
        for body in ["[1]", "a=b", "{\"a\":", "7"] {
            assert!(changed(body, &json!({"a": 1})).is_err(), "{body}");
        }
    }
}
