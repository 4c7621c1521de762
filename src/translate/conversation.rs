//! A conversation in progress: puts the parts of an agent's events in an order that every target accepts.
//!
//! Sources leave things out, repeat them, and send them in the wrong order. Targets raise on that. So the writers are
//! not told the parts but actions, for which this holds, whatever the source does:
//!
//! - The start comes first, and once. After the end, which comes once, nothing follows.
//! - A piece of a text lies between the start and the end of its text. No text is open when a tool call begins, when a
//!   step ends, or when the run ends well.
//! - A call starts before its arguments, is ready once, and is ready before its result.

use super::action::{Action, Args, Call, Counts, Facts, Kind, OpenText};
use super::part::{By, Part, Reason, Scope};

/// The most texts that are open at once. Beyond that the oldest is ended.
const MAX_TEXTS: usize = 16;
/// The most calls that are remembered. Beyond that the oldest is forgotten.
const MAX_CALLS: usize = 256;
/// The most bytes of arguments that are remembered until a call is ready.
const MAX_ARGS_BYTES: usize = 1024 * 1024;
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
    /// It takes the place of another one, and tells nothing.
    is_stand_in: bool,
    /// What the ids of an agent begin with that is one of several; empty if it is alone.
    prefix: Vec<u8>,
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

    /// Returns the conversation of one of several agents, whose ids begin with `prefix`.
    pub(super) fn of_agent(prefix: &[u8]) -> Self {
        Self {
            prefix: prefix.to_vec(),
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

    /// Returns the open text of this kind and name.
    pub(super) fn open_text(&self, kind: Kind, msg: &[u8]) -> Option<&OpenText> {
        self.texts
            .iter()
            .find(|text| text.kind == kind && self.is_named(text, msg))
    }

    /// Reports whether the source has this name for a text.
    fn is_named(&self, text: &OpenText, msg: &[u8]) -> bool {
        if self.prefix.is_empty() || msg.is_empty() {
            return text.msg == msg;
        }
        text.msg.len() == self.prefix.len() + msg.len() && text.msg.ends_with(msg)
    }

    /// Returns what the client knows as a message or a call that the source names so. What has no name gets none.
    fn own(&self, name: Vec<u8>) -> Vec<u8> {
        if self.prefix.is_empty() || name.is_empty() {
            return name;
        }
        [self.prefix.as_slice(), &name].concat()
    }

    /// Returns the only open text.
    pub(super) fn only_text(&self) -> Option<&OpenText> {
        match self.texts.as_slice() {
            [text] => Some(text),
            _ => None,
        }
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
                self.result(at, ok, &content, partial, act);
            }
            Part::Status { name, text, detail } => self.other(
                &Action::Status {
                    name: &name,
                    text: &text,
                    detail: &detail,
                },
                act,
            ),
            Part::Step {
                kind,
                name,
                ends,
                detail,
            } => self.other(&Action::step(&kind, &name, ends, &detail), act),
            Part::State { op, value } => {
                let value: &[u8] = if value.is_empty() { b"null" } else { &value };
                self.other(&Action::State(op, value), act);
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
                        payload: &payload,
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
                    name: &name,
                    data: &data,
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
            self.facts.by_proxy = true;
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
                known.extend_from_slice(told);
            }
        }
    }

    /// Tells the start, once. `msg` is the source's name for the text with which it starts.
    fn begin(&mut self, msg: &[u8], act: Act<'_>) {
        if self.started {
            return;
        }
        self.started = true;
        self.facts.first_msg = msg.to_vec();
        act(&self.facts, &Action::Start);
    }

    /// Notes that the model speaks. After tools have answered, that is another step.
    fn speak(&mut self, msg: &[u8], act: Act<'_>) {
        self.begin(msg, act);
        if std::mem::take(&mut self.answered) {
            self.end_texts(act);
            act(&self.facts, &Action::NextStep);
        }
    }

    fn text(&mut self, kind: Kind, msg: &[u8], text: &[u8], act: Act<'_>) {
        if text.is_empty() {
            return;
        }
        self.speak(msg, act);
        if self.open_text(kind, msg).is_none() {
            // An answer ends the reasoning before it, and the other way round.
            let is_alone = self.texts.len() == 1;
            let name = self.own(msg.to_vec());
            let other = |open: &OpenText| open.kind != kind && (is_alone || open.msg == name);
            for text in self.texts.extract_if(.., |open| other(open)) {
                act(&self.facts, &Action::TextEnd(&text));
            }
            if self.texts.len() == MAX_TEXTS {
                let oldest = self.texts.remove(0);
                act(&self.facts, &Action::TextEnd(&oldest));
            }
            self.text_count += 1;
            let open = OpenText {
                kind,
                msg: name,
                number: self.text_count,
            };
            act(&self.facts, &Action::TextStart(&open));
            self.texts.push(open);
        }
        if let Some(open) = self.open_text(kind, msg) {
            act(&self.facts, &Action::TextDelta(open, text));
        }
    }

    fn end_texts(&mut self, act: Act<'_>) {
        for text in std::mem::take(&mut self.texts) {
            act(&self.facts, &Action::TextEnd(&text));
        }
    }

    /// Returns the place of a call: the one with this id, or the last one if the id is empty.
    fn place(&self, id: &[u8]) -> Option<usize> {
        let calls = &self.facts.calls;
        if id.is_empty() {
            return calls.len().checked_sub(1);
        }
        calls.iter().rposition(|call| call.source == id)
    }

    /// Starts a call, unless it has started. Returns its place.
    fn start_call(
        &mut self,
        msg: &[u8],
        id: &[u8],
        name: &[u8],
        by: By,
        act: Act<'_>,
    ) -> Option<usize> {
        let known = (!id.is_empty()).then(|| self.place(id)).flatten();
        let is_over = |at: usize| (self.facts.calls.get(at)).is_some_and(|call| call.answered);
        if let Some(at) = known.filter(|at| !is_over(*at)) {
            return Some(at);
        }
        self.speak(msg, act);
        self.end_texts(act);
        if self.facts.calls.len() == MAX_CALLS {
            self.facts.calls.remove(0);
        }
        let number = self.call_count;
        self.call_count += 1;
        let own = || format!("tool-{}", number + 1).into_bytes();
        let (source, id) = match known {
            _ if id.is_empty() => (own(), own()),
            Some(_) => (id.to_vec(), [id, b"-", &*own()].concat()),
            None => (id.to_vec(), id.to_vec()),
        };
        let (id, msg) = (self.own(id), self.own(msg.to_vec()));
        self.facts.calls.push(Call {
            id,
            source,
            name: name.to_vec(),
            msg,
            by,
            number,
            args: Vec::new(),
            ready: false,
            answered: false,
        });
        let call = self.facts.calls.last()?;
        act(&self.facts, &Action::ToolStart(call));
        self.facts.calls.len().checked_sub(1)
    }

    fn args(&mut self, id: &[u8], text: &[u8], act: Act<'_>) {
        if text.is_empty() {
            return;
        }
        let at = match self.place(id) {
            Some(at) => Some(at),
            None => self.start_call(b"", id, b"", By::Agent, act),
        };
        let Some(call) = at.and_then(|at| self.facts.calls.get_mut(at)) else {
            return;
        };
        if call.ready || call.args.len() + text.len() > MAX_ARGS_BYTES {
            return;
        }
        call.args.extend_from_slice(text);
        if let Some(call) = at.and_then(|at| self.facts.calls.get(at)) {
            act(&self.facts, &Action::ToolArgs(call, text));
        }
    }

    fn ready(&mut self, at: Option<usize>, name: &[u8], args: Option<&[u8]>, act: Act<'_>) {
        let Some(call) = at.and_then(|at| self.facts.calls.get_mut(at)) else {
            return;
        };
        if std::mem::replace(&mut call.ready, true) {
            return;
        }
        if call.name.is_empty() {
            call.name.extend_from_slice(name);
        }
        let pieces = std::mem::take(&mut call.args);
        let joined = super::raw::unescaped(&pieces);
        let args = match args {
            Some(args) => Args::Json(args),
            None if joined.trim_ascii().is_empty() => Args::Json(b"{}"),
            None if is_json(&joined) => Args::Json(joined.trim_ascii()),
            None => Args::Broken(&pieces),
        };
        if let Some(call) = at.and_then(|at| self.facts.calls.get(at)) {
            let ready = Action::ToolReady {
                call,
                args,
                pieces: !pieces.is_empty(),
            };
            act(&self.facts, &ready);
        }
    }

    fn result(&mut self, at: Option<usize>, ok: bool, content: &[u8], partial: bool, act: Act<'_>) {
        let Some(call) = at.and_then(|at| self.facts.calls.get(at)) else {
            return;
        };
        if call.answered {
            return;
        }
        if !call.ready {
            self.ready(at, b"", None, act);
        }
        self.end_texts(act);
        if let Some(call) = at.and_then(|at| self.facts.calls.get_mut(at)) {
            call.answered = !partial;
        }
        self.answered |= !partial;
        if let Some(call) = at.and_then(|at| self.facts.calls.get(at)) {
            let result = Action::ToolResult {
                call,
                ok,
                content: if content.is_empty() { b"null" } else { content },
                partial,
            };
            act(&self.facts, &result);
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
        let counts = &mut self.facts.counts;
        let at = match counts.iter().position(|(of, _)| *of == call) {
            Some(at) => at,
            None if counts.len() == MAX_COUNTS => return,
            None => {
                counts.push((call, Counts::default()));
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

    /// Closes whatever is open.
    fn close(&mut self, act: Act<'_>) {
        self.end_texts(act);
        for at in 0..self.facts.calls.len() {
            self.ready(Some(at), b"", None, act);
        }
    }

    /// Closes whatever is open of one of several agents, which has not come to its end. The arguments of a call that is cut
    /// off may look complete, but nobody should run it.
    fn cut(&mut self, act: Act<'_>) {
        self.end_texts(act);
        for at in 0..self.facts.calls.len() {
            let Some(call) = self.facts.calls.get_mut(at) else {
                continue;
            };
            if std::mem::replace(&mut call.ready, true) {
                continue;
            }
            let text = std::mem::take(&mut call.args);
            if let Some(call) = self.facts.calls.get(at) {
                let (args, pieces) = (Args::Cut(&text), !text.is_empty());
                act(&self.facts, &Action::ToolReady { call, args, pieces });
            }
        }
    }

    /// Tells that the agent has failed. Nothing of an agent may stay open if others go on.
    fn error(&mut self, code: &[u8], message: &[u8], act: Act<'_>) {
        if self.prefix.is_empty() {
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

/// Reports whether a text is one JSON value, by the strict rules that clients apply.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}
