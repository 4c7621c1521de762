//! Logs at the start what runs, where it listens, and where each route leads.

use crate::config::{self, Config, Route, Upstream};
use crate::release::features;
use crate::server::listener::Bound;

/// How many routes the log line names.
const MAX_ROUTES: usize = 100;
/// How many endpoints of an upstream it names.
const MAX_ENDPOINTS: usize = 3;

/// Writes the line. `listeners` are URLs, `admin` is the address of the admin listener if there is one.
pub(super) fn announce(config: &Config, listeners: &[String], admin: Option<&str>) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        features = features().join(", "),
        workers = config.workers,
        listeners = listeners.join("; "),
        routes = routes(
            &config
                .routes
                .iter()
                .map(|route| leads(route))
                .collect::<Vec<_>>()
        ),
        admin = admin.map_or_else(|| "off".to_owned(), admin_url),
        "started"
    );
}

/// Returns the URL of a listener.
pub(super) fn url_of(bound: &Bound) -> String {
    let scheme = if bound.certificate().is_some() {
        "https"
    } else {
        "http"
    };
    url(scheme, &bound.address)
}

fn admin_url(address: &str) -> String {
    let url = url("http", address);
    if url.starts_with("http") {
        format!("{url}/")
    } else {
        url
    }
}

/// Returns the URL of an address. A Unix socket has none.
fn url(scheme: &str, address: &str) -> String {
    if address.starts_with("unix:") {
        address.to_owned()
    } else {
        format!("{scheme}://{address}")
    }
}

fn routes(all: &[String]) -> String {
    let shown = all.get(..MAX_ROUTES).unwrap_or(all).join("; ");
    match all.len().saturating_sub(MAX_ROUTES) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// Returns where a route leads.
fn leads(route: &Route) -> String {
    let to: Vec<String> = route.upstreams().map(|upstream| shown(upstream)).collect();
    format!("{} \u{2192} {}", route.name, to.join(" + "))
}

fn shown(upstream: &Upstream) -> String {
    let endpoints = &upstream.endpoints;
    let mut urls: Vec<String> = (endpoints.iter().take(MAX_ENDPOINTS))
        .map(config::shown_endpoint)
        .collect();
    if let more @ 1.. = endpoints.len().saturating_sub(MAX_ENDPOINTS) {
        urls.push(format!("{more} more"));
    }
    format!("{} ({})", upstream.name, urls.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn each_route_says_where_it_leads() {
        let text = "upstreams:
  a: { endpoints: [\"http://h:1\", \"http://h:2\", \"http://h:3\", \"http://h:4\", \"http://h:5\"] }
  b: { endpoints: [\"unix:/run/b.sock\"] }
routes:
  - { name: one, upstream: a, match: { path_prefix: /a } }
  - { name: two, upstream: b }
";
        let config = config::load(Some(("f", text)), &Overrides::default()).unwrap();
        let leads: Vec<String> = config.routes.iter().map(|route| leads(route)).collect();
        assert_eq!(
            leads,
            [
                "one \u{2192} a (http://h:1, http://h:2, http://h:3, 2 more)",
                "two \u{2192} b (unix:/run/b.sock)"
            ]
        );
    }

    #[test]
    fn the_line_is_bounded() {
        let all = vec!["r".to_owned(); MAX_ROUTES + 7];
        assert!(routes(&all).ends_with("r; r; and 7 more"));
        assert_eq!(routes(&all[..2]), "r; r");
    }

    #[test]
    fn addresses_are_urls() {
        assert_eq!(url("https", "[::1]:8443"), "https://[::1]:8443");
        assert_eq!(url("http", "unix:/run/w.sock"), "unix:/run/w.sock");
        assert_eq!(admin_url("127.0.0.1:9464"), "http://127.0.0.1:9464/");
        assert_eq!(admin_url("unix:/run/a.sock"), "unix:/run/a.sock");
    }
}
