//! Suggests what a URL without a scheme was meant to be. A URL may contain a password, so only what is clearly a host
//! is repeated.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest host and port that are repeated, in bytes.
const MAX_SHOWN: usize = 40;

/// Returns the end of a message about a URL that does not begin as it must: `; did you mean …?`. `scheme` is what is
/// usually right. Returns nothing if the text has a scheme.
pub(crate) fn hint(text: &str, scheme: &str) -> String {
    if text.starts_with('/') {
        return "; a Unix socket is written `unix:/path`".to_owned();
    }
    let is_word = |next: char| next.is_ascii_graphic() && next != '@';
    if text.is_empty() || text.contains("://") || !text.chars().all(is_word) {
        return String::new();
    }
    let written = [
        "http:", "https:", "redis:", "rediss:", "unix:", "ws:", "wss:",
    ];
    if written.iter().any(|scheme| text.starts_with(scheme)) {
        return String::new();
    }
    let end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (host, path) = text.split_at_checked(end).unwrap_or((text, ""));
    if !is_host(host) {
        return format!("; did you forget `{scheme}://` before it?");
    }
    // A path may hold a token.
    let path = if path.is_empty() { "" } else { "/…" };
    format!("; did you mean `{scheme}://{host}{path}`?")
}

/// Returns the end of a message about a scheme that is only written in another way than it must be:
/// `; did you mean …?`.
pub(crate) fn meant(scheme: &str) -> String {
    if scheme.starts_with(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']) {
        return "; it begins with a typographic quotation mark, which is part of the value: use `\"`".to_owned();
    }
    let written = scheme.to_ascii_lowercase();
    let meant = match &*written {
        "http" | "htp" | "htpp" | "hhtp" | "ttp" => "http",
        "https" | "htps" | "htpps" | "httsp" | "httpss" => "https",
        "ws" | "websocket" => "ws",
        "wss" => "wss",
        _ => return String::new(),
    };
    format!("; did you mean `{meant}://`?")
}

/// Reports whether a text is clearly a host, with or without a port.
fn is_host(text: &str) -> bool {
    if text.len() > MAX_SHOWN {
        return false;
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => (host, Some(port)),
        _ => (text, None),
    };
    let has_port = match port {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => false,
    };
    if port.is_some() && !has_port {
        return false;
    }
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_address = host.parse::<Ipv4Addr>().is_ok()
        || in_brackets.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    let is_name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // Without a port, a single word may be anything.
    let is_domain = || {
        let last = host.rsplit_once('.').map(|(_, last)| last);
        last.is_some_and(|last| {
            last.len() > 1 && last.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    };
    is_address || is_name && (has_port || host == "localhost" || is_domain())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_in_capital_letters_is_recognized() {
        assert_eq!(meant("HTTP"), "; did you mean `http://`?");
        assert_eq!(meant("htps"), "; did you mean `https://`?");
        assert_eq!(meant("s3cret"), "");
        assert!(meant("\u{201c}http").contains("typographic"));
    }

    #[test]
    fn a_host_is_repeated_and_nothing_else() {
        for (text, want) in [
            ("127.0.0.1:8000", "; did you mean `http://127.0.0.1:8000`?"),
            (
                "agent:8000/v1?key=s3cret",
                "; did you mean `http://agent:8000/…`?",
            ),
            ("[::1]:8000", "; did you mean `http://[::1]:8000`?"),
            ("localhost", "; did you mean `http://localhost`?"),
            (
                "agent.example.com/v1",
                "; did you mean `http://agent.example.com/…`?",
            ),
            ("s3cret", "; did you forget `http://` before it?"),
            ("s3cret:port", "; did you forget `http://` before it?"),
            ("http:agent", ""),
            ("unix:/s3cret", ""),
            ("user:s3cret@agent:8000", ""),
            ("ftp://agent", ""),
            (
                "/run/s3cret.sock",
                "; a Unix socket is written `unix:/path`",
            ),
            ("a b", ""),
            ("", ""),
        ] {
            assert_eq!(hint(text, "http"), want, "{text}");
        }
        let long = format!("{}.example.com", "a".repeat(40));
        assert_eq!(
            hint(&long, "redis"),
            "; did you forget `redis://` before it?"
        );
    }
}
