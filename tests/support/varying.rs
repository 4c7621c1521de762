//! The members that may differ between two events that are merged, and why: the table of `docs/dialects.md` as code.

use weir::dialect::Dialect;

/// May differ in all dialects but the conventions.
pub(crate) const EVERYWHERE: [&str; 15] = [
    // Padding against traffic analysis.
    "nonce",
    "obfuscation",
    "p",
    "padding",
    // The number of the event.
    "seq",
    "sequence",
    "sequenceNumber",
    "sequence_number",
    // The time of the event, in ten characters or more. A shorter value may be a position.
    "at",
    "created",
    "createdAt",
    "created_at",
    "time",
    "timestamp",
    "ts",
];

/// May differ in one dialect: members by their path, without the places in lists. What is below such a member may
/// differ, too.
pub(crate) fn of(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        // Each event has an id and a time of its own, and states what the call used so far.
        Dialect::Adk => &["id", "timestamp", "usageMetadata", "usage_metadata"],
        // The time of the event; the framework's event from which it was made.
        Dialect::AgUi => &["timestamp", "rawEvent"],
        // Lists that grow with the text, and the text again.
        Dialect::Cohere => &["logprobs"],
        Dialect::Dify => &["created_at"],
        // Each chunk states what the response used so far.
        Dialect::Gemini => &["usageMetadata"],
        // The thread protocol: the number, the id and the time of the event.
        Dialect::LangGraph => &["seq", "event_id", "params.timestamp"],
        // A run is one message, whose id may change in it.
        Dialect::LangServe => &["data.chunk.id", "data.chunk.kwargs.id"],
        // The time of the line; a list that grows with the text.
        Dialect::Ollama => &["created_at", "logprobs"],
        // The time of the chunk, measurements up to it, the build of the server, lists that grow with the text.
        Dialect::OpenAiChat => &[
            "created",
            "system_fingerprint",
            "timings",
            "choices.logprobs",
            "choices.token_ids",
        ],
        // A list that grows with the text.
        Dialect::OpenAiResponses => &["logprobs", "data.logprobs"],
        // Its number, its id and its probability are those of each token; a list that grows with the text.
        Dialect::Tgi => &["index", "token.id", "token.logprob", "top_tokens"],
        _ => &[],
    }
}

/// What may differ between an event of this name and a later one that replaces it: the value of which it is a newer
/// version. An empty path is everything.
pub(crate) fn replaced(dialect: Dialect, name: &[u8]) -> &'static [&'static str] {
    match dialect {
        Dialect::AgUi => &["snapshot", "messages", "content"],
        // A round of the agent, of which more is known each time.
        Dialect::Dify => &[
            "message_files",
            "observation",
            "position",
            "thought",
            "tool",
            "tool_input",
            "tool_labels",
        ],
        // The state of the graph, or a message of which more is known each time.
        Dialect::LangGraph if name.starts_with(b"messages/") => &["content", "zz"],
        Dialect::LangGraph if name.starts_with(b"values") => &["", "params.data"],
        Dialect::Mastra => &["data", "object", "payload.object"],
        Dialect::VercelUi => &["data", "output"],
        _ => &[],
    }
}

/// A member whose absence means the same as this value: the first of several choices or blocks, and the only kind of
/// call, which is on every fragment or only on the first one.
pub(crate) const DEFAULTS: [(&str, &str); 6] = [
    ("contentBlockIndex", "0"),
    ("content_index", "0"),
    ("summary_index", "0"),
    ("candidates.index", "0"),
    ("index", "0"),
    ("tool_calls.type", "\"function\""),
];
