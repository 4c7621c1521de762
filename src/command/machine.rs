//! What `weir check` finds out about this machine: whether its memory is enough, and whether the addresses to listen on
//! are free.

use crate::config::{self, Address, Config, Listening, MemoryLimit, Problem, rough_size};
use crate::memory;
use crate::server::{holder, socket};

/// The memory that there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// The limit from which on Weir sheds load; `None` if there is none.
    pub(super) limit: Option<u64>,
    /// The memory of the machine, if it is known.
    pub(super) machine: Option<u64>,
}

impl Memory {
    /// Reads what the system says.
    pub(super) fn read(limit: MemoryLimit) -> Self {
        Self {
            limit: memory::limit(limit),
            machine: memory::machine(),
        }
    }

    /// Returns how much Weir can use at most.
    pub(super) fn most(self) -> Option<u64> {
        self.limit.into_iter().chain(self.machine).min()
    }

    /// Says that what the configuration allows is more than there is.
    ///
    /// With a limit, full queues are no reason to warn: stalled clients lose their streams before memory runs out.
    pub(super) fn too_little_for(self, config: &Config) -> Option<Problem> {
        let (queues, journals) = (config::queue_bytes(config), config::journal_bytes(config));
        let held = queues.saturating_add(journals);
        let parts = if journals > 0 {
            format!(
                "full queues ({}) and journals ({}) together are",
                rough_size(queues),
                rough_size(journals)
            )
        } else {
            format!("full queues ({}) are", rough_size(queues))
        };
        let lower =
            "lower limits.max_streams, resume.max_viewers, queue.max_bytes or resume.total_bytes";
        let message = match (self.limit, self.machine) {
            (Some(limit), Some(machine)) if limit > machine => format!(
                "the limit ({}) is more than the memory of the machine ({}), so it protects nothing",
                rough_size(limit),
                rough_size(machine)
            ),
            (Some(limit), _) if journals > 0 && held > limit => {
                format!(
                    "{parts} more than the limit ({}); {lower}",
                    rough_size(limit)
                )
            }
            (None, Some(machine)) if held > machine => format!(
                "{parts} more than the memory of the machine ({}), and there is no limit from which on Weir refuses requests; set one, or {lower}",
                rough_size(machine)
            ),
            (None, Some(machine)) => return too_little_at_worst(config, machine),
            (Some(_) | None, _) => return None,
        };
        Some(problem(config, "limits.memory", message))
    }
}

/// Says that the worst case is more than the memory of the machine, if the file sets what it depends on.
fn too_little_at_worst(config: &Config, machine: u64) -> Option<Problem> {
    let worst = config::worst_case_bytes(config);
    let key = config::worst_case_key(config).filter(|_| worst > machine)?;
    let message = format!(
        "the worst case, every stream with events of max_event_bytes, takes {}, the machine has {}, and there is no limit from which on Weir refuses requests; set limits.memory, or lower limits.max_streams or max_event_bytes",
        rough_size(worst),
        rough_size(machine)
    );
    Some(problem(config, &key, message))
}

/// Returns the addresses that cannot be listened on now. A Weir that runs already is no mistake, so these are warnings.
pub(super) fn taken(listening: &[Listening]) -> Vec<Problem> {
    let problem = |one: &Listening| {
        let why = unusable(&one.address)?;
        Some(Problem {
            place: one.place,
            path: one.path.clone(),
            message: format!("{} cannot be listened on now: {why}", one.address),
        })
    };
    listening.iter().filter_map(problem).collect()
}

/// Returns why an address cannot be listened on.
fn unusable(address: &Address) -> Option<String> {
    match address {
        Address::Tcp(tcp) => {
            let error = socket::try_bind(*tcp).err()?;
            Some(holder::why_not(address, &error))
        }
        Address::Unix(path) => socket::obstacle(path).map(str::to_owned),
    }
}

fn problem(config: &Config, path: &str, message: String) -> Problem {
    Problem {
        place: config.written.place(path),
        path: path.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    const GIB: u64 = 1 << 30;

    fn load(sections: &str) -> Config {
        let text = format!(
            "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n{sections}\n"
        );
        config::load(Some(("f", &text)), &Overrides::default()).unwrap()
    }

    #[test]
    fn memory_is_compared_with_what_there_is() {
        let large = "limits: {max_streams: 20000, max_requests: 10000}";
        let small = "limits: {max_streams: 100, max_requests: 100, max_connections: 10}\ndefaults: {max_event_bytes: 1MiB}";
        let resumed =
            "limits: {max_streams: 1000, max_requests: 1000}\ndefaults: {resume: {max_viewers: 1}}";
        for (sections, limit, machine, want) in [
            (
                large,
                None,
                Some(4 * GIB),
                "limits.memory: full queues (9.7 GiB) are more than the memory of the machine (4 GiB)",
            ),
            (
                large,
                None,
                Some(64 * GIB),
                "limits.max_streams: the worst case",
            ),
            (large, None, None, ""),
            (large, Some(GIB), Some(4 * GIB), ""),
            (
                large,
                Some(8 * GIB),
                Some(4 * GIB),
                "limits.memory: the limit (8 GiB) is more than the memory of the machine (4 GiB)",
            ),
            // Nothing that the file says, or what `weir check` writes for it.
            ("", None, Some(64 * GIB), ""),
            (
                "limits: {max_streams: 10000, max_requests: 10000, memory: auto}",
                None,
                Some(64 * GIB),
                "",
            ),
            (
                "routes: [{name: a, upstream: agent, max_event_bytes: 64MiB}]",
                None,
                Some(64 * GIB),
                "routes[0].max_event_bytes: the worst case",
            ),
            (small, None, Some(GIB), ""),
            (
                small,
                None,
                Some(GIB / 4),
                "limits.max_streams: the worst case",
            ),
            (small, Some(GIB / 8), Some(GIB / 4), ""),
            (
                resumed,
                Some(GIB),
                None,
                "limits.memory: full queues (1000 MiB) and journals (256 MiB) together are more than the limit (1 GiB)",
            ),
        ] {
            let memory = Memory { limit, machine };
            let said = memory.too_little_for(&load(sections));
            let said = said.map_or_else(String::new, |one| one.to_string());
            assert!(
                said.starts_with(want) && said.is_empty() == want.is_empty(),
                "{sections}: {said}\n{want}"
            );
        }
    }

    #[test]
    fn an_address_in_use_is_told_at_its_line() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, own) = (held.local_addr().unwrap(), std::process::id());
        for (sections, path, column) in [
            (
                format!("listen: \"{address}\"\nadmin: {{listen: off}}"),
                "listen",
                9,
            ),
            (
                format!("listen: [\"127.0.0.1:0\", \"{address}\"]\nadmin: {{listen: off}}"),
                "listen[1]",
                25,
            ),
            (
                format!("listen: {{address: \"{address}\"}}\nadmin: {{listen: off}}"),
                "listen.address",
                19,
            ),
        ] {
            let said = taken(&config::listening(&load(&sections)));
            let [one] = said.as_slice() else {
                panic!("{said:?}")
            };
            assert_eq!(
                (one.path.as_str(), one.place.unwrap().column),
                (path, column)
            );
            let want =
                format!("{address} cannot be listened on now: it is in use by process {own} (");
            assert!(one.message.starts_with(&want), "{one}");
        }
    }

    #[test]
    fn a_socket_needs_a_folder_and_no_file_in_its_way() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        for (path, why) in [
            ("none/socket", "its folder does not exist"),
            ("file", "there is a file that is no socket"),
            ("socket", ""),
        ] {
            let path = folder.path().join(path);
            let listen = format!(
                "listen: \"unix:{}\"\nadmin: {{listen: off}}",
                path.display()
            );
            let said = taken(&config::listening(&load(&listen)));
            let said: Vec<&str> = said.iter().map(|one| one.message.as_str()).collect();
            assert_eq!(said.len(), usize::from(!why.is_empty()), "{said:?}");
            assert!(said.iter().all(|said| said.ends_with(why)), "{said:?}");
        }
    }
}
