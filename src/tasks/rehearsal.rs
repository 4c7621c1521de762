//! Deliberate defects, for the tests of what a panic does to the process. Only in debug builds, which the tests run:
//! a release build has neither this file nor the name of its variable, so that no flag and no feature can be left on by
//! mistake.
//!
//! `WEIR_TEST_PANICS` names a folder. Code that passes a place panics if the folder holds a file with the place's name:
//! once, because the file is removed first, or each time if the file says `always`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static FOLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("WEIR_TEST_PANICS").map(PathBuf::from));

/// Panics if the folder holds a file with this name.
pub(super) fn rehearse(place: impl FnOnce() -> String) {
    let Some(folder) = &*FOLDER else { return };
    assert!(!is_wanted(&folder.join(place())), "a test wants a panic");
}

fn is_wanted(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|text| text == b"always" || std::fs::remove_file(file).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_panics_once_or_always() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("here");
        assert!(!is_wanted(&file));
        std::fs::write(&file, "").unwrap();
        assert!(is_wanted(&file) && !is_wanted(&file));
        std::fs::write(&file, "always").unwrap();
        assert!(is_wanted(&file) && is_wanted(&file));
    }
}
