//! The tables as a part of a document, between two markers that the next run finds.

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

/// How each target is set, and what must not be read into the figures.
const READ_THIS: &str = "\
Each target has two workers, keeps connections to the model where that is its way, and does not buffer answers; \
the configuration is in `benches/compare/src/target`. `direct` is no proxy, `relay` copies bytes between two \
sockets and is the floor, except that it keeps no connections. Weir reads, meters and bounds every event, and \
writes a log line for each stream; the others pass bytes on and write none. When a client takes less than its model \
sends, Weir drops its oldest tokens (`queue.overflow`) and the others stop reading the model; at saturation the load \
generator can be that client, and what did not arrive is told below the table. Figures are medians of the rounds \
(least..most). Targets take turns within a round; `x nginx` and `added` (to direct) compare within a round, and are \
the median of that. `CPU` is the time of the target's threads, user and kernel.

Not measured: real networks, TLS, HTTP/2, compression, large requests, many cores. Model, load and target share \
one machine: at saturation they take time from each other. What the kernel does for a socket is counted where it \
happens to run, and the memory of its buffers nowhere.
";

/// Writes the tables into a document, in the place of those of the last time, or at its end.
pub fn write(
    path: &Path,
    workloads: &[Workload],
    targets: &[Target],
    results: &Results,
    command: &str,
) -> Result<()> {
    let mut part = format!("{}\n\n`{command}`\n\n{READ_THIS}", machine(targets));
    for workload in workloads {
        let table = Table::of(workload, results).markdown();
        part.push_str(&format!(
            "\n### {}\n\n{}\n\n{table}",
            workload.name, workload.what
        ));
    }
    let before =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(path, place(&before, &part)?)?;
    Ok(())
}

fn place(document: &str, part: &str) -> Result<String> {
    let part = format!("{BEGIN}\n\n{}\n\n{END}", part.trim_end());
    match (document.find(BEGIN), document.find(END)) {
        (Some(begin), Some(end)) if begin < end => Ok(format!(
            "{}{part}{}",
            &document[..begin],
            &document[end + END.len()..]
        )),
        (None, None) => Ok(format!("{}\n\n{HEADING}\n\n{part}\n", document.trim_end())),
        _ => bail!("one of {BEGIN} and {END} is missing, or they are in the wrong order"),
    }
}

/// On what, and what.
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

    #[test]
    fn tables_take_the_place_of_tables() {
        let first = place("# Title\n\nText.\n", "one\n").unwrap();
        assert_eq!(
            first,
            format!("# Title\n\nText.\n\n{HEADING}\n\n{BEGIN}\n\none\n\n{END}\n")
        );
        let more = format!("{first}\n## More\n");
        let second = place(&more, "two").unwrap();
        assert_eq!(second, more.replace("one", "two"));
        assert_eq!(place(&second, "two").unwrap(), second);
    }

    #[test]
    fn half_a_pair_of_markers_is_refused() {
        assert!(place(BEGIN, "x").is_err());
        assert!(place(&format!("{END} {BEGIN}"), "x").is_err());
    }
}
