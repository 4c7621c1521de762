//! How a stream ends, and what its client gets of the end.

use super::*;

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
