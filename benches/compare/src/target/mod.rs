//! What is compared. A target is one file here: how to write its configuration, and how to start it.

mod caddy;
mod child;
mod direct;
mod envoy;
mod haproxy;
mod nginx;
mod process;
mod relay;
mod weir;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use tempfile::TempDir;

pub use child::{Group, kill_all};
pub use process::Running;

/// As many workers or threads as each target gets, if it can be told.
const WORKERS: usize = 2;

/// One target. To add one: a file with a `Stanza`, and a line in `ALL`.
#[derive(Clone, Copy, Debug)]
pub struct Stanza {
    pub name: &'static str,
    program: fn(&Options) -> Program,
    /// What the program says about its version, cut to the number.
    version: fn(&Path) -> Result<String>,
    /// Writes the configuration, and says how to start.
    command: fn(&Place<'_>) -> Result<Command>,
}

const ALL: &[Stanza] = &[
    direct::STANZA,
    relay::STANZA,
    weir::STANZA,
    weir::BEFORE,
    nginx::STANZA,
    haproxy::STANZA,
    caddy::STANZA,
    envoy::STANZA,
];

/// What is started for a target.
#[derive(Clone, Debug)]
enum Program {
    At(PathBuf),
    /// Nothing: the clients talk to the model.
    None,
    /// It takes part only if the command line says where it is.
    Unasked,
}

/// What the command line says about targets.
#[derive(Clone, Debug)]
pub struct Options {
    pub weir: PathBuf,
    /// Another weir, to compare a change with what was before.
    pub before: Option<PathBuf>,
}

/// Where a target runs.
#[derive(Debug)]
pub struct Place<'a> {
    program: &'a Path,
    /// An empty directory of its own.
    directory: &'a Path,
    listen: SocketAddr,
    upstream: SocketAddr,
}

impl Place<'_> {
    /// Writes a file into the target's directory.
    fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    }
}

/// A target that is there.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    pub version: String,
    /// What is started, if anything.
    pub program: Option<PathBuf>,
    stanza: Stanza,
}

impl Target {
    /// Starts it in front of `upstream`, and returns when it answers.
    pub fn start(&self, upstream: SocketAddr) -> Result<Running> {
        match &self.program {
            None => Ok(Running::none(upstream)),
            Some(program) => Running::start(&self.stanza, program, upstream),
        }
    }

    /// Whether it has processes whose cost can be read.
    pub fn is_proxy(&self) -> bool {
        self.program.is_some()
    }
}

/// The targets of these names, or all that are installed.
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
        if !named && !names.is_empty() {
            continue;
        }
        match stanza.locate(options) {
            Ok(Some(target)) => found.push(target),
            Ok(None) if named => bail!("{}: it is not said where that is", stanza.name),
            Ok(None) => {}
            // What is not installed is left out, but there is no comparison without Weir.
            Err(error) if !named && stanza.name != weir::STANZA.name => {
                eprintln!("without {}: {error:#}", stanza.name);
            }
            Err(error) => return Err(error.context(format!("{} cannot be measured", stanza.name))),
        }
    }
    Ok(found)
}

impl Stanza {
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

/// A directory for the files of one process; it goes with its owner.
pub fn directory() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("weir-compare-").tempdir()?)
}

/// A program on PATH, or where Debian puts servers, which is not on everyone's PATH.
pub fn on_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    // A name that is nowhere is still a name to report.
    directories
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| name.into())
}

/// The first word with a digit that a program prints about its version.
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
