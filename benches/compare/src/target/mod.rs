//! What is compared. A target is one file here: how to write its configuration, and how to start it.

mod caddy;
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

pub use process::{Running, kill_all};

/// As many workers or threads as each target gets, if it can be told.
const WORKERS: usize = 2;

/// One target. To add one: a file with a `Stanza`, and a line in `ALL`.
#[derive(Clone, Copy, Debug)]
pub struct Stanza {
    pub name: &'static str,
    /// The program; `None` if there is none to start.
    program: fn(&Options) -> Option<PathBuf>,
    /// What the program says about its version, cut to the number.
    version: fn(&Path) -> Result<String>,
    /// Writes the configuration, and says how to start.
    command: fn(&Place<'_>) -> Result<Command>,
}

const ALL: &[Stanza] = &[
    direct::STANZA,
    relay::STANZA,
    weir::STANZA,
    nginx::STANZA,
    haproxy::STANZA,
    caddy::STANZA,
    envoy::STANZA,
];

/// What the command line says about targets.
#[derive(Clone, Debug)]
pub struct Options {
    pub weir: PathBuf,
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
    for stanza in ALL
        .iter()
        .filter(|stanza| names.is_empty() || names.iter().any(|name| name == stanza.name))
    {
        match stanza.locate(options) {
            Ok(target) => found.push(target),
            Err(error) if names.is_empty() => eprintln!("without {}: {error:#}", stanza.name),
            Err(error) => return Err(error.context(format!("{} cannot be measured", stanza.name))),
        }
    }
    Ok(found)
}

impl Stanza {
    fn locate(self, options: &Options) -> Result<Target> {
        let program = (self.program)(options);
        if let Some(program) = &program
            && !program.is_file()
        {
            bail!("no program {}", program.display());
        }
        let version = (self.version)(program.as_deref().unwrap_or_else(|| Path::new("")))?;
        Ok(Target {
            name: self.name,
            version,
            program,
            stanza: self,
        })
    }
}

/// A program on PATH, or where Debian puts servers, which is not on everyone's PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|directory| directory.join(name))
        .find(|p| p.is_file());
    // A name that is nowhere is still a name to report.
    Some(found.unwrap_or_else(|| name.into()))
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
