//! The layers of the source: a module knows lower layers and its own, no two rooms know each other in a circle, and
//! within a room files and folders do so only where the room says why.
//!
//! A **room** is a file or folder at the top of `src`. What counts is code: `use` lines and paths in expressions, from
//! `crate::` and `super::`, with what stands behind a name that is passed on. Comments and tests may name anything.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

#[path = "support/imports.rs"]
mod imports;
#[path = "support/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use imports::{Import, imports, module_of, words};
use source::{root, sources};

/// The layers of all rooms. `src/lib.rs` lists the same.
const LAYERS: &[(&str, u8)] = &[
    // terms
    ("end", 0),
    ("event", 0),
    ("length", 0),
    // pure: no clock, no I/O
    ("dialect", 1),
    ("encode", 1),
    ("filter", 1),
    ("inject", 1),
    ("journal", 1),
    ("recording", 1),
    ("request_map", 1),
    ("signing", 1),
    ("translate", 1),
    ("unstream", 1),
    ("wire", 1),
    // parts
    ("capacity", 2),
    ("config", 2),
    ("hub", 2),
    ("log", 2),
    ("queue", 2),
    ("release", 2),
    ("strict", 2),
    // engines, and what they count
    ("certificate", 3),
    ("metrics", 3),
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

/// The highest layer that is pure.
const PURE_LAYER: u8 = 1;

/// The parts of higher rooms that are pure as well. `src/lib.rs` lists the same.
const PURE_PARTS: &[&str] = &[
    "queue::gate",
    "queue::join",
    "queue::limits",
    "queue::lists",
    "queue::ring",
    "stream::classify",
    "stream::deadline",
    "stream::large_event",
    "stream::meter",
    "stream::pipeline",
    "stream::sink",
    "stream::stages",
    "stream::tools",
];

/// What pure code does not name. It may write to what it is given, and count with times that it is given.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "getrandom",
    "sleep(",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "tokio::",
];

/// Engines that must not know each other: `session` joins them.
const STRANGERS: [(&str, &str); 2] = [("upstream", "stream"), ("stream", "upstream")];

/// What knows what.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// The first word of a module's path.
fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn layer(module: &str) -> u8 {
    let found = LAYERS.iter().find(|(name, _)| *name == room(module));
    let (_, layer) = found
        .unwrap_or_else(|| panic!("no layer is named for `{module}`: add it to tests/layers.rs"));
    *layer
}

/// Reports whether a module is `part`, or in it.
fn is_in(module: &str, part: &str) -> bool {
    let rest = module.strip_prefix(part);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_pure(module: &str) -> bool {
    layer(module) <= PURE_LAYER || PURE_PARTS.iter().any(|part| is_in(module, part))
}

/// What the files and folders of a folder know of each other, each folder as one. The top is `""`.
fn edges(folder: &str, imports: &[Import]) -> Edges {
    let child = |module: &str| {
        let inside = if folder.is_empty() {
            module
        } else {
            module.strip_prefix(folder)?.strip_prefix("::")?
        };
        Some(room(inside).to_owned())
    };
    let mut edges = Edges::new();
    for Import { from, to, .. } in imports {
        if let (Some(from), Some(to)) = (child(from), child(to))
            && from != to
        {
            edges.entry(from).or_default().insert(to);
        }
    }
    edges
}

/// The groups of nodes that reach each other, of more than one node.
fn circles(edges: &Edges) -> Vec<BTreeSet<String>> {
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

/// Reports whether the header of a folder has a line `//! Circle: ...` that names all of these.
fn is_said(folder: &Path, circle: &BTreeSet<String>) -> bool {
    let header = fs::read_to_string(folder.join("mod.rs")).unwrap();
    header
        .lines()
        .filter(|line| line.starts_with("//! Circle:"))
        .any(|line| {
            circle
                .iter()
                .all(|name| line.contains(&format!("`{name}`")))
        })
}

#[test]
fn modules_know_their_own_layer_and_lower_ones() {
    for Import { from, to, place } in imports(&sources()) {
        let (own, other) = (layer(&from), layer(&to));
        let strange = STRANGERS.contains(&(room(&from), room(&to)));
        assert!(
            other <= own && !strange,
            "{place}: `{from}` (layer {own}) may not know `{to}` (layer {other})"
        );
    }
}

#[test]
fn what_is_pure_knows_only_what_is_pure() {
    for part in PURE_PARTS {
        let place = root().join(part.replace("::", "/"));
        let exists = place.is_dir() || place.with_extension("rs").is_file();
        assert!(exists, "{} has gone", place.display());
    }
    for Import { from, to, place } in imports(&sources()) {
        // A file lists what is in it.
        assert!(
            !is_pure(&from) || is_pure(&to) || is_in(&to, &from),
            "{place}: `{from}` is pure, and may not know `{to}`"
        );
    }
}

#[test]
fn what_is_pure_reads_no_clock_and_does_no_io() {
    for source in sources() {
        if !is_pure(&module_of(&source.path)) {
            continue;
        }
        for (line, code) in source.code.lines().enumerate() {
            let named = IMPURE.iter().find(|word| code.contains(**word));
            assert!(
                named.is_none() || code == "use tokio::time::Instant;",
                "src/{}:{} is pure, and may not name {named:?}",
                source.path,
                line + 1
            );
        }
    }
}

#[test]
fn no_two_rooms_know_each_other() {
    let found = circles(&edges("", &imports(&sources())));
    assert!(found.is_empty(), "rooms in a circle: {found:#?}");
}

/// A module extends the one that it lies in, so these two are no circle; what lies beside each other is.
#[test]
fn parts_of_a_room_are_in_a_circle_only_where_the_room_says_why() {
    let imports = imports(&sources());
    let folders: BTreeSet<&str> = imports
        .iter()
        .flat_map(|import| {
            let from = &*import.from;
            from.match_indices("::").map(|(at, _)| from.split_at(at).0)
        })
        .collect();
    assert!(folders.contains("proxy::resume"), "{folders:?}");
    for folder in folders {
        let place = root().join(folder.replace("::", "/"));
        for circle in circles(&edges(folder, &imports)) {
            assert!(
                is_said(&place, &circle),
                "{circle:#?} know each other: part them, or add a line `//! Circle: ...` with their names and the reason \
                 to the header of {}/mod.rs",
                place.display()
            );
        }
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
        .filter(|(name, _)| !["lib", "main"].contains(name))
        .map(|(name, layer)| ((*name).to_owned(), *layer))
        .collect();
    assert_eq!(listed, named, "src/lib.rs and tests/layers.rs");
    let parts: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("// pure as well: "))
        .flat_map(words)
        .collect();
    assert_eq!(parts, PURE_PARTS, "src/lib.rs and tests/layers.rs");
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    assert_eq!(words("app::App;"), ["app::App"]);
    assert_eq!(words("{app::App, drain}"), ["app::App", "drain"]);
    assert_eq!(
        words("a::{self, b::{C, d}, e}"),
        ["a::self", "a::b::C", "a::b::d", "a::e"]
    );
    let source = |(path, code): (&str, &str)| source::Source {
        path: path.to_owned(),
        code: code.to_owned(),
    };
    let seen = imports(
        &[
            ("a/mod.rs", "pub use b::B;\nmod b;\nmod c;"),
            ("a/b.rs", "use super::c;"),
            ("a/c.rs", "use super::B;\nuse http::B;"),
            ("d.rs", "crate::{a::{self, B}, e}"),
        ]
        .map(source),
    );
    let seen: Vec<_> = seen
        .iter()
        .map(|import| (&*import.from, &*import.to, &*import.place))
        .collect();
    assert_eq!(
        seen,
        [
            ("a::b", "a::c", "src/a/b.rs:1"),
            ("a::c", "a::b", "src/a/c.rs:1"),
            ("d", "a", "src/d.rs:1"),
            ("d", "a::b", "src/d.rs:1"),
        ]
    );
}

#[test]
fn circles_are_found_through_folders() {
    let import = |(from, to): (&str, &str)| Import {
        from: from.to_owned(),
        to: to.to_owned(),
        place: String::new(),
    };
    let found = |folder, pairs: &[(&str, &str)]| {
        let imports: Vec<Import> = pairs.iter().copied().map(import).collect();
        circles(&edges(folder, &imports))
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert!(found("", &[("a", "b"), ("b", "c")]).is_empty());
    let pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")];
    assert_eq!(found("", &pairs), [names(&["a", "b", "c"])]);
    // By files, there is no circle here.
    let pairs = [("r::a", "r::b::x"), ("r::b::y", "r::a"), ("r::b", "r")];
    assert_eq!(found("r", &pairs), [names(&["a", "b"])]);
    assert!(found("", &pairs).is_empty());
}
