//! The parts of a request that describe the stream it asks for: its head, and some members of its
//! JSON body.

use http::{HeaderMap, HeaderName};

/// How many segments of a path say what a request is for.
const MAX_SEGMENTS: usize = 5;

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    path: &'a str,
    /// The segments of the path, the last one first: half of all dialects look at them.
    segments: [Option<&'a str>; MAX_SEGMENTS],
    query: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// Creates a head from the path, the query without its `?`, and the headers.
    pub fn new(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> Self {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = path.rsplit('/');
        Self {
            path,
            segments: std::array::from_fn(|_| segments.next()),
            query,
            headers,
        }
    }

    /// Reports whether the path ends with `end`.
    pub(super) fn ends_with(&self, end: &str) -> bool {
        self.path.ends_with(end)
    }

    /// Returns the last [`MAX_SEGMENTS`] segments of the path, the last one first.
    pub(super) fn parts(&self) -> impl Iterator<Item = &'a str> {
        self.segments.into_iter().flatten()
    }

    pub(super) fn contains(&self, part: &str) -> bool {
        self.path.contains(part)
    }

    /// Reports whether the query contains `parameter`, which is written `name=value`.
    pub(super) fn queries(&self, parameter: &str) -> bool {
        self.query.split('&').any(|part| part == parameter)
    }

    pub(super) fn has(&self, field: &HeaderName) -> bool {
        self.headers.contains_key(field)
    }

    /// Reports whether a value of the header `field` contains `word`. Values are compared in lower
    /// case.
    pub(super) fn lists(&self, field: &HeaderName, word: &str) -> bool {
        let mut values = self.headers.get_all(field).iter();
        values.any(|value| {
            let text = value.to_str().unwrap_or_default();
            // Most values are shorter.
            text.len() >= word.len() && text.to_ascii_lowercase().contains(word)
        })
    }
}

/// The members of a request body that say what kind of request it is.
pub const KEYS: [&str; 11] = [
    "stream",
    "id",
    "jsonrpc",
    "method",
    "threadId",
    "runId",
    "messages",
    "tools",
    "context",
    "inputs",
    "response_mode",
];

/// What a request says about the stream that it asks for: the top-level members of its body that are among [`KEYS`], as
/// far as they are known, and what its head says that a parser must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    found: Vec<(&'static str, Box<[u8]>)>,
    /// The stream is one reply of a model and nothing else.
    single_reply: bool,
    /// The stream is a subscription.
    subscription: bool,
}

impl Members {
    /// Records a member. `value` is its raw JSON, or only the first byte of an object or array.
    pub fn note(&mut self, key: &[u8], value: &[u8]) {
        let known = KEYS.into_iter().find(|known| known.as_bytes() == key);
        if let Some(known) = known
            && !self.has(known)
        {
            self.found.push((known, value.into()));
        }
    }

    /// Records that the stream is one reply of a model and nothing else, according to the head of the request.
    pub const fn note_single_reply(&mut self) {
        self.single_reply = true;
    }

    /// Reports whether the stream is one reply of a model and nothing else.
    pub(super) const fn has_single_reply(&self) -> bool {
        self.single_reply
    }

    /// Records that the stream is a subscription, according to the head of the request.
    pub const fn note_subscription(&mut self) {
        self.subscription = true;
    }

    /// Reports whether the stream is a subscription, according to the head of the request.
    pub(super) const fn is_subscription(&self) -> bool {
        self.subscription
    }

    /// Returns the raw value of a member, empty if there is none.
    pub fn raw(&self, key: &str) -> &[u8] {
        let mut found = self.found.iter();
        found
            .find(|(name, _)| *name == key)
            .map(|(_, value)| &**value)
            .unwrap_or_default()
    }

    /// Returns the raw body of a string member, empty for any other value.
    pub(super) fn word(&self, key: &str) -> &[u8] {
        let body = self.raw(key).strip_prefix(b"\"");
        body.and_then(|body| body.strip_suffix(b"\""))
            .unwrap_or_default()
    }

    /// Reports whether the member exists.
    pub fn has(&self, key: &str) -> bool {
        !self.raw(key).is_empty()
    }

    /// Reports whether the body asks for a stream; `None` if it does not say.
    pub fn asks_for_stream(&self) -> Option<bool> {
        match (self.raw("stream"), self.word("response_mode")) {
            (b"true", _) | (_, b"streaming") => Some(true),
            (b"false", _) | (_, b"blocking") => Some(false),
            _ => None,
        }
    }

    /// Reports whether the body is a call that subscribes to whatever may happen: MCP's `subscriptions/listen`, and
    /// A2A's `SubscribeToTask`, which was `tasks/resubscribe` before 1.0.
    pub fn subscribe(&self) -> bool {
        const CALLS: [&[u8]; 3] = [
            b"SubscribeToTask",
            b"subscriptions/listen",
            b"tasks/resubscribe",
        ];
        // The slash may be escaped.
        let method = self.word("method");
        let plain: Vec<u8> = method
            .iter()
            .copied()
            .filter(|byte| *byte != b'\\')
            .collect();
        self.has("jsonrpc") && CALLS.contains(&plain.as_slice())
    }

    /// Returns the id as JSON if the body is a JSON-RPC request.
    pub(super) fn call_id(&self) -> Option<&str> {
        let id = std::str::from_utf8(self.raw("id")).ok()?;
        let is_call = self.has("jsonrpc") && self.has("method");
        (is_call && !id.is_empty() && id != "null" && !id.starts_with(['{', '['])).then_some(id)
    }
}
