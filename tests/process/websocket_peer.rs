//! Both ends of a WebSocket on raw sockets: heads, frames, and what is read.

use std::io::Read as _;
use std::net::TcpStream;

use crate::support::{Accepted, Client, PATIENCE, Upstream, Weir};

pub(crate) const PLAIN: &str =
    "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }\ndrain: { delay: 0s, limit: 20s }\n";
/// The example of RFC 6455, 1.3.
pub(crate) const ASK: &str = "GET /ws?a=b HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: websocket\r\norigin: https://page.test\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: a, b\r\n\r\n";
pub(crate) const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: b\r\n\r\n";

pub(crate) fn with(route: &str) -> String {
    format!("{PLAIN}routes: [ {{ name: ws, upstream: agent, {route} }} ]")
}

/// A frame as a server sends it, or masked as a client does.
pub(crate) fn frame(masked: bool, first: u8, payload: &[u8]) -> Vec<u8> {
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

pub(crate) fn closing(masked: bool, code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    frame(masked, 0x88, &payload)
}

/// An open WebSocket: what the client has of it, and what the agent has.
pub(crate) fn open(weir: &Weir, upstream: &Upstream) -> (TcpStream, Accepted) {
    let mut client = Client::connect(&weir.address);
    client.send(ASK);
    let mut agent = upstream.accept();
    agent.send(ACCEPT);
    agent.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = client.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (client.stream, agent)
}

pub(crate) fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads to the end, which may be a reset.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Bytes without a pattern that a mistake could keep.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}
