//! The stream of one agent: reads it, a quantum at a time, and decides how it ends.

use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::settings::Settings;
use super::sink::{AgentSink, Passed};
use crate::end::End;
use crate::event::Terminal;
use crate::stream::deadline::UpstreamClocks;
use crate::stream::pipeline::{Fault, InputEnd, Pipeline, Verdict};
use crate::stream::pump::{Failure, Progress, Source, Take};

/// The stream of one agent.
pub(super) struct Streaming {
    /// `None` once its call is over. Dropping it cancels the call.
    pub(super) source: Option<Box<dyn Source>>,
    pub(super) reading: Reading,
    /// How the body has ended.
    input: Option<Result<(), Failure>>,
}

/// What a read changes, apart from the source.
pub(super) struct Reading {
    index: usize,
    pub(super) pipeline: Pipeline,
    pub(super) clocks: UpstreamClocks,
    fault: Option<Fault>,
    has_spoken: bool,
}

/// What came of a read.
pub(super) enum Step {
    Nothing,
    Read { more: bool },
    Ends(Failure),
}

impl Streaming {
    /// Creates the stream of an agent.
    pub(super) fn new(
        index: usize,
        source: Box<dyn Source>,
        pipeline: Pipeline,
        clocks: UpstreamClocks,
    ) -> Self {
        Self {
            source: Some(source),
            reading: Reading {
                index,
                pipeline,
                clocks,
                fault: None,
                has_spoken: false,
            },
            input: None,
        }
    }

    /// Reads once, and passes on a quantum of it.
    pub(super) fn read(&mut self, waker: &Waker, settings: &Settings, take: Take<'_>) -> Step {
        let reading = &mut self.reading;
        if reading.pipeline.is_paused() {
            reading.feed(&[], settings, take);
        } else if self.input.is_none()
            && let Some(source) = &mut self.source
        {
            let mut cx = Context::from_waker(waker);
            let read = source.poll_read(&mut cx, &mut |bytes| {
                reading.feed(bytes, settings, take);
            });
            match read {
                Poll::Pending => return Step::Nothing,
                Poll::Ready(Ok(Progress::Begins(coding))) => reading.pipeline.set_coding(coding),
                Poll::Ready(Ok(Progress::More)) => {}
                Poll::Ready(Ok(Progress::Drained)) if !reading.has_more() => {
                    return reading.after(false);
                }
                Poll::Ready(Ok(Progress::Drained)) => {}
                Poll::Ready(Ok(Progress::End)) => {
                    (self.source, self.input) = (None, Some(Ok(())));
                }
                Poll::Ready(Err(failure)) => {
                    (self.source, self.input) = (None, Some(Err(failure)));
                }
            }
        }
        match self.input.take() {
            Some(input) if !reading.has_more() => reading.end_of_input(input, settings, take),
            input => {
                self.input = input;
                reading.after(true)
            }
        }
    }

    /// Returns the deadline that has passed, and how the agent ends because of it.
    pub(super) fn expired(&self, now: Instant) -> Option<(Instant, End)> {
        let (at, end) = self.reading.clocks.expired(now)?;
        // Nothing followed a possible end for `after_end`, so it was the end.
        Some((at, self.reading.possible_end().unwrap_or(end)))
    }
}

impl Reading {
    /// Passes on what these bytes complete, as much of it as one turn allows.
    fn feed(&mut self, bytes: &[u8], settings: &Settings, take: Take<'_>) {
        take(bytes.len(), &mut |_, sink, now| {
            let mut sink = AgentSink::new(sink, self.index);
            let fed = self.pipeline.feed(bytes, &mut sink);
            self.fault = self.fault.or_else(|| fed.err());
            let passed = sink.passed();
            self.note(passed, now, settings);
        });
    }

    fn note(&mut self, passed: Passed, now: Instant, settings: &Settings) {
        self.clocks.note_read(now);
        if passed.content {
            self.clocks.note_content(now);
        }
        if passed.events > 0 {
            let end = self.possible_end();
            if end.is_some() || self.clocks.may_end() {
                self.clocks.note_possible_end(end, now);
            }
        }
        if passed.answer && !std::mem::replace(&mut self.has_spoken, true) {
            settings.board.note_first_token(self.index, now);
        }
    }

    /// Returns how the agent ends if it now stays silent, provided that it may have said its last word.
    const fn possible_end(&self) -> Option<End> {
        match self.pipeline.may_end() {
            Some(Terminal::MayEnd) => Some(End::Finished),
            Some(Terminal::MayFail) => Some(End::UpstreamError),
            _ => None,
        }
    }

    /// Reports whether bytes that were read have not been passed on.
    fn has_more(&self) -> bool {
        self.pipeline.is_paused()
    }

    /// Decides what follows from a read. `more`: the agent is to be asked again.
    fn after(&self, more: bool) -> Step {
        let fault = self.fault.map(|fault| match fault {
            Fault::Corrupt => End::UpstreamError,
            Fault::TooLarge => End::TooLarge,
        });
        match fault.or_else(|| self.terminal()) {
            Some(end) => Step::Ends(end.into()),
            None => Step::Read { more },
        }
    }

    /// Returns how the agent ends because of its terminal event, if there was one.
    fn terminal(&self) -> Option<End> {
        self.pipeline.terminal().map(|terminal| match terminal {
            Terminal::Error | Terminal::MayFail => End::UpstreamError,
            Terminal::Done | Terminal::MayEnd | Terminal::MayEndWithInput | Terminal::Reopens => {
                End::Finished
            }
        })
    }

    /// Ends the input, all of which was fed, and returns how the agent ends.
    fn end_of_input(
        &mut self,
        input: Result<(), Failure>,
        settings: &Settings,
        take: Take<'_>,
    ) -> Step {
        let end = self.after(true);
        if matches!(end, Step::Ends(_)) {
            return end;
        }
        let how = if input.is_ok() {
            InputEnd::Clean
        } else {
            InputEnd::Broken
        };
        let mut is_complete = false;
        take(0, &mut |_, sink, now| {
            let mut sink = AgentSink::new(sink, self.index);
            let verdict = self.pipeline.finish(how, &mut sink);
            is_complete = verdict == Verdict::Complete;
            let passed = sink.passed();
            self.note(passed, now, settings);
        });
        let terminal = self.terminal().filter(|_| is_complete);
        Step::Ends(match (terminal, input) {
            // How the transport ended does not matter.
            (Some(end), _) => end.into(),
            (None, Err(failure)) => failure,
            (None, Ok(())) if is_complete => End::Finished.into(),
            (None, Ok(())) => End::Truncated.into(),
        })
    }
}
