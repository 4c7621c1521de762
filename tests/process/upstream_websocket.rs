//! Agents that speak only WebSocket, served as streams of events: a real process, and raw sockets on both sides.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{Client, Upstream, Weir};
use crate::upstream_websocket_agent::{Agent, BINARY, CLOSE, PING, PONG, TEXT, frame};

/// Starts Weir with one WebSocket agent. `of_upstream` and `of_route` are further keys.
fn weir(upstream: &Upstream, of_upstream: &str, of_route: &str) -> Weir {
    let address = upstream.address();
    let yaml = format!(
        "upstreams: {{ agent: {{ endpoints: [\"ws://{address}/ws\"], {of_upstream} }} }}\n\
        routes: [ {{ name: chat, upstream: agent, {of_route} }} ]\n"
    );
    Weir::start(&yaml, address)
}

/// POSTs `body`.
fn post(weir: &Weir, body: &[u8]) -> Client {
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "POST /chat?x=1 HTTP/1.1\r\nhost: h.test\r\nauthorization: Bearer k\r\nx-request-id: r1\r\n\
        content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    client.send(body);
    client
}

fn token(text: &str) -> String {
    format!("{{\"type\":\"token\",\"content\":\"{text}\"}}")
}

#[test]
fn a_request_is_a_message_and_each_message_is_an_event() {
    let upstream = Upstream::start();
    let weir = weir(&upstream, "", "");
    let mut client = post(&weir, b"{\"q\":\"hi\"}");
    let mut agent = Agent::accept(&upstream);
    let asked = agent.0.request.to_ascii_lowercase();
    for field in [
        "get /ws?x=1 http/1.1\r\n",
        "\r\nhost: h.test\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nauthorization: bearer k\r\n",
        "\r\nx-request-id: r1\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
    ] {
        assert!(asked.contains(field), "{field:?} in {asked}");
    }
    for absent in ["content-length", "content-type", "sec-websocket-extensions"] {
        assert!(!asked.contains(absent), "{absent} in {asked}");
    }
    agent.hears("{\"q\":\"hi\"}");
    let head = client.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("set-cookie: a=b") && !head.contains("sec-websocket"));
    for word in ["one", "two", "three"] {
        // The agent says the next one only after the client has this one.
        agent.say(&token(word));
        client.until(&format!("data: {}\n\n", token(word)));
    }
    // The bytes of JSON, as some agents send it, in two fragments with a ping between them.
    agent.send(0x02, b"{\"type\":\"token\",");
    agent.send(PING, b"alive?");
    agent.send(0x80, b"\"content\":\"four\"}");
    client.until(&format!("data: {}\n\n", token("four")));
    assert_eq!(agent.frame(), (PONG, b"alive?".to_vec()));
    agent.close(1000);
    agent.is_closed_with(1000);
    let all = client.rest();
    assert!(!all.contains("event: error"), "{all}");
    let ended = weir.ended();
    assert_eq!(ended["outcome"], "finished");
    assert_eq!(ended["dialect"], "convention");
}

#[test]
fn what_the_agent_reads_first_can_be_configured() {
    let upstream = Upstream::start();
    let open = "websocket: { open: { type: message, content: $body } }";
    let weir = weir(&upstream, open, "");
    let mut client = post(&weir, b" [1, 2] ");
    let mut agent = Agent::accept(&upstream);
    agent.hears("{\"type\":\"message\",\"content\":[1, 2]}");
    agent.close(1000);
    client.rest();
    // As `EventSource` asks.
    let mut client = Client::connect(&weir.address);
    client.send("GET / HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n");
    let mut agent = Agent::accept(&upstream);
    agent.hears("{\"type\":\"message\",\"content\":null}");
    agent.say("plain");
    client.until("data: plain\n\n");
    for body in [&b"no json"[..], b"\xff"] {
        let refused = post(&weir, body).until("bad_request");
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    }
    let mut client = Client::connect(&weir.address);
    client.send("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
    let refused = client.until("method_not_allowed");
    assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    assert!(refused.contains("allow: GET, POST\r\n"), "{refused}");
    assert!(refused.contains("\r\nallow: GET, POST\r\n"), "{refused}");
}

#[test]
fn a_refused_handshake_is_the_agents_answer() {
    let upstream = Upstream::start();
    let weir = weir(&upstream, "", "");
    let mut client = post(&weir, b"{}");
    let mut agent = upstream.accept();
    agent.send("HTTP/1.1 403 Forbidden\r\nx-why: because\r\ncontent-length: 3\r\n\r\nno\n");
    let all = client.until("no\n");
    assert!(all.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{all}");
    assert!(all.contains("x-why: because"), "{all}");
    let mut client = post(&weir, b"{}");
    let mut agent = upstream.accept();
    agent.send(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    );
    let all = client.until("upstream_error");
    assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
}

#[test]
fn each_end_has_its_name() {
    let upstream = Upstream::start();
    let weir = weir(&upstream, "", "max_event_bytes: 1KiB");
    for (first, payload, outcome, answer) in [
        (CLOSE, &b""[..], "finished", Some(1000)),
        (CLOSE, b"\x03\xe9", "truncated", Some(1001)),
        (CLOSE, b"\x0f\xa1no", "truncated", Some(4001)),
        (BINARY, b"\xff\xfe", "upstream_error", Some(1003)),
        (TEXT, b"\xff\xfe", "upstream_error", Some(1007)),
        (0x83, b"", "upstream_error", Some(1002)),
        (TEXT, &[b'x'; 2000], "too_large", Some(1009)),
        (0x01, b"torn", "truncated", None),
    ] {
        let mut client = post(&weir, b"{}");
        let mut agent = Agent::accept(&upstream);
        agent.hears("{}");
        agent.say(&token("one"));
        client.until("one");
        agent.send(first, payload);
        match answer {
            Some(code) => agent.is_closed_with(code),
            None => drop(agent),
        }
        let all = client.rest();
        let failed = all.contains(&format!("\"code\":\"{outcome}\""));
        assert_eq!(failed, outcome != "finished", "{all}");
        if payload == b"\x03\xe9" {
            assert!(all.contains("closed its WebSocket with code 1001"), "{all}");
        }
        assert_eq!(weir.ended()["outcome"], outcome, "{payload:?}");
    }
}

#[test]
fn a_client_that_leaves_interrupts_the_agent() {
    let upstream = Upstream::start();
    let weir = weir(
        &upstream,
        "websocket: { interrupt: { type: interrupt } }",
        "",
    );
    for phase in ["asked", "streaming"] {
        let mut client = post(&weir, b"{}");
        let mut agent = Agent::accept(&upstream);
        agent.hears("{}");
        client.until("\r\n\r\n");
        if phase == "streaming" {
            agent.say(&token("one"));
            client.until("one");
        }
        let left = Instant::now();
        drop(client);
        agent.hears("{\"type\":\"interrupt\"}");
        agent.is_closed_with(1001);
        assert!(left.elapsed() < Duration::from_secs(1), "{phase}");
        // It does not wait for an agent that does not close.
        assert_eq!(agent.0.stream.read(&mut [0]).unwrap(), 0, "{phase}");
        assert!(left.elapsed() < Duration::from_secs(3), "{phase}");
        assert_eq!(weir.ended()["outcome"], "client_gone", "{phase}");
    }
}

#[test]
fn an_agent_that_is_done_but_does_not_close_is_left_without_an_interrupt() {
    let upstream = Upstream::start();
    let weir = weir(
        &upstream,
        "websocket: { interrupt: stop }",
        "deadlines: { after_end: 100ms }",
    );
    let mut client = post(&weir, b"{}");
    let mut agent = Agent::accept(&upstream);
    agent.hears("{}");
    agent.say(&token("one"));
    agent.say("{\"type\":\"done\"}");
    agent.is_closed_with(1000);
    agent.close(1000);
    assert!(client.rest().contains("{\"type\":\"done\"}\n\n"));
    assert_eq!(weir.ended()["outcome"], "finished");
}

#[test]
fn a_silent_agent_is_pinged_until_it_is_given_up() {
    let upstream = Upstream::start();
    let weir = weir(&upstream, "", "heartbeat: 100ms");
    let mut client = post(&weir, b"{}");
    let mut agent = Agent::accept(&upstream);
    agent.hears("{}");
    agent.say(&token("one"));
    for _ in 0..3 {
        assert_eq!(agent.frame(), (PING, Vec::new()));
        agent.send(PONG, b"");
    }
    let all = client.rest();
    assert!(all.contains("\"code\":\"upstream_reset\""), "{all}");
    assert_eq!(weir.ended()["outcome"], "upstream_reset");
}

#[test]
fn the_stream_is_translated_like_any_other() {
    let upstream = Upstream::start();
    let weir = weir(&upstream, "", "reply: { as: ai-sdk }");
    let mut client = post(&weir, b"{}");
    let mut agent = Agent::accept(&upstream);
    agent.hears("{}");
    agent.say(&token("one"));
    agent.say(&token(" two"));
    agent.close(1000);
    let all = client.rest();
    for part in ["text-start", "\"delta\":\"one\"", "text-end", "\"finish\""] {
        assert!(all.contains(part), "{part} in {all}");
    }
}

#[test]
fn an_agent_is_not_read_while_its_client_takes_nothing() {
    let upstream = Upstream::start();
    let queue = "queue: { overflow: block, max_events: 4, max_bytes: 64KiB }";
    let weir = weir(&upstream, "", queue);
    let _client = post(&weir, b"{}");
    let mut agent = Agent::accept(&upstream);
    agent.hears("{}");
    let stream = &mut agent.0.stream;
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let message = [&b"\x81\x7e\x10\x00"[..], &[b'x'; 4096]].concat();
    // Far more than all buffers on the way hold.
    let mut left = (64 << 20) / message.len();
    let error = loop {
        assert!(left > 0, "the agent is read without end");
        left -= 1;
        if let Err(error) = stream.write_all(&message) {
            break error;
        }
    };
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
}

#[test]
fn one_of_several_agents_may_speak_only_websocket() {
    let (talks, streams) = (Upstream::start(), Upstream::start());
    let (talks_at, streams_at) = (talks.address(), streams.address());
    let yaml = format!(
        "upstreams: {{ one: {{ endpoints: [\"ws://{talks_at}/ws\"] }}, two: {{ endpoints: [\"http://{streams_at}\"] }} }}\n\
        routes:\n  - name: team\n    reply: {{ as: ndjson }}\n    merge:\n      agents:\n        \
        - {{ name: talker, upstream: one }}\n        - {{ name: clerk, upstream: two }}\n"
    );
    let weir = Weir::start(&yaml, streams_at);
    let mut client = post(&weir, b"{}");
    let mut agent = Agent::accept(&talks);
    let mut other = streams.accept();
    agent.hears("{}");
    agent.say(r#"{"type":"token","content":"spoken"}"#);
    agent.say(r#"{"type":"done"}"#);
    // It has finished, so it is told so, while the other one goes on.
    agent.is_closed_with(1000);
    other.head("text/event-stream");
    other.chunk(crate::support::token("written"));
    other.chunk("data: [DONE]\n\n");
    other.end();
    let all = client.rest();
    for text in [
        r#""text":"spoken""#,
        r#""text":"written""#,
        r#""agents":{"talker":"finished","clerk":"finished"}"#,
    ] {
        assert!(all.contains(text), "{text} in {all}");
    }
}

/// The native events of a response.
fn events(response: &str) -> Vec<serde_json::Value> {
    let lines = response.lines();
    let events = lines.filter(|line| line.starts_with("{\"type\""));
    events
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn messages_mean_what_the_same_events_of_an_http_agent_mean() {
    let (over_http, over_websocket) = (Upstream::start(), Upstream::start());
    let yaml = format!(
        "upstreams:\n  http: {{ endpoints: [\"$UPSTREAM\"], pool_idle: 0s }}\n  ws: {{ endpoints: [\"ws://{}\"] }}\n\
         routes:\n  - {{ name: ws, match: {{ path_prefix: /ws }}, upstream: ws, reply: {{ as: ndjson }} }}\n  \
         - {{ name: http, upstream: http, reply: {{ as: ndjson }} }}\n",
        over_websocket.address()
    );
    let weir = Weir::start(&yaml, over_http.address());
    let ask = |path: &str| {
        let mut client = Client::connect(&weir.address);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        client
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/convention");
    let mut played = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // A message has no name, so only events without one can be the same.
        if path.extension().is_none_or(|end| end != "sse") || text.contains("event") {
            continue;
        }
        played += 1;
        let payloads: Vec<String> = text
            .split("\n\n")
            .map(|block| {
                let lines = block.lines().filter_map(|line| line.strip_prefix("data:"));
                let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
                lines.collect::<Vec<_>>().join("\n")
            })
            .filter(|payload| !payload.is_empty())
            .collect();
        let client = ask("/http");
        let mut agent = over_http.accept();
        // In one write: Weir may close as soon as it has read the last event.
        let blocks = payloads.iter().map(|payload| {
            let lines = payload.replace('\n', "\ndata: ");
            format!("data: {lines}\n\n")
        });
        agent.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{}",
            blocks.collect::<String>()
        ));
        drop(agent);
        let expected = events(&client.closed());
        let client = ask("/ws");
        let mut agent = Agent::accept(&over_websocket);
        let mut bytes = Vec::new();
        for payload in &payloads {
            bytes.extend(frame(TEXT, payload.as_bytes()));
        }
        bytes.extend([CLOSE, 2, 3, 232]);
        agent.0.send(bytes);
        let got = events(&client.closed());
        assert_eq!(got, expected, "{}", path.display());
        assert!(!got.is_empty(), "{}", path.display());
    }
    assert!(played >= 4, "{played}");
}
