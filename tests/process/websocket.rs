//! WebSockets through the real process: raw sockets on both sides, so that every byte counts.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::Instant;

use crate::bridge_client::Bridge;
use crate::support::{Accepted, Client, PATIENCE, Upstream, Weir, eventually, get};

const PLAIN: &str =
    "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\ndrain: { delay: 0s, limit: 20s }\n";
/// The example of RFC 6455, 1.3.
const ASK: &str = "GET /ws?a=b HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\norigin: https://page.test\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: a, b\r\n\r\n";
const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: b\r\n\r\n";

fn with(route: &str) -> String {
    format!("{PLAIN}routes: [ {{ name: ws, upstream: agent, {route} }} ]")
}

/// A frame as a server sends it, or masked as a client does.
fn frame(masked: bool, first: u8, payload: &[u8]) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first, 127 | bit];
    if let Ok(short) = u8::try_from(payload.len())
        && short < 126
    {
        bytes[1] = short | bit;
    } else {
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    if masked {
        // A mask of zeros changes nothing.
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

fn closing(masked: bool, code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame(masked, 0x88, &payload)
}

/// An open WebSocket: what the client has of it, and what the agent has.
fn open(weir: &Weir, upstream: &Upstream) -> (TcpStream, Accepted) {
    let mut client = Client::connect(&weir.address);
    client.send(ASK);
    let mut agent = upstream.accept();
    agent.send(ACCEPT);
    agent.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = client.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (client.stream, agent)
}

fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads to the end, which may be a reset.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Bytes without a pattern that a mistake could keep.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn heads_pass_and_bytes_are_identical_both_ways() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let mut client = Client::connect(&weir.address);
    client.send(ASK);
    let mut agent = upstream.accept();
    let asked = agent.request.to_ascii_lowercase();
    for field in [
        "get /ws?a=b http/1.1\r\n",
        "\r\nhost: h\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\norigin: https://page.test\r\n",
        "\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
        "\r\nsec-websocket-protocol: a, b\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
        "\r\nx-request-id: ",
    ] {
        assert!(asked.contains(field), "{field:?} in {asked}");
    }
    agent.send(ACCEPT);
    agent.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = client.until("\r\n\r\n").to_ascii_lowercase();
    for field in [
        "http/1.1 101 ",
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nsec-websocket-protocol: b\r\n",
        "\r\nweir-stream-id: ",
    ] {
        assert!(head.contains(field), "{field:?} in {head}");
    }
    let mut client = client.stream;
    // 16 MiB in one message, among others, each way at the same time and in uneven pieces.
    let payload = noise(16 << 20);
    let sent = |masked| {
        [
            frame(masked, 0x01, b"frag"),
            frame(masked, 0x89, b"ping"),
            frame(masked, 0x80, b"ment"),
            frame(masked, 0x82, &payload),
            // As compressed by permessage-deflate.
            frame(masked, 0xc1, b"\xf2H\xcd\xc9\xc9\x07\0"),
            closing(masked, 1000, ""),
        ]
        .concat()
    };
    let (from_client, from_agent) = (sent(true), sent(false));
    let feed = |mut to: TcpStream, bytes: Vec<u8>, piece: usize| {
        thread::spawn(move || {
            for part in bytes.chunks(piece) {
                to.write_all(part).unwrap();
            }
        })
    };
    let feeding = [
        feed(client.try_clone().unwrap(), from_client.clone(), 77_777),
        feed(
            agent.stream.try_clone().unwrap(),
            from_agent.clone(),
            13_001,
        ),
    ];
    let mut other = agent.stream.try_clone().unwrap();
    let count = from_client.len();
    let hearing = thread::spawn(move || read(&mut other, count));
    assert!(read(&mut client, from_agent.len()) == from_agent);
    assert!(hearing.join().unwrap() == from_client);
    for feeding in feeding {
        feeding.join().unwrap();
    }
    drop(agent);
    assert_eq!(rest(&mut client), b"");
    let line = weir.ended();
    assert_eq!(line["outcome"], "finished");
    assert_eq!(line["transport"], "websocket");
    assert_eq!(
        (&line["frames_in"], &line["frames_out"]),
        (&6.into(), &6.into())
    );
    assert_eq!(line["bytes_in"], from_client.len());
    assert_eq!(line["close_code"], 1000);
    for (series, value) in [
        (
            "weir_requests_total{code=\"101\",kind=\"websocket\",route=\"default\"}",
            1.0,
        ),
        (
            "weir_streams_active{route=\"default\",transport=\"websocket\"}",
            0.0,
        ),
        (
            "weir_streams_total{outcome=\"finished\",route=\"default\"}",
            1.0,
        ),
        (
            "weir_websocket_frames_total{direction=\"in\",route=\"default\"}",
            6.0,
        ),
        (
            "weir_websocket_closes_total{code=\"1000\",route=\"default\"}",
            1.0,
        ),
    ] {
        assert_eq!(weir.metric(series), value, "{series}");
    }
}

#[test]
fn early_bytes_wait_for_the_101_and_those_of_the_agent_follow_it() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let mut client = Client::connect(&weir.address);
    // Text that a strict reader of HTTP would refuse.
    let early = frame(
        true,
        0x82,
        b"x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    client.send([ASK.as_bytes(), &early].concat());
    let mut agent = upstream.accept();
    agent
        .stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    agent.stream.read_exact(&mut [0]).unwrap_err();
    agent.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    agent.send([ACCEPT.as_bytes(), &frame(false, 0x81, b"at once")].concat());
    assert_eq!(read(&mut agent.stream, early.len()), early);
    client.until("at once");
}

#[test]
fn a_refusal_passes_as_it_came_and_ends_the_connection() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    for (answer, expected) in [
        (
            "HTTP/1.1 403 Forbidden\r\nx-why: no\r\ncontent-length: 4\r\n\r\nno.\n",
            "no.\n",
        ),
        (
            "HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 13\r\ncontent-length: 3\r\n\r\n13.",
            "13.",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok.", "ok."),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n",
            "data: x",
        ),
    ] {
        let mut client = Client::connect(&weir.address);
        client.send(format!("{ASK}GET /hidden HTTP/1.1\r\nhost: h\r\n\r\n"));
        let mut agent = upstream.accept();
        agent.send(answer);
        agent.stream.shutdown(Shutdown::Write).unwrap();
        let all = client.closed();
        assert!(
            all.starts_with(&answer[..12]) && all.contains(expected),
            "{all}"
        );
        assert!(
            all.to_ascii_lowercase().contains("connection: close"),
            "{all}"
        );
        assert!(!String::from_utf8_lossy(&rest(&mut agent.stream)).contains("hidden"));
    }
}

#[test]
fn a_101_for_another_request_is_a_502() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    for answer in [
        ACCEPT.replace("s3pP", "s4pP"),
        ACCEPT.replace("upgrade: websocket", "upgrade: foo"),
        ACCEPT.replace("connection: Upgrade\r\n", ""),
    ] {
        let mut client = Client::connect(&weir.address);
        client.send(ASK);
        let mut agent = upstream.accept();
        agent.send(answer);
        let all = client.closed();
        assert!(
            all.starts_with("HTTP/1.1 502 ") && all.contains("upstream_error"),
            "{all}"
        );
        agent.closed();
    }
}

#[test]
fn what_is_no_websocket_reaches_nobody() {
    let upstream = Upstream::start();
    for (route, ask, status) in [
        ("websocket: off", ASK.to_owned(), 501),
        (
            "websocket: tunnel",
            ASK.replace("websocket\r\n", "websocket, foo\r\n"),
            501,
        ),
        (
            "websocket: tunnel",
            ASK.replace("upgrade: websocket", "upgrade: foo"),
            501,
        ),
        (
            "websocket: tunnel",
            ASK.replace("sec-websocket-key", "x-key"),
            400,
        ),
        (
            "websocket: tunnel",
            ASK.replace("connection: Upgrade\r\n", ""),
            400,
        ),
        ("websocket: tunnel", ASK.replace("GET ", "PUT "), 400),
        (
            "websocket: tunnel",
            ASK.replace("origin:", "content-length: 5\r\norigin:"),
            400,
        ),
    ] {
        let weir = Weir::start(&with(route), upstream.address());
        let mut client = Client::connect(&weir.address);
        client.send(format!(
            "{ask}raw\0\x01GET /hidden HTTP/1.1\r\nhost: h\r\n\r\n"
        ));
        let all = client.until("\"code\"");
        assert!(
            all.starts_with(&format!("HTTP/1.1 {status} ")),
            "{ask}: {all}"
        );
        assert_eq!(weir.count("weir_upstream_connections"), 0, "{ask}");
    }
}

#[test]
fn an_upgrade_that_expects_a_100_is_answered_with_101_alone() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let expecting = |what: &str| ASK.replacen("origin:", &format!("expect: {what}\r\norigin:"), 1);
    // As in any other request, no other expectation is met.
    let mut client = Client::connect(&weir.address);
    client.send(expecting("200-ok"));
    let all = client.until("expectation_failed");
    assert!(all.starts_with("HTTP/1.1 417 "), "{all}");
    assert_eq!(weir.count("weir_upstream_connections"), 0);
    // There is no body that could wait for a 100 (RFC 9110, 10.1.1), and one of the agent stays with Weir.
    let mut client = Client::connect(&weir.address);
    client.send(expecting("100-continue"));
    let mut agent = upstream.accept();
    let told = format!("HTTP/1.1 100 Continue\r\n\r\n{ACCEPT}");
    agent.send([told.as_bytes(), &frame(false, 0x81, b"hello")].concat());
    let all = client.until("hello");
    assert!(all.starts_with("HTTP/1.1 101 "), "{all}");
    assert!(!all.contains("HTTP/1.1 100"), "{all}");

    // On a bridge, the expectation is not one of its runs either.
    let weir = Weir::start(&with("websocket: bridge"), upstream.address());
    let mut bridge = Bridge::open_with(&weir, "expect: 100-continue\r\n");
    bridge.say("{\"type\":\"message\",\"id\":\"q\",\"body\":{}}");
    let asked = upstream.accept().request.to_ascii_lowercase();
    assert!(asked.starts_with("post /chat?a=b "), "{asked}");
    assert!(!asked.contains("\r\nexpect:"), "{asked}");
}

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

/// Accepts a WebSocket whose key is not that of [`ASK`].
fn accept(agent: &mut Accepted) {
    let key = agent
        .request
        .lines()
        .find_map(|line| line.strip_prefix("sec-websocket-key: "));
    let text = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.unwrap());
    let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let accept = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, hash);
    agent.send(ACCEPT.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &accept));
}

/// An extended CONNECT (RFC 8441).
fn connect() -> Request<()> {
    let request = Request::builder().method("CONNECT").uri("http://h/ws");
    let mut request = request
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "a, b")
        .body(())
        .unwrap();
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    request
}

#[tokio::test]
async fn streams_that_are_resumed_are_no_websockets() {
    const PATH: &str = "/.weir/streams/3f9c2a7e5b1d4c608e0f7a6b5c4d3e2f";
    let yaml = with("resume: {}");
    let weir = Weir::start(&yaml, Upstream::start().address());
    let mut client = Client::connect(&weir.address);
    client.send(ASK.replace("/ws?a=b", PATH));
    let refused = client.until("upgrade_not_supported");
    assert!(refused.starts_with("HTTP/1.1 501 "), "{refused}");
    let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(socket).await.unwrap();
    let talk = async {
        let mut sender = sender.ready().await.unwrap();
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let mut request = connect();
        *request.uri_mut() = format!("http://h{PATH}").parse().unwrap();
        let (response, _to) = sender.send_request(request, false).unwrap();
        assert_eq!(
            response.await.unwrap().status(),
            StatusCode::NOT_IMPLEMENTED
        );
    };
    tokio::select! {
        () = talk => {}
        ended = &mut connection => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn an_http2_client_that_resets_its_stream_has_left_whatever_the_agent_does() {
    for ends_first in [false, true] {
        let upstream = Upstream::start();
        let weir = Weir::start(PLAIN, upstream.address());
        let agent = thread::spawn(move || {
            let mut agent = upstream.accept();
            accept(&mut agent);
            if ends_first {
                agent.stream.set_read_timeout(Some(PATIENCE)).unwrap();
                assert_eq!(rest(&mut agent.stream), b"");
            }
            // It does not close its side.
            agent
        });
        let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
        let (sender, mut connection) = h2::client::handshake(socket).await.unwrap();
        let talk = async {
            let mut sender = sender.ready().await.unwrap();
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            let (response, mut to) = sender.send_request(connect(), false).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            if ends_first {
                to.send_data(bytes::Bytes::new(), true).unwrap();
            }
            let agent = tokio::task::spawn_blocking(|| agent.join().unwrap());
            let _agent = agent.await.unwrap();
            to.send_reset(h2::Reason::CANCEL);
            // The process stays until the connection is not looked at any more.
            let ended = tokio::task::spawn_blocking(move || (weir.ended(), weir));
            ended.await.unwrap()
        };
        let (line, _weir) = tokio::select! {
            ended = talk => ended,
            ended = &mut connection => panic!("{ended:?}"),
        };
        assert_eq!(line["outcome"], "client_gone", "{line}");
        let took = line["duration_ms"].as_f64().unwrap();
        assert!(took < 10_000.0, "{line}");
    }
}

#[tokio::test]
async fn an_http2_client_gets_the_same_websocket() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let agent = thread::spawn(move || {
        let mut agent = upstream.accept();
        let asked = agent.request.to_ascii_lowercase();
        assert!(asked.starts_with("get /ws http/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nupgrade: websocket\r\n"), "{asked}");
        accept(&mut agent);
        let hello = frame(true, 0x81, b"hello");
        assert_eq!(read(&mut agent.stream, hello.len()), hello);
        agent.send(frame(false, 0x82, &noise(300_000)));
        agent.send(closing(false, 1000, ""));
        assert_eq!(rest(&mut agent.stream), closing(true, 1000, ""));
    });
    let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(socket).await.unwrap();
    let talk = async {
        let mut sender = sender.ready().await.unwrap();
        // The connection reads the server's settings meanwhile.
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let (response, mut to) = sender.send_request(connect(), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["sec-websocket-protocol"], "b");
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let mut from = response.into_body();
        to.send_data(frame(true, 0x81, b"hello").into(), false)
            .unwrap();
        let expected = [
            frame(false, 0x82, &noise(300_000)),
            closing(false, 1000, ""),
        ]
        .concat();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let data = from.data().await.unwrap().unwrap();
            from.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        assert!(got == expected);
        to.send_data(closing(true, 1000, "").into(), true).unwrap();
        // The end of the stream, which may be a frame of its own.
        while let Some(data) = from.data().await {
            assert_eq!(data.unwrap(), "");
        }
    };
    tokio::select! {
        () = talk => {}
        ended = &mut connection => panic!("{ended:?}"),
    }
    agent.join().unwrap();
    let line = weir.ended();
    assert_eq!(
        (&line["outcome"], &line["status"]),
        (&"finished".into(), &200.into())
    );
}

#[tokio::test]
async fn an_http2_client_is_told_only_of_a_websocket_that_was_accepted() {
    // To an HTTP/2 client, each success accepts its WebSocket.
    const ANSWERS: [(&str, StatusCode); 3] = [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            StatusCode::BAD_GATEWAY,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {}\n\n",
            StatusCode::BAD_GATEWAY,
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            StatusCode::FORBIDDEN,
        ),
    ];
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let agent = thread::spawn(move || {
        for (answer, _) in ANSWERS {
            upstream.accept().send(answer);
        }
    });
    let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
    let (mut sender, mut connection) = h2::client::handshake(socket).await.unwrap();
    let talk = async {
        for (answer, status) in ANSWERS {
            sender = sender.ready().await.unwrap();
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await;
            }
            let request = Request::builder().method("CONNECT").uri("http://h/ws");
            let mut request = request.body(()).unwrap();
            let protocol = h2::ext::Protocol::from_static("websocket");
            request.extensions_mut().insert(protocol);
            let (response, _to) = sender.send_request(request, false).unwrap();
            assert_eq!(response.await.unwrap().status(), status, "{answer}");
        }
    };
    tokio::select! {
        () = talk => {}
        ended = &mut connection => panic!("{ended:?}"),
    }
    agent.join().unwrap();
}

#[test]
fn unix_sockets_carry_websockets_as_well() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let yaml = format!(
        "upstreams: {{ agent: {{ endpoints: [\"unix:{}\"] }} }}",
        path.display()
    );
    let weir = Weir::start(&yaml, Upstream::start().address());
    let agent = thread::spawn(move || {
        let (mut agent, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            agent.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        agent.write_all(ACCEPT.as_bytes()).unwrap();
        let mut echo = [0; 11];
        agent.read_exact(&mut echo).unwrap();
        agent.write_all(&frame(false, 0x81, &echo[6..])).unwrap();
        let _ = agent.read_to_end(&mut Vec::new());
    });
    let mut client = Client::connect(&weir.address);
    client.send(ASK);
    client.until("\r\n\r\n");
    client.send(frame(true, 0x81, b"hello"));
    client.until("hello");
    drop(client);
    agent.join().unwrap();
    assert_eq!(weir.ended()["outcome"], "client_gone");
}
