//! Tests of the pump against a scripted upstream, with a paused clock. Here: the upstream, and what a running stream
//! does.

mod ends;

use std::collections::VecDeque;

use super::super::deadline::Lengths;
use super::super::pipeline::{Pipeline, Settings};
use super::*;
use crate::dialect::{Choice, Dialect, Members};
use crate::encode::Encoder;
use crate::queue::{self, Close, Limits, Next, Overflow, Receiver};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// An upstream that sends chunks, each after a delay, and then ends or stays silent.
struct Script {
    steps: VecDeque<(Duration, Step)>,
    timer: Option<Pin<Box<Sleep>>>,
}

enum Step {
    Send(String),
    End,
    Break,
}

impl Source for Script {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        let Some((delay, _)) = self.steps.front() else {
            return Poll::Pending;
        };
        let delay = *delay;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(delay)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        Poll::Ready(match self.steps.pop_front().unwrap().1 {
            Step::Send(text) => {
                sink(text.as_bytes());
                Ok(Progress::More)
            }
            Step::End => Ok(Progress::End),
            Step::Break => Err(End::UpstreamReset.into()),
        })
    }
}

#[derive(Debug)]
struct Deaf;

impl Observer for Deaf {
    fn read(&mut self, _: Arrived<'_>) {}
    fn heartbeat(&mut self) {}
}

/// A connection that never reports waiting data.
#[derive(Debug)]
struct Blind;

impl Reader for Blind {
    fn last_progress(&self) -> Option<Instant> {
        None
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn token(text: &str) -> Step {
    Step::Send(format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
    ))
}

fn done() -> Step {
    Step::Send("data: [DONE]\n\n".into())
}

/// A pump whose stream speaks OpenAI's dialect, as its route says.
fn pump(
    steps: Vec<(Duration, Step)>,
    limits: Limits,
    heartbeat: Duration,
) -> (Pump, Receiver, Arc<StopSignal>) {
    let choice = Choice::Fixed(Dialect::OpenAiChat);
    pump_of(choice, steps, limits, heartbeat)
}

/// A pump whose stream nobody announced.
fn unannounced(steps: Vec<(Duration, Step)>, limits: Limits) -> (Pump, Receiver) {
    let (pump, rx, _) = pump_of(Choice::Auto, steps, limits, Duration::ZERO);
    (pump, rx)
}

fn pump_of(
    choice: Choice,
    steps: Vec<(Duration, Step)>,
    limits: Limits,
    heartbeat: Duration,
) -> (Pump, Receiver, Arc<StopSignal>) {
    let settings = Settings {
        framing: Framing::Sse,
        coding: Coding::Identity,
        choice,
        hint: None,
        members: Members::default(),
        max_event_bytes: 4096,
        hide: Arc::default(),
    };
    let lengths = Lengths {
        first_event: 10 * SECOND,
        after_end: 3 * SECOND,
        idle: 5 * SECOND,
        progress: 20 * SECOND,
        total: 100 * SECOND,
        client_stall: 3 * SECOND,
    };
    let encoder = Encoder::identity(None, Framing::Sse);
    let (tx, rx) = queue::queue(limits, encoder);
    let stop = Arc::<StopSignal>::default();
    let pump = Pump::new(Parts {
        ingress: IngressParts {
            source: Box::new(Script {
                steps: steps.into(),
                timer: None,
            }),
            pipeline: Pipeline::new(&settings),
            started: Instant::now(),
            observer: Box::new(Deaf),
            detaches: false,
            wants_model: false,
        },
        egress: EgressParts {
            encoder,
            outlet: Outlet::Direct(tx),
            reader: Arc::new(Blind),
            heartbeat,
        },
        lengths,
        stop: Arc::clone(&stop),
    });
    (pump, rx, stop)
}

const ROOMY: Limits = Limits {
    max_events: 256,
    max_bytes: 1 << 20,
    merge: true,
    overflow: Overflow::DropOldest,
};

/// Returns everything that a reading client receives, and how the stream ends for it.
async fn read(mut rx: Receiver) -> (String, Close) {
    let mut out = Vec::new();
    loop {
        match poll_fn(|cx| rx.poll_next(cx, usize::MAX, &mut out)).await {
            Next::Data { large, .. } => out.extend_from_slice(&large),
            Next::End(close) => return (String::from_utf8(out).unwrap(), close),
        }
    }
}

async fn play(steps: Vec<(Duration, Step)>) -> (Report, String) {
    let (mut pump, rx, _stop) = pump(steps, ROOMY, Duration::ZERO);
    let (report, (text, close)) = tokio::join!(pump.run(), read(rx));
    assert_eq!(close, Close::Clean);
    (report, text)
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_heartbeats() {
    let steps = vec![
        (SECOND, token("a")),
        (4 * SECOND, done()),
        (Duration::ZERO, Step::End),
    ];
    let (mut pump, rx, _stop) = pump(steps, ROOMY, SECOND);
    let (report, (text, _)) = tokio::join!(pump.run(), read(rx));
    assert!(
        (3..=4).contains(&report.egress.heartbeats),
        "{}",
        report.egress.heartbeats
    );
    assert_eq!(text.matches(":\n").count() as u64, report.egress.heartbeats);
}

#[tokio::test(start_paused = true)]
async fn drops_are_told_in_the_words_of_the_dialect_that_comes() {
    let small = Limits {
        max_events: 2,
        merge: false,
        ..ROOMY
    };
    let gemini = |text: &str| {
        Step::Send(format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}\n\n"
        ))
    };
    let last = || Step::Send("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n".into());
    // Google's Python client raises on a comment; OpenAI's skip it.
    let table: [(Vec<Step>, bool); 2] = [
        (
            (0..8)
                .map(|n| gemini(&n.to_string()))
                .chain([last()])
                .collect(),
            false,
        ),
        (
            (0..8)
                .map(|n| token(&n.to_string()))
                .chain([done()])
                .collect(),
            true,
        ),
    ];
    for (steps, told) in table {
        let steps = steps.into_iter().map(|step| (SECOND / 4, step));
        let steps = steps.chain([(Duration::ZERO, Step::End)]).collect();
        let (mut pump, rx) = unannounced(steps, small);
        let late = async {
            tokio::time::sleep(5 * SECOND / 2).await;
            read(rx).await
        };
        let (report, (text, _)) = tokio::join!(pump.run(), late);
        assert!(report.egress.queue.dropped.iter().sum::<u64>() > 0);
        assert_eq!(text.contains(": weir dropped="), told, "{text}");
    }
}

/// One read that overfills the queue, and is more than a stream's share: other streams have their turn at once, not
/// only when there is room.
#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_room_lets_others_run_first() {
    let many: String = (0..600)
        .map(|n| match token(&n.to_string()) {
            Step::Send(text) => text,
            Step::End | Step::Break => String::new(),
        })
        .collect();
    let small = Limits {
        max_events: 4,
        merge: false,
        overflow: Overflow::Block,
        ..ROOMY
    };
    let steps = vec![(Duration::ZERO, Step::Send(many))];
    let (mut pump, _rx, _) = pump(steps, small, Duration::ZERO);
    let yields = poll_fn(|cx| {
        assert!(pump.poll_flow(cx).is_pending());
        Poll::Ready(matches!(
            &pump.state,
            State::Yielding { then: Some(then), .. } if then.waits_for_room()
        ))
    });
    assert!(yields.await);
}
