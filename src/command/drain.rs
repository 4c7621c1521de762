//! `weir drain`: asks a running Weir to drain, and waits for the end. It serves as a preStop hook in images without a
//! shell, and where the request needs a token.

use std::io::Read;
use std::time::Duration;

use super::Output;
use super::ask::{self, ADMIN, LIMIT, Place};
use super::problem::{Problem, usage};
use crate::admin::MARK;
use crate::config;

/// The most bytes of the response that are read and shown. It is one line.
const MAX_RESPONSE: u64 = 4 << 10;

/// Begins the drain at the admin listener `admin`, and waits for its end, but not longer than `wait`. `token` names the
/// source of the token. The exit code is 0 whether the drain is over or not.
pub fn drain(admin: Option<&str>, wait: &str, token: Option<&str>) -> Output {
    let admin = admin.unwrap_or(ADMIN);
    match request_drain(admin, wait, token) {
        Ok((200, said)) => Output {
            stdout: said,
            ..Output::default()
        },
        Ok((status, said)) => Output {
            stderr: format!("{admin} answered {status}: {said}"),
            code: 1,
            ..Output::default()
        },
        Err(Problem { message, code }) => Output {
            stderr: format!("{admin}: {message}\n"),
            code,
            ..Output::default()
        },
    }
}

/// Returns the status and the body of the response.
fn request_drain(admin: &str, wait: &str, token: Option<&str>) -> Result<(u16, String), Problem> {
    let place = Place::of_listener(admin)?;
    let wait = config::duration(wait).map_err(|why| usage(format!("--wait `{wait}` {why}")))?;
    let token = token.map(config::read_secret).transpose();
    let token = token.map_err(|why| usage(format!("--token: {why}")))?;
    let mark = MARK;
    let mut fields = vec![(mark.as_str(), "1".to_owned())];
    if let Some(token) = &token {
        let token = token
            .to_str()
            .map_err(|_| usage("--token: the token has a character that a header cannot have"))?;
        fields.push(("Authorization", format!("Bearer {token}")));
    }
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let path = format!("/drain?wait={}ms", wait.as_millis());
    let (status, rest) = ask::get(&place, &path, &fields, limit(wait))?;
    let mut text = Vec::new();
    rest.take(MAX_RESPONSE).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// Returns how long the response may take: a little longer than what it waits for.
const fn limit(wait: Duration) -> Duration {
    wait.saturating_add(LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_arguments_are_rejected() {
        assert_eq!(drain(Some("off"), "1s", None).code, 2);
        let wrong = drain(None, "27", None);
        assert!(
            wrong.code == 2 && wrong.stderr.contains("--wait"),
            "{}",
            wrong.stderr
        );
        let wrong = drain(None, "1s", Some("s3cret"));
        assert!(wrong.code == 2 && wrong.stderr.contains("--token"));
        assert!(!wrong.stderr.contains("s3cret"));
        assert_eq!(drain(Some("unix:/no/such"), "0s", None).code, 1);
    }
}
