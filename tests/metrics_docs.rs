//! `docs/metrics.md` names every family that a scrape has, with its type, and no other.
#![expect(
    clippy::indexing_slicing,
    reason = "test code: a broken table must stop the test"
)]

use std::collections::BTreeMap;

use weir::metrics::Metrics;

/// Families of a scrape: name and type, Weir's own.
fn scraped(text: &str) -> BTreeMap<String, String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines
        .filter(|(name, _)| name.starts_with("weir_"))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// Rows of the documentation's tables: `| weir_x | type | ...`.
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
    let metrics = Metrics::new();
    metrics
        .route("chat")
        .request("stream", http::StatusCode::OK);
    assert_eq!(
        documented(include_str!("../docs/metrics.md")),
        scraped(&metrics.encode())
    );
}
