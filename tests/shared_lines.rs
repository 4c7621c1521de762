//! What streams share: nothing that runs for each event may write to memory that other threads write to as well,
//! because its cache line would then move between processors with every event.
//!
//! The code that runs for each event has the files below that own a lock or an atomic. Each says whose it is. A new one
//! must be added here, with its reason, or belong to nobody else.
#![expect(
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

#[path = "support/source.rs"]
mod source;

use std::collections::BTreeMap;

use source::{root, sources};

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
    ("hub/pushing.rs", Owner::Stream),
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
    for hot in HOT {
        assert!(root().join(hot).exists(), "src/{hot} has gone");
    }
    let mut found = BTreeMap::new();
    for source in sources() {
        let is_hot = |hot: &&str| {
            let rest = source.path.strip_prefix(*hot);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let words = shared(&source.code);
        if HOT.iter().any(is_hot) && !words.is_empty() {
            found.insert(source.path, words);
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

/// Returns the shared types that code names.
fn shared(code: &str) -> Vec<&'static str> {
    let is_named = |word: &&&str| code.contains(**word);
    SHARED.iter().filter(is_named).copied().collect()
}
