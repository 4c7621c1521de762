//! One answer on its way to the client: awaited at first, then a stream whose events become messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::acks::Acks;
use super::event::{self, Stops};
use super::{Answer, Asking, Form, Refusal, ai_sdk, lines};
use crate::client_conn::ClientConn;
use crate::queue::Close;
use crate::reply::stream::{Stream, Took};
use crate::session::stream_id::StreamId;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A run, or a stream after an event: events come.
    Events,
    /// The end of a stream elsewhere: nothing comes, unless it is refused.
    Stop,
    /// The stream of a chat, which may have none.
    Chat,
}

/// What a run begins with.
pub(super) struct Begun {
    pub(super) asking: Asking,
    /// Stands for the connection of a client that asks for nothing else.
    pub(super) conn: Arc<ClientConn>,
    pub(super) kind: Kind,
    pub(super) form: Form,
    /// The id that the client gave its message, as JSON.
    pub(super) request: Option<String>,
    /// The stream, if the client has named it.
    pub(super) asked_for: Option<String>,
    pub(super) acks: Acks,
    /// The end of a run that was stopped is an event of its own.
    pub(super) as_interrupted: bool,
}

/// An answer on its way.
pub(super) struct Run {
    begun: Begun,
    state: State,
    /// Messages that wait for their turn.
    ready: VecDeque<String>,
    /// What a queue has handed out.
    taken: Vec<u8>,
    /// The client has had an event of the stream.
    has_begun: bool,
    /// How many events it has had.
    sequence: u64,
    /// The last event is on its way to it.
    has_ended: bool,
    stopped_by_client: bool,
}

enum State {
    Asked,
    Streams {
        id: StreamId,
        name: String,
        is_sse: bool,
        stream: Box<Stream>,
    },
    Over,
}

/// What a run has for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Text(String),
    /// Nothing more comes.
    Over,
}

impl Run {
    pub(super) const fn new(begun: Begun) -> Self {
        Self {
            begun,
            state: State::Asked,
            ready: VecDeque::new(),
            taken: Vec::new(),
            has_begun: false,
            sequence: 0,
            has_ended: false,
            stopped_by_client: false,
        }
    }

    /// Returns the stream, once there is one.
    pub(super) const fn id(&self) -> Option<StreamId> {
        match &self.state {
            State::Streams { id, .. } => Some(*id),
            State::Asked | State::Over => None,
        }
    }

    /// Reports whether events of this stream are still on their way.
    pub(super) fn follows(&self, id: StreamId) -> bool {
        self.id() == Some(id) && !self.has_ended
    }

    /// Reports whether the client calls its message so.
    pub(super) fn is_called(&self, request: &str) -> bool {
        self.begun.request.as_deref() == Some(request)
    }

    /// Notes that the client stops the stream, so that its end says so.
    pub(super) const fn note_stopped(&mut self) {
        self.stopped_by_client = true;
    }

    /// Ends a run that is no stream yet. Dropping it leaves the agent.
    pub(super) fn stop_asking(&mut self) {
        if !matches!(self.state, State::Asked) {
            return;
        }
        self.note_stopped();
        self.state = State::Over;
        let request = self.begun.request.as_deref();
        self.ready.push_back(match self.begun.form {
            Form::Native => event::stopped(request, self.stops()),
            Form::AiSdk => ai_sdk::word(request.unwrap_or("null"), "end"),
        });
    }

    pub(super) const fn acks(&mut self) -> &mut Acks {
        &mut self.begun.acks
    }

    /// Returns when a client that acknowledges nothing is given up. `held` says whether this client is held to it.
    pub(super) fn gives_up_at(&self, held: bool, timeout: Duration) -> Option<Instant> {
        let since = self.begun.acks.full_since().filter(|_| self.is_held(held));
        since.map(|since| since + timeout)
    }

    /// Awaits the answer, or runs the pump of the stream. Must be called whenever the task wakes up, as
    /// [`Stream::drive`], whether or not the client takes anything.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Asked)
            && let Poll::Ready(answer) = self.begun.asking.as_mut().poll(cx)
        {
            self.answered(answer);
        }
        if let State::Streams { stream, .. } = &mut self.state {
            stream.drive(cx);
        }
    }

    /// Notes for the deadlines of the stream whether the client takes what it has.
    pub(super) fn note_taking(&self, takes: bool) {
        if takes {
            self.begun.conn.note_flushed();
        } else {
            self.begun.conn.note_full();
        }
    }

    /// Reports whether the client has to acknowledge before it gets more.
    pub(super) fn waits_for_ack(&self, held: bool) -> bool {
        self.is_held(held) && self.begun.acks.is_full()
    }

    /// The AI SDK has no words for acknowledgements, and after the last event nothing waits for one.
    fn is_held(&self, held: bool) -> bool {
        held && self.begun.form == Form::Native && !self.has_ended
    }

    /// Returns the next message. Call it after [`Run::drive`].
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, held: bool) -> Poll<Next> {
        loop {
            if self.waits_for_ack(held) && !matches!(self.state, State::Over) {
                return Poll::Pending;
            }
            if let Some(text) = self.ready.pop_front() {
                self.note_sent(&text);
                return Poll::Ready(Next::Text(text));
            }
            match &mut self.state {
                State::Over => return Poll::Ready(Next::Over),
                State::Asked => return Poll::Pending,
                State::Streams { stream, .. } => {
                    self.taken.clear();
                    // One event at a time: what is not sent is better kept in the queue, which can merge and drop.
                    match stream.poll_take(cx, 1, &mut self.taken) {
                        Poll::Ready(Took::Some) => {
                            let taken = std::mem::take(&mut self.taken);
                            self.take(&taken);
                            self.taken = taken;
                        }
                        Poll::Ready(Took::Large(event)) => self.take(&event),
                        Poll::Ready(Took::End(how)) => self.end(how),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }

    fn note_sent(&mut self, text: &str) {
        if self.begun.form == Form::Native
            && matches!(self.state, State::Streams { .. })
            && let Some(seq) = event::seq(text)
        {
            self.begun.acks.sent(seq, Instant::now());
        }
    }

    /// Makes messages of what the queue has handed out.
    fn take(&mut self, taken: &[u8]) {
        let stops = self.stops();
        let State::Streams { name, is_sse, .. } = &self.state else {
            return;
        };
        let (begun, ready) = (&self.begun, &mut self.ready);
        let (has_begun, sequence) = (&mut self.has_begun, &mut self.sequence);
        let has_ended = &mut self.has_ended;
        lines::each(taken, *is_sse, &mut |line| {
            let is_first = !std::mem::replace(has_begun, true);
            let request = begun.request.as_deref();
            ready.push_back(match begun.form {
                Form::Native => event::of_stream(line, name, request.filter(|_| is_first), stops),
                Form::AiSdk => ai_sdk::chunk(request.unwrap_or("null"), *sequence, line),
            });
            *sequence += 1;
            *has_ended |= event::is_last(line);
        });
    }

    fn end(&mut self, how: Close) {
        let request = self.begun.request.as_deref().unwrap_or("null");
        if let State::Streams { name, .. } = &self.state {
            match (self.begun.form, how) {
                // Its last event had been read, but its end was not noted yet when the client asked for what follows.
                (Form::Native, Close::Clean)
                    if !self.has_begun && self.begun.asked_for.is_some() =>
                {
                    let stream = self.begun.asked_for.as_deref();
                    let request = self.begun.request.as_deref();
                    self.ready
                        .push_back(event::refused(&complete(), request, stream));
                }
                (Form::Native, Close::Clean) => {}
                (Form::Native, Close::Abort) => self.ready.push_back(event::broke(name)),
                (Form::AiSdk, Close::Clean) => self.ready.push_back(ai_sdk::word(request, "end")),
                (Form::AiSdk, Close::Abort) => {
                    let text = "The stream broke off.";
                    self.ready.push_back(ai_sdk::error(request, text));
                }
            }
        }
        self.begun.conn.note_flushed();
        self.state = State::Over;
    }

    fn answered(&mut self, answer: Answer) {
        self.state = State::Over;
        let request = self.begun.request.as_deref();
        let stream = self.begun.asked_for.as_deref();
        match (answer, self.begun.form) {
            (Answer::Stream { id, is_sse, stream }, form) => {
                if form == Form::AiSdk && self.begun.kind == Kind::Chat {
                    let word = ai_sdk::word(request.unwrap_or("null"), "start");
                    self.ready.push_back(word);
                }
                self.state = State::Streams {
                    name: id.to_string(),
                    id,
                    is_sse,
                    stream,
                };
            }
            (Answer::Refused(refusal), Form::Native) => {
                self.ready
                    .push_back(event::refused(&refusal, request, stream));
            }
            (Answer::Refused(refusal), Form::AiSdk) => {
                let text = ai_sdk::error(request.unwrap_or("null"), &refusal.message);
                self.ready.push_back(text);
            }
            (Answer::Complete | Answer::Nothing, Form::AiSdk) => {
                let word = ai_sdk::word(request.unwrap_or("null"), "no-active");
                self.ready.push_back(word);
            }
            (Answer::Complete, Form::Native) if self.begun.kind == Kind::Events => {
                self.ready
                    .push_back(event::refused(&complete(), request, stream));
            }
            (Answer::Complete | Answer::Nothing, Form::Native) => {}
        }
    }

    const fn stops(&self) -> Stops {
        Stops {
            by_client: self.stopped_by_client,
            as_interrupted: self.begun.as_interrupted,
        }
    }
}

/// Says that a client which comes back has everything. It would wait for more otherwise.
fn complete() -> Refusal {
    Refusal {
        code: "complete".to_owned(),
        message: "The stream is over, and nothing of it is missing.".to_owned(),
        status: None,
        is_retryable: false,
        by_agent: false,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use super::*;
    use crate::metrics::BusyGauge;

    fn run(form: Form, kind: Kind, asking: Asking) -> Run {
        Run::new(Begun {
            asking,
            conn: Arc::new(ClientConn::new(Duration::ZERO, Duration::ZERO)),
            kind,
            form,
            request: Some("\"q1\"".to_owned()),
            asked_for: None,
            acks: Acks::new(1, BusyGauge::default()),
            as_interrupted: false,
        })
    }

    async fn all(mut run: Run) -> Vec<String> {
        let mut texts = Vec::new();
        let mut next = |cx: &mut Context<'_>| {
            run.drive(cx);
            run.poll_next(cx, true)
        };
        while let Next::Text(text) = poll_fn(&mut next).await {
            texts.push(text);
        }
        texts
    }

    fn refusal() -> Answer {
        Answer::Refused(Refusal {
            code: "overloaded".to_owned(),
            message: "ask again".to_owned(),
            status: Some(503),
            is_retryable: true,
            by_agent: false,
        })
    }

    #[tokio::test]
    async fn a_refusal_is_one_message_in_the_words_of_the_client() {
        let native = all(run(Form::Native, Kind::Events, Box::pin(ready(refusal())))).await;
        assert_eq!(
            native,
            [
                "{\"type\":\"error\",\"request\":\"q1\",\"code\":\"overloaded\",\"message\":\"ask again\",\"status\":503,\"retryable\":true,\"source\":\"proxy\",\"terminal\":false}"
            ]
        );
        let sdk = all(run(Form::AiSdk, Kind::Events, Box::pin(ready(refusal())))).await;
        assert_eq!(
            sdk,
            ["{\"requestId\":\"q1\",\"type\":\"error\",\"errorText\":\"ask again\"}"]
        );
    }

    #[tokio::test]
    async fn nothing_to_continue_is_said_where_somebody_waits() {
        let nothing = |form, kind, answer| all(run(form, kind, Box::pin(ready(answer))));
        let sdk = nothing(Form::AiSdk, Kind::Chat, Answer::Nothing).await;
        assert_eq!(sdk, ["{\"requestId\":\"q1\",\"type\":\"no-active\"}"]);
        let native = nothing(Form::Native, Kind::Events, Answer::Complete).await;
        assert!(native[0].contains("\"code\":\"complete\""), "{native:?}");
        let stopped = nothing(Form::Native, Kind::Stop, Answer::Nothing).await;
        assert!(stopped.is_empty(), "{stopped:?}");
    }

    #[tokio::test]
    async fn a_run_can_be_stopped_before_it_is_a_stream() {
        let mut run = run(Form::Native, Kind::Events, Box::pin(pending()));
        assert!(run.is_called("\"q1\"") && run.id().is_none());
        run.stop_asking();
        run.stop_asking();
        let texts = all(run).await;
        assert_eq!(texts.len(), 1);
        assert!(texts[0].contains("\"code\":\"stopped\""), "{texts:?}");
    }
}
