//! The events of AG-UI, as its clients verify them.
//!
//! Nothing may be open at `RUN_FINISHED`, an empty `delta` raises, and so does `null` for any member.

mod members;

use super::{Out, Writer, digits, or, text_of};
use crate::translate::action::{Action, Args, Facts, Kind, OpenText, Pieces};
use crate::translate::ensemble::Voiced;
use crate::translate::few;
use crate::translate::part::Reason;

/// Writes AG-UI events.
#[derive(Debug, Default)]
pub(in crate::translate) struct AgUi {
    /// The ids of the thread and the run, as the client knows them. What the source says later does not change them.
    ids: [Box<[u8]>; 2],
    /// The message of the last answer, to which calls belong.
    last_message: Vec<u8>,
    /// The messages that have ended: none of them is opened again.
    used: Vec<Vec<u8>>,
    /// The ids of the open texts, by number.
    open: Vec<(u64, Vec<u8>)>,
    /// The open step; empty if there is none. Many agents do not say when a step ends, so the next one ends it.
    step: Vec<u8>,
    /// Interrupts, as JSON objects.
    interrupts: Vec<Vec<u8>>,
    voice: Voiced,
}

/// The result of a call that was cut off: the raw body of a JSON string.
const CUT_OFF: &[u8] = br#"{\"error\":\"The call was cut off.\"}"#;
/// The most interrupts that are told.
const MAX_INTERRUPTS: usize = 64;
/// The most messages that are remembered.
const MAX_USED: usize = 256;

impl AgUi {
    /// Creates a writer. `voice` says whose words it writes, if there are several agents.
    pub(in crate::translate) fn new(voice: Voiced) -> Self {
        Self {
            voice,
            ..Self::default()
        }
    }

    /// Returns the id of a message. Reasoning has no name of its own in most sources.
    fn id(&self, open: &OpenText) -> Vec<u8> {
        let [_, run] = &self.ids;
        let prefix = self.voice.prefix();
        let own = [prefix, run, b"-", &digits(open.number)].concat();
        let is_taken = open.msg.is_empty() || self.used.contains(&open.msg);
        match open.kind {
            Kind::Answer if !is_taken => open.msg.clone(),
            Kind::Answer | Kind::Reasoning => own,
        }
    }

    /// Ends the open step, if there is one.
    fn end_step(&mut self, detail: &[u8], out: &mut Out<'_>) {
        let name = std::mem::take(&mut self.step);
        if !name.is_empty() {
            self.step(b"STEP_FINISHED", &name, detail, out);
        }
    }
}

impl Writer for AgUi {
    fn write(&mut self, facts: &Facts, action: &Action<'_>, out: &mut Out<'_>) -> bool {
        if !matches!(action, Action::TextDelta(..)) && self.of_agent(action, out) {
            return true;
        }
        let tag = self.voice.tag();
        match action {
            Action::Start => {
                let run = or(&facts.run, b"run");
                self.ids = [or(&facts.thread, run).into(), run.into()];
                let [thread, run] = &self.ids;
                out.data(&[
                    b"{\"type\":\"RUN_STARTED\",\"threadId\":\"",
                    thread,
                    b"\",\"runId\":\"",
                    run,
                    b"\"}",
                ]);
                self.start_agents(out);
            }
            Action::NextStep | Action::Finish(..) | Action::Stopped => {}
            Action::Message {
                duplicate: true, ..
            } => {}
            Action::TextStart(open) => {
                let id = self.id(open);
                few::push(&mut self.open, (open.number, id.clone()));
                match open.kind {
                    Kind::Answer => {
                        self.message_event(
                            b"TEXT_MESSAGE_START",
                            &id,
                            b",\"role\":\"assistant\"",
                            out,
                        );
                        self.last_message = id;
                    }
                    Kind::Reasoning => {
                        self.message_event(b"REASONING_START", &id, b"", out);
                        let role = b",\"role\":\"reasoning\"";
                        self.message_event(b"REASONING_MESSAGE_START", &id, role, out);
                    }
                }
            }
            Action::TextDelta(open, text) => {
                let kind: &[u8] = match open.kind {
                    Kind::Answer => b"TEXT_MESSAGE_CONTENT",
                    Kind::Reasoning => b"REASONING_MESSAGE_CONTENT",
                };
                let known = self.open.iter().find(|(number, _)| *number == open.number);
                let id = known.map_or(b"".as_slice(), |(_, id)| id);
                out.data(&[
                    b"{\"type\":\"",
                    kind,
                    b"\",\"messageId\":\"",
                    id,
                    b"\",\"delta\":\"",
                    text,
                    b"\"",
                    tag,
                    b"}",
                ]);
            }
            Action::TextEnd(open) => {
                let id = self.id(open);
                self.open.retain(|(number, _)| *number != open.number);
                match open.kind {
                    Kind::Answer => {
                        self.message_event(b"TEXT_MESSAGE_END", &id, b"", out);
                        if !self.used.contains(&open.msg) {
                            if self.used.len() == MAX_USED {
                                self.used.remove(0);
                            }
                            few::push(&mut self.used, open.msg.clone());
                        }
                    }
                    Kind::Reasoning => {
                        self.message_event(b"REASONING_MESSAGE_END", &id, b"", out);
                        self.message_event(b"REASONING_END", &id, b"", out);
                    }
                }
            }
            Action::ToolStart(call) => {
                let parent = &self.last_message;
                let has_parent = !parent.is_empty();
                out.data(&[
                    b"{\"type\":\"TOOL_CALL_START\",\"toolCallId\":\"",
                    &call.id,
                    b"\",\"toolCallName\":\"",
                    or(&call.name, b"tool"),
                    if has_parent {
                        b"\",\"parentMessageId\":\""
                    } else {
                        b""
                    },
                    parent,
                    b"\"",
                    tag,
                    b"}",
                ]);
            }
            Action::ToolArgs(call, text) => self.arguments(&call.id, text, out),
            Action::ToolReady { call, args, pieces } => {
                if *pieces == Pieces::None {
                    let text = args.body();
                    // An empty delta raises.
                    if !text.is_empty() {
                        self.arguments(&call.id, &text, out);
                    }
                }
                out.data(&[
                    b"{\"type\":\"TOOL_CALL_END\",\"toolCallId\":\"",
                    &call.id,
                    b"\"",
                    tag,
                    b"}",
                ]);
                if matches!(args, Args::Cut(_)) {
                    // `RUN_FINISHED` raises while a call is open. Clients run no call that has a result.
                    self.result(&call.id, CUT_OFF, out);
                }
                return *pieces != Pieces::Other;
            }
            // A second result of a call would be a second message.
            Action::ToolResult { partial: true, .. } => return false,
            Action::ToolResult { call, content, .. } => {
                self.result(&call.id, &text_of(content), out);
            }
            Action::Status { name, text, detail } => self.status(name, text, detail, out),
            Action::Step {
                name,
                ends: false,
                detail,
                ..
            } if self.step != *name => {
                self.end_step(b"", out);
                self.step = name.to_vec();
                self.step(b"STEP_STARTED", name, detail, out);
            }
            Action::Step {
                name,
                ends: true,
                detail,
                ..
            } if self.step == *name => self.end_step(detail, out),
            // It begins again while it is open, or ends after another one has begun: no client accepts that as a step.
            Action::Step {
                kind, name, detail, ..
            } => self.status(kind, name, detail, out),
            Action::State(op, value) => self.state(*op, value, out),
            Action::Interrupt {
                id,
                reason,
                payload,
            } => {
                if self.interrupts.len() == MAX_INTERRUPTS {
                    return false;
                }
                let number = digits(self.interrupts.len() as u64 + 1);
                let interrupt = [
                    b"{\"id\":\"".as_slice(),
                    self.voice.prefix(),
                    or(id, &number),
                    b"\",\"reason\":\"",
                    or(reason, b"input_required"),
                    b"\",\"metadata\":{\"payload\":",
                    or(payload, b"{}"),
                    b"}}",
                ];
                let interrupt = interrupt.concat();
                let Some(voice) = self.voice.agent() else {
                    self.interrupts.push(interrupt);
                    return true;
                };
                let noted = voice.ensemble().note_interrupt(interrupt);
                // Only their number matters.
                self.interrupts.push(Vec::new());
                return noted;
            }
            Action::Message { .. } => return false,
            Action::Raw { name, data } => out.data(&[
                b"{\"type\":\"CUSTOM\",\"name\":\"",
                or(name, b"weir.raw"),
                b"\",\"value\":",
                or(data, b"{}"),
                tag,
                b"}",
            ]),
            // Whatever is open may stay open.
            Action::End(reason @ (Reason::Cancelled | Reason::Error)) => out.data(&[
                b"{\"type\":\"RUN_ERROR\",\"message\":\"The run ended: ",
                reason.as_str().as_bytes(),
                b".\",\"code\":\"",
                reason.as_str().as_bytes(),
                b"\"}",
            ]),
            Action::End(_) => {
                self.end_step(b"", out);
                if let Some(voice) = self.voice.run() {
                    self.interrupts = voice.ensemble().take_interrupts();
                }
                let [thread, run] = &self.ids;
                let outcome = if self.interrupts.is_empty() {
                    b"{\"type\":\"success\"}".to_vec()
                } else {
                    let all = self.interrupts.join(b",".as_slice());
                    [
                        b"{\"type\":\"interrupt\",\"interrupts\":[",
                        all.as_slice(),
                        b"]}",
                    ]
                    .concat()
                };
                let usage = usage(facts);
                out.data(&[
                    b"{\"type\":\"RUN_FINISHED\",\"threadId\":\"",
                    thread,
                    b"\",\"runId\":\"",
                    run,
                    b"\",\"outcome\":",
                    &outcome,
                    &usage,
                    b"}",
                ]);
            }
            Action::Error { code, message } => out.data(&[
                b"{\"type\":\"RUN_ERROR\",\"message\":\"",
                or(message, b"The agent has failed."),
                b"\",\"code\":\"",
                or(code, b"upstream_error"),
                b"\"}",
            ]),
        }
        true
    }
}

/// Returns the member with the token counts; empty if there are none.
fn usage(facts: &Facts) -> Vec<u8> {
    let Some(counts) = facts.counts() else {
        return Vec::new();
    };
    let total = counts.input.saturating_add(counts.output);
    let [input, output, total] = [counts.input, counts.output, total].map(digits);
    let reasoning = counts.reasoning.map(digits);
    [
        if facts.model.is_empty() {
            b",\"usage\":[{".as_slice()
        } else {
            b",\"usage\":[{\"model\":\""
        },
        &facts.model,
        if facts.model.is_empty() {
            b"\"inputTokens\":"
        } else {
            b"\",\"inputTokens\":"
        },
        &input,
        b",\"outputTokens\":",
        &output,
        b",\"totalTokens\":",
        &total,
        if reasoning.is_some() {
            b",\"reasoningTokens\":"
        } else {
            b""
        },
        reasoning.as_deref().unwrap_or_default(),
        b"}]",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::writer::Block;

    fn begins(name: &'static [u8]) -> Action<'static> {
        Action::step(b"node", name, false, b"")
    }

    fn ends(name: &'static [u8]) -> Action<'static> {
        Action::step(b"node", name, true, b"{\"took\":2}")
    }

    /// Returns what is written for each action, without the framing.
    fn written(actions: &[Action<'_>]) -> Vec<String> {
        let mut writer = AgUi::default();
        let (mut block, mut all) = (Vec::new(), Vec::new());
        let mut keep = |block: Block<'_>| {
            let text = String::from_utf8_lossy(block.bytes).into_owned();
            let text = text.trim_end().trim_start_matches("data: {\"type\":\"");
            all.push(text.trim_end_matches('}').to_owned());
        };
        let mut out = Out::new(&mut block, &mut keep);
        for action in actions {
            writer.write(&Facts::default(), action, &mut out);
        }
        all
    }

    #[test]
    fn one_step_is_open_at_a_time_and_none_at_the_end() {
        let told = written(&[
            begins(b"plan"),
            begins(b"plan"),
            begins(b"act"),
            ends(b"plan"),
            ends(b"act"),
            begins(b"plan"),
            begins(b""),
            Action::End(Reason::Stop),
        ]);
        let custom = "CUSTOM\",\"name\":\"weir.status\",\"value\":{\"name\":\"node\",\"text\":";
        let expected = [
            "STEP_STARTED\",\"stepName\":\"plan\"".to_owned(),
            format!("{custom}\"plan\""),
            "STEP_FINISHED\",\"stepName\":\"plan\"".to_owned(),
            "STEP_STARTED\",\"stepName\":\"act\"".to_owned(),
            format!("{custom}\"plan\",\"detail\":{{\"took\":2"),
            "STEP_FINISHED\",\"stepName\":\"act\",\"rawEvent\":{\"took\":2".to_owned(),
            "STEP_STARTED\",\"stepName\":\"plan\"".to_owned(),
            format!("{custom}\"\""),
            "STEP_FINISHED\",\"stepName\":\"plan\"".to_owned(),
        ];
        let (last, before) = told.split_last().unwrap();
        assert_eq!(before, expected);
        assert!(last.starts_with("RUN_FINISHED"), "{last}");
    }

    #[test]
    fn an_error_ends_no_step() {
        for end in [
            Action::End(Reason::Cancelled),
            Action::Error {
                code: b"",
                message: b"",
            },
        ] {
            let told = written(&[begins(b"plan"), end]);
            assert!(told[1].starts_with("RUN_ERROR"), "{told:?}");
        }
    }
}
