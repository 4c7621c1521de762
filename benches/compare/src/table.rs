//! Formats the rounds of a workload as a table.

use crate::results::Results;
use crate::stats::{paired, ratios, summary};
use crate::target::is_weir;
use crate::workload::Workload;

/// The target that ratios refer to, and the one whose value is subtracted.
const REFERENCE: &str = "nginx";
/// The target that Weir in other forms is compared with.
const OWN: &str = "weir";
const FLOOR: &str = "direct";

#[derive(Debug)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Deviations from what was asked, and other notes for the reader, each with its target.
    pub remarks: Vec<String>,
}

impl Table {
    pub fn of(workload: &Workload, results: &Results) -> Self {
        let targets = results.targets(workload.name);
        let mut head = vec![String::new()];
        let mut rows: Vec<_> = targets
            .iter()
            .map(|target| vec![(*target).to_owned()])
            .collect();
        for column in workload.columns {
            let values = |target: &str| results.values(workload.name, target, column.name);
            head.push(column.name.trim_end().to_owned());
            for (row, target) in rows.iter_mut().zip(&targets) {
                let present: Vec<f64> = values(target).into_iter().flatten().collect();
                row.push(match summary(&present) {
                    None => "-".to_owned(),
                    Some(all) if present.len() == 1 => number(all.median, column.digits),
                    Some(all) => format!(
                        "{} ({}..{})",
                        number(all.median, column.digits),
                        number(all.least, column.digits),
                        number(all.most, column.digits)
                    ),
                });
            }
            let is_beside_own = targets.iter().any(|target| is_weir(target));
            for (reference, is_shown) in [(REFERENCE, true), (OWN, is_beside_own)] {
                if !column.ratio || !is_shown || !targets.contains(&reference) {
                    continue;
                }
                head.push(format!("x {reference}"));
                for (row, target) in rows.iter_mut().zip(&targets) {
                    let ratios = ratios(&values(target), &values(reference));
                    row.push(match summary(&ratios) {
                        None => "-".to_owned(),
                        Some(all) if ratios.len() == 1 || *target == reference => {
                            number(all.median, 2)
                        }
                        Some(all) => format!(
                            "{} ({}..{})",
                            number(all.median, 2),
                            number(all.least, 2),
                            number(all.most, 2)
                        ),
                    });
                }
            }
            if column.added && targets.contains(&FLOOR) {
                head.push("added".to_owned());
                for (row, target) in rows.iter_mut().zip(&targets) {
                    let added = paired(&values(target), &values(FLOOR), |ours, theirs| {
                        ours - theirs
                    });
                    row.push(
                        added.map_or_else(|| "-".to_owned(), |added| number(added, column.digits)),
                    );
                }
            }
        }
        Self {
            head,
            rows,
            remarks: results.remarks(workload.name),
        }
    }

    pub fn aligned(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .filter_map(|line| line.get(column))
                .map(String::len)
                .max()
                .unwrap_or(0)
        };
        let mut text = String::new();
        for line in lines() {
            for (column, cell) in line.iter().enumerate() {
                let width = width(column);
                let cell = if column == 0 {
                    format!("{cell:width$}")
                } else {
                    format!("  {cell:>width$}")
                };
                text.push_str(&cell);
            }
            text.push('\n');
        }
        for remark in &self.remarks {
            text.push_str(&format!("! {remark}\n"));
        }
        text
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.head);
        text.push_str(&format!("|---|{}\n", "--:|".repeat(self.head.len() - 1)));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        for remark in &self.remarks {
            text.push_str(&format!("\n- {remark}"));
        }
        if !self.remarks.is_empty() {
            text.push('\n');
        }
        text
    }
}

fn number(value: f64, digits: usize) -> String {
    if value.is_infinite() {
        return "never".to_owned();
    }
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, whole) = whole
        .strip_prefix('-')
        .map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1234.567, 1), "1,234.6");
        assert_eq!(number(-1_234_567.0, 0), "-1,234,567");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(f64::INFINITY, 2), "never");
    }
}
