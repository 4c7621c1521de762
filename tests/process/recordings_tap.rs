//! `weir record --listen`: a tap between raw sockets.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::recordings::Running;
use crate::support::{Client, PATIENCE, Upstream, eventually, read_request};

#[test]
fn a_tap_passes_each_byte_and_records_one_exchange_after_the_other() {
    let upstream = Upstream::start();
    let agent = upstream.address();
    let wire = "HTTP/1.1 200 OK\r\nContent-TYPE:text/event-stream\r\nSet-Cookie: s3cret\r\n\
        transfer-encoding: chunked\r\n\r\n00b;odd=1\r\ndata: one\n\n\r\n";
    let agent_side = std::thread::spawn(move || {
        let mut accepted = upstream.accept();
        assert!(
            accepted.request.starts_with("POST /base/a HTTP/1.1\r\n"),
            "{}",
            accepted.request
        );
        assert!(
            accepted.request.contains(&format!("host: {agent}\r\n")),
            "{}",
            accepted.request
        );
        assert!(
            accepted.request.ends_with("\r\n\r\n{}"),
            "{}",
            accepted.request
        );
        accepted.send(wire);
        accepted.send("0\r\n\r\n");
        let second = read_request(&mut accepted.stream);
        assert!(second.starts_with("GET /base/b"), "{second}");
        accepted.send("HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno!");
        // The third one stays unfinished.
        read_request(&mut accepted.stream);
        accepted.head("text/event-stream");
        accepted.chunk("data: begun\n\n");
        accepted.closed();
    });
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("tap.weir.jsonl");
    let tap = Running::tap(&format!("http://{agent}/base"), &output);
    let mut client = Client::post(&tap.address, "/a");
    let seen = client.until("0\r\n\r\n");
    assert_eq!(seen, format!("{wire}0\r\n\r\n"));
    client.send("GET /b HTTP/1.1\r\nhost: test\r\n\r\n");
    client.until("no!");
    client.send("GET /c HTTP/1.1\r\nhost: test\r\n\r\n");
    client.until("data: begun\n\n");
    eventually("the last read is recorded", || {
        std::fs::read_to_string(&output).unwrap().contains("begun")
    });
    tap.signal("INT");
    assert_eq!(tap.exit_code(), Some(0));
    drop(client);
    agent_side.join().unwrap();
    let file = std::fs::read(&output).unwrap();
    assert!(!String::from_utf8_lossy(&file).contains("s3cret"));
    let recording = weir::recording::read::read(&file).unwrap();
    let shown: Vec<_> = recording
        .exchanges
        .iter()
        .map(|one| {
            let body: Vec<u8> = one
                .reads
                .iter()
                .flat_map(|read| read.bytes.to_vec())
                .collect();
            let body = String::from_utf8(body).unwrap();
            (
                one.request.target.clone(),
                one.response.status,
                body,
                one.end.reason.clone(),
            )
        })
        .collect();
    let one = |target: &str, status, body: &str, reason: Option<&str>| {
        (
            target.to_owned(),
            status,
            body.to_owned(),
            reason.map(ToOwned::to_owned),
        )
    };
    assert_eq!(
        shown,
        [
            one("/a", 200, "data: one\n\n", None),
            one("/b", 404, "no!", None),
            one("/c", 200, "data: begun\n\n", Some("interrupted")),
        ]
    );
}

#[test]
fn a_tap_notices_who_leaves() {
    let upstream = Upstream::start();
    let agent = upstream.address();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("tap.weir.jsonl");
    let tap = Running::tap(&format!("http://{agent}"), &output);
    // The client leaves: the agent is told by the end of its connection.
    let mut client = Client::post(&tap.address, "/");
    let mut accepted = upstream.accept();
    accepted.head("text/event-stream");
    accepted.chunk("data: one\n\n");
    client.until("one");
    drop(client);
    accepted.closed();
    // The agent leaves: the client sees a body that breaks off.
    let mut client = Client::post(&tap.address, "/");
    let mut accepted = upstream.accept();
    accepted.head("text/event-stream");
    accepted.chunk("data: two\n\n");
    client.until("two");
    drop(accepted);
    assert!(!client.closed().contains("\r\n0\r\n"));
    eventually("both ends are recorded", || {
        let file = std::fs::read_to_string(&output).unwrap();
        file.contains("\"reason\":\"client_left\"") && file.contains("\"reason\":\"closed\"")
    });
}

#[test]
fn a_tap_answers_when_nobody_is_behind_it() {
    let free = Upstream::start().address();
    let folder = tempfile::tempdir().unwrap();
    let tap = Running::tap(&format!("http://{free}"), &folder.path().join("f"));
    let mut stream = TcpStream::connect(&tap.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}
