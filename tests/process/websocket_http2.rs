//! WebSockets of HTTP/2 clients (RFC 8441) through the real process.

use std::thread;

use http::{Request, StatusCode};

use crate::support::{Accepted, Client, PATIENCE, Upstream, Weir};
use crate::websocket_peer::{ACCEPT, ASK, PLAIN, closing, frame, noise, read, rest, with};

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
