//! The raw section `defaults`, whose keys a route can override: what happens to a request and to its stream.

use std::marker::PhantomData;
use std::time::Duration;

use serde_json::json;

use super::resume::{Leave, Resume};
use super::websocket::WordOrSection;
use super::{GIB, HOUR, KIB, MINUTES_10, MS, count, size, time};
use crate::config::choices::{self, Marker};
use crate::config::defaults::{self as preset, Preset};
use crate::config::group::{Section, Switch, group};
use crate::config::number::{Count, Size, Time};
use crate::config::text::{Flag, OneOf, Text, Unbuilt};
use crate::config::wrap::{OneOrMany, OrNull, OrOff};
use crate::dialect::Choice;
use crate::filter::Hide as HideMode;
use crate::queue::Overflow;
use crate::request_map::RequestForm;
use crate::translate::{Statuses, Target};

/// Longest deadline. A run that takes longer is a batch job, not a stream.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

group! {
    /// The section `defaults`, and the same keys in a route.
    Policy {
        /// Dialect of the streams: the protocol and event format of the agent. `auto` detects it.
        dialect: OneOf<Choice> = OneOf { choices: choices::dialects(), preset: preset::DIALECT };
        /// Time limits of a stream. Each ends the stream with an outcome of its own.
        deadlines: Section<Deadlines> = Section(PhantomData);
        /// How long the client receives nothing before a heartbeat is sent, or `off`.
        heartbeat: OrOff<Time> =
            OrOff { inner: time(preset::HEARTBEAT, Duration::from_millis(10), HOUR), off: None };
        /// Queue of the events that wait for a slow client.
        queue: Section<Queue> = Section(PhantomData);
        /// Maximum size of one event. A larger one ends the stream as `too_large`.
        max_event_bytes: Size = size(preset::MAX_EVENT_BYTES, KIB, GIB);
        /// Maximum size of a request body. Larger bodies are rejected with 413.
        max_request_bytes: Size = size(preset::MAX_REQUEST_BYTES, 0, 1024 * GIB);
        /// Whether to send the agent the `Forwarded` header (RFC 7239) in addition to `X-Forwarded-*`.
        forwarded: Flag = Flag { preset: preset::FORWARDED };
        /// Send the response head after this time even if the agent has not responded, for intermediaries that limit
        /// the wait for a head. Later failures can no longer be reported by the status code.
        commit_after: OrOff<Time> =
            OrOff {
                inner: time(preset::COMMIT_AFTER, MS, MINUTES_10),
                off: Some(preset::COMMIT_AFTER_WHY),
            };
        /// Size of a comment sent ahead of the stream, for intermediaries that buffer the first bytes. 0 disables it.
        preamble_bytes: Size = size(preset::PREAMBLE_BYTES, 0, 64 * KIB);
        /// Retries of failed requests.
        retry: Section<Retry> = Section(PhantomData);
        /// Clients that come back to a stream, and several that follow one. Switched on where it is written, as in
        /// `resume: {}`; `off` switches it off again.
        resume: Switch<Resume> = Switch(PhantomData);
        /// What happens to the agent's run when its last client disconnects. Values other than `cancel` require
        /// `resume`.
        on_disconnect: Leave = Leave;
        /// Clients that ask for a WebSocket; see `docs/websocket.md`. The word of `mode` can stand for the section, as
        /// in `websocket: bridge`.
        websocket: WordOrSection = WordOrSection;
        /// Parts of a stream that are hidden from the client.
        hide: Section<Hide> = Section(PhantomData);
        /// Dialect in which the client gets its stream, whatever the agent speaks.
        reply: Section<Reply> = Section(PhantomData);
        /// Translation of requests: the client sends them in its own form, and the agent reads another one.
        request: Section<Request> = Section(PhantomData);
        /// Pieces of text that leave together, which saves clients work.
        batch: Section<Batch> = Section(PhantomData);
        /// Bursts of text that are spread over time, which reads better.
        pace: Section<Pace> = Section(PhantomData);
    }
}

group! {
    /// The section `request`.
    Request {
        /// The form in which clients send their requests: `ai-sdk` (`useChat`) or `ag-ui` (`RunAgentInput`). `null`
        /// passes them on as they are.
        from: OrNull<OneOf<RequestForm>> =
            OrNull {
                inner: OneOf { choices: choices::REQUEST_FORMS.to_vec(), preset: preset::REQUEST_FROM },
                why: preset::REQUEST_WHY,
            };
        /// The form that the agent reads.
        to: OneOf<()> = OneOf { choices: choices::REQUEST_TARGETS.to_vec(), preset: preset::REQUEST_TO };
    }
}

group! {
    /// The section `batch`.
    Batch {
        /// How long a piece of text waits for those that follow, or `off`. The first piece never waits.
        max_delay: OrOff<Time> =
            OrOff {
                inner: time(preset::BATCH_DELAY, MS, Duration::from_secs(1)),
                off: Some(preset::BATCH_WHY),
            };
        /// Pieces leave sooner once they have this many characters together.
        max_chars: Count = count(preset::BATCH_CHARS, 1, 65_536);
    }
}

group! {
    /// The section `pace`.
    Pace {
        /// How long a piece of text that came with others is held back at most, or `off`. The first piece is not.
        max_delay: OrOff<Time> =
            OrOff {
                inner: time(preset::PACE_DELAY, MS, Duration::from_secs(5)),
                off: Some(preset::PACE_WHY),
            };
    }
}

group! {
    /// The section `reply`.
    Reply {
        /// Dialect of the client's stream: `same` passes on the agent's; the others translate it.
        form("as"): OneOf<Option<Target>> = OneOf { choices: choices::replies(), preset: preset::REPLY };
        /// Dialects that a client may ask for instead, with the header `Weir-Reply` or the query parameter
        /// `weir.reply`.
        offer: OrNull<OneOrMany<OneOf<Option<Target>>>> =
            OrNull {
                inner: OneOrMany { inner: OneOf { choices: choices::replies(), preset: preset::REPLY } },
                why: preset::OFFER_WHY,
            };
        /// How much clients of a translation are told about what is going on; see `docs/replies.md`.
        status: OneOf<Statuses> = OneOf { choices: choices::STATUSES.to_vec(), preset: preset::STATUS };
        /// Whether a client that asks for no stream gets one JSON answer made of the agent's stream. The agent is asked
        /// for a stream, so that no deadline between Weir and the agent ever sees silence.
        aggregate: Flag = Flag { preset: preset::AGGREGATE };
        /// What happens to a whole JSON answer to a request that asked for a stream: `pass` passes it on, `synthesize`
        /// writes it as a stream.
        unstream: OneOf<bool> = OneOf { choices: choices::UNSTREAMS.to_vec(), preset: preset::UNSTREAM };
    }
}

group! {
    /// The section `deadlines`.
    Deadlines {
        /// Time limit for connecting to the agent, including the TLS handshake.
        connect: Time = time(preset::CONNECT, MS, MINUTES_10);
        /// Time limit from the end of the request to the response head.
        head: Time = time(preset::HEAD, MS, WEEK);
        /// Time limit from the end of the request to the first event with content. It takes effect once the response
        /// head has arrived.
        first_event: Time = time(preset::FIRST_EVENT, MS, WEEK);
        /// Maximum silence of the agent after the first content. Every byte counts, including the agent's heartbeats.
        idle: Time = time(preset::IDLE, MS, WEEK);
        /// Maximum time between two events with content.
        progress: Time = time(preset::PROGRESS, MS, WEEK);
        /// Maximum silence of the agent once the response may be complete. The stream then ends as finished.
        after_end: Time = time(preset::AFTER_END, MS, WEEK);
        /// Maximum duration of the whole stream.
        total: Time = time(preset::TOTAL, MS, WEEK);
        /// Maximum time that data waits for the client while the client accepts none of it.
        client_stall: Time = time(preset::CLIENT_STALL, MS, WEEK);
    }
}

group! {
    /// The section `queue`.
    Queue {
        /// Maximum number of queued events.
        max_events: Count = count(preset::MAX_EVENTS, 1, 65_536);
        /// Maximum size of the queue. From 64 KiB on, one eighth of it is reserved for bookkeeping and fragmentation. A
        /// single event may be larger; it is then queued alone.
        max_bytes: Size = size(preset::MAX_BYTES, 1, GIB);
        /// Whether neighbouring tokens are merged before any is dropped.
        merge: Flag = Flag { preset: preset::MERGE };
        /// What happens when the queue is full: `drop_oldest` drops the oldest token, `block` stops reading from the
        /// agent (back-pressure), `disconnect` ends the stream as `client_stalled`.
        overflow: OneOf<Overflow> =
            OneOf { choices: choices::OVERFLOWS.to_vec(), preset: preset::OVERFLOW };
    }
}

group! {
    /// The section `retry`.
    Retry {
        /// How often a request is retried before its first event.
        attempts: Unbuilt =
            Unbuilt { preset: Preset { value: "0", why: preset::RETRY_WHY }, json: json!(0) };
    }
}

group! {
    /// The section `hide`.
    Hide {
        /// What happens to reasoning: `keep` passes it on, `drop` removes it, `status` removes it and tells the client
        /// so if the dialect has an event for that.
        reasoning: OneOf<HideMode> = OneOf { choices: choices::HIDES.to_vec(), preset: preset::HIDE };
        /// What happens to tool calls and their results. Takes the same values as `reasoning`.
        tools: OneOf<HideMode> = OneOf { choices: choices::HIDES.to_vec(), preset: preset::HIDE };
        /// Markers of reasoning and tool calls in text: `auto` for all families, or a list of families (see
        /// `docs/leakage.md`) and of custom pairs, written `OPEN ... CLOSE`.
        markers: OneOrMany<Text<Marker>> =
            OneOrMany {
                inner: Text {
                    form: "a family of markers, or `OPEN ... CLOSE`",
                    parse: choices::marker,
                    preset: Some(preset::MARKERS),
                },
            };
        /// Whether each text begins inside reasoning, because the prompt already contains the opening marker.
        starts_hidden: Flag = Flag { preset: preset::STARTS_HIDDEN };
    }
}
