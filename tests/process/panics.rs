//! What a defect in Weir does to the process: a panic of a worker's own code, of an accept loop, and of one stream.
//!
//! Debug builds panic where a test asks for it (`src/tasks/rehearsal.rs`).
use std::ffi::OsStr;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Accepted, Client, Upstream, Weir, get, token};

const ONE: &str =
    "workers: 1\ndrain: { delay: 0s }\nupstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }";
const TWO: &str =
    "workers: 2\ndrain: { delay: 0s }\nupstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }";
const RESTARTS: &str = "weir_worker_restarts_total";
const PANICS: &str = "weir_stream_panics_total";

/// The folder in which a test asks for panics.
struct Defects(tempfile::TempDir);

impl Defects {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn start(&self, yaml: &str, upstream: &Upstream) -> Weir {
        let variables: [(&str, &OsStr); 1] = [("WEIR_TEST_PANICS", self.0.path().as_os_str())];
        Weir::start_with(yaml, upstream.address(), &variables)
    }

    /// Asks for a panic at `place`, `once` or `always`.
    fn ask(&self, place: &str, how: &str) {
        // Complete as soon as it is there.
        let draft = self.0.path().join("draft");
        std::fs::write(&draft, how).unwrap();
        std::fs::rename(draft, self.0.path().join(place)).unwrap();
    }

    fn forget(&self, place: &str) {
        std::fs::remove_file(self.0.path().join(place)).unwrap();
    }
}

/// A stream whose client has received the first token.
struct Stream {
    client: Client,
    agent: Accepted,
}

impl Stream {
    fn begin(weir: &Weir, upstream: &Upstream) -> Self {
        let mut client = Client::connect(&weir.address);
        client.send(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        );
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(token("before"));
        client.until("before");
        Self { client, agent }
    }

    /// Lets the agent write the rest, whether or not anybody still reads it. Returns what the client got.
    fn end(mut self) -> String {
        let rest = [token("after"), "data: [DONE]\n\n".to_owned()].concat();
        let chunk = format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
        let _ = self.agent.stream.write_all(chunk.as_bytes());
        self.client.closed()
    }
}

/// The series of streams with this outcome.
fn outcome(outcome: &str) -> String {
    format!("weir_streams_total{{outcome=\"{outcome}\",route=\"default\"}}")
}

/// Begins so many streams that both workers have some. Returns them, and how many of them the second worker has.
fn on_both_workers(weir: &Weir, upstream: &Upstream) -> (Vec<Stream>, usize) {
    let streams: Vec<Stream> = (0..12).map(|_| Stream::begin(weir, upstream)).collect();
    // Each stream counts as a connection and a request. Earlier ones may still be closing.
    let first = "weir_worker_load{worker=\"0\"}";
    let second = weir.metric_until("weir_worker_load{worker=\"1\"}", |second| {
        weir.metric(first) + second == 24.0
    });
    assert!(second > 0.0 && second < 24.0, "{second}");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    (streams, second as usize / 2)
}

#[test]
fn a_worker_that_panics_is_replaced_and_the_others_go_on() {
    let (defects, upstream) = (Defects::new(), Upstream::start());
    let weir = defects.start(TWO, &upstream);
    let (streams, kept) = on_both_workers(&weir, &upstream);
    let lost = streams.len() - kept;

    defects.ask("worker-0", "once");
    let failed = weir.log_line(|line| line["message"] == "a worker failed, it is replaced");
    assert_eq!(
        (&failed["worker"], &failed["level"]),
        (&0.into(), &"ERROR".into())
    );
    weir.metric_until(RESTARTS, |restarts| restarts == 1.0);

    let (mut whole, mut cut) = (0, 0);
    for stream in streams {
        let got = stream.end();
        if got.ends_with("\r\n0\r\n\r\n") {
            assert!(got.contains("after") && got.contains("[DONE]"), "{got}");
            whole += 1;
        } else {
            assert!(!got.contains("after") && !got.contains("[DONE]"), "{got}");
            cut += 1;
        }
    }
    assert_eq!(
        (whole, cut),
        (kept, lost),
        "only the worker's own streams end"
    );
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let (kept, lost) = (kept as f64, lost as f64);
    weir.metric_until(&outcome("finished"), |count| count == kept);
    assert_eq!(weir.metric(&outcome("panic")), lost);
    assert_eq!(weir.metric(&outcome("client_gone")), 0.0);
    assert_eq!(weir.metric(PANICS), lost);

    assert_eq!(get(&weir.admin, "/readyz"), "ready\n");
    let (again, _) = on_both_workers(&weir, &upstream);
    for stream in again {
        assert!(stream.end().ends_with("\r\n0\r\n\r\n"));
    }
    assert_eq!(weir.metric(RESTARTS), 1.0);
    weir.signal("TERM");
    assert_eq!(weir.exit_code(), Some(0));
}

#[test]
fn a_worker_that_panics_again_and_again_does_not_take_the_processor_and_is_not_ready() {
    let (defects, upstream) = (Defects::new(), Upstream::start());
    let weir = defects.start(TWO, &upstream);
    let (streams, kept) = on_both_workers(&weir, &upstream);
    let began = Instant::now();
    defects.ask("worker-0", "always");
    weir.metric_until(RESTARTS, |restarts| restarts >= 5.0);
    // The pauses in between: 0, 0.1, 0.2, 0.4, 0.8 s.
    assert!(
        began.elapsed() >= Duration::from_millis(1400),
        "{:?}",
        began.elapsed()
    );
    let ready = get(&weir.admin, "/readyz");
    assert!(ready.contains("a worker has failed"), "{ready}");
    assert_eq!(get(&weir.admin, "/healthz"), "ok\n");
    let whole = streams
        .into_iter()
        .map(Stream::end)
        .filter(|got| got.ends_with("\r\n0\r\n\r\n"));
    assert_eq!(whole.count(), kept);

    // Some of these wait in the backlog of the worker that is down.
    let _waiting: Vec<Client> = (0..8)
        .map(|_| Client::post(&weir.address, "/late"))
        .collect();
    defects.forget("worker-0");
    let began = Instant::now();
    while get(&weir.admin, "/readyz") != "ready\n" {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it is never ready again"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..8 {
        assert!(upstream.accept().request.starts_with("POST /late "));
    }
    defects.ask("worker-1", "always");
    weir.log_line(|line| line["worker"] == 1 && line["level"] == "ERROR");
    weir.signal("TERM");
    assert_eq!(weir.exit_code(), Some(0), "a drain while a worker is down");
}

#[test]
fn an_accept_loop_that_panics_is_started_again_and_no_stream_ends() {
    let (defects, upstream) = (Defects::new(), Upstream::start());
    let weir = defects.start(ONE, &upstream);
    let before = Stream::begin(&weir, &upstream);
    defects.ask("accept", "once");
    assert_eq!(Client::connect(&weir.address).closed(), "");
    weir.metric_until(RESTARTS, |restarts| restarts == 1.0);
    let after = Stream::begin(&weir, &upstream);
    for stream in [before, after] {
        assert!(stream.end().ends_with("\r\n0\r\n\r\n"));
    }
    assert_eq!(weir.metric(PANICS), 0.0);
}

#[test]
fn a_stream_that_panics_ends_alone_and_is_counted_and_named() {
    let (defects, upstream) = (Defects::new(), Upstream::start());
    let weir = defects.start(ONE, &upstream);
    let other = Stream::begin(&weir, &upstream);
    let stream = Stream::begin(&weir, &upstream);
    defects.ask("stream", "once");
    let got = stream.end();
    assert!(got.contains("before") && !got.contains("after"), "{got}");
    assert!(
        !got.ends_with("0\r\n\r\n"),
        "a cut stream does not look complete: {got}"
    );
    let told = weir.log_line(|line| line["message"].as_str().unwrap().starts_with("a panic"));
    assert!(
        told["place"].as_str().unwrap().contains("src/tasks/"),
        "{told}"
    );
    let ended = weir.ended();
    assert_eq!(
        (&ended["outcome"], &ended["level"]),
        (&"panic".into(), &"ERROR".into())
    );
    assert!(got.contains(ended["stream_id"].as_str().unwrap()));
    assert!(other.end().ends_with("\r\n0\r\n\r\n"));
    assert_eq!(weir.ended()["outcome"], "finished");
    let counted = ["finished", "panic", "client_gone"].map(|end| weir.metric(&outcome(end)));
    assert_eq!(counted, [1.0, 1.0, 0.0]);
    assert_eq!((weir.metric(PANICS), weir.metric(RESTARTS)), (1.0, 0.0));
    assert!(get(&weir.admin, "/streams").contains("\"active\":0"));
}

#[test]
fn a_request_that_panics_before_its_answer_ends_alone() {
    let (defects, upstream) = (Defects::new(), Upstream::start());
    let weir = defects.start(ONE, &upstream);
    let other = Stream::begin(&weir, &upstream);
    defects.ask("request", "once");
    assert_eq!(Client::post(&weir.address, "/").closed(), "");
    let told = weir.log_line(|line| line["message"] == "a request ended without an answer");
    assert_eq!(
        (&told["outcome"], &told["level"]),
        (&"panic".into(), &"ERROR".into())
    );
    assert!(other.end().ends_with("\r\n0\r\n\r\n"));
    let code = |code| {
        let labels = format!("{{code=\"{code}\",kind=\"unary\",route=\"default\"}}");
        weir.metric(&format!("weir_requests_total{labels}"))
    };
    assert_eq!((code("500"), code("499")), (1.0, 0.0));
    assert_eq!(weir.metric(PANICS), 1.0);
}

#[test]
fn a_reload_that_panics_keeps_the_old_configuration() {
    let (defects, upstream) = (Defects::new(), Upstream::start());
    let weir = defects.start(ONE, &upstream);
    let stream = Stream::begin(&weir, &upstream);
    defects.ask("reload", "once");
    weir.signal("HUP");
    weir.log_line(|line| {
        let problems = line["problems"].as_str().unwrap_or_default();
        problems.contains("a defect in Weir")
    });
    assert_eq!(weir.metric("weir_config_last_reload_successful"), 0.0);
    assert!(stream.end().ends_with("\r\n0\r\n\r\n"));
    weir.signal("HUP");
    weir.log_line(|line| line["message"] == "configuration reloaded");
}
