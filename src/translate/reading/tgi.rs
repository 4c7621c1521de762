//! Hugging Face text-generation-inference, `/generate_stream`.

use super::Reading;
use super::shared::{finish, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{Part, Reason, Scope};
use crate::translate::raw::{at, is_true, member, string, word};
use crate::wire::Frame;

/// The state that is kept between events.
#[derive(Debug, Default)]
pub(super) struct Tgi {
    started: bool,
    /// Whether any piece of the text has come.
    said: bool,
}

impl Reading for Tgi {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        match event.class {
            Class::Heartbeat => return,
            Class::Opaque => return unknown(frame.name(), data, parts),
            _ if data.starts_with(b"[DONE]") => return finish(Reason::Stop, Scope::Run, parts),
            _ => {}
        }
        if let Some(error) = member(data, "error").filter(|_| event.class == Class::Error) {
            return parts(Part::Error {
                code: word(data, &["error_type"]).into(),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
        }
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: b"".into(),
                thread: b"".into(),
                model: b"".into(),
            });
        }
        // The text of a control token of the model is not part of the answer.
        if !is_true(data, &["token", "special"]) {
            self.say(word(data, &["token", "text"]), parts);
        }
        let Some(whole) = at(data, &["generated_text"]).and_then(string) else {
            return;
        };
        if !self.said {
            self.say(whole, parts);
        }
        usage(event, None, parts);
        let reason = match word(data, &["details", "finish_reason"]) {
            b"" => Reason::Stop,
            told => Reason::of(told),
        };
        finish(reason, Scope::Run, parts);
    }
}

impl Tgi {
    fn say(&mut self, text: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        if !text.is_empty() {
            self.said = true;
            parts(Part::Text {
                msg: b"".into(),
                text: text.into(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Tgi::default();
        let bytes = fixture("tgi", name);
        parts_of(&mut reading, Dialect::Tgi, Framing::Sse, &bytes)
    }

    #[test]
    fn control_tokens_are_no_text() {
        assert_eq!(text_of(&read("special.sse")), "Rain again");
        assert_eq!(text_of(&read("text.sse")), "Rain in Oslo");
    }

    #[test]
    fn the_last_token_ends_the_run() {
        let parts = read("usage.sse");
        assert_eq!(text_of(&parts), "Rain.");
        let end = Part::Finish {
            reason: Reason::Length,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
        let counts = |part: &Part<'_>| {
            matches!(
                part,
                Part::Usage {
                    input: Some(9),
                    output: Some(2),
                    ..
                }
            )
        };
        assert!(parts.iter().any(counts));
    }
}
