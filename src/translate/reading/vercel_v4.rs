//! Vercel AI SDK data stream of version 4: the name of each line is its code.

use super::{Reading, shared};
use crate::event::Event;
use crate::translate::part::{By, Part, Reason, Scope, StateOp};
use crate::translate::raw::{member, string, word};
use crate::wire::{Frame, json};

/// The state that is kept between lines.
#[derive(Debug, Default)]
pub(super) struct VercelV4 {
    /// The message of the step.
    msg: Vec<u8>,
}

impl Reading for VercelV4 {
    fn read(&mut self, frame: &Frame<'_>, event: &Event, parts: &mut dyn FnMut(Part<'_>)) {
        let data = frame.data();
        if !json::is_whole(data) {
            return;
        }
        let call = |data| word(data, &["toolCallId"]);
        match frame.name() {
            b"0" => {
                let text = string(data).unwrap_or_default();
                if !text.is_empty() {
                    parts(Part::Text {
                        msg: self.msg.as_slice().into(),
                        text: text.into(),
                    });
                }
            }
            b"g" => {
                let text = string(data).unwrap_or_default();
                if !text.is_empty() {
                    parts(Part::Reasoning {
                        msg: self.msg.as_slice().into(),
                        text: text.into(),
                    });
                }
            }
            b"f" => {
                self.msg = word(data, &["messageId"]).to_vec();
                parts(Part::Start {
                    run: self.msg.as_slice().into(),
                    thread: b"".into(),
                    model: b"".into(),
                });
            }
            b"b" => parts(Part::ToolStart {
                msg: self.msg.as_slice().into(),
                id: call(data).into(),
                name: word(data, &["toolName"]).into(),
                by: By::Unsaid,
            }),
            b"c" => {
                let text = word(data, &["argsTextDelta"]);
                if !text.is_empty() {
                    parts(Part::ToolArgs {
                        id: call(data).into(),
                        text: text.into(),
                    });
                }
            }
            b"9" => parts(Part::ToolReady {
                msg: self.msg.as_slice().into(),
                id: call(data).into(),
                name: word(data, &["toolName"]).into(),
                args: member(data, "args").map(Into::into),
                by: By::Unsaid,
            }),
            b"a" => parts(Part::ToolResult {
                id: call(data).into(),
                name: b"".into(),
                ok: true,
                content: member(data, "result").unwrap_or(b"null").into(),
                partial: false,
            }),
            // The application's own data.
            b"2" => parts(Part::State {
                op: StateOp::Update,
                value: [b"{\"data\":".as_slice(), data, b"}"].concat().into(),
            }),
            b"8" => parts(Part::State {
                op: StateOp::Update,
                value: [b"{\"annotations\":".as_slice(), data, b"}"]
                    .concat()
                    .into(),
            }),
            b"3" => parts(Part::Error {
                code: b"".into(),
                message: string(data).unwrap_or_default().into(),
            }),
            b"e" => finish(data, event, Scope::Step, parts),
            b"d" => finish(data, event, Scope::Run, parts),
            code => parts(Part::Raw {
                name: code.into(),
                data: data.into(),
            }),
        }
    }
}

/// Tells the end of a step or of the run, with its token counts.
fn finish(data: &[u8], event: &Event, scope: Scope, parts: &mut dyn FnMut(Part<'_>)) {
    shared::usage(event, None, parts);
    let told = word(data, &["finishReason"]);
    parts(Part::Finish {
        reason: if told.is_empty() {
            Reason::Stop
        } else {
            Reason::of(told)
        },
        scope,
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fixture, parts_of, text_of};
    use super::*;
    use crate::dialect::Dialect;
    use crate::wire::Framing;

    fn read(name: &str) -> Vec<Part<'static>> {
        let mut reading = VercelV4::default();
        let bytes = fixture("vercel_v4", name);
        parts_of(&mut reading, Dialect::VercelV4, Framing::Lines, &bytes)
    }

    const STOP: Part<'static> = Part::Finish {
        reason: Reason::Stop,
        scope: Scope::Run,
    };

    #[test]
    fn the_strings_are_the_text() {
        let parts = read("text.lines");
        assert_eq!(text_of(&parts), r#"Rain in \"Oslo\"\n"#);
        assert_eq!(parts.last(), Some(&STOP));
        assert_eq!(text_of(&read("reasoning.lines")), "Rain");
    }

    #[test]
    fn calls_have_results_and_steps_an_end() {
        let parts = read("tools.lines");
        assert_eq!(text_of(&parts), "4 C");
        assert!(parts.contains(&Part::ToolReady {
            msg: b"m1".into(),
            id: b"c1".into(),
            name: b"wx".into(),
            args: Some(br#"{"c":1}"#.into()),
            by: By::Unsaid,
        }));
        assert!(parts.contains(&Part::ToolResult {
            id: b"c1".into(),
            name: b"".into(),
            ok: true,
            content: b"\"4 C\"".into(),
            partial: false,
        }));
        assert!(parts.contains(&Part::Finish {
            reason: Reason::ToolCalls,
            scope: Scope::Step,
        }));
        assert_eq!(parts.last(), Some(&STOP));
    }
}
