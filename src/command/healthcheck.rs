//! `weir healthcheck`: one GET, for images without a shell.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Output;

const LIMIT: Duration = Duration::from_secs(3);

/// Asks `url` (plain http) and says whether the status was 2xx.
pub fn healthcheck(url: &str) -> Output {
    match status(url) {
        Ok(status) if (200..300).contains(&status) => Output {
            stdout: format!("{status}\n"),
            ..Output::default()
        },
        Ok(status) => Output {
            stderr: format!("{url} answered {status}\n"),
            code: 1,
            ..Output::default()
        },
        Err(problem) => Output {
            stderr: format!("{url}: {problem}\n"),
            code: 1,
            ..Output::default()
        },
    }
}

fn status(url: &str) -> Result<u16, String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("no URL: {error}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("expected http://HOST:PORT/PATH".into());
    }
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(80);
    let failed = |error: std::io::Error| error.to_string();
    let mut addresses = (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()
        .map_err(failed)?;
    let address = addresses.next().ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .map_err(failed)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(failed)?;
    let code = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|code| std::str::from_utf8(code).ok());
    code.and_then(|code| code.parse().ok())
        .ok_or_else(|| "the answer is no HTTP/1.1 status line".into())
}
