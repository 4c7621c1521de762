//! What systemd is told, through a real socket: ready, reloading, stopping, and that the workers are alive.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::support::{PATIENCE, Upstream, Weir, get};

const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }
drain: { delay: 0s, limit: 1s }
routes: [ { name: chat, upstream: agent } ]";

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    /// Starts Weir as one of its services, which has to beat in so many microseconds.
    fn start(&self, beats: &str) -> Weir {
        let path = self.folder.path().join("notify");
        let upstream = Upstream::start();
        Weir::start_with(
            PLAIN,
            upstream.address(),
            &[
                ("NOTIFY_SOCKET", path.as_os_str()),
                ("WATCHDOG_USEC", beats.as_ref()),
            ],
        )
    }

    /// Returns the next message that has this line.
    fn told(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let read = self.socket.recv(&mut buffer).expect("a message in time");
            let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if message.lines().any(|one| one == line) {
                return message;
            }
        }
    }
}

#[test]
fn systemd_hears_of_each_change() {
    let manager = Manager::new();
    let weir = manager.start("20000000");
    let ready = manager.told("READY=1");
    assert!(
        ready.contains(&format!("STATUS=serving on {}\n", weir.address)),
        "{ready}"
    );
    manager.told("WATCHDOG=1");

    weir.signal("HUP");
    let reloading = manager.told("RELOADING=1");
    let time = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    let reloaded = manager.told("READY=1");
    assert!(
        reloaded.contains("STATUS=serving; the configuration was reloaded"),
        "{reloaded}"
    );

    weir.reload("routes: 1");
    manager.told("RELOADING=1");
    let kept = manager.told("READY=1");
    assert!(
        kept.contains("is not valid, the old one stays in force"),
        "{kept}"
    );

    weir.signal("TERM");
    let stopping = manager.told("STOPPING=1");
    assert!(
        stopping.contains("STATUS=draining: 0 streams"),
        "{stopping}"
    );
    assert_eq!(weir.exit_code(), Some(0));
}

#[test]
fn beats_follow_each_other() {
    let manager = Manager::new();
    let _weir = manager.start("400000");
    for _ in 0..3 {
        manager.told("WATCHDOG=1");
    }
}

#[test]
fn a_drain_by_request_is_told_as_well() {
    let manager = Manager::new();
    let weir = manager.start("20000000");
    manager.told("READY=1");
    assert!(get(&weir.admin, "/healthz").contains("ok"));
    weir.signal("INT");
    manager.told("STOPPING=1");
}

#[test]
fn a_socket_may_have_a_name_instead_of_a_file() {
    let name = format!("weir-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let upstream = Upstream::start();
    let variable = format!("@{name}");
    let _weir = Weir::start_with(
        PLAIN,
        upstream.address(),
        &[("NOTIFY_SOCKET", variable.as_ref())],
    );
    let mut buffer = [0; 4096];
    let read = socket.recv(&mut buffer).expect("a message in time");
    assert!(buffer[..read].starts_with(b"READY=1\nSTATUS=serving on "));
}
