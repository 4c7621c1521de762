//! The URLs that are examined.

use std::fmt;

use http::Uri;

/// Where a URL leads, and how it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) tls: bool,
    /// The value of `Host`.
    pub(crate) authority: String,
    /// The path, and the query if there is one.
    pub(crate) path: String,
}

/// What to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(String, u16),
    Unix(String),
}

impl Target {
    /// Parses `http://HOST:PORT/PATH`, `https://...` or `unix:/PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err("expected unix: and the absolute path of a socket".to_owned());
            }
            return Ok(Self {
                place: Place::Unix(path.to_owned()),
                tls: false,
                authority: "localhost".to_owned(),
                path: "/".to_owned(),
            });
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("expected a URL with its scheme: did you mean http://...?".to_owned());
        };
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err("expected http://, https:// or unix:/".to_owned()),
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.contains('@') {
            return Err(
                "expected no user and password in the URL: give them as -H 'Authorization: Basic ...'"
                    .to_owned(),
            );
        }
        let without_fragment = text.split('#').next().unwrap_or_default();
        let wrong = || "is not a valid URL".to_owned();
        let uri: Uri = without_fragment.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let name = authority.host();
        if name.is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            place: Place::Tcp(name.trim_matches(['[', ']']).to_owned(), port),
            tls,
            authority: authority.as_str().to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }

    /// Reports whether the URL names a host only, and nothing on it.
    pub(crate) fn is_root(&self) -> bool {
        self.path == "/"
    }

    /// Returns the query, unless it is empty. It may be secret.
    pub(crate) fn query(&self) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        (!query.is_empty()).then_some(query)
    }

    /// Returns `whole`, a path such as `/v1/messages`, at this target if it names a host only, or ends where the first
    /// part of `whole` does, as base URLs of SDKs do; otherwise `None`. The query stays.
    pub(crate) fn completed(&self, whole: &str) -> Option<String> {
        if self.is_root() {
            return Some(whole.to_owned());
        }
        let bare = self.bare_path().trim_end_matches('/');
        let (first, rest) = whole.get(1..)?.split_once('/')?;
        let base = bare.strip_suffix(first)?;
        if !base.ends_with('/') {
            return None;
        }
        let query = self.query().map(|query| format!("?{query}"));
        Some(format!("{bare}/{rest}{}", query.unwrap_or_default()))
    }

    /// Returns the path without the query.
    pub(crate) fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

impl fmt::Display for Target {
    /// Shows the URL without its query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "unix:{path}"),
            Place::Tcp(..) => {
                let scheme = if self.tls { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.authority)?;
                if self.is_root() {
                    return Ok(());
                }
                f.write_str(self.bare_path())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_query() {
        for (text, shown) in [
            ("http://a", "http://a"),
            ("http://a:8080/", "http://a:8080"),
            (
                "https://a.test/v1/chat?key=s3cret",
                "https://a.test/v1/chat",
            ),
            ("http://a?key=s3cret", "http://a/"),
            ("http://[::1]:80/x#f", "http://[::1]:80/x"),
            ("unix:/run/weir.sock", "unix:/run/weir.sock"),
        ] {
            assert_eq!(Target::parse(text).unwrap().to_string(), shown);
        }
        let target = Target::parse("https://[::1]/x?y").unwrap();
        assert_eq!(target.place, Place::Tcp("::1".to_owned(), 443));
        assert_eq!((target.path.as_str(), target.query()), ("/x?y", Some("y")));
        for without in ["http://a", "http://a/x?", "unix:/x"] {
            assert_eq!(Target::parse(without).unwrap().query(), None);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for text in [
            "",
            "a:8080",
            "127.0.0.1",
            "ftp://a",
            "http://",
            "http://u:s3cret@a/",
            "unix:x",
            "http://a b/",
        ] {
            let error = Target::parse(text).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(Target::parse("a:1").unwrap_err().contains("http://"));
    }
}
