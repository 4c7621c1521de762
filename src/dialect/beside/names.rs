//! What the name of a member says of it: that it differs in every event, names somebody, or names the writer of a text.

use super::is_short;

/// Reports whether a member differs in every event of the servers that send it, and says nothing about the text.
pub(in crate::dialect) fn varies(name: &[u8], raw: &[u8]) -> bool {
    /// Unix time in seconds. A shorter number under the name of a time may be a position.
    const SHORTEST_TIME: usize = b"1000000000".len();
    match name {
        // Random strings against traffic analysis, of whatever length: OpenAI, Mistral, Bedrock.
        b"nonce" | b"obfuscation" | b"padding" => {
            matches!(raw.first(), Some(b'"')) || is_short(raw)
        }
        b"p" => is_short(raw),
        // The number of the event in its stream.
        b"seq" | b"sequence" | b"sequence_number" | b"sequenceNumber" => is_short(raw),
        b"at" | b"created" | b"createdAt" | b"created_at" | b"time" | b"timestamp" | b"ts" => {
            is_short(raw) && raw.len() >= SHORTEST_TIME
        }
        _ => false,
    }
}

/// Reports whether a member names who or what a text belongs to, or counts it, in whatever dialect: `toolCallId`,
/// `block_index`, `agentName`, `langgraph_node`.
pub(in crate::dialect) fn is_identity(name: &[u8]) -> bool {
    let ends = |endings: &[&[u8]]| endings.iter().any(|ending| name.ends_with(ending));
    match name.last() {
        Some(b'D') => ends(&[b"ID"]),
        Some(b'd') => ends(&[b"id", b"Id", b"kind", b"thread"]),
        Some(b'e') => ends(&[
            b"name", b"Name", b"node", b"Node", b"role", b"Role", b"source", b"space", b"type",
            b"Type",
        ]),
        Some(b'h') => ends(&[b"branch", b"path"]),
        Some(b'k') => ends(&[b"task"]),
        Some(b'l') => ends(&[b"model", b"Model"]),
        Some(b'm') => ends(&[b"from"]),
        Some(b'n') => ends(&[b"modelVersion", b"model_version", b"run"]),
        Some(b'r') => ends(&[b"author", b"sender", b"speaker", b"worker"]),
        Some(b's') => ends(&[b"_ns"]),
        Some(b't') => ends(&[b"agent", b"Agent", b"object"]),
        Some(b'x') => ends(&[b"index", b"Index"]),
        _ => false,
    }
}

/// The identities that are no one's: they tell what an event is, or count events.
const NO_WRITERS: [&[u8]; 8] = [
    b"Index", b"Type", b"index", b"kind", b"object", b"path", b"space", b"type",
];
/// What an id belongs to if it says whose text stands beside it. Other ids may be new in every event.
const OWNERS: [&[u8]; 13] = [
    b"agent", b"author", b"message", b"model", b"msg", b"node", b"run", b"sender", b"source",
    b"speaker", b"task", b"thread", b"worker",
];

/// Reports whether a member says who wrote the text beside it, or in which message or run: an identity that is the same
/// in all events of one text. `id` alone may count events.
pub fn names_writer(name: &[u8]) -> bool {
    if !is_identity(name) {
        return false;
    }
    let stem = (name.strip_suffix(b"id"))
        .or_else(|| name.strip_suffix(b"Id"))
        .or_else(|| name.strip_suffix(b"ID"));
    let Some(stem) = stem else {
        return !NO_WRITERS.iter().any(|end| name.ends_with(end));
    };
    let stem = stem.strip_suffix(b"_").unwrap_or(stem);
    let ends = |owner: &[u8]| {
        let at = stem.len().checked_sub(owner.len());
        at.and_then(|at| stem.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(owner))
    };
    OWNERS.iter().any(|owner| ends(owner))
}
