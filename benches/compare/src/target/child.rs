//! A child process that ends when its owner does, for whatever reason.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// The process groups of running children, each with its directory. They are kept here because no destructor runs when
/// a signal ends this program.
static GROUPS: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());

/// A process, the processes it started, and the directory for their files.
#[derive(Debug)]
pub struct Group {
    child: Child,
    pub directory: TempDir,
}

impl Group {
    pub fn spawn(command: &mut Command, directory: TempDir) -> Result<Self> {
        // Its own process group, so that processes it starts are found and killed with it.
        command.process_group(0);
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn();
        let child =
            child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        groups.insert(child.id(), directory.path().to_owned());
        Ok(Self { child, directory })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns how the process ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends SIGINT and waits until the process has ended.
    pub fn interrupt(&mut self) -> Result<()> {
        if let Some(process) = Pid::from_raw(self.id().cast_signed()) {
            rustix::process::kill_process(process, Signal::INT)?;
        }
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        kill(self.child.id());
        let _ = self.child.wait();
        groups.remove(&self.child.id());
    }
}

/// Kills every running child, and removes its files.
pub fn kill_all() {
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for (group, directory) in &*groups {
        kill(*group);
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// Kills a process group with SIGKILL: targets have nothing to save, and draining would only take time.
fn kill(group: u32) {
    if let Some(group) = Pid::from_raw(group.cast_signed()) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}
