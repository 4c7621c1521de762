//! Answers in one piece, made of a whole conversation: one file for each API whose answer it is.
//!
//! Nothing is written until the conversation is over. An answer leaves out what the events of the same API leave out,
//! and what only matters while a run goes on.

mod ag_ui;
mod ai_sdk;
mod anthropic;
pub(in crate::translate) mod native;
mod openai_chat;

use super::lines::Lines;
use super::{Out, Writer};
use crate::translate::action::{Action, Call, Facts};
use crate::translate::arguments::object;
use crate::translate::gather::{Ending, Gathered};
use crate::translate::part::{By, Reason};

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Form {
    /// The messages that an AG-UI client would have.
    AgUi,
    /// The message that a client of the Vercel AI SDK would have.
    AiSdk,
    /// A message of Anthropic.
    Anthropic,
    /// Weir's own.
    Native,
    /// A chat completion of OpenAI.
    OpenAiChat,
}

impl Form {
    /// Returns the answer to a request that has failed. Both are raw bodies of JSON strings; either may be empty.
    pub(in crate::translate) fn failure(self, code: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::AgUi | Self::AiSdk | Self::Native => native::failure(code, message),
            Self::Anthropic => anthropic::failure(code, message),
            Self::OpenAiChat => openai_chat::failure(code, message),
        }
    }

    /// Reports whether an answer says what an action says.
    fn says(self, action: &Action<'_>) -> bool {
        match action {
            Action::ToolStart(call) | Action::ToolArgs(call, _) => self.says_call(call),
            Action::ToolReady { call, args, .. } => {
                let any_will_do = !matches!(self, Self::Anthropic);
                self.says_call(call) && (any_will_do || object(*args).1)
            }
            Action::ToolResult { partial, .. } => match self {
                Self::AgUi => !*partial,
                Self::AiSdk | Self::Native => true,
                Self::Anthropic | Self::OpenAiChat => false,
            },
            Action::Interrupt { .. } => !matches!(self, Self::Anthropic | Self::OpenAiChat),
            // Its text came in pieces.
            Action::Message { duplicate, .. } => *duplicate,
            Action::Raw { .. }
            | Action::State(..)
            | Action::Status { .. }
            | Action::Step { .. } => false,
            Action::Start
            | Action::NextStep
            | Action::TextStart(_)
            | Action::TextDelta(..)
            | Action::TextEnd(_)
            | Action::Finish(..)
            | Action::End(_)
            | Action::Stopped
            | Action::Error { .. } => true,
        }
    }

    fn says_call(self, call: &Call) -> bool {
        call.by == By::Client || !matches!(self, Self::Anthropic | Self::OpenAiChat)
    }
}

/// Writes one answer, as a line of JSON.
#[derive(Debug)]
pub(in crate::translate) struct WholeWriter {
    form: Form,
    /// Unix time in seconds.
    created: u64,
    gathered: Gathered,
    /// Tells what was going on by reasoning text; `None` if nobody is to be told.
    lines: Option<Lines>,
}

impl WholeWriter {
    /// Creates a writer for a stream that began at this Unix time in seconds. It keeps this many bytes of text, and as
    /// many of everything else. `tells`: statuses, and tools that the agent runs, become reasoning text.
    pub(in crate::translate) fn new(
        form: Form,
        created: u64,
        max_text_bytes: usize,
        tells: bool,
    ) -> Self {
        Self {
            form,
            created,
            gathered: Gathered::new(max_text_bytes),
            lines: tells.then(Lines::new),
        }
    }

    fn body(&self, facts: &Facts) -> Vec<u8> {
        let gathered = &self.gathered;
        match (self.form, gathered.ending()) {
            (form, Some(Ending::Failed { code, message })) => form.failure(code, message),
            (
                form @ (Form::Anthropic | Form::OpenAiChat),
                Some(Ending::Finished(Reason::Error)),
            ) => form.failure(b"", b""),
            (Form::AgUi, Some(Ending::Finished(reason @ (Reason::Cancelled | Reason::Error)))) => {
                let code = reason.as_str();
                let message = format!("The run ended: {code}.");
                Form::AgUi.failure(code.as_bytes(), message.as_bytes())
            }
            (Form::AgUi, _) => ag_ui::answer(facts, gathered),
            (Form::AiSdk, _) => ai_sdk::answer(facts, gathered),
            (Form::Anthropic, _) => anthropic::answer(facts, gathered),
            (Form::Native, _) => native::answer(facts, gathered),
            (Form::OpenAiChat, _) => openai_chat::answer(self.created, facts, gathered),
        }
    }
}

impl Writer for WholeWriter {
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        let line = (self.lines.as_mut()).and_then(|lines| lines.of(action));
        let is_told = line.is_some_and(|line| self.gathered.add_line(line));
        self.gathered.take(facts, action);
        if matches!(
            action,
            Action::End(_) | Action::Error { .. } | Action::Stopped
        ) {
            out.line(&[&self.body(facts)]);
        }
        is_told || self.form.says(action)
    }

    /// An answer to a request that was stopped is what was said until then.
    fn tells_stop(&self) -> bool {
        true
    }
}

/// Returns the elements of an array, with a comma between each two.
fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    elements.join(b",".as_slice())
}

#[cfg(test)]
pub(in crate::translate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{Last, failure, finish, interrupt, text, weather, whole};
    use super::*;
    use crate::translate::action::{Kind, OpenText};
    use crate::translate::part::StateOp;

    const FORMS: [Form; 5] = [
        Form::AgUi,
        Form::AiSdk,
        Form::Anthropic,
        Form::Native,
        Form::OpenAiChat,
    ];

    #[test]
    fn nothing_is_written_before_the_end() {
        // `whole` takes one block only.
        for form in FORMS {
            for last in [Last::Finish, Last::Stop] {
                assert!(whole(form, &[text("m1", "Hi")], last, 100).contains("\"Hi\""));
                assert!(!whole(form, &[], last, 100).is_empty());
            }
            assert!(whole(form, &weather(By::Agent), Last::Finish, 100).contains("4 C in Oslo."));
        }
    }

    #[test]
    fn a_failure_is_the_only_thing_that_is_said() {
        for form in FORMS {
            let body = whole(form, &[text("m1", "Hi"), failure()], Last::Finish, 100);
            assert_eq!(
                body.as_bytes(),
                form.failure(b"busy", b"Too many requests.")
            );
            assert!(!body.contains("Hi"), "{body}");
        }
        let ends = |form, reason| whole(form, &[text("m1", "Hi"), finish(reason)], Last::Finish, 9);
        let failed = r#"{"error":{"message":"The agent has failed.","type":"upstream_error","param":null,"code":"upstream_error"}}"#;
        assert_eq!(ends(Form::OpenAiChat, Reason::Error), failed);
        let failed =
            r#"{"type":"error","error":{"type":"api_error","message":"The agent has failed."}}"#;
        assert_eq!(ends(Form::Anthropic, Reason::Error), failed);
        let failed = r#"{"error":{"code":"cancelled","message":"The run ended: cancelled."}}"#;
        assert_eq!(ends(Form::AgUi, Reason::Cancelled), failed);
        // These have a reason that says so.
        assert!(ends(Form::Native, Reason::Error).contains("\"Hi\""));
        assert!(ends(Form::AiSdk, Reason::Error).contains("\"Hi\""));
    }

    #[test]
    fn cut_text_has_ended_because_of_its_length() {
        let parts = [text("m1", "Hi there"), finish(Reason::Stop)];
        for (form, expected) in [
            (Form::AgUi, "\"truncated\":true"),
            (Form::AiSdk, "\"finishReason\":\"length\""),
            (Form::Anthropic, "\"stop_reason\":\"max_tokens\""),
            (Form::Native, "\"truncated\":true"),
            (Form::OpenAiChat, "\"finish_reason\":\"length\""),
        ] {
            let cut = whole(form, &parts, Last::Finish, 2);
            assert!(cut.contains(expected) && cut.contains("\"Hi\""), "{cut}");
            let all = whole(form, &parts, Last::Finish, 8);
            assert!(!all.contains(expected), "{all}");
        }
    }

    #[test]
    fn raw_values_do_not_break_the_line() {
        let mut parts = vec![text("m1", "Hi")];
        parts.extend(testing::call_of("c1", "wx", By::Agent));
        parts.push(testing::result("c1", true, "{\n\"c\":\r\n4}"));
        // `whole` takes one line only.
        let body = whole(Form::Native, &parts, Last::Finish, 100);
        assert!(body.contains("{ \"c\":  4}"), "{body}");
    }

    #[test]
    fn what_is_left_out_is_reported() {
        let call = |by| Call {
            id: b"c1".to_vec(),
            source: b"c1".to_vec(),
            name: b"wx".to_vec(),
            msg: Vec::new(),
            by,
            number: 0,
            args: Vec::new(),
            is_full: false,
            ready: false,
            answered: false,
        };
        let open = OpenText {
            kind: Kind::Answer,
            msg: Vec::new(),
            number: 1,
        };
        let (own, other) = (call(By::Agent), call(By::Client));
        let message = |duplicate| Action::Message {
            msg: b"",
            role: b"",
            text: b"",
            duplicate,
        };
        let result = |partial| Action::ToolResult {
            call: &own,
            ok: true,
            content: b"1",
            partial,
        };
        let waits = Action::Interrupt {
            id: b"",
            reason: b"",
            payload: b"",
        };
        // In the order of `FORMS`.
        let cases = [
            (Action::TextDelta(&open, b"Hi"), [true; 5]),
            (Action::ToolStart(&own), [true, true, false, true, false]),
            (Action::ToolStart(&other), [true; 5]),
            (result(false), [true, true, false, true, false]),
            (result(true), [false, true, false, true, false]),
            (waits, [true, true, false, true, false]),
            (message(true), [true; 5]),
            (message(false), [false; 5]),
            (Action::State(StateOp::Snapshot, b"{}"), [false; 5]),
        ];
        for (action, expected) in cases {
            assert_eq!(FORMS.map(|form| form.says(&action)), expected, "{action:?}");
        }
        let body = whole(
            Form::OpenAiChat,
            &[text("m1", "Hi"), interrupt()],
            Last::Finish,
            100,
        );
        assert!(!body.contains("Book"), "{body}");
    }
}
