//! Tests of the pump against a scripted upstream, with a paused clock.

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
async fn a_whole_stream_finishes_and_adds_nothing() {
    let (report, text) = play(vec![
        (SECOND, token("a")),
        (SECOND, token("b")),
        (SECOND, done()),
        (SECOND / 10, Step::End),
    ])
    .await;
    assert_eq!(report.end, End::Finished);
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("error"));
    assert_eq!(report.ingress.meter.deltas, 2);
    assert_eq!(report.ingress.meter.tokens_per_second(), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_has_its_own_word() {
    for (steps, end, after) in [
        (
            vec![(SECOND, token("a")), (SECOND, Step::End)],
            End::Truncated,
            2,
        ),
        (
            vec![(SECOND, token("a")), (SECOND, Step::Break)],
            End::UpstreamReset,
            2,
        ),
        (vec![], End::FirstEventTimeout, 10),
        (vec![(SECOND, token("a"))], End::IdleTimeout, 6),
        (
            vec![(SECOND, Step::Send(format!("data: {}", "x".repeat(5000))))],
            End::TooLarge,
            1,
        ),
    ] {
        let started = Instant::now();
        let (report, text) = play(steps).await;
        assert_eq!(report.end, end);
        assert!(
            text.contains(&format!("\"code\":\"{end}\"")),
            "{end}: {text}"
        );
        assert_eq!(started.elapsed().as_secs(), after, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn noise_is_not_progress() {
    let mut steps = vec![(SECOND, token("a"))];
    steps.extend((0..30).map(|_| (SECOND, Step::Send(": ping\n\n".into()))));
    let (report, _) = play(steps).await;
    assert_eq!(report.end, End::ProgressTimeout);
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
async fn a_client_that_reads_nothing_is_stalled_and_critical_events_hold_the_upstream() {
    let tool = || {
        Step::Send(
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\"}]}}]}\n\n"
                .into(),
        )
    };
    let steps = || (0..10).map(|_| (SECOND / 10, tool())).collect();
    let limits = Limits {
        max_events: 2,
        ..ROOMY
    };
    let started = Instant::now();
    let (mut stalled, rx, _stop) = pump(steps(), limits, Duration::ZERO);
    let report = stalled.run().await;
    assert_eq!(report.end, End::ClientStalled);
    assert!(report.ingress.held > 2 * SECOND);
    assert!(started.elapsed() < 5 * SECOND);
    assert_eq!(read(rx).await, (String::new(), Close::Abort), "too late");

    let (mut stalled, rx, _stop) = pump(steps(), limits, Duration::ZERO);
    let late = async {
        tokio::time::sleep(7 * SECOND / 2).await;
        read(rx).await
    };
    let (report, (text, close)) = tokio::join!(stalled.run(), late);
    assert_eq!((report.end, close), (End::ClientStalled, Close::Clean));
    assert!(text.contains("client_stalled") && !text.contains("tool_calls"));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_client_never_saw_was_no_good_one() {
    let steps = || vec![(SECOND, token("a")), (SECOND, done()), (SECOND, Step::End)];
    let (mut unread, rx, _stop) = pump(steps(), ROOMY, Duration::ZERO);
    let leaves = async {
        tokio::time::sleep(5 * SECOND / 2).await;
        drop(rx);
    };
    let (report, ()) = tokio::join!(unread.run(), leaves);
    assert_eq!(report.end, End::ClientGone);

    let (mut unread, rx, _stop) = pump(steps(), ROOMY, Duration::ZERO);
    let report = unread.run().await;
    assert_eq!(report.end, End::ClientStalled);
    assert_eq!(read(rx).await.1, Close::Abort);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_is_delivered_before_it() {
    let tool =
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\"}]}}]}\n\n";
    let endings = [
        (
            format!("{}data: {}", tool.repeat(5), "x".repeat(5000)),
            None,
            End::TooLarge,
        ),
        (
            tool.repeat(5).trim_end().to_owned(),
            Some(Step::End),
            End::Truncated,
        ),
        (
            tool.repeat(5).trim_end().to_owned(),
            Some(Step::Break),
            End::UpstreamReset,
        ),
    ];
    for (sent, then, end) in endings {
        let mut steps = vec![(SECOND, Step::Send(sent))];
        steps.extend(then.map(|step| (Duration::ZERO, step)));
        let limits = Limits {
            max_events: 2,
            ..ROOMY
        };
        let (mut full, rx, _stop) = pump(steps, limits, Duration::ZERO);
        let late = async {
            tokio::time::sleep(2 * SECOND).await;
            read(rx).await
        };
        let (report, (text, _)) = tokio::join!(full.run(), late);
        assert_eq!(report.end, end);
        assert_eq!(text.matches("tool_calls").count(), 5, "{end}");
        assert!(text.contains(&format!("\"code\":\"{end}\"")), "{text}");
    }
}

/// A connection whose client has always just taken some data.
#[derive(Debug)]
struct Slow;

impl Reader for Slow {
    fn last_progress(&self) -> Option<Instant> {
        Some(Instant::now())
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_stalled() {
    let steps = vec![
        (SECOND, token("a")),
        (4 * SECOND, token("b")),
        (SECOND, done()),
    ];
    let (mut slow, rx, _stop) = pump(steps, ROOMY, Duration::ZERO);
    slow.egress.reader = Arc::new(Slow);
    let late = async {
        tokio::time::sleep(10 * SECOND).await;
        read(rx).await
    };
    let (report, (text, _)) = tokio::join!(slow.run(), late);
    assert_eq!(report.end, End::Finished);
    assert!(text.ends_with("[DONE]\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_ends_the_stream_at_once() {
    let (mut pump, rx, _stop) = pump(vec![(50 * SECOND, Step::End)], ROOMY, Duration::ZERO);
    drop(rx);
    assert_eq!(pump.run().await.end, End::ClientGone);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_a_panic_took_away_did_not_leave() {
    let (mut pump, rx, _) = pump(vec![(SECOND, token("x"))], ROOMY, Duration::ZERO);
    let connection = crate::tasks::contained::<()>(|| {
        let _rx = rx;
        panic!("a mistake");
    });
    assert!(connection.is_err());
    assert_eq!(pump.run().await.end, End::Panic);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_told_to_the_client() {
    let (mut pump, rx, stop) = pump(vec![], ROOMY, Duration::ZERO);
    let stopping = async {
        tokio::time::sleep(SECOND).await;
        stop.ask(End::Drained);
    };
    let (report, (text, _), ()) = tokio::join!(pump.run(), read(rx), stopping);
    assert_eq!(report.end, End::Drained);
    assert!(text.contains("drained"));
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

/// One read that overfills the queue, and is more than a stream's share: other streams have their turn at once, not only
/// when there is room.
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
