//! `websocket`: what a route does with clients that ask for a WebSocket.

use std::time::Duration;

use http::Uri;

use crate::config::error::shown;

/// What a route does with clients that ask for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocket {
    /// Clients speak with Weir, which asks the agent over HTTP.
    Bridge,
    /// Clients are refused.
    Off,
    /// The agent is asked, and if it accepts, bytes pass both ways unchanged.
    Tunnel,
}

/// The settings of bridges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Whether clients acknowledge events.
    pub ack: Ack,
    /// How many events of a run a client may leave unacknowledged.
    pub ack_window: usize,
    /// How long it may acknowledge none while it has as many.
    pub ack_timeout: Duration,
    /// The sites whose pages may open a bridge; empty for those of the same host.
    pub origins: Vec<AllowedOrigin>,
    /// A run that was stopped ends with an event of its own.
    pub tells_interrupted: bool,
}

/// Whether clients acknowledge events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Acknowledgements mean nothing.
    Off,
    /// Clients that acknowledge are held to it.
    Optional,
    /// Clients must acknowledge.
    Required,
}

/// The words of `ack` besides `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    Optional,
    Required,
}

impl From<Option<Claimed>> for Ack {
    fn from(word: Option<Claimed>) -> Self {
        match word {
            None => Self::Off,
            Some(Claimed::Optional) => Self::Optional,
            Some(Claimed::Required) => Self::Required,
        }
    }
}

/// An entry of `origins`, in lower case, without the port that its scheme implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every site.
    Any,
    /// This origin and no other.
    Exact(String),
    /// The sites of all subdomains: what comes before the name, and how it ends, with a dot.
    Subdomains {
        /// The scheme, with `://`.
        before: String,
        /// The end of the host, and the port if it has one.
        after: String,
    },
}

impl AllowedOrigin {
    /// Reports whether it allows an origin, as a browser writes it.
    pub fn allows(&self, origin: &str) -> bool {
        let Some(asked) = normal(origin) else {
            // Such as `null`, the origin of sandboxed pages.
            return *self == Self::Any;
        };
        match self {
            Self::Any => true,
            Self::Exact(own) => *own == asked,
            Self::Subdomains { before, after } => asked
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(is_name),
        }
    }

    /// Returns the entry as the file has it.
    pub fn word(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exact(origin) => origin.clone(),
            Self::Subdomains { before, after } => format!("{before}*{after}"),
        }
    }
}

/// Reports whether it may be the beginning of a host name.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(is_part)
}

/// Returns an origin in lower case, without the port that its scheme implies; `None` if it is none.
fn normal(origin: &str) -> Option<String> {
    let lower = origin.trim().to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://")?;
    let uri = lower.parse::<Uri>().ok()?;
    let is_origin = uri.authority()?.as_str() == rest && !rest.contains('@');
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let rest = if port.is_empty() {
        rest
    } else {
        rest.strip_suffix(port).unwrap_or(rest)
    };
    (is_origin && !rest.is_empty()).then(|| format!("{scheme}://{rest}"))
}

/// Parses an entry of `websocket.origins`.
pub(crate) fn origin(text: &str) -> Result<AllowedOrigin, String> {
    if text == "*" {
        return Ok(AllowedOrigin::Any);
    }
    let wild = text.split_once("://*.");
    let plain = match wild {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => text.to_owned(),
    };
    let plain = normal(&plain).filter(|plain| !plain.contains('*'));
    let Some(plain) = plain else {
        return Err(format!(
            "{} is not an origin such as `https://app.example.com`, `https://*.example.com` or `*`",
            shown(text)
        ));
    };
    if wild.is_none() {
        return Ok(AllowedOrigin::Exact(plain));
    }
    let (scheme, rest) = plain.split_once("://").unwrap_or_default();
    Ok(AllowedOrigin::Subdomains {
        before: format!("{scheme}://"),
        after: format!(".{rest}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overrides, Policy};

    fn load(defaults: &str, route: &str) -> Result<Policy, String> {
        let text = format!(
            "upstreams: {{agent: {{endpoints: [\"http://127.0.0.1:8000\"]}}}}\n\
            defaults: {defaults}\n\
            routes: [{{name: chat, {route}}}]\n"
        );
        config::load(Some(("f", &text)), &Overrides::default())
            .map(|config| config.routes[0].policy.clone())
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_word_stands_for_the_section() {
        for (defaults, route, want) in [
            ("{}", "", WebSocket::Tunnel),
            ("{}", "websocket: tunnel", WebSocket::Tunnel),
            ("{}", "websocket: bridge", WebSocket::Bridge),
            ("{}", "websocket: off", WebSocket::Off),
            ("{}", "websocket: false", WebSocket::Off),
            ("{}", "websocket: {mode: bridge}", WebSocket::Bridge),
            ("{}", "websocket: {mode: off}", WebSocket::Off),
            ("{}", "websocket: {}", WebSocket::Tunnel),
            ("{websocket: bridge}", "", WebSocket::Bridge),
            ("{websocket: bridge}", "websocket: off", WebSocket::Off),
            (
                "{websocket: bridge}",
                "websocket: {ack: required}",
                WebSocket::Bridge,
            ),
        ] {
            let policy = load(defaults, route).unwrap();
            assert_eq!(policy.websocket, want, "{defaults} {route}");
        }
    }

    #[test]
    fn keys_are_inherited_one_by_one() {
        let unset = load("{}", "websocket: bridge").unwrap().bridge;
        let want = Bridge {
            ack: Ack::Optional,
            ack_window: 256,
            ack_timeout: Duration::from_secs(5),
            origins: Vec::new(),
            tells_interrupted: false,
        };
        assert_eq!(*unset, want);
        let defaults = "{websocket: {ack: required, ack_window: 8, origins: \"*\"}}";
        let route = "websocket: {mode: bridge, ack: off, ack_timeout: 1s, interrupted: true, origins: [\"https://A.example:443\", \"https://*.b.example:8443\"]}";
        let set = load(defaults, route).unwrap().bridge;
        let want = Bridge {
            ack: Ack::Off,
            ack_window: 8,
            ack_timeout: Duration::from_secs(1),
            origins: vec![
                AllowedOrigin::Exact("https://a.example".to_owned()),
                AllowedOrigin::Subdomains {
                    before: "https://".to_owned(),
                    after: ".b.example:8443".to_owned(),
                },
            ],
            tells_interrupted: true,
        };
        assert_eq!(*set, want);
        let words: Vec<_> = set.origins.iter().map(AllowedOrigin::word).collect();
        assert_eq!(words, ["https://a.example", "https://*.b.example:8443"]);
    }

    #[test]
    fn mistakes_name_their_keys() {
        for (route, wanted) in [
            ("websocket: bridged", "websocket: `bridged` is not"),
            (
                "websocket: {mode: brigde}",
                "websocket.mode: `brigde` is not",
            ),
            ("websocket: [bridge]", "websocket: a list is not a section"),
            ("websocket: {ack: never}", "websocket.ack: `never` is not"),
            (
                "websocket: {ack_window: 0}",
                "websocket.ack_window: 0 is not",
            ),
            (
                "websocket: {origins: app.example.com}",
                "websocket.origins: `app.example.com` is not an origin",
            ),
            (
                "websocket: {origins: [\"https://a\", \"https://a/b\"]}",
                "websocket.origins[1]: `https://a/b` is not an origin",
            ),
            (
                "websocket: {origins: \"https://a.*.b\"}",
                "websocket.origins: `https://a.*.b` is not an origin",
            ),
            ("websocket: {acks: off}", "websocket.acks: unknown key"),
        ] {
            let refused = load("{}", route).unwrap_err();
            assert!(refused.contains(wanted), "{route}: {refused}");
        }
    }

    #[test]
    fn an_origin_is_compared_as_a_whole() {
        for (allowed, asked, allows) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://A.EXAMPLE:443", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://a.example.evil", false),
            ("https://a.example", "https://evil-a.example", false),
            ("https://a.example", "https://x.a.example", false),
            ("https://*.a.example", "https://x.a.example", true),
            ("https://*.a.example", "https://x.y.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            ("https://*.a.example", "https://.a.example", false),
            ("https://*.a.example", "https://xa.example", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("https://a.example", "null", false),
            ("https://a.example", "", false),
            ("*", "https://b.example", true),
            ("*", "null", true),
        ] {
            let entry = origin(allowed).unwrap();
            assert_eq!(entry.allows(asked), allows, "{allowed} {asked}");
        }
    }
}
