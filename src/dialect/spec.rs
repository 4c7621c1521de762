//! What a dialect says of itself: how it is recognised, read, kept alive, and told of failures.
//!
//! Each dialect is one file with one [`DialectSpec`]; everything else asks the shape.

use std::fmt::Debug;

use http::HeaderMap;

use super::first_frame::FirstFrame;
use super::object::Object;
use super::request::{Members, RequestHead};
use crate::event::Event;
use crate::wire::{Frame, Framing};

/// One dialect.
pub(super) struct DialectSpec {
    /// The word used in the configuration, in metrics and in logs.
    pub(super) word: &'static str,
    /// Whether the head of a request asks for it.
    pub(super) match_head: fn(&RequestHead<'_>) -> Sign,
    /// Whether the body of a request asks for it.
    pub(super) match_body: fn(&Members) -> Sign,
    /// Whether the head of an answer announces it.
    pub(super) match_response: fn(&HeaderMap) -> Sign,
    /// Whether a stream speaks it that begins with this frame.
    pub(super) match_first_frame: fn(&FirstFrame<'_>) -> Sign,
    /// A reader for one stream, given what its request said.
    pub(super) parser: fn(&Members) -> Box<dyn Parser>,
    /// A content type that frames it otherwise than as SSE or NDJSON, and how.
    pub(super) framing: Option<(&'static str, Framing)>,
    /// Whether its clients skip SSE comments.
    pub(super) comments: bool,
    /// The bytes that keep a silent stream alive and that its clients are known to survive between two frames.
    pub(super) heartbeat: fn(Framing) -> Option<&'static [u8]>,
    /// Whether every answer is a stream, whatever the request says.
    pub(super) always_streams: bool,
    /// The block that says what goes on unseen; `None` in dialects whose clients know no such event.
    pub(super) status: Option<fn(&str) -> String>,
    /// The JSON of a failure that is known before the head is sent.
    pub(super) refusal: Option<fn(&Refusal<'_>, &Members) -> String>,
}

/// What most dialects say: nothing in particular.
pub(super) const PLAIN: DialectSpec = DialectSpec {
    word: "",
    match_head: |_| Sign::None,
    match_body: |_| Sign::None,
    match_response: |_| Sign::None,
    match_first_frame: |_| Sign::None,
    parser: |_| Box::new(Unknown),
    framing: None,
    comments: true,
    heartbeat: comment,
    always_streams: false,
    status: None,
    refusal: None,
};

/// How sure a recognition is. The surest dialect wins; of equals the first one by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// It does not look like it.
    None,
    /// Others may look the same.
    Possible,
    /// Few others look the same.
    Likely,
    /// Nothing else looks like it.
    Certain,
}

impl Sign {
    /// `sign` if `holds`.
    pub(super) const fn when(self, holds: bool) -> Self {
        if holds { self } else { Self::None }
    }
}

/// Reads the frames of one stream, and remembers of them what the next ones need.
pub(super) trait Parser: Debug + Send {
    /// What a frame means; `None` if it is not of this dialect.
    fn classify(&mut self, frame: &Frame<'_>) -> Option<Event>;

    /// The bytes that tell the clients that the stream failed. `None` if there are none: then only a broken body
    /// tells them.
    fn failure(&self, framing: Framing, failure: &Failure<'_>) -> Option<String>;

    /// Whether an end of input without a terminal event means that the answer was cut.
    fn needs_terminal(&self) -> bool {
        true
    }

    /// Takes note of the number or time of an event that was recognised without being read.
    fn note_varying(&mut self, _varying: &[u8]) {}
}

/// A failure amid a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure<'a> {
    /// One of Weir's words.
    pub(super) code: &'a str,
    /// A sentence for the client.
    pub(super) message: &'a str,
}

impl Failure<'_> {
    /// The message with the code in front of it, once: for dialects without a place for the code.
    pub(super) fn with_code(&self) -> String {
        with_code(self.code, self.message)
    }

    /// Whether something did not come in time.
    pub(super) fn is_timeout(&self) -> bool {
        is_timeout(self.code)
    }
}

/// A failure instead of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal<'a> {
    /// The status of the answer.
    pub(super) status: u16,
    /// One of Weir's words.
    pub(super) code: &'a str,
    /// A sentence for the client.
    pub(super) message: &'a str,
}

impl Refusal<'_> {
    /// The message with the code in front of it, once.
    pub(super) fn with_code(&self) -> String {
        with_code(self.code, self.message)
    }

    /// Whether something did not come in time.
    pub(super) fn is_timeout(&self) -> bool {
        is_timeout(self.code)
    }
}

fn with_code(code: &str, message: &str) -> String {
    if message.starts_with(code) {
        message.to_owned()
    } else {
        format!("{code}: {message}")
    }
}

fn is_timeout(code: &str) -> bool {
    code.ends_with("timeout")
}

/// One SSE block; other framings have no place for it.
pub(super) fn block(framing: Framing, name: &str, data: &str) -> Option<String> {
    match framing {
        Framing::Sse if name.is_empty() => Some(format!("data: {data}\n\n")),
        Framing::Sse => Some(format!("event: {name}\ndata: {data}\n\n")),
        Framing::JsonArray | Framing::Lines | Framing::Ndjson | Framing::Raw => None,
    }
}

/// A comment without a blank line: several clients take one for an empty event.
pub(super) const fn comment(framing: Framing) -> Option<&'static [u8]> {
    match framing {
        Framing::Sse => Some(b":\n"),
        Framing::JsonArray => Some(b"\n"),
        Framing::Lines | Framing::Ndjson | Framing::Raw => None,
    }
}

/// `{"type":"error",...}` under every name that clients of no particular dialect look at.
pub(super) fn plain_error(failure: &Failure<'_>) -> Object {
    Object::new()
        .text("type", "error")
        .text("error", failure.message)
        .text("message", failure.message)
        .text("code", failure.code)
}

/// Understands nothing: each event is critical and verbatim.
#[derive(Debug)]
pub(super) struct Unknown;

impl Parser for Unknown {
    fn classify(&mut self, _: &Frame<'_>) -> Option<Event> {
        None
    }

    fn failure(&self, framing: Framing, failure: &Failure<'_>) -> Option<String> {
        block(framing, "error", &plain_error(failure).end())
    }

    fn needs_terminal(&self) -> bool {
        false
    }
}
