//! What clients get that are not answered as their agent speaks: whole answers, statuses, batches, mapped requests.

use crate::support::{Accepted, Client, Upstream, Weir, get, token};

const CHAT: &str = "/v1/chat/completions";
const PLAIN: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }";
const USAGE: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n";
const STOP: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn with(route: &str) -> String {
    format!("{PLAIN}\nroutes: [ {{ name: chat, upstream: agent, {route} }} ]")
}

/// POSTs a JSON body.
fn ask(weir: &Weir, fields: &str, body: &str) -> Client {
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    client
}

/// Returns the chunks of a response, joined.
fn body(response: &str) -> String {
    let (_, mut rest) = response.split_once("\r\n\r\n").unwrap();
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&after[..length]);
        rest = &after[length + 2..];
    }
    body
}

fn json(response: &str) -> serde_json::Value {
    serde_json::from_str(&body(response)).unwrap()
}

/// Answers with a whole body.
fn whole(agent: &mut Accepted, body: &str) {
    agent.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
}

#[test]
fn a_client_that_asks_for_no_stream_gets_one_answer_made_of_a_stream() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("reply: { aggregate: true }"), upstream.address());
    let mut client = ask(
        &weir,
        "",
        "{\"model\":\"m\",\"messages\":[],\"n\":1.50,\"stream\":false}",
    );
    let mut agent = upstream.accept();
    let (_, sent) = agent.request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        sent,
        "{\"model\":\"m\",\"messages\":[],\"n\":1.50,\"stream_options\":{\"include_usage\":true},\"stream\":true}"
    );
    agent.head("text/event-stream");
    for part in [&token("Hel"), &token("lo"), STOP, USAGE, DONE] {
        agent.chunk(part);
    }
    agent.end();
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 200 ") && all.contains("content-type: application/json"));
    let answer = json(&all);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"]["content"], "Hello");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 9);
    assert_eq!(weir.ended()["outcome"], "finished");
}

#[test]
fn translated_streams_are_counted_by_what_their_clients_got() {
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with("reply: { offer: ai-sdk, aggregate: true }"),
        upstream.address(),
    );
    for (fields, sent) in [
        ("", "{\"stream\":true}"),
        ("weir-reply: ai-sdk\r\n", "{\"stream\":true}"),
        ("", "{\"messages\":[]}"),
    ] {
        let mut client = ask(&weir, fields, sent);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        for part in [&token("Hi"), STOP, DONE] {
            agent.chunk(part);
        }
        agent.end();
        client.rest();
        weir.ended();
    }
    let metrics = get(&weir.admin, "/metrics");
    for (reply, count) in [("ai-sdk", 1), ("events", 0), ("openai-chat", 1)] {
        let series = format!("weir_replies_total{{reply=\"{reply}\",route=\"chat\"}} {count}\n");
        assert!(metrics.contains(&series), "{series}{metrics}");
    }
}

#[test]
fn a_failure_of_an_aggregated_stream_has_its_status() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("reply: { aggregate: true }"), upstream.address());
    let mut client = ask(&weir, "", "{\"messages\":[]}");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("Hel"));
    agent.end();
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
    assert_eq!(json(&all)["error"]["code"], "truncated");
    let ended = weir.ended();
    assert_eq!(
        (&ended["outcome"], &ended["status"]),
        (&"truncated".into(), &502.into())
    );
}

#[test]
fn a_head_that_waits_is_no_slow_client() {
    let upstream = Upstream::start();
    let route = "reply: { aggregate: true }, commit_after: 5s, heartbeat: 20ms, deadlines: { client_stall: 100ms }";
    let weir = Weir::start(&with(route), upstream.address());
    let mut client = ask(&weir, "", "{\"messages\":[]}");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("Hi"));
    let heartbeats = "weir_heartbeats_total{route=\"chat\"}";
    weir.metric_until(heartbeats, |count| count >= 8.0);
    for part in [STOP, DONE] {
        agent.chunk(part);
    }
    agent.end();
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
    assert_eq!(json(&all)["choices"][0]["message"]["content"], "Hi");
}

#[test]
fn with_commit_after_spaces_keep_the_client_waiting() {
    let upstream = Upstream::start();
    let route = "reply: { aggregate: true }, commit_after: 20ms, heartbeat: 30ms";
    let weir = Weir::start(&with(route), upstream.address());
    let mut client = ask(&weir, "", "{\"messages\":[]}");
    let mut agent = upstream.accept();
    client.until("\r\n\r\n1\r\n \r\n1\r\n \r\n");
    agent.head("text/event-stream");
    for part in [&token("Hi"), STOP, DONE] {
        agent.chunk(part);
    }
    agent.end();
    let all = client.rest();
    assert!(all.starts_with("HTTP/1.1 200 ") && body(&all).starts_with("  "));
    assert_eq!(json(&all)["choices"][0]["message"]["content"], "Hi");
}

#[test]
fn a_client_that_asks_for_a_stream_gets_one_also_with_aggregate() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("reply: { aggregate: true }"), upstream.address());
    for (fields, sent) in [
        ("", "{\"stream\":true}"),
        ("accept: text/event-stream\r\n", "{\"a\":1}"),
    ] {
        let mut client = ask(&weir, fields, sent);
        let mut agent = upstream.accept();
        assert!(agent.request.ends_with(sent), "{}", agent.request);
        agent.head("text/event-stream");
        for part in [&token("Hi"), STOP, DONE] {
            agent.chunk(part);
        }
        agent.end();
        assert!(client.rest().contains("data: [DONE]"));
    }
}

#[test]
fn a_whole_answer_to_a_request_for_a_stream_becomes_one() {
    let answer = "{\"id\":\"c1\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}";
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with("reply: { unstream: synthesize, offer: ai-sdk }"),
        upstream.address(),
    );
    let mut client = ask(&weir, "", "{\"messages\":[],\"stream\":true}");
    whole(&mut upstream.accept(), answer);
    let all = client.rest();
    assert!(all.contains("content-type: text/event-stream"), "{all}");
    assert!(all.contains("\"content\":\"Hello\"") && all.contains("data: [DONE]\n\n"));
    assert_eq!(weir.ended()["outcome"], "finished");
    let mut client = ask(
        &weir,
        "weir-reply: ai-sdk\r\n",
        "{\"messages\":[],\"stream\":true}",
    );
    whole(&mut upstream.accept(), answer);
    let all = client.rest();
    assert!(all.contains("\"type\":\"text-delta\"") && all.contains("\"delta\":\"Hello\""));
    // What is no answer, and what was not asked for as a stream, passes.
    for (sent, answer) in [
        ("{\"stream\":true}", "{\"some\":\"thing\"}"),
        ("{\"messages\":[]}", answer),
    ] {
        let mut client = ask(&weir, "", sent);
        whole(&mut upstream.accept(), answer);
        let all = client.until(answer);
        assert!(all.contains("content-type: application/json"), "{all}");
    }
}

#[test]
fn requests_of_chat_clients_reach_the_agent_in_its_form() {
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with("request: { from: ai-sdk }, reply: { as: ai-sdk }"),
        upstream.address(),
    );
    let mut client = ask(
        &weir,
        "",
        "{\"id\":\"x\",\"trigger\":\"submit-message\",\"model\":\"m\",\"messages\":[{\"id\":\"1\",\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"text\":\"Hi\"}]}]}",
    );
    let mut agent = upstream.accept();
    let (_, sent) = agent.request.split_once("\r\n\r\n").unwrap();
    let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
    assert_eq!(sent["messages"][0]["role"], "user");
    assert_eq!(
        (&sent["model"], &sent["stream"], &sent["id"]),
        (&"m".into(), &true.into(), &serde_json::Value::Null)
    );
    agent.head("text/event-stream");
    for part in [&token("Hello"), STOP, DONE] {
        agent.chunk(part);
    }
    agent.end();
    assert!(client.rest().contains("\"type\":\"finish\""));
    let mut client = ask(
        &weir,
        "",
        "{\"messages\":[{\"role\":\"user\",\"parts\":3}]}",
    );
    let all = client.until("messages[0].parts");
    assert!(all.starts_with("HTTP/1.1 422 "), "{all}");
}

#[test]
fn pieces_of_text_leave_together() {
    let upstream = Upstream::start();
    let route = "batch: { max_delay: 1s, max_chars: 8 }";
    let weir = Weir::start(&with(route), upstream.address());
    let mut client = ask(&weir, "", "{\"stream\":true}");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    // The first leaves at once.
    agent.chunk(token("aa"));
    client.until("\"content\":\"aa\"");
    for piece in ["bb", "cc", "dd", "ee"] {
        agent.chunk(token(piece));
    }
    client.until("\"content\":\"bbccddee\"");
    agent.chunk(token("ff"));
    agent.chunk(STOP);
    client.until("\"content\":\"ff\"");
    agent.chunk(DONE);
    agent.end();
    let all = client.rest();
    assert_eq!(all.matches("\"content\"").count(), 3, "{all}");
    assert_eq!(weir.ended()["outcome"], "finished");
}

#[test]
fn a_burst_is_spread_over_time() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("pace: { max_delay: 400ms }"), upstream.address());
    let mut client = ask(&weir, "", "{\"stream\":true}");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    let began = tokio::time::Instant::now();
    let all: Vec<String> = ["a", "b", "c", "d", "e"].map(token).into();
    agent.chunk(all.concat() + STOP + DONE);
    agent.end();
    client.until("\"content\":\"a\"");
    assert!(began.elapsed().as_millis() < 300);
    let seen = client.until("\"content\":\"c\"");
    assert!(!seen.contains("\"content\":\"e\""), "{seen}");
    client.rest();
    assert!(began.elapsed().as_millis() >= 390);
    let ended = weir.ended();
    assert_eq!(
        (&ended["outcome"], &ended["dropped"]),
        (&"finished".into(), &0.into())
    );
}

#[test]
fn people_are_told_what_is_going_on() {
    let upstream = Upstream::start();
    let route =
        "hide: { reasoning: drop }, heartbeat: 100ms, reply: { as: events, status: visible }";
    let weir = Weir::start(&with(route), upstream.address());
    let mut client = ask(&weir, "", "{\"stream\":true}");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("<think>secret"));
    client.until("\"text\":\"Thinking...\"");
    agent.chunk(token("</think>Hi"));
    client.until("\"text\":\"Hi\"");
    client.until("\"name\":\"waiting\",\"text\":\"Waiting for 0 s...\",\"detail\":{\"seconds\":0}");
    agent.chunk("data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"search\",\"arguments\":\"{}\"}}]}}]}\n\n");
    client.until("\"text\":\"Using search...\"");
    for part in [STOP, DONE] {
        agent.chunk(part);
    }
    agent.end();
    let all = client.rest();
    assert!(
        !all.contains("secret") && all.contains("\"type\":\"finish\""),
        "{all}"
    );
}

#[test]
fn a_client_that_leaves_stops_an_aggregated_stream() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("reply: { aggregate: true }"), upstream.address());
    let client = ask(&weir, "", "{\"messages\":[]}");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("Hel"));
    let active = "weir_streams_active{route=\"chat\",transport=\"sse\"}";
    weir.metric_until(active, |count| count >= 1.0);
    drop(client);
    agent.closed();
    assert_eq!(weir.ended()["outcome"], "client_gone");
}
