//! Writes the tables into a document, between two markers that the next run finds. A run replaces the tables of its own
//! workloads and leaves the others unchanged.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::results::Results;
use crate::table::Table;
use crate::target::Target;
use crate::workload::Workload;

const BEGIN: &str = "<!-- compare:begin -->";
const END: &str = "<!-- compare:end -->";
const HEADING: &str = "## Beside other proxies";

/// How the targets are configured, and which conclusions the figures do not support.
const READ_THIS: &str = "\
The configuration of the targets is in `benches/compare/src/target`. Each has two workers and does not buffer \
responses. All except `relay` reuse connections to the model. `direct` is no proxy. `relay` only copies bytes between \
two sockets, so it shows the least that a proxy costs, apart from opening a connection for each client. Weir reads, \
meters and bounds every event, and writes a log line for each stream; the others pass bytes on and write none, except \
`litellm`, a gateway in Python, which reads and writes every event anew. `reply`, \
`hide`, `resume-memory`, `resume-redis` and `merge` are Weir with that feature. When a \
client takes less than its model sends, Weir drops the oldest tokens of that stream (`queue.overflow`), and the \
others stop reading the model. At saturation this can happen to the load generator; the lines below a table say what \
did not arrive.

Targets take turns within a round. Figures are medians of the rounds (least..most). `x nginx` and `x weir` (ratios to \
them) and `added` (the difference to direct, which is plain HTTP/1.1 in all workloads) are computed within each round; \
the table shows their medians. `CPU` is the time of the target's threads, user and kernel.

Not measured: real networks, machines with many cores. Model, load generator and target \
share one machine, so at saturation they take time from each other. The kernel's work for a socket is charged to the \
thread that it interrupts, whichever process that belongs to. The memory of the kernel's socket buffers is not \
counted at all.
";

/// Writes the tables into a document, each in place of its predecessor or at the end.
pub fn write(
    path: &Path,
    workloads: &[Workload],
    targets: &[Target],
    results: &Results,
    command: &str,
) -> Result<()> {
    let sections: Vec<Section> = workloads
        .iter()
        .map(|workload| Section {
            name: workload.name.to_owned(),
            text: format!(
                "`{command}`\n\n{}\n\n{}",
                workload.what,
                Table::of(workload, results).markdown().trim_end()
            ),
        })
        .collect();
    let head = format!("{}\n\n{READ_THIS}", machine(targets));
    let before =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(path, place(&before, head.trim_end(), sections)?)?;
    Ok(())
}

/// The part of the document about one workload.
#[derive(Debug)]
struct Section {
    name: String,
    text: String,
}

impl Section {
    /// Returns the sections in a part of the document, after its head.
    fn of(part: &str) -> Vec<Self> {
        let section = |text: &str| {
            let (name, text) = text.split_once('\n').unwrap_or((text, ""));
            Self {
                name: name.trim().to_owned(),
                text: text.trim().to_owned(),
            }
        };
        part.split("\n### ").skip(1).map(section).collect()
    }
}

fn place(document: &str, head: &str, fresh: Vec<Section>) -> Result<String> {
    let (before, old, after) = match (document.find(BEGIN), document.find(END)) {
        (Some(begin), Some(end)) if begin < end => (
            document[..begin].to_owned(),
            &document[begin..end],
            &document[end + END.len()..],
        ),
        (None, None) => (
            format!("{}\n\n{HEADING}\n\n", document.trim_end()),
            "",
            "\n",
        ),
        _ => bail!("one of {BEGIN} and {END} is missing, or they are in the wrong order"),
    };
    let mut sections = Section::of(old);
    for section in fresh {
        match sections.iter_mut().find(|old| old.name == section.name) {
            Some(old) => *old = section,
            None => sections.push(section),
        }
    }
    let mut part = format!("{BEGIN}\n\n{head}\n\n");
    for Section { name, text } in sections {
        part.push_str(&format!("### {name}\n\n{text}\n\n"));
    }
    Ok(format!("{before}{part}{END}{after}"))
}

/// Describes the machine and the versions of the targets.
fn machine(targets: &[Target]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": an unnamed processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions: Vec<_> = targets
        .iter()
        .map(|target| format!("{} ({})", target.name, target.version))
        .collect();
    format!(
        "{cores} cores of{}, Linux {}. {}.",
        cpu.trim_start().trim_start_matches(':'),
        kernel.trim().split('-').next().unwrap_or_default(),
        versions.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(all: &[(&str, &str)]) -> Vec<Section> {
        let section = |(name, text): &(&str, &str)| Section {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        };
        all.iter().map(section).collect()
    }

    #[test]
    fn tables_take_the_place_of_tables() {
        let first = place(
            "# Title\n\nText.\n",
            "one",
            sections(&[("a", "1"), ("b", "2")]),
        )
        .unwrap();
        assert_eq!(
            first,
            format!(
                "# Title\n\nText.\n\n{HEADING}\n\n{BEGIN}\n\none\n\n### a\n\n1\n\n### b\n\n2\n\n{END}\n"
            )
        );
        let more = format!("{first}\n## More\n");
        let fresh = || sections(&[("b", "3"), ("c", "4")]);
        let second = place(&more, "two", fresh()).unwrap();
        let expected = more
            .replace("one", "two")
            .replace("### b\n\n2", "### b\n\n3\n\n### c\n\n4");
        assert_eq!(second, expected);
        assert_eq!(place(&second, "two", fresh()).unwrap(), second);
    }

    #[test]
    fn half_a_pair_of_markers_is_refused() {
        assert!(place(BEGIN, "x", Vec::new()).is_err());
        assert!(place(&format!("{END} {BEGIN}"), "x", Vec::new()).is_err());
    }
}
