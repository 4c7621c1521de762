//! Checks that `docs/metrics.md` lists exactly the metric families of a scrape, with their types.
use std::collections::BTreeMap;

use crate::support::{Upstream, Weir, get};

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
