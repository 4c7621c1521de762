//! The layers of the source: a module knows lower layers and its own, no two rooms know each other in a circle, and
//! within a room files do so only where the room says why.
//!
//! A **room** is a file or folder at the top of `src`. What counts is code: `use` lines and paths in expressions, from
//! `crate::` and `super::`; comments and tests beside the code may name anything.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Layers by module; of several entries that fit, the longest counts. `src/lib.rs` lists the same rooms.
const LAYERS: &[(&str, u8)] = &[
    // words
    ("event", 0),
    ("length", 0),
    // pure: no clock, no I/O
    ("dialect", 1),
    ("encode", 1),
    ("filter", 1),
    ("inject", 1),
    ("journal", 1),
    ("outbox::sign", 1),
    ("queue::gate", 1),
    ("queue::join", 1),
    ("queue::limits", 1),
    ("queue::lists", 1),
    ("queue::ring", 1),
    ("recording", 1),
    ("request_map", 1),
    ("stream::classify", 1),
    ("stream::deadline", 1),
    ("stream::end", 1),
    ("stream::large_event", 1),
    ("stream::meter", 1),
    ("stream::pipeline", 1),
    ("stream::sink", 1),
    ("stream::stages", 1),
    ("stream::tools", 1),
    ("translate", 1),
    ("unstream", 1),
    ("wire", 1),
    // parts
    ("capacity", 2),
    ("config", 2),
    ("hub", 2),
    ("log", 2),
    ("metrics", 2),
    ("queue", 2),
    ("release", 2),
    ("strict", 2),
    // engines
    ("certificate", 3),
    ("store", 3),
    ("stream", 3),
    ("tasks", 3),
    ("upstream", 3),
    // a connection, a stream's life
    ("body_deadline", 4),
    ("bridge", 4),
    ("client_conn", 4),
    ("memory", 4),
    ("merge", 4),
    ("outbox", 4),
    ("probe", 4),
    ("reply", 4),
    ("session", 4),
    ("traces", 4),
    ("tunnel", 4),
    // the process
    ("app", 5),
    ("drain", 5),
    ("route", 5),
    // edges
    ("admin", 6),
    ("proxy", 6),
    ("server", 6),
    // program
    ("cli", 7),
    ("command", 7),
    ("demo", 7),
    ("doctor", 7),
    ("top", 7),
    ("lib", 8),
    ("main", 8),
];

/// Engines that must not know each other: `session` joins them.
const STRANGERS: [(&str, &str); 2] = [("upstream", "stream"), ("stream", "upstream")];

/// A file knows a module there.
#[derive(Debug)]
struct Import {
    from: String,
    to: String,
    place: String,
}

/// The entry of [`LAYERS`] that fits best.
fn layer(module: &str) -> (&'static str, u8) {
    let is = |name: &str| module == name || module.starts_with(&format!("{name}::"));
    let found = LAYERS
        .iter()
        .filter(|(name, _)| is(name))
        .max_by_key(|(name, _)| name.len());
    *found.unwrap_or_else(|| panic!("no layer is named for `{module}`: add it to tests/layers.rs"))
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
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

/// `a::b` for `src/a/b.rs` and `src/a/b/mod.rs`.
fn module_of(file: &Path) -> String {
    let module = file.strip_prefix(root()).unwrap().with_extension("");
    let module = module.to_str().unwrap().replace('/', "::");
    module.strip_suffix("::mod").unwrap_or(&module).to_owned()
}

/// The code of a file: without its tests, comments and the contents of its strings, at the same lines.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\n").next().unwrap();
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '/' if rest.peek() == Some(&'/') => {
                while rest.peek().is_some_and(|next| *next != '\n') {
                    rest.next();
                }
            }
            '"' => {
                while let Some(next) = rest.next() {
                    match next {
                        '"' => break,
                        '\\' => drop(rest.next()),
                        '\n' => out.push('\n'),
                        _ => {}
                    }
                }
            }
            // A quoted character, not a lifetime.
            '\'' if rest.peek() == Some(&'"') => {
                rest.next();
            }
            next => out.push(next),
        }
    }
    out
}

/// The words of a path that begins at `at`, each of a `{}` list by itself: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str, base: &str, out: &mut Vec<String>) {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let whole = format!("{base}{word}");
    if let Some(list) = rest
        .strip_prefix('{')
        .filter(|_| word.ends_with("::") || word.is_empty())
    {
        let mut depth = 0;
        let mut start = 0;
        for (index, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    let item = list.get(start..index).unwrap().trim();
                    if !item.is_empty() {
                        paths(item, &whole, out);
                    }
                    start = index + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    out.push(whole.trim_end_matches(':').to_owned());
}

/// Everything that a module knows by `crate::` and `super::`, cut to the modules that exist.
fn imports(file: &Path, modules: &BTreeSet<String>) -> Vec<Import> {
    let from = module_of(file);
    let code = code(&fs::read_to_string(file).unwrap());
    let mut found = Vec::new();
    for keyword in ["crate::", "super::"] {
        for (at, _) in code.match_indices(keyword) {
            let before = code.get(..at).unwrap();
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let mut base: Vec<&str> = if keyword == "crate::" {
                Vec::new()
            } else {
                from.split("::").collect()
            };
            let mut rest = code.get(at..).unwrap();
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            let rest = rest.strip_prefix("crate::").unwrap_or(rest);
            let mut targets = Vec::new();
            paths(rest, "", &mut targets);
            for target in targets {
                let mut path = base.clone();
                path.extend(target.split("::").filter(|part| *part != "self"));
                while !path.is_empty() && !modules.contains(&path.join("::")) {
                    path.pop();
                }
                let to = path.join("::");
                if !to.is_empty() && to != from {
                    let line = before.matches('\n').count() + 1;
                    let place = format!("{}:{line}", file.display());
                    let from = from.clone();
                    found.push(Import { from, to, place });
                }
            }
        }
    }
    found
}

fn all_imports() -> (BTreeSet<String>, Vec<Import>) {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 40, "the sources were found");
    files.retain(|file| {
        !file.ends_with("tests.rs") && !file.components().any(|part| part.as_os_str() == "tests")
    });
    let modules: BTreeSet<String> = files.iter().map(|file| module_of(file)).collect();
    let found = files
        .iter()
        .flat_map(|file| imports(file, &modules))
        .collect();
    (modules, found)
}

/// The groups of nodes that reach each other, of more than one node.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reached = |start: &String| {
        let mut seen = BTreeSet::new();
        let mut next = vec![start];
        while let Some(node) = next.pop() {
            for to in edges.get(node).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> =
        edges.keys().map(|node| (node, reached(node))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (node, reach) in &all {
        let with: BTreeSet<String> = reach
            .iter()
            .filter(|other| all.get(other).is_some_and(|back| back.contains(*node)))
            .cloned()
            .collect();
        if with.len() > 1 && !found.contains(&with) {
            found.push(with);
        }
    }
    found
}

#[test]
fn modules_know_their_own_layer_and_lower_ones() {
    for Import { from, to, place } in all_imports().1 {
        let ((_, own), (_, other)) = (layer(&from), layer(&to));
        // A room's file lists what is in it.
        let is_inside = to.starts_with(&format!("{from}::"));
        let strange = STRANGERS.contains(&(room(&from), room(&to)));
        assert!(
            (other <= own || is_inside) && !strange,
            "{place}: `{from}` (layer {own}) may not know `{to}` (layer {other})"
        );
    }
}

#[test]
fn no_two_rooms_know_each_other() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Import { from, to, .. } in all_imports().1 {
        // What is split over two layers is two rooms here: the pure part, and the rest.
        let (from, to) = (layer(&from).0, layer(&to).0);
        let part = |module: &str, layer: u8| format!("{} (layer {layer})", room(module));
        let (one, other) = (part(from, layer(from).1), part(to, layer(to).1));
        if one != other {
            edges.entry(one).or_default().insert(other);
        }
    }
    let found = circles(&edges);
    assert!(found.is_empty(), "rooms in a circle: {found:#?}");
}

/// A module extends the one that it lies in, so these two are no circle; files beside each other are.
#[test]
fn files_of_a_room_are_in_a_circle_only_where_the_room_says_why() {
    let (_, imports) = all_imports();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        let nested = from.starts_with(&format!("{to}::")) || to.starts_with(&format!("{from}::"));
        if room(&from) == room(&to) && !nested {
            edges.entry(from).or_default().insert(to);
        }
    }
    for circle in circles(&edges) {
        let first = circle.first().unwrap();
        let place = root().join(room(first));
        let header = fs::read_to_string(place.join("mod.rs")).unwrap();
        let said = header
            .lines()
            .filter(|line| line.starts_with("//!"))
            .any(|line| {
                line.contains("Circle:")
                    && circle.iter().all(|module| {
                        let name = module.rsplit("::").next().unwrap();
                        line.contains(&format!("`{name}`"))
                    })
            });
        assert!(
            said,
            "{circle:#?} know each other: part them, or add a line `//! Circle: ...` with their names and the reason \
             to the header of {}/mod.rs",
            place.display()
        );
    }
}

#[test]
fn the_map_in_lib_says_the_same() {
    let text = fs::read_to_string(root().join("lib.rs")).unwrap();
    let mut listed = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("// layer ") {
            current = rest.split(':').next().unwrap().parse::<u8>().ok();
        }
        let module = line
            .split("mod ")
            .nth(1)
            .and_then(|rest| rest.strip_suffix(';'));
        if let Some(module) = module.filter(|_| line.starts_with("pub")) {
            listed.insert(
                module.to_owned(),
                current.expect("a layer above the first module"),
            );
        }
    }
    let named: BTreeMap<String, u8> = LAYERS
        .iter()
        .filter(|(name, _)| !name.contains("::") && !["lib", "main"].contains(name))
        .map(|(name, layer)| ((*name).to_owned(), *layer))
        .collect();
    assert_eq!(listed, named, "src/lib.rs and tests/layers.rs");
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let seen = |text: &str| {
        let mut out = Vec::new();
        paths(text, "", &mut out);
        out
    };
    assert_eq!(seen("app::App;"), ["app::App"]);
    assert_eq!(seen("{app::App, drain}"), ["app::App", "drain"]);
    assert_eq!(
        seen("a::{self, b::{C, d}, e}"),
        ["a::self", "a::b::C", "a::b::d", "a::e"]
    );
    assert_eq!(code("a // crate::b\n\"crate::c\" d"), "a \n d");
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges
                .entry((*from).into())
                .or_default()
                .insert((*to).into());
        }
        circles(&edges)
    };
    assert!(edges(&[("a", "b"), ("b", "c")]).is_empty());
    let found = edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]);
    assert_eq!(
        found,
        [BTreeSet::from(["a".into(), "b".into(), "c".into()])]
    );
}
