//! What streams share: nothing that runs for each event may write to memory that other threads write to as well,
//! because its cache line would then move between processors with every event.
//!
//! The code that runs for each event has the files below that own a lock or an atomic. Each says whose it is. A new one
//! must be added here, with its reason, or belong to nobody else.
#![expect(
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms whose code runs for each event, and files of others that do.
const HOT: &[&str] = &[
    "bridge",
    "dialect",
    "encode",
    "event.rs",
    "filter",
    "hub",
    "journal",
    "metrics/busy",
    "queue",
    "reply",
    "session/figures.rs",
    "session/traffic.rs",
    "stream",
    "translate",
    "tunnel",
    "wire",
];

/// Types that are shared between threads.
const SHARED: &[&str] = &[
    "ArcSwap",
    "Atomic",
    "IntCounter",
    "IntGauge",
    "Mutex",
    "OnceLock",
    "RwLock",
    "Semaphore",
];

/// Who writes to what a file owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The thread of one stream or socket. Others only look at it when somebody asks, stops or resumes the stream.
    Stream,
    /// Each thread has its own, on cache lines of its own.
    Thread,
    /// All threads, but not for each event of an ordinary stream.
    All,
}

const KNOWN: &[(&str, Owner)] = &[
    ("bridge/mod.rs", Owner::Stream),
    // The memory of all journals: of streams that can be resumed, when a journal takes more.
    ("hub/budget.rs", Owner::All),
    ("hub/input.rs", Owner::Stream),
    ("hub/mod.rs", Owner::Stream),
    ("metrics/busy/gauge.rs", Owner::Thread),
    ("metrics/busy/histogram.rs", Owner::Thread),
    // When a thread counts for the first time, and when it ends.
    ("metrics/busy/places.rs", Owner::All),
    ("queue/mod.rs", Owner::Stream),
    ("queue/receiver.rs", Owner::Stream),
    ("queue/sender.rs", Owner::Stream),
    ("queue/state.rs", Owner::Stream),
    ("session/figures.rs", Owner::Stream),
    ("session/traffic.rs", Owner::Stream),
    // Events that are so large that another thread reads them.
    ("stream/pump/large.rs", Owner::All),
    ("stream/pump/pause.rs", Owner::Stream),
    ("stream/stop.rs", Owner::Stream),
    // A run of several agents has one thread.
    ("translate/ensemble.rs", Owner::Stream),
    ("tunnel/wake_flags.rs", Owner::Stream),
];

#[test]
fn what_runs_for_each_event_shares_what_is_known() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for hot in HOT {
        let path = src.join(hot);
        assert!(path.exists(), "src/{hot} has gone");
        collect(&path, &mut files);
    }
    let mut found = BTreeMap::new();
    for file in files {
        let words = shared(&fs::read_to_string(&file).unwrap());
        if !words.is_empty() {
            let name = file.strip_prefix(&src).unwrap();
            found.insert(name.to_str().unwrap().to_owned(), words);
        }
    }
    let known: BTreeMap<&str, Owner> = KNOWN.iter().copied().collect();
    for (file, words) in &found {
        assert!(
            known.contains_key(file.as_str()),
            "src/{file} runs for each event and owns {}: say in tests/shared_lines.rs who writes to it",
            words.join(", ")
        );
    }
    for (file, owner) in known {
        assert!(
            found.contains_key(file),
            "src/{file} owns nothing that is shared any more, and is listed as {owner:?}"
        );
    }
}

/// Adds the files of a room, without those that are only tests.
fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.file_name().is_some_and(|name| name == "tests") {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs")
        && path.file_name().is_some_and(|name| name != "tests.rs")
    {
        files.push(path.to_owned());
    }
}

/// Returns the shared types that a file names, outside of its comments and tests.
fn shared(text: &str) -> Vec<&'static str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines: Vec<_> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let is_named = |word: &&&str| lines.iter().any(|line| line.contains(**word));
    SHARED.iter().filter(is_named).copied().collect()
}

#[test]
fn types_are_found_outside_of_comments_and_tests() {
    let text = "// A Mutex.\nuse std::sync::RwLock;\n#[cfg(test)]\nmod tests { use std::sync::Semaphore; }\n";
    assert_eq!(shared(text), ["RwLock"]);
}
