//! The keys that are read only at the start: a reload leaves their values as they are.

use crate::config::Config;

/// Returns `new` with what a reload cannot change: under these keys it has the values of `running`. Also returns the
/// names of the keys whose values differ.
pub(super) fn keep(running: &Config, new: Config) -> (Config, Vec<&'static str>) {
    let keys = [
        ("listen", new.listen != running.listen),
        ("admin", new.admin != running.admin),
        ("workers", new.workers != running.workers),
        ("log", new.log != running.log),
        ("traces", new.traces != running.traces),
        ("complete", new.complete != running.complete),
        ("resume", new.journals != running.journals),
    ];
    let differ = keys.into_iter().filter(|(_, differs)| *differs);
    let differ = differ.map(|(key, _)| key).collect();
    let config = Config {
        listen: running.listen.clone(),
        admin: running.admin.clone(),
        workers: running.workers,
        log: running.log.clone(),
        traces: running.traces.clone(),
        complete: running.complete.clone(),
        journals: running.journals.clone(),
        ..new
    };
    (config, differ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    const RUNNING: &str = "
workers: 1
upstreams: { a: { endpoints: [\"http://127.0.0.1:1\"] } }
routes: [ { name: r, upstream: a } ]
";
    const NEW: &str = "
listen: 127.0.0.1:1
admin: { listen: 127.0.0.1:2 }
workers: 2
log: { level: debug }
traces: { sample: 0.5 }
complete: { max_text_bytes: 64KiB }
resume: { total_bytes: 64MiB }
drain: { delay: 1s }
upstreams: { b: { endpoints: [\"http://127.0.0.1:3\"] } }
routes: [ { name: s, upstream: b } ]
";

    fn load(text: &str) -> Config {
        config::load(Some(("f", text)), &Overrides::default()).unwrap()
    }

    #[test]
    fn what_is_read_only_at_the_start_stays_and_is_documented() {
        let running = load(RUNNING);
        let (config, differ) = keep(&running, load(NEW));
        let page = include_str!("../../docs/behaviour.md");
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        let (before, _) = page.split_once(" are read at start only.").unwrap();
        let sentence = before.rsplit(". ").next().unwrap();
        let documented: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
        assert_eq!(differ, documented);
        let (_, differ) = keep(&running, config.clone());
        assert!(differ.is_empty(), "{differ:?} did not stay");
        let (new, _) = keep(&running, load(RUNNING));
        assert_ne!(config.drain, new.drain, "everything else is new");
        assert_eq!(&*config.routes[0].name, "s");
    }

    #[test]
    fn nothing_differs_in_the_same_file() {
        let running = load(RUNNING);
        assert!(keep(&running, load(RUNNING)).1.is_empty());
    }
}
