//! `resume` and `on_disconnect`: whether clients can come back to the streams of a route, and what becomes of a run
//! whose client leaves.

use std::time::Duration;

use http::HeaderName;

/// How clients come back to the streams of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The streams whose events carry ids.
    pub ids: Ids,
    /// How long a journal stays after the end of its stream.
    pub keep: Duration,
    /// Maximum number of events in a journal.
    pub max_events: usize,
    /// Maximum number of bytes in a journal.
    pub max_bytes: usize,
    /// Maximum number of clients that follow one stream.
    pub max_viewers: usize,
    /// What a client must show to come back.
    pub bind: Bind,
    /// Whether a request with the `Idempotency-Key` of an earlier one gets that one's stream.
    pub idempotency: bool,
    /// Requests for the stream of a chat; `None` if there are none.
    pub chats: Option<Chats>,
}

/// The streams whose events carry ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// All streams of server-sent events.
    All,
    /// Streams whose clients are known to accept ids.
    Auto,
    /// None.
    Off,
}

/// What a client must show to come back to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Every credential of the request that started the stream.
    Auto,
    /// Only these parts of that request.
    Named {
        /// The headers.
        headers: Vec<HeaderName>,
        /// The names of the cookies.
        cookies: Vec<String>,
    },
}

/// Requests that ask for the newest stream of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chats {
    /// The path before the name of the chat. Ends with `/`.
    pub prefix: String,
    /// The path after it. Empty, or begins with `/`.
    pub suffix: String,
    /// The member of a request's JSON body that names its chat.
    pub member: String,
}

/// What happens to a run whose last client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The run is cancelled.
    Cancel,
    /// The run goes on to its end.
    Continue,
    /// The run goes on for this time, and is cancelled unless a client has come back.
    Grace(Duration),
}
