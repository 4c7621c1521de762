//! Calls that continue although their client has left (MCP): they are counted, limited, and end by their deadlines.
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::support::{Accepted, Client, Upstream, Weir, eventually, get};

const DETACHED: &str = "weir_detached_calls";
const ACTIVE: &str = "weir_requests_active";
const CANCELLED: &str =
    "weir_upstream_cancellations_total{reason=\"client_gone\",route=\"default\"}";

fn with(limits: &str, more: &str) -> String {
    format!(
        "upstreams: {{ agent: {{ endpoints: [\"$UPSTREAM\"] }} }}\nlimits: {{ {limits} }}\n{more}"
    )
}

fn is(weir: &Weir, series: &str, value: usize) {
    eventually(&format!("{series} {value}"), || weir.count(series) == value);
}

/// Connects from `source`, and makes an MCP call.
fn call_from(source: &str, weir: &Weir) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: SocketAddr = source.parse().unwrap();
    let address: SocketAddr = weir.address.parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = Client::over(socket.into());
    let body = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{}}";
    client.send(format!(
        "POST /mcp HTTP/1.1\r\nhost: h\r\nmcp-protocol-version: 2025-11-25\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    client
}

fn call(weir: &Weir) -> Client {
    call_from("127.0.0.1:0", weir)
}

/// Makes a call whose client leaves, before the head of the response or within its stream.
fn leave(weir: &Weir, upstream: &Upstream, in_stream: bool) -> Accepted {
    let mut client = call(weir);
    let mut agent = upstream.accept();
    if in_stream {
        agent.head("text/event-stream");
        agent.chunk("id: s_0\ndata:\n\n");
        client.until("s_0");
    }
    agent
}

#[test]
fn beyond_the_limit_leaving_cancels() {
    for in_stream in [false, true] {
        let upstream = Upstream::start();
        let weir = Weir::start(&with("max_detached: 1", ""), upstream.address());
        let mut first = leave(&weir, &upstream, in_stream);
        is(&weir, DETACHED, 1);
        is(&weir, ACTIVE, 1);
        leave(&weir, &upstream, in_stream).closed();
        is(&weir, ACTIVE, 1);
        is(&weir, DETACHED, 1);
        // The first call goes on, and is not counted as cancelled.
        is(&weir, CANCELLED, 1);
        if in_stream {
            assert!(get(&weir.admin, "/streams").contains("\"state\":\"detached\""));
            first.chunk("id: s_1\ndata: {}\n\n");
            first.end();
        } else {
            first.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
        }
        is(&weir, DETACHED, 0);
        is(&weir, ACTIVE, 0);
        is(&weir, CANCELLED, 1);
        // There is room again, on another connection.
        drop(first);
        let _agent = leave(&weir, &upstream, in_stream);
        is(&weir, DETACHED, 1);
    }
}

#[test]
fn one_address_does_not_take_all_of_the_limit() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("max_detached: 2", ""), upstream.address());
    let mut kept = vec![leave(&weir, &upstream, false)];
    is(&weir, DETACHED, 1);
    leave(&weir, &upstream, false).closed();
    let other = call_from("127.0.0.2:0", &weir);
    kept.push(upstream.accept());
    drop(other);
    is(&weir, DETACHED, 2);
}

#[test]
fn none_may_continue_if_so_configured() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("max_detached: 0", ""), upstream.address());
    leave(&weir, &upstream, false).closed();
    leave(&weir, &upstream, true).closed();
    is(&weir, CANCELLED, 2);
}

#[test]
fn calls_without_a_client_count_as_requests() {
    for in_stream in [false, true] {
        let upstream = Upstream::start();
        let weir = Weir::start(&with("max_requests: 1", ""), upstream.address());
        let agent = leave(&weir, &upstream, in_stream);
        is(&weir, DETACHED, 1);
        let mut other = Client::post(&weir.address, "/v1/x");
        let refusal = other.until("ask again");
        assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
        drop(agent);
        is(&weir, ACTIVE, 0);
        other.send("GET /again HTTP/1.1\r\nhost: h\r\n\r\n");
        assert!(upstream.accept().request.starts_with("GET /again"));
    }
}

#[test]
fn deadlines_end_calls_without_a_client() {
    const PARTIAL: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for (deadlines, in_stream, answer) in [
        ("head: 300ms", false, ""),
        ("total: 500ms", false, ""),
        ("idle: 300ms", false, PARTIAL),
        ("total: 500ms", true, ""),
        ("idle: 300ms", true, ""),
    ] {
        let upstream = Upstream::start();
        let defaults = format!("defaults: {{ deadlines: {{ {deadlines} }} }}");
        let weir = Weir::start(&with("max_detached: 5", &defaults), upstream.address());
        let mut agent = leave(&weir, &upstream, in_stream);
        is(&weir, DETACHED, 1);
        agent.send(answer);
        agent.closed();
        is(&weir, DETACHED, 0);
        is(&weir, ACTIVE, 0);
    }
}

#[test]
fn a_drain_ends_calls_without_a_client() {
    for in_stream in [false, true] {
        let upstream = Upstream::start();
        let drain = "drain: { delay: 0s, limit: 500ms }";
        let weir = Weir::start(&with("max_detached: 5", drain), upstream.address());
        let agent = leave(&weir, &upstream, in_stream);
        is(&weir, DETACHED, 1);
        weir.signal("TERM");
        agent.closed();
        assert_eq!(weir.exit_code(), Some(0));
    }
}
