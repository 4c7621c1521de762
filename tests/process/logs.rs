//! The log of requests: each has one line, and its id is in its answer.

use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr, TcpListener};

use serde_json::Value;

use crate::bridge_client::{Bridge, CLOSE};
use crate::support::{Accepted, Client, Upstream, Weir, token};

const DONE: &str = "data: [DONE]\n\n";

/// Two routes and a half: `bridge` is for WebSockets with Weir, and the agent of `dead` is not there.
fn yaml(log: &str) -> String {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let dead = dead.unwrap();
    format!(
        "workers: 1
log: {{ {log} }}
limits: {{ request_head: 1s }}
upstreams:
  agent: {{ endpoints: [\"$UPSTREAM\"] }}
  dead: {{ endpoints: [\"http://{dead}\"] }}
routes:
  - {{ name: chat, upstream: agent, match: {{ path_prefix: /v1 }}, resume: {{}}, on_disconnect: continue }}
  - {{ name: bridge, upstream: agent, match: {{ path_prefix: /chat }}, websocket: bridge }}
  - {{ name: dead, upstream: dead, match: {{ path_prefix: /dead }} }}
"
    )
}

/// An agent whose answer depends on the path.
pub(crate) fn agent() -> SocketAddr {
    Upstream::start().serve(|mut agent: Accepted| {
        let path = agent.request.split(' ').nth(1).unwrap_or("").to_owned();
        match &*path {
            "/v1/named" => agent
                .send("HTTP/1.1 200 OK\r\nx-request-id: req_1\r\ncontent-length: 5\r\n\r\nplain"),
            "/v1/named/stream" => {
                agent.send(
                    "HTTP/1.1 200 OK\r\nx-request-id: req_2\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n",
                );
                agent.chunk(token("Hello"));
                agent.chunk(DONE);
                agent.end();
            }
            "/v1/plain" => agent.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain"),
            "/v1/none" => agent.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            "/v1/broken" => {
                agent.send("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhalf");
                agent.stream.shutdown(Shutdown::Both).unwrap();
            }
            "/v1/silent" => {
                agent.send("HTTP/1.1 103 Early Hints\r\nx-hint: 1\r\n\r\n");
                agent.closed();
            }
            "/v1/endless" => {
                agent.send("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhalf");
                agent.closed();
            }
            _ => {
                agent.head("text/event-stream");
                agent.chunk(token("Hello"));
                agent.chunk(DONE);
                agent.end();
            }
        }
    })
}

fn ask(weir: &Weir, method: &str, path: &str, id: &str) -> Client {
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: h\r\nx-request-id: {id}\r\ncontent-length: 2\r\n\r\n{{}}"
    ));
    client
}

/// Returns the lines of requests up to the one with this id.
fn lines_until(weir: &Weir, id: &str) -> Vec<Value> {
    let seen = RefCell::new(Vec::new());
    weir.log_line(|line| {
        if line["target"] == "weir::access" {
            seen.borrow_mut().push(line.clone());
        }
        line["request_id"] == id
    });
    seen.into_inner()
}

/// Asks for the whole of `path`, checks that the answer has the id, and returns the log line.
fn line_of(weir: &Weir, method: &str, path: &str, until: &str) -> Value {
    let id = format!("id-{}", path.replace('/', "-"));
    let mut client = ask(weir, method, path, &id);
    let all = client.until(until).to_ascii_lowercase();
    assert!(all.contains(&format!("x-request-id: {id}\r\n")), "{all}");
    weir.log_line(|line| line["request_id"] == id.as_str())
}

#[test]
fn each_kind_of_answer_has_its_line_and_its_id() {
    let weir = Weir::start(&yaml("access: all"), agent());
    let plain = line_of(&weir, "GET", "/v1/plain", "plain");
    for (key, value) in [
        ("message", "request ended"),
        ("outcome", "finished"),
        ("route", "chat"),
        ("method", "GET"),
        ("path", "/v1/plain"),
        ("client", "127.0.0.1"),
        ("level", "INFO"),
        ("target", "weir::access"),
    ] {
        assert_eq!(plain[key], value, "{plain}");
    }
    assert_eq!(
        (&plain["status"], &plain["bytes_out"]),
        (&200.into(), &5.into())
    );
    assert!(plain["duration_ms"].as_f64().unwrap() > 0.0, "{plain}");

    let none = line_of(&weir, "GET", "/v1/none", "\r\n\r\n");
    assert_eq!(
        (&none["status"], &none["outcome"]),
        (&404.into(), &"finished".into())
    );
    let broken = line_of(&weir, "GET", "/v1/broken", "half");
    let outcome = broken["outcome"].as_str().unwrap();
    assert!(
        ["truncated", "upstream_reset"].contains(&outcome),
        "{broken}"
    );
    assert_eq!(
        (&broken["level"], &broken["bytes_out"]),
        (&"WARN".into(), &4.into())
    );

    let stream = line_of(&weir, "POST", "/v1/chat/completions", "[DONE]");
    assert_eq!(
        (&stream["message"], &stream["outcome"]),
        (&"stream ended".into(), &"finished".into())
    );

    let refused = line_of(&weir, "GET", "/elsewhere", "not_found");
    assert_eq!(
        (&refused["message"], &refused["code"]),
        (&"request refused".into(), &"not_found".into())
    );
    assert_eq!(
        (&refused["status"], &refused["outcome"]),
        (&404.into(), &"refused".into())
    );
    let failed = line_of(&weir, "GET", "/dead", "upstream_connect");
    assert_eq!(
        (&failed["status"], &failed["outcome"]),
        (&502.into(), &"failed".into())
    );
    assert_eq!(
        (&failed["code"], &failed["route"]),
        (&"upstream_connect".into(), &"dead".into())
    );
    assert!(failed["cause"].is_string(), "{failed}");
    let unknown = line_of(
        &weir,
        "GET",
        "/.weir/streams/00000000000000000000000000000000",
        "\r\n\r\n",
    );
    assert_eq!(unknown["message"], "request refused", "{unknown}");
    assert!(
        unknown["code"].is_string() && unknown["status"].is_u64(),
        "{unknown}"
    );
}

#[test]
fn a_request_has_one_line_whatever_becomes_of_it() {
    let weir = Weir::start(&yaml("access: all"), agent());
    let paths = [
        "/v1/plain",
        "/v1/none",
        "/v1/broken",
        "/v1/chat/completions",
        "/elsewhere",
        "/dead",
    ];
    for (index, path) in paths.into_iter().enumerate() {
        ask(&weir, "GET", path, &format!("r{index}")).until("\r\n\r\n");
    }
    // Two that leave: before an answer, and within it.
    let mut silent = ask(&weir, "GET", "/v1/silent", "silent");
    silent.until("x-hint");
    drop(silent);
    let mut endless = ask(&weir, "GET", "/v1/endless", "endless");
    endless.until("half");
    drop(endless);
    let mut missing: Vec<String> = (0..paths.len()).map(|index| format!("r{index}")).collect();
    missing.extend(["silent".to_owned(), "endless".to_owned()]);
    let mut seen: Vec<Value> = Vec::new();
    while !missing.is_empty() {
        let line = weir.log_line(|line| line["target"] == "weir::access");
        missing.retain(|id| line["request_id"] != id.as_str());
        seen.push(line);
    }
    ask(&weir, "GET", "/v1/plain", "last").until("plain");
    seen.extend(lines_until(&weir, "last"));
    let mut ids: Vec<&str> = seen
        .iter()
        .map(|line| line["request_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{seen:#?}");
    let of = |id: &str| seen.iter().find(|line| line["request_id"] == id).unwrap();
    assert_eq!(of("silent")["message"], "client left before an answer");
    assert_eq!(of("endless")["outcome"], "client_gone");
    assert_eq!(of("endless")["bytes_out"], 4);
}

#[test]
fn what_never_became_a_request_has_an_id_and_a_line() {
    let weir = Weir::start(&yaml("access: errors"), agent());
    for (sent, status) in [
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(150)), 431),
        ("POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), 400),
        // Its head is not complete in time.
        ("GET / HTTP/1.1\r\n".to_owned(), 408),
    ] {
        let mut client = Client::connect(&weir.address);
        client.send(&sent);
        let answer = client.until("\r\n\r\n").to_ascii_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
        let (_, id) = answer.split_once("x-request-id: ").expect("an id");
        let id = id.split("\r\n").next().unwrap();
        let line = weir.log_line(|line| line["target"] == "weir::access");
        assert_eq!(line["request_id"], id, "{line}");
        assert_eq!(line["status"], status, "{line}");
        let code = if status == 408 { "request_head" } else { "malformed" };
        assert_eq!(line["code"], code, "{line}");
        assert_eq!(line["message"], "request refused");
    }
}

#[test]
fn the_id_in_an_answer_is_in_its_line_whoever_made_it() {
    let weir = Weir::start(&yaml("access: all"), agent());
    for (path, last, own) in [
        ("/v1/named", "plain", Some("req_1")),
        ("/v1/named/stream", "[DONE]", Some("req_2")),
        ("/v1/plain", "plain", None),
    ] {
        let mut client = ask(&weir, "GET", path, "mine");
        let answer = client.until(last).to_ascii_lowercase();
        let id = format!("x-request-id: {}\r\n", own.unwrap_or("mine"));
        assert!(answer.contains(&id), "{answer}");
        let line = weir.log_line(|line| line["target"] == "weir::access");
        assert_eq!(line["request_id"], "mine", "{line}");
        assert_eq!(line["upstream_request_id"].as_str(), own, "{line}");
    }
}

#[test]
fn a_connection_that_is_opened_in_advance_is_no_request() {
    let weir = Weir::start(&yaml("access: all"), agent());
    let silent = Client::connect(&weir.address);
    let mut http2 = Client::connect(&weir.address);
    http2.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert_eq!(silent.closed(), "");
    assert!(!http2.closed().contains("408"));
    let refused = "weir_requests_refused_total{reason=\"request_head\"}";
    assert_eq!(weir.count(refused), 0);
    let mut client = ask(&weir, "GET", "/v1/plain", "first");
    client.until("plain");
    let line = weir.log_line(|line| line["target"] == "weir::access");
    assert_eq!(line["path"], "/v1/plain", "{line}");
}

#[test]
fn websockets_and_clients_that_come_back_have_lines_of_their_own() {
    let weir = Weir::start(&yaml("access: streams"), agent());
    let mut client = ask(&weir, "POST", "/v1/chat/completions", "first");
    let all = client.until("[DONE]").to_ascii_lowercase();
    let (_, id) = all.split_once("weir-stream-id: ").unwrap();
    let id = id.split("\r\n").next().unwrap().to_owned();
    assert_eq!(lines_until(&weir, "first").len(), 1);
    let mut again = ask(&weir, "GET", &format!("/.weir/streams/{id}"), "again");
    again.until("[DONE]");
    let line = lines_until(&weir, "again").remove(0);
    assert_eq!(
        (&line["message"], &line["route"]),
        (&"viewer left".into(), &"chat".into())
    );

    let mut bridge = Bridge::open_with(&weir, "x-request-id: socket\r\n");
    assert!(
        bridge
            .head
            .to_ascii_lowercase()
            .contains("x-request-id: socket\r\n")
    );
    bridge.send(crate::bridge_client::frame(CLOSE, &1000_u16.to_be_bytes()));
    let line = lines_until(&weir, "socket").remove(0);
    assert_eq!(
        (&line["transport"], &line["route"]),
        (&"websocket".into(), &"bridge".into())
    );
}

#[test]
fn fewer_lines_are_written_on_request() {
    let (streams, errors) = (
        Weir::start(&yaml("access: streams"), agent()),
        Weir::start(&yaml("access: errors"), agent()),
    );
    for weir in [&streams, &errors] {
        ask(weir, "GET", "/v1/plain", "plain").until("plain");
        ask(weir, "POST", "/v1/chat/completions", "stream").rest();
        weir.metric_until(
            "weir_streams_total{outcome=\"finished\",route=\"chat\"}",
            |count| count == 1.0,
        );
        ask(weir, "GET", "/elsewhere", "refused").until("not_found");
    }
    let ids = |weir: &Weir| -> Vec<String> {
        let lines = lines_until(weir, "refused");
        lines
            .iter()
            .map(|line| line["request_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&streams), ["stream", "refused"]);
    assert_eq!(ids(&errors), ["refused"]);
}
