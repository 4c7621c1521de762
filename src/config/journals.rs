//! Checks the section `resume` of the process: where the journals of streams are kept.

use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::kind::{given, or};
use crate::config::number::bound;
use crate::config::raw::{self, Root};
use crate::config::redis_check::Check;
use crate::config::redis_settings::RedisSettings;

/// Where the journals of streams are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journals {
    /// Maximum number of bytes of all journals in the memory of the process.
    pub total_bytes: usize,
    /// Where they are kept.
    pub store: Store,
}

/// Where journals are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In the memory of the process.
    Memory,
    /// In Redis or Valkey, where other processes find them.
    Redis(Box<RedisSettings>),
}

/// Returns why a build cannot use Redis, if it is one `with_redis` or not.
const fn missing(with_redis: bool) -> Option<&'static str> {
    if with_redis {
        return None;
    }
    Some("this build cannot keep journals in Redis; it needs the cargo feature `redis`")
}

/// Checks the section. On a reload, a secret that cannot be read is not an error, because a running process keeps these
/// settings: a change is only logged.
pub(crate) fn checked(root: &Root, is_reload: bool, report: &mut Report) -> Journals {
    let none = raw::Journals::default();
    let raw = (root.resume.as_ref()).map_or(&none, |resume| &resume.value);
    let unset = raw::Redis::default();
    let redis = (raw.redis.as_ref()).map_or(&unset, |redis| &redis.value);
    let path = Path::default().key("resume");
    let store = match &raw.store {
        Some(store) if store.value => {
            let check = Check {
                store: store.place,
                raw: redis,
                is_reload,
                is_fine: report.is_fine("resume"),
            };
            if let Some(why) = missing(cfg!(feature = "redis")) {
                report.at(store.place, &path.key("store"), why);
            }
            Store::Redis(Box::new(check.settings(report)))
        }
        _ => {
            unused(redis, &path.key("redis"), report);
            Store::Memory
        }
    };
    Journals {
        total_bytes: bound(or(raw.total_bytes.as_ref(), preset::JOURNALS.value)),
        store,
    }
}

/// Reports servers that are named, but not used.
fn unused(raw: &raw::Redis, path: &Path, report: &mut Report) {
    let url = raw
        .url
        .as_ref()
        .and_then(given)
        .map(|url| (url.place, "url"));
    let urls = raw
        .urls
        .as_ref()
        .and_then(given)
        .map(|urls| (urls.place, "urls"));
    // A `store` that could not be read is reported already.
    if let Some((place, key)) = url.or(urls)
        && report.is_fine("resume")
    {
        report.at(
            place,
            &path.key(key),
            "has no effect without `resume.store: redis`: journals are kept in memory",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    fn load(resume: &str) -> Result<Journals, String> {
        let agent = "upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}";
        let text = format!("{agent}\nresume: {resume}\n");
        config::load(Some(("f", &text)), &Overrides::default())
            .map(|config| config.journals)
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn journals_are_in_memory_unless_the_file_says_otherwise() {
        let memory = |total_bytes| Journals {
            total_bytes,
            store: Store::Memory,
        };
        assert_eq!(load("{}").unwrap(), memory(256 << 20));
        assert_eq!(
            load("{store: memory, total_bytes: 1MiB}").unwrap(),
            memory(1 << 20)
        );
        for (resume, wanted) in [
            (
                "{total_bytes: 1KiB}",
                "resume.total_bytes: `1KiB` is not allowed (1MiB to 1024GiB)",
            ),
            (
                "{store: redsi}",
                "resume.store: `redsi` is not `memory` or `redis`; did you mean `redis`?",
            ),
            ("{keep: 1m}", "resume.keep: unknown key"),
            ("off", "resume: a single value is not a section"),
        ] {
            let refused = load(resume).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
        }
    }

    #[test]
    fn servers_that_are_not_used_are_a_mistake() {
        for (key, value) in [("url", "redis://redis"), ("urls", "redis://redis")] {
            let refused = load(&format!("{{redis: {{{key}: \"{value}\"}}}}")).unwrap_err();
            let wanted = format!("resume.redis.{key}: has no effect without `resume.store: redis`");
            assert!(refused.contains(&wanted), "{refused}");
        }
        // A word that is not known is the only mistake here.
        let refused = load("{store: redsi, redis: {url: \"redis://redis\"}}").unwrap_err();
        assert!(!refused.contains("no effect"), "{refused}");
    }

    #[test]
    fn a_build_without_the_feature_refuses_redis() {
        assert!(missing(false).is_some_and(|why| why.contains("cargo feature `redis`")));
        let has_redis = cfg!(feature = "redis");
        assert_eq!(missing(has_redis).is_none(), has_redis);
        let loaded = load("{store: redis, redis: {url: \"redis://redis\"}}");
        assert_eq!(loaded.is_ok(), has_redis, "{loaded:?}");
    }
}
