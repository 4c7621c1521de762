//! The probe on the traffic port, and `weir doctor` against it.

use std::process::Command;

use crate::support::{Client, Upstream, Weir, eventually, get};

const WITH: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\nprobe: true";
const WITHOUT: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }";
const ID: &str = "0123456789abcdef0123456789abcdef";

fn ask(weir: &Weir, method: &str, query: &str) -> Client {
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "{method} /.weir/probe?{query} HTTP/1.1\r\nhost: h\r\n\r\n"
    ));
    client
}

/// Returns the state of the stream `ID`.
fn state(weir: &Weir) -> String {
    let text = get(&weir.address, &format!("/.weir/probe?left={ID}"));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    value["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_probe_is_off_unless_it_is_asked_for() {
    let agent = Upstream::start().serve(|mut agent| {
        agent.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nthe agent");
    });
    let weir = Weir::start(WITHOUT, agent);
    let body = get(&weir.address, "/.weir/probe?clock");
    assert_eq!(body, "the agent");
}

#[test]
fn a_probe_streams_by_its_script() {
    let weir = Weir::start(WITH, Upstream::start().address());
    let query = "events=3&pace_ms=20&size=200&silence_ms=500&heartbeat_ms=200";
    let text = ask(&weir, "GET", query).rest();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for field in [
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "x-request-id: ",
        "weir-probe: ",
    ] {
        assert!(head.contains(field), "{field} in {head}");
    }
    assert_eq!(body.matches("\"seq\":").count(), 4);
    assert_eq!(body.matches(": weir_probe ").count(), 2);
    assert_eq!(body.matches("\"weir_probe\":\"end\"").count(), 1);
    assert!(body.contains("\"version\":\"HTTP/1.1\""), "{body}");
    let line = weir.log_line(|line| line["path"] == "/.weir/probe");
    assert_eq!(
        (&line["outcome"], &line["status"]),
        (&"finished".into(), &200.into()),
        "{line}"
    );
    let head = ask(&weir, "HEAD", "").until("\r\n\r\n");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    ask(&weir, "POST", "").until("method_not_allowed");
    let line = weir.log_line(|line| line["method"] == "POST");
    assert_eq!(
        (&line["outcome"], &line["code"]),
        (&"refused".into(), &"method_not_allowed".into()),
        "{line}"
    );
}

#[test]
fn the_head_comes_before_the_first_event() {
    let weir = Weir::start(WITH, Upstream::start().address());
    let mut client = ask(&weir, "GET", "wait_ms=60000");
    let head = client.until("\r\n\r\n");
    assert!(!head.contains("weir_probe"), "{head}");
}

#[test]
fn four_probe_streams_run_at_once() {
    let weir = Weir::start(WITH, Upstream::start().address());
    let mut running: Vec<Client> = (0..4)
        .map(|_| {
            let mut client = ask(&weir, "GET", "events=1&silence_ms=600000");
            client.until("\"seq\":1");
            client
        })
        .collect();
    let refused = ask(&weir, "GET", "").until("probe_busy");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert!(refused.contains("4 probe streams run already"), "{refused}");
    // Questions take no place.
    assert!(get(&weir.address, "/.weir/probe?clock").contains("sent_us"));
    running.pop();
    eventually("a free place", || {
        let mut client = ask(&weir, "GET", "events=1");
        client.until("\r\n\r\n").starts_with("HTTP/1.1 200 ")
    });
}

#[test]
fn a_client_that_leaves_in_a_silence_is_noticed() {
    let weir = Weir::start(WITH, Upstream::start().address());
    let mut client = ask(&weir, "GET", &format!("id={ID}&events=1&silence_ms=600000"));
    client.until("\"seq\":1");
    assert_eq!(state(&weir), "runs");
    drop(client);
    eventually("the probe notices", || state(&weir) == "left");
    ask(&weir, "GET", &format!("id={ID}&events=1")).rest();
    eventually("it is over", || state(&weir) == "complete");
}

#[test]
fn what_the_probe_does_not_take_is_refused_in_words() {
    let weir = Weir::start(WITH, Upstream::start().address());
    for (method, query, status, said) in [
        (
            "GET",
            "events=100000",
            400,
            "`events` must be a number from 1 to 1000",
        ),
        ("GET", "silence_ms=1h", 400, "`silence_ms`"),
        ("GET", "left=x", 400, "`left`"),
        ("DELETE", "", 405, "takes GET and HEAD"),
        (
            "GET",
            "left=ffffffffffffffffffffffffffffffff",
            404,
            "probe_unknown",
        ),
    ] {
        let text = ask(&weir, method, query).until(said);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains("application/problem+json"), "{text}");
    }
}

/// A silence of 1 s and the streams around it take about 7 s: this is the whole command.
#[test]
fn doctor_finds_nothing_wrong_with_weir_itself() {
    let weir = Weir::start(WITH, Upstream::start().address());
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["doctor", "--idle", "1s", "-H", "authorization: s3cret"])
        .arg(format!("http://{}", weir.address))
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.contains("Nothing is wrong"), "{out}");
    assert!(out.contains("arrived H"), "{out}");
    assert!(!out.contains("not examined"), "{out}");
    assert!(err.contains("20 events"), "{err}");
    assert!(!out.contains("s3cret") && !err.contains("s3cret"));
}
