//! Bridges through the real process: a raw WebSocket on one side, an agent that speaks HTTP on the other.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::bridge_client::{Bridge, SSE, TEXT, begin, bridged, finish, frame, upgrade};
use crate::support::{Client, Upstream, token};

#[test]
fn a_message_becomes_a_run_and_its_events_become_messages() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut bridge = Bridge::open_with(
        &weir,
        "authorization: Bearer x\r\ncookie: a=b\r\nsec-websocket-protocol: other, weir.v1\r\nsec-websocket-extensions: permessage-deflate\r\n",
    );
    let head = bridge.head.to_ascii_lowercase();
    for field in [
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nsec-websocket-protocol: weir.v1\r\n",
        "\r\nweir-stream-id: ",
        "\r\nx-request-id: ",
    ] {
        assert!(head.contains(field), "{field:?} in {head}");
    }
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    bridge.say("{\"type\":\"message\",\"id\":\"q1\",\"body\":{\"n\":1.50, \"stream\":true}}");
    let mut agent = upstream.accept();
    let (asked, body) = agent.request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "{\"n\":1.50, \"stream\":true}");
    let asked = asked.to_ascii_lowercase();
    for field in [
        "post /chat?a=b http/1.1\r\n",
        "\r\nauthorization: bearer x",
        "\r\ncookie: a=b",
        "\r\ncontent-type: application/json",
        "\r\naccept: text/event-stream, ",
        "\r\nx-forwarded-for: 127.0.0.1",
        "\r\nx-request-id: ",
    ] {
        assert!(asked.contains(field), "{field:?} in {asked}");
    }
    for field in ["sec-websocket", "\r\nupgrade:", "\r\nexpect:"] {
        assert!(!asked.contains(field), "{field:?} in {asked}");
    }
    agent.head(SSE);
    agent.chunk(token("Hel"));
    agent.chunk(token("lo"));
    finish(&mut agent);
    let start = bridge.hear();
    assert_eq!(start["type"], "start");
    assert_eq!(
        (&start["seq"], &start["request"]),
        (&json!(1), &json!("q1"))
    );
    let stream = start["stream"].as_str().unwrap().to_owned();
    assert_eq!(stream.len(), 32);
    let (mut text, mut seq) = (String::new(), 1);
    let last = loop {
        let event = bridge.hear();
        assert_eq!(event["stream"], *stream, "{event}");
        assert!(event.get("request").is_none(), "{event}");
        assert!(event["seq"].as_u64().unwrap() > seq, "{event}");
        seq = event["seq"].as_u64().unwrap();
        match event["type"].as_str().unwrap() {
            "token" => text.push_str(event["text"].as_str().unwrap()),
            "finish" if event["scope"] == "run" => break event,
            _ => {}
        }
    };
    assert_eq!(text, "Hello");
    assert_eq!(last["reason"], "stop");
    let line = weir.ended();
    assert_eq!(
        (&line["outcome"], &line["stream_id"]),
        (&json!("finished"), &json!(stream))
    );
    // The socket goes on, and its end has a line of its own.
    bridge.say("{\"type\":\"ping\",\"id\":1}");
    assert_eq!(bridge.hear(), json!({"type": "pong", "id": 1}));
    bridge.send(frame(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(bridge.closed().0, 1000);
    let line = weir.ended();
    assert_eq!(line["outcome"], "finished");
    assert_eq!(line["transport"], "websocket");
    assert_eq!(
        (&line["close_code"], &line["closed_by"]),
        (&json!(1000), &json!("client"))
    );
    let closes = "weir_websocket_closes_total{code=\"1000\",route=\"chat\"}";
    assert_eq!(weir.count(closes), 1);
}

#[test]
fn the_body_may_be_the_message_itself() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut bridge = Bridge::open(&weir);
    bridge.say("{\"type\":\"message\",\"content\":\"hi\",\"id\":\"q\"}");
    let agent = upstream.accept();
    assert!(agent.request.ends_with("\r\n\r\n{\"content\":\"hi\"}"));
}

#[test]
fn several_runs_share_a_socket_and_there_is_a_bound() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut bridge = Bridge::open(&weir);
    let mut agents = Vec::new();
    for index in 0..8 {
        let (agent, start) = begin(&mut bridge, &upstream, &format!("q{index}"));
        agents.push((agent, start["stream"].clone()));
    }
    bridge.say("{\"type\":\"message\",\"id\":\"q8\",\"body\":{}}");
    let refused = bridge.hear_type("error");
    assert_eq!(
        (&refused["code"], &refused["request"]),
        (&json!("too_many_runs"), &json!("q8"))
    );
    assert_eq!(refused["terminal"], false);
    for (agent, stream) in agents.iter_mut().rev() {
        finish(agent);
        let end = bridge.hear_type("finish");
        let end = if end["scope"] == "run" {
            end
        } else {
            bridge.hear_type("finish")
        };
        assert_eq!(end["stream"], *stream);
    }
    // There is room again.
    begin(&mut bridge, &upstream, "q9");
}

#[test]
fn an_interrupt_ends_the_run_for_the_agent_and_for_the_client() {
    for (keys, kind) in [("", "error"), ("interrupted: true", "interrupted")] {
        let upstream = Upstream::start();
        let weir = bridged(&upstream, keys, "");
        let mut bridge = Bridge::open(&weir);
        let (agent, start) = begin(&mut bridge, &upstream, "q");
        let began = Instant::now();
        bridge.say(&json!({"type": "interrupt", "stream": start["stream"]}).to_string());
        agent.closed();
        assert!(began.elapsed() < Duration::from_secs(1));
        let end = bridge.hear_type(kind);
        assert_eq!(end["code"], "stopped", "{end}");
        assert_eq!(
            (&end["source"], &end["terminal"]),
            (&json!("client"), &json!(true))
        );
        assert_eq!(end["stream"], start["stream"]);
        assert_eq!(weir.ended()["outcome"], "stopped");
        // A run that is no stream yet is stopped by the id of its message.
        bridge.say("{\"type\":\"message\",\"id\":\"slow\",\"body\":{}}");
        let agent = upstream.accept();
        bridge.say("{\"type\":\"stop\",\"id\":\"slow\"}");
        agent.closed();
        let end = bridge.hear_type(kind);
        assert_eq!(
            (&end["code"], &end["request"]),
            (&json!("stopped"), &json!("slow"))
        );
    }
}

#[test]
fn refusals_are_events_and_the_socket_goes_on() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "");
    let mut bridge = Bridge::open(&weir);
    for (answer, code, message, status) in [
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 18\r\n\r\n{\"detail\":\"not it\"",
            "status_403",
            "The agent answered 403 (Forbidden).",
            403,
        ),
        (
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 55\r\n\r\n{\"error\":{\"code\":\"rate_limit\",\"message\":\"slower please\"}}",
            "rate_limit",
            "slower please",
            429,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            "not_a_stream",
            "The agent answered with no stream.",
            200,
        ),
    ] {
        bridge.say("{\"type\":\"message\",\"id\":\"q\",\"body\":{}}");
        let mut agent = upstream.accept();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.find("content-length: ").unwrap();
        let (before, _) = head.split_at(length);
        agent.send(format!(
            "{before}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ));
        let refused = bridge.hear();
        assert_eq!(refused["type"], "error", "{refused}");
        assert_eq!(
            (&refused["code"], &refused["message"]),
            (&json!(code), &json!(message))
        );
        assert_eq!(
            (&refused["status"], &refused["source"]),
            (&json!(status), &json!("agent"))
        );
        assert_eq!(
            (&refused["request"], &refused["terminal"]),
            (&json!("q"), &json!(false))
        );
    }
}

#[test]
fn a_client_comes_back_to_a_stream() {
    let upstream = Upstream::start();
    let weir = bridged(&upstream, "", "resume: {}, on_disconnect: continue");
    let mut first = Bridge::open_with(&weir, "authorization: Bearer x\r\n");
    let (mut agent, start) = begin(&mut first, &upstream, "q");
    let token = first.hear_type("token");
    drop(first);
    let mut second = Bridge::open_with(&weir, "authorization: Bearer x\r\n");
    let ask = json!({"type": "resume", "stream": start["stream"], "after": token["seq"]});
    second.say(&ask.to_string());
    finish(&mut agent);
    let next = second.hear();
    assert_eq!(next["stream"], start["stream"]);
    assert_eq!(
        next["seq"].as_u64(),
        token["seq"].as_u64().map(|seq| seq + 1),
        "{next}"
    );
    while second.hear_type("finish")["scope"] != "run" {}
    // From the beginning, again.
    let ask = json!({"type": "resume", "stream": start["stream"], "after": 0, "id": "r"});
    second.say(&ask.to_string());
    let again = second.hear();
    assert_eq!(
        (&again["type"], &again["request"]),
        (&json!("start"), &json!("r"))
    );
    let end = loop {
        let end = second.hear_type("finish");
        if end["scope"] == "run" {
            break end;
        }
    };
    let ask = json!({"type": "resume", "stream": start["stream"], "after": end["seq"]});
    second.say(&ask.to_string());
    assert_eq!(second.hear()["code"], "complete");
    // Another caller learns nothing.
    let mut other = Bridge::open_with(&weir, "authorization: Bearer y\r\n");
    for stream in [start["stream"].as_str().unwrap(), &"0".repeat(32), "x"] {
        other.say(&json!({"type": "resume", "stream": stream}).to_string());
        let refused = other.hear();
        assert_eq!(
            refused,
            json!({"type": "error", "stream": stream, "code": "not_found", "message": "No such stream.", "retryable": false, "source": "proxy", "terminal": false})
        );
        other.say(&json!({"type": "interrupt", "stream": stream}).to_string());
        assert_eq!(other.hear()["code"], "not_found");
    }
}

#[test]
fn a_client_that_acknowledges_is_held_to_it() {
    let upstream = Upstream::start();
    let weir = bridged(
        &upstream,
        "ack: required, ack_window: 4, ack_timeout: 1s",
        "",
    );
    let mut bridge = Bridge::open(&weir);
    let (mut agent, start) = begin(&mut bridge, &upstream, "q");
    for _ in 0..50 {
        agent.chunk(token("x"));
    }
    let mut seen = vec![1];
    while seen.len() < 4 {
        seen.push(bridge.hear()["seq"].as_u64().unwrap());
    }
    let unacked = "weir_websocket_unacked_events{route=\"chat\"}";
    weir.metric_until(unacked, |count| count > 3.5);
    let ack = json!({"type": "ack", "stream": start["stream"], "seq": seen[1]});
    bridge.say(&ack.to_string());
    for _ in 0..2 {
        bridge.hear();
    }
    bridge.say("ack");
    for _ in 0..4 {
        bridge.hear();
    }
    // Nothing is acknowledged from here on.
    let (code, reason) = bridge.closed();
    assert_eq!((code, &*reason), (1013, "client_stalled"));
    agent.closed();
    weir.metric_until(unacked, |count| count < 0.5);
    let line = weir.log_line(|line| line["transport"] == "websocket");
    assert_eq!(
        (&line["outcome"], &line["close_code"]),
        (&json!("client_stalled"), &json!(1013))
    );
}

#[test]
fn a_client_that_never_acknowledges_gets_everything() {
    for keys in [
        "ack_window: 4, ack_timeout: 100ms",
        "ack: off, ack_window: 4, ack_timeout: 100ms",
    ] {
        let upstream = Upstream::start();
        let weir = bridged(&upstream, keys, "");
        let mut bridge = Bridge::open(&weir);
        let (mut agent, _) = begin(&mut bridge, &upstream, "q");
        for _ in 0..50 {
            agent.chunk(token("x"));
        }
        finish(&mut agent);
        while bridge.hear_type("finish")["scope"] != "run" {}
        std::thread::sleep(Duration::from_millis(300));
        bridge.say("{\"type\":\"ping\"}");
        assert_eq!(bridge.hear()["type"], "pong");
    }
}

#[test]
fn only_pages_of_the_same_site_open_a_bridge() {
    let upstream = Upstream::start();
    let same = bridged(&upstream, "", "");
    let listed = bridged(&upstream, "origins: \"https://app.example\"", "");
    for (weir, fields, status) in [
        (&same, "", "101"),
        (&same, "origin: http://test\r\n", "101"),
        (&same, "origin: https://evil.example\r\n", "403"),
        (&same, "origin: null\r\n", "403"),
        (&listed, "origin: https://app.example\r\n", "101"),
        (&listed, "origin: http://test\r\n", "403"),
    ] {
        let mut client = Client::connect(&weir.address);
        client.send(upgrade(fields));
        let head = client.until("\r\n\r\n");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{fields}: {head}"
        );
    }
    let mut client = Client::connect(&same.address);
    client.send(upgrade("").replace("version: 13", "version: 8"));
    let head = client.until("\r\n\r\n").to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 426 ") && head.contains("\r\nsec-websocket-version: 13\r\n")
    );
    // Other requests of the route go to the agent as ever.
    let mut plain = Client::post(&same.address, "/chat");
    let mut agent = upstream.accept();
    agent.head(SSE);
    agent.chunk(token("Hello"));
    finish(&mut agent);
    assert!(plain.rest().contains("Hello"));
}

#[test]
fn the_transport_of_the_ai_sdk_is_spoken() {
    let upstream = Upstream::start();
    let weir = bridged(
        &upstream,
        "",
        "resume: { chats: { path: \"/chat/{id}/stream\" } }, on_disconnect: continue",
    );
    let mut bridge = Bridge::open(&weir);
    bridge.say("{\"type\":\"send\",\"requestId\":\"q1\",\"id\":\"chat 1\",\"trigger\":\"submit-message\",\"messages\":[],\"headers\":{\"authorization\":\"Bearer x\"},\"body\":{\"stream\":true}}");
    let mut agent = upstream.accept();
    assert!(
        agent
            .request
            .to_ascii_lowercase()
            .contains("\r\nauthorization: bearer x")
    );
    assert!(agent.request.ends_with(
        "{\"stream\":true,\"id\":\"chat 1\",\"messages\":[],\"trigger\":\"submit-message\"}"
    ));
    agent.head(SSE);
    agent.chunk(token("Hello"));
    let mut sequence = 0;
    let mut chunks = |bridge: &mut Bridge, until: &str| loop {
        let message = bridge.hear();
        assert_eq!(message["requestId"], "q1");
        if message["type"] == "end" {
            return "end".to_owned();
        }
        assert_eq!(
            (&message["type"], &message["sequence"]),
            (&json!("chunk"), &json!(sequence))
        );
        sequence += 1;
        let kind = message["chunk"]["type"].as_str().unwrap().to_owned();
        if kind == until {
            return kind;
        }
    };
    chunks(&mut bridge, "text-delta");
    // Another tab comes back to the chat.
    let mut other = Bridge::open(&weir);
    let resume = "{\"type\":\"resume\",\"requestId\":\"q2\",\"id\":\"chat 1\",\"headers\":{\"authorization\":\"Bearer x\"},\"body\":{}}";
    other.say(resume);
    assert_eq!(other.hear(), json!({"requestId": "q2", "type": "start"}));
    let first = other.hear();
    assert_eq!(
        (&first["sequence"], &first["chunk"]["type"]),
        (&json!(0), &json!("start"))
    );
    finish(&mut agent);
    assert_eq!(chunks(&mut bridge, "never"), "end");
    while other.hear()["type"] != "end" {}
    other.say(resume);
    assert_eq!(
        other.hear(),
        json!({"requestId": "q2", "type": "no-active"})
    );
    // An abort ends the run for the agent.
    bridge.say("{\"type\":\"send\",\"requestId\":\"q3\",\"id\":\"c\",\"trigger\":\"submit-message\",\"messages\":[],\"headers\":{},\"body\":{}}");
    let mut agent = upstream.accept();
    agent.head(SSE);
    agent.chunk(token("Hello"));
    bridge.hear();
    bridge.send(frame(TEXT, b"{\"type\":\"abort\",\"requestId\":\"q3\"}"));
    agent.closed();
}
