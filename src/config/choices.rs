//! The choices of each key that takes one of a fixed set of words, and the value of each choice.

use http::HeaderName;

use crate::config::error::shown;
use crate::config::{
    Claimed, Ids, LogAccess, LogFormat, OnAgentFailure, OnAgentFinish, Roots, WebSocket,
};
use crate::dialect::{Choice, Dialect};
use crate::filter::Hide;
use crate::filter::markers::Family;
use crate::queue::Overflow;
use crate::request_map::RequestForm;
use crate::translate::{Statuses, Target};

/// Choices of `log.format`.
pub(crate) const LOG_FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("json", LogFormat::Json),
    ("text", LogFormat::Text),
];

/// Choices of `log.access`.
pub(crate) const LOG_ACCESSES: [(&str, LogAccess); 3] = [
    ("all", LogAccess::All),
    ("errors", LogAccess::Errors),
    ("streams", LogAccess::Streams),
];

/// Choices of `tls.roots`.
pub(crate) const ROOTS: [(&str, Roots); 3] = [
    ("bundled", Roots::Bundled),
    ("none", Roots::None),
    ("system", Roots::System),
];

/// Choices of `resume.store`: whether journals are in Redis.
pub(crate) const STORES: [(&str, bool); 2] = [("memory", false), ("redis", true)];

/// The choice of `resume.redis.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// Several, which share the keys.
    Cluster,
    /// Several, of which the sentinels say which one is written to.
    Sentinel,
    /// One.
    Standalone,
}

/// Choices of `resume.redis.mode`.
pub(crate) const SERVERS: [(&str, Servers); 3] = [
    ("cluster", Servers::Cluster),
    ("sentinel", Servers::Sentinel),
    ("standalone", Servers::Standalone),
];

/// Choices of `resume.ids`, besides `off`.
pub(crate) const IDS: [(&str, Ids); 2] = [("all", Ids::All), ("auto", Ids::Auto)];

/// Choices of `websocket`, besides `off`.
pub(crate) const WEBSOCKETS: [(&str, WebSocket); 2] =
    [("bridge", WebSocket::Bridge), ("tunnel", WebSocket::Tunnel)];

/// Choices of `websocket.ack`, besides `off`.
pub(crate) const ACKS: [(&str, Claimed); 2] = [
    ("optional", Claimed::Optional),
    ("required", Claimed::Required),
];

/// Choices of `queue.overflow`.
pub(crate) const OVERFLOWS: [(&str, Overflow); 3] = [
    ("block", Overflow::Block),
    ("disconnect", Overflow::Disconnect),
    ("drop_oldest", Overflow::DropOldest),
];

/// Choices of `reply.unstream`: whether whole answers become streams.
pub(crate) const UNSTREAMS: [(&str, bool); 2] = [("pass", false), ("synthesize", true)];

/// Choices of `merge.finish`.
pub(crate) const AGENT_FINISHES: [(&str, OnAgentFinish); 2] =
    [("all", OnAgentFinish::All), ("any", OnAgentFinish::Any)];

/// Choices of `merge.fail`.
pub(crate) const AGENT_FAILURES: [(&str, OnAgentFailure); 2] = [
    ("continue", OnAgentFailure::Continue),
    ("stop", OnAgentFailure::Stop),
];

/// Choices of `request.from`.
pub(crate) const REQUEST_FORMS: [(&str, RequestForm); 2] = [
    (RequestForm::AgUi.as_str(), RequestForm::AgUi),
    (RequestForm::AiSdk.as_str(), RequestForm::AiSdk),
];

/// Choices of `request.to`.
pub(crate) const REQUEST_TARGETS: [(&str, ()); 1] = [("openai-chat", ())];

/// Choices of `reply.status`.
pub(crate) const STATUSES: [(&str, Statuses); 3] = [
    ("names", Statuses::Names),
    ("visible", Statuses::Visible),
    ("text", Statuses::Text),
];

/// Choices of `hide.reasoning` and `hide.tools`.
pub(crate) const HIDES: [(&str, Hide); 3] = [
    ("drop", Hide::Drop),
    ("keep", Hide::Keep),
    ("status", Hide::Status),
];

/// One entry of `hide.markers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// All families.
    Auto,
    /// One family.
    Family(Family),
    /// The opening and the closing marker of reasoning.
    Pair(String, String),
}

/// Parses an entry of `hide.markers`.
pub(crate) fn marker(text: &str) -> Result<Marker, String> {
    if text == "auto" {
        return Ok(Marker::Auto);
    }
    if let Some(family) = Family::ALL
        .into_iter()
        .find(|family| family.as_str() == text)
    {
        return Ok(Marker::Family(family));
    }
    let pair = text
        .split_once("...")
        .map(|(open, close)| (open.trim(), close.trim()));
    match pair {
        Some((open, close))
            if (2..=64).contains(&open.len()) && (1..=64).contains(&close.len()) =>
        {
            Ok(Marker::Pair(open.to_owned(), close.to_owned()))
        }
        _ => {
            let names: Vec<&str> = Family::ALL.into_iter().map(Family::as_str).collect();
            Err(format!(
                "{} is neither `auto`, nor a family of markers ({}), nor a pair `OPEN ... CLOSE` of 2 and 1 to 64 bytes",
                shown(text),
                names.join(", ")
            ))
        }
    }
}

/// One entry of `resume.bind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A cookie of this name.
    Cookie(String),
    /// A header of this name.
    Header(HeaderName),
}

/// Parses an entry of `resume.bind`. A bare name is refused: a cookie that is taken for a header binds nothing.
pub(crate) fn credential(text: &str) -> Result<Credential, String> {
    match text.split_once(':') {
        Some(("header", name)) if name.eq_ignore_ascii_case("cookie") => Err(
            "all cookies together change too often; name one of them as `cookie:NAME`".to_owned(),
        ),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
            .map(Credential::Header)
            .map_err(|_| format!("{} does not name a header", shown(text))),
        // The name of a cookie is a token, as that of a header is, but its case counts.
        Some(("cookie", name)) if HeaderName::from_bytes(name.as_bytes()).is_ok() => {
            Ok(Credential::Cookie(name.to_owned()))
        }
        Some(("cookie", _)) => Err(format!("{} does not name a cookie", shown(text))),
        _ => Err(format!(
            "{} is neither `header:NAME` nor `cookie:NAME`",
            shown(text)
        )),
    }
}

/// Returns the choices of `reply`: `same` and every target.
pub(crate) fn replies() -> Vec<(&'static str, Option<Target>)> {
    let targets = Target::ALL
        .into_iter()
        .map(|target| (target.as_str(), Some(target)));
    std::iter::once(("same", None)).chain(targets).collect()
}

/// Returns the choices of `dialect`: `auto` and every dialect.
pub(crate) fn dialects() -> Vec<(&'static str, Choice)> {
    let fixed = Dialect::ALL
        .into_iter()
        .map(|dialect| (dialect.as_str(), Choice::Fixed(dialect)));
    std::iter::once(("auto", Choice::Auto))
        .chain(fixed)
        .collect()
}

/// Returns the word for a value, or an empty text for a value that the file cannot express.
pub(crate) fn word_of<T: PartialEq>(choices: &[(&'static str, T)], value: &T) -> &'static str {
    choices
        .iter()
        .find(|(_, other)| other == value)
        .map_or("", |(word, _)| word)
}
