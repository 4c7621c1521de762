//! Checks the section `resume.redis`: the servers that journals are kept on, and the secrets that they need.

use http::HeaderValue;

use crate::config::choices::Servers;
use crate::config::defaults as preset;
use crate::config::error::{Path, Place, Report};
use crate::config::kind::{Placed, given, or};
use crate::config::redis_settings::{RedisMode, RedisSettings, sealing_key};
use crate::config::redis_url::RedisUrl;
use crate::config::{Roots, Secret, SecretSource, Target, UpstreamTls, raw, secret, upstreams};

/// What is checked of the section `resume.redis`.
pub(crate) struct Check<'a> {
    /// The position of `resume.store`.
    pub(crate) store: Place,
    /// The section as written.
    pub(crate) raw: &'a raw::Redis,
    /// Whether a running process reads its file again.
    pub(crate) is_reload: bool,
    /// Whether every key of the section could be read. If not, a key that seems to be missing may be there.
    pub(crate) is_fine: bool,
}

fn path(key: &str) -> Path {
    Path::default().key("resume").key("redis").key(key)
}

impl Check<'_> {
    /// Checks the section, and what its keys need of each other.
    pub(crate) fn settings(&self, report: &mut Report) -> RedisSettings {
        let raw = self.raw;
        let servers = or(raw.mode.as_ref(), Servers::Standalone);
        let password = self.secret(raw.password.as_ref(), "password", report);
        let username = raw.username.as_ref().and_then(given);
        if let Some(username) = &username
            && raw.password.as_ref().and_then(given).is_none()
        {
            let why = "needs `password` beside it";
            report.at(username.place, &path("username"), why);
        }
        let (sentinel_username, sentinel_password) = self.sentinel_login(servers, report);
        let encrypt_old = raw.encrypt_old.as_ref().and_then(given);
        if let Some(old) = &encrypt_old
            && raw.encrypt.as_ref().and_then(given).is_none()
        {
            report.at(
                old.place,
                &path("encrypt_old"),
                "needs `encrypt` beside it: nothing is encrypted with an old key",
            );
        }
        let urls = self.urls(servers, report);
        RedisSettings {
            mode: self.mode(servers, report),
            username: username.map(|username| username.value),
            password,
            sentinel_username,
            sentinel_password,
            tls: self.tls(&urls, report),
            prefix: raw.prefix.as_ref().map_or_else(
                || preset::REDIS_PREFIX.value.to_owned(),
                |prefix| prefix.value.clone(),
            ),
            encrypt: self.key(raw.encrypt.as_ref(), "encrypt", report),
            encrypt_old: self.key(raw.encrypt_old.as_ref(), "encrypt_old", report),
            urls,
        }
    }

    /// Returns the servers, and reports those that do not fit the mode.
    fn urls(&self, servers: Servers, report: &mut Report) -> Vec<RedisUrl> {
        let url = self.raw.url.as_ref().and_then(given);
        let urls = self.raw.urls.as_ref().and_then(given);
        let (place, key, list) = match (url, urls) {
            (Some(_), Some(urls)) => {
                let why = "cannot be set beside `resume.redis.url`: one of them names the servers";
                report.at(urls.place, &path("urls"), why);
                return Vec::new();
            }
            (Some(url), None) => (url.place, "url", vec![url.value]),
            (None, Some(urls)) => {
                let list: Vec<_> = urls.value.into_iter().map(|entry| entry.value).collect();
                (urls.place, "urls", list)
            }
            (None, None) => {
                if self.is_fine {
                    report.at(
                        self.store,
                        &Path::default().key("resume").key("store"),
                        "needs `resume.redis.url`, which names the server",
                    );
                }
                return Vec::new();
            }
        };
        let is_single = servers == Servers::Standalone;
        let mut refuse = |why: &str| report.at(place, &path(key), why);
        if is_single && list.len() > 1 {
            refuse("names several servers, which need `resume.redis.mode: cluster` or `sentinel`");
        }
        let is_socket = |url: &RedisUrl| matches!(url.endpoint.target, Target::Unix(_));
        if !is_single && list.iter().any(is_socket) {
            refuse("names a Unix socket, which only `resume.redis.mode: standalone` can use");
        }
        if servers == Servers::Cluster && list.iter().any(|url| url.database != 0) {
            refuse("names a database, but a cluster has only number 0");
        }
        if let [first, rest @ ..] = list.as_slice()
            && rest
                .iter()
                .any(|url| (url.endpoint.tls, url.database) != (first.endpoint.tls, first.database))
        {
            refuse("names servers of which some use TLS or another database, and some do not");
        }
        list
    }

    fn mode(&self, servers: Servers, report: &mut Report) -> RedisMode {
        let master = self.raw.master.as_ref().and_then(given);
        if let Some(master) = &master
            && servers != Servers::Sentinel
        {
            let why = "has no effect without `resume.redis.mode: sentinel`";
            report.at(master.place, &path("master"), why);
        }
        match (servers, master, &self.raw.mode) {
            (Servers::Cluster, ..) => RedisMode::Cluster,
            (Servers::Sentinel, Some(master), _) => RedisMode::Sentinel {
                master: master.value,
            },
            (Servers::Sentinel, None, mode) => {
                if let Some(mode) = mode {
                    report.at(
                        mode.place,
                        &path("mode"),
                        "`sentinel` needs `master`, the name by which the sentinels know the primary",
                    );
                }
                RedisMode::Standalone
            }
            (Servers::Standalone, ..) => RedisMode::Standalone,
        }
    }

    /// Returns the user and the password for the sentinels.
    fn sentinel_login(
        &self,
        servers: Servers,
        report: &mut Report,
    ) -> (Option<String>, Option<Secret>) {
        let raw = self.raw;
        let username = raw.sentinel_username.as_ref().and_then(given);
        let password = raw.sentinel_password.as_ref().and_then(given);
        let places = [
            ("sentinel_username", username.as_ref().map(|one| one.place)),
            ("sentinel_password", password.as_ref().map(|one| one.place)),
        ];
        for (key, place) in places {
            if let Some(place) = place
                && servers != Servers::Sentinel
            {
                let why = "has no effect without `resume.redis.mode: sentinel`";
                report.at(place, &path(key), why);
            }
        }
        if let Some(username) = &username
            && password.is_none()
        {
            let why = "needs `sentinel_password` beside it";
            report.at(username.place, &path("sentinel_username"), why);
        }
        let secret = self.secret(raw.sentinel_password.as_ref(), "sentinel_password", report);
        (username.map(|username| username.value), secret)
    }

    fn tls(&self, urls: &[RedisUrl], report: &mut Report) -> UpstreamTls {
        let path = path("tls");
        // Without endpoints, it is not compared with `https://`, which no URL here begins with.
        let tls = upstreams::tls(self.raw.tls.as_ref(), &[], &path, report);
        let is_written = tls.roots == Roots::None
            || [&tls.ca_file, &tls.cert].into_iter().any(Option::is_some)
            || tls.server_name.is_some();
        if let Some(written) = &self.raw.tls
            && is_written
            && !urls.is_empty()
            && !urls.iter().any(|url| url.endpoint.tls)
        {
            let why = "has no effect, because no URL begins with `rediss://`";
            report.at(written.place, &path, why);
        }
        tls
    }

    /// Reads a key for encryption.
    fn key(
        &self,
        source: Option<&Placed<Option<SecretSource>>>,
        key: &str,
        report: &mut Report,
    ) -> Option<Secret> {
        let secret = self.secret(source, key, report)?;
        if let Err(why) = sealing_key(&secret.value)
            && !self.is_reload
            && let Some(place) = source.map(|source| source.place)
        {
            report.at(
                place,
                &path(key),
                format!("what `{}` names cannot be used: {why}", secret.source),
            );
        }
        Some(secret)
    }

    fn secret(
        &self,
        source: Option<&Placed<Option<SecretSource>>>,
        key: &str,
        report: &mut Report,
    ) -> Option<Secret> {
        let Placed {
            place,
            value: source,
        } = given(source?)?;
        let value = match secret::read(&source) {
            Err(_) if self.is_reload => HeaderValue::from_static(""),
            Err(why) => {
                report.at(place, &path(key), why);
                return None;
            }
            Ok(value) => value,
        };
        Some(Secret { source, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::group::Group;
    use crate::config::{redis_url, tree};

    /// The bytes 0 to 31.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    /// Checks the section apart from the file, because a build without Redis loads no file that uses it.
    fn read(redis: &str, is_reload: bool) -> Result<RedisSettings, String> {
        let mut report = Report::default();
        let node = tree::parse(redis, &mut report).unwrap();
        let at = Path::default().key("resume").key("redis");
        let raw = raw::Redis::read(&node, &at, &mut report).unwrap();
        let check = Check {
            store: node.place,
            raw: &raw,
            is_reload,
            is_fine: report.is_empty(),
        };
        let settings = check.settings(&mut report);
        if report.is_empty() {
            Ok(settings)
        } else {
            Err(report.into_problems(None).to_string())
        }
    }

    fn secret_file(secret: &str) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secret).unwrap();
        let source = format!("file:{}", file.path().display());
        (file, source)
    }

    #[test]
    fn a_url_is_enough() {
        let settings = read("{url: \"redis://redis\"}", false).unwrap();
        let want = RedisSettings {
            urls: vec![redis_url::url("redis://redis:6379/0").unwrap()],
            ..RedisSettings::default()
        };
        assert_eq!(settings, want);
    }

    #[test]
    fn several_servers_are_a_cluster_or_sentinels() {
        let urls = "urls: [\"rediss://a\", \"rediss://b\"]";
        let cluster = read(
            &format!("{{{urls}, mode: cluster, tls: {{roots: system}}}}"),
            false,
        );
        let cluster = cluster.unwrap();
        assert_eq!((cluster.urls.len(), cluster.mode), (2, RedisMode::Cluster));
        assert_eq!(cluster.tls.roots, Roots::System);
        let sentinel = read(&format!("{{{urls}, mode: sentinel, master: main}}"), false).unwrap();
        let master = "main".to_owned();
        assert_eq!(sentinel.mode, RedisMode::Sentinel { master });
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        let ((_word, word), (_own, own)) = (secret_file("s3cret"), secret_file("0ther"));
        let text = format!(
            "{{url: \"redis://a\", mode: sentinel, master: main, password: \"{word}\", sentinel_username: watch, sentinel_password: \"{own}\"}}"
        );
        let settings = read(&text, false).unwrap();
        assert_eq!(settings.username, None);
        assert_eq!(settings.password.as_ref().unwrap().value, "s3cret");
        assert_eq!(settings.sentinel_username.as_deref(), Some("watch"));
        assert_eq!(settings.sentinel_password.as_ref().unwrap().value, "0ther");
        assert!(!format!("{settings:?}").contains("0ther"));
    }

    #[test]
    fn secrets_are_read_and_not_shown() {
        let ((_key, key), (_word, word)) = (secret_file(KEY), secret_file("s3cret\n"));
        let text = format!(
            "{{url: \"redis://r\", username: weir, password: \"{word}\", encrypt: \"{key}\", encrypt_old: \"{key}\"}}"
        );
        let settings = read(&text, false).unwrap();
        assert_eq!(settings.username.as_deref(), Some("weir"));
        assert_eq!(settings.password.as_ref().unwrap().value, "s3cret");
        let sealing = sealing_key(&settings.encrypt.as_ref().unwrap().value).unwrap();
        assert!(sealing.iter().copied().eq(0..32));
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("AAECAwQF"),
            "{shown}"
        );
    }

    #[test]
    fn only_a_process_that_starts_needs_its_secrets() {
        let text = "{url: \"redis://r\", password: \"file:/no/such\", encrypt: \"file:/no/such\"}";
        let refused = read(text, false).unwrap_err();
        for key in ["password", "encrypt"] {
            assert!(
                refused.contains(&format!("resume.redis.{key}: ")),
                "{refused}"
            );
        }
        let settings = read(text, true).unwrap();
        assert_eq!(settings.encrypt.unwrap().value, "");
    }

    #[test]
    fn mistakes_name_their_keys() {
        let (_short, short) = secret_file("c2hvcnQ=");
        let (_none, none) = secret_file("s3cret-not-base64");
        let (_key, key) = secret_file(KEY);
        for (redis, wanted) in [
            ("{}".to_owned(), "resume.store: needs `resume.redis.url`"),
            (
                "{url: \"redis://a\", urls: [\"redis://b\"]}".to_owned(),
                "resume.redis.urls: cannot be set beside",
            ),
            (
                "{urls: [\"redis://a\", \"redis://b\"]}".to_owned(),
                "resume.redis.urls: names several servers",
            ),
            (
                "{urls: [\"redis://a\", \"rediss://b\"], mode: cluster}".to_owned(),
                "resume.redis.urls: names servers of which some",
            ),
            (
                "{url: \"redis://a/1\", mode: cluster}".to_owned(),
                "resume.redis.url: names a database",
            ),
            (
                "{url: \"redis+unix:///r.sock\", mode: cluster}".to_owned(),
                "resume.redis.url: names a Unix socket",
            ),
            (
                "{url: \"redis://a\", mode: sentinel}".to_owned(),
                "resume.redis.mode: `sentinel` needs `master`",
            ),
            (
                "{url: \"redis://a\", master: main}".to_owned(),
                "resume.redis.master: has no effect",
            ),
            (
                "{url: \"redis://a\", username: weir}".to_owned(),
                "resume.redis.username: needs `password`",
            ),
            (
                "{url: \"redis://a\", mode: sentinel, master: m, sentinel_username: w}".to_owned(),
                "resume.redis.sentinel_username: needs `sentinel_password`",
            ),
            (
                format!("{{url: \"redis://a\", sentinel_password: \"{key}\"}}"),
                "resume.redis.sentinel_password: has no effect",
            ),
            (
                "{url: \"redis://a\", tls: {server_name: b}}".to_owned(),
                "resume.redis.tls: has no effect",
            ),
            (
                "{url: \"redis://a\", prefix: \"{a}\"}".to_owned(),
                "resume.redis.prefix: `{a}` is not",
            ),
            (
                "{url: \"redis://:s3cret@a\"}".to_owned(),
                "resume.redis.url: user and password",
            ),
            (
                format!("{{url: \"redis://a\", encrypt: \"{short}\"}}"),
                "resume.redis.encrypt: what",
            ),
            (
                format!("{{url: \"redis://a\", encrypt: \"{none}\"}}"),
                "a key is 32 bytes in base64",
            ),
            (
                format!("{{url: \"redis://a\", encrypt_old: \"{key}\"}}"),
                "resume.redis.encrypt_old: needs `encrypt`",
            ),
            (
                "{url: \"redis://a\", password: s3cret}".to_owned(),
                "resume.redis.password: expected `env:NAME`",
            ),
        ] {
            let refused = read(&redis, false).unwrap_err();
            assert!(refused.contains(wanted), "{redis}: {refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
        // A URL that cannot be read is the only mistake here.
        let refused = read("{url: redis}", false).unwrap_err();
        assert!(!refused.contains("resume.store"), "{refused}");
    }
}
