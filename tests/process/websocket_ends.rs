//! How WebSockets end, through the real process: who leaves, deadlines, stops, drains, mistakes.

use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Client, PATIENCE, Upstream, Weir, eventually, get};
use crate::websocket_peer::{PLAIN, closing, frame, noise, open, read, rest, with};

#[test]
fn each_side_may_end_before_the_other() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let (mut client, mut agent) = open(&weir, &upstream);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut agent.stream), b"");
    agent.send(frame(false, 0x81, b"still here"));
    assert!(read(&mut client, 12).ends_with(b"still here"));
    drop(agent);
    assert_eq!(rest(&mut client), b"");
    assert_eq!(weir.ended()["outcome"], "client_gone");

    let (mut client, mut agent) = open(&weir, &upstream);
    agent.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"");
    client.write_all(&frame(true, 0x81, b"still here")).unwrap();
    assert!(read(&mut agent.stream, 16).ends_with(b"still here"));
    drop(client);
    assert_eq!(rest(&mut agent.stream), b"");
    assert_eq!(weir.ended()["outcome"], "truncated");
}

#[test]
fn who_leaves_is_noticed_on_the_other_side_at_once() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let (client, mut agent) = open(&weir, &upstream);
    let left = Instant::now();
    drop(client);
    rest(&mut agent.stream);
    assert!(left.elapsed() < Duration::from_secs(1));
    drop(agent);
    let (mut client, agent) = open(&weir, &upstream);
    let left = Instant::now();
    drop(agent);
    rest(&mut client);
    assert!(left.elapsed() < Duration::from_secs(1));
    drop(client);
    eventually("both are over", || {
        weir.metric("weir_streams_active{route=\"default\",transport=\"websocket\"}") == 0.0
    });
}

#[test]
fn silence_closes_both_ends_by_its_name() {
    for (deadlines, outcome) in [
        ("idle: 200ms", "idle_timeout"),
        ("total: 300ms", "total_timeout"),
    ] {
        let upstream = Upstream::start();
        let weir = Weir::start(
            &with(&format!("deadlines: {{ {deadlines} }}")),
            upstream.address(),
        );
        let (mut client, mut agent) = open(&weir, &upstream);
        let told = closing(false, 1001, outcome);
        assert_eq!(read(&mut client, told.len()), told);
        let heard = read(&mut agent.stream, told.len() + 4);
        assert_eq!(heard[0], 0x88);
        assert_eq!(usize::from(heard[1] & 0x7f), told.len() - 2);
        // Both answer.
        client.write_all(&closing(true, 1001, "")).unwrap();
        agent.send(closing(false, 1001, ""));
        assert_eq!(rest(&mut client), b"");
        let line = weir.ended();
        assert_eq!(
            (&line["outcome"], &line["closed_by"]),
            (&outcome.into(), &"weir".into())
        );
    }
}

#[test]
fn a_stop_closes_it_and_the_list_shows_it() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let (mut client, mut agent) = open(&weir, &upstream);
    agent.send(frame(false, 0x81, b"one"));
    read(&mut client, 5);
    let listed = || -> serde_json::Value {
        let list: serde_json::Value = serde_json::from_str(&get(&weir.admin, "/streams")).unwrap();
        list["streams"][0].clone()
    };
    // It is counted right after it was written.
    eventually("it is counted", || listed()["events"] == 1);
    let stream = listed();
    assert_eq!(stream["transport"], "websocket");
    let mut stopping = Client::connect(&weir.admin);
    let id = stream["id"].as_str().unwrap();
    stopping.send(format!(
        "DELETE /streams/{id} HTTP/1.1\r\nhost: localhost\r\nweir-hook: 1\r\nconnection: close\r\n\r\n"
    ));
    let told = closing(false, 1000, "stopped");
    assert_eq!(read(&mut client, told.len()), told);
    assert_eq!(weir.ended()["outcome"], "stopped");
}

#[test]
fn a_drain_closes_at_the_end_of_the_frame_that_is_under_way() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let (mut client, mut agent) = open(&weir, &upstream);
    let message = frame(false, 0x82, &noise(16 << 20));
    let (first, second) = message.split_at(5 << 20);
    let mut sending = agent.stream.try_clone().unwrap();
    let first = first.to_vec();
    let sent = thread::spawn(move || sending.write_all(&first).unwrap());
    let begun = read(&mut client, 5 << 20);
    sent.join().unwrap();
    weir.signal("TERM");
    weir.log_line(|line| line["message"] == "draining");
    // The way to the agent stands between two frames, so the agent is told at once.
    let told = closing(false, 1001, "drained");
    let heard = read(&mut agent.stream, told.len() + 4);
    assert_eq!(heard[0], 0x88);
    let mut sending = agent.stream.try_clone().unwrap();
    let more = [second, &frame(false, 0x81, b"not any more")].concat();
    let sent = thread::spawn(move || {
        let _ = sending.write_all(&more);
    });
    let end = read(&mut client, second.len() + told.len());
    sent.join().unwrap();
    assert!([&begun[..], &end].concat() == [&message[..], &told].concat());
    client.write_all(&closing(true, 1001, "")).unwrap();
    agent.send(closing(false, 1001, ""));
    assert_eq!(weir.ended()["outcome"], "drained");
    assert_eq!(rest(&mut client), b"");
    assert_eq!(weir.exit_code(), Some(0));
}

#[test]
fn a_frame_without_a_mask_is_answered_with_1002() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    for bad in [&b"\x81\x02hi"[..], b"\x82\xff\x80\0\0\0\0\0\0\x01mask"] {
        let (mut client, mut agent) = open(&weir, &upstream);
        client.write_all(bad).unwrap();
        let told = closing(false, 1002, "protocol_error");
        assert_eq!(read(&mut client, told.len()), told);
        assert_eq!(read(&mut agent.stream, 1), [0x88]);
        let line = weir.ended();
        assert_eq!(line["code"], "protocol_error");
    }
}

#[test]
fn a_client_that_takes_nothing_is_given_up_and_little_is_kept_for_it() {
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with("deadlines: { client_stall: 500ms }"),
        upstream.address(),
    );
    let (client, mut agent) = open(&weir, &upstream);
    agent.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let piece = frame(false, 0x82, &noise(1 << 20));
    let mut taken = 0;
    while agent.stream.write_all(&piece).is_ok() {
        taken += 1;
        assert!(taken < 64, "nobody holds it back");
    }
    assert_eq!(weir.ended()["outcome"], "client_stalled");
    drop(client);
}
