//! The results of all rounds, in memory and as lines of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::load::Errors;
use crate::workload::Row;

#[derive(Debug)]
pub struct Results {
    /// In the order in which the targets are listed.
    targets: Vec<&'static str>,
    /// By round, workload, target.
    rows: BTreeMap<(usize, &'static str, &'static str), Row>,
    raw: File,
}

impl Results {
    pub fn new(targets: Vec<&'static str>, raw: &Path) -> Result<Self> {
        if let Some(directory) = raw.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let raw = File::create(raw).with_context(|| format!("cannot write {}", raw.display()))?;
        Ok(Self {
            targets,
            rows: BTreeMap::new(),
            raw,
        })
    }

    pub fn add(
        &mut self,
        round: usize,
        workload: &'static str,
        target: &'static str,
        row: Row,
    ) -> Result<()> {
        // JSON has no infinity; null means never.
        let Row {
            values,
            errors,
            notes,
        } = &row;
        let line = json!({
            "round": round, "workload": workload, "target": target,
            "values": values, "errors": errors, "notes": notes,
        });
        writeln!(self.raw, "{line}")?;
        self.rows.insert((round, workload, target), row);
        Ok(())
    }

    /// Returns the targets that took part in a workload.
    pub fn targets(&self, workload: &str) -> Vec<&'static str> {
        let part = |target: &&str| {
            self.rows
                .keys()
                .any(|key| key.1 == workload && key.2 == *target)
        };
        self.targets.iter().copied().filter(part).collect()
    }

    /// Returns one number for every round, in order; `None` for a round that has none.
    pub fn values(&self, workload: &str, target: &str, column: &str) -> Vec<Option<f64>> {
        self.of(workload, target)
            .map(|row| row.values.get(column).copied())
            .collect()
    }

    /// Returns the errors, summed over the rounds, and the notes, each once with the targets that it is about.
    pub fn remarks(&self, workload: &str) -> Vec<String> {
        let mut remarks: Vec<(String, Vec<&str>)> = Vec::new();
        let mut add =
            |remark: String, target| match remarks.iter_mut().find(|known| known.0 == remark) {
                Some((_, targets)) => targets.push(target),
                None => remarks.push((remark, vec![target])),
            };
        for target in &self.targets {
            let mut errors = Errors::new();
            let mut notes = BTreeSet::new();
            for row in self.of(workload, target) {
                for (what, times) in &row.errors {
                    *errors.entry(what.clone()).or_default() += times;
                }
                notes.extend(row.notes.iter().cloned());
            }
            for (what, times) in errors {
                add(format!("{times} x {what}"), *target);
            }
            for note in notes {
                add(note, *target);
            }
        }
        remarks
            .into_iter()
            .map(|(remark, targets)| format!("{}: {remark}", targets.join(", ")))
            .collect()
    }

    fn of(&self, workload: &str, target: &str) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(move |((_, w, t), _)| *w == workload && *t == target)
            .map(|(_, row)| row)
    }
}
