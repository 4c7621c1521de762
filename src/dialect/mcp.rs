//! MCP Streamable HTTP: each block is one JSON-RPC message; the response to the request ends the
//! stream.
//!
//! Up to revision 2025-11-25 a server may give its events ids and close the connection before the
//! response: the client reconnects with the last id. So if ids were seen, end of input does not
//! mean that the stream is truncated.

use http::{HeaderName, Method, request};

use super::a2a::rpc_error;
use super::beside::Seen;
use super::first_frame::FirstFrame;
use super::reader::Reader;
use super::request::{Members, RequestHead};
use super::spec::{
    self, DialectSpec, ErrorContext, Failure, HideFacts, PLAIN, Parser, ResumeIds, Sign,
};
use crate::event::{Class, Content, Event, Terminal};
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "mcp",
    match_head,
    match_body: |members| {
        // A2A recognises its own methods; MCP is the dialect that streams any other JSON-RPC call.
        Sign::Likely.when(members.call_id().is_some())
    },
    match_first_frame,
    parser: |members| Box::new(State::new(members)),
    refusal: Some(|refusal, members| {
        let call = members.call_id().unwrap_or("null");
        rpc_error(call, -32000, &refusal.with_code())
    }),
    reads_request_body: true,
    accepts_whole_answers: true,
    survives_client,
    // The standalone stream, for messages that belong to no call.
    subscribes: |parts| parts.method == Method::GET,
    // Of notifications, and of requests to the client.
    hide: HideFacts {
        beside: &[b"params"],
        ..HideFacts::NONE
    },
    failure,
    resume_ids: ResumeIds::Never,
    ..PLAIN
};

/// Returns the event that ends a failed stream.
fn failure(framing: Framing, failure: &Failure<'_>, seen: &ErrorContext) -> Option<String> {
    let call = seen.call.as_deref()?;
    let error = rpc_error(call, -32000, &failure.with_code());
    spec::block(framing, "", &error)
}

/// The first revision in which a client cancels a call by disconnecting.
///
/// Up to revision 2025-11-25 a closed connection is not a cancellation: the client sends a message
/// to cancel, and reconnects for the response.
const LEAVING_CANCELS: &str = "2026-07-28";

/// Reports whether the response is wanted even if the client disconnects. A listening `GET` is not
/// such a request.
fn survives_client(parts: &request::Parts) -> bool {
    let revision = parts.headers.get("mcp-protocol-version");
    let revision = revision.map(|value| value.to_str().unwrap_or_default());
    // A request without a revision means the oldest one.
    let is_old = revision.is_none_or(|revision| revision < LEAVING_CANCELS);
    parts.method == Method::POST && is_old
}

fn match_head(head: &RequestHead<'_>) -> Sign {
    const FIELDS: [HeaderName; 3] = [
        HeaderName::from_static("mcp-protocol-version"),
        HeaderName::from_static("mcp-session-id"),
        HeaderName::from_static("mcp-method"),
    ];
    Sign::Certain.when(FIELDS.iter().any(|field| head.has(field)))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_message = matches!(first.name(), b"" | b"message") && first.has("jsonrpc");
    Sign::Likely.when(is_message && !first.is_line())
}

/// The state that is kept between events.
#[derive(Debug)]
struct State {
    /// The id of the request, as JSON. `None` for a stream that does not answer one request:
    /// notifications, a batch.
    call: Option<String>,
    /// Whether events have ids, so that the client can reconnect for the events it did not get.
    resumable: bool,
}

impl State {
    fn new(members: &Members) -> Self {
        Self {
            call: members.call_id().map(str::to_owned),
            resumable: false,
        }
    }
}

impl Parser for State {
    fn classify(&mut self, frame: &Frame<'_>, _: &mut Seen) -> Option<Event> {
        self.resumable |= has_id(&frame.block);
        if frame.data().is_empty() {
            // An empty event gives the client its first id.
            return frame.data.as_ref().map(|_| Event::bare(Class::Structure));
        }
        let message = Message::read(frame.data())?;
        let of = |class| Event {
            content: Content::Other,
            ..Event::bare(class)
        };
        let is_answer = self.call.as_deref().map(str::as_bytes) == Some(message.id);
        Some(match message.kind? {
            Kind::Error if is_answer => of(Class::Error).ending(Terminal::Error),
            Kind::Error => of(Class::Error).ending(Terminal::MayFail),
            Kind::Result if is_answer => of(Class::Done).ending(Terminal::Done),
            // Of a batch, or of whatever a client comes back for: another one may follow, however long it takes.
            Kind::Result if self.call.is_none() => {
                of(Class::Done).ending(Terminal::MayEndWithInput)
            }
            Kind::Result => of(Class::Done).ending(Terminal::MayEnd),
            // The next one says more.
            Kind::Method(b"notifications/progress") if message.id.is_empty() => of(Class::Status),
            // Other notifications, log messages among them.
            Kind::Method(_) if message.id.is_empty() => of(Class::State),
            // A request to the client, whose answer the server waits for.
            Kind::Method(_) => of(Class::State).ending(Terminal::Reopens),
        })
    }

    fn needs_terminal(&self) -> bool {
        self.call.is_some() && !self.resumable
    }

    fn error_context(&self) -> ErrorContext {
        ErrorContext {
            call: self.call.as_deref().map(Into::into),
            ..ErrorContext::default()
        }
    }
}

/// Reports whether the block has an `id` line.
fn has_id(block: &[u8]) -> bool {
    block
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"id:"))
}

/// The kind of a JSON-RPC message.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Error,
    Method(&'a [u8]),
    Result,
}

#[derive(Debug, Default)]
struct Message<'a> {
    kind: Option<Kind<'a>>,
    id: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let mut message = Self::default();
        let mut is_rpc = false;
        let mut reader = Reader::new(data);
        let is_object = reader.object(|reader, key| {
            match key {
                b"jsonrpc" => {
                    is_rpc = true;
                    reader.skip()?;
                }
                b"id" => message.id = reader.raw()?,
                b"method" => message.kind = Some(Kind::Method(reader.word()?)),
                b"result" => {
                    message.kind = Some(Kind::Result);
                    reader.skip()?;
                }
                b"error" => {
                    message.kind = Some(Kind::Error);
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
            Some(())
        })?;
        reader.end()?;
        (is_object && is_rpc).then_some(message)
    }
}
