//! Parses what names a webhook: its URL, and the header of what its caller wants to find there.
//!
//! The path and the query of the URL may hold a token, so neither messages nor `Debug` repeat them.

use std::fmt;

use http::HeaderName;
use http::uri::PathAndQuery;

use crate::config::{Endpoint, address, scheme};

/// The URL of a webhook.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    /// Scheme, host and port.
    pub endpoint: Endpoint,
    /// Path and query.
    pub target: PathAndQuery,
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookUrl")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Parses the URL of a webhook: `http://` or `https://`, with any path and query.
pub(crate) fn url(text: &str) -> Result<HookUrl, String> {
    let begins = |scheme: &str| text.starts_with(scheme);
    if !begins("http://") && !begins("https://") {
        let hint = scheme::hint(text, "https");
        return Err(format!(
            "is not a URL that begins with `http://` or `https://`{hint}"
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters that a URL cannot contain".to_owned());
    }
    if text.contains('#') {
        return Err("a fragment is not allowed in the URL of a webhook".to_owned());
    }
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    let end = text
        .get(after_scheme..)
        .and_then(|rest| rest.find(['/', '?']))
        .map_or(text.len(), |at| after_scheme + at);
    let (origin, rest) = text.split_at(end);
    if origin.contains('@') {
        return Err("user and password are not supported in a URL; requests are signed".to_owned());
    }
    let target = match rest.strip_prefix('/') {
        Some(_) => rest.to_owned(),
        None => format!("/{rest}"),
    };
    Ok(HookUrl {
        endpoint: address::endpoint(origin)?,
        target: target
            .parse()
            .map_err(|_| "the path of the URL is not valid".to_owned())?,
    })
}

/// Parses the name of a header.
pub(crate) fn field(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| "is not the name of a header".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_are_kept_and_not_shown() {
        for (text, authority, target, tls) in [
            ("http://app", "app", "/", false),
            ("http://app:8080/", "app:8080", "/", false),
            (
                "https://app/hooks/?token=s3cret",
                "app",
                "/hooks/?token=s3cret",
                true,
            ),
            ("https://app?token=s3cret", "app", "/?token=s3cret", true),
            ("http://[::1]:80/a@b", "[::1]:80", "/a@b", false),
        ] {
            let url = url(text).unwrap();
            let endpoint = &url.endpoint;
            assert_eq!(
                (&*endpoint.authority, endpoint.tls),
                (authority, tls),
                "{text}"
            );
            assert_eq!(url.target, target, "{text}");
            assert!(!format!("{url:?}").contains("s3cret"));
        }
        for text in [
            "",
            "app/s3cret",
            "unix:/run/s3cret.sock",
            "dns+http://app/s3cret",
            "http:///s3cret",
            "http://a:s3cret@app/",
            "http://app:x/s3cret",
            "http://app/s3cret#a",
            "http://app/s3cret\u{7f}",
            "http://app/s3cret a",
        ] {
            let refused = url(text).unwrap_err();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
