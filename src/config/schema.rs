//! Exports the key table: as a JSON Schema for editors, and as a flat list of keys for the docs.

use serde_json::{Value as Json, json};

use crate::config::group::{Group, object};
use crate::config::kind::Below;
use crate::config::kind::Key;
use crate::config::raw::{Policy, Root};

/// The documentation of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyDoc {
    /// Path such as `queue.max_events`. `[]` stands for each entry of a list, `<name>` for a name that the operator
    /// chooses.
    pub path: String,
    /// Which values the key takes, with unit and range.
    pub form: String,
    /// The default; `None` for sections and for keys without a default.
    pub default: Option<Json>,
    /// What the key does.
    pub doc: String,
    /// The reason for the default; may be empty.
    pub why: &'static str,
}

/// Returns the JSON Schema (2020-12) of the file.
pub fn schema() -> Json {
    let mut schema = object::<Root>();
    if let Some(top) = schema.as_object_mut() {
        top.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        top.insert("title".to_owned(), json!("Weir configuration"));
        top.insert(
            "description".to_owned(),
            json!("Configuration file of Weir, a streaming reverse proxy for agents."),
        );
    }
    schema
}

/// Returns every key of the file, in the order of the docs. Keys that a route shares with `defaults` are listed only
/// under `defaults`.
pub fn keys() -> Vec<KeyDoc> {
    let mut list = Vec::new();
    describe("", &Root::keys(), &mut list);
    let shared: Vec<_> = Policy::keys()
        .iter()
        .map(|key| format!("routes[].{}", key.name))
        .collect();
    list.retain(|key| {
        !shared
            .iter()
            .any(|shared| key.path == *shared || key.path.starts_with(&format!("{shared}.")))
    });
    list
}

fn describe(prefix: &str, keys: &[Key], list: &mut Vec<KeyDoc>) {
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        let shape = &key.shape;
        list.push(KeyDoc {
            path: path.clone(),
            form: shape.form.clone(),
            default: shape.default.clone(),
            doc: key.doc.clone(),
            why: shape.why,
        });
        match &shape.below {
            Below::Keys(keys) => describe(&format!("{path}."), keys, list),
            Below::List(keys) => describe(&format!("{path}[]."), keys, list),
            Below::Names(keys) => describe(&format!("{path}.<name>."), keys, list),
            Below::Nothing => {}
        }
    }
}
