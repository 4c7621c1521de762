//! Checks, offline and without other programs, that no dependency is older than the minimum versions in `deny.toml`.
#![expect(
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

use std::fs;

/// Parses `1.11.1` into a comparable form. What follows a hyphen is ignored.
fn version(text: &str) -> Vec<u32> {
    let release = text.split('-').next().unwrap_or_default();
    release
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect()
}

/// Returns the text between the first `open` and the next `close`.
fn between<'a>(line: &'a str, open: &str, close: &str) -> Option<&'a str> {
    line.split_once(open)?.1.split_once(close).map(|it| it.0)
}

/// Returns the name and version of each package in a lock file.
fn packages(lock: &str) -> Vec<(&str, Vec<u32>)> {
    lock.split("[[package]]")
        .skip(1)
        .map(|package| {
            let name = between(package, "name = \"", "\"").unwrap();
            let version_ = between(package, "\nversion = \"", "\"").unwrap();
            (name, version(version_.split('+').next().unwrap()))
        })
        .collect()
}

#[test]
fn nothing_that_is_denied_is_locked() {
    let root = env!("CARGO_MANIFEST_DIR");
    let denied = fs::read_to_string(format!("{root}/deny.toml")).unwrap();
    let denied: Vec<(&str, Option<Vec<u32>>)> = denied
        .lines()
        .filter_map(|line| between(line, "{ crate = \"", "\""))
        .map(|what| match what.split_once(":<") {
            Some((name, floor)) => (name, Some(version(floor))),
            None => (what, None),
        })
        .collect();
    assert!(denied.len() >= 10, "{denied:?}");
    let lock = fs::read_to_string(format!("{root}/Cargo.lock")).unwrap();
    let packages = packages(&lock);
    assert!(packages.len() > 100);
    for (name, floor) in denied {
        for (_, locked) in packages.iter().filter(|(locked, _)| *locked == name) {
            let fine = floor.as_ref().is_some_and(|floor| locked >= floor);
            assert!(fine, "{name} {locked:?} is denied by deny.toml");
        }
    }
}

#[test]
fn a_floor_is_compared_by_number() {
    assert!(version("0.4.9") < version("0.4.18"));
    assert!(version("1.0.0-rc.1") >= version("0.103.13"));
    let lock = "[[package]]\nname = \"a\"\nversion = \"0.11.0+1.2\"\n";
    assert_eq!(packages(lock), [("a", version("0.11.0"))]);
}
