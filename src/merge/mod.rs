//! Several agents in one stream: one request goes to all of them, and their events make up one reply.
//!
//! ```text
//!            ┌─ agent ── source ──► pipeline ──► its words ─┐
//! Merged ────┼─ agent ── source ──► pipeline ──► its words ─┼──► one egress ──► client
//!            └─ agent ── source ──► pipeline ──► its words ─┘
//!               round robin, a quantum each                 ▲
//!                                     words of the run ─────┘
//! ```
//!
//! A [`Merged`] is the source of a pump. It has the sources of all agents, each with a pipeline, a translator and
//! deadlines of its own. The pump has the client's side, as for any stream: queue, hub, journal, heartbeats, the total
//! deadline. An agent that ends or fails ends only for itself; [`finish`] says what that means for the run.
//!
//! | file | what |
//! |---|---|
//! | `agent` | one agent: its call, its end, its words |
//! | `board` | what becomes of each agent, for the log and the metrics |
//! | `finish` | the rules by which a run ends |
//! | `heads` | when the client's head goes out: the first agent's head |
//! | `reading` | the stream of one agent, a quantum at a time |
//! | `ready` | which agents have something to be read |
//! | `settings` | what all of them have in common |
//! | `sink` | the events of one agent on their way to the client |

mod agent;
mod board;
pub mod finish;
mod heads;
mod reading;
mod ready;
mod settings;
mod sink;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

use agent::{Agent, Turn};
pub use agent::{Head, Opened, Opening, Refused};
pub use board::{Board, Fate};
use finish::{Rules, Verdict};
pub use heads::{Heads, first};
use ready::Ready;
pub use settings::Settings;

use crate::end::End;
use crate::stream::pump::{Failure, Progress, Source, Take};

/// The most agents of one stream.
pub const MAX_AGENTS: usize = 31;

/// The agents of one stream, as the source of a pump.
pub struct Merged {
    agents: Vec<Agent>,
    /// The agent that is asked first.
    next: usize,
    ready: Ready,
    rules: Rules,
    settings: Settings,
    timer: Pin<Box<Sleep>>,
    timer_waker: Waker,
    /// What the timer is set to; `None` if it was never set.
    timer_at: Option<Instant>,
    has_begun: bool,
    is_over: bool,
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merged").finish_non_exhaustive()
    }
}

impl Merged {
    /// Creates the source of a stream of these agents, of which there are at most [`MAX_AGENTS`].
    pub fn new(heads: Vec<Head>, rules: Rules, settings: Settings) -> Self {
        let ready = Ready::new(heads.len());
        let agents = heads
            .into_iter()
            .take(MAX_AGENTS)
            .enumerate()
            .map(|(index, head)| Agent::new(index, head, ready.waker(index), &settings))
            .collect();
        Self {
            agents,
            next: 0,
            timer_waker: ready.timer(),
            ready,
            rules,
            settings,
            timer: Box::pin(sleep_until(Instant::now())),
            timer_at: None,
            has_begun: false,
            is_over: false,
        }
    }

    /// Lets one agent that has something take its turn. Returns whether any had; its verdict ends the run.
    fn turn(&mut self, take: Take<'_>) -> Option<Result<Progress, Failure>> {
        let count = self.agents.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            let Some(agent) = self.agents.get_mut(index) else {
                continue;
            };
            if !self.ready.take(index) {
                continue;
            }
            if self.settings.holds_back(index) {
                agent.wait(true, Instant::now());
                continue;
            }
            match agent.turn(&self.settings, take) {
                Turn::Nothing => {}
                Turn::Read { more } => {
                    if more {
                        self.ready.set(index);
                    }
                    self.next = index + 1;
                    let all = self.ready.any();
                    return Some(Ok(if all {
                        Progress::More
                    } else {
                        Progress::Drained
                    }));
                }
                Turn::Over => {
                    self.next = index + 1;
                    // Its body is still to be read out, and may not have registered the waker.
                    self.ready.set(index);
                    return Some(self.judge(index, take));
                }
            }
        }
        None
    }

    /// Decides what follows from the end of an agent.
    fn judge(&mut self, last: usize, take: Take<'_>) -> Result<Progress, Failure> {
        self.release_waiting();
        let fates: Vec<Option<bool>> = self.agents.iter().map(Agent::fate).collect();
        match self.rules.decide(&fates) {
            Verdict::GoesOn => Ok(Progress::More),
            Verdict::Finishes => {
                self.stop_rest(take);
                Ok(Progress::End)
            }
            Verdict::Fails => {
                self.stop_rest(take);
                Err(self.fail(last, take))
            }
        }
    }

    /// Lets those go on that were held back because another one spoke.
    fn release_waiting(&mut self) {
        let now = Instant::now();
        for (index, agent) in self.agents.iter_mut().enumerate() {
            if agent.waits() && !self.settings.holds_back(index) {
                agent.wait(false, now);
                self.ready.set(index);
            }
        }
    }

    /// Ends the agents that still run, because the run is over.
    fn stop_rest(&mut self, take: Take<'_>) {
        self.is_over = true;
        for agent in &mut self.agents {
            // All calls are cancelled before anything is written.
            agent.drop_call();
        }
        for agent in &mut self.agents {
            agent.cancel(&self.settings, take);
        }
    }

    /// Tells the client that the run has failed.
    fn fail(&self, last: usize, take: Take<'_>) -> Failure {
        let failed = self.agents.get(last).and_then(Agent::failure);
        let failure = match failed {
            Some(failure) if self.rules.stops_at_failure() => Failure {
                end: failure.end,
                code: failure.code,
                message: format!(
                    "The agent {} has failed: {}",
                    self.settings.board.name(last),
                    failure.message
                ),
            },
            _ => Failure {
                message: "Every agent failed.".to_owned(),
                ..End::UpstreamError.into()
            },
        };
        take(0, &mut |run, sink, _| {
            if let Some(translator) = run.translator_mut() {
                translator.fail(failure.code, &failure.message, &mut |block, event| {
                    sink.leaves(block, event);
                });
            }
        });
        // The client has been told, in the words of its dialect.
        Failure {
            end: End::UpstreamError,
            ..failure
        }
    }

    /// Ends the agents whose time has passed. Returns the verdict if the run ends with one of them.
    fn tick(&mut self, now: Instant, take: Take<'_>) -> Option<Result<Progress, Failure>> {
        for index in 0..self.agents.len() {
            let unread = self.ready.is_set(index);
            let Some(agent) = self.agents.get_mut(index) else {
                continue;
            };
            if agent.tick(now, unread, &self.settings, take) {
                let verdict = self.judge(index, take);
                if !matches!(verdict, Ok(Progress::More)) {
                    return Some(verdict);
                }
            }
        }
        None
    }

    /// Sets the timer to the earliest deadline, if a deadline may have moved forward or the timer has fired.
    fn set_timer(&mut self, fired: bool) {
        if fired {
            self.timer_at = None;
        }
        let mut sooner = self.timer_at.is_none();
        for agent in &mut self.agents {
            sooner |= agent.take_sooner();
        }
        if !sooner {
            return;
        }
        let next = self.agents.iter().filter_map(Agent::next_deadline).min();
        if let Some(at) = next
            && self.timer_at.is_none_or(|set| at < set)
        {
            self.timer_at = Some(at);
            self.timer.as_mut().reset(at);
            let mut cx = Context::from_waker(&self.timer_waker);
            if self.timer.as_mut().poll(&mut cx).is_ready() {
                self.ready.set_timer();
            }
        }
    }
}

impl Source for Merged {
    /// Reads out what is left of agents that have finished, so that their connections can be used again. There is
    /// nothing else to be read beside the events.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        _: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        let mut lingers = false;
        for agent in &mut self.agents {
            lingers |= agent.drain(cx);
        }
        if lingers {
            Poll::Pending
        } else {
            Poll::Ready(Ok(Progress::End))
        }
    }

    fn set_low_rate(&mut self, low_rate: bool) {
        for agent in &mut self.agents {
            agent.set_low_rate(low_rate);
        }
    }

    fn is_merged(&self) -> bool {
        true
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        take: Take<'_>,
    ) -> Poll<Result<Progress, Failure>> {
        if self.is_over {
            return Poll::Ready(Ok(Progress::End));
        }
        // Before anybody is asked, so that no wake-up is lost.
        self.ready.register(cx.waker());
        if !std::mem::replace(&mut self.has_begun, true) {
            take(0, &mut |run, sink, _| {
                if let Some(translator) = run.translator_mut() {
                    translator.begin(&mut |block, event| sink.leaves(block, event));
                }
            });
        }
        let fired = self.ready.take_timer();
        if fired && let Some(verdict) = self.tick(Instant::now(), take) {
            return Poll::Ready(verdict);
        }
        let read = self.turn(take);
        self.set_timer(fired);
        match read {
            Some(result) => Poll::Ready(result),
            // The timer was set to a time that has passed.
            None if self.ready.any() => Poll::Ready(Ok(Progress::More)),
            None => Poll::Pending,
        }
    }

    fn end_events(&mut self, end: End, take: Take<'_>) {
        for agent in &mut self.agents {
            agent.drop_call();
        }
        for agent in &mut self.agents {
            match end {
                End::Stopped => agent.cancel(&self.settings, take),
                End::ClientGone => {}
                _ => agent.flush(take),
            }
        }
        self.is_over = true;
    }

    fn hold(&mut self, held: bool, now: Instant) {
        for agent in &mut self.agents {
            agent.hold(held, now);
        }
    }
}

#[cfg(test)]
mod tests;
