//! Parses what names a Redis server: its URL, names that it knows, and the beginning of its keys.
//!
//! A URL may contain a password, so neither messages nor results repeat it.

use std::fmt;

use crate::config::error::shown;
use crate::config::{Endpoint, Target, address, scheme};

/// Port of a URL that names none.
const PORT: u16 = 6379;
/// Longest name, and longest beginning of a key.
const MAX_NAME: usize = 63;

/// The URL of a Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// Host and port, or the socket; whether to use TLS.
    pub endpoint: Endpoint,
    /// The number of the database.
    pub database: u32,
}

impl fmt::Display for RedisUrl {
    /// Writes the URL as the file does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database;
        match &self.endpoint.target {
            Target::Unix(path) => write!(f, "redis+unix://{}?db={database}", path.display()),
            Target::Tcp(..) => {
                let scheme = if self.endpoint.tls { "rediss" } else { "redis" };
                write!(f, "{scheme}://{}/{database}", self.endpoint.authority)
            }
        }
    }
}

/// Parses `redis://host:port/db`, `rediss://…` or `redis+unix:///path?db=0`. Port and database may be left out.
pub(crate) fn url(text: &str) -> Result<RedisUrl, String> {
    if let Some(rest) = text.strip_prefix("redis+unix:") {
        let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
        let number = query
            .strip_prefix("db=")
            .ok_or("the query of the URL is not the database, as in `redis+unix:///path?db=0`")?;
        return Ok(RedisUrl {
            endpoint: address::endpoint(&format!("unix:{path}"))?,
            database: database(number)?,
        });
    }
    let (scheme, rest) = match text.split_once("://") {
        Some(("redis", rest)) => ("http", rest),
        Some(("rediss", rest)) => ("https", rest),
        _ => {
            let hint = scheme::hint(text, "redis");
            return Err(format!(
                "is not a URL that begins with `redis://`, `rediss://` or `redis+unix:///`{hint}"
            ));
        }
    };
    if rest.contains('@') {
        return Err("user and password do not belong in the URL; `username` and `password` say where they are read from".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("query and fragment are not allowed in the URL of a server".to_owned());
    }
    let (origin, number) = rest.split_once('/').unwrap_or((rest, ""));
    // The colons of an IPv6 address lie in brackets.
    let has_port = origin
        .rsplit(']')
        .next()
        .is_some_and(|end| end.contains(':'));
    let endpoint = if has_port {
        address::endpoint(&format!("{scheme}://{origin}"))?
    } else {
        address::endpoint(&format!("{scheme}://{origin}:{PORT}"))?
    };
    Ok(RedisUrl {
        endpoint,
        database: if number.is_empty() {
            0
        } else {
            database(number)?
        },
    })
}

fn database(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok();
    number.filter(|_| !text.starts_with('+')).ok_or_else(|| {
        "the URL does not end with the number of a database, as in `redis://redis:6379/0`"
            .to_owned()
    })
}

/// Parses a name that the server knows: any printable text.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && !text.contains(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a name (1 to {MAX_NAME} printable bytes)",
            shown(text)
        ))
    }
}

/// Parses the beginning of all keys. Braces would decide the slot of a key in a cluster, and `*` is a pattern of ACLs.
pub(crate) fn prefix(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not the beginning of a key (1 to {MAX_NAME} of a-z, A-Z, 0-9, `_`, `-`, `.`, `:`, `/`)",
            shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_written_again() {
        for (text, target, tls, written) in [
            (
                "redis://redis",
                ("redis", 6379),
                false,
                "redis://redis:6379/0",
            ),
            ("redis://redis:1/", ("redis", 1), false, "redis://redis:1/0"),
            (
                "rediss://r.example.com:6380/3",
                ("r.example.com", 6380),
                true,
                "rediss://r.example.com:6380/3",
            ),
            (
                "redis://[::1]/2",
                ("::1", 6379),
                false,
                "redis://[::1]:6379/2",
            ),
            ("redis://[::1]:7", ("::1", 7), false, "redis://[::1]:7/0"),
        ] {
            let read = url(text).unwrap();
            let (host, port) = target;
            assert_eq!(
                read.endpoint.target,
                Target::Tcp(host.to_owned(), port),
                "{text}"
            );
            assert_eq!(
                (read.endpoint.tls, &*read.to_string()),
                (tls, written),
                "{text}"
            );
            assert_eq!(url(written), Ok(read), "{text}");
        }
        for (text, database) in [
            ("redis+unix:///run/redis.sock", 0),
            ("redis+unix:/run/redis.sock?db=5", 5),
        ] {
            let read = url(text).unwrap();
            let socket = Target::Unix("/run/redis.sock".into());
            assert_eq!(
                (&read.endpoint.target, read.database),
                (&socket, database),
                "{text}"
            );
            assert_eq!(url(&read.to_string()), Ok(read), "{text}");
        }
    }

    #[test]
    fn other_urls_are_refused_and_not_repeated() {
        for text in [
            "",
            "redis:6379",
            "http://s3cret",
            "redis://",
            "redis:///0",
            "redis://:s3cret@redis",
            "redis://redis:x",
            "redis://redis:0",
            "redis://redis/s3cret",
            "redis://redis/-1",
            "redis://redis/+1",
            "redis://redis/0/1",
            "redis://redis/0?password=s3cret",
            "redis+unix://s3cret",
            "redis+unix:///run/r.sock?pass=s3cret",
            "redis+unix:///run/r.sock?db=s3cret",
        ] {
            let refused = url(text).unwrap_err();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn keys_begin_with_what_an_acl_can_name() {
        for text in ["weir:", "a/b.c-d_1:"] {
            assert_eq!(prefix(text), Ok(text.to_owned()));
        }
        for text in ["", "{weir}", "weir*", "we ir", &"p".repeat(64)] {
            assert!(prefix(text).is_err(), "{text}");
        }
        assert!(name("default").is_ok() && name("").is_err() && name("a\n").is_err());
    }
}
