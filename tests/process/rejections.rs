//! Errors of Weir's own ahead of any response: each names its request, and each is counted.

use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Response};

use crate::support::{Client, Upstream, Weir, token};

const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }
routes: [ { name: chat, upstream: agent, match: { path_prefix: /v1 } } ]";

fn refused(reason: &str) -> String {
    format!("weir_requests_refused_total{{reason=\"{reason}\"}}")
}

#[test]
fn an_unasked_101_is_an_error_that_is_named_and_counted() {
    let address = Upstream::start().serve(|mut agent| {
        agent.send(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw",
        );
    });
    let weir = Weir::start(PLAIN, address);
    let mut client = Client::connect(&weir.address);
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nx-request-id: mine\r\ncontent-length: 2\r\n\r\n{}",
    );
    let all = client.until("unasked");
    assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
    assert!(all.contains("x-request-id: mine\r\n"), "{all}");
    let requests = "weir_requests_total{code=\"502\",kind=\"unary\",route=\"chat\"}";
    assert_eq!(weir.metric(requests), 1.0);
    let errors = "weir_upstream_errors_total{reason=\"upstream_error\",route=\"chat\"}";
    assert_eq!(weir.metric(errors), 1.0);
}

#[test]
fn each_refusal_is_named_and_counted_under_its_own_reason() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let table = [
        (
            "expectation_failed",
            417,
            "GET /v1/x HTTP/1.1\r\nhost: h\r\nexpect: tea\r\n",
        ),
        ("not_found", 404, "GET /other HTTP/1.1\r\nhost: h\r\n"),
        (
            "upgrade_not_supported",
            501,
            "GET /v1/x HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: foo\r\n",
        ),
        (
            "transfer_coding_not_supported",
            501,
            "POST /v1/x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n",
        ),
    ];
    for (reason, status, head) in table {
        let mut client = Client::connect(&weir.address);
        client.send(format!("{head}x-request-id: {reason}-1\r\n\r\n"));
        let all = client.until(&format!("\"code\":\"{reason}\""));
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{all}");
        assert!(
            all.contains(&format!("x-request-id: {reason}-1\r\n")),
            "{all}"
        );
        assert_eq!(weir.metric(&refused(reason)), 1.0, "{reason}");
    }
    // Nothing of it is counted as something else, and a reason that has not happened is there already.
    assert_eq!(weir.metric(&refused("bad_request")), 0.0);
    assert_eq!(weir.metric(&refused("overloaded")), 0.0);
}

/// `limits.max_header_bytes` of the test.
const LIMIT: usize = 16 * 1024;

/// Sends a GET over HTTP/2 whose head has `size` bytes, as HTTP/2 counts them.
async fn ask(
    client: &SendRequest<Bytes>,
    path: &str,
    id: &str,
    size: usize,
) -> Response<RecvStream> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", path),
        ("x-request-id", id),
        ("x-large", ""),
    ];
    let others = fields.map(|(name, value)| name.len() + value.len() + 32);
    let large = "x".repeat(size - others.iter().sum::<usize>());
    let request = Request::get(format!("http://h{path}"))
        .header("x-request-id", id)
        .header("x-large", large);
    let mut client = client.clone().ready().await.unwrap();
    let (response, _) = (client.send_request(request.body(()).unwrap(), true)).unwrap();
    response.await.unwrap()
}

async fn rest(response: &mut Response<RecvStream>) -> String {
    let mut all = Vec::new();
    while let Some(data) = response.body_mut().data().await {
        let data = data.unwrap();
        all.extend_from_slice(&data);
        let flow = response.body_mut().flow_control();
        flow.release_capacity(data.len()).unwrap();
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_large_head_over_http2_is_named_counted_and_ends_its_own_stream() {
    let upstream = Upstream::start();
    let yaml = format!("{PLAIN}\nlimits: {{ max_header_bytes: 16KiB }}");
    let weir = Weir::start(&yaml, upstream.address());
    let agent = thread::spawn(move || {
        let mut stream = upstream.accept();
        stream.head("text/event-stream");
        stream.chunk(token("Hello"));
        // The heads that are too large do not come here.
        let mut next = upstream.accept();
        next.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        stream.chunk("data: [DONE]\n\n");
        stream.end();
        next.request
    });
    let socket = tokio::net::TcpStream::connect(&weir.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let talk = async {
        let mut stream = ask(&client, "/v1/chat/completions", "stream", 1000).await;
        assert_eq!(stream.status(), 200);
        for (path, id, size) in [
            ("/v1/x", "over", LIMIT + 1),
            ("/v1/chat/completions", "far", 2 * LIMIT),
        ] {
            let mut refused = ask(&client, path, id, size).await;
            assert_eq!(refused.status(), 431);
            assert_eq!(refused.headers()["x-request-id"], id);
            let body = rest(&mut refused).await;
            assert!(body.contains("\"code\":\"malformed\""), "{body}");
            let said = format!("{size} bytes, more than limits.max_header_bytes ({LIMIT})");
            assert!(body.contains(&said), "{body}");
        }
        // Beyond what the HTTP/2 library reads.
        let bare = ask(&client, "/v1/x", "bare", 4 * LIMIT).await;
        assert_eq!(bare.status(), 431);
        assert!(!bare.headers().contains_key("x-request-id"));
        let mut fits = ask(&client, "/v1/last", "fits", LIMIT).await;
        assert_eq!(fits.status(), 200);
        assert_eq!(rest(&mut fits).await, "ok");
        let all = rest(&mut stream).await;
        assert!(all.contains("Hello") && all.contains("[DONE]"), "{all}");
    };
    tokio::select! {
        () = talk => {}
        ended = connection => panic!("{ended:?}"),
    }
    assert!(agent.join().unwrap().starts_with("GET /v1/last "));
    assert_eq!(weir.metric(&refused("malformed")), 2.0);
    let mut lines = Vec::new();
    while lines.len() < 4 {
        lines.push(weir.log_line(|line| line["target"] == "weir::access"));
    }
    for id in ["over", "far", "fits", "stream"] {
        let of = lines.iter().filter(|line| line["request_id"] == id);
        assert_eq!(of.count(), 1, "{id}: {lines:#?}");
    }
    let line = lines.iter().find(|line| line["request_id"] == "over");
    let line = line.unwrap();
    assert_eq!(line["message"], "request refused", "{line}");
    assert_eq!(line["code"], "malformed", "{line}");
    assert_eq!(line["status"], 431, "{line}");
    assert_eq!(
        (&line["method"], &line["path"]),
        (&"GET".into(), &"/v1/x".into())
    );
}
