//! `weir doctor` with a stream that never ends: Ctrl-C, and the longest time that it reads.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Accepted, PATIENCE, Upstream, eventually, token};

/// What an agent has done whose streams never end.
#[derive(Debug, Default)]
struct Done {
    asked: AtomicUsize,
    sent: AtomicUsize,
    ended: AtomicUsize,
}

/// Starts an agent whose streams never end.
fn endless() -> (SocketAddr, Arc<Done>) {
    let done = Arc::new(Done::default());
    let own = Arc::clone(&done);
    let agent = Upstream::start().serve(move |mut agent: Accepted| {
        own.asked.fetch_add(1, Ordering::Relaxed);
        agent.head("text/event-stream");
        let event = token("x");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        while agent.stream.write_all(chunk.as_bytes()).is_ok() {
            own.sent.fetch_add(1, Ordering::Relaxed);
            // The pace of a model.
            thread::sleep(Duration::from_millis(20));
        }
        own.ended.fetch_add(1, Ordering::Relaxed);
    });
    (agent, done)
}

/// Runs the doctor until it ends. `ask` is called with its process id.
fn doctor(args: &[&str], ask: impl FnOnce(u32)) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("doctor")
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ask(child.id());
    let (tell, told) = channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    told.recv_timeout(PATIENCE).expect("an end").unwrap()
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill")
        .args([name, &process.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn notes(hop: &Value) -> String {
    hop["not_examined"].to_string()
}

/// Checks that an end without the end of the stream is no fault.
fn is_no_fault(hop: &Value) {
    for one in hop["findings"].as_array().unwrap() {
        let id = one["id"].as_str().unwrap();
        assert!(!["buffered", "cut", "idle_cut"].contains(&id), "{hop}");
    }
}

#[test]
fn an_interrupt_reports_what_was_seen_of_an_endless_stream() {
    for (name, json) in [("-INT", true), ("-TERM", false)] {
        let (agent, done) = endless();
        let (first, second) = (
            format!("http://{agent}/first"),
            format!("http://{agent}/second"),
        );
        let mut args = vec![&*first, &*second];
        if json {
            args.push("--json");
        }
        let output = doctor(&args, |process| {
            eventually("some events", || done.sent.load(Ordering::Relaxed) >= 60);
            signal(name, process);
        });
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            err.contains("interrupted: reporting what was seen"),
            "{err}"
        );
        if json {
            let report: Value = serde_json::from_str(&out).unwrap();
            assert!(report["interrupted_after_ms"].as_f64().unwrap() > 0.0);
            assert_eq!(report["unread"], serde_json::json!([second]));
            let [hop] = &report["hops"].as_array().unwrap()[..] else {
                panic!("{report}")
            };
            assert_eq!(hop["end"], "interrupted", "{hop}");
            assert!(hop["events"].as_u64().unwrap() > 0, "{hop}");
            assert!(notes(hop).contains("the doctor was interrupted"), "{hop}");
            is_no_fault(hop);
            let code = i32::from(report["ok"] != true);
            assert_eq!(output.status.code(), Some(code), "{report}");
        } else {
            let line = format!("; not reached: {second}\n");
            let said = out.lines().any(|one| one.starts_with("interrupted after "));
            assert!(said && out.contains(&line), "{out}");
            assert!(out.contains("not examined: the end"), "{out}");
        }
        eventually("closed connections", || {
            done.ended.load(Ordering::Relaxed) == done.asked.load(Ordering::Relaxed)
        });
    }
}

#[test]
fn a_stream_that_is_still_going_after_the_longest_time_is_no_fault() {
    let (agent, _) = endless();
    let url = format!("http://{agent}/events");
    let output = doctor(&["--json", "--max-time", "1s", &url], |_| {});
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted_after_ms"], Value::Null);
    let hop = &report["hops"][0];
    assert_eq!(hop["end"], "still_going", "{hop}");
    assert!(notes(hop).contains("was still going"), "{hop}");
    is_no_fault(hop);
    let code = i32::from(report["ok"] != true);
    assert_eq!(output.status.code(), Some(code), "{report}");
}
