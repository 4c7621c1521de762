//! Which route takes a request. Nothing else.

use std::sync::Arc;

use http::{header, request};

use crate::config::{Match, Route};

/// The position of the first route that takes the request.
pub fn find(routes: &[Arc<Route>], parts: &request::Parts) -> Option<usize> {
    let host = host(parts);
    routes
        .iter()
        .position(|route| takes(&route.matches, parts, host.as_deref()))
}

fn takes(rule: &Match, parts: &request::Parts, host: Option<&str>) -> bool {
    let prefix = rule.path_prefix.trim_end_matches('/');
    let at_border = |rest: &str| rest.is_empty() || rest.starts_with('/');
    let path = parts.uri.path();
    path.strip_prefix(prefix).is_some_and(at_border)
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

fn host_fits(wanted: &str, host: &str) -> bool {
    wanted.strip_prefix('*').map_or(host == wanted, |suffix| {
        host.ends_with(suffix) && host.len() > suffix.len()
    })
}

/// The host asked for, lower case, without its port.
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
