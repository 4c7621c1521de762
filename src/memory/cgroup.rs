//! The memory that the process may use, and how much of it is used, as Linux accounts it for control groups
//! (cgroups).
//!
//! Both versions of cgroups are read, in containers and outside. `/proc/self/cgroup` names the group of the
//! process; the limits of all groups above it apply as well.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group with a memory limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    folder: PathBuf,
    files: &'static Files,
    /// Bytes.
    pub(super) limit: u64,
}

/// The file names of one version of cgroups.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    used: &'static str,
    /// The lines of `memory.stat` for the page cache, which the kernel reclaims before it kills a process.
    files: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};
const V2: Files = Files {
    limit: "memory.max",
    used: "memory.current",
    files: ["inactive_file", "active_file"],
};
/// Version 1 writes a number of this order if there is no limit.
const NO_LIMIT: u64 = 1 << 60;

impl Group {
    /// Returns the groups that limit this process, the smallest limit first. Any of them may be the first to
    /// be full, because other processes share the larger ones.
    pub(super) fn own() -> Vec<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find(Path::new("/sys/fs/cgroup"), &groups)
    }

    fn find(root: &Path, groups: &str) -> Vec<Self> {
        let mut limited = Vec::new();
        for (top, path, files) in groups.lines().filter_map(|line| place(root, line)) {
            // In a container, the path may be that of the host. Then only its last part exists here, or none
            // of it.
            let own = top.join(path.trim_start_matches('/'));
            for folder in own.ancestors().take_while(|it| it.starts_with(&top)) {
                let limit = number(&folder.join(files.limit)).filter(|it| *it < NO_LIMIT);
                let folder = folder.to_path_buf();
                limited.extend(limit.map(|limit| Self {
                    folder,
                    files,
                    limit,
                }));
            }
        }
        limited.sort_by_key(|group| group.limit);
        limited
    }

    /// Returns the bytes in use that the kernel cannot reclaim. It kills a process when these reach the
    /// limit.
    pub(super) fn used(&self) -> Option<u64> {
        let used = number(&self.folder.join(self.files.used))?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let line = |name: &str| {
            stat.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let files = self
            .files
            .files
            .iter()
            .filter_map(|name| line(name)?.trim().parse::<u64>().ok());
        Some(used.saturating_sub(files.sum()))
    }
}

/// Parses a line of `/proc/self/cgroup`, `number:controllers:path`. Returns the top folder, the path below it
/// and the file names for memory, or `None` if the line is not about memory.
fn place<'a>(root: &Path, line: &'a str) -> Option<(PathBuf, &'a str, &'static Files)> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    if controllers.is_empty() {
        Some((root.to_path_buf(), path, &V2))
    } else if controllers.split(',').any(|one| one == "memory") {
        Some((root.join("memory"), path, &V1))
    } else {
        None
    }
}

/// Returns the number in a file; `None` if there is none, as for `max`.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Returns the resident memory of this process, in bytes.
pub(super) fn resident() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Returns the memory of the machine, in bytes.
pub(super) fn machine() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemTotal:")
}

/// Returns the bytes in the line of `file` that begins with `name`.
fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn every_limit_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("pod");
        let used = [
            ("memory.current", "900\n"),
            ("memory.stat", "anon 1\ninactive_file 150\nactive_file 50\n"),
        ];
        write(&pod, &[("memory.max", "1000\n"), used[0], used[1]]);
        write(
            &pod.join("weir"),
            &[("memory.max", "max\n"), ("memory.current", "5\n")],
        );
        write(
            root.path(),
            &[("memory.max", "5000\n"), ("memory.current", "4900\n")],
        );
        let groups = Group::find(root.path(), "0::/pod/weir\n");
        let uses: Vec<_> = groups.iter().map(|it| (it.limit, it.used())).collect();
        assert_eq!(uses, [(1000, Some(700)), (5000, Some(4900))]);
    }

    #[test]
    fn a_container_may_see_only_its_own_group() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[("memory.max", "1000\n"), ("memory.current", "10\n")],
        );
        let group = Group::find(root.path(), "0::/../../kubepods/pod/weir\n");
        assert_eq!(group.first().map(|group| group.limit), Some(1000));
    }

    #[test]
    fn the_first_version_is_read_too() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("memory/docker/weir");
        let stat = ("memory.stat", "inactive_file 1\ntotal_inactive_file 30\n");
        let used = ("memory.usage_in_bytes", "100\n");
        write(&own, &[("memory.limit_in_bytes", "4096\n"), used, stat]);
        let lines = "12:cpu,cpuacct:/x\n9:memory:/docker/weir\n1:name=systemd:/y\n";
        let groups = Group::find(root.path(), lines);
        let uses: Vec<_> = groups.iter().map(|it| (it.limit, it.used())).collect();
        assert_eq!(uses, [(4096, Some(70))]);
    }

    #[test]
    fn no_limit_is_none() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("memory.max", "max\n")]);
        assert_eq!(Group::find(root.path(), "0::/\n"), []);
        write(
            &root.path().join("memory"),
            &[("memory.limit_in_bytes", "9223372036854771712\n")],
        );
        assert_eq!(Group::find(root.path(), "9:memory:/\n"), []);
        assert_eq!(Group::find(root.path(), "nonsense"), []);
    }

    #[test]
    fn a_process_has_memory() {
        assert!(resident().is_some_and(|bytes| bytes > 100_000));
    }
}
