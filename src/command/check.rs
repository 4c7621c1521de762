//! `weir check`: validates a configuration as `weir serve` does before it binds its listeners.

use std::fmt::Write;
use std::path::Path;

use crate::command::Output;
use crate::command::machine::{self, Memory};
use crate::config::{self, Config, Overrides, Problem, rough_size};

/// What `weir check` does besides checking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Also connects to the store of journals if there is one, and says what it found.
    pub probe: bool,
    /// Prints JSON instead of YAML.
    pub json: bool,
}

/// Checks a file, or the flags alone. The output is itself a valid configuration file: its comments state how much
/// memory the configuration allows, its keys hold the effective values.
pub fn check(file: Option<&Path>, overrides: &Overrides, options: Options) -> Output {
    let name = file.map_or_else(|| "flags".to_owned(), |file| file.display().to_string());
    let loaded = match file {
        Some(file) => config::load_file(file, overrides),
        None => config::load(None, overrides),
    };
    match loaded {
        Ok(config) => {
            let probed = if options.probe {
                probed(&config)
            } else {
                Probed::default()
            };
            let memory = Memory::read(config.limits.memory);
            let effective = config::effective(&config);
            let stdout = if options.json {
                format!("{effective:#}\n")
            } else {
                summary(&name, &config, memory) + &config::yaml(&effective)
            };
            Output {
                stdout,
                stderr: warnings(file.map(|_| &*name), &config, memory) + &probed.said,
                code: if probed.fails { 2 } else { 0 },
            }
        }
        Err(problems) => {
            let count = problems.list.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            let outside = problems.list.iter().all(|one| one.path.starts_with("--"));
            let name = if outside || file.is_none() {
                "flags and variables"
            } else {
                &name
            };
            let mut list = problems.warnings.clone();
            list.extend(machine::taken(&problems.listening));
            let warnings = report(problems.file.as_deref(), list);
            Output {
                stdout: String::new(),
                stderr: format!("{problems}\n{warnings}{name}: {count} {noun}\n"),
                code: 2,
            }
        }
    }
}

/// What was found out about the store of journals.
#[derive(Default)]
struct Probed {
    said: String,
    /// The store cannot be used.
    fails: bool,
}

#[cfg(feature = "redis")]
fn probed(config: &Config) -> Probed {
    use crate::store::{self, Severity};

    let config::Store::Redis(settings) = &config.journals.store else {
        return nothing_to_probe();
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let found = match runtime {
        Ok(runtime) => runtime.block_on(store::probe(settings)),
        Err(error) => {
            return Probed {
                said: format!("error: the store cannot be probed: {error}\n"),
                fails: true,
            };
        }
    };
    let mut probed = Probed::default();
    for finding in found {
        let word = match finding.severity {
            Severity::Fine => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "error",
        };
        probed.fails |= finding.severity == Severity::Problem;
        let _ = writeln!(probed.said, "{word}: resume.redis: {}", finding.text);
    }
    probed
}

#[cfg(not(feature = "redis"))]
fn probed(_: &Config) -> Probed {
    nothing_to_probe()
}

fn nothing_to_probe() -> Probed {
    Probed {
        said: "ok: resume.store: journals are kept in memory, there is nothing to probe\n"
            .to_owned(),
        fails: false,
    }
}

/// Returns all warnings, each in a line of its own. They have the form of problems, so that editors find their lines.
fn warnings(file: Option<&str>, config: &Config, memory: Memory) -> String {
    let mut list = config::warnings(config);
    list.extend(memory.too_little_for(config));
    list.extend(machine::taken(&config::listening(config)));
    report(file, list)
}

/// Returns warnings as they are written, ordered by line.
fn report(file: Option<&str>, mut list: Vec<Problem>) -> String {
    list.sort_by_key(|one| (one.place.is_none(), one.place));
    list.iter().fold(String::new(), |mut text, warning| {
        match (file, warning.place) {
            (Some(file), Some(place)) => {
                let _ = write!(text, "{file}:{place}: ");
            }
            // About a key that the file does not have.
            (Some(file), None) => {
                let _ = write!(text, "{file}: ");
            }
            (None, _) => {}
        }
        let _ = writeln!(text, "warning: {warning}");
        text
    })
}

fn summary(name: &str, config: &Config, memory: Memory) -> String {
    let limits = &config.limits;
    let mut text = String::new();
    let mut line = |words: String| {
        let _ = writeln!(text, "# {words}");
    };
    line(format!("{name}: valid"));
    line(format!(
        "routes: {}, upstreams: {}, workers: {}",
        config.routes.len(),
        config.upstreams.len(),
        config.workers
    ));
    line(format!(
        "at most {} connections, {} requests and {} streams at one time; {} calls may outlive their client",
        limits.connections(),
        limits.max_requests,
        limits.streams(),
        limits.max_detached
    ));
    let parts = limits.descriptors;
    match parts.limit {
        Some(files) => line(format!(
            "open files: {files}; {} for clients, {} for connections to agents, the others are kept back",
            parts.clients, parts.agents
        )),
        None => line("open files: no limit is known".to_owned()),
    }
    line(format!(
        "memory if every queue is full: {}",
        rough_size(config::queue_bytes(config))
    ));
    let journals = config::journal_bytes(config);
    if journals > 0 {
        line(format!(
            "memory if all journals are full: {}",
            rough_size(journals)
        ));
    }
    let worst = config::worst_case_bytes(config);
    line(format!(
        "memory in the worst case, every stream with events of max_event_bytes: {}",
        rough_size(worst)
    ));
    if let Some(most) = memory.most().filter(|most| worst > *most) {
        line(format!(
            "which is more than there is ({}); lower limits.max_streams or max_event_bytes if Weir must survive that",
            rough_size(most)
        ));
    }
    match memory.limit {
        Some(bytes) => line(format!(
            "memory limit: {}; from 85 % on requests are refused, from 95 % on stalled clients lose their streams",
            rough_size(bytes)
        )),
        None => line("memory limit: none (limits.memory)".to_owned()),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_check_prints_can_be_loaded() {
        let overrides = Overrides {
            upstream: Some("http://127.0.0.1:8000".to_owned()),
            ..Overrides::default()
        };
        let output = check(None, &overrides, Options::default());
        assert_eq!(output.code, 0);
        let limits = config::load(None, &overrides).unwrap().limits;
        let numbers = format!(
            "# at most {} connections, {} requests and {} streams at one time; {} calls may outlive their client\n",
            limits.max_connections,
            limits.max_requests,
            limits.streams(),
            limits.max_requests / 10
        );
        assert!(output.stdout.contains(&numbers), "{}", output.stdout);
        let again = config::load(
            Some(("effective.yaml", &output.stdout)),
            &Overrides::default(),
        )
        .unwrap();
        let first = config::load(None, &overrides).unwrap();
        assert_eq!(config::effective(&again), config::effective(&first));
        let json = Options {
            json: true,
            ..Options::default()
        };
        let json = check(None, &overrides, json).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json, config::effective(&first));
        let queues = rough_size(limits.streams() as u64 * (1 << 20));
        let queues = format!("# memory if every queue is full: {queues}\n");
        assert!(output.stdout.contains(&queues), "{}", output.stdout);
    }

    #[test]
    fn journals_are_counted_and_compared_with_the_memory_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let checked = |memory: &str, resume: &str| {
            let text = format!(
                "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
                listen: \"127.0.0.1:0\"\nadmin: {{listen: off}}\n\
                limits: {{memory: {memory}, max_streams: 10, max_requests: 10}}\n\
                defaults: {{resume: {resume}}}\n"
            );
            std::fs::write(file.path(), text).unwrap();
            check(Some(file.path()), &Overrides::default(), Options::default())
        };
        let line = "# memory if all journals are full: 40 MiB\n";
        let roomy = checked("1GiB", "{}");
        assert!(roomy.stdout.contains(line), "{}", roomy.stdout);
        assert_eq!(roomy.stderr, "");
        let tight = checked("49MiB", "{}");
        assert_eq!(
            tight.stderr,
            format!(
                "{}:4:18: warning: limits.memory: full queues (10 MiB) and journals (40 MiB) together are more than the limit (49 MiB); lower limits.max_streams, resume.max_viewers, queue.max_bytes or resume.total_bytes\n",
                file.path().display()
            )
        );
        assert_eq!(tight.code, 0);
        let off = checked("49MiB", "off");
        assert!(!off.stdout.contains("journals"), "{}", off.stdout);
        assert_eq!(off.stderr, "");
    }

    #[test]
    fn an_invalid_configuration_is_code_2_on_stderr() {
        let overrides = Overrides {
            workers: Some("many".to_owned()),
            ..Overrides::default()
        };
        let output = check(None, &overrides, Options::default());
        assert_eq!((output.stdout.as_str(), output.code), ("", 2));
        assert_eq!(
            output.stderr,
            "--workers or WEIR_WORKERS: `many` is not a whole number (1 to 1024)\n\
             upstreams: is missing; name an agent in the file, as in `upstreams: {agent: {endpoints: [\"http://127.0.0.1:8000\"]}}`, or by `--upstream http://127.0.0.1:8000`\n\
             flags and variables: 2 problems\n"
        );
    }

    #[test]
    fn what_is_doubtful_is_told_beside_the_problems() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let checked = |routes: &str| {
            let agent = "endpoints: [\"http://127.0.0.1:8000\"]";
            let text = format!(
                "listen: \"{address}\"\nadmin: {{listen: off}}\nworkers: none\n\
                upstreams: {{agent: {{{agent}}}, spare: {{{agent}}}}}\nroutes: [{routes}]\n"
            );
            std::fs::write(file.path(), text).unwrap();
            check(Some(file.path()), &Overrides::default(), Options::default())
        };
        let name = file.path().display();
        let taken = format!("{name}:1:9: warning: listen: {address} cannot be listened on now");
        let spare = format!("{name}:4:60: warning: upstreams.spare: is used by no route");
        let output = checked("{name: a, upstream: agent}");
        let said = &output.stderr;
        assert!(
            said.starts_with(&format!("{name}:3:10: workers: ")),
            "{said}"
        );
        assert!(said.contains(&taken) && said.contains(&spare), "{said}");
        assert!(said.ends_with(&format!("\n{name}: 1 problem\n")), "{said}");
        assert_eq!(output.code, 2);
        // The route that cannot be read may use it.
        let said = checked("{name: a, upstream: agent}, {name: b, upstrem: spare}").stderr;
        assert!(!said.contains("is used by no route"), "{said}");
    }

    #[test]
    fn a_missing_file_is_told_by_name() {
        let output = check(
            Some(Path::new("no/such.yaml")),
            &Overrides::default(),
            Options::default(),
        );
        assert!(
            output.stderr.starts_with("no/such.yaml: cannot be read: "),
            "{}",
            output.stderr
        );
        assert_eq!(output.code, 2);
    }
}
