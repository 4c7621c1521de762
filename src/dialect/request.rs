//! What a request says of the stream it asks for.

use http::HeaderMap;

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// Of the path, the query without its `?`, and the fields.
    pub fn new(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> Self {
        Self {
            path: path.strip_suffix('/').unwrap_or(path),
            query,
            headers,
        }
    }

    /// Whether the path ends like this.
    pub(super) fn ends_with(&self, end: &str) -> bool {
        self.path.ends_with(end)
    }

    /// The parts of the path, the last one first.
    pub(super) fn parts(&self) -> std::str::RSplit<'a, char> {
        self.path.rsplit('/')
    }

    pub(super) fn contains(&self, part: &str) -> bool {
        self.path.contains(part)
    }

    /// Whether the query has this parameter with this value.
    pub(super) fn queries(&self, parameter: &str) -> bool {
        self.query.split('&').any(|part| part == parameter)
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.headers.contains_key(field)
    }

    /// Whether a field that lists values has one that contains this word.
    pub(super) fn lists(&self, field: &str, word: &str) -> bool {
        let mut values = self.headers.get_all(field).iter();
        values.any(|value| {
            let text = value.to_str().unwrap_or_default();
            text.to_ascii_lowercase().contains(word)
        })
    }
}

/// Members of a request's body that say what kind of request it is.
pub const KEYS: [&str; 9] = [
    "stream", "id", "jsonrpc", "method", "threadId", "runId", "messages", "tools", "context",
];

/// The members at the top of a request's body that are among [`KEYS`], as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    found: Vec<(&'static str, Box<[u8]>)>,
}

impl Members {
    /// Takes note of a member. `value` is its raw JSON, or the first byte of an object or array.
    pub fn note(&mut self, key: &[u8], value: &[u8]) {
        let known = KEYS.into_iter().find(|known| known.as_bytes() == key);
        if let Some(known) = known
            && !self.has(known)
        {
            self.found.push((known, value.into()));
        }
    }

    /// The raw value of a member, empty if there is none.
    pub fn raw(&self, key: &str) -> &[u8] {
        let mut found = self.found.iter();
        found
            .find(|(name, _)| *name == key)
            .map(|(_, value)| &**value)
            .unwrap_or_default()
    }

    /// The raw body of a string member, empty for any other.
    pub(super) fn word(&self, key: &str) -> &[u8] {
        let body = self.raw(key).strip_prefix(b"\"");
        body.and_then(|body| body.strip_suffix(b"\""))
            .unwrap_or_default()
    }

    /// Whether there is such a member.
    pub fn has(&self, key: &str) -> bool {
        !self.raw(key).is_empty()
    }

    /// The id of a JSON-RPC request as JSON, if the body is one.
    pub(super) fn call_id(&self) -> Option<&str> {
        let id = std::str::from_utf8(self.raw("id")).ok()?;
        let is_call = self.has("jsonrpc") && self.has("method");
        (is_call && !id.is_empty() && id != "null" && !id.starts_with(['{', '['])).then_some(id)
    }
}
