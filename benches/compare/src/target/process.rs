//! A running target: starts it, and waits until it answers.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ask::Ask;
use crate::clock;
use crate::front::Front;
use crate::load::{Load, Reader};
use crate::proc;

use super::child::Group;
use super::{Place, Setup, Stanza, certificate, redis};

/// How long a target may take until its first response. A gateway in Python needs most of it.
const START: u64 = 60 * clock::SECOND;

#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The time from the spawn to the end of the first response, in nanoseconds.
    pub started_in: u64,
    /// How its clients speak with it.
    pub front: Front,
    /// Whether the model is to compress.
    pub gzip: bool,
    /// Where it is asked about itself, if the workload wanted that.
    pub admin: Option<SocketAddr>,
    group: Option<Group>,
    /// The Redis server of the process, which ends with it.
    _redis: Option<Group>,
}

impl Running {
    /// A target without a process.
    pub(super) fn none(address: SocketAddr) -> Self {
        Self {
            address,
            started_in: 0,
            front: Front::plain(address),
            gzip: false,
            admin: None,
            group: None,
            _redis: None,
        }
    }

    pub(super) fn start(
        stanza: &Stanza,
        program: &Path,
        upstream: SocketAddr,
        setup: Setup,
    ) -> Result<Self> {
        let directory = super::directory()?;
        let address = crate::net::free_address()?;
        let admin = setup.admin.then(crate::net::free_address).transpose()?;
        let tls = setup
            .client
            .is_tls()
            .then(|| certificate::write(directory.path()));
        let (redis, redis_address) = match redis::program().filter(|_| stanza.redis) {
            Some(program) => {
                let (group, address) = redis::start(&program)?;
                (Some(group), Some(address))
            }
            None => (None, None),
        };
        let place = Place {
            program,
            directory: directory.path(),
            listen: address,
            upstream,
            setup,
            tls: tls.transpose()?,
            redis: redis_address,
            admin,
        };
        let front = Front {
            address,
            client: setup.client,
            in_body: stanza.in_body,
        };
        let mut command = (stanza.command)(&place)?;
        let log = File::create(directory.path().join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let spawned = clock::now();
        let mut group = Group::spawn(&mut command, directory)?;
        wait_for_answer(&mut group, front, setup.gzip)
            .with_context(|| format!("{} does not start: {}", stanza.name, said(&group)))?;
        let started_in = clock::now() - spawned;
        if let Some(text) = stanza.ready {
            wait_for_workers(&mut group, text, setup.workers)
                .with_context(|| format!("{} does not start: {}", stanza.name, said(&group)))?;
        }
        if let Some(address) = redis_address {
            redis::is_used(address)?;
        }
        Ok(Self {
            address,
            started_in,
            front,
            gzip: setup.gzip,
            admin,
            group: Some(group),
            _redis: redis,
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
fn wait_for_answer(group: &mut Group, front: Front, gzip: bool) -> Result<()> {
    let deadline = clock::now() + START;
    loop {
        let mut load = Load::at(front)?;
        load.open(
            Ask {
                events: 1,
                gzip,
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

/// Polls until every worker has logged `text`. One of them has answered, and the others would start within the window that is
/// measured.
fn wait_for_workers(group: &mut Group, text: &str, workers: usize) -> Result<()> {
    let deadline = clock::now() + START;
    loop {
        let ready = log(group).matches(text).count();
        if ready >= workers {
            return Ok(());
        }
        if let Some(status) = group.ended()? {
            bail!("it ended with {status}");
        }
        if clock::now() > deadline {
            bail!("{ready} of {workers} workers logged `{text}`");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns what it has logged.
fn log(group: &Group) -> String {
    let log = std::fs::read(group.directory.path().join("log")).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}

/// Returns the last lines of the log.
fn said(group: &Group) -> String {
    let log = log(group);
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}
