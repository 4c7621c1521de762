//! Protects the admin listener against cross-site request forgery and DNS rebinding: a page from anywhere can make the
//! browser send requests to any address that its machine can reach.

use http::{HeaderMap, HeaderName, Request, header};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns why a request is refused, or `None` if it is allowed. `local` is true if the listener has a loopback
/// address.
pub(super) fn refuse<B>(request: &Request<B>, local: bool) -> Option<&'static str> {
    let headers = request.headers();
    // DNS rebinding: a page under a public name that resolves to this machine has the same origin as the listener.
    if local && host(headers).is_some_and(is_public_name) {
        return Some("expected Host to be localhost or an address\n");
    }
    if request.uri().path() == "/drain" && is_foreign(headers) {
        return Some("a page of another site cannot drain\n");
    }
    None
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

fn is_public_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.contains('.')
        && !name.to_ascii_lowercase().ends_with(".localhost")
        && name.parse::<std::net::IpAddr>().is_err()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get(SITE).and_then(|value| value.to_str().ok());
    let elsewhere = site.is_some_and(|site| !matches!(site, "none" | "same-origin"));
    let origin = headers
        .get(header::ORIGIN)
        .map(|value| value.to_str().unwrap_or_default());
    let own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some() && authority == host(headers)
    };
    elsewhere || origin.is_some_and(|origin| !own(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        refuse(&request.body(()).unwrap(), true).is_some()
    }

    #[test]
    fn public_names_are_refused_on_loopback() {
        for host in [
            "localhost:9464",
            "127.0.0.1:9464",
            "[::1]:9464",
            "127.8.8.8",
            "a.localhost",
            "weir:9464",
            "10.0.0.1",
        ] {
            assert!(!refused("/streams", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:9464",
            "127.0.0.1.evil.example",
        ] {
            assert!(refused("/streams", &[("host", host)]), "{host}");
        }
        assert!(!refused("/streams", &[]));
    }

    #[test]
    fn other_sites_cannot_drain() {
        let own = ("host", "localhost:1");
        assert!(!refused("/drain", &[own]));
        assert!(!refused("/drain", &[own, ("origin", "http://localhost:1")]));
        assert!(!refused(
            "/drain",
            &[own, ("sec-fetch-site", "same-origin")]
        ));
        assert!(refused("/drain", &[own, ("origin", "http://evil.example")]));
        assert!(refused("/drain", &[own, ("origin", "null")]));
        assert!(refused("/drain", &[own, ("sec-fetch-site", "cross-site")]));
        assert!(
            !refused("/streams", &[own, ("sec-fetch-site", "cross-site")]),
            "a link may lead here"
        );
    }
}
