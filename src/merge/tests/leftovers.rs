//! Tests of what is left of agents: of a body after its end, of text that is held back, of noise without an end.

use super::*;
use crate::filter::Hide;
use crate::filter::markers::Family;
use crate::filter::scan::Marks;

/// An agent that finishes at once, and whose body ends with the next read.
struct Brief {
    has_said: bool,
    completed: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Source for Brief {
    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        if self.has_said {
            self.ended.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Ok(Progress::End));
        }
        self.has_said = true;
        sink(format!("{}data: [DONE]\n\n", token("x")).as_bytes());
        Poll::Ready(Ok(Progress::More))
    }

    fn complete(&mut self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_agent_that_has_finished_is_read_out_while_others_go_on() {
    let (completed, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let brief = Brief {
        has_said: false,
        completed: Arc::clone(&completed),
        ended: Arc::clone(&ended),
    };
    let heads = vec![
        Head::Opened(Opened {
            source: Box::new(brief),
            ..opened(Vec::new())
        }),
        Head::Opened(opened(vec![
            Step::Send(token("a")),
            Step::Wait(2 * SECOND),
            done(),
        ])),
    ];
    let (report, _, fates) = play(&["brief", "long"], heads, ALL).await;
    assert_eq!(report.end, End::Finished);
    assert_eq!(fates, ["brief=finished", "long=finished"]);
    assert_eq!(completed.load(Ordering::Relaxed), 1);
    assert_eq!(ended.load(Ordering::Relaxed), 1);
}

/// The most reads of an agent that says nothing, and says it without a pause.
const MOST_READS: usize = 100_000;

struct Noise(Arc<AtomicUsize>);

impl Source for Noise {
    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Progress, Failure>> {
        if self.0.fetch_add(1, Ordering::Relaxed) >= MOST_READS {
            return Poll::Pending;
        }
        sink(format!(": {}\n\n", "x".repeat(4096)).as_bytes());
        Poll::Ready(Ok(Progress::More))
    }
}

#[tokio::test(start_paused = true)]
async fn noise_without_a_pause_does_not_postpone_a_deadline() {
    let reads = Arc::<AtomicUsize>::default();
    let noisy = Opened {
        source: Box::new(Noise(Arc::clone(&reads))),
        ..opened(Vec::new())
    };
    let time_passes = async {
        for _ in 0..30 {
            tokio::time::advance(SECOND).await;
        }
    };
    let heads = vec![Head::Opened(noisy)];
    let ((report, _, fates), ()) = tokio::join!(play(&["noisy"], heads, ALL), time_passes);
    assert_eq!(report.end, End::UpstreamError);
    assert_eq!(fates, ["noisy=first_event_timeout"]);
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads < MOST_READS, "{reads}");
}

#[tokio::test(start_paused = true)]
async fn what_the_filter_holds_back_of_each_agent_leaves_with_a_stop_and_is_counted() {
    let hide = Arc::new(filter::Rules {
        reasoning: Hide::Drop,
        tools: Hide::Keep,
        marks: Marks::new(&[Family::Think], false, true, false),
    });
    let names = ["open", "hidden"];
    let heads = ["Sea <thi", "<think>secret</think>foam"];
    let heads = heads.map(|text| Head::Opened(opened(vec![Step::Send(token(text))])));
    let Stage {
        mut pump,
        receiver,
        stop,
        ..
    } = stage_hiding(Target::AiSdk, &names, heads.into(), (ALL, ROOMY), &hide);
    let stopping = async {
        tokio::time::sleep(SECOND).await;
        stop.ask(End::Stopped);
    };
    let (report, (text, _), ()) = tokio::join!(pump.run(), read(receiver), stopping);
    assert!(text.contains("<thi"), "{text}");
    assert!(text.contains("foam") && !text.contains("secret"), "{text}");
    let hidden = report.ingress.hidden;
    assert!(hidden.characters[0] >= 6, "{hidden:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_is_told_although_the_queue_is_full() {
    // The end of a message has more parts than this queue has room for.
    let tight = Limits {
        max_events: 2,
        merge: false,
        ..ROOMY
    };
    for stops in [false, true] {
        let names = ["one", "two"];
        let heads = names.map(|name| {
            let last = if stops {
                Step::Wait(10 * SECOND)
            } else {
                done()
            };
            Head::Opened(opened(vec![Step::Send(token(name)), last]))
        });
        let Stage {
            mut pump,
            receiver,
            stop,
            ..
        } = stage(Target::AiSdk, &names, heads.into(), ALL, tight);
        let stopping = async {
            if stops {
                tokio::time::sleep(SECOND).await;
                stop.ask(End::Stopped);
            }
        };
        let (report, (text, close), ()) = tokio::join!(pump.run(), read(receiver), stopping);
        let end = if stops { End::Stopped } else { End::Finished };
        assert_eq!((report.end, close), (end, Close::Clean), "{text}");
        let last = if stops { "abort" } else { "finish" };
        assert!(text.contains(&format!("{{\"type\":\"{last}\"")), "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(report.egress.queue.unsent.iter().sum::<u64>(), 0, "{text}");
    }
}
