//! A raw client of a bridge: every frame is written and read here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Accepted, Client, PATIENCE, Upstream, Weir, token};

pub(crate) const SSE: &str = "text/event-stream";
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
const DONE: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// The example of RFC 6455, 1.3, with further fields.
pub(crate) fn upgrade(fields: &str) -> String {
    format!(
        "GET /chat?a=b HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// A frame as a client sends it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    bytes
}

/// An open bridge.
pub(crate) struct Bridge {
    pub(crate) stream: TcpStream,
    /// The head of the response.
    pub(crate) head: String,
}

impl Bridge {
    pub(crate) fn open(weir: &Weir) -> Self {
        Self::open_with(weir, "")
    }

    /// Opens a bridge with further fields in the request.
    pub(crate) fn open_with(weir: &Weir, fields: &str) -> Self {
        let mut client = Client::connect(&weir.address);
        client.send(upgrade(fields));
        let mut stream = client.stream;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { stream, head }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.send(frame(TEXT, text.as_bytes()));
    }

    /// Reads the next frame: its first byte and its payload.
    pub(crate) fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let mut more = [0; 8];
        let length = match head[1] {
            126 => {
                self.stream.read_exact(&mut more[6..]).unwrap();
                u64::from_be_bytes(more)
            }
            127 => {
                self.stream.read_exact(&mut more).unwrap();
                u64::from_be_bytes(more)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    /// Reads the next message, past pings.
    pub(crate) fn hear(&mut self) -> Value {
        let mut whole = Vec::new();
        loop {
            let (first, payload) = self.next();
            match first {
                PING | PONG => {}
                TEXT | 0x01 | 0x00 | 0x80 => {
                    whole.extend(payload);
                    if first & 0x80 != 0 {
                        return serde_json::from_slice(&whole).unwrap();
                    }
                }
                other => panic!("{other:#x} {:?}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    /// Reads messages until one has this type, and returns it.
    pub(crate) fn hear_type(&mut self, kind: &str) -> Value {
        loop {
            let event = self.hear();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Reads the close frame, past messages and pings: its code and its reason.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.next();
            if first == CLOSE {
                let code = payload
                    .get(..2)
                    .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                let reason = payload.get(2..).unwrap_or_default();
                return (code, String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }
}

/// Starts Weir with one bridged route. `keys` are further keys of the section, `route` of the route.
pub(crate) fn bridged(upstream: &Upstream, keys: &str, route: &str) -> Weir {
    let yaml = format!(
        "upstreams: {{ agent: {{ endpoints: [\"$UPSTREAM\"], pool_idle: 0s }} }}\n\
        drain: {{ delay: 0s, limit: 20s }}\n\
        routes: [ {{ name: chat, upstream: agent, websocket: {{ mode: bridge, {keys} }}, {route} }} ]\n"
    );
    Weir::start(&yaml, upstream.address())
}

/// Begins a run, and answers it with the head of a stream. Returns the agent's side and the first event.
pub(crate) fn begin(bridge: &mut Bridge, upstream: &Upstream, id: &str) -> (Accepted, Value) {
    bridge.say(&json!({"type": "message", "id": id, "body": {"stream": true}}).to_string());
    let mut agent = upstream.accept();
    agent.head(SSE);
    agent.chunk(token("Hello"));
    let start = bridge.hear_type("start");
    assert_eq!(start["request"], id);
    (agent, start)
}

pub(crate) fn finish(agent: &mut Accepted) {
    agent.chunk(DONE);
    agent.end();
}
