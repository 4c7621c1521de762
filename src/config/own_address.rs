//! Finds endpoints that are Weir itself: a request that is sent there comes back, again and again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path as FilePath;
use std::sync::Arc;

use crate::config::error::{Path, Place, Report};
use crate::config::overrides;
use crate::config::raw::Root;
use crate::config::{Address, Admin, Endpoint, Listen, Target, Upstream};

/// Reports endpoints at which Weir itself listens. It is an error if every request would come back to its own route,
/// and a warning if that is not certain.
pub(crate) fn check(
    root: &Root,
    upstreams: &[Arc<Upstream>],
    listen: &[Listen],
    admin: &Admin,
    report: &mut Report,
) {
    // Without the addresses of the file, there would be a guess.
    let is_known = report.is_fine("listen") && report.is_fine(&overrides::both("--listen"));
    if root.listen.is_none() && !is_known {
        return;
    }
    for upstream in upstreams {
        for endpoint in &upstream.endpoints {
            let meets = |address: &Address| meeting(address, endpoint);
            let own = listen
                .iter()
                .find_map(|one| Some((meets(&one.address)?, one.address.to_string())));
            if let Some((meeting, address)) = own {
                // With a path of its own, a request may take another route.
                let is_certain = meeting == Meeting::Certain && endpoint.path_prefix.is_empty();
                let said = format!("is an address of Weir itself (`listen` has {address})");
                let (place, path) = place_of(root, upstream, endpoint);
                if is_certain {
                    let why = "so every request would come back; name the address of the agent";
                    report.at(place, &path, format!("{said}, {why}"));
                } else {
                    let why = "so requests may come back; the agent needs an address of its own";
                    report.warn(place, &path, format!("{said}, {why}"));
                }
            } else if admin.listen.as_ref().and_then(meets).is_some() {
                let (place, path) = place_of(root, upstream, endpoint);
                report.warn(
                    place,
                    &path,
                    "is the admin listener of Weir itself (`admin.listen`), which is no agent",
                );
            }
        }
    }
}

/// Whether an endpoint is an address that Weir listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// On every machine.
    Certain,
    /// On this machine.
    Here,
}

fn meeting(address: &Address, endpoint: &Endpoint) -> Option<Meeting> {
    match (address, &endpoint.target) {
        (Address::Unix(own), Target::Unix(path)) => {
            is_same_file(own, path).then_some(Meeting::Certain)
        }
        (Address::Tcp(own), Target::Tcp(host, port)) => {
            if own.port() != *port {
                return None;
            }
            let hosts: Vec<IpAddr> = if host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
            {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            } else {
                Vec::from_iter(host.parse::<IpAddr>())
            };
            hosts.into_iter().find_map(|host| reaches(*own, host))
        }
        (Address::Unix(_), Target::Tcp(..)) | (Address::Tcp(_), Target::Unix(_)) => None,
    }
}

/// Reports whether two paths lead to the same socket. It need not exist yet, but its folder mostly does.
fn is_same_file(one: &FilePath, other: &FilePath) -> bool {
    let real = |path: &FilePath| {
        let folder = path.parent()?.canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

/// Reports whether a connection to `host` and the port of `own` arrives at `own`.
fn reaches(own: SocketAddr, host: IpAddr) -> Option<Meeting> {
    let host: IpAddr = match host.to_canonical() {
        // The system takes them for loopback.
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    let all = match own.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && host.is_ipv4(),
        // It takes connections of IPv4 as well.
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if own.ip().to_canonical() == host || all && host.is_loopback() {
        return Some(Meeting::Certain);
    }
    // Only an address of this machine can be bound. Nothing is sent.
    (all && UdpSocket::bind((host, 0)).is_ok()).then_some(Meeting::Here)
}

/// Returns where an endpoint is written.
fn place_of(root: &Root, upstream: &Upstream, endpoint: &Endpoint) -> (Place, Path) {
    let raw = root.upstreams.iter().flat_map(|named| &named.value);
    let written = raw
        .filter(|(name, _)| name.value == *upstream.name)
        .filter_map(|(_, raw)| raw.endpoints.as_ref())
        .flat_map(|endpoints| &endpoints.value)
        .find(|entry| entry.value == *endpoint);
    match written {
        Some(entry) => {
            let path = Path::default().key("upstreams").key(&upstream.name);
            (entry.place, path.key("endpoints").entry(entry.index))
        }
        None => overrides::place_of("--upstream"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address;

    fn met(listen: &str, endpoint: &str) -> Option<Meeting> {
        let (listen, endpoint) = (address::listen(listen), address::agent(endpoint));
        meeting(&listen.unwrap(), &endpoint.unwrap())
    }

    #[test]
    fn loopback_and_all_addresses_meet() {
        for (listen, endpoint, certain) in [
            (":8080", "http://127.0.0.1:8080", true),
            (":8080", "http://127.1.2.3:8080", true),
            (":8080", "http://localhost:8080", true),
            (":8080", "ws://LOCALHOST:8080", true),
            (":8080", "http://0.0.0.0:8080", true),
            (":80", "http://localhost", true),
            ("[::]:8080", "http://127.0.0.1:8080", true),
            ("[::]:8080", "http://[::1]:8080", true),
            ("[::1]:8080", "http://localhost:8080", true),
            ("192.0.2.1:8080", "http://192.0.2.1:8080", true),
            ("unix:/run/w", "unix:/run/w", true),
            ("unix:/tmp/w", "unix:/tmp/../tmp/w", true),
            (":8080", "http://localhost.:8080", true),
            (":8080", "http://127.0.0.1:8000", false),
            (":8080", "http://[::1]:8080", false),
            (":8080", "http://agent:8080", false),
            (":8080", "http://192.0.2.1:8080", false),
            ("127.0.0.1:8080", "http://127.0.0.2:8080", false),
            ("127.0.0.1:8080", "http://192.0.2.1:8080", false),
            ("unix:/run/w", "unix:/run/a", false),
            ("unix:/run/w", "http://localhost", false),
        ] {
            let want = certain.then_some(Meeting::Certain);
            assert_eq!(met(listen, endpoint), want, "{listen} {endpoint}");
        }
    }
}
