//! `weir healthcheck`: sends one GET request. It serves as a container health check in images without a shell.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::Output;

const LIMIT: Duration = Duration::from_secs(3);

/// Default address of the admin listener.
const ADMIN: &str = "127.0.0.1:9464";

/// Requests `url`, or `/healthz` of the admin listener at `admin`, and reports whether the status was 2xx.
pub fn healthcheck(url: Option<&str>, admin: Option<&str>) -> Output {
    let default = || default_url(admin.unwrap_or(ADMIN));
    let url = url.map_or_else(default, ToOwned::to_owned);
    match target(&url).and_then(|target| status(&target)) {
        Ok(status) if (200..300).contains(&status) => Output {
            stdout: format!("{status}\n"),
            ..Output::default()
        },
        Ok(status) => Output {
            stderr: format!("{url} answered {status}\n"),
            code: 1,
            ..Output::default()
        },
        Err(Problem { message, code }) => Output {
            stderr: format!("{url}: {message}\n"),
            code,
            ..Output::default()
        },
    }
}

/// Returns the URL at which the same host can reach a listening address.
fn default_url(admin: &str) -> String {
    if admin.starts_with("unix:") {
        return admin.to_owned();
    }
    let port = admin.rsplit(':').next().unwrap_or_default();
    let host = admin.strip_suffix(port).unwrap_or_default();
    let host = match host.trim_end_matches(':') {
        "" | "*" | "0.0.0.0" | "[::]" => "127.0.0.1",
        host => host,
    };
    format!("http://{host}:{port}/healthz")
}

/// A failure and its exit code.
struct Problem {
    message: String,
    code: u8,
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self {
            message: error.to_string(),
            code: 1,
        }
    }
}

fn usage(message: impl ToString) -> Problem {
    Problem {
        message: message.to_string(),
        code: 2,
    }
}

enum Target {
    Tcp {
        host: String,
        port: u16,
        path: String,
    },
    /// Path of a Unix socket. The request goes to `/healthz`.
    Unix(String),
}

fn target(url: &str) -> Result<Target, Problem> {
    const FORM: &str = "expected http://HOST:PORT/PATH or unix:/PATH";
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok(Target::Unix(path.to_owned()));
    }
    let uri: http::Uri = url.parse().map_err(|_| usage(FORM))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(usage(FORM));
    };
    Ok(Target::Tcp {
        host: host.to_owned(),
        port: uri.port_u16().unwrap_or(80),
        path: uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
    })
}

fn status(target: &Target) -> Result<u16, Problem> {
    match target {
        Target::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(LIMIT))?;
            ask(stream, "localhost", "/healthz")
        }
        Target::Tcp { host, port, path } => {
            let mut addresses = (host.trim_matches(['[', ']']), *port).to_socket_addrs()?;
            let none = || std::io::Error::other("the name has no address");
            let stream = TcpStream::connect_timeout(&addresses.next().ok_or_else(none)?, LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            ask(stream, host, path)
        }
    }
}

fn ask(mut stream: impl Read + Write, host: &str, path: &str) -> Result<u16, Problem> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let code = head
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|code| std::str::from_utf8(code).ok());
    let none = || std::io::Error::other("the answer is no HTTP/1.1 status line");
    Ok(code.and_then(|code| code.parse().ok()).ok_or_else(none)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_is_asked_from_the_same_host() {
        for (admin, url) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464/healthz"),
            ("0.0.0.0:1", "http://127.0.0.1:1/healthz"),
            (":1", "http://127.0.0.1:1/healthz"),
            ("[::]:1", "http://127.0.0.1:1/healthz"),
            ("[::1]:1", "http://[::1]:1/healthz"),
            ("unix:/run/weir.sock", "unix:/run/weir.sock"),
        ] {
            assert_eq!(default_url(admin), url);
        }
    }

    #[test]
    fn what_is_no_url_is_wrong_usage() {
        for url in ["", "127.0.0.1:9464", "https://127.0.0.1/", "http://"] {
            assert_eq!(healthcheck(Some(url), None).code, 2, "{url}");
        }
        assert_eq!(healthcheck(Some("unix:/no/such"), None).code, 1);
    }
}
