//! Writes the effective configuration as YAML that can be read again.

use serde_json::{Map, Value as Json};

/// Keys that come first in their section, and those that come last. Others stand between them, in alphabetical order.
const FIRST: [&str; 12] = [
    "name", "match", "upstream", "merge", "address", "enabled", "listen", "admin", "workers",
    "log", "traces", "complete",
];
const LAST: [&str; 4] = ["drain", "limits", "upstreams", "routes"];

/// Words that other readers of YAML take for something else than text.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Returns a configuration as a YAML document.
pub fn yaml(value: &Json) -> String {
    let mut text = String::new();
    match value {
        Json::Object(object) if !object.is_empty() => section(object, 0, &mut text),
        other => {
            text.push_str(&inline(other));
            text.push('\n');
        }
    }
    text
}

fn section(object: &Map<String, Json>, indent: usize, text: &mut String) {
    let mut keys: Vec<_> = object.iter().collect();
    keys.sort_by_key(|(key, _)| (rank(key), *key));
    for (index, (key, value)) in keys.into_iter().enumerate() {
        // The first key of an entry stands behind its dash.
        if index > 0 || !text.ends_with("- ") {
            text.push_str(&" ".repeat(indent));
        }
        text.push_str(&scalar(key));
        text.push(':');
        match value {
            Json::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                section(inner, indent + 2, text);
            }
            Json::Array(items) if !items.is_empty() => {
                text.push('\n');
                list(items, indent + 2, text);
            }
            other => {
                text.push(' ');
                text.push_str(&inline(other));
                text.push('\n');
            }
        }
    }
}

fn list(items: &[Json], indent: usize, text: &mut String) {
    for item in items {
        text.push_str(&" ".repeat(indent));
        text.push_str("- ");
        match item {
            Json::Object(inner) if !inner.is_empty() => section(inner, indent + 2, text),
            other => {
                text.push_str(&inline(other));
                text.push('\n');
            }
        }
    }
}

/// Returns a value in one line. Lists of lists and the like are written as JSON, which is YAML.
fn inline(value: &Json) -> String {
    match value {
        Json::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Returns a text, in quotes unless every reader takes it for text as it is.
fn scalar(text: &str) -> String {
    let begins = |first: char| first.is_ascii_alphabetic() || first == '_' || first == '/';
    let is_word = text.starts_with(begins)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    // Such as `5s` or `64KiB`.
    let is_quantity = text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.ends_with(|last: char| last.is_ascii_alphabetic())
        && !text.starts_with("0x");
    let means_else =
        WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) || text.parse::<f64>().is_ok();
    if (is_word || is_quantity) && !means_else {
        text.to_owned()
    } else {
        Json::from(text).to_string()
    }
}

fn rank(key: &str) -> usize {
    let at = |keys: &[&str]| keys.iter().position(|other| *other == key);
    match (at(&FIRST), at(&LAST)) {
        (Some(at), _) => at,
        (None, Some(at)) => FIRST.len() + 1 + at,
        (None, None) => FIRST.len(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sections_lists_and_values_are_written() {
        let value = json!({
            "routes": [
                { "name": "chat", "match": { "headers": {}, "path_prefix": "/" }, "heartbeat": "15s" },
                { "name": "12" },
            ],
            "listen": [{ "address": "0.0.0.0:8080", "tls": null }],
            "log": { "level": "info,weir::config=debug" },
            "workers": 2,
            "resume": { "total_bytes": "256MiB", "urls": ["a", "b: c"] },
            "traces": { "sample": 1.0, "tls": [] },
        });
        let want = "\
listen:
  - address: \"0.0.0.0:8080\"
    tls: null
workers: 2
log:
  level: \"info,weir::config=debug\"
traces:
  sample: 1.0
  tls: []
resume:
  total_bytes: 256MiB
  urls:
    - a
    - \"b: c\"
routes:
  - name: chat
    match:
      headers: {}
      path_prefix: /
    heartbeat: 15s
  - name: \"12\"
";
        assert_eq!(yaml(&value), want);
        assert_eq!(yaml(&json!({})), "{}\n");
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for text in [
            "",
            "off",
            "No",
            "null",
            "~",
            "1e5",
            "inf",
            "0x1f",
            "a b",
            "a: b",
            "- a",
            "*",
            "a\nb",
            "1:2",
            "2026-01-02",
            ".5",
            "***",
            "é",
        ] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        for text in [
            "auto",
            "/etc/weir/cert.pem",
            "drop_oldest",
            "1m30s",
            "64KiB",
            "a.b-c",
        ] {
            assert_eq!(scalar(text), text);
        }
    }
}
