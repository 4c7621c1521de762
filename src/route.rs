//! Selects the route of a request.

use std::sync::Arc;

use http::{header, request};

use crate::config::{Match, Route};

/// Returns the position of the first route that matches the request.
pub fn find(routes: &[Arc<Route>], parts: &request::Parts) -> Option<usize> {
    let host = host(parts);
    routes
        .iter()
        .position(|route| takes(&route.matches, parts, host.as_deref()))
}

fn takes(rule: &Match, parts: &request::Parts, host: Option<&str>) -> bool {
    let path = parts.uri.path();
    below(&rule.path_prefix, path)
        // The upstream may resolve dot segments, so the resolved path must match as well (path traversal).
        && resolved(path).is_none_or(|path| below(&rule.path_prefix, &path))
        && rule
            .host
            .as_ref()
            .is_none_or(|wanted| host.is_some_and(|host| host_fits(wanted, host)))
        && rule
            .methods
            .as_ref()
            .is_none_or(|methods| methods.contains(&parts.method))
        && rule
            .headers
            .iter()
            .all(|(name, value)| parts.headers.get_all(name).iter().any(|sent| sent == value))
}

fn below(prefix: &str, path: &str) -> bool {
    let at_border = |rest: &str| rest.is_empty() || rest.starts_with('/');
    path.strip_prefix(prefix.trim_end_matches('/'))
        .is_some_and(at_border)
}

/// Returns the path without its dot segments (RFC 3986, 5.2.4), percent-encoded or not. Returns `None` if it has
/// none.
fn resolved(path: &str) -> Option<String> {
    if !path.contains('.') && !path.contains("%2e") && !path.contains("%2E") {
        return None;
    }
    let mut plain = path.to_owned();
    for (code, letter) in [
        ("%2e", "."),
        ("%2E", "."),
        ("%2f", "/"),
        ("%2F", "/"),
        ("%5c", "/"),
        ("%5C", "/"),
        ("\\", "/"),
    ] {
        plain = plain.replace(code, letter);
    }
    if !plain
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in plain.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    Some(format!("/{}", kept.join("/")))
}

fn host_fits(wanted: &str, host: &str) -> bool {
    wanted.strip_prefix('*').map_or(host == wanted, |suffix| {
        host.ends_with(suffix) && host.len() > suffix.len()
    })
}

/// Returns the requested host in lower case, without its port.
fn host(parts: &request::Parts) -> Option<String> {
    let field = || {
        parts
            .headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
    };
    let host = parts.uri.host().or_else(field)?;
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let bare = host
        .rsplit_once(':')
        .filter(|(_, port)| is_port(port))
        .map_or(host, |(name, _)| name);
    Some(bare.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, host: &str) -> request::Parts {
        http::Request::builder()
            .method(method)
            .uri(uri)
            .header("host", host)
            .header("x-tier", "a")
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    #[test]
    fn no_route_is_left_by_dots() {
        let rule = Match {
            path_prefix: "/v1".into(),
            ..Match::default()
        };
        let fits = |path: &str| takes(&rule, &parts("GET", path, "h"), None);
        for path in [
            "/v1",
            "/v1/x",
            "/v1/./x",
            "/v1/a.b",
            "/v1/..x",
            "/v1/x/../y",
            "/v1/x%2Fy",
        ] {
            assert!(fits(path), "{path}");
        }
        for path in [
            "/v1/../adm",
            "/v1/x/../../adm",
            "/v1/%2e%2E/adm",
            "/v1/..%2fadm",
            "/v1/%2e.%5Cadm",
            "/x/../v1/y",
        ] {
            assert!(!fits(path), "{path}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let rule = |prefix: &str| Match {
            path_prefix: prefix.into(),
            ..Match::default()
        };
        let fits =
            |rule: &Match, parts: &request::Parts| takes(rule, parts, host(parts).as_deref());
        let request = parts("POST", "/v1/chat", "API.example.com:8080");
        assert!(
            fits(&rule("/"), &request)
                && fits(&rule("/v1"), &request)
                && !fits(&rule("/v"), &request)
        );
        let host = |host: &str| Match {
            host: Some(host.into()),
            ..rule("/")
        };
        assert!(fits(&host("api.example.com"), &request) && fits(&host("*.example.com"), &request));
        assert!(!fits(&host("example.com"), &request));
        let method = Match {
            methods: Some(vec![http::Method::GET]),
            ..rule("/")
        };
        assert!(!fits(&method, &request));
        let header = |value: &'static str| Match {
            headers: vec![(
                http::HeaderName::from_static("x-tier"),
                http::HeaderValue::from_static(value),
            )],
            ..rule("/")
        };
        assert!(fits(&header("a"), &request) && !fits(&header("b"), &request));
    }
}
