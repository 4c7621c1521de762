//! A running target: starts it, and waits until it answers.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ask::Ask;
use crate::clock;
use crate::load::{Load, Reader};
use crate::proc;

use super::child::Group;
use super::{Place, Stanza};

/// How long a target may take until its first response.
const START: u64 = 20 * clock::SECOND;

#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The time from the spawn to the end of the first response, in nanoseconds.
    pub started_in: u64,
    group: Option<Group>,
}

impl Running {
    /// A target without a process.
    pub(super) fn none(address: SocketAddr) -> Self {
        Self {
            address,
            started_in: 0,
            group: None,
        }
    }

    pub(super) fn start(stanza: &Stanza, program: &Path, upstream: SocketAddr) -> Result<Self> {
        let directory = super::directory()?;
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
        let spawned = clock::now();
        let mut group = Group::spawn(&mut command, directory)?;
        wait_for_answer(&mut group, address)
            .with_context(|| format!("{} does not start: {}", stanza.name, said(&group)))?;
        Ok(Self {
            address,
            started_in: clock::now() - spawned,
            group: Some(group),
        })
    }

    /// Returns the process and its workers.
    pub fn processes(&self) -> Result<Vec<u32>> {
        self.group
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |group| proc::of_group(group.id()))
    }
}

/// Polls until a request is answered. A socket may accept connections before the server behind it is ready.
fn wait_for_answer(group: &mut Group, address: SocketAddr) -> Result<()> {
    let deadline = clock::now() + START;
    loop {
        let mut load = Load::new(address)?;
        load.open(
            Ask {
                events: 1,
                ..Ask::default()
            },
            Reader::Eager,
        );
        load.until(deadline, |load| load.ended() > 0)?;
        if load.errors().is_empty() && load.ended() > 0 {
            return Ok(());
        }
        if let Some(status) = group.ended()? {
            bail!("it ended with {status}");
        }
        if clock::now() > deadline {
            bail!("no answer: {:?}", load.errors().keys());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Returns the last lines of the log.
fn said(group: &Group) -> String {
    let log = std::fs::read(group.directory.path().join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}
