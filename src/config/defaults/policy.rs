//! The defaults of `defaults` and of routes: how streams are handled.

use std::time::Duration;

use super::preset::{MIB, Preset, preset, secs};

/// `dialect`
pub(crate) const DIALECT: Preset<&str> = preset(
    "auto",
    "The request, the response head and the first event identify the dialect.",
);
/// `deadlines.connect`
pub(crate) const CONNECT: Preset<Duration> = preset(
    secs(5),
    "Long enough to survive two lost SYN packets, short enough to detect a dead host before a user gives up.",
);
/// `deadlines.head`
pub(crate) const HEAD: Preset<Duration> = preset(
    secs(120),
    "Some agents send the response head only with the first token.",
);
/// `deadlines.first_event`
pub(crate) const FIRST_EVENT: Preset<Duration> = preset(
    secs(120),
    "Long prompts and cold models need a minute, and users do not wait longer than two.",
);
/// `deadlines.idle`
pub(crate) const IDLE: Preset<Duration> = preset(
    secs(300),
    "An agent's tool calls may be silent for minutes.",
);
/// `deadlines.progress`
pub(crate) const PROGRESS: Preset<Duration> = preset(
    secs(600),
    "Detects agents that send only heartbeats, but allows for the longest usual tool call.",
);
/// `deadlines.after_end`
pub(crate) const AFTER_END: Preset<Duration> = preset(
    secs(3),
    "Some agents never close the body. Raise it for agents that are silent for longer between two answers of one run.",
);
/// `deadlines.total`
pub(crate) const TOTAL: Preset<Duration> = preset(
    secs(3600),
    "Ends agents that loop. No interactive run takes longer.",
);
/// `deadlines.client_stall`
pub(crate) const CLIENT_STALL: Preset<Duration> =
    preset(secs(30), "A phone that changes networks reconnects sooner.");
/// `heartbeat`
pub(crate) const HEARTBEAT: Preset<Duration> = preset(
    secs(15),
    "A quarter of the 60 s after which common proxies and load balancers close silent connections.",
);
/// `queue.max_events`
pub(crate) const MAX_EVENTS: Preset<u64> =
    preset(256, "A few seconds of output from a fast model.");
/// `queue.max_bytes`
pub(crate) const MAX_BYTES: Preset<u64> = preset(
    MIB,
    "Limits the memory of one slow client. Ordinary tokens never reach it.",
);
/// `queue.merge`
pub(crate) const MERGE: Preset<bool> = preset(
    true,
    "Merging neighbouring tokens loses nothing, while dropping them does.",
);
/// `queue.overflow`
pub(crate) const OVERFLOW: Preset<&str> = preset(
    "drop_oldest",
    "A slow client neither stops the agent nor loses important events: only tokens, reasoning and status events may be dropped.",
);
/// `max_event_bytes`
pub(crate) const MAX_EVENT_BYTES: Preset<u64> = preset(
    16 * MIB,
    "Enough for an event that contains an image or a whole state.",
);
/// `max_request_bytes`
pub(crate) const MAX_REQUEST_BYTES: Preset<u64> = preset(
    64 * MIB,
    "Enough for several attached images and documents.",
);
/// `forwarded`
pub(crate) const FORWARDED: Preset<bool> = preset(
    false,
    "Agents read the `X-Forwarded-*` headers, which are always sent.",
);
/// `commit_after`
pub(crate) const COMMIT_AFTER_WHY: &str =
    "Until the head is sent, a failure can still be reported by its status code.";
/// Placeholder for `commit_after` as a duration. Never used, because the default is `off`.
pub(crate) const COMMIT_AFTER: Preset<Duration> = preset(secs(0), COMMIT_AFTER_WHY);
/// `preamble_bytes`
pub(crate) const PREAMBLE_BYTES: Preset<u64> = preset(
    0,
    "Needed only behind intermediaries that buffer the first kilobytes.",
);
/// `retry.attempts`
pub(crate) const RETRY_WHY: &str = "A request starts at most one run of the agent.";
/// `resume.enabled`
pub(crate) const RESUME: Preset<bool> = preset(
    false,
    "A journal holds what users and models say, even after the stream has ended.",
);
/// `resume.ids`
pub(crate) const IDS: Preset<&str> = preset(
    "auto",
    "An id where a client does not expect one may confuse it.",
);
/// `resume.keep`
pub(crate) const KEEP: Preset<Duration> = preset(
    secs(120),
    "A phone that lost its network, or a page that is loaded again, is back by then.",
);
/// `resume.max_events`
pub(crate) const JOURNAL_EVENTS: Preset<u64> =
    preset(10_000, "More than long answers have tokens.");
/// `resume.max_bytes`
pub(crate) const JOURNAL_BYTES: Preset<u64> =
    preset(4 * MIB, "Twice what 10000 events of about 200 bytes take.");
/// `resume.max_viewers`
pub(crate) const MAX_VIEWERS: Preset<u64> = preset(
    16,
    "The tabs and devices of one user. Each viewer has a queue of its own.",
);
/// `resume.bind`
pub(crate) const BIND_WHY: &str = "Whoever learns the id of a stream still cannot read it without the credentials that started it.";
/// `resume.idempotency`
pub(crate) const IDEMPOTENCY: Preset<bool> = preset(
    false,
    "A client that sends the same key twice may expect two runs, unless it was written for this.",
);
/// `resume.chats.path`
pub(crate) const CHATS_WHY: &str =
    "Only the AI SDK asks for a chat, not for a stream, and its path is chosen by the application.";
/// `resume.chats.member`
pub(crate) const CHAT_MEMBER: Preset<&str> = preset("id", "The name that `useChat` sends.");
/// Placeholder for `on_disconnect.grace`. Never used, because the default is `cancel`.
pub(crate) const GRACE: Preset<Duration> = preset(secs(30), ON_DISCONNECT_WHY);
/// `on_disconnect`
pub(crate) const ON_DISCONNECT_WHY: &str = "Generating a response that nobody reads costs money.";
/// `websocket`
pub(crate) const WEBSOCKET: Preset<&str> = preset(
    "tunnel",
    "An agent that accepts a WebSocket wants it, and any other agent refuses it itself.",
);
/// `websocket.ack`
pub(crate) const ACK: Preset<&str> = preset(
    "optional",
    "Clients that know nothing of acknowledgements are bounded by the queue, as all others are.",
);
/// `websocket.ack_window`
pub(crate) const ACK_WINDOW: Preset<u64> = preset(256, "As many events as a queue holds.");
/// `websocket.ack_timeout`
pub(crate) const ACK_TIMEOUT: Preset<Duration> = preset(
    secs(5),
    "A client that is there shows an event sooner, and one that is not can come back.",
);
/// `websocket.origins`
pub(crate) const ORIGINS_WHY: &str =
    "Browsers let a page of any site open a WebSocket, with the cookies of its user.";
/// `websocket.interrupted`
pub(crate) const INTERRUPTED: Preset<bool> = preset(
    false,
    "Every stream ends with `finish` or `error`, so clients need to know no other end.",
);
/// `hide.reasoning`, `hide.tools`
pub(crate) const HIDE: Preset<&str> = preset(
    "keep",
    "Weir removes nothing from a stream unless configured to.",
);
/// `hide.markers`
pub(crate) const MARKERS: Preset<&str> =
    preset("auto", "The markers of the families do not conflict.");
/// `hide.starts_hidden`
pub(crate) const STARTS_HIDDEN: Preset<bool> = preset(
    false,
    "With most chat templates, the model writes the opening marker itself.",
);

/// `reply.as`
pub(crate) const REPLY: Preset<&str> = preset(
    "same",
    "A client that was written for its agent needs no translation.",
);
/// `request.from`
pub(crate) const REQUEST_WHY: &str = "Most clients and agents agree on the form of requests.";
/// Placeholder for `request.from` as a word. Never used, because the default is `null`.
pub(crate) const REQUEST_FROM: Preset<&str> = preset("ai-sdk", REQUEST_WHY);
/// `request.to`
pub(crate) const REQUEST_TO: Preset<&str> = preset(
    "openai-chat",
    "The form that most agents and model servers read.",
);
/// `reply.status`
pub(crate) const STATUS: Preset<&str> =
    preset("names", "Only clients that show such texts need them.");
/// `reply.aggregate`
pub(crate) const AGGREGATE: Preset<bool> =
    preset(false, "What a client does not ask for is not changed.");
/// `reply.unstream`
pub(crate) const UNSTREAM: Preset<&str> = preset(
    "pass",
    "Nearly every agent that is asked for a stream sends one.",
);
/// `batch.max_delay`
pub(crate) const BATCH_WHY: &str = "Each piece is shown as soon as it comes.";
/// Placeholder for `batch.max_delay` as a duration. Never used, because the default is `off`.
pub(crate) const BATCH_DELAY: Preset<Duration> = preset(secs(0), BATCH_WHY);
/// `batch.max_chars`
pub(crate) const BATCH_CHARS: Preset<u64> =
    preset(20, "Some five tokens. Has no effect without `max_delay`.");
/// `pace.max_delay`
pub(crate) const PACE_WHY: &str = "Most agents write at an even pace.";
/// Placeholder for `pace.max_delay` as a duration. Never used, because the default is `off`.
pub(crate) const PACE_DELAY: Preset<Duration> = preset(secs(0), PACE_WHY);
/// `reply.offer`
pub(crate) const OFFER_WHY: &str = "The client gets what `reply.as` says.";

/// `routes[].match.path_prefix`
pub(crate) const PATH_PREFIX: Preset<&str> = preset("/", "Matches every path.");
/// `routes[].match.host`, `methods`, `headers`
pub(crate) const ANY_WHY: &str = "No condition.";
/// `routes[].merge.finish`
pub(crate) const MERGE_FINISH: Preset<&str> = preset(
    "all",
    "Whoever asks several agents wants to hear all of them.",
);
/// `routes[].merge.fail`
pub(crate) const MERGE_FAIL: Preset<&str> = preset(
    "continue",
    "What the others say is of use without the one that failed.",
);
/// `routes[].merge.max_agents`
pub(crate) const MERGE_AGENTS: Preset<u64> = preset(
    16,
    "Each request costs as many calls. A longer list is probably a mistake.",
);
/// `routes[].merge.agents[].path`
pub(crate) const MERGE_PATH_WHY: &str = "Agents with the same API have the same paths.";
/// `routes[].merge.agents[].body`
pub(crate) const MERGE_BODY_WHY: &str = "Each agent gets the request as the client sent it.";
