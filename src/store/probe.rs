//! Whether a server can be used, for `weir check --probe`.

use redis::{Cmd, RedisResult, Value};

use super::client::{self, Link};
use super::keys::Keys;
use super::reply::{bytes, pairs, text};
use crate::config::RedisSettings;

/// The oldest version that knows all commands.
const OLDEST: (u32, u32) = (6, 2);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The server is as it should be.
    Fine,
    /// The server works, but not well.
    Warning,
    /// The server cannot be used.
    Problem,
}

/// What was found out about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in words.
    pub text: String,
}

fn finding(severity: Severity, text: impl Into<String>) -> Finding {
    Finding {
        severity,
        text: text.into(),
    }
}

/// Connects to the server, tries each command that is needed on a key of its own, and reads settings that matter.
pub async fn probe(settings: &RedisSettings) -> Vec<Finding> {
    let mut link = match client::connect(settings).await {
        Ok(link) => link,
        Err(error) => {
            let text = error.to_string();
            let text = if text.contains("unknown command") && text.contains("HELLO") {
                format!(
                    "Redis does not know HELLO, which is of version 6.0; it must be 6.2 at least: {text}"
                )
            } else {
                format!("Redis cannot be reached: {text}")
            };
            return vec![finding(Severity::Problem, text)];
        }
    };
    let key = Keys::new(&settings.prefix).probe();
    let mut found = vec![finding(Severity::Fine, "Redis can be reached")];
    let mut info = redis::cmd("INFO");
    info.arg("server");
    found.push(version(ask(&mut link, info).await.as_deref()));
    found.append(&mut commands(&mut link, &key).await);
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg("maxmemory-policy");
    let mut policy = send(&mut link, get).await.and_then(configured);
    if policy.is_none() {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let memory = ask(&mut link, info).await;
        policy = memory.and_then(|memory| field(&memory, "maxmemory_policy").map(str::to_owned));
    }
    found.push(eviction(policy.as_deref()));
    found
}

async fn send(link: &mut Link, command: Cmd) -> Option<Value> {
    let answers = link.send(&client::pipeline([command])).await.ok()?;
    answers.into_iter().next()?.ok()
}

async fn ask(link: &mut Link, command: Cmd) -> Option<String> {
    text(send(link, command).await?)
}

/// Returns the value of `name:value` in what INFO answers.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn version(info: Option<&str>) -> Finding {
    let Some(text) = info.and_then(|info| field(info, "redis_version")) else {
        return finding(
            Severity::Warning,
            "the version of Redis cannot be read; it must be 6.2 at least",
        );
    };
    let mut numbers = text.split('.').map_while(|part| part.parse::<u32>().ok());
    let version = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    if version < OLDEST {
        let text = format!("Redis has version {text}; it must be 6.2 at least");
        return finding(Severity::Problem, text);
    }
    finding(Severity::Fine, format!("Redis has version {text}"))
}

fn configured(answer: Value) -> Option<String> {
    let (_, policy) = pairs(answer).into_iter().next()?;
    text(policy)
}

fn eviction(policy: Option<&str>) -> Finding {
    match policy {
        None => finding(
            Severity::Warning,
            "the eviction policy of Redis cannot be read; with an `allkeys` policy it deletes streams that still run",
        ),
        Some(policy) if policy == "noeviction" || policy.starts_with("volatile-") => {
            finding(Severity::Fine, format!("the eviction policy is {policy}"))
        }
        Some(policy) => finding(
            Severity::Warning,
            format!(
                "the eviction policy is {policy}, which deletes streams that still run and the key that all processes share; use `noeviction` or a `volatile` policy"
            ),
        ),
    }
}

/// The commands that are needed, on one key.
fn needed(key: &str) -> Vec<Cmd> {
    let lines: [&[&str]; 14] = [
        &["PING"],
        &["SET", key, "1", "PX", "10000"],
        &["GET", key],
        &["EXISTS", key],
        &["PEXPIRE", key, "10000"],
        &["DEL", key],
        &["MULTI"],
        &["XADD", key, "1-0", "e", "1"],
        &["PEXPIRE", key, "10000"],
        &["EXEC"],
        &[
            "XADD",
            key,
            "NOMKSTREAM",
            "MINID",
            "~",
            "1",
            "2-0",
            "e",
            "1",
        ],
        &["XREAD", "COUNT", "1", "STREAMS", key, "0-0"],
        &["XRANGE", key, "-", "+", "COUNT", "1"],
        &["XREVRANGE", key, "+", "-", "COUNT", "1"],
    ];
    let command = |words: &[&str]| {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command
    };
    let mut commands: Vec<Cmd> = lines.into_iter().map(command).collect();
    commands.push(command(&["DEL", key]));
    commands
}

async fn commands(link: &mut Link, key: &str) -> Vec<Finding> {
    let commands = needed(key);
    let names: Vec<String> = commands.iter().map(name).collect();
    match link.send(&client::pipeline(commands)).await {
        Ok(answers) => judge(&names, answers, key),
        Err(error) => {
            let text = format!("Redis does not answer: {error}");
            vec![finding(Severity::Problem, text)]
        }
    }
}

fn name(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    }
}

fn judge(names: &[String], answers: Vec<RedisResult<Value>>, key: &str) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut answered = None;
    for (name, answer) in names.iter().zip(answers) {
        let why = match answer {
            Ok(Value::Array(items)) if name == "EXEC" => items.into_iter().find_map(refusal),
            Ok(value) => {
                if name == "GET" {
                    answered = bytes(value);
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            let text = format!("{name} on `{key}` is refused: {why}");
            if !found.iter().any(|finding| finding.text == text) {
                found.push(finding(Severity::Problem, text));
            }
        }
    }
    if found.is_empty() && answered.as_deref() != Some(b"1") {
        let text = format!("what is written to `{key}` is not read again");
        found.push(finding(Severity::Problem, text));
    }
    if found.is_empty() {
        found.push(finding(Severity::Fine, "all commands are allowed"));
    }
    found
}

fn refusal(value: Value) -> Option<String> {
    match value {
        Value::ServerError(error) => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    #[test]
    fn old_servers_are_problems() {
        let severity =
            |text: &str| version(Some(&format!("# Server\r\nredis_version:{text}\r\n"))).severity;
        for (text, want) in [
            ("7.0.15", Severity::Fine),
            ("6.2.0", Severity::Fine),
            ("10.0", Severity::Fine),
            ("6.0.16", Severity::Problem),
            ("5.0", Severity::Problem),
            ("x", Severity::Problem),
        ] {
            assert_eq!(severity(text), want, "{text}");
        }
        assert_eq!(version(None).severity, Severity::Warning);
    }

    #[test]
    fn policies_that_delete_live_streams_are_warned_of() {
        for (policy, want) in [
            (Some("noeviction"), Severity::Fine),
            (Some("volatile-ttl"), Severity::Fine),
            (Some("allkeys-lru"), Severity::Warning),
            (None, Severity::Warning),
        ] {
            assert_eq!(eviction(policy).severity, want, "{policy:?}");
        }
        let word = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let answer = Value::Map(vec![(word("maxmemory-policy"), word("allkeys-lru"))]);
        assert_eq!(configured(answer).unwrap(), "allkeys-lru");
    }

    #[test]
    fn each_command_that_is_refused_is_named_once() {
        let names: Vec<String> = needed("k").iter().map(name).collect();
        let answers = |refused: &str| {
            let answer = |name: &String| match &**name {
                name if name == refused => Err(make_extension_error("NOPERM".to_owned(), None)),
                "GET" => Ok(Value::BulkString(b"1".to_vec())),
                _ => Ok(Value::Okay),
            };
            names.iter().map(answer).collect()
        };
        for refused in ["XADD", "XREVRANGE", "MULTI"] {
            let found = judge(&names, answers(refused), "k");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0]
                    .text
                    .starts_with(&format!("{refused} on `k` is refused"))
            );
        }
        assert_eq!(judge(&names, answers(""), "k")[0].severity, Severity::Fine);
        let wrong = names.iter().map(|_| Ok(Value::Okay)).collect();
        assert_eq!(judge(&names, wrong, "k")[0].severity, Severity::Problem);
    }
}
