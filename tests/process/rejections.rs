//! Errors of Weir's own ahead of any response: each names its request, and each is counted.

use crate::support::{Client, Upstream, Weir};

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
