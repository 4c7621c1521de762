//! Checks the layers of the source: a module may import from siblings in its own layer and from lower layers only.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer. A module comes before the module that contains it.
const LAYERS: &[(&str, u8)] = &[
    ("event", 0),
    ("wire", 1),
    ("dialect", 1),
    ("filter", 1),
    ("queue::ring", 1),
    ("queue::join", 1),
    ("stream::deadline", 1),
    ("stream::end", 1),
    ("stream::meter", 1),
    ("stream::pipeline", 1),
    ("stream::tools", 1),
    ("queue", 2),
    ("strict", 2),
    ("metrics", 2),
    ("config", 2),
    ("tasks", 3),
    ("traces", 3),
    ("upstream", 3),
    ("stream", 3),
    ("admin", 4),
    ("app", 4),
    ("body_deadline", 4),
    ("drain", 4),
    ("client_conn", 4),
    ("certificate", 3),
    ("memory", 4),
    ("proxy", 4),
    ("reply", 4),
    ("session", 4),
    ("encode", 1),
    ("route", 4),
    ("server", 4),
    ("cli", 5),
    ("command", 5),
    ("demo", 5),
    ("log", 5),
    ("lib", 6),
    ("main", 6),
    ("bin", 6),
];

/// Modules that must not depend on each other; `proxy` connects them.
const STRANGERS: [(&str, &str); 2] = [("upstream", "stream"), ("stream", "upstream")];

fn layer(module: &str) -> u8 {
    let is = |name: &str| module == name || module.starts_with(&format!("{name}::"));
    let found = LAYERS
        .iter()
        .filter(|(name, _)| is(name))
        .max_by_key(|(name, _)| name.len());
    found
        .unwrap_or_else(|| panic!("no layer is named for `{module}`: add it to tests/layers.rs"))
        .1
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn modules_import_from_lower_layers_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "the sources were found");
    for file in files {
        let module = file.strip_prefix(&root).unwrap().with_extension("");
        let module = module.to_str().unwrap().replace('/', "::");
        let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
        let own = layer(&module);
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let Some(path) = line.trim().strip_prefix("use crate::") else {
                continue;
            };
            let target = path
                .split(['{', ';', ' '])
                .next()
                .unwrap_or_default()
                .trim_end_matches("::");
            let strange = STRANGERS
                .iter()
                .any(|(from, to)| module.starts_with(from) && target.starts_with(to));
            assert!(
                layer(target) <= own && !strange,
                "{}:{}: `{module}` (layer {own}) may not import `{target}` (layer {})",
                file.display(),
                number + 1,
                layer(target),
            );
        }
    }
}
