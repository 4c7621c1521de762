//! A Redis server for a target that keeps its streams there. Its processor time is not the target's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::clock;

use super::child::Group;

const START: u64 = 10 * clock::SECOND;
const PAUSE: Duration = Duration::from_millis(20);
/// The name of Weir's key in Redis: before it is there, Weir stores no stream.
const KEY: &str = "weir:key";
/// How long Weir may take to read that its key was stored.
const READ: Duration = Duration::from_millis(500);

/// Returns where `tests/run real` unpacks Debian's packages, without installing them.
fn unpacked() -> PathBuf {
    super::root().join(".cache/redis/usr")
}

/// Returns the program, if it is there.
pub(super) fn program() -> Option<PathBuf> {
    let program = unpacked().join("bin/redis-server");
    program.is_file().then_some(program)
}

/// Starts a server that keeps everything in memory.
pub(super) fn start(program: &Path) -> Result<(Group, SocketAddr)> {
    let directory = super::directory()?;
    let address = crate::net::free_address()?;
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .env("LD_LIBRARY_PATH", libraries())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut group = Group::spawn(&mut command, directory)?;
    let deadline = clock::now() + START;
    while ask(address, "PING").is_none_or(|answer| !answer.starts_with("+PONG")) {
        if let Some(status) = group.ended()? {
            bail!("redis-server ended with {status}");
        }
        if clock::now() > deadline {
            bail!("redis-server does not answer at {address}");
        }
        std::thread::sleep(PAUSE);
    }
    Ok((group, address))
}

/// Waits until Weir has stored its key, and so stores streams.
pub(super) fn is_used(address: SocketAddr) -> Result<()> {
    let deadline = clock::now() + START;
    let asked = format!("EXISTS {KEY}");
    while ask(address, &asked).is_none_or(|answer| !answer.starts_with(":1")) {
        if clock::now() > deadline {
            bail!("nothing has stored {KEY} in Redis at {address}");
        }
        std::thread::sleep(PAUSE);
    }
    std::thread::sleep(READ);
    Ok(())
}

/// Returns the beginning of the answer to a command, if there is one.
fn ask(address: SocketAddr, command: &str) -> Option<String> {
    let patience = Duration::from_secs(1);
    let mut socket = TcpStream::connect_timeout(&address, patience).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    socket.write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut answer = [0; 64];
    let count = socket.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..count]).into_owned())
}

/// Returns the directories with the libraries that were unpacked with the program.
fn libraries() -> String {
    let Ok(entries) = std::fs::read_dir(unpacked().join("lib")) else {
        return String::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path().display().to_string()));
    let of_machine = paths.filter(|path| path.ends_with("-linux-gnu"));
    of_machine.collect::<Vec<_>>().join(":")
}
