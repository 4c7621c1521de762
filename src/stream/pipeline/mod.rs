//! Converts the bytes of a stream to events: decodes the content coding, splits into frames, classifies, filters.
//!
//! A [`Pipeline`] is a plain value: it reads no clock and does no I/O.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::dialect::{Choice, Dialect, ErrorContext, Members};
use crate::event::{Content, Event, Terminal};
use crate::filter::{Filter, Hidden, Rules};
use crate::translate::{Recorder, Translator};
use crate::wire::encoding::{self, Coding};
use crate::wire::{self, Decoder, Flow, Frame, Framing};

pub use super::classify::InputEnd;
use super::classify::StreamClassifier;
use super::large_event::{self, ReadEvent, Unread};
pub use super::sink::Sink;
use super::stages::Stages;

/// Why the bytes are not a valid stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The compressed body is corrupt.
    Corrupt,
    /// One event, or the expansion of the compressed body, exceeds its limit.
    TooLarge,
}

impl From<wire::Error> for Fault {
    fn from(_: wire::Error) -> Self {
        Self::TooLarge
    }
}

impl From<encoding::Error> for Fault {
    fn from(error: encoding::Error) -> Self {
        match error {
            encoding::Error::Corrupt => Self::Corrupt,
            encoding::Error::Expansion | encoding::Error::Window => Self::TooLarge,
        }
    }
}

/// Whether a stream is complete at the end of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream is complete.
    Complete,
    /// A part of the stream is missing.
    Truncated,
}

/// The settings of a pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The framing according to the content type; the first bytes may show another one.
    pub framing: Framing,
    /// The content coding of the body.
    pub coding: Coding,
    /// The dialect that the route sets, or that it must be detected.
    pub choice: Choice,
    /// The dialect that the request and the head of the response indicate.
    pub hint: Option<Dialect>,
    /// What the request says about its stream.
    pub members: Members,
    /// The largest event, in bytes.
    pub max_event_bytes: usize,
    /// What is hidden from the client.
    pub hide: Arc<Rules>,
}

/// Converts the bytes of one stream to events.
#[derive(Debug)]
#[repr(C)]
pub struct Pipeline {
    coding: Option<Box<encoding::Decoder>>,
    decoder: Decoder,
    stages: Stages,
    hides: bool,
    /// A large event that is read on another thread. Nothing else is passed on before it.
    large: Option<Box<Large>>,
}

/// Where a large event is.
#[derive(Debug)]
enum Large {
    /// Still here.
    Unread(Frame<'static>),
    /// On another thread, with the stages. This much had been hidden before it.
    Away(Hidden),
}

impl Pipeline {
    /// Creates a pipeline for one stream.
    pub fn new(settings: &Settings) -> Self {
        Self {
            coding: encoding::Decoder::new(settings.coding).map(Box::new),
            decoder: Decoder::new(settings.framing, settings.max_event_bytes),
            stages: Stages {
                classifier: StreamClassifier::new(
                    settings.choice,
                    settings.hint,
                    settings.members.clone(),
                ),
                filter: (settings.hide.is_on())
                    .then(|| Box::new(Filter::new(Arc::clone(&settings.hide), settings.framing))),
                recorder: None,
                translator: None,
            },
            hides: settings.hide.is_on(),
            large: None,
        }
    }

    /// Translates the stream for its client.
    pub fn translated(mut self, translator: Translator) -> Self {
        if let Some(filter) = &mut self.stages.filter {
            filter.leave_notes(translator.shows_status());
        }
        self.stages.translator = Some(Box::new(translator));
        self
    }

    /// Records what the client may see.
    pub fn recorded(mut self, recorder: Recorder) -> Self {
        self.stages.recorder = Some(Box::new(recorder));
        self
    }

    /// Takes out the recorder, if there is one, because the stream is over.
    pub const fn take_recorder(&mut self) -> Option<Box<Recorder>> {
        self.stages.recorder.take()
    }

    /// Returns the translator, if the client gets a translation.
    pub fn translator(&self) -> Option<&Translator> {
        self.stages.translator.as_deref()
    }

    /// Returns the translator to write with, if the client gets a translation.
    pub fn translator_mut(&mut self) -> Option<&mut Translator> {
        self.stages.translator.as_deref_mut()
    }

    /// Tells the client of a translation that the agent has been silent for this many seconds, if it is to be told.
    /// Returns whether it was.
    pub fn tell_waiting(&mut self, seconds: u64, sink: &mut impl Sink) -> bool {
        self.large.is_none() && self.stages.tell_waiting(seconds, sink)
    }

    /// Ends the translation of a stream that somebody has stopped.
    pub fn stop_translation(&mut self, sink: &mut impl Sink) {
        if let Some(translator) = &mut self.stages.translator {
            translator.stop(&mut |block, event| sink.leaves(block, event));
        }
    }

    /// Ends the translation of a stream that has ended well.
    pub fn end_translation(&mut self, sink: &mut impl Sink) {
        if let Some(translator) = &mut self.stages.translator {
            translator.finish(&mut |block, event| sink.leaves(block, event));
        }
    }

    /// Sets the content coding of the body. To be called before the first bytes, if it was not known at the start.
    pub fn set_coding(&mut self, coding: Coding) {
        self.coding = encoding::Decoder::new(coding).map(Box::new);
    }

    /// Passes each event that `chunk` completes to `sink`, up to a terminal event, and as long as `sink` has room: its
    /// bytes and their meaning. The next call goes on from there, with an empty `chunk` if nothing new has come.
    ///
    /// # Errors
    /// If the bytes are not a valid stream. The events before the fault have been passed on.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut impl Sink) -> Result<(), Fault> {
        let Self {
            coding,
            decoder,
            stages,
            large,
            hides: _,
        } = self;
        let deferred = OnceCell::new();
        let mut frames = |frame: Frame<'_>, sink: &mut _| {
            if frame.block.len() > large_event::MIN_BYTES && Sink::defers_large(sink) && !frame.raw
            {
                let _ = deferred.set(frame.into_owned());
                return Flow::Pause;
            }
            stages.pass(frame, sink);
            Flow::while_true(Sink::has_room(sink))
        };
        let is_full = large.is_some() || !sink.has_room();
        let result = match coding {
            None if is_full && (decoder.is_paused() || large.is_some()) => {
                decoder.hold(chunk);
                Ok(())
            }
            None => (decoder.feed(chunk, &mut |frame| frames(frame, sink))).map_err(Fault::from),
            Some(coding)
                if is_full && (decoder.is_paused() || coding.is_paused() || large.is_some()) =>
            {
                coding.hold(chunk);
                Ok(())
            }
            Some(coding) => {
                // What is decoded comes first.
                let before = decoder.feed(&[], &mut |frame| frames(frame, sink));
                if decoder.is_paused() || !sink.has_room() || deferred.get().is_some() {
                    coding.hold(chunk);
                    before.map_err(Fault::from)
                } else {
                    coding.feed(chunk, |bytes| {
                        sink.decoded(bytes.len());
                        decoder.feed(bytes, &mut |frame| frames(frame, sink))?;
                        let stops = decoder.is_paused() || deferred.get().is_some();
                        Ok(Flow::while_true(!stops && sink.has_room()))
                    })
                }
            }
        };
        if let Some(frame) = deferred.into_inner() {
            *large = Some(Box::new(Large::Unread(frame)));
        }
        stages.classifier.note_heartbeats(decoder.take_comments());
        result
    }

    /// Returns the large event that the sink has left for another thread, if there is one. Until [`Pipeline::put_back`]
    /// is called, nothing else is passed on.
    pub fn take_large(&mut self) -> Option<Unread> {
        let hidden = self.hidden();
        let large = self.large.as_deref_mut()?;
        let Large::Unread(frame) = std::mem::replace(large, Large::Away(hidden)) else {
            return None;
        };
        let stand_in = self.stages.stand_in();
        Some(Unread {
            frame,
            stages: std::mem::replace(&mut self.stages, stand_in),
        })
    }

    /// Passes on a large event that was read.
    pub fn put_back(&mut self, read: ReadEvent, sink: &mut impl Sink) {
        self.large = None;
        self.stages = read.deliver(sink);
    }

    /// Reports whether a large event has not been passed on.
    pub const fn has_large(&self) -> bool {
        self.large.is_some()
    }

    /// Reports whether the body is compressed.
    pub const fn is_compressed(&self) -> bool {
        self.coding.is_some()
    }

    /// Reports whether the sink had no room for all of what was fed.
    pub fn is_paused(&self) -> bool {
        self.large.is_some()
            || self.decoder.is_paused()
            || self
                .coding
                .as_ref()
                .is_some_and(|coding| coding.is_paused())
    }

    /// Returns how many bytes of an unfinished event are held.
    pub fn pending(&self) -> usize {
        self.decoder.pending()
    }

    /// Ends the input, all of which was fed: passes on a last event that lacks only its end, and returns whether the
    /// stream is complete.
    pub fn finish(&mut self, how: InputEnd, sink: &mut impl Sink) -> Verdict {
        let coding = self.coding.as_ref();
        let torn_coding = coding.is_some_and(|coding| !coding.is_complete());
        let mut torn = false;
        if self.terminal().is_none()
            && let Some(frame) = self.decoder.finish()
        {
            torn = !frame.whole;
            if frame.whole {
                self.stages.pass(frame, sink);
            }
        }
        self.flush(sink);
        let is_over = self.terminal().is_some();
        let how = if torn || torn_coding {
            InputEnd::Broken
        } else {
            how
        };
        let ended = self.stages.classifier.finish(how);
        if ended && !torn && (is_over || !torn_coding) {
            let ended_well = match self.stages.classifier.terminal() {
                None => how == InputEnd::Clean,
                Some(terminal) => terminal != Terminal::Error,
            };
            if ended_well {
                self.end_translation(sink);
            }
            Verdict::Complete
        } else {
            Verdict::Truncated
        }
    }

    /// Passes what the filter held back, and the client may see, to `sink`, because the stream ends here.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        self.stages.flush(self.decoder.framing(), sink);
    }

    /// Reports whether the client may receive less than the upstream sends.
    pub const fn hides(&self) -> bool {
        self.hides
    }

    /// Returns what was hidden so far.
    pub fn hidden(&self) -> Hidden {
        match self.large.as_deref() {
            Some(Large::Away(before)) => *before,
            _ => self.stages.hidden(),
        }
    }

    /// Counts what the pipeline of one of several agents has hidden.
    pub fn adopt_hidden(&mut self, other: Hidden) {
        if let Some(filter) = &mut self.stages.filter {
            filter.adopt(other);
        }
    }

    /// Returns the dialect of the stream, as far as it is known.
    pub const fn dialect(&self) -> Dialect {
        self.stages.classifier.dialect()
    }

    /// Returns the framing of the stream.
    pub const fn framing(&self) -> Framing {
        self.decoder.framing()
    }

    /// Returns how the stream would end if its input ended now, although more events may follow: successfully or as
    /// failed. Returns `None` if no event has allowed that.
    pub const fn may_end(&self) -> Option<Terminal> {
        self.stages.classifier.may_end()
    }

    /// Returns what an error event to the client must agree with.
    pub fn error_context(&self) -> ErrorContext {
        match &self.stages.translator {
            None => self.stages.classifier.error_context(),
            Some(translator) => translator.error_context(),
        }
    }

    /// Returns the dialect that was announced but not used, if any.
    pub const fn mismatched(&self) -> Option<Dialect> {
        self.stages.classifier.mismatched()
    }

    /// Returns the terminal event, once it has been seen.
    pub const fn terminal(&self) -> Option<Terminal> {
        self.stages.classifier.terminal()
    }

    /// Returns how many heartbeats of the upstream were consumed since the last call.
    pub const fn take_heartbeats(&mut self) -> u64 {
        self.stages.classifier.take_heartbeats()
    }
}

/// Reports whether an event counts as content for the deadlines.
pub const fn is_content(event: &Event) -> bool {
    !matches!(event.content, Content::None)
}

#[cfg(test)]
mod tests;
