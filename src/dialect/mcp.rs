//! MCP Streamable HTTP: each block is one JSON-RPC message; the one that answers the request ends the stream.
//!
//! Up to revision 2025-11-25 a server may name its events and close the connection before the answer: the client
//! comes back with the last name. So where names were seen, the end of the input is no cut.

use super::a2a::rpc_error;
use super::first_frame::FirstFrame;
use super::reader::Reader;
use super::request::{Members, RequestHead};
use super::spec::{self, DialectSpec, Failure, PLAIN, Parser, Sign};
use crate::event::{Class, Content, Event, Terminal};
use crate::wire::{Frame, Framing};

pub(super) const SPEC: DialectSpec = DialectSpec {
    word: "mcp",
    match_head,
    match_body: |members| {
        // A2A's methods are its own; of other calls this is the one that is streamed.
        Sign::Likely.when(members.call_id().is_some())
    },
    match_first_frame,
    parser: |members| Box::new(State::new(members)),
    refusal: Some(|refusal, members| {
        let call = members.call_id().unwrap_or("null");
        rpc_error(call, -32000, &refusal.with_code())
    }),
    ..PLAIN
};

fn match_head(head: &RequestHead<'_>) -> Sign {
    let fields = ["mcp-protocol-version", "mcp-session-id", "mcp-method"];
    Sign::Certain.when(fields.into_iter().any(|field| head.has(field)))
}

fn match_first_frame(first: &FirstFrame<'_>) -> Sign {
    let is_message = matches!(first.name(), b"" | b"message") && first.has("jsonrpc");
    Sign::Likely.when(is_message && !first.is_line())
}

/// What must be remembered between events.
#[derive(Debug)]
struct State {
    /// The id of the request, as JSON. `None` for a stream that answers none: notifications, a batch.
    call: Option<String>,
    /// Events have ids: the client comes back for what it did not get.
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
    fn classify(&mut self, frame: &Frame<'_>) -> Option<Event> {
        self.resumable |= has_id(&frame.block);
        if frame.data().is_empty() {
            // Primes the client with the first id.
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
            Kind::Result => of(Class::Done).ending(Terminal::MayEnd),
            Kind::Method(b"notifications/progress" | b"notifications/message")
                if message.id.is_empty() =>
            {
                of(Class::Status)
            }
            // Other notifications; questions to the client.
            Kind::Method(_) => of(Class::State),
        })
    }

    fn failure(&self, framing: Framing, failure: &Failure<'_>) -> Option<String> {
        let call = self.call.as_deref()?;
        let error = rpc_error(call, -32000, &failure.with_code());
        spec::block(framing, "", &error)
    }

    fn needs_terminal(&self) -> bool {
        self.call.is_some() && !self.resumable
    }
}

/// Whether the block has an `id` line.
fn has_id(block: &[u8]) -> bool {
    block
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(b"id:"))
}

/// What a JSON-RPC message is.
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
