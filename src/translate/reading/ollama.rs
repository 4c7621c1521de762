//! Ollama chat and generate.

use super::Reading;
use super::shared::{finish, unknown, usage};
use crate::event::{Class, Event};
use crate::translate::part::{By, Part, Reason, Scope};
use crate::translate::raw::{elements, is_true, member, string, word};
use crate::wire::Frame;

/// The state that is kept between lines.
#[derive(Debug, Default)]
pub(super) struct Ollama {
    started: bool,
    /// Whether the model has called a tool.
    calls: bool,
    /// The number of calls that had no id.
    nameless: u64,
}

impl Reading for Ollama {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        match event.class {
            Class::Heartbeat => return,
            Class::Opaque => return unknown(frame.name(), data, parts),
            _ => {}
        }
        if let Some(error) = member(data, "error").filter(|_| event.class == Class::Error) {
            return parts(Part::Error {
                code: b"".into(),
                message: string(error)
                    .unwrap_or_else(|| word(error, &["message"]))
                    .into(),
            });
        }
        if !std::mem::replace(&mut self.started, true) {
            parts(Part::Start {
                run: b"".into(),
                thread: b"".into(),
                model: word(data, &["model"]).into(),
            });
        }
        // The chat has a message; the other endpoint has the same members beside the rest.
        let message = member(data, "message");
        for of in [message.unwrap_or_default(), data] {
            let text = word(of, &["thinking"]);
            if !text.is_empty() {
                parts(Part::Reasoning {
                    msg: b"".into(),
                    text: text.into(),
                });
            }
        }
        for text in [
            word(data, &["message", "content"]),
            word(data, &["response"]),
        ] {
            if !text.is_empty() {
                parts(Part::Text {
                    msg: b"".into(),
                    text: text.into(),
                });
            }
        }
        if event.class == Class::Tool || event.class == Class::Done {
            for of in [message.unwrap_or_default(), data] {
                for call in member(of, "tool_calls").map(elements).unwrap_or_default() {
                    self.call(call, parts);
                }
            }
        }
        if is_true(data, &["done"]) {
            usage(event, None, parts);
            let reason = match word(data, &["done_reason"]) {
                b"" | b"stop" if self.calls => Reason::ToolCalls,
                b"" => Reason::Stop,
                told => Reason::of(told),
            };
            finish(reason, Scope::Run, parts);
        }
    }
}

impl Ollama {
    /// Reads a call, which comes whole.
    fn call(&mut self, call: &[u8], parts: &mut dyn FnMut(Part<'_>)) {
        self.calls = true;
        let function = member(call, "function").unwrap_or(call);
        let id = match word(call, &["id"]) {
            b"" => {
                let number = self.nameless;
                self.nameless += 1;
                format!("call-{number}").into_bytes()
            }
            id => id.to_vec(),
        };
        parts(Part::ToolReady {
            msg: b"".into(),
            id: id.into(),
            name: word(function, &["name"]).into(),
            args: Some(member(function, "arguments").unwrap_or(b"{}").into()),
            by: By::Client,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::translate::reading::testing::{fixture, parts_of, text_of};
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = Ollama::default();
        let bytes = fixture("ollama", name);
        parts_of(&mut reading, Dialect::Ollama, Framing::Ndjson, &bytes)
    }

    #[test]
    fn the_last_line_may_carry_text() {
        let parts = read("generate.ndjson");
        assert_eq!(text_of(&parts), "Rain.");
        let end = Part::Finish {
            reason: Reason::Stop,
            scope: Scope::Run,
        };
        assert_eq!(parts.last(), Some(&end));
        assert_eq!(text_of(&read("reasoning.ndjson")), "Rain.x");
    }

    #[test]
    fn calls_come_whole() {
        let parts = read("tools.ndjson");
        let call = |id: &'static [u8], name: &'static [u8], args: &'static [u8]| Part::ToolReady {
            msg: b"".into(),
            id: id.into(),
            name: name.into(),
            args: Some(args.into()),
            by: By::Client,
        };
        assert!(parts.contains(&call(b"call-0", b"wx", br#"{"c":"Oslo"}"#)));
        assert!(parts.contains(&call(b"call-1", b"clock", b"{}")));
        assert!(parts.contains(&call(b"call-2", b"wx", b"{}")));
    }
}
