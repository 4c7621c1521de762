//! A2A streaming, versions 0.3 and 1.0, as JSON-RPC responses or bare (the REST binding).

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{Part, Reason, Scope, StateOp};
use crate::translate::raw::{at, elements, escaped, id, is_true, member, string, word};
use crate::wire::{Frame, json};

/// The text of an artifact so far.
#[derive(Debug)]
struct Artifact {
    /// A hash of the task and the artifact.
    key: u64,
    length: usize,
    hasher: DefaultHasher,
}

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct A2a {
    artifacts: Vec<Artifact>,
    /// Whether the agent has written anything.
    has_text: bool,
    started: bool,
}

/// The names of the results, in version 1.0 and in 0.3.
const RESULTS: [(&str, &[u8]); 4] = [
    ("artifactUpdate", b"artifact-update"),
    ("statusUpdate", b"status-update"),
    ("task", b"task"),
    ("message", b"message"),
];

impl Reading for A2a {
    /// Returns false, because the whole is compared with what came in pieces.
    fn may_skip_pieces(&self) -> bool {
        false
    }

    fn read(&mut self, frame: &Frame<'_>, _: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if !json::is_whole(data) {
            return;
        }
        if let Some(error) = member(data, "error") {
            let code = at(error, &["code"]).unwrap_or_default();
            return parts(Part::Error {
                // A JSON-RPC code is negative.
                code: string(code).map_or_else(|| escaped(code), Into::into),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
        }
        let result = member(data, "result").unwrap_or(data);
        let kind = word(result, &["kind"]);
        let named = RESULTS.into_iter().find_map(|(name, old)| {
            let inner = if kind.is_empty() {
                member(result, name)?
            } else if kind == old {
                result
            } else {
                return None;
            };
            Some((old, inner))
        });
        match named {
            Some((b"artifact-update", update)) => self.update(update, parts),
            Some((b"status-update", update)) => {
                self.begin(
                    word(update, &["taskId"]),
                    word(update, &["contextId"]),
                    parts,
                );
                self.status(update, parts);
            }
            Some((b"task", task)) => {
                let told = word(task, &["id"]);
                self.begin(told, word(task, &["contextId"]), parts);
                let artifacts = member(task, "artifacts").map(elements);
                for artifact in artifacts.unwrap_or_default() {
                    self.artifact(told, artifact, false, parts);
                }
                self.status(task, parts);
            }
            Some((_, message)) => {
                self.message(message, parts);
                parts(Part::Finish {
                    reason: Reason::Stop,
                    scope: Scope::Run,
                });
            }
            None => parts(Part::Raw {
                name: kind.into(),
                data: data.into(),
            }),
        }
    }
}

impl A2a {
    fn begin(&mut self, task: &[u8], context: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: task.into(),
                thread: context.into(),
                model: b"".into(),
            });
        }
    }

    /// Reads an update of an artifact.
    fn update(&mut self, update: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let Some(artifact) = member(update, "artifact") else {
            return;
        };
        let task = word(update, &["taskId"]);
        self.begin(task, word(update, &["contextId"]), parts);
        self.artifact(task, artifact, is_true(update, &["append"]), parts);
        if is_true(update, &["lastChunk"]) {
            parts(Part::TextEnd);
        }
    }

    /// Reads an artifact, or what is appended to it.
    fn artifact(
        &mut self,
        task: &[u8],
        artifact: &[u8],
        append: bool,
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let msg = word(artifact, &["artifactId"]);
        let mut hasher = DefaultHasher::default();
        (task, msg).hash(&mut hasher);
        let key = hasher.finish();
        let known = self.artifacts.iter().rposition(|known| known.key == key);
        let mut told = match known {
            Some(at) => self.artifacts.remove(at),
            None => Artifact {
                key,
                length: 0,
                hasher: DefaultHasher::default(),
            },
        };
        let list = member(artifact, "parts").map(elements).unwrap_or_default();
        let mut whole = Vec::new();
        let is_new = append || known.is_none();
        for part in list {
            match member(part, "text").and_then(string) {
                Some(b"") => {}
                Some(text) if is_new => {
                    self.has_text = true;
                    told.length += text.len();
                    told.hasher.write(text);
                    parts(Part::Text {
                        msg: msg.into(),
                        text: text.into(),
                    });
                }
                Some(text) => whole.extend_from_slice(text),
                None if is_new => raw(part, parts),
                None => {}
            }
        }
        if !whole.is_empty() {
            told.replace(msg, whole, artifact, parts);
        }
        shared::remember(&mut self.artifacts, told);
    }

    /// Reads the status of a task.
    fn status(&mut self, task: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        let Some(status) = member(task, "status") else {
            return;
        };
        let state = word(status, &["state"]);
        let state = state.strip_prefix(b"TASK_STATE_").unwrap_or(state);
        let state = state.to_ascii_lowercase();
        let message = member(status, "message").unwrap_or_default();
        let told = id(task, &["taskId"]);
        let finish = |reason| Part::Finish {
            reason,
            scope: Scope::Run,
        };
        match state.as_slice() {
            b"failed" | b"rejected" => parts(Part::Error {
                code: (&state).into(),
                message: text_of(message).into(),
            }),
            b"completed" => {
                let text = text_of(message);
                if self.has_text && !text.is_empty() {
                    status_part(&state, &text, parts);
                } else {
                    self.message(message, parts);
                }
                parts(finish(Reason::Stop));
            }
            b"canceled" | b"cancelled" => parts(finish(Reason::Cancelled)),
            b"input_required" | b"input-required" | b"auth_required" | b"auth-required" => {
                parts(Part::Interrupt {
                    id: if told.is_empty() {
                        id(task, &["id"])
                    } else {
                        told
                    }
                    .into(),
                    reason: (&state).into(),
                    payload: status.into(),
                });
                parts(finish(Reason::Interrupt));
            }
            _ => {
                status_part(&state, &text_of(message), parts);
                for part in member(message, "parts").map(elements).unwrap_or_default() {
                    if member(part, "text").is_none() {
                        raw(part, parts);
                    }
                }
                if is_true(task, &["final"]) {
                    parts(finish(Reason::Stop));
                }
            }
        }
    }

    /// Reads a message of the agent.
    fn message(&mut self, message: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if matches!(word(message, &["role"]), b"user" | b"ROLE_USER") {
            return;
        }
        let (task, context) = (word(message, &["taskId"]), word(message, &["contextId"]));
        self.begin(task, context, parts);
        let msg = word(message, &["messageId"]);
        for part in member(message, "parts").map(elements).unwrap_or_default() {
            match member(part, "text").and_then(string) {
                Some(b"") => {}
                Some(text) => {
                    self.has_text = true;
                    parts(Part::Text {
                        msg: msg.into(),
                        text: text.into(),
                    });
                }
                None => raw(part, parts),
            }
        }
    }
}

impl Artifact {
    /// Tells what a whole text adds to the text so far.
    fn replace(
        &mut self,
        msg: &[u8],
        whole: Vec<u8>,
        artifact: &[u8],
        parts: &mut dyn FnMut(Part<'_>),
    ) {
        let rest = whole
            .split_at_checked(self.length)
            .and_then(|(head, rest)| {
                let mut hasher = DefaultHasher::default();
                hasher.write(head);
                (hasher.finish() == self.hasher.finish()).then_some(rest)
            });
        match rest {
            Some(b"") => parts(Part::Message {
                msg: msg.into(),
                role: b"assistant".into(),
                text: whole.into(),
                duplicate: true,
            }),
            Some(rest) => {
                self.length = whole.len();
                self.hasher.write(rest);
                parts(Part::Text {
                    msg: msg.into(),
                    text: rest.into(),
                });
            }
            // Another text, which no piece can say.
            None => parts(Part::State {
                op: StateOp::Update,
                value: [b"{\"artifact\":".as_slice(), artifact, b"}"]
                    .concat()
                    .into(),
            }),
        }
    }
}

/// Returns the joined text of a message.
fn text_of(message: &[u8]) -> Vec<u8> {
    let list = member(message, "parts").map(elements).unwrap_or_default();
    let texts: Vec<&[u8]> = list.into_iter().map(|part| word(part, &["text"])).collect();
    texts.concat()
}

fn status_part(state: &[u8], text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::Status {
        name: state.into(),
        text: text.into(),
        detail: b"".into(),
    });
}

/// Tells a part that is no text: data or a file.
fn raw(part: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    parts(Part::Raw {
        name: word(part, &["kind"]).into(),
        data: part.into(),
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, fixture, parts_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = A2a::default();
        let bytes = fixture("a2a", name);
        parts_of(&mut reading, Dialect::A2a, Framing::Sse, &bytes)
    }

    fn finish(reason: Reason) -> Part<'static> {
        Part::Finish {
            reason,
            scope: Scope::Run,
        }
    }

    #[test]
    fn the_artifacts_are_the_text() {
        let parts = read("text.sse");
        assert_eq!(testing::text_of(&parts), r#"Rain in \"Oslo\""#);
        assert_eq!(parts.last(), Some(&finish(Reason::Stop)));
        let old = read("version_0_3.sse");
        assert_eq!(testing::text_of(&old), "Rain.");
        assert_eq!(old.last(), Some(&finish(Reason::Stop)));
    }

    #[test]
    fn a_message_is_the_whole_answer() {
        let parts = read("message.sse");
        assert_eq!(testing::text_of(&parts), "Rain");
        assert_eq!(parts.last(), Some(&finish(Reason::Stop)));
    }

    #[test]
    fn an_agent_may_wait_or_fail() {
        let parts = read("rest.sse");
        assert_eq!(testing::text_of(&parts), "Rainx");
        assert_eq!(parts.last(), Some(&finish(Reason::Interrupt)));
        assert!(matches!(
            read("failed.sse").last(),
            Some(Part::Error { .. })
        ));
        assert_eq!(
            read("error.sse").last(),
            Some(&Part::Error {
                code: b"-32603".into(),
                message: b"boom".into(),
            })
        );
    }
}
