//! The targets of the comparison. Each target is a file here, which says how to configure it and how to start it.

mod caddy;
mod certificate;
mod child;
mod direct;
mod envoy;
mod features;
mod haproxy;
mod litellm;
mod nginx;
mod process;
mod redis;
mod relay;
mod setup;
mod weir;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use tempfile::TempDir;

pub use child::{Group, kill_all};
pub use process::Running;
pub use setup::Setup;

use certificate::Files;

/// The number of workers or threads of each target, where it can be configured and a workload says nothing else.
const WORKERS: usize = 2;

/// The definition of a target. To add one, add a file with a `Stanza` and a line in `ALL`.
#[derive(Clone, Copy, Debug)]
pub struct Stanza {
    pub name: &'static str,
    program: fn(&Options) -> Program,
    /// Returns the program's version number.
    version: fn(&Path) -> Result<String>,
    /// Returns why the target cannot do what a workload needs.
    cannot: fn(Setup) -> Option<&'static str>,
    /// The only workloads that say something about it, by name.
    workloads: Option<&'static [&'static str]>,
    /// Whether it takes part if no targets are named.
    by_default: bool,
    /// Whether it is left out where it is not installed, even if it is named.
    is_optional: bool,
    /// Whether it is Weir in another form, so that its ratio to Weir is shown.
    is_weir: bool,
    /// Whether it has a Redis server.
    redis: bool,
    /// Whether the body of a request must repeat what is asked of the model.
    in_body: bool,
    /// What each worker logs once it takes requests. For targets whose workers do not start at about the same time.
    ready: Option<&'static str>,
    /// Writes the configuration, and returns the command to start.
    command: fn(&Place<'_>) -> Result<Command>,
}

const ALL: &[Stanza] = &[
    direct::STANZA,
    relay::STANZA,
    weir::STANZA,
    weir::BEFORE,
    features::REPLY,
    features::HIDE,
    features::RESUME_MEMORY,
    features::RESUME_REDIS,
    features::MERGE,
    nginx::STANZA,
    haproxy::STANZA,
    caddy::STANZA,
    envoy::STANZA,
    litellm::STANZA,
];

/// The program to start for a target.
#[derive(Clone, Debug)]
enum Program {
    At(PathBuf),
    /// None: the clients talk to the model directly.
    None,
    /// Missing: the target takes part only if the command line says where its program is.
    Unasked,
}

/// Command-line options for targets.
#[derive(Clone, Debug)]
pub struct Options {
    pub weir: PathBuf,
    /// Another build of Weir, to compare a change with the state before it.
    pub before: Option<PathBuf>,
}

/// Where a target runs.
#[derive(Debug)]
pub struct Place<'a> {
    program: &'a Path,
    /// An empty directory for this target.
    directory: &'a Path,
    listen: SocketAddr,
    upstream: SocketAddr,
    setup: Setup,
    /// If clients use TLS.
    tls: Option<Files>,
    /// The Redis server of the target, if it has one.
    redis: Option<SocketAddr>,
    /// Where Weir listens for questions about itself, if it is asked.
    admin: Option<SocketAddr>,
}

impl Place<'_> {
    /// Writes a file into the target's directory.
    fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }
}

/// A target that is available.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    pub version: String,
    /// The program to start, if any.
    pub program: Option<PathBuf>,
    stanza: Stanza,
}

impl Target {
    /// Starts the target in front of `upstream`, and returns once it answers.
    pub fn start(&self, upstream: SocketAddr) -> Result<Running> {
        self.start_as(upstream, Setup::PLAIN)
    }

    /// Starts the target as a workload needs it. Without a proxy, the model is asked in plain HTTP/1.1 in any case.
    pub fn start_as(&self, upstream: SocketAddr, setup: Setup) -> Result<Running> {
        match &self.program {
            None => Ok(Running::none(upstream)),
            Some(program) => Running::start(&self.stanza, program, upstream, setup),
        }
    }

    /// Returns why the target cannot do what a workload needs.
    pub fn cannot(&self, setup: Setup) -> Option<&'static str> {
        (self.stanza.cannot)(setup)
    }

    /// Reports whether a workload says something about this target.
    pub fn is_for(&self, workload: &str) -> bool {
        let only = self.stanza.workloads;
        only.is_none_or(|only| only.contains(&workload))
    }

    /// Reports whether the target has processes whose cost can be measured.
    pub fn is_proxy(&self) -> bool {
        self.program.is_some()
    }
}

/// Returns the targets with these names, or all that are installed.
pub fn find(names: &[String], options: &Options) -> Result<Vec<Target>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| ALL.iter().all(|stanza| stanza.name != **name))
    {
        let known: Vec<_> = ALL.iter().map(|stanza| stanza.name).collect();
        bail!("no target `{unknown}`; there are {}", known.join(", "));
    }
    let mut found = Vec::new();
    for stanza in ALL {
        let named = names.iter().any(|name| name == stanza.name);
        let is_wanted = named || (names.is_empty() && stanza.by_default);
        if !is_wanted {
            continue;
        }
        match stanza.locate(options) {
            Ok(Some(target)) => found.push(target),
            Ok(None) if named => bail!("{}: it is not said where that is", stanza.name),
            Ok(None) => {}
            // Programs that are not installed are left out, but there is no comparison without Weir.
            Err(error) if stanza.is_optional || (!named && stanza.name != weir::STANZA.name) => {
                eprintln!("without {}: {error:#}", stanza.name);
            }
            Err(error) => return Err(error.context(format!("{} cannot be measured", stanza.name))),
        }
    }
    if found.is_empty() {
        bail!("none of the targets is installed");
    }
    Ok(found)
}

impl Stanza {
    /// What most targets have in common, and nothing that they need.
    const USUAL: Self = Self {
        name: "",
        program: |_| Program::None,
        version: |_| Ok(String::new()),
        cannot: setup::can_do_all,
        workloads: None,
        by_default: true,
        is_optional: false,
        is_weir: false,
        redis: false,
        in_body: false,
        ready: None,
        command: |_| bail!("there is nothing to start"),
    };

    fn locate(self, options: &Options) -> Result<Option<Target>> {
        let program = match (self.program)(options) {
            Program::At(program) if program.is_file() => Some(program),
            Program::At(program) => bail!("no program {}", program.display()),
            Program::None => None,
            Program::Unasked => return Ok(None),
        };
        let version = (self.version)(program.as_deref().unwrap_or_else(|| Path::new("")))?;
        Ok(Some(Target {
            name: self.name,
            version,
            program,
            stanza: self,
        }))
    }
}

/// Reports whether a target is Weir in another form.
pub fn is_weir(name: &str) -> bool {
    ALL.iter()
        .any(|stanza| stanza.name == name && stanza.is_weir)
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Creates a directory for the files of one process, which is removed with its owner.
pub fn directory() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("weir-compare-").tempdir()?)
}

/// Finds a program on PATH, or in Debian's directory of servers, which is not always on PATH.
pub fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    // A program that is not found is still reported by its name.
    directories
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| name.into())
}

/// Returns the first word with a digit in a program's version output.
fn version_of(program: &Path, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .split([' ', '/', '\n'])
        .find(|word| {
            word.trim_start_matches('v')
                .starts_with(|first: char| first.is_ascii_digit())
        })
        .unwrap_or("unknown")
        .to_owned())
}
