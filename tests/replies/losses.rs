//! The table in `docs/replies.md` of what each target cannot say.
//!
//! `WEIR_BLESS=1 cargo test --test replies` rewrites it; review it like code.

use std::fs;

use weir::dialect::{Choice, Dialect};
use weir::translate::{KINDS, Target};

use crate::support::fixtures;
use crate::translated;

const DOCS: &str = "docs/replies.md";
const BEGIN: &str = "<!-- lost:begin -->\n\n";
const END: &str = "\n<!-- lost:end -->";

/// Returns the kinds of things that a target's clients are not told of the fixtures of a dialect.
fn cell(dialect: Dialect, target: Target) -> String {
    let mut lost = [0_u64; KINDS.len()];
    for fixture in fixtures(dialect) {
        let choice = Choice::Fixed(dialect);
        let got = translated(&fixture, &fixture.bytes, target, choice);
        for (sum, count) in lost.iter_mut().zip(got.lost.0) {
            *sum += count;
        }
    }
    let counted = KINDS.into_iter().zip(lost);
    let kinds: Vec<&str> = counted
        .filter_map(|(kind, count)| (count > 0).then_some(kind))
        .collect();
    if kinds.is_empty() {
        "-".to_owned()
    } else {
        kinds.join(", ")
    }
}

fn row(first: &str, cells: &[String]) -> String {
    format!("| {first} | {} |\n", cells.join(" | "))
}

fn table() -> String {
    let names = Target::ALL.map(|target| format!("`{}`", target.as_str()));
    let line = format!("|{}\n", "---|".repeat(1 + names.len()));
    let mut rows = vec![row("agent", &names), line];
    for dialect in Dialect::ALL {
        if !dialect.is_opaque() {
            let cells = Target::ALL.map(|target| cell(dialect, target));
            rows.push(row(&format!("`{}`", dialect.as_str()), &cells));
        }
    }
    rows.concat()
}

#[test]
fn the_docs_say_what_each_target_loses() {
    let docs = fs::read_to_string(DOCS).unwrap();
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("WEIR_BLESS").is_some() {
        fs::write(DOCS, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "run with WEIR_BLESS=1");
}
