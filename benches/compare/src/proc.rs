//! The resources that a group of processes has used: /proc, read before and after.

use std::fs;

use anyhow::{Context, Result};

/// Resources used so far, summed over processes and their threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, in nanoseconds.
    pub cpu: u64,
    /// Timer ticks in user mode and in the kernel, which divide `cpu`.
    user: u64,
    system: u64,
    /// How often a thread gave up its core to wait.
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
                // A thread may end between the two reads.
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

    /// Returns the part of `cpu` spent outside the kernel.
    pub fn user_part(&self) -> f64 {
        self.cpu as f64 * self.user as f64 / (self.user + self.system).max(1) as f64
    }
}

/// Returns the memory of these processes, in bytes. Shared memory counts once.
pub fn memory(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for process in processes {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        sum += field(&rollup, "Pss:") * 1024;
    }
    Ok(sum)
}

/// Bytes in the kernel's buffers for this machine's TCP connections to and from a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Written by the side that owns the port and not yet read by the other: the buffers of both ends.
    pub from: u64,
    /// Received by the other side and not yet read there.
    pub received: u64,
}

/// Returns what the kernel buffers for connections to `port`.
pub fn hidden(port: u16) -> Result<Hidden> {
    Ok(Hidden::read(&fs::read_to_string("/proc/net/tcp")?, port))
}

impl Hidden {
    fn read(table: &str, port: u16) -> Self {
        const ESTABLISHED: &str = "01";
        let mut hidden = Self::default();
        for line in table.lines().skip(1) {
            let mut fields = line.split_whitespace().skip(1);
            let mut next = || fields.next().unwrap_or_default();
            let (local, remote, state, queues) = (next(), next(), next(), next());
            let port_of = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
            let Some((sent, received)) = queues.split_once(':').filter(|_| state == ESTABLISHED)
            else {
                continue;
            };
            let number = |text| u64::from_str_radix(text, 16).unwrap_or_default();
            if port_of(local) == Some(port) {
                hidden.from += number(sent);
            } else if port_of(remote) == Some(port) {
                hidden.from += number(received);
                hidden.received += number(received);
            }
        }
        hidden
    }
}

/// Returns the processes of a process group.
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

/// Returns the number after a name in a file with one entry per line.
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
    fn what_the_kernel_hides_is_summed_by_port() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000009 00:00000000
   1: 0100007F:1F90 0100007F:D304 01 00000010:00000001 00:00000000
   2: 0100007F:D304 0100007F:1F90 01 00000002:00000100 00:00000000
   3: 0100007F:D304 0100007F:1F91 01 00000004:00000200 00:00000000
   4: 0100007F:D305 0100007F:1F90 06 00000400:00000400 00:00000000
";
        assert_eq!(
            Hidden::read(table, 8080),
            Hidden {
                from: 0x110,
                received: 0x100
            }
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
