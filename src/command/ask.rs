//! Sends one request to a running Weir, for commands in images without a shell.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::problem::{Problem, usage};

/// Default address of the admin listener.
pub(super) const ADMIN: &str = "127.0.0.1:9464";
/// Time limit of connecting, and of a response that waits for nothing.
pub(super) const LIMIT: Duration = Duration::from_secs(3);

/// Where Weir listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(String),
}

impl Place {
    /// Returns where the same host can reach a listening address.
    pub(super) fn of_listener(address: &str) -> Result<Self, Problem> {
        if let Some(path) = address.strip_prefix("unix:") {
            return Ok(Self::Unix(path.to_owned()));
        }
        let wrong = || usage("expected HOST:PORT or unix:/PATH");
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host {
            "" | "*" | "0.0.0.0" | "[::]" => "127.0.0.1",
            host => host,
        };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong())?,
        })
    }
}

/// The status of a response, and what follows it, from the rest of the status line on.
pub(super) type Answer = (u16, Box<dyn Read>);

/// Sends a GET request with these fields. `limit`: how long the response may be silent.
pub(super) fn get(
    place: &Place,
    path: &str,
    fields: &[(&str, &str)],
    limit: Duration,
) -> io::Result<Answer> {
    send(place, &format!("GET {path}"), fields, limit)
}

/// Sends a request that begins with these words, its method and its path.
pub(super) fn send(
    place: &Place,
    words: &str,
    fields: &[(&str, &str)],
    limit: Duration,
) -> io::Result<Answer> {
    match place {
        Place::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(limit))?;
            ask(stream, "localhost", words, fields)
        }
        Place::Tcp { host, port } => {
            let mut addresses = (host.trim_matches(['[', ']']), *port).to_socket_addrs()?;
            let none = || io::Error::other("the name has no address");
            let stream = TcpStream::connect_timeout(&addresses.next().ok_or_else(none)?, LIMIT)?;
            stream.set_read_timeout(Some(limit))?;
            ask(stream, host, words, fields)
        }
    }
}

fn ask(
    mut stream: impl Read + Write + 'static,
    host: &str,
    words: &str,
    fields: &[(&str, &str)],
) -> io::Result<Answer> {
    let mut request = format!("{words} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let code = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|code| std::str::from_utf8(code).ok());
    let none = || io::Error::other("the response does not begin with an HTTP/1.1 status line");
    let status = code.and_then(|code| code.parse().ok()).ok_or_else(none)?;
    Ok((status, Box::new(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_asked_from_the_same_host() {
        for (address, host, port) in [
            ("127.0.0.1:9464", "127.0.0.1", 9464),
            ("0.0.0.0:1", "127.0.0.1", 1),
            (":1", "127.0.0.1", 1),
            ("*:1", "127.0.0.1", 1),
            ("[::]:1", "127.0.0.1", 1),
            ("[::1]:1", "[::1]", 1),
        ] {
            let expected = Place::Tcp {
                host: host.to_owned(),
                port,
            };
            let place =
                Place::of_listener(address).unwrap_or_else(|problem| panic!("{}", problem.message));
            assert_eq!(place, expected);
        }
        let unix = Place::of_listener("unix:/run/weir.sock");
        assert!(unix.is_ok_and(|place| place == Place::Unix("/run/weir.sock".to_owned())));
        for wrong in ["", "9464", "127.0.0.1", "127.0.0.1:x", "off"] {
            let problem = Place::of_listener(wrong).err().map(|problem| problem.code);
            assert_eq!(problem, Some(2), "{wrong}");
        }
    }
}
