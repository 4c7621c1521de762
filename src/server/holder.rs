//! Says why an address cannot be listened on: which process holds it, as far as the system tells. `/proc` names the
//! sockets of all processes, but shows the files only of those that Weir may look into.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::socket::NO_FOLDER;
use crate::config::Address;

/// The state of a socket that listens, as `/proc/net/tcp` writes it.
const LISTENING: &str = "0A";
/// Maximum number of processes that are looked at.
const MAX_PROCESSES: usize = 20_000;

/// Returns why an address cannot be listened on, as the end of a sentence.
pub fn why_not(address: &Address, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => match holder(address) {
            Some(holder) => format!("it is in use {holder}"),
            None => "it is in use by another process".to_owned(),
        },
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address ({error})")
        }
        io::ErrorKind::PermissionDenied if matches!(address, Address::Tcp(_)) => {
            format!("ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): {error}")
        }
        io::ErrorKind::NotFound if matches!(address, Address::Unix(_)) => {
            format!("{NO_FOLDER} ({error})")
        }
        _ => error.to_string(),
    }
}

/// Returns who holds an address, as the end of a sentence: `by process 7 (nginx)`. Returns `None` if the system does
/// not tell, as for Unix sockets.
fn holder(address: &Address) -> Option<String> {
    let Address::Tcp(address) = address else {
        return None;
    };
    let found = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|table| {
            let table = fs::read_to_string(table).ok()?;
            let (user, inode) = table.lines().find_map(|line| listening(line, *address))?;
            Some((user.to_owned(), inode.to_owned()))
        })?;
    let (user, inode) = found;
    let process = owner(&format!("socket:[{inode}]"));
    Some(process.map_or_else(
        || format!("by a process of the user with the number {user}"),
        |(id, name)| format!("by process {id} ({name})"),
    ))
}

/// Returns the user and the inode of a socket that listens at `address`, or at all addresses. `line` is one of
/// `/proc/net/tcp`.
fn listening(line: &str, address: SocketAddr) -> Option<(&str, &str)> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    // The address of the other side.
    fields.next()?;
    let is_listening = fields.next()? == LISTENING;
    if !is_listening || u16::from_str_radix(port, 16).ok()? != address.port() {
        return None;
    }
    let (held, wanted) = (ip_of(ip)?.to_canonical(), address.ip().to_canonical());
    let meets = held == wanted || held.is_unspecified() || wanted.is_unspecified();
    // The queues, the timer and what was sent again.
    let user = fields.nth(3)?;
    let inode = fields.nth(1)?;
    meets.then_some((user, inode))
}

/// Parses an address: words of 32 bits in hexadecimal, each in the order of bytes of this machine.
fn ip_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(1)?, word(2)?, word(3)?];
    let bytes: [u8; 16] = words.concat().try_into().ok()?;
    Some(Ipv6Addr::from(bytes).into())
}

/// Returns the number and the name of the process that has a file open, if it may be looked into.
fn owner(file: &str) -> Option<(String, String)> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes.take(MAX_PROCESSES) {
        let id = process.file_name().into_string().unwrap_or_default();
        let is_process = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if is_process && has_open(&process.path(), file) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((id, name.trim_end().to_owned()));
        }
    }
    None
}

fn has_open(process: &Path, file: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|open| fs::read_link(open.path()).is_ok_and(|target| target == Path::new(file)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let own = std::process::id();
            for asked in [
                listener.local_addr().unwrap(),
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
            ] {
                let said = holder(&Address::Tcp(asked)).unwrap();
                assert!(said.starts_with(&format!("by process {own} (")), "{said}");
            }
        }
        assert_eq!(holder(&Address::Unix("/run/no/such".into())), None);
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = |ip: &str, state: &str| {
            format!(
                "   0: {ip}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0"
            )
        };
        let word = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let asked = "127.0.0.1:8080".parse().unwrap();
        for (ip, state, meets) in [
            (word([127, 0, 0, 1]), "0A", true),
            (word([0; 4]), "0A", true),
            (word([0; 4]).repeat(4), "0A", true),
            (word([127, 0, 0, 2]), "0A", false),
            (word([127, 0, 0, 1]), "01", false),
            ("7".to_owned(), "0A", false),
        ] {
            let found = line(&ip, state);
            let want = meets.then_some(("1000", "4711"));
            assert_eq!(listening(&found, asked), want, "{found}");
        }
        let other = "127.0.0.1:8081".parse().unwrap();
        assert_eq!(listening(&line(&word([0; 4]), "0A"), other), None);
        assert_eq!(
            listening("  sl  local_address rem_address   st", other),
            None
        );
    }
}
