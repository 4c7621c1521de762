//! Bridges over HTTP/2 (RFC 8441): several sockets share one connection, and each ends by itself.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, StatusCode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use crate::bridge_client::{CLOSE, PING, PONG, TEXT, frame};
use crate::support::{PATIENCE, Upstream, Weir, token};

const YAML: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"], pool_idle: 0s } }\n\
    routes: [ { name: chat, upstream: agent, websocket: bridge } ]\n";

/// One socket.
struct Socket {
    to: SendStream<Bytes>,
    from: RecvStream,
    /// What has come, up to the next frame that is not whole.
    seen: Vec<u8>,
}

/// Asks for a WebSocket. Returns the status, and the socket that it may be.
async fn ask(sender: &SendRequest<Bytes>, origin: Option<&str>) -> (StatusCode, Socket) {
    let mut sender = sender.clone().ready().await.unwrap();
    // The connection reads the server's settings meanwhile.
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let request = Request::builder().method("CONNECT").uri("http://h/chat");
    let mut request = request
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "weir.v1");
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    let mut request = request.body(()).unwrap();
    let protocol = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(protocol);
    let (response, to) = sender.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    let status = response.status();
    if status == StatusCode::OK {
        let headers = response.headers();
        assert_eq!(headers["sec-websocket-protocol"], "weir.v1");
        assert!(headers.contains_key("weir-stream-id"), "{headers:?}");
        assert!(!headers.contains_key("sec-websocket-accept"), "{headers:?}");
    }
    let socket = Socket {
        to,
        from: response.into_body(),
        seen: Vec::new(),
    };
    (status, socket)
}

impl Socket {
    fn say(&mut self, text: &str) {
        let frame = frame(TEXT, text.as_bytes());
        self.to.send_data(frame.into(), false).unwrap();
    }

    /// Reads the next frame: its first byte and its payload.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let head = match self.seen.get(1) {
                Some(126) => 4,
                Some(127) => 10,
                _ => 2,
            };
            if self.seen.len() >= head {
                let length = match &self.seen[1..head] {
                    [short] => u64::from(*short),
                    [_, long @ ..] => long
                        .iter()
                        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
                    [] => 0,
                };
                let end = head + usize::try_from(length).unwrap();
                if self.seen.len() >= end {
                    let frame: Vec<u8> = self.seen.drain(..end).collect();
                    return (frame[0], frame[head..].to_vec());
                }
            }
            let data = self.from.data().await.unwrap().unwrap();
            let flow = self.from.flow_control();
            flow.release_capacity(data.len()).unwrap();
            self.seen.extend_from_slice(&data);
        }
    }

    /// Reads the next message, past pings.
    async fn hear(&mut self) -> Value {
        loop {
            match self.next().await {
                (PING | PONG, _) => {}
                (TEXT, payload) => return serde_json::from_slice(&payload).unwrap(),
                (other, payload) => panic!("{other:#x} {:?}", String::from_utf8_lossy(&payload)),
            }
        }
    }
}

#[tokio::test]
async fn sockets_share_a_connection_and_each_ends_by_itself() {
    let (gone, left) = std::sync::mpsc::channel();
    let agent = Upstream::start().serve(move |mut agent| {
        agent.head("text/event-stream");
        agent.chunk(token("Hello"));
        if agent.request.ends_with("{\"wait\":true}") {
            agent.closed();
            gone.send(()).unwrap();
        } else {
            agent.chunk("data: [DONE]\n\n");
            agent.end();
        }
    });
    let weir = Weir::start(YAML, agent);
    let socket = TcpStream::connect(&weir.address).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(socket).await.unwrap();
    let talk = async {
        let (status, mut first) = ask(&sender, None).await;
        assert_eq!(status, StatusCode::OK);
        let (status, mut second) = ask(&sender, None).await;
        assert_eq!(status, StatusCode::OK);
        second.say("{\"type\":\"message\",\"id\":\"b\",\"body\":{\"wait\":true}}");
        assert_eq!(second.hear().await["request"], "b");
        first.say("{\"type\":\"message\",\"id\":\"a\",\"body\":{\"n\":1}}");
        let mut text = String::new();
        loop {
            let event = first.hear().await;
            match event["type"].as_str().unwrap() {
                "start" => assert_eq!(event["request"], "a"),
                "token" => text.push_str(event["text"].as_str().unwrap()),
                "finish" if event["scope"] == "run" => break,
                _ => {}
            }
        }
        assert_eq!(text, "Hello");
        // One client of the connection leaves, and with it its run.
        second.to.send_reset(Reason::CANCEL);
        let left = spawn_blocking(move || left.recv_timeout(PATIENCE));
        left.await.unwrap().unwrap();
        first.say("{\"type\":\"ping\"}");
        assert_eq!(first.hear().await["type"], "pong");
        let close = frame(CLOSE, &1000_u16.to_be_bytes());
        first.to.send_data(close.into(), true).unwrap();
        assert_eq!(first.next().await, (CLOSE, vec![3, 232]));
        while let Some(data) = first.from.data().await {
            assert_eq!(data.unwrap(), "");
        }
        let (status, _) = ask(&sender, Some("https://elsewhere.test")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    };
    tokio::select! {
        () = talk => {}
        ended = &mut connection => panic!("{ended:?}"),
    }
    for outcome in ["client_gone", "finished"] {
        let line = weir.log_line(|line| line["transport"] == "websocket");
        assert_eq!(line["outcome"], outcome, "{line}");
    }
}
