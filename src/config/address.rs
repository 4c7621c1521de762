//! Parsers for values with a grammar of their own: addresses, URLs, hosts, paths, methods and log levels.
//!
//! A URL may contain a password, so error messages never repeat it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use http::{Method, Uri};
use tracing_subscriber::EnvFilter;

use crate::config::error::{nearest, shown};
use crate::config::{Address, Endpoint, Target, scheme};

/// Longest path that fits into `sockaddr_un` on Linux, without the terminating zero byte.
const MAX_SOCKET_PATH: usize = 107;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Parses a listening address: `127.0.0.1:8080`, `[::1]:8080`, `:8080` (all IPv4 interfaces), `localhost:8080` or
/// `unix:/path`.
pub(crate) fn listen(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(Address::Unix);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Address::Tcp(address));
    }
    let wrong = || {
        format!(
            "{} is not an address such as `127.0.0.1:8080`, `[::1]:8080`, `:8080` or `unix:/path`",
            shown(text)
        )
    };
    if text.contains("://") {
        return Err(format!("{}; leave the scheme out", wrong()));
    }
    if text.parse::<u16>().is_ok() {
        return Err(format!(
            "{} is only a port; write `:{text}` or `127.0.0.1:{text}`",
            shown(text)
        ));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse::<u16>().map_err(|_| wrong())?;
    let address: IpAddr = match host {
        "" | "*" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => {
            return Err(format!(
                "{}; host names other than `localhost` cannot be listened on",
                wrong()
            ));
        }
    };
    Ok(Address::Tcp(SocketAddr::new(address, port)))
}

/// Reports whether the system chooses the port.
pub(crate) fn is_any_port(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() == 0)
}

/// Parses the URL of an endpoint: `http://host:port/prefix`, `https://…`, `dns+http://…`, `dns+https://…` or
/// `unix:/path`.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = socket_path(path)?;
        return Ok(Endpoint {
            target: Target::Unix(path),
            tls: false,
            authority: "localhost".to_owned(),
            path_prefix: String::new(),
            websocket: false,
        });
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        format!(
            "is not a URL; it must begin with `http://`, `https://`, `dns+http://`, `dns+https://` or `unix:/`{}",
            scheme::hint(text, "http")
        )
    })?;
    let tls = match scheme.strip_prefix("dns+").unwrap_or(scheme) {
        "http" => false,
        "https" => true,
        other => {
            return Err(format!(
                "the scheme is not `http`, `https`, `dns+http`, `dns+https` or `unix`{}",
                scheme::meant(other)
            ));
        }
    };
    if rest.contains('@') {
        return Err(
            "user and password are not supported in a URL; the client's own fields are passed on"
                .to_owned(),
        );
    }
    if rest.contains(['?', '#']) {
        return Err("query and fragment are not allowed in the URL of an endpoint".to_owned());
    }
    if rest.contains(char::is_whitespace) {
        let indented =
            "a line that is indented deeper than the one before it goes on with its value";
        return Err(format!("has a space in it, as no URL has ({indented})"));
    }
    let uri: Uri = format!("http://{rest}")
        .parse()
        .map_err(|_| "is not a valid URL".to_owned())?;
    let authority = uri.authority().ok_or("the URL has no host")?;
    let host = authority.host();
    let port = match (
        authority.port_u16(),
        authority.as_str().strip_prefix(host).unwrap_or_default(),
    ) {
        (Some(0), _) => return Err("port 0 cannot be connected to".to_owned()),
        (Some(port), _) => port,
        (None, "") => {
            if tls {
                443
            } else {
                80
            }
        }
        (None, _) => return Err("the port of the URL is not a number from 1 to 65535".to_owned()),
    };
    if host.is_empty() {
        return Err("the URL has no host".to_owned());
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Ok(Endpoint {
        target: Target::Tcp(bare.to_owned(), port),
        tls,
        authority: authority.as_str().to_owned(),
        path_prefix: uri.path().trim_end_matches('/').to_owned(),
        websocket: false,
    })
}

/// Parses the URL of an agent: that of an endpoint, or of a WebSocket at `ws://host:port/path`, `wss://…` or
/// `ws+unix:/path`.
pub(crate) fn agent(text: &str) -> Result<Endpoint, String> {
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let plain = match scheme {
        "ws" => "http",
        "wss" => "https",
        "ws+unix" => "unix",
        _ => return endpoint(text),
    };
    let mut agent = endpoint(&format!("{plain}:{rest}"))?;
    agent.websocket = true;
    if let Target::Tcp(..) = agent.target {
        // It is the path itself, so a slash at its end counts.
        let path = rest.trim_start_matches('/').split_once('/');
        agent.path_prefix = path
            .filter(|(_, path)| !path.is_empty())
            .map_or_else(String::new, |(_, path)| format!("/{path}"));
    }
    Ok(agent)
}

/// Parses a file name. Whether the file exists is checked later.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("is empty; a file name is needed".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Parses a host name or IPv4 address without port. Returns it in lower case.
pub(crate) fn host_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fits = name.len() <= 253 && name.split('.').all(label);
    if fits {
        return Ok(name);
    }
    let hint = if text.contains("://") {
        "; leave the scheme out"
    } else if text.contains(':') {
        "; leave the port out"
    } else {
        ""
    };
    Err(format!("{} is not a host name{hint}", shown(text)))
}

/// Parses a host name, or `*.` followed by a host name.
pub(crate) fn host_pattern(text: &str) -> Result<String, String> {
    match text.strip_prefix("*.") {
        Some(rest) if !rest.contains('*') => host_name(rest).map(|host| format!("*.{host}")),
        _ if text.contains('*') => Err(format!(
            "{} is not a host name; `*` is allowed only at the front, as in `*.example.com`",
            shown(text)
        )),
        _ => host_name(text),
    }
}

/// Parses a path with an optional query, for health checks.
pub(crate) fn request_path(text: &str) -> Result<String, String> {
    let valid = text.starts_with('/') && !text.contains('#') && text.parse::<Uri>().is_ok();
    if valid {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a path that begins with `/`",
            shown(text)
        ))
    }
}

/// Parses a path prefix. Returns it without trailing slashes, except for `/` itself.
pub(crate) fn path_prefix(text: &str) -> Result<String, String> {
    let path = request_path(text)?;
    if path.contains('?') {
        return Err(format!(
            "{} holds a query; routes match paths only",
            shown(text)
        ));
    }
    if path.contains('*') {
        return Err(format!(
            "{} holds a `*`; a prefix takes everything below it without one",
            shown(text)
        ));
    }
    let trimmed = path.trim_end_matches('/');
    Ok(if trimmed.is_empty() {
        "/".to_owned()
    } else {
        trimmed.to_owned()
    })
}

/// Parses a method, which must be in capital letters.
pub(crate) fn method(text: &str) -> Result<Method, String> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(format!(
            "{} is not a method; methods are written in capital letters",
            shown(text)
        ));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_| format!("{} is not a method such as `POST`", shown(text)))
}

/// Parses a log level, or directives of the log filter.
pub(crate) fn log_level(text: &str) -> Result<String, String> {
    // The filter takes an unknown word for a module name and logs that module in full. Here it is more likely a typo.
    let plain = !text.contains(['=', ',', ':', '[']);
    if plain && !LEVELS.contains(&text) {
        let hint = nearest(text, LEVELS.into_iter())
            .map_or_else(String::new, |level| format!("; did you mean `{level}`?"));
        return Err(format!(
            "{} is not `off`, `error`, `warn`, `info`, `debug` or `trace`{hint}",
            shown(text)
        ));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "{} is not a log filter such as `info,weir::config=debug`",
            shown(text)
        )),
    }
}

fn socket_path(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("//").unwrap_or(text);
    if !path.starts_with('/') {
        return Err(
            "a Unix socket needs an absolute path, as in `unix:/run/agent.sock`".to_owned(),
        );
    }
    if path.len() > MAX_SOCKET_PATH {
        return Err(format!(
            "the path of a Unix socket has {} bytes; the system allows {MAX_SOCKET_PATH}",
            path.len()
        ));
    }
    Ok(Path::new(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        for (text, host, port, tls, authority, prefix) in [
            ("http://agent", "agent", 80, false, "agent", ""),
            ("https://agent/", "agent", 443, true, "agent", ""),
            (
                "http://10.0.0.1:8000/v1/",
                "10.0.0.1",
                8000,
                false,
                "10.0.0.1:8000",
                "/v1",
            ),
            (
                "dns+http://agents.ns.svc:2024",
                "agents.ns.svc",
                2024,
                false,
                "agents.ns.svc:2024",
                "",
            ),
            ("dns+https://a", "a", 443, true, "a", ""),
            ("http://[::1]:80/x/y", "::1", 80, false, "[::1]:80", "/x/y"),
        ] {
            let want = Endpoint {
                target: Target::Tcp(host.to_owned(), port),
                tls,
                authority: authority.to_owned(),
                path_prefix: prefix.to_owned(),
                websocket: false,
            };
            assert_eq!(endpoint(text), Ok(want), "{text}");
        }
        for text in ["unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(
                endpoint(text).unwrap().target,
                Target::Unix("/run/a.sock".into()),
                "{text}"
            );
        }
        for text in [
            "",
            "agent",
            "http:agent",
            "http://",
            "http:///x",
            "http://a:b",
            "http://a b",
            "HTTP://a@b",
            "unix:",
            "unix:a",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        let joined = endpoint("http://a:1 - http://b:1").unwrap_err();
        assert!(joined.contains("has a space"), "{joined}");
    }

    #[test]
    fn websockets_have_a_path_of_their_own() {
        for (text, port, tls, prefix) in [
            ("ws://agent:8000", 8000, false, ""),
            ("ws://agent/", 80, false, ""),
            ("wss://agent/ws/", 443, true, "/ws/"),
            ("ws://agent/v1/ws", 80, false, "/v1/ws"),
        ] {
            let agent = agent(text).unwrap();
            assert_eq!(agent.target, Target::Tcp("agent".to_owned(), port));
            assert_eq!((agent.tls, &*agent.path_prefix), (tls, prefix), "{text}");
            assert!(agent.websocket);
        }
        let socket = agent("ws+unix:/run/a.sock").unwrap();
        assert_eq!(socket.target, Target::Unix("/run/a.sock".into()));
        assert!(socket.websocket && !agent("http://agent").unwrap().websocket);
        for text in [
            "ws:agent",
            "ws://",
            "wss://u@a",
            "ws://a/?x",
            "wsx://a",
            "ws+unix:a",
        ] {
            assert!(agent(text).is_err(), "{text}");
        }
        assert!(endpoint("ws://agent").is_err(), "only agents");
    }

    #[test]
    fn listening_addresses_have_short_forms() {
        for (text, want) in [
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::]:8080", "[::]:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert_eq!(
                listen(text),
                Ok(Address::Tcp(want.parse().unwrap())),
                "{text}"
            );
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(listen(&long).unwrap_err().contains("has 108 bytes"));
    }

    #[test]
    fn hosts_and_prefixes_are_normalised() {
        assert_eq!(
            host_pattern("*.Example.COM"),
            Ok("*.example.com".to_owned())
        );
        assert!(host_pattern("*.").is_err());
        assert!(host_pattern("*").is_err());
        assert_eq!(path_prefix("/v1/"), Ok("/v1".to_owned()));
        assert_eq!(path_prefix("//"), Ok("/".to_owned()));
    }
}
