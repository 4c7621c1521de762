//! Errors of Weir's own ahead of any response: each names its request, and each is counted.

use std::collections::BTreeSet;
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Response};

use crate::support::{Client, Upstream, Weir, get, token};

const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }
routes: [ { name: chat, upstream: agent, match: { path_prefix: /v1 } } ]";

const REFUSED: &str = "weir_requests_refused_total{reason=\"";

fn refused(reason: &str) -> String {
    format!("{REFUSED}{reason}\"}}")
}

/// Sends a request with this head and the id `r-1`. Returns its answer, of which `last` is the end.
fn answer(weir: &Weir, head: &str, last: &str) -> String {
    let mut client = Client::connect(&weir.address);
    client.send(format!("{head}host: h\r\nx-request-id: r-1\r\n\r\n"));
    let all = client.until(last);
    assert!(all.contains("x-request-id: r-1\r\n"), "{all}");
    all
}

/// Returns how many requests were refused, by reason, without those reasons that never came up.
fn counts(weir: &Weir) -> Vec<(String, usize)> {
    let text = get(&weir.admin, "/metrics");
    let lines = text.lines().filter_map(|line| line.strip_prefix(REFUSED));
    let counts = lines.map(|line| {
        let (reason, count) = line.split_once("\"} ").unwrap();
        (reason.to_owned(), count.parse::<usize>().unwrap())
    });
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Returns the words of the first column of the table that follows the heading.
fn first_column(page: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().trim());
    let words = cells.filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
    words.map(str::to_owned).collect()
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

#[test]
fn a_scrape_has_the_reasons_that_the_docs_list() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let text = get(&weir.admin, "/metrics");
    let series = text.lines().filter_map(|line| line.strip_prefix(REFUSED));
    let reasons: BTreeSet<String> = series
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    let metrics = include_str!("../../docs/metrics.md");
    assert_eq!(first_column(metrics, "### Refused requests"), reasons);
    let behaviour = include_str!("../../docs/behaviour.md");
    assert_eq!(first_column(behaviour, "### Rejected requests"), reasons);
}

#[test]
fn a_reply_that_the_route_does_not_offer_is_counted_as_such() {
    let upstream = Upstream::start();
    let yaml = PLAIN.replace(
        "upstream: agent, ",
        "upstream: agent, reply: { as: events }, ",
    );
    let weir = Weir::start(&yaml, upstream.address());
    let head = "GET /v1/x HTTP/1.1\r\nweir-reply: ag-ui\r\n";
    let all = answer(&weir, head, "\"code\":\"reply_not_offered\"");
    assert!(all.starts_with("HTTP/1.1 406 "), "{all}");
    assert_eq!(counts(&weir), [("reply_not_offered".to_owned(), 1)]);
}

#[test]
fn what_the_probe_refuses_is_counted_like_everything_else() {
    let upstream = Upstream::start();
    let weir = Weir::start(&format!("{PLAIN}\nprobe: true"), upstream.address());
    let begin = |_| {
        let mut client = Client::connect(&weir.address);
        client.send("GET /.weir/probe?events=1&silence_ms=600000 HTTP/1.1\r\nhost: h\r\n\r\n");
        client.until("\"seq\":1");
        client
    };
    let _running: Vec<Client> = (0..4).map(begin).collect();
    let unknown = "?left=ffffffffffffffffffffffffffffffff";
    let table = [
        ("GET", "", "probe_busy", 503_u16, Some("retry-after: 1")),
        ("GET", "?events=0", "probe_malformed", 400, None),
        ("GET", unknown, "probe_unknown", 404, None),
        (
            "POST",
            "",
            "method_not_allowed",
            405,
            Some("allow: GET, HEAD"),
        ),
    ];
    for (method, query, reason, status, field) in table {
        let head = format!("{method} /.weir/probe{query} HTTP/1.1\r\n");
        let all = answer(&weir, &head, &format!("\"code\":\"{reason}\""));
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{all}");
        let no_store = "cache-control: no-store, no-transform\r\n";
        assert!(all.contains(no_store), "{all}");
        if let Some(field) = field {
            assert!(all.contains(&format!("{field}\r\n")), "{all}");
        }
        assert_eq!(weir.metric(&refused(reason)), 1.0, "{reason}");
        let line = weir.log_line(|line| line["code"] == reason);
        assert_eq!(
            (&line["outcome"], &line["status"], &line["request_id"]),
            (&"refused".into(), &status.into(), &"r-1".into()),
            "{line}"
        );
    }
    assert_eq!(counts(&weir).len(), 4);
}

/// What an `EventSource` gets when another attempt may succeed: any other status would end it for good.
const COME_BACK: &str = "retry: 3000\n\n";

/// 1. A request takes the only place there is. 2. An `EventSource` that comes back gets a 200, and so the log says.
/// 3. Another client gets the 503.
#[test]
fn the_log_has_the_status_that_an_event_source_got() {
    let address = Upstream::start().serve(|mut agent| {
        let _ = std::io::copy(&mut agent.stream, &mut std::io::sink());
    });
    let yaml = format!("{PLAIN}\ndefaults: {{ resume: {{}} }}\nlimits: {{ max_requests: 1 }}");
    let weir = Weir::start(&yaml, address);
    let mut first = Client::connect(&weir.address);
    first.send("GET /v1/first HTTP/1.1\r\nhost: h\r\n\r\n");
    weir.metric_until("weir_requests_active", |active| active == 1.0);
    let id = "0123456789abcdef0123456789abcdef";
    let heads = [
        format!("GET /v1/x HTTP/1.1\r\naccept: text/event-stream\r\nlast-event-id: {id}.3\r\n"),
        format!("GET /.weir/streams/{id} HTTP/1.1\r\naccept: text/event-stream\r\n"),
    ];
    for head in heads {
        let all = answer(&weir, &head, COME_BACK);
        assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
        assert!(!all.contains("retry-after"), "{all}");
        let line = weir.log_line(|line| line["request_id"] == "r-1");
        assert_eq!(
            (&line["outcome"], &line["code"], &line["status"]),
            (&"refused".into(), &"overloaded".into(), &200.into()),
            "{line}"
        );
        assert_eq!(line["bytes_out"], COME_BACK.len(), "{line}");
    }
    let head = "GET /v1/x HTTP/1.1\r\nlast-event-id: 1\r\n";
    let all = answer(&weir, head, "\"code\":\"overloaded\"");
    assert!(all.starts_with("HTTP/1.1 503 "), "{all}");
    let line = weir.log_line(|line| line["request_id"] == "r-1");
    assert_eq!(line["status"], 503, "{line}");
    assert_eq!(counts(&weir), [("overloaded".to_owned(), 3)]);
}

/// Nobody has the stream, so no route takes the request: the metrics of resume count it, under the empty route.
#[test]
fn a_stream_that_nobody_has_is_refused_and_counted_by_resume() {
    let upstream = Upstream::start();
    let weir = Weir::start(
        &format!("{PLAIN}\ndefaults: {{ resume: {{}} }}"),
        upstream.address(),
    );
    let resumed = |result: &str| {
        let labels = format!("result=\"{result}\",route=\"\",way=\"endpoint\"");
        weir.metric(&format!("weir_resume_requests_total{{{labels}}}"))
    };
    let id = "0123456789abcdef0123456789abcdef";
    for (path, code, status, result) in [
        (id, "resume_unknown", 404_u16, "unknown"),
        ("no-id", "resume_malformed", 400, "malformed"),
    ] {
        let head = format!("GET /.weir/streams/{path} HTTP/1.1\r\n");
        let all = answer(&weir, &head, &format!("\"code\":\"{code}\""));
        let (head, _) = all.split_once("\r\n\r\n").unwrap();
        let fields: Vec<&str> = head.split("\r\n").collect();
        assert!(fields[0].starts_with(&format!("HTTP/1.1 {status} ")));
        assert_eq!(
            fields[1..4],
            [
                "content-type: application/problem+json",
                "cache-control: no-store",
                "x-request-id: r-1"
            ]
        );
        let line = weir.log_line(|line| line["code"] == code);
        assert_eq!(
            (&line["outcome"], &line["status"], &line["route"]),
            (&"refused".into(), &status.into(), &().into()),
            "{line}"
        );
        assert_eq!(resumed(result), 1.0, "{result}");
    }
    assert!(counts(&weir).is_empty());
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
