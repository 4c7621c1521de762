//! WebSockets through the real process: raw sockets on both sides, so that every byte counts.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::bridge_client::Bridge;
use crate::support::{Client, PATIENCE, Upstream, Weir};
use crate::websocket_peer::{ACCEPT, ASK, PLAIN, closing, frame, noise, read, rest, with};

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
