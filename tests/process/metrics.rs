//! Checks the metrics page: `docs/metrics.md` lists exactly its families, with their types, and a scraper gets the
//! format that it asks for.

use std::collections::BTreeMap;

use crate::support::{Client, Upstream, Weir, get};

/// Returns Weir's own families in a scrape: name and type.
fn scraped(text: &str) -> BTreeMap<String, String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines
        .filter(|(name, _)| name.starts_with("weir_"))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// Returns the rows of the documentation's tables: `| weir_x | type | ...`.
fn documented(text: &str) -> BTreeMap<String, String> {
    let rows = text.lines().filter(|line| line.starts_with("| `weir_"));
    let cells = rows.map(|line| {
        line.split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect::<Vec<_>>()
    });
    cells
        .map(|cells| (cells[1].clone(), cells[2].clone()))
        .collect()
}

#[test]
fn every_family_is_documented_and_every_documented_family_exists() {
    let files = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.display(), key.display());
    let yaml = format!(
        "listen: {{ address: 127.0.0.1:0, tls: {{ cert: {cert}, key: {key} }} }}
upstreams: {{ agent: {{ endpoints: [\"$UPSTREAM\"] }} }}
routes:
  - {{ name: team, match: {{ path_prefix: /team }}, reply: {{ as: events }}, merge: {{ agents: [ {{ name: a, upstream: agent }} ] }} }}
  - {{ name: all, upstream: agent }}"
    );
    let upstream = Upstream::start();
    let weir = Weir::start(&yaml, upstream.address());
    assert_eq!(
        documented(include_str!("../../docs/metrics.md")),
        scraped(&get(&weir.admin, "/metrics"))
    );
}

#[test]
fn who_asks_for_openmetrics_gets_it() {
    let upstream = Upstream::start();
    let yaml = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }";
    let weir = Weir::start(yaml, upstream.address());
    let asked = |accept: &str| {
        let mut client = Client::connect(&weir.admin);
        client.send(format!(
            "GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        ));
        client.closed()
    };
    let text = asked("application/openmetrics-text; version=1.0.0");
    assert!(
        text.to_ascii_lowercase().contains(
            "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
        ),
        "{text}"
    );
    assert!(text.contains("\n# TYPE weir_streams counter\n"));
    assert!(text.contains("\nweir_streams_total{outcome=\"finished\",route=\"default\"} 0\n"));
    assert!(text.ends_with("\n# EOF\n"));
    let text = asked("text/plain");
    assert!(
        text.to_ascii_lowercase()
            .contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{text}"
    );
    assert!(text.contains("\n# TYPE weir_streams_total counter\n"));
    assert!(!text.contains("# EOF"));
}
