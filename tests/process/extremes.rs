//! The largest numbers that an upstream, a client or the configuration can state. Arithmetic is checked in release
//! builds, too, so none of them may overflow.
use http::{Request, StatusCode};

use crate::support::{Client, Upstream, Weir};

const MOST: u64 = u64::MAX;

/// Every key at its largest, or at its smallest where that is closer to an edge.
const EDGES: &str = "
workers: 1
drain: { delay: 0s, limit: 1d }
limits: { max_connections: 1000000, max_streams: 1000000, max_header_bytes: 1MiB, max_headers: 1000, request_head: 1h,
          request_body: 1h, keep_alive: 1d, memory: 1024GiB }
upstreams:
  agent: { endpoints: [\"$UPSTREAM\"], pool_idle: 1h, connect_budget: 10m, eject: { failures: 1000, for: 1h },
           health: { path: null, interval: 1h } }
defaults:
  deadlines: { connect: 10m, head: 7d, first_event: 7d, idle: 7d, progress: 7d, after_end: 7d, total: 7d, client_stall: 7d }
  heartbeat: 1h
  queue: { max_events: 65536, max_bytes: 1GiB }
  max_event_bytes: 1GiB
  max_request_bytes: 1024GiB
  commit_after: off
  preamble_bytes: 64KiB
routes:
  - { name: edges, upstream: agent }
";
const SMALL: &str = "
upstreams: { agent: { endpoints: [\"$UPSTREAM\"], pool_idle: 0s } }
defaults: { queue: { max_events: 1, max_bytes: 1B }, max_event_bytes: 1KiB, max_request_bytes: 0, heartbeat: 10ms }
";

fn usage() -> String {
    format!(
        "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":{MOST},\"delta\":{{\"content\":\"x\",\
         \"tool_calls\":[{{\"index\":{MOST},\"id\":\"a\",\"function\":{{\"arguments\":\"{{}}\"}}}}]}}}}],\"usage\":{{\
         \"prompt_tokens\":{MOST},\"completion_tokens\":{MOST},\"total_tokens\":{MOST},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{MOST}}}}}}}\n\n"
    )
}

fn stream(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

#[test]
fn no_number_of_an_upstream_overflows() {
    for yaml in [EDGES, SMALL] {
        let upstream = Upstream::start();
        let weir = Weir::start(yaml, upstream.address());
        let head = "HTTP/1.1 200 OK\r\ncontent-type:";
        let answers = [
            stream(&usage().repeat(3)),
            stream(&format!(
                "id: {MOST}\nretry: {MOST}{MOST}\ndata: {MOST}\n\n"
            )),
            stream(&format!(
                "data: {}1{}\n\n",
                "[".repeat(400),
                "]".repeat(400)
            )),
            format!("{head} text/plain\r\ncontent-length: {MOST}\r\n\r\nx"),
            format!("{head} text/event-stream\r\ncontent-length: {MOST}\r\n\r\ndata: x\n\n"),
            format!("{head} application/json\r\ncontent-length: {MOST}0\r\n\r\n{{}}"),
            format!(
                "{head} text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{MOST:x}\r\ndata: x\n\n"
            ),
            format!(
                "{head} text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{MOST:x}f\r\ndata: x\n\n"
            ),
            format!(
                "{head} text/plain\r\nretry-after: {MOST}\r\nage: {MOST}\r\ncontent-length: 1\r\n\r\nx"
            ),
        ];
        for answer in answers {
            let mut client = Client::connect(&weir.address);
            client.send(
                "GET /v1/chat/completions HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
            );
            let mut agent = upstream.accept();
            agent.send(&answer);
            drop(agent);
            assert!(client.closed().starts_with("HTTP/1.1 "), "{answer:?}");
        }
        let long = format!("content-length: {MOST}");
        let huge = format!("content-length: {MOST}9");
        let chunk = format!("transfer-encoding: chunked\r\n\r\n{MOST:x}f");
        for field in [&*long, &*huge, &*chunk] {
            let mut client = Client::connect(&weir.address);
            client.send(format!(
                "POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n{field}\r\n\r\n"
            ));
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            client.closed();
        }
        assert_eq!(weir.metric("weir_stream_panics_total"), 0.0);
        assert_eq!(weir.metric("weir_worker_restarts_total"), 0.0);
    }
}

#[tokio::test]
async fn as_many_headers_as_a_map_can_hold_are_refused() {
    let upstream = Upstream::start();
    let weir = Weir::start(EDGES, upstream.address());
    let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let requests = async {
        let mut client = client.ready().await.unwrap();
        // A map takes 24,576 names, and Weir adds some of its own.
        for count in [24_570, 1_001] {
            let mut request = Request::get("http://test/").body(()).unwrap();
            for number in 0..count {
                let name = http::HeaderName::from_bytes(format!("x{number}").as_bytes()).unwrap();
                request.headers_mut().insert(name, "".parse().unwrap());
            }
            let (response, _) = client.send_request(request, true).unwrap();
            let status = response.await.unwrap().status();
            assert_eq!(
                status,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "{count}"
            );
        }
    };
    tokio::select! {
        ended = connection => panic!("{ended:?}"),
        () = requests => {}
    }
    assert_eq!(weir.metric("weir_stream_panics_total"), 0.0);
    let refused = "weir_requests_refused_total{reason=\"too_many_headers\"}";
    assert_eq!(weir.metric(refused), 2.0);
}
