//! How bridges end through the real process: clients that leave, hang or read slowly, a drain, and a stop.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bridge_client::{Bridge, PING, PONG, TEXT, begin, bridged, finish, frame};
use crate::support::{Client, Upstream, Weir, eventually, get, token};

#[test]
fn a_client_that_leaves_cancels_its_runs() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut bridge = Bridge::open(&weir);
    let (agent, _) = begin(&mut bridge, &upstream, "q");
    let left = Instant::now();
    drop(bridge);
    agent.closed();
    assert!(left.elapsed() < Duration::from_secs(1));
    let line = weir.log_line(|line| line["transport"] == "websocket");
    assert_eq!(line["outcome"], "client_gone");
}

#[test]
fn a_client_without_pongs_is_given_up() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "heartbeat: 100ms");
    let mut bridge = Bridge::open(&weir);
    assert_eq!(bridge.next(), (PING, Vec::new()));
    bridge.send(frame(0x8a, b""));
    for _ in 0..2 {
        assert_eq!(bridge.next(), (PING, Vec::new()));
    }
    let (code, reason) = bridge.closed();
    assert_eq!((code, &*reason), (1011, "no_pong"));
}

#[test]
fn a_message_that_is_half_sent_has_the_deadline_of_a_body() {
    let whole = frame(TEXT, b"{\"type\":\"ping\"}");
    // Within a head, within a payload, and between two frames.
    for (half, heartbeat) in [
        (whole[..3].to_vec(), "20s"),
        (whole[..9].to_vec(), "20s"),
        (frame(0x01, b"{\"type\":"), "100ms"),
    ] {
        let upstream = Upstream::start();
        let yaml = format!(
            "upstreams: {{ agent: {{ endpoints: [\"$UPSTREAM\"] }} }}\nlimits: {{ request_body: 500ms }}\n\
             routes: [ {{ name: chat, upstream: agent, websocket: bridge, heartbeat: {heartbeat} }} ]\n"
        );
        let weir = Weir::start(&yaml, upstream.address());
        let mut bridge = Bridge::open(&weir);
        let began = Instant::now();
        bridge.send(&half);
        let (code, reason) = loop {
            match bridge.next() {
                // Pongs show that the client is there. They do not end its message.
                (PING, _) => bridge.send(frame(PONG, b"")),
                (_, payload) => {
                    break payload.split_at_checked(2).map_or(
                        (0, String::new()),
                        |(code, reason)| {
                            let code = u16::from_be_bytes([code[0], code[1]]);
                            (code, String::from_utf8_lossy(reason).into_owned())
                        },
                    );
                }
            }
        };
        assert_eq!((code, &*reason), (1008, "message_timeout"), "{half:?}");
        assert!(began.elapsed() >= Duration::from_millis(400), "{half:?}");
        let line = weir.log_line(|line| line["transport"] == "websocket");
        assert_eq!(
            (&line["outcome"], &line["code"]),
            (&json!("client_gone"), &json!("message_timeout"))
        );
    }
}

#[test]
fn a_drain_waits_for_the_runs() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut quiet = Bridge::open(&weir);
    let mut busy = Bridge::open(&weir);
    let (mut agent, _) = begin(&mut busy, &upstream, "q");
    weir.signal("TERM");
    let (code, reason) = quiet.closed();
    assert_eq!((code, &*reason), (1001, "drained"));
    busy.say("{\"type\":\"message\",\"id\":\"late\",\"body\":{}}");
    let refused = busy.hear_type("error");
    assert_eq!(
        (&refused["code"], &refused["request"]),
        (&json!("draining"), &json!("late"))
    );
    finish(&mut agent);
    while busy.hear_type("finish")["scope"] != "run" {}
    assert_eq!(busy.closed().0, 1001);
    drop((quiet, busy));
    assert_eq!(weir.exit_code(), Some(0));
}

#[test]
fn runs_that_a_drain_cuts_off_say_so_before_the_socket_closes() {
    let upstream = Upstream::start();
    let yaml = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\n\
        drain: { delay: 0s, limit: 1s }\n\
        routes: [ { name: chat, upstream: agent, websocket: bridge } ]\n";
    let weir = Weir::start(yaml, upstream.address());
    let mut bridge = Bridge::open(&weir);
    let (agent, start) = begin(&mut bridge, &upstream, "q");
    weir.signal("TERM");
    let last = bridge.hear_type("error");
    assert_eq!(
        (&last["code"], &last["stream"]),
        (&json!("drained"), &start["stream"])
    );
    assert_eq!(bridge.closed(), (1001, "drained".to_owned()));
    drop(agent);
}

#[test]
fn a_bridge_is_listed_beside_its_runs_and_can_be_stopped() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut bridge = Bridge::open(&weir);
    let (agent, start) = begin(&mut bridge, &upstream, "q");
    let list: Value = serde_json::from_str(&get(&weir.admin, "/streams")).unwrap();
    let list = list["streams"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2, "{list:?}");
    let socket = list
        .iter()
        .find(|entry| entry["state"] == "bridge")
        .unwrap();
    assert!(list.iter().any(|entry| entry["id"] == start["stream"]));
    let id = socket["id"].as_str().unwrap();
    let mut admin = Client::connect(&weir.admin);
    admin.send(format!(
        "DELETE /streams/{id} HTTP/1.1\r\nhost: localhost\r\nweir-hook: 1\r\nconnection: close\r\n\r\n"
    ));
    admin.closed();
    assert_eq!(bridge.closed(), (1000, "stopped".to_owned()));
    agent.closed();
}

#[test]
fn a_slow_client_loses_tokens_and_nothing_else() {
    let upstream = Upstream::start();
    let weir = bridged(
        &upstream,
        "",
        "queue: { max_events: 8 }, deadlines: { client_stall: 20s }",
    );
    let mut bridge = Bridge::open(&weir);
    let (mut agent, _) = begin(&mut bridge, &upstream, "q");
    let long = "x".repeat(4_000);
    for _ in 0..4_000 {
        agent.chunk(token(&long));
    }
    finish(&mut agent);
    // It has read nothing so far, and now it reads everything.
    let mut got = 0;
    loop {
        let event = bridge.hear();
        match event["type"].as_str().unwrap() {
            "token" => got += event["text"].as_str().unwrap().len(),
            "finish" if event["scope"] == "run" => break,
            _ => {}
        }
    }
    assert!(got > 0 && got < 4_001 * 4_000, "{got}");
    let dropped = "weir_events_dropped_total{class=\"token\",reason=\"queue_full\",route=\"chat\"}";
    eventually("the drops are counted", || weir.metric(dropped) > 0.0);
}
