//! Which pages may open a bridge: browsers let any page open a WebSocket to any host, with the cookies of its user.

use http::{HeaderMap, Uri, header};

use crate::config::AllowedOrigin;

/// Reports whether the page that asks may. `allowed` is empty if that is for pages of the same host, `host` is the one
/// that the request asks for. A client that sends no origin is no browser, and can send whatever it likes.
pub(crate) fn is_allowed(
    headers: &HeaderMap,
    host: Option<&str>,
    allowed: &[AllowedOrigin],
) -> bool {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = given.next() else {
        return true;
    };
    let Some(origin) = origin.to_str().ok().filter(|_| given.next().is_none()) else {
        return false;
    };
    if allowed.is_empty() {
        return host.is_some_and(|host| is_same(origin, host));
    }
    allowed.iter().any(|entry| entry.allows(origin))
}

/// Reports whether an origin is that of a host. The scheme is not compared, because TLS may end before Weir.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, _)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let Some(uri) = origin.parse::<Uri>().ok() else {
        return false;
    };
    let Some(own) = uri.authority() else {
        return false;
    };
    let plain = |text: &str| {
        let lower = text.to_ascii_lowercase();
        lower.strip_suffix(default).unwrap_or(&lower).to_owned()
    };
    !own.as_str().contains('@') && plain(own.as_str()) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &[&str], host: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        is_allowed(&headers, host, &[])
    }

    #[test]
    fn a_page_of_the_same_host_may() {
        for (origin, host, may) in [
            ("https://a.example", "a.example", true),
            ("http://a.example", "a.example", true),
            ("https://A.example", "a.EXAMPLE", true),
            ("https://a.example:443", "a.example", true),
            ("https://a.example", "a.example:443", true),
            ("http://localhost:3000", "localhost:3000", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://localhost:3000", "localhost:8080", false),
            ("http://a.example", "a.example:443", false),
            ("https://b.example", "a.example", false),
            ("https://a.example.evil", "a.example", false),
            ("https://a.example@evil", "evil", false),
            ("null", "a.example", false),
            ("", "a.example", false),
            ("file://a.example", "a.example", false),
        ] {
            assert_eq!(allowed(&[origin], Some(host)), may, "{origin} {host}");
        }
        assert!(!allowed(&["https://a.example"], None));
    }

    #[test]
    fn a_client_without_an_origin_is_no_browser() {
        assert!(allowed(&[], Some("a.example")));
        assert!(!allowed(
            &["https://a.example", "https://a.example"],
            Some("a.example")
        ));
    }

    #[test]
    fn a_list_replaces_the_rule() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, "https://a.example".parse().unwrap());
        let other = [AllowedOrigin::Exact("https://b.example".to_owned())];
        assert!(!is_allowed(&headers, Some("a.example"), &other));
        assert!(is_allowed(&headers, None, &[AllowedOrigin::Any]));
    }
}
