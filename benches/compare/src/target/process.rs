//! A target that runs: started, asked until it answers, and killed whatever happens.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::ask::Ask;
use crate::clock;
use crate::load::{Load, Reader};
use crate::proc;

use super::{Place, Stanza};

/// Process groups of the children that run, each with its directory, for the case that this program is interrupted.
static GROUPS: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());

/// How long a target may take to answer first.
const START: u64 = 20 * clock::SECOND;

#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// From the spawn to the end of the first answer, in nanoseconds.
    pub started_in: u64,
    child: Option<Child>,
    /// Goes when the target goes.
    directory: Option<TempDir>,
}

impl Running {
    /// The target that is no process.
    pub(super) fn none(address: SocketAddr) -> Self {
        Self {
            address,
            started_in: 0,
            child: None,
            directory: None,
        }
    }

    pub(super) fn start(stanza: &Stanza, program: &Path, upstream: SocketAddr) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("weir-compare-").tempdir()?;
        let address = crate::net::free_address()?;
        let place = Place {
            program,
            directory: directory.path(),
            listen: address,
            upstream,
        };
        let mut command = (stanza.command)(&place)?;
        let log = File::create(directory.path().join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A group of its own, so that its workers are found and killed with it.
        command.process_group(0);
        let spawned = clock::now();
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        groups.insert(child.id(), directory.path().to_owned());
        drop(groups);
        let mut running = Self {
            address,
            started_in: 0,
            child: Some(child),
            directory: Some(directory),
        };
        running
            .wait_for_answer()
            .with_context(|| format!("{} does not start:\n{}", stanza.name, running.log()))?;
        running.started_in = clock::now() - spawned;
        Ok(running)
    }

    /// Polls until a request is answered: a socket that takes connections may have nobody behind it yet.
    fn wait_for_answer(&mut self) -> Result<()> {
        let deadline = clock::now() + START;
        loop {
            let mut load = Load::new(self.address)?;
            load.open(
                Ask {
                    events: 1,
                    ..Ask::default()
                },
                Reader::Eager,
            );
            load.until(deadline, |load| load.ended() > 0)?;
            let errors = load.errors();
            if errors.is_empty() && load.ended() > 0 {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("it ended with {status}");
            }
            if clock::now() > deadline {
                bail!("no answer: {}", errors.join(", "));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The process and its workers.
    pub fn processes(&self) -> Result<Vec<u32>> {
        self.child
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |child| proc::of_group(child.id()))
    }

    /// What it wrote, the end of it.
    fn log(&self) -> String {
        let Some(directory) = &self.directory else {
            return String::new();
        };
        let log = std::fs::read(directory.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        kill(child.id());
        let _ = child.wait();
        groups.remove(&child.id());
    }
}

/// Nothing that a target has is worth a goodbye, and a drain would only take time.
fn kill(group: u32) {
    if let Some(group) = Pid::from_raw(group.cast_signed()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

/// Kills every target that runs, and removes what was written for it.
pub fn kill_all() {
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for (group, directory) in &*groups {
        kill(*group);
        let _ = std::fs::remove_dir_all(directory);
    }
}
