//! Translates a stream: reads what the agent says, and writes it in the words of another dialect.
//!
//! ```text
//! event ──> reading ──> parts ──> conversation ──> actions ──> writer ──> blocks ──> queue
//!           (source)              (an order that               (target)
//!                                  targets accept)
//! ```
//!
//! A piece of text that goes on with the only open text takes a shorter way: its bytes are copied from the source's
//! event to the target's, and nothing is parsed or allocated.
//!
//! A [`Recorder`] reads a stream in the same way, and remembers what was said instead of writing it.

mod action;
mod alike;
mod arguments;
mod conversation;
mod cut;
mod ensemble;
mod few;
mod gather;
mod lost;
mod messages;
mod part;
mod raw;
mod reading;
mod record;
mod recorder;
mod skipped;
mod source;
mod spare;
mod status;
mod target;
mod turns;
mod writer;

use std::num::NonZeroUsize;
use std::sync::Arc;

use action::{Action, Facts};
use alike::Alike;
use conversation::{Act, Conversation};
pub use ensemble::Ensemble;
use ensemble::Voice;
pub use lost::{KINDS, Lost};
use part::Part;
pub use record::StreamFacts;
pub(crate) use record::rfc3339;
pub use recorder::Recorder;
use source::{GoesOn, Source, piece, read};
use spare::Spare;
pub use status::{Status, Statuses};
pub use target::Target;
use writer::whole::WholeWriter;
use writer::{Block, Out, Writer};

use crate::dialect::{Classifier, Dialect, ErrorContext};
use crate::event::{Class, Event};
use crate::wire::Frame;

/// Translates the events of one stream.
#[derive(Debug)]
pub struct Translator {
    target: Target,
    conversation: Conversation,
    source: Option<Source>,
    writer: Option<Box<dyn Writer>>,
    /// Reads what was written, as its client would: the queue follows the rules of the target.
    classifier: Classifier,
    /// The text that pieces may go on with.
    goes_on: Option<GoesOn>,
    /// How the last piece of that text was classified.
    alike: Option<Box<Alike>>,
    /// When the stream began: Unix time in seconds.
    began: u64,
    /// How many blocks were written.
    blocks: u64,
    /// What the client is told about what is going on.
    statuses: Statuses,
    /// The client gets one answer at the end, with this many bytes of text; `None` if it gets a stream.
    whole: Option<NonZeroUsize>,
    /// What its events have as [`Event::agent`].
    agent: u8,
    /// `None` if nothing was lost so far.
    lost: Option<Box<Lost>>,
}

impl Translator {
    /// Creates a translator for a stream that begins at this Unix time in seconds.
    pub fn new(target: Target, began: u64) -> Self {
        Self {
            target,
            conversation: Conversation::default(),
            source: None,
            writer: None,
            classifier: Classifier::new(target.dialect()),
            goes_on: None,
            alike: None,
            began,
            blocks: 0,
            statuses: Statuses::Names,
            whole: None,
            agent: 0,
            lost: None,
        }
    }

    /// Creates the translator of one of several agents, all of which write one stream.
    pub fn of_agent(target: Target, began: u64, ensemble: &Arc<Ensemble>, agent: usize) -> Self {
        let voice = Arc::new(Voice::of_agent(ensemble, agent));
        Self {
            conversation: Conversation::of(voice),
            agent: u8::try_from(agent + 1).unwrap_or(u8::MAX),
            ..Self::new(target, began)
        }
    }

    /// Creates the translator of the run of several agents: it writes what belongs to none of them.
    pub fn of_run(target: Target, began: u64, ensemble: &Arc<Ensemble>) -> Self {
        let mut conversation = Conversation::of(Arc::new(Voice::of_run(ensemble)));
        conversation.facts.run = ensemble.run().into();
        conversation.facts.thread = ensemble.thread().into();
        Self {
            conversation,
            ..Self::new(target, began)
        }
    }

    /// Tells the client what is going on, as far as the target can say it.
    pub fn showing_status(self, statuses: Statuses) -> Self {
        Self {
            statuses: self.target.statuses(statuses),
            ..self
        }
    }

    /// Writes one answer at the end instead of a stream, with at most this many bytes of text, but at least one. Of
    /// what is going on, it has only what is reasoning text.
    pub const fn whole(mut self, max_text_bytes: usize) -> Self {
        self.whole = NonZeroUsize::MIN.checked_add(max_text_bytes.saturating_sub(1));
        if matches!(self.statuses, Statuses::Visible) {
            self.statuses = Statuses::Names;
        }
        self
    }

    /// Reports whether the client is told more about what is going on than the agent says.
    pub const fn shows_status(&self) -> bool {
        !matches!(self.statuses, Statuses::Names)
    }

    /// Reports whether the client is told for how long nothing has arrived. Text cannot be replaced later, so it is not
    /// used for that.
    pub const fn tells_waiting(&self) -> bool {
        matches!(self.statuses, Statuses::Visible)
    }

    /// Returns a translator that says about the stream so far what this one says, and writes nothing. It is for a time
    /// in which this one is on another thread.
    pub fn stand_in(&self) -> Self {
        Self {
            conversation: Conversation::stand_in(self.conversation.has_ended()),
            classifier: self.classifier.stand_in(),
            blocks: self.blocks,
            statuses: self.statuses,
            lost: self.lost.clone(),
            ..Self::new(self.target, self.began)
        }
    }

    /// Returns what it translates to.
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Returns what the target could not say so far.
    pub fn lost(&self) -> Lost {
        self.lost.as_deref().copied().unwrap_or_default()
    }

    /// Reports whether the client was told how the run ended, well or not.
    pub const fn has_ended(&self) -> bool {
        self.conversation.has_ended()
    }

    /// Returns what an error event must agree with.
    pub fn error_context(&self) -> ErrorContext {
        let context = self.classifier.error_context();
        let voice = self.conversation.voice.as_ref();
        let last = voice.map_or(self.blocks, |voice| voice.ensemble().last_seq());
        match self.target {
            Target::Events | Target::Ndjson => context.of_native(last + 1),
            _ => context,
        }
    }

    /// Adds what is known of one of several agents to this translator of their run. `well`: the agent has finished.
    pub fn adopt(&mut self, agent: usize, other: &Self, well: bool) {
        let counted = agent as u64;
        (self.conversation).adopt(counted, &other.conversation, well);
        if let Some(other) = &other.lost {
            let own = self.lost.get_or_insert_default();
            for (sum, lost) in own.0.iter_mut().zip(other.0) {
                *sum += lost;
            }
        }
    }

    /// Translates an event of `dialect`. Passes the blocks that follow from it to `sink`.
    pub fn take(
        &mut self,
        dialect: Dialect,
        frame: &Frame<'_>,
        event: &Event,
        sink: &mut impl FnMut(&[u8], &Event),
    ) {
        if self.conversation.has_ended() || event.class == Class::Heartbeat {
            return;
        }
        if let Some((open, text)) = piece(self.goes_on, &self.conversation, frame, event)
            && let Some(writer) = &mut self.writer
        {
            let (alike, classifier) = (&mut self.alike, &mut self.classifier);
            let (blocks, agent) = (&mut self.blocks, self.agent);
            let mut pass = |block: Block<'_>| {
                *blocks += 1;
                let event = Alike::event(alike, &block, text, classifier);
                pass_on(&block, event, agent, sink);
            };
            let mut spare = Spare::take();
            let mut out = Out::new(spare.buffer(), &mut pass);
            let delta = Action::TextDelta(open, text);
            writer.write(&self.conversation.facts, &delta, &mut out);
            if let Some(source) = &mut self.source {
                source.skip(text);
            }
            return;
        }
        Alike::forget(&mut self.alike);
        let (target, whole, began) = (self.target, self.whole, self.began);
        let statuses = self.statuses;
        let voice = &self.conversation.voice;
        let writer = (self.writer)
            .get_or_insert_with(|| writer_of(target, whole, dialect, began, statuses, voice));
        let counted = (&mut self.blocks, self.agent);
        let mut pass = classified(&mut self.classifier, counted, sink);
        let mut spare = Spare::take();
        let mut out = Out::new(spare.buffer(), &mut pass);
        // Where it is text, the writer tells it.
        let tells_tools = self.statuses == Statuses::Visible;
        let lost = &mut self.lost;
        let mut act = |facts: &Facts, action: &Action<'_>| {
            if !writer.write(facts, action, &mut out) {
                Lost::note(lost, action);
            }
            if let Action::ToolStart(call) = action
                && tells_tools
                && !call.name.is_empty()
            {
                let status = status::using(&call.name);
                writer.write(facts, &status.action(), &mut out);
            }
        };
        let conversation = &mut self.conversation;
        self.goes_on = read(
            &mut self.source,
            conversation,
            dialect,
            frame,
            event,
            &mut act,
        );
    }

    /// Tells the client what is going on, if the target has words for it. Returns whether it was told.
    pub fn tell(
        &mut self,
        dialect: Dialect,
        status: Status<'_>,
        sink: &mut impl FnMut(&[u8], &Event),
    ) -> bool {
        let has_words = self.target.has_status() && self.whole.is_none();
        let can_tell = has_words || self.statuses == Statuses::Text;
        if self.conversation.has_ended() || !can_tell {
            return false;
        }
        Alike::forget(&mut self.alike);
        let (target, whole, began) = (self.target, self.whole, self.began);
        let statuses = self.statuses;
        let voice = &self.conversation.voice;
        let writer = (self.writer)
            .get_or_insert_with(|| writer_of(target, whole, dialect, began, statuses, voice));
        let counted = (&mut self.blocks, self.agent);
        let mut pass = classified(&mut self.classifier, counted, sink);
        let mut spare = Spare::take();
        let mut out = Out::new(spare.buffer(), &mut pass);
        let status = status.text();
        let part = Part::Status {
            name: status.name.into(),
            text: status.text.into(),
            detail: status.detail.into(),
        };
        self.conversation.take(part, &mut |facts, action| {
            writer.write(facts, action, &mut out);
        });
        true
    }

    /// Ends the translation of a stream that somebody has stopped, if the target has words for that. Otherwise it is a
    /// failure like any other.
    pub fn stop(&mut self, sink: &mut impl FnMut(&[u8], &Event)) {
        let Some(writer) = self.writer.as_mut().filter(|writer| writer.tells_stop()) else {
            return;
        };
        Alike::forget(&mut self.alike);
        let counted = (&mut self.blocks, self.agent);
        let mut pass = classified(&mut self.classifier, counted, sink);
        let mut spare = Spare::take();
        let mut out = Out::new(spare.buffer(), &mut pass);
        self.conversation.stop(&mut |facts, action| {
            writer.write(facts, action, &mut out);
        });
    }

    /// Tells the client that the run begins, before any agent has said something.
    pub fn begin(&mut self, sink: &mut impl FnMut(&[u8], &Event)) {
        self.act(sink, |conversation, act| conversation.start(act));
    }

    /// Ends the translation of an agent, or of a run, that Weir has given up on.
    pub fn fail(&mut self, code: &str, message: &str, sink: &mut impl FnMut(&[u8], &Event)) {
        let [code, message] = [code, message].map(|text| raw::escaped(text.as_bytes()));
        self.act(sink, |conversation, act| {
            conversation.fail(&code, &message, act);
        });
    }

    /// Ends the translation of an agent that is not needed any more.
    pub fn cancel(&mut self, sink: &mut impl FnMut(&[u8], &Event)) {
        self.act(sink, |conversation, act| conversation.cancel(act));
    }

    /// Ends the translation of a stream that has ended well.
    pub fn finish(&mut self, sink: &mut impl FnMut(&[u8], &Event)) {
        self.act(sink, |conversation, act| conversation.finish(act));
    }

    /// Writes what follows from something that no event says.
    fn act(
        &mut self,
        sink: &mut impl FnMut(&[u8], &Event),
        what: impl FnOnce(&mut Conversation, Act<'_>),
    ) {
        if self.conversation.is_over() {
            return;
        }
        Alike::forget(&mut self.alike);
        let dialect = self
            .source
            .as_ref()
            .map_or(Dialect::Opaque, |source| source.dialect);
        let (target, whole, began) = (self.target, self.whole, self.began);
        let statuses = self.statuses;
        let voice = &self.conversation.voice;
        let writer = (self.writer)
            .get_or_insert_with(|| writer_of(target, whole, dialect, began, statuses, voice));
        let counted = (&mut self.blocks, self.agent);
        let mut pass = classified(&mut self.classifier, counted, sink);
        let mut spare = Spare::take();
        let mut out = Out::new(spare.buffer(), &mut pass);
        what(&mut self.conversation, &mut |facts, action| {
            writer.write(facts, action, &mut out);
        });
    }
}

/// Returns the writer of a stream.
fn writer_of(
    target: Target,
    whole: Option<NonZeroUsize>,
    dialect: Dialect,
    began: u64,
    statuses: Statuses,
    voice: &Option<Arc<Voice>>,
) -> Box<dyn Writer> {
    match whole {
        None => target.writer(dialect, began, statuses, voice.clone()),
        Some(max_text_bytes) => Box::new(WholeWriter::new(
            target.form(),
            began,
            max_text_bytes.get(),
            statuses == Statuses::Text,
        )),
    }
}

/// Returns a function that counts each block, classifies it as one of `agent`, and passes it on.
fn classified<'a>(
    classifier: &'a mut Classifier,
    (blocks, agent): (&'a mut u64, u8),
    sink: &'a mut impl FnMut(&[u8], &Event),
) -> impl FnMut(Block<'_>) + 'a {
    move |block| {
        *blocks += 1;
        let mut event = alike::classify(classifier, &block);
        pass_on(&block, &mut event, agent, sink);
    }
}

/// Passes on a block of `agent` with its event, as the queue may treat it.
fn pass_on(block: &Block<'_>, event: &mut Event, agent: u8, sink: &mut impl FnMut(&[u8], &Event)) {
    event.agent = agent;
    if block.keeps {
        // Others that look like it may be dropped, so what is known of them stays.
        let kept = Event {
            class: Class::Structure,
            merge: None,
            ..*event
        };
        sink(block.bytes, &kept);
    } else {
        sink(block.bytes, event);
    }
}

#[cfg(test)]
mod several;
#[cfg(test)]
mod sizes;
