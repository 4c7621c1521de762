//! Loads the streams in `tests/data`.

use std::fs;
use std::path::{Path, PathBuf};

use weir::dialect::Dialect;
use weir::wire::Framing;

/// One stream, as real servers write it.
pub(crate) struct Fixture {
    pub(crate) path: PathBuf,
    pub(crate) dialect: Dialect,
    pub(crate) framing: Framing,
    pub(crate) bytes: Vec<u8>,
}

/// Returns the streams of a dialect, sorted by name.
pub(crate) fn fixtures(dialect: Dialect) -> Vec<Fixture> {
    let folder = Path::new("tests/data").join(dialect.as_str());
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let framing = match path.extension().and_then(|extension| extension.to_str()) {
            Some("sse") => Framing::Sse,
            Some("ndjson") => Framing::Ndjson,
            Some("lines") => Framing::Lines,
            Some("json") => Framing::JsonArray,
            _ => continue,
        };
        let bytes = fs::read(&path).unwrap();
        fixtures.push(Fixture {
            path,
            dialect,
            framing,
            bytes,
        });
    }
    assert!(!fixtures.is_empty(), "{dialect} has no fixture");
    fixtures.sort_by(|a, b| a.path.cmp(&b.path));
    fixtures
}
