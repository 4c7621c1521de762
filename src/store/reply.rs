//! What Redis answers.

use redis::{RedisResult, Value};

/// One entry of a Redis stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raw {
    /// The whole id of the entry.
    pub(super) stamp: String,
    /// The part of the id before the hyphen.
    pub(super) seq: u64,
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Returns the bytes of a string of any kind.
pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// Returns keys and what belongs to them, from either version of the protocol.
pub(super) fn pairs(value: Value) -> Vec<(Value, Value)> {
    match value {
        Value::Map(pairs) => pairs,
        Value::Array(items) => {
            let mut pairs = Vec::with_capacity(items.len() / 2);
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            pairs
        }
        _ => Vec::new(),
    }
}

fn raw(value: Value) -> Option<Raw> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let stamp = text(parts.next()?)?;
    let seq = stamp.split('-').next()?.parse().ok()?;
    let fields = pairs(parts.next()?).into_iter();
    let fields = fields.filter_map(|(name, value)| Some((bytes(name)?, bytes(value)?)));
    Some(Raw {
        seq,
        fields: fields.collect(),
        stamp,
    })
}

/// Returns the entries of one stream, as XRANGE answers.
pub(super) fn entries(value: Value) -> Vec<Raw> {
    match value {
        Value::Array(items) => items.into_iter().filter_map(raw).collect(),
        _ => Vec::new(),
    }
}

/// Returns keys and entries, as XREAD answers.
pub(super) fn streams(value: Value) -> Vec<(String, Vec<Raw>)> {
    let pairs = match value {
        Value::Map(pairs) => pairs,
        Value::Array(items) => items.into_iter().flat_map(pairs).collect(),
        _ => return Vec::new(),
    };
    let known = |(key, value)| Some((text(key)?, entries(value)));
    pairs.into_iter().filter_map(known).collect()
}

/// What became of some commands. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// The commands were done, or had been done before.
    Done,
    /// The stream does not exist any more.
    Gone,
    /// The server refuses them.
    Refused,
    /// The commands may be done after another attempt, perhaps elsewhere.
    Later,
}

/// Errors of a server that is not ready, or not the right one any more.
const LATER: [&str; 9] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MOVED",
    "NOAUTH",
    "READONLY",
    "TRYAGAIN",
];

fn of_error(code: Option<&str>, detail: Option<&str>) -> Verdict {
    match code {
        None => Verdict::Later,
        Some(code) if LATER.contains(&code) => Verdict::Later,
        // An attempt before this one has succeeded, although its answer was lost.
        Some("ERR") if detail.is_some_and(|why| why.contains("equal or smaller")) => Verdict::Done,
        Some(_) => Verdict::Refused,
    }
}

fn of_value(value: &Value) -> Verdict {
    match value {
        Value::Nil => Verdict::Gone,
        Value::ServerError(error) => of_error(Some(error.code()), error.details()),
        Value::Array(items) => items.iter().map(of_value).max().unwrap_or(Verdict::Done),
        _ => Verdict::Done,
    }
}

/// Judges the answers to commands that write, none of which is answered with nothing if it was done.
pub(super) fn judge(answers: &[RedisResult<Value>]) -> Verdict {
    let judged = answers.iter().map(|answer| match answer {
        Ok(value) => of_value(value),
        Err(error) => of_error(error.code(), error.detail()),
    });
    judged.max().unwrap_or(Verdict::Done)
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, ServerErrorKind, make_extension_error};

    use super::*;

    fn string(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(stamp: &str) -> Value {
        let fields = Value::Array(vec![string("d"), string("x")]);
        Value::Array(vec![string(stamp), fields])
    }

    #[test]
    fn both_versions_of_the_protocol_say_the_same() {
        let list = || Value::Array(vec![entry("3-0"), entry("7-1")]);
        let old = Value::Array(vec![Value::Array(vec![string("k"), list()])]);
        let new = Value::Map(vec![(string("k"), list())]);
        assert_eq!(streams(old), streams(new));
        let read = entries(list());
        let numbers: Vec<u64> = read.iter().map(|raw| raw.seq).collect();
        assert_eq!(numbers, [3, 7]);
        assert_eq!(read[1].stamp, "7-1");
        assert_eq!(read[0].fields, [(b"d".to_vec(), b"x".to_vec())]);
        assert!(streams(Value::Nil).is_empty() && entries(Value::Nil).is_empty());
        assert!(entries(Value::Array(vec![Value::Int(1), entry("x")])).is_empty());
    }

    #[test]
    fn errors_are_told_apart() {
        let refused = |code: &str| make_extension_error(code.to_owned(), None);
        let server = |kind| redis::RedisError::from((ErrorKind::Server(kind), "a test"));
        for (error, want) in [
            (refused("OOM"), Verdict::Refused),
            (refused("MISCONF"), Verdict::Refused),
            (server(ServerErrorKind::NoPerm), Verdict::Refused),
            (server(ServerErrorKind::ReadOnly), Verdict::Later),
            (server(ServerErrorKind::BusyLoading), Verdict::Later),
            (
                redis::RedisError::from((ErrorKind::Io, "a test")),
                Verdict::Later,
            ),
        ] {
            let text = error.to_string();
            assert_eq!(judge(&[Ok(Value::Okay), Err(error)]), want, "{text}");
        }
        let smaller =
            "The ID specified in XADD is equal or smaller than the target stream top item";
        let twice = (
            ErrorKind::Server(ServerErrorKind::ResponseError),
            "a test",
            smaller.to_owned(),
        );
        assert_eq!(judge(&[Err(twice.into())]), Verdict::Done);
        assert_eq!(
            judge(&[Ok(Value::Array(vec![Value::Int(1), Value::Nil]))]),
            Verdict::Gone
        );
        // What made the transaction fail counts, not that it failed.
        let aborted = server(ServerErrorKind::ExecAbort);
        let answers = [Err(server(ServerErrorKind::ReadOnly)), Err(aborted)];
        assert_eq!(judge(&answers), Verdict::Later);
    }
}
