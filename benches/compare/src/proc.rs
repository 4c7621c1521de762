//! What a group of processes has cost: /proc, read before and after.

use std::fs;

use anyhow::{Context, Result};

/// What was used up to a moment, summed over processes and their threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a core, in nanoseconds.
    pub cpu: u64,
    /// Ticks in user mode, and in the kernel: how `cpu` divides.
    user: u64,
    system: u64,
    /// Times that a thread gave up its core to wait.
    pub waits: u64,
}

impl Usage {
    pub fn of(processes: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            let stat = Stat::of(*process)?;
            sum.user += stat.user;
            sum.system += stat.system;
            for thread in fs::read_dir(format!("/proc/{process}/task"))? {
                let thread = thread?.path();
                // A thread may end between the two.
                let Ok(schedstat) = fs::read_to_string(thread.join("schedstat")) else {
                    continue;
                };
                let time = schedstat.split(' ').next().unwrap_or_default();
                sum.cpu += time
                    .parse::<u64>()
                    .context("/proc/PID/task/TID/schedstat")?;
                let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
                sum.waits += field(&status, "voluntary_ctxt_switches:");
            }
        }
        Ok(sum)
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            waits: self.waits.saturating_sub(before.waits),
        }
    }

    /// The part of `cpu` outside the kernel.
    pub fn user_part(&self) -> f64 {
        self.cpu as f64 * self.user as f64 / (self.user + self.system).max(1) as f64
    }
}

/// Memory that belongs to these processes, in bytes; what several of them share counts once.
pub fn memory(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for process in processes {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        sum += field(&rollup, "Pss:") * 1024;
    }
    Ok(sum)
}

/// The processes of a group.
pub fn of_group(group: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if Stat::of(process).is_ok_and(|stat| stat.group == group) {
            found.push(process);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: u32,
    user: u64,
    system: u64,
}

impl Stat {
    fn of(process: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
        Self::read(&text).context("/proc/PID/stat")
    }

    fn read(text: &str) -> Option<Self> {
        // The name of the program is in parentheses and may contain anything.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let group = fields.nth(2)?.parse().ok()?;
        let user = fields.nth(8)?.parse().ok()?;
        let system = fields.next()?.parse().ok()?;
        Some(Self {
            group,
            user,
            system,
        })
    }
}

/// The number behind a name in a file of lines.
fn field(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let line = "7 (a) b) S 1 42 42 0 -1 4194560 10 0 0 0 123 45 0 0 20 0 3 0 99 1 2";
        assert_eq!(
            Stat::read(line),
            Some(Stat {
                group: 42,
                user: 123,
                system: 45
            })
        );
    }

    #[test]
    fn a_field_is_the_number_behind_its_name() {
        let text = "Pss_Anon: 3 kB\nPss:    12 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n";
        assert_eq!(
            (
                field(text, "Pss:"),
                field(text, "voluntary_ctxt_switches:"),
                field(text, "None:")
            ),
            (12, 5, 0)
        );
    }

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        assert!(Usage::of(&[own]).unwrap().cpu > 0);
        assert!(memory(&[own]).unwrap() > 0);
    }
}
