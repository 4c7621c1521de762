//! A conversation in progress: puts the parts of an agent's events in an order that every target accepts.
//!
//! Sources leave things out, repeat them, and send them in the wrong order. Targets raise on that. So the writers are
//! not told the parts but actions, for which this holds, whatever the source does:
//!
//! - The start comes first, and once. After the end, which comes once, nothing follows.
//! - A piece of a text lies between the start and the end of its text. No text is open when a tool call begins, when a
//!   step ends, or when the run ends well.
//! - A call starts before its arguments, is ready once, and is ready before its result.
//!
//! `texts` keeps the texts that are open, `calls` the tool calls.

mod calls;
mod texts;
mod whole;

use std::sync::Arc;

use super::action::{Action, Counts, Facts, Kind, OpenText};
use super::ensemble::Voice;
use super::few;
use super::part::{By, Json, Part, Reason, Scope};
use super::raw;

/// The most model calls whose token counts are kept apart.
const MAX_COUNTS: usize = 64;

/// A conversation in progress.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) facts: Facts,
    started: bool,
    ended: bool,
    texts: Vec<OpenText>,
    text_count: u64,
    call_count: u64,
    /// Tools have answered since the model last spoke.
    answered: bool,
    /// Why the last choice, step or run was over.
    reason: Option<Reason>,
    /// What the source says about the end with its current event.
    last_word: LastWord,
    /// The conversation takes the place of another one, and tells nothing.
    is_stand_in: bool,
    /// Whose words these are; `None` if there is only one agent.
    pub(super) voice: Option<Arc<Voice>>,
}

/// What an event says about the end of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LastWord {
    /// More may follow, whatever the event says: another run, or the end of a body that breaks.
    #[default]
    No,
    /// The run has failed.
    Failed,
    /// The stream ends here.
    Ends,
}

/// Receives the actions.
pub(super) type Act<'a> = &'a mut dyn FnMut(&Facts, &Action<'_>);

impl Conversation {
    /// Returns one that tells nothing, and whose end was told or not.
    pub(super) fn stand_in(ended: bool) -> Self {
        Self {
            ended,
            is_stand_in: true,
            ..Self::default()
        }
    }

    /// Returns the conversation of one of several agents, or of the run of all of them.
    pub(super) fn of(voice: Arc<Voice>) -> Self {
        Self {
            voice: Some(voice),
            ..Self::default()
        }
    }

    /// Reports whether nothing more is told.
    pub(super) const fn is_over(&self) -> bool {
        self.ended || self.is_stand_in
    }

    /// Reports whether the end was told.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns what the ids of an agent begin with that is one of several; empty if it is alone.
    fn prefix(&self) -> &[u8] {
        (self.voice.as_deref()).map_or(b"".as_slice(), Voice::prefix)
    }

    /// Returns what the client knows as a message or a call that the source names so. What has no name gets none.
    fn own(&self, name: Vec<u8>) -> Vec<u8> {
        let prefix = self.prefix();
        if prefix.is_empty() || name.is_empty() {
            return name;
        }
        [prefix, &name].concat()
    }

    /// Notes what the source says about the end with its next event.
    pub(super) const fn note(&mut self, last_word: LastWord) {
        self.last_word = last_word;
    }

    /// Takes the next part, and passes what follows from it to `act`.
    pub(super) fn take(&mut self, part: Part<'_>, act: Act<'_>) {
        if self.ended {
            return;
        }
        match part {
            Part::Start { run, thread, model } => self.note_start(&run, &thread, &model),
            Part::Text { msg, text } => self.text(Kind::Answer, &msg, &text, act),
            Part::Reasoning { msg, text } => self.text(Kind::Reasoning, &msg, &text, act),
            Part::TextEnd => self.end_texts(act),
            Part::ToolStart { msg, id, name, by } => {
                self.start_call(&msg, &id, &name, by, act);
            }
            Part::ToolArgs { id, text } => self.args(&id, &text, act),
            Part::ToolReady {
                msg,
                id,
                name,
                args,
                by,
            } => {
                let known = if id.is_empty() && !name.is_empty() {
                    None
                } else {
                    self.place(&id)
                };
                let at = match known {
                    None if !name.is_empty() || args.is_some() => {
                        self.start_call(&msg, &id, &name, by, act)
                    }
                    known => known,
                };
                self.ready(at, &name, args.as_deref(), act);
            }
            Part::ToolResult {
                id,
                name,
                ok,
                content,
                partial,
            } => {
                let at = match self.place(&id) {
                    None => self.start_call(b"", &id, &name, By::Agent, act),
                    known => known,
                };
                self.result(at, ok, &sound(content), partial, act);
            }
            Part::Status { name, text, detail } => self.other(
                &Action::Status {
                    name: &name,
                    text: &text,
                    detail: or_nothing(&detail),
                },
                act,
            ),
            Part::Step {
                kind,
                name,
                ends,
                detail,
            } => self.other(&Action::step(&kind, &name, ends, or_nothing(&detail)), act),
            Part::State { op, value } => {
                let value: &[u8] = if value.is_empty() { b"null" } else { &value };
                if raw::is_json(value) {
                    self.other(&Action::State(op, value), act);
                } else {
                    let data = &raw::quoted(&raw::escaped(value));
                    let name = b"state";
                    self.other(&Action::Raw { name, data }, act);
                }
            }
            Part::Message {
                msg,
                role,
                text,
                duplicate,
            } => {
                let msg = self.own(msg.into_owned());
                let message = Action::Message {
                    msg: &msg,
                    role: &role,
                    text: &text,
                    duplicate,
                };
                self.other(&message, act);
            }
            Part::Interrupt {
                id,
                reason,
                payload,
            } => {
                self.reason = Some(Reason::Interrupt);
                self.other(
                    &Action::Interrupt {
                        id: &id,
                        reason: &reason,
                        payload: &sound(payload),
                    },
                    act,
                );
            }
            Part::Usage {
                input,
                output,
                reasoning,
                cached,
                call,
            } => self.count(call, input, output, reasoning, cached),
            Part::Finish {
                reason,
                scope: Scope::Run,
            } => {
                let known = self.reason.filter(|_| reason == Reason::Stop);
                let reason = known.unwrap_or(reason);
                self.reason = Some(reason);
                if self.last_word == LastWord::Ends {
                    self.end(reason, act);
                } else {
                    self.end_texts(act);
                }
            }
            Part::Finish { reason, scope } => {
                self.reason = Some(reason);
                self.end_texts(act);
                self.other(&Action::Finish(reason, scope), act);
            }
            // The run goes on.
            Part::Error { message, .. } if self.last_word != LastWord::Failed => self.other(
                &Action::Status {
                    name: b"error",
                    text: &message,
                    detail: b"",
                },
                act,
            ),
            Part::Error { code, message } => self.error(&code, &message, act),
            Part::Raw { name, data } => self.other(
                &Action::Raw {
                    name: &raw::as_body(&name),
                    data: &sound(data),
                },
                act,
            ),
        }
    }

    /// Tells the start, if nobody has said anything yet.
    pub(super) fn start(&mut self, act: Act<'_>) {
        if !self.ended {
            self.begin(b"", act);
        }
    }

    /// Returns why the run has ended, as far as the agent has said so.
    pub(super) fn reason(&self) -> Reason {
        self.reason.unwrap_or(Reason::Stop)
    }

    /// Adds what is known of one of several agents that has ended, in this conversation of all of them. `well`: it has
    /// finished, so the reason for its end counts.
    pub(super) fn adopt(&mut self, agent: u64, other: &Self, well: bool) {
        if let Some(counts) = other.facts.counts() {
            let (input, output) = (Some(counts.input), Some(counts.output));
            self.count(agent, input, output, counts.reasoning, counts.cached);
        }
        self.note_start(b"", b"", &other.facts.model);
        if well {
            self.reason = Some(match (self.reason, other.reason()) {
                (None, reason) => reason,
                (Some(known), reason) if known == reason => known,
                (Some(Reason::Interrupt), _) | (_, Reason::Interrupt) => Reason::Interrupt,
                (Some(Reason::ToolCalls), _) | (_, Reason::ToolCalls) => Reason::ToolCalls,
                (Some(_), _) => Reason::Stop,
            });
        }
    }

    /// Ends the run of an agent that Weir has given up on, unless it has ended.
    pub(super) fn fail(&mut self, code: &[u8], message: &[u8], act: Act<'_>) {
        if !self.ended {
            self.facts.note_proxy();
            self.error(code, message, act);
        }
    }

    /// Ends the run of an agent that is not needed any more, unless it has ended.
    pub(super) fn cancel(&mut self, act: Act<'_>) {
        if !self.ended {
            self.cut(act);
            self.ended = true;
            act(&self.facts, &Action::End(Reason::Cancelled));
        }
    }

    /// Ends the run well, unless it has ended. `reason` counts only if nobody has given another one.
    pub(super) fn finish(&mut self, act: Act<'_>) {
        if !self.ended {
            self.end(self.reason.unwrap_or(Reason::Stop), act);
        }
    }

    /// Ends a run that somebody has stopped, unless it has ended.
    pub(super) fn stop(&mut self, act: Act<'_>) {
        if self.ended {
            return;
        }
        self.begin(b"", act);
        self.end_texts(act);
        self.ended = true;
        act(&self.facts, &Action::Stopped);
    }

    fn note_start(&mut self, run: &[u8], thread: &[u8], model: &[u8]) {
        let facts = &mut self.facts;
        for (known, told) in [
            (&mut facts.run, run),
            (&mut facts.thread, thread),
            (&mut facts.model, model),
        ] {
            if known.is_empty() {
                *known = told.into();
            }
        }
    }

    /// Tells the start, once. `msg` is the source's name for the text with which it starts.
    fn begin(&mut self, msg: &[u8], act: Act<'_>) {
        if self.started {
            return;
        }
        self.started = true;
        self.facts.first_msg = msg.into();
        act(&self.facts, &Action::Start);
    }

    /// Notes that the model speaks. After tools have answered, that is another step, but not while the arguments of
    /// another call may still come: clients look for a call only in the step that has begun last. Nor does a step begin
    /// within a text that has begun meanwhile.
    fn speak(&mut self, msg: &[u8], act: Act<'_>) {
        self.begin(msg, act);
        if !self.answered || !self.texts.is_empty() {
            return;
        }
        if self.facts.calls.iter().all(|call| call.ready) {
            self.answered = false;
            act(&self.facts, &Action::NextStep);
        }
    }

    fn other(&mut self, action: &Action<'_>, act: Act<'_>) {
        self.begin(b"", act);
        act(&self.facts, action);
    }

    fn count(
        &mut self,
        call: u64,
        input: Option<u64>,
        output: Option<u64>,
        reasoning: Option<u64>,
        cached: Option<u64>,
    ) {
        let counts = self.facts.counts_mut();
        let at = match counts.iter().position(|(of, _)| *of == call) {
            Some(at) => at,
            None if counts.len() == MAX_COUNTS => return,
            None => {
                few::push(counts, (call, Counts::default()));
                counts.len() - 1
            }
        };
        if let Some((_, known)) = counts.get_mut(at) {
            // Counts of one call grow. Some servers send zeros for what they have said before.
            known.input = known.input.max(input.unwrap_or_default());
            known.output = known.output.max(output.unwrap_or_default());
            known.reasoning = known.reasoning.max(reasoning);
            known.cached = known.cached.max(cached);
        }
    }

    /// Tells that the agent has failed. Nothing of an agent may stay open if others go on.
    fn error(&mut self, code: &[u8], message: &[u8], act: Act<'_>) {
        if self.prefix().is_empty() {
            self.begin(b"", act);
        } else {
            self.cut(act);
        }
        self.ended = true;
        act(&self.facts, &Action::Error { code, message });
    }

    fn end(&mut self, reason: Reason, act: Act<'_>) {
        self.begin(b"", act);
        self.close(act);
        self.reason = Some(reason);
        self.ended = true;
        act(&self.facts, &Action::End(reason));
    }
}

/// Returns a value as it is, or as a string if it is none. Readings look at as much of a value as they need. Here it
/// must be one, or it would break the client's event.
fn sound(value: Json<'_>) -> Json<'_> {
    if value.is_empty() || raw::is_json(&value) {
        value
    } else {
        raw::quoted(&raw::escaped(&value)).into()
    }
}

/// Returns a value, or nothing if it is none.
fn or_nothing(value: &[u8]) -> &[u8] {
    if value.is_empty() || raw::is_json(value) {
        value
    } else {
        b""
    }
}
