//! One agent of a stream: its call, its stream, and its end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::reading::{Step, Streaming};
use super::settings::Settings;
use super::sink::AgentSink;
use crate::dialect::Dialect;
use crate::end::End;
use crate::event::Event;
use crate::stream::deadline::UpstreamClocks;
use crate::stream::pipeline::{self, Pipeline, Sink};
use crate::stream::pump::{Failure, Progress, Source, Take};
use crate::translate::Translator;
use crate::upstream::Answer;
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// How long an agent may take to end its body after it has finished, so that its connection can be reused.
const LINGER: Duration = Duration::from_millis(250);

/// An agent that streams.
pub struct Opened {
    /// The body of the agent's response.
    pub source: Box<dyn Source>,
    /// The framing according to the content type.
    pub framing: Framing,
    /// The content coding of the body.
    pub coding: Coding,
    /// The dialect, as far as it is known before the first event.
    pub dialect: Option<Dialect>,
    /// When the request was sent.
    pub sent: Instant,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// An agent that does not stream.
#[derive(Debug)]
pub struct Refused {
    /// How it fails, for the client.
    pub failure: Failure,
    /// The status of a response that says so.
    pub status: StatusCode,
    /// What it has answered, to be passed on if nobody streams; `None` if that is no answer for the client.
    pub answer: Option<Box<Answer>>,
}

/// A call on its way to a stream. Dropping it cancels it.
pub type Opening = Pin<Box<dyn Future<Output = Result<Opened, Refused>> + Send>>;

/// An agent at the start of its stream.
pub enum Head {
    /// The agent has not answered yet.
    Opening(Opening),
    /// The agent streams.
    Opened(Opened),
    /// The agent does not stream.
    Refused(Refused),
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Opening(_) => "Opening",
            Self::Opened(_) => "Opened",
            Self::Refused(_) => "Refused",
        })
    }
}

/// An agent.
pub(super) struct Agent {
    index: usize,
    waker: Waker,
    state: State,
    /// Writes its words. Its pipeline has it once it streams.
    translator: Option<Translator>,
    /// How it has ended; `None` while it runs.
    end: Option<Failure>,
    /// The agent is not read until another one has spoken.
    waits: bool,
    /// A deadline that passed while something was not read, and whether it was read since.
    excused: Option<(Instant, bool)>,
}

enum State {
    Starting(Opening),
    Refused(Failure),
    Streaming(Box<Streaming>),
    /// The agent has finished, and its body has not ended.
    Lingering(Box<dyn Source>, Instant),
    Over,
}

/// What an agent did with its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The agent has nothing. Its waker is registered.
    Nothing,
    /// Something was read. `more`: it is to be asked again.
    Read { more: bool },
    /// The agent has ended.
    Over,
}

impl Agent {
    pub(super) fn new(index: usize, head: Head, waker: Waker, settings: &Settings) -> Self {
        let translator =
            Translator::of_agent(settings.target, settings.began, &settings.ensemble, index)
                .showing_status(settings.statuses);
        let mut agent = Self {
            index,
            waker,
            state: State::Over,
            translator: Some(translator),
            end: None,
            waits: false,
            excused: None,
        };
        match head {
            Head::Opening(opening) => agent.state = State::Starting(opening),
            Head::Opened(opened) => agent.begin(opened, settings),
            Head::Refused(refused) => agent.state = State::Refused(refused.failure),
        }
        agent
    }

    /// Returns whether it has finished well; `None` if it still runs.
    pub(super) fn fate(&self) -> Option<bool> {
        self.end.as_ref().map(|end| end.end == End::Finished)
    }

    /// Returns how it has failed, if it has.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.end.as_ref().filter(|end| end.end != End::Finished)
    }

    fn begin(&mut self, opened: Opened, settings: &Settings) {
        let pipeline = Pipeline::new(&pipeline::Settings {
            framing: opened.framing,
            coding: opened.coding,
            choice: settings.choice,
            hint: opened.dialect,
            members: settings.members.clone(),
            max_event_bytes: settings.max_event_bytes,
            hide: Arc::clone(&settings.hide),
        });
        let pipeline = match self.translator.take() {
            Some(translator) => pipeline.translated(translator),
            None => pipeline,
        };
        let clocks = UpstreamClocks::new(&settings.lengths, opened.sent);
        let streaming = Streaming::new(self.index, opened.source, pipeline, clocks);
        self.state = State::Streaming(Box::new(streaming));
        settings.board.note_streams(self.index);
    }

    /// Lets the agent take its turn: one read, and no more of it than a quantum.
    pub(super) fn turn(&mut self, settings: &Settings, take: Take<'_>) -> Turn {
        let step = match &mut self.state {
            State::Starting(opening) => {
                let mut cx = Context::from_waker(&self.waker);
                let answered = opening.as_mut().poll(&mut cx);
                match answered {
                    Poll::Pending => Step::Nothing,
                    Poll::Ready(Ok(opened)) => {
                        self.begin(opened, settings);
                        Step::Read { more: true }
                    }
                    Poll::Ready(Err(refused)) => Step::Ends(refused.failure),
                }
            }
            State::Refused(failure) => Step::Ends(failure.clone()),
            State::Streaming(streaming) => {
                if let Some((_, was_read)) = &mut self.excused {
                    *was_read = true;
                }
                streaming.read(&self.waker, settings, take)
            }
            State::Lingering(..) => {
                let waker = self.waker.clone();
                self.drain(&mut Context::from_waker(&waker));
                Step::Nothing
            }
            State::Over => Step::Nothing,
        };
        match step {
            Step::Nothing => Turn::Nothing,
            Step::Read { more } => Turn::Read { more },
            Step::Ends(failure) => {
                self.finish(failure, settings, take);
                Turn::Over
            }
        }
    }

    /// Ends the agent.
    fn finish(&mut self, failure: Failure, settings: &Settings, take: Take<'_>) {
        let well = failure.end == End::Finished;
        let until = Instant::now() + LINGER;
        self.note_end(failure.clone(), settings);
        let index = self.index;
        let mut translator = self.translator.take();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Streaming(streaming) => {
                let Streaming {
                    source,
                    mut reading,
                    ..
                } = *streaming;
                match source {
                    Some(mut source) if well => {
                        source.complete();
                        self.state = State::Lingering(source, until);
                    }
                    Some(mut source) => {
                        if failure.end == End::FirstEventTimeout {
                            source.report_failure();
                        }
                        // This cancels the call, before anything is written.
                        drop(source);
                    }
                    None => {}
                }
                take(0, &mut |run, sink, _| {
                    reading.pipeline.flush(&mut AgentSink::new(sink, index));
                    run.adopt_hidden(reading.pipeline.hidden());
                    if let Some(own) = reading.pipeline.translator_mut() {
                        tell_end(own, &failure, sink);
                        adopt(run, index, own, well);
                    }
                });
            }
            _ => take(0, &mut |run, sink, _| {
                if let Some(own) = &mut translator {
                    tell_end(own, &failure, sink);
                    adopt(run, index, own, well);
                }
            }),
        }
    }

    fn note_end(&mut self, failure: Failure, settings: &Settings) {
        settings.ensemble.note_outcome(self.index, failure.code);
        settings.board.note_outcome(self.index, failure.code);
        self.end = Some(failure);
    }

    /// Ends the call of an agent that still runs.
    pub(super) fn drop_call(&mut self) {
        match &mut self.state {
            State::Streaming(streaming) => streaming.source = None,
            State::Starting(_) | State::Refused(_) => self.state = State::Over,
            State::Lingering(..) | State::Over => {}
        }
    }

    /// Ends the words of an agent whose call was ended, because the run is over.
    pub(super) fn cancel(&mut self, settings: &Settings, take: Take<'_>) {
        if self.end.is_some() {
            return;
        }
        let code = "cancelled";
        let cancelled = Failure {
            code,
            ..End::Stopped.into()
        };
        self.note_end(cancelled, settings);
        let index = self.index;
        let mut translator = self.translator.take();
        self.flush(take);
        let mut state = std::mem::replace(&mut self.state, State::Over);
        take(0, &mut |run, sink, _| {
            let own = match &mut state {
                State::Streaming(streaming) => streaming.reading.pipeline.translator_mut(),
                _ => translator.as_mut(),
            };
            if let Some(own) = own {
                own.cancel(&mut |block, event| sink.leaves(block, event));
                adopt(run, index, own, false);
            }
        });
    }

    /// Passes on what the filter holds back of an agent that still runs, because no more will come.
    pub(super) fn flush(&mut self, take: Take<'_>) {
        let index = self.index;
        if let State::Streaming(streaming) = &mut self.state {
            let pipeline = &mut streaming.reading.pipeline;
            take(0, &mut |run, sink, _| {
                pipeline.flush(&mut AgentSink::new(sink, index));
                run.adopt_hidden(pipeline.hidden());
            });
        }
    }

    /// Reads out what is left of a body whose stream has finished. Returns whether more may come.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        while let State::Lingering(source, _) = &mut self.state {
            match source.poll_read(cx, &mut |_| {}) {
                Poll::Ready(Ok(Progress::More | Progress::Begins(_))) => {}
                Poll::Ready(Ok(Progress::Drained)) | Poll::Pending => return true,
                Poll::Ready(_) => self.state = State::Over,
            }
        }
        false
    }

    /// Ends the agent if its time has passed. Returns whether it has ended. What has come in, but was not read, is no
    /// silence: if there is something `unread`, the agent is read once before. What it says may still be only noise.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        unread: bool,
        settings: &Settings,
        take: Take<'_>,
    ) -> bool {
        let passed = match &self.state {
            State::Streaming(streaming) => streaming.expired(now),
            State::Lingering(_, until) if *until <= now => {
                self.state = State::Over;
                None
            }
            _ => None,
        };
        let Some((at, end)) = passed else {
            return false;
        };
        if unread && self.excused != Some((at, true)) {
            self.excused = Some((at, false));
            return false;
        }
        self.finish(end.into(), settings, take);
        true
    }

    /// Returns when its next deadline passes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Streaming(streaming) => streaming.reading.clocks.next(),
            State::Lingering(_, until) => Some(*until),
            State::Starting(_) | State::Refused(_) | State::Over => None,
        }
    }

    /// Reports whether a deadline may have moved forward since the last call.
    pub(super) fn take_sooner(&mut self) -> bool {
        match &mut self.state {
            State::Streaming(streaming) => streaming.reading.clocks.take_sooner(),
            State::Lingering(..) => true,
            _ => false,
        }
    }

    /// Records that nothing is read any more, because the queue is full, or that it is read again.
    pub(super) fn hold(&mut self, held: bool, now: Instant) {
        if let State::Streaming(streaming) = &mut self.state {
            let clocks = &mut streaming.reading.clocks;
            if held {
                clocks.hold();
            } else if !self.waits {
                clocks.release(now);
            }
        }
    }

    /// Records that the agent waits for its turn to speak, or does not any more.
    pub(super) fn wait(&mut self, waits: bool, now: Instant) {
        self.waits = waits;
        self.hold(waits, now);
    }

    /// Reports whether it waits for its turn to speak.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    pub(super) fn set_low_rate(&mut self, low_rate: bool) {
        if let State::Streaming(streaming) = &mut self.state
            && let Some(source) = &mut streaming.source
        {
            source.set_low_rate(low_rate);
        }
    }
}

/// Writes how an agent has ended, unless it has said so itself.
fn tell_end(own: &mut Translator, failure: &Failure, sink: &mut dyn Sink) {
    let mut leaves = |block: &[u8], event: &Event| sink.leaves(block, event);
    if failure.end == End::Finished {
        own.finish(&mut leaves);
    } else {
        own.fail(failure.code, &failure.message, &mut leaves);
    }
}

/// Tells the run what is known of an agent that has ended.
fn adopt(run: &mut Pipeline, agent: usize, own: &Translator, well: bool) {
    if let Some(translator) = run.translator_mut() {
        translator.adopt(agent, own, well);
    }
}
