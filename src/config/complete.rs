//! Checks the section `complete`: where records of finished streams go, and which streams have one.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::config::defaults as preset;
use crate::config::error::{Path, Report, nearest, shown};
use crate::config::kind::{Placed, given, or};
use crate::config::number::bound;
use crate::config::raw::{self, Root};
use crate::config::routes::ONLY;
use crate::config::wrap::Entry;
use crate::config::{HookUrl, Secret, UpstreamTls, secret, traces, upstreams};
use crate::signing::Key;

/// Records of finished streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complete {
    /// The webhook that receives them; `None` if there is none.
    pub url: Option<HookUrl>,
    /// The secret that requests to the webhook are signed with.
    pub secret: Option<Secret>,
    /// The file that they are appended to; `None` if there is none.
    pub file: Option<PathBuf>,
    /// The names of the routes whose streams are recorded; `None` stands for all.
    pub routes: Option<Vec<Arc<str>>>,
    /// The header by which a caller says what the record contains.
    pub metadata: HeaderName,
    /// Maximum number of bytes of text in a record.
    pub max_text_bytes: usize,
    /// TLS settings for an `https://` webhook.
    pub tls: UpstreamTls,
}

impl Complete {
    /// Reports whether the streams of a route are recorded.
    pub fn records(&self, route: &str) -> bool {
        let is_on = self.url.is_some() || self.file.is_some();
        let mut names = self.routes.iter().flatten();
        is_on && (self.routes.is_none() || names.any(|name| **name == *route))
    }
}

fn path(key: &str) -> Path {
    Path::default().key("complete").key(key)
}

/// Checks the section. On a reload, a secret that cannot be read is not an error, because a running process keeps these
/// settings: a change is only logged.
pub(crate) fn checked(root: &Root, is_reload: bool, report: &mut Report) -> Complete {
    let none = raw::Complete::default();
    let raw = (root.complete.as_ref()).map_or(&none, |complete| &complete.value);
    let url = raw.url.as_ref().and_then(given);
    let file = raw.file.as_ref().and_then(given);
    let secret = secret_of(raw, is_reload, report);
    if let (Some(_), Some(file)) = (&url, &file) {
        report.at(
            file.place,
            &path("file"),
            "cannot be set beside `complete.url`: records go to one of them",
        );
    }
    if let Some(url) = &url
        && raw.secret.as_ref().and_then(given).is_none()
    {
        report.at(
            url.place,
            &path("url"),
            "needs `complete.secret`, which requests are signed with",
        );
    }
    let endpoint = url.as_ref().map(|url| url.value.endpoint.clone());
    let named = raw.routes.as_ref().and_then(|named| named.value.as_ref());
    Complete {
        secret,
        routes: named.map(|named| known(named, &names(root, report), report)),
        metadata: metadata(raw, report),
        max_text_bytes: bound(or(raw.max_text_bytes.as_ref(), preset::RECORD_TEXT.value)),
        tls: upstreams::tls(raw.tls.as_ref(), endpoint.as_slice(), &path("tls"), report),
        url: url.map(|url| url.value),
        file: file.map(|file| file.value),
    }
}

fn secret_of(raw: &raw::Complete, is_reload: bool, report: &mut Report) -> Option<Secret> {
    let Placed {
        place,
        value: source,
    } = given(raw.secret.as_ref()?)?;
    let read = secret::read(&source).and_then(|value| {
        let text = value.to_str().unwrap_or_default();
        match Key::parse(text) {
            Ok(_) => Ok(value),
            Err(why) => Err(format!("what `{source}` names cannot be used: {why}")),
        }
    });
    let value = match read {
        Err(_) if is_reload => HeaderValue::from_static(""),
        Err(why) => {
            report.at(place, &path("secret"), why);
            return None;
        }
        Ok(value) => value,
    };
    Some(Secret { source, value })
}

/// Returns the names of all routes, also of those that cannot be used. Returns none if they are not known, because a
/// part of the file cannot be read.
fn names<'a>(root: &'a Root, report: &Report) -> Vec<&'a str> {
    let routes = root.routes.as_ref().map_or(&[][..], |routes| &routes.value);
    if routes.is_empty() {
        return Vec::from_iter(report.is_fine("routes").then_some(ONLY));
    }
    let names = routes.iter().map(|route| {
        let name = route.value.head.name.as_ref()?;
        Some(name.value.as_str())
    });
    names.collect::<Option<_>>().unwrap_or_default()
}

/// Returns the names of the routes, and reports those that no route has.
fn known(named: &[Entry<String>], names: &[&str], report: &mut Report) -> Vec<Arc<str>> {
    for entry in named {
        // Routes whose names cannot be read are reported elsewhere.
        if names.is_empty() || names.contains(&entry.value.as_str()) {
            continue;
        }
        let hint = nearest(&entry.value, names.iter().copied())
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        report.at(
            entry.place,
            &path("routes").entry(entry.index),
            format!(
                "no route is named {}; the routes are {}{hint}",
                shown(&entry.value),
                names.join(", ")
            ),
        );
    }
    let name = |entry: &Entry<String>| Arc::from(entry.value.as_str());
    named.iter().map(name).collect()
}

fn metadata(raw: &raw::Complete, report: &mut Report) -> HeaderName {
    let Some(given) = &raw.metadata else {
        return HeaderName::from_static(preset::METADATA.value);
    };
    if traces::FRAMING.contains(&given.value) {
        report.at(
            given.place,
            &path("metadata"),
            "says how a request is framed, so it cannot be taken out of it",
        );
    }
    given.value.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides};

    const KEY: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn text(complete: &str) -> String {
        format!(
            "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
            routes: [{{name: chat, upstream: agent}}, {{name: rest, upstream: agent}}]\n\
            complete: {complete}\n"
        )
    }

    fn load(complete: &str) -> Result<Complete, String> {
        config::load(Some(("f", &text(complete))), &Overrides::default())
            .map(|config| config.complete)
            .map_err(|problems| problems.to_string())
    }

    fn secret_file(secret: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secret).unwrap();
        file
    }

    #[test]
    fn everything_is_off_unless_there_is_a_destination() {
        let off = load("{routes: chat}").unwrap();
        assert!(!off.records("chat"));
        let all = load("{file: /tmp/r}").unwrap();
        assert!(all.records("chat") && all.records("rest"));
        let one = load("{file: /tmp/r, routes: [chat]}").unwrap();
        assert!(one.records("chat") && !one.records("rest"));
        assert_eq!(one.metadata, "weir-metadata");
        assert_eq!(one.max_text_bytes, 1 << 20);
    }

    #[test]
    fn a_webhook_needs_a_secret_that_is_not_shown() {
        let key = secret_file(KEY);
        let source = format!("file:{}", key.path().display());
        let url = "https://app/hooks?token=s3cret";
        let hook = load(&format!("{{url: \"{url}\", secret: \"{source}\"}}")).unwrap();
        assert!(hook.records("chat"));
        assert_eq!(hook.url.as_ref().unwrap().target, "/hooks?token=s3cret");
        let shown = format!("{hook:?}");
        assert!(
            !shown.contains("whsec_") && !shown.contains("s3cret"),
            "{shown}"
        );

        let refused = load(&format!("{{url: \"{url}\"}}")).unwrap_err();
        assert!(
            refused.contains("complete.url: needs `complete.secret`"),
            "{refused}"
        );
        for wrong in ["s3cret", "whsec_s3cret", "whsec_c2hvcnQ="] {
            let wrong = secret_file(wrong);
            let source = format!("file:{}", wrong.path().display());
            let refused = load(&format!("{{secret: \"{source}\"}}")).unwrap_err();
            assert!(refused.contains("complete.secret: "), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn mistakes_name_their_keys() {
        let key = secret_file(KEY);
        let source = format!("file:{}", key.path().display());
        for (complete, wanted) in [
            (
                format!("{{url: \"http://app\", secret: \"{source}\", file: /tmp/r}}"),
                "complete.file: cannot be set beside `complete.url`",
            ),
            (
                "{file: /tmp/r, routes: [chat, chta]}".to_owned(),
                "complete.routes[1]: no route is named `chta`; the routes are chat, rest; did you mean `chat`?",
            ),
            (
                "{metadata: Content-Length}".to_owned(),
                "complete.metadata: says how a request is framed",
            ),
            ("{metadata: \"a b\"}".to_owned(), "complete.metadata: "),
            (
                "{max_text_bytes: 1}".to_owned(),
                "complete.max_text_bytes: ",
            ),
            ("{url: \"ftp://app\"}".to_owned(), "complete.url: "),
        ] {
            let refused = load(&complete).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
        }
    }

    #[test]
    fn only_a_process_that_starts_needs_its_secret() {
        let file = secret_file(&text("{url: \"http://app\", secret: \"file:/no/such\"}"));
        let refused = config::load_file(file.path(), &Overrides::default()).unwrap_err();
        assert!(refused.to_string().contains("complete.secret"));
        let loaded = config::reload_file(file.path(), &Overrides::default()).unwrap();
        assert_eq!(loaded.complete.secret.unwrap().value, "");
    }

    #[test]
    fn what_is_effective_hides_the_path_of_the_url() {
        let key = secret_file(KEY);
        let source = format!("file:{}", key.path().display());
        let complete = format!("{{url: \"http://app:1/s3cret?a\", secret: \"{source}\"}}");
        let config = config::load(Some(("f", &text(&complete))), &Overrides::default()).unwrap();
        let effective = config::effective(&config)["complete"].clone();
        assert_eq!(effective["url"], "http://app:1/***");
        assert_eq!(effective["secret"], source);
        assert!(!effective.to_string().contains("whsec_"));
    }
}
