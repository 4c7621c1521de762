//! The raw section `resume` of a route, and what becomes of a run whose client leaves.

use std::marker::PhantomData;

use serde_json::json;

use super::{DAY, GIB, KIB, MS, NONE, count, size, time};
use crate::config::chats::{self, ChatPath};
use crate::config::choices::{self, Credential};
use crate::config::defaults as preset;
use crate::config::error::{Path, Report};
use crate::config::group::{Group, Section, group, object};
use crate::config::kind::{Kind, Shape, refuse, scalar};
use crate::config::number::{Count, Size, Time};
use crate::config::text::{Flag, OneOf, Text};
use crate::config::tree::{Node, Value};
use crate::config::wrap::{OneOrMany, OrAuto, OrNull, OrOff};
use crate::config::{Ids, OnDisconnect};

group! {
    /// The section `resume` of a route.
    Resume {
        /// Whether clients can come back to a stream. A section without this key means `true`, so `resume: {}` is
        /// enough; `resume: off` is `enabled: false`.
        enabled: Flag = Flag { preset: preset::RESUME };
        /// Which streams get ids that clients return with: `auto` those whose clients are known to accept them, `all`
        /// every stream of server-sent events, `off` none. Every stream has `Weir-Stream-Id`.
        ids: OrOff<OneOf<Ids>> =
            OrOff { inner: OneOf { choices: choices::IDS.to_vec(), preset: preset::IDS }, off: None };
        /// How long the journal of a stream stays after the stream has ended.
        keep: Time = time(preset::KEEP, NONE, DAY);
        /// Maximum number of events in a journal. Beyond it, the oldest are dropped, and clients cannot return to them.
        max_events: Count = count(preset::JOURNAL_EVENTS, 1, 1_000_000);
        /// Maximum size of a journal. Beyond it, the oldest events are dropped.
        max_bytes: Size = size(preset::JOURNAL_BYTES, KIB, GIB);
        /// Maximum number of clients that follow one stream at the same time, on each instance.
        max_viewers: Count = count(preset::MAX_VIEWERS, 1, 1_024);
        /// What a client must show to return to a stream: every credential of the request that started it (`auto`), or
        /// only these headers and cookies.
        bind: OrAuto<OneOrMany<Text<Credential>>> =
            OrAuto {
                inner: OneOrMany {
                    inner: Text {
                        form: "`header:NAME` or `cookie:NAME`",
                        parse: choices::credential,
                        preset: None,
                    },
                },
                why: preset::BIND_WHY,
            };
        /// Whether a request with the `Idempotency-Key` of an earlier one gets that one's stream.
        idempotency: Flag = Flag { preset: preset::IDEMPOTENCY };
        /// Requests that ask for the stream of a chat.
        chats: Section<Chats> = Section(PhantomData);
    }
}

group! {
    /// The section `resume.chats`.
    Chats {
        /// Path of the request that asks for the newest stream of a chat, with `{id}` in place of the chat, such as
        /// `/api/chat/{id}/stream`.
        path: OrNull<Text<ChatPath>> =
            OrNull {
                inner: Text { form: "a path such as `/api/chat/{id}/stream`", parse: chats::path, preset: None },
                why: preset::CHATS_WHY,
            };
        /// Member of a request's JSON body that names its chat.
        member: Text<String> =
            Text { form: "the name of a member", parse: chats::member, preset: Some(preset::CHAT_MEMBER) };
    }
}

group! {
    /// `on_disconnect` written as a section.
    Grace requires ["grace"] {
        /// How long the run goes on after its last client has left.
        grace: Time = time(preset::GRACE, MS, DAY);
    }
}

/// What happens when the client leaves: a word, or a section with a time.
pub(crate) struct Leave;

/// What is expected, as messages say it.
const FORM: &str = "`cancel`, `continue` or `{grace: 30s}`";

impl Kind for Leave {
    type Out = OnDisconnect;

    fn read(&self, node: &Node, path: &Path, report: &mut Report) -> Option<OnDisconnect> {
        if let Value::Map(_) = &node.value {
            let grace = Grace::read(node, path, report)?.grace?;
            return Some(OnDisconnect::Grace(grace.value));
        }
        let (text, _) = scalar(node, path, FORM, report)?;
        match text {
            "cancel" => Some(OnDisconnect::Cancel),
            "continue" => Some(OnDisconnect::Continue),
            _ => refuse(node, path, text, &format!("is not {FORM}"), report),
        }
    }

    fn shape(&self) -> Shape {
        let schema = json!({ "anyOf": [{ "enum": ["cancel", "continue"] }, object::<Grace>()] });
        Shape::leaf(
            FORM,
            schema,
            Some(json!("cancel")),
            preset::ON_DISCONNECT_WHY,
        )
    }
}
