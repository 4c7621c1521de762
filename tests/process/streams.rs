//! Streams through a real Weir process, over real sockets. Each promise of the documentation has a test.

use crate::support::{Client, Upstream, Weir, get, read_request, token};

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }";

pub(crate) fn with(route: &str) -> String {
    format!("{PLAIN}\nroutes: [ {{ name: chat, upstream: agent, {route} }} ]")
}

#[test]
fn an_event_leaves_before_the_next_one_is_made() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let mut client = Client::post(&weir.address, CHAT);
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    for word in ["one", "two", "three"] {
        // The agent sends the next token only after the client has received this one.
        agent.chunk(token(word));
        client.until(&format!("\"content\":\"{word}\""));
    }
    agent.chunk("data: [DONE]\n\n");
    agent.end();
    let all = client.rest();
    assert!(
        all.contains("x-accel-buffering: no") && all.contains("weir-stream-id: "),
        "{all}"
    );
    assert!(!all.to_ascii_lowercase().contains("connection: close"));
    assert_eq!(weir.ended()["outcome"], "finished");
    assert_eq!(
        weir.metric("weir_streams_total{outcome=\"finished\",route=\"default\"}"),
        1.0
    );
}

#[test]
fn crlf_framing_becomes_lf_and_the_payload_stays() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let mut client = Client::post(&weir.address, "/agent");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk("event: x\r\ndata:{\"b\": 1.10,\"a\":\"\\ud83d\"}\r\n\r\n: ping\r\n\r\n");
    agent.end();
    let all = client.rest();
    assert!(
        all.contains("event: x\ndata: {\"b\": 1.10,\"a\":\"\\ud83d\"}\n\n\r\n"),
        "{all}"
    );
    assert!(!all.contains("ping"));
}

#[test]
fn a_torn_stream_ends_with_an_error_and_not_with_silence() {
    for (how, outcome) in [
        ("eof", "truncated"),
        ("cut", "truncated"),
        ("torn", "truncated"),
    ] {
        let upstream = Upstream::start();
        let weir = Weir::start(PLAIN, upstream.address());
        let mut client = Client::post(&weir.address, CHAT);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(token("whole"));
        match how {
            "eof" => agent.end(),
            "torn" => agent.send("ff\r\ndata: {\"choices\":[{\"del"),
            _ => {}
        }
        drop(agent);
        let all = client.rest();
        assert!(
            all.contains("\"content\":\"whole\"")
                && all.contains(&format!("\"code\":\"{outcome}\"")),
            "{how}: {all}"
        );
        assert!(!all.contains("[DONE]") && !all.contains("{\"del\n"));
        assert_eq!(weir.ended()["outcome"], outcome, "{how}");
    }
}

#[test]
fn a_client_that_leaves_stops_the_agent_in_every_phase() {
    for phase in ["head", "first_event", "stream"] {
        let upstream = Upstream::start();
        let weir = Weir::start(PLAIN, upstream.address());
        let mut client = Client::post(&weir.address, CHAT);
        let mut agent = upstream.accept();
        if phase != "head" {
            agent.head("text/event-stream");
            client.until("\r\n\r\n");
        }
        if phase == "stream" {
            agent.chunk(token("one"));
            client.until("one");
        }
        drop(client);
        agent.closed();
        if phase != "head" {
            assert_eq!(weir.ended()["outcome"], "client_gone", "{phase}");
        }
    }
}

#[test]
fn silence_ends_by_its_own_name() {
    for (deadlines, send, outcome) in [
        ("first_event: 200ms", false, "first_event_timeout"),
        ("idle: 200ms", true, "idle_timeout"),
        ("total: 300ms", true, "total_timeout"),
    ] {
        let upstream = Upstream::start();
        let weir = Weir::start(
            &with(&format!("deadlines: {{ {deadlines} }}")),
            upstream.address(),
        );
        let mut client = Client::post(&weir.address, CHAT);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        if send {
            agent.chunk(token("one"));
        }
        let all = client.rest();
        assert!(all.contains(&format!("\"code\":\"{outcome}\"")), "{all}");
        assert_eq!(weir.ended()["outcome"], outcome);
        agent.closed();
    }
}

#[test]
fn before_the_head_failures_are_real_statuses() {
    let gone = Upstream::start().address();
    let weir = Weir::start(PLAIN, gone);
    let mut client = Client::post(&weir.address, CHAT);
    let all = client.until("upstream_connect");
    assert!(
        all.starts_with("HTTP/1.1 502 ") && all.contains("\"error\":{"),
        "{all}"
    );

    let upstream = Upstream::start();
    let weir = Weir::start(&with("deadlines: { head: 200ms }"), upstream.address());
    let mut client = Client::post(&weir.address, "/v1/messages");
    let agent = upstream.accept();
    let all = client.until("head_timeout");
    assert!(
        all.starts_with("HTTP/1.1 504 ") && all.contains("\"type\":\"timeout_error\""),
        "{all}"
    );
    agent.closed();
}

#[test]
fn one_post_is_sent_once() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    let mut client = Client::post(&weir.address, CHAT);
    drop(upstream.accept());
    let all = client.until("upstream_reset");
    assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
    // A retry by Weir would be the next connection. Instead, the next one is the test's own.
    let own = std::net::TcpStream::connect(upstream.address()).unwrap();
    let mut probe = Client::connect(&upstream.address().to_string());
    drop(own);
    probe.send("GET /probe HTTP/1.1\r\n\r\n");
    assert_eq!(upstream.accept().request, "");
    assert!(upstream.accept().request.starts_with("GET /probe"));
}

#[test]
fn what_is_no_stream_passes_untouched() {
    let address = Upstream::start().serve(|mut agent| {
        let body = "{\"error\":{\"message\":\"no\"}}";
        let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 7\r\nx-own: 1\r\n";
        agent.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()));
    });
    let weir = Weir::start(PLAIN, address);
    let mut client = Client::post(&weir.address, CHAT);
    let all = client.until("\"no\"}}");
    assert!(
        all.starts_with("HTTP/1.1 429 ")
            && all.contains("retry-after: 7")
            && all.contains("x-own: 1"),
        "{all}"
    );
    assert!(all.contains("content-length: 26"), "{all}");
}

#[test]
fn heartbeats_fill_the_silence_and_the_agents_own_are_consumed() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("heartbeat: 100ms"), upstream.address());
    let mut client = Client::post(&weir.address, CHAT);
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(": the agent's own\n\n");
    let seen = client.until("\r\n:\n\r\n");
    assert!(!seen.contains("own"));
    agent.chunk(token("late"));
    client.until("late");
}

#[test]
fn a_client_that_stops_reading_costs_its_bound_and_its_agent_is_released() {
    let address = Upstream::start().serve(|mut agent| {
        agent.head("text/event-stream");
        let tool = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n";
        let piece = format!("{}{tool}", token(&"x".repeat(2000)).repeat(8));
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        for _ in 0..20_000 {
            if std::io::Write::write_all(&mut agent.stream, chunk.as_bytes()).is_err() {
                return;
            }
        }
    });
    let weir = Weir::start(&with("deadlines: { client_stall: 500ms }"), address);
    let client = Client::post(&weir.address, CHAT);
    let ended = weir.ended();
    assert_eq!(ended["outcome"], "client_stalled");
    assert!(
        ended["max_queue"].as_u64().unwrap() <= 1024 * 1024,
        "{ended}"
    );
    assert_eq!(
        weir.metric(
            "weir_events_dropped_total{class=\"tool\",reason=\"queue_full\",route=\"chat\"}"
        ),
        0.0
    );
    drop(client);
}

/// The client has taken all that there was: only its agent is silent.
#[test]
fn a_client_that_waits_does_not_stall() {
    for more in [
        "",
        "hide: { reasoning: drop }, ",
        "reply: { as: events }, ",
        "batch: { max_delay: 20ms }, ",
        "resume: {}, ",
    ] {
        let upstream = Upstream::start();
        let deadlines = "deadlines: { client_stall: 200ms, idle: 900ms }, heartbeat: 60s";
        let weir = Weir::start(&with(&format!("{more}{deadlines}")), upstream.address());
        let mut client = Client::post(&weir.address, CHAT);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(token("one"));
        client.until("one");
        client.rest();
        assert_eq!(weir.ended()["outcome"], "idle_timeout", "{more}");
    }
}

#[test]
fn sigterm_lets_short_streams_finish_and_tells_long_ones() {
    let upstream = Upstream::start();
    let weir = Weir::start(
        &format!("{PLAIN}\ndrain: {{ delay: 100ms, limit: 600ms }}"),
        upstream.address(),
    );
    let mut short = Client::post(&weir.address, CHAT);
    let mut agent_short = upstream.accept();
    agent_short.head("text/event-stream");
    agent_short.chunk(token("a"));
    short.until("\"a\"");
    let mut long = Client::post(&weir.address, CHAT);
    let mut agent_long = upstream.accept();
    agent_long.head("text/event-stream");
    agent_long.chunk(token("b"));
    long.until("\"b\"");
    weir.signal("TERM");
    weir.log_line(|line| line["message"] == "draining");
    assert!(get(&weir.admin, "/readyz").contains("draining"));
    agent_short.chunk("data: [DONE]\n\n");
    agent_short.end();
    assert!(short.rest().contains("[DONE]"));
    assert!(long.rest().contains("\"code\":\"drained\""));
    assert_eq!(weir.exit_code(), Some(0));
}

#[test]
fn a_reload_that_is_wrong_changes_nothing() {
    let upstream = Upstream::start();
    let weir = Weir::start(PLAIN, upstream.address());
    assert_eq!(weir.metric("weir_config_last_reload_successful"), 1.0);
    weir.reload("upstreams: nonsense");
    weir.log_line(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("the old one stays in force"))
    });
    assert_eq!(weir.metric("weir_config_last_reload_successful"), 0.0);
    let mut client = Client::post(&weir.address, CHAT);
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("still"));
    client.until("still");
}

/// Codings that are none, and ranges of a file.
#[test]
fn no_coding_is_none_and_a_range_is_no_stream() {
    for coding in ["none", "identity", "", "NONE", "identity, none"] {
        let address = Upstream::start().serve(move |mut agent| {
            agent.send(format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"));
            agent.chunk(token("a"));
            agent.chunk("data: [DONE]\n\n");
            agent.end();
        });
        let weir = Weir::start(PLAIN, address);
        let mut client = Client::post(&weir.address, CHAT);
        let all = client.until("[DONE]");
        assert!(!all.contains("content-encoding"), "{coding}: {all}");
        assert_eq!(weir.ended()["outcome"], "finished", "{coding}");
    }
    let address = Upstream::start().serve(|mut agent| {
        let part = "a: 1\ndata: x";
        agent.send(format!("HTTP/1.1 206 Partial Content\r\ncontent-type: text/event-stream\r\ncontent-range: bytes 3-14/40\r\ncontent-length: {}\r\n\r\n{part}", part.len()));
    });
    let weir = Weir::start(PLAIN, address);
    let mut client = Client::post(&weir.address, CHAT);
    let all = client.until("data: x");
    assert!(all.ends_with("\r\n\r\na: 1\ndata: x"), "{all}");
    assert!(all.contains("content-range: bytes 3-14/40"), "{all}");
}

/// The agent closes an idle connection just as the next request is on its way.
#[test]
fn a_safe_request_is_repeated_once_when_a_reused_connection_closes() {
    for (method, length, served) in [
        ("GET", 0, true),
        ("GET", 8, true),
        ("HEAD", 0, true),
        ("OPTIONS", 0, true),
        ("OPTIONS", 16 * 1024, true),
        ("GET", 16 * 1024 + 1, false),
        ("POST", 0, false),
        ("POST", 8, false),
    ] {
        let upstream = Upstream::start();
        // Each worker has connections of its own.
        let weir = Weir::start(&format!("workers: 1\n{PLAIN}"), upstream.address());
        let ask = |method: &str, length: usize| {
            let mut client = Client::connect(&weir.address);
            let body = "x".repeat(length);
            client.send(format!(
                "{method} /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            ));
            client
        };
        let whole = "HTTP/1.1 200 OK\r\nx-served: 1\r\ncontent-length: 0\r\n\r\n";
        let mut first = ask("GET", 0);
        let mut kept = upstream.accept();
        kept.send(whole);
        first.until("x-served: 1");
        let mut second = ask(method, length);
        // The request is read, and nothing is said.
        assert!(read_request(&mut kept.stream).starts_with(method));
        drop(kept);
        if served {
            let mut again = upstream.accept();
            assert!(again.request.starts_with(method), "{}", again.request);
            let (_, body) = again.request.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, "x".repeat(length), "{method}");
            again.send(whole);
            second.until("x-served: 1");
        } else {
            let all = second.until("upstream_reset");
            assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
        }
        let repeats = weir.metric("weir_upstream_repeats_total{route=\"default\"}");
        assert_eq!(repeats, f64::from(u8::from(served)), "{method} {length}");
    }
}
