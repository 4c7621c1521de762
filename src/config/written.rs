//! Where the file says what: for warnings about settings that are valid by themselves, which are found once all
//! settings are known.

use std::collections::HashMap;

use crate::config::error::{Path, Place, Problem};
use crate::config::tree::{Node, Value};

/// The keys of a file and their positions.
#[derive(Clone, Debug, Default)]
pub struct Written {
    places: HashMap<String, Place>,
    /// Doubtful settings that were noticed while the file was checked.
    doubts: Vec<Problem>,
}

impl Written {
    /// Returns the keys of a file.
    pub(crate) fn of(root: &Node) -> Self {
        let mut written = Self::default();
        written.add(root, &Path::default());
        written
    }

    fn add(&mut self, node: &Node, path: &Path) {
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.add(value, &path.key(&key.text));
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &path.index(index));
                }
            }
            Value::Null | Value::Scalar { .. } => {}
        }
        self.places.insert(path.as_str().to_owned(), node.place);
    }

    /// Forgets the position of a key, because a flag or a variable has overridden it.
    pub(crate) fn forget(&mut self, path: &str) {
        self.places.remove(path);
    }

    /// Adds what was noticed while the file was checked.
    pub(crate) fn doubted(mut self, doubts: Vec<Problem>) -> Self {
        self.doubts = doubts;
        self
    }

    /// Returns what was noticed while the file was checked.
    pub(crate) fn doubts(&self) -> &[Problem] {
        &self.doubts
    }

    /// Returns the position of the value of a key, if the file has it.
    pub fn place(&self, path: &str) -> Option<Place> {
        self.places.get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Report;
    use crate::config::tree;

    #[test]
    fn every_key_has_its_place() {
        let mut report = Report::default();
        let text = "a: 1\nb:\n  - c: 2\n  - {d: [3]}\n";
        let mut written = Written::of(&tree::parse(text, &mut report).unwrap());
        for (path, line, column) in [
            ("a", 1, 4),
            ("b[0]", 3, 5),
            ("b[0].c", 3, 8),
            ("b[1].d[0]", 4, 10),
        ] {
            assert_eq!(written.place(path), Some(Place { line, column }), "{path}");
        }
        assert_eq!(written.place("c"), None);
        written.forget("a");
        assert_eq!(written.place("a"), None);
    }
}
