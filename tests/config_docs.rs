//! Checks that the documentation, the schema, the example file with every key and the program agree on every key and
//! its default.
//!
//! `WEIR_BLESS=1 cargo test --test config_docs` rewrites the tables of `docs/configuration.md` and the schema.

#![expect(clippy::expect_used, reason = "a helper of tests may panic")]

use std::fs;

use serde_json::Value as Json;
use weir::config::{self, KeyDoc, Overrides};

const DOCS: &str = "docs/configuration.md";
const SCHEMA: &str = "deploy/weir.schema.json";

fn blessing() -> bool {
    std::env::var_os("WEIR_BLESS").is_some()
}

/// Formats a default as an operator would write it.
fn written(default: &Json) -> String {
    match default {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn row(key: &KeyDoc) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let default = key.default.as_ref().map_or_else(
        || "-".to_owned(),
        |default| format!("`{}`", written(default)),
    );
    let why = if key.why.is_empty() { "-" } else { key.why };
    format!(
        "| `{}` | {} | {default} | {} | {} |\n",
        key.path,
        cell(&key.form),
        cell(&key.doc),
        cell(why)
    )
}

/// Returns the table of the key `name` and the keys below it.
fn table(name: &str) -> String {
    let below = [format!("{name}."), format!("{name}[]")];
    let mine =
        |key: &&KeyDoc| key.path == name || below.iter().any(|below| key.path.starts_with(below));
    let keys = config::keys();
    let rows: String = keys.iter().filter(mine).map(row).collect();
    assert!(
        !rows.is_empty(),
        "{DOCS} has a table of {name}, which is no key"
    );
    format!(
        "| key | takes | default | what it does | why this default |\n|---|---|---|---|---|\n{rows}"
    )
}

/// Returns the tables of the documentation: the name of the parent key, and the text.
fn tables(docs: &str) -> Vec<(&str, &str)> {
    docs.split("<!-- keys: ")
        .skip(1)
        .map(|rest| {
            let (name, rest) = rest
                .split_once(" -->\n\n")
                .expect("a marker ends with a blank line");
            let (table, _) = rest
                .split_once("\n<!-- end -->")
                .expect("a table ends with its marker");
            (name, table)
        })
        .collect()
}

#[test]
fn every_table_of_the_docs_is_what_the_program_says() {
    let docs = fs::read_to_string(DOCS).unwrap();
    if blessing() {
        let mut blessed = docs.clone();
        for (name, text) in tables(&docs) {
            let old = format!("<!-- keys: {name} -->\n\n{text}\n<!-- end -->");
            blessed = blessed.replace(
                &old,
                &format!("<!-- keys: {name} -->\n\n{}\n<!-- end -->", table(name)),
            );
        }
        fs::write(DOCS, blessed).unwrap();
        return;
    }
    for (name, text) in tables(&docs) {
        assert_eq!(
            text,
            table(name),
            "the table of {name}; run with WEIR_BLESS=1"
        );
    }
}

#[test]
fn every_key_is_in_one_table_of_the_docs() {
    let docs = fs::read_to_string(DOCS).unwrap();
    let all: String = tables(&docs).iter().map(|(name, _)| table(name)).collect();
    for key in config::keys() {
        let count = all.matches(&format!("| `{}` |", key.path)).count();
        assert_eq!(count, 1, "{} in {DOCS}", key.path);
        assert!(key.doc.ends_with('.'), "{} has a sentence", key.path);
    }
}

#[test]
fn the_shipped_schema_is_the_programs() {
    let text = format!("{:#}\n", config::schema());
    if blessing() {
        fs::write(SCHEMA, &text).unwrap();
    }
    assert_eq!(
        fs::read_to_string(SCHEMA).unwrap(),
        text,
        "run with WEIR_BLESS=1"
    );
}

#[test]
fn every_section_of_the_schema_refuses_other_keys() {
    fn walk(schema: &Json, path: &str) {
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], Json::Bool(false), "{path}");
        }
        match schema {
            Json::Object(object) => object
                .iter()
                .for_each(|(name, below)| walk(below, &format!("{path}/{name}"))),
            Json::Array(list) => list.iter().for_each(|below| walk(below, path)),
            _ => {}
        }
    }
    walk(&config::schema(), "");
}

/// Returns the values at a documented path: for lists those of all entries, for upstreams that of the one named
/// `agent`.
fn all<'a>(json: &'a Json, path: &str) -> Vec<&'a Json> {
    let (step, rest) = path
        .split_once('.')
        .map_or((path, None), |(step, rest)| (step, Some(rest)));
    let below = |json: &'a Json| match rest {
        Some(rest) => all(json, rest),
        None => vec![json],
    };
    let name = if step == "<name>" { "agent" } else { step };
    match name.strip_suffix("[]") {
        Some(list) => {
            let entries = json.get(list).and_then(Json::as_array);
            entries.into_iter().flatten().flat_map(below).collect()
        }
        None => json.get(name).map(below).unwrap_or_default(),
    }
}

#[test]
fn the_full_example_holds_every_key_with_its_default() {
    let text = fs::read_to_string("deploy/examples/full.yaml").unwrap();
    let full: Json = serde_saphyr::from_str(&text).unwrap();
    for key in config::keys()
        .iter()
        .filter(|key| !key.path.starts_with("listen[]"))
    {
        let values = all(&full, &key.path);
        assert!(!values.is_empty(), "{} is not in full.yaml", key.path);
        if let Some(default) = &key.default {
            // serde-saphyr follows YAML 1.1 here, where a bare `off` means false.
            let is_default =
                |value: &&Json| *value == default || (*default == "off" && **value == false);
            assert!(
                values.iter().any(is_default),
                "{}: {values:?}, not {default}",
                key.path
            );
        }
    }
}

#[test]
fn what_is_in_force_without_a_key_is_its_documented_default() {
    let overrides = Overrides {
        upstream: Some("http://127.0.0.1:8000".to_owned()),
        ..Overrides::default()
    };
    let effective = config::effective(&config::load(None, &overrides).unwrap());
    let mut compared = 0;
    for key in config::keys() {
        let Some(default) = &key.default else {
            continue;
        };
        let numbers = [
            "workers",
            "limits.max_connections",
            "limits.max_requests",
            "limits.max_detached",
        ];
        let resolved = *default == "auto" && numbers.contains(&key.path.as_str());
        let unbuilt = key.form.starts_with("only ");
        // Without several agents there is no section with their keys.
        let of_agents = key.path.starts_with("routes[].merge.");
        if resolved || unbuilt || of_agents || key.path.starts_with("listen") {
            continue;
        }
        let path = key
            .path
            .strip_prefix("defaults.")
            .map_or_else(|| key.path.clone(), |path| format!("routes[].{path}"));
        assert_eq!(
            all(&effective, &path).first(),
            Some(&default),
            "{}",
            key.path
        );
        compared += 1;
    }
    assert!(compared > 40, "only {compared} keys were compared");
    assert_eq!(effective["listen"][0]["address"], "0.0.0.0:8080");
}
