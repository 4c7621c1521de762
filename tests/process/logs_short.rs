//! The log lines of requests that get little or nothing in answer.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::{Accepted, Client, Upstream, Weir};

const YAML: &str = "workers: 1
upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }
routes: [{ name: chat, upstream: agent, match: { path_prefix: /v1 } }]
";

/// A Weir in front of an agent that never answers.
fn weir() -> Weir {
    let agent = Upstream::start().serve(|agent: Accepted| agent.closed());
    Weir::start(YAML, agent)
}

/// Starts a Weir, sends it forty requests whose clients leave at once, and checks that each has a line.
fn each_has_a_line(request: impl Fn(&str) -> Vec<u8>) {
    let weir = weir();
    // Whether the head and the end of the connection arrive in one read is a matter of chance.
    let mut missing: Vec<String> = (0..40).map(|index| format!("gone-{index}")).collect();
    for id in &missing {
        let mut client = TcpStream::connect(&weir.address).unwrap();
        client.write_all(&request(id)).unwrap();
    }
    while !missing.is_empty() {
        let line = weir.log_line(|line| line["message"] == "client left before an answer");
        let before = missing.len();
        missing.retain(|id| line["request_id"] != id.as_str());
        assert_eq!(missing.len() + 1, before, "one line each: {line}");
        assert_eq!(
            (&line["outcome"], &line["method"], &line["path"]),
            (&"client_gone".into(), &"GET".into(), &"/v1/silent".into())
        );
    }
}

#[test]
fn clients_that_leave_at_once_have_a_line_each() {
    each_has_a_line(|id| {
        format!("GET /v1/silent HTTP/1.1\r\nhost: h\r\nx-request-id: {id}\r\n\r\n").into_bytes()
    });
}

#[test]
fn http2_clients_that_leave_at_once_have_a_line_each() {
    each_has_a_line(|id| {
        // HPACK: `:method: GET` and `:scheme: http` by their numbers, then texts with their lengths.
        let mut head = vec![0x82, 0x86];
        let text = |text: &str| {
            let size = [u8::try_from(text.len()).unwrap()];
            [&size[..], text.as_bytes()].concat()
        };
        for (name, value) in [(4, "/v1/silent"), (1, "h")] {
            head.push(name);
            head.extend(text(value));
        }
        head.push(0);
        head.extend(text("x-request-id"));
        head.extend(text(id));
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS, and HEADERS that end the request (RFC 9113, 6).
        sent.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        sent.extend([0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
        sent.extend(head);
        sent
    });
}

#[test]
fn a_refused_head_request_has_sent_no_body() {
    let weir = weir();
    let mut client = Client::connect(&weir.address);
    client.send("HEAD /elsewhere HTTP/1.1\r\nhost: h\r\nx-request-id: head\r\n\r\n");
    client.until("\r\n\r\n");
    let line = weir.log_line(|line| line["request_id"] == "head");
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&404.into(), &0.into())
    );
}

#[test]
fn what_is_not_http_behind_a_request_has_its_status() {
    let weir = weir();
    let mut client = Client::connect(&weir.address);
    client.send("GET /elsewhere HTTP/1.1\r\nhost: h\r\n\r\nnonsense\r\n\r\n");
    client.until("HTTP/1.1 400 ");
    let line = weir.log_line(|line| line["code"] == "malformed");
    assert_eq!(line["status"], 400, "{line}");
}
