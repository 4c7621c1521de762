//! Tests of several agents against scripted sources, with a paused clock and the real pump.

mod interleavings;
mod leftovers;
mod order;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::*;
use crate::config::{OnAgentFailure, OnAgentFinish};
use crate::dialect::{Choice, Dialect, Members};
use crate::encode::Encoder;
use crate::filter;
use crate::queue::{self, Close, Limits, Next, Overflow, Receiver};
use crate::stream::deadline::Lengths;
use crate::stream::pipeline::{self, Pipeline};
use crate::stream::pump::{
    Arrived, EgressParts, IngressParts, Observer, Outlet, Parts, Pump, Reader, Report,
};
use crate::stream::stop::StopSignal;
use crate::translate::{Ensemble, Statuses, Target, Translator};
use crate::wire::Framing;
use crate::wire::encoding::Coding;

/// What a scripted agent does.
pub(super) enum Step {
    Send(String),
    /// Others come first.
    Yield,
    Wait(Duration),
    End,
    Break,
}

/// An agent that follows its script, and then stays silent.
struct Script {
    steps: VecDeque<Step>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Counts those whose calls have ended.
    dropped: Arc<AtomicUsize>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Source for Script {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        loop {
            if let Some(timer) = &mut self.timer {
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.timer = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Pending,
                Some(Step::Send(text)) => {
                    sink(text.as_bytes());
                    return Poll::Ready(Ok(Progress::More));
                }
                Some(Step::Yield) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Wait(time)) => self.timer = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::End) => return Poll::Ready(Ok(Progress::End)),
                Some(Step::Break) => return Poll::Ready(Err(End::UpstreamReset.into())),
            }
        }
    }
}

fn scripted(steps: Vec<Step>, dropped: &Arc<AtomicUsize>) -> Opened {
    Opened {
        source: Box::new(Script {
            steps: steps.into(),
            timer: None,
            dropped: Arc::clone(dropped),
        }),
        framing: Framing::Sse,
        coding: Coding::Identity,
        dialect: None,
        sent: Instant::now(),
    }
}

/// An agent that streams.
pub(super) fn opened(steps: Vec<Step>) -> Opened {
    scripted(steps, &Arc::default())
}

#[derive(Debug)]
struct Deaf;

impl Observer for Deaf {
    fn read(&mut self, _: Arrived<'_>) {}
    fn heartbeat(&mut self) {}
}

impl Reader for Deaf {
    fn last_progress(&self) -> Option<Instant> {
        None
    }
}

const SECOND: Duration = Duration::from_secs(1);

const LENGTHS: Lengths = Lengths {
    first_event: Duration::from_secs(10),
    after_end: Duration::from_secs(3),
    idle: Duration::from_secs(5),
    progress: Duration::from_secs(20),
    total: Duration::from_secs(100),
    client_stall: Duration::from_secs(3),
};

const ALL: Rules = Rules {
    finish: OnAgentFinish::All,
    fail: OnAgentFailure::Continue,
};

fn token(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn done() -> Step {
    Step::Send("data: [DONE]\n\n".into())
}

/// A stream of several agents, with its client.
struct Stage {
    pump: Pump,
    receiver: Receiver,
    stop: Arc<StopSignal>,
    board: Arc<Board>,
}

fn stage(target: Target, names: &[&str], heads: Vec<Head>, rules: Rules, limits: Limits) -> Stage {
    stage_hiding(target, names, heads, (rules, limits), &Arc::default())
}

fn stage_hiding(
    target: Target,
    names: &[&str],
    heads: Vec<Head>,
    (rules, limits): (Rules, Limits),
    hide: &Arc<filter::Rules>,
) -> Stage {
    let ensemble = Arc::new(Ensemble::new("r1", "t1", names));
    let board = Arc::new(Board::new(names));
    let choice = Choice::Fixed(Dialect::OpenAiChat);
    let settings = Settings {
        target,
        began: 7,
        statuses: Statuses::Names,
        ensemble: Arc::clone(&ensemble),
        board: Arc::clone(&board),
        lengths: LENGTHS,
        choice,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::clone(hide),
    };
    let pipeline = Pipeline::new(&pipeline::Settings {
        framing: Framing::Sse,
        coding: Coding::Identity,
        choice: Choice::Auto,
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::clone(hide),
    });
    let encoder = Encoder::translated(target.dialect(), target.framing());
    let (sender, receiver) = queue::queue(limits, encoder);
    sender.share_fairly();
    let stop = Arc::<StopSignal>::default();
    let never = LENGTHS.total * 2;
    let pump = Pump::new(Parts {
        ingress: IngressParts {
            source: Box::new(Merged::new(heads, rules, settings)),
            pipeline: pipeline.translated(Translator::of_run(target, 7, &ensemble)),
            started: Instant::now(),
            observer: Box::new(Deaf),
            detaches: false,
            wants_model: false,
        },
        egress: EgressParts {
            encoder,
            outlet: Outlet::Direct(sender),
            reader: Arc::new(Deaf),
            heartbeat: Duration::ZERO,
        },
        lengths: Lengths {
            first_event: never,
            after_end: never,
            idle: never,
            progress: never,
            ..LENGTHS
        },
        stop: Arc::clone(&stop),
    });
    Stage {
        pump,
        receiver,
        stop,
        board,
    }
}

const ROOMY: Limits = Limits {
    max_events: 65_536,
    max_bytes: 1 << 24,
    merge: true,
    overflow: Overflow::Block,
};

async fn read(mut receiver: Receiver) -> (String, Close) {
    let mut out = Vec::new();
    loop {
        match poll_fn(|cx| receiver.poll_next(cx, usize::MAX, &mut out)).await {
            Next::Data { large, .. } => out.extend_from_slice(&large),
            Next::End(close) => return (String::from_utf8(out).unwrap(), close),
        }
    }
}

/// Plays a stream of native events to its end. Returns its report, its events, and what has become of the agents.
async fn play(
    names: &[&str],
    heads: Vec<Head>,
    rules: Rules,
) -> (Report, Vec<serde_json::Value>, Vec<String>) {
    let Stage {
        mut pump,
        receiver,
        board,
        ..
    } = stage(Target::Ndjson, names, heads, rules, ROOMY);
    let (report, (text, close)) = tokio::join!(pump.run(), read(receiver));
    assert_eq!(close, Close::Clean, "{text}");
    let events = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let fates = board.fates("none");
    let fates = fates
        .iter()
        .map(|(name, outcome, _)| format!("{name}={outcome}"))
        .collect();
    (report, events, fates)
}

/// The texts of each agent, in order.
fn texts(events: &[serde_json::Value]) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "token") {
        let agent = event["agent"][0].as_str().unwrap().to_owned();
        *texts.entry(agent).or_default() += event["text"].as_str().unwrap();
    }
    texts
}

#[tokio::test(start_paused = true)]
async fn one_dies_one_stalls_one_refuses_and_the_others_go_on() {
    let refused = Refused {
        failure: Failure {
            code: "upstream_status",
            ..End::UpstreamError.into()
        },
        status: StatusCode::SERVICE_UNAVAILABLE,
        answer: None,
    };
    let send = |text: &str| Step::Send(token(text));
    let late: Opening = Box::pin(async {
        tokio::time::sleep(SECOND).await;
        Ok(opened(vec![
            Step::Send(token("late")),
            Step::Wait(8 * SECOND),
            done(),
        ]))
    });
    let heads = vec![
        Head::Opened(opened(vec![send("a"), Step::Wait(SECOND), Step::Break])),
        Head::Opened(opened(vec![send("b")])),
        Head::Refused(refused),
        Head::Opening(late),
    ];
    let (report, events, fates) = play(&["dies", "stalls", "refuses", "late"], heads, ALL).await;
    // It was silent for longer than the others may be, too.
    assert_eq!(report.end, End::UpstreamError);
    assert_eq!(
        fates,
        [
            "dies=upstream_reset",
            "stalls=idle_timeout",
            "refuses=upstream_status",
            "late=idle_timeout",
        ]
    );
    let last = events.last().unwrap();
    assert_eq!(last["message"], "Every agent failed.");
    assert_eq!(last["agents"]["stalls"], "idle_timeout");

    let heads = vec![
        Head::Opened(opened(vec![send("a"), Step::Break])),
        Head::Opened(opened(vec![
            send("b"),
            Step::Wait(2 * SECOND),
            send("c"),
            done(),
        ])),
    ];
    let (report, events, fates) = play(&["dies", "lives"], heads, ALL).await;
    assert_eq!(report.end, End::Finished);
    assert_eq!(fates, ["dies=upstream_reset", "lives=finished"]);
    assert_eq!(texts(&events)["lives"], "bc");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["scope"]),
        (&"finish".into(), &"run".into())
    );
    assert_eq!(last["agents"]["dies"], "upstream_reset");
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_the_route_end_the_others() {
    let dropped = Arc::<AtomicUsize>::default();
    let heads = || {
        vec![
            Head::Opened(scripted(
                vec![
                    Step::Send(token("a")),
                    Step::Wait(SECOND),
                    done(),
                    Step::End,
                ],
                &dropped,
            )),
            Head::Opened(scripted(vec![Step::Send(token("b"))], &dropped)),
        ]
    };
    let any = Rules {
        finish: OnAgentFinish::Any,
        ..ALL
    };
    let (report, events, fates) = play(&["first", "other"], heads(), any).await;
    assert_eq!(report.end, End::Finished);
    assert_eq!(fates, ["first=finished", "other=cancelled"]);
    assert_eq!(events.last().unwrap()["agents"]["other"], "cancelled");
    assert_eq!(dropped.load(Ordering::Relaxed), 2);

    let stop = Rules {
        fail: OnAgentFailure::Stop,
        ..ALL
    };
    let heads = vec![
        Head::Opened(opened(vec![Step::Send(token("a")), Step::Break])),
        Head::Opened(opened(vec![Step::Send(token("b"))])),
    ];
    let (report, events, fates) = play(&["fails", "other"], heads, stop).await;
    assert_eq!(
        (report.end, report.code),
        (End::UpstreamError, "upstream_reset")
    );
    assert_eq!(fates, ["fails=upstream_reset", "other=cancelled"]);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["terminal"], &last["scope"]),
        (&true.into(), &"run".into())
    );
    assert_eq!(last["code"], "upstream_reset");
}

#[tokio::test(start_paused = true)]
async fn a_stop_reaches_all_agents_at_once() {
    let dropped = Arc::<AtomicUsize>::default();
    let names = ["a", "b", "c"];
    let heads = names
        .iter()
        .map(|name| Head::Opened(scripted(vec![Step::Send(token(name))], &dropped)))
        .collect();
    let Stage {
        mut pump,
        receiver,
        stop,
        board,
    } = stage(Target::AiSdk, &names, heads, ALL, ROOMY);
    let began = Instant::now();
    let stopping = async {
        tokio::time::sleep(SECOND).await;
        stop.ask(End::Stopped);
    };
    let (report, (text, close), ()) = tokio::join!(pump.run(), read(receiver), stopping);
    assert_eq!((report.end, close), (End::Stopped, Close::Clean));
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
    assert!(began.elapsed() < 2 * SECOND);
    for name in names {
        assert!(text.contains(&format!("{{\"type\":\"text-end\",\"id\":\"{name}:p1\"}}")));
    }
    assert!(text.contains("{\"type\":\"abort\""), "{text}");
    assert!(
        board
            .fates("x")
            .iter()
            .all(|(_, outcome, _)| *outcome == "cancelled")
    );
}
