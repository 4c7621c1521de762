//! Conventions of tutorials and agent templates: a word says what an event is, in many spellings.
//!
//! This file finds the word, and reads ends and errors. Everything else is in one file for each kind: `text`, `tools`
//! and `state`.

mod fields;
mod state;
mod text;
mod tools;

use fields::Fields;

use super::Reading;
use super::shared::{finish, unknown, usage};
use crate::event::{Class, Event, Terminal};
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{id, is_object, member, word};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Convention {
    started: bool,
    /// Whether any text has come.
    said: bool,
    /// Whether pieces have come since the last whole text and the last result of a tool.
    in_pieces: bool,
    /// Hashes of the last whole texts: some agents repeat the answer under several words.
    wholes: Vec<u64>,
    /// The calls without a result: name, id, and whether the arguments are complete.
    calls: Vec<(Vec<u8>, Vec<u8>, bool)>,
    /// The number of calls that had no id.
    nameless: u64,
}

impl Reading for Convention {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        match event.class {
            Class::Heartbeat => return,
            Class::Reasoning | Class::Token => return self.piece(frame, event, parts),
            // A piece with citations.
            Class::Structure if event.text.is_some() => return self.piece(frame, event, parts),
            _ => {}
        }
        let kind = normal(kind(frame));
        let fields = Fields::of(data);
        match event.class {
            Class::Done => {
                self.answer_at_end(&fields, parts);
                usage(event, None, parts);
                let told = fields.word(&["finish_reason", "finishReason", "reason", "stop_reason"]);
                let reason = match told {
                    b"" => Reason::Stop,
                    told => Reason::of(told),
                };
                // Anything but a sentinel may be the end of a step only.
                let scope = match event.terminal {
                    Some(Terminal::Done) => Scope::Run,
                    _ => Scope::Step,
                };
                finish(reason, scope, parts);
            }
            Class::Error => error(data, parts),
            Class::State => self.state(&kind, &fields, parts),
            Class::Structure => self.whole(&kind, &fields, parts),
            Class::Tool => self.tool(&kind, &fields, parts),
            Class::Usage => usage(event, None, parts),
            _ => unknown(&kind, data, parts),
        }
    }
}

/// Returns the word that says what an event is; empty if there is none.
fn kind<'a>(frame: &'a Frame<'_>) -> &'a [u8] {
    let name = match frame.name() {
        b"data" | b"message" => b"",
        name => name,
    };
    if !name.is_empty() {
        return name;
    }
    ["type", "event", "kind"]
        .iter()
        .map(|name| word(frame.data(), &[name]))
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

/// Returns a word in the spelling in which it is compared.
fn normal(word: &[u8]) -> Vec<u8> {
    word.iter()
        .map(|byte| match byte {
            b'-' | b'.' => b'_',
            byte => byte.to_ascii_lowercase(),
        })
        .collect()
}

/// Passes on an error, whose data may be plain text.
fn error(data: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
    let fields = Fields::of(data);
    let nested = member(data, "error")
        .filter(|error| is_object(error))
        .unwrap_or_default();
    let code = ["code", "type"]
        .iter()
        .map(|name| id(nested, &[name]))
        .find(|code| !code.is_empty())
        .unwrap_or_else(|| id(data, &["code"]));
    let message = match word(data, &["message"]) {
        b"" => match word(nested, &["message"]) {
            b"" => fields.word(&["error", "content", "detail", "text", "data"]),
            message => message,
        },
        message => message,
    };
    parts(Part::Error {
        code: code.into(),
        message: match message {
            b"" => fields.plain(),
            message => message.into(),
        },
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    pub(super) fn read(name: &str, framing: Framing) -> Vec<Part<'static>> {
        let mut reading = Convention::default();
        let bytes = fixture("convention", name);
        parts_of(&mut reading, Dialect::Convention, framing, &bytes)
    }

    #[test]
    fn lines_are_read_like_events() {
        assert_eq!(text_of(&read("lines.ndjson", Framing::Ndjson)), "Rain");
    }
}
