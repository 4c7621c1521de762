//! Several agents in one stream, with real sockets: one request goes to all, and what becomes of it in each case.

use serde_json::Value;

use crate::support::{Accepted, Client, Upstream, Weir, token};

const DONE: &str = "data: [DONE]\n\n";

/// Two agents, `poet` and `clerk`, each with an upstream of its own.
struct Pair {
    poet: Upstream,
    clerk: Upstream,
    weir: Weir,
}

fn pair(route: &str, merge: &str) -> Pair {
    let (poet, clerk) = (Upstream::start(), Upstream::start());
    let yaml = format!(
        "upstreams:\n  one: {{ endpoints: [\"$UPSTREAM\"] }}\n  two: {{ endpoints: [\"http://{}\"] }}\n\
        routes:\n  - name: team\n    {route}\n    merge:\n      agents:\n        \
        - {{ name: poet, upstream: one, body: {{ role: poet, stop: null }} }}\n        \
        - {{ name: clerk, upstream: two, path: \"/v2/chat?x=1\" }}\n      {merge}\n",
        clerk.address()
    );
    let weir = Weir::start(&yaml, poet.address());
    Pair { poet, clerk, weir }
}

fn ask(weir: &Weir) -> Client {
    let body = r#"{"stream":true,"n":1.50,"stop":["x"],"messages":[]}"#;
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    client
}

/// Returns the native events of a response, whose framing is NDJSON in chunks.
fn events(response: &str) -> Vec<Value> {
    response
        .lines()
        .filter(|line| line.starts_with("{\"type\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn streams(agent: &mut Accepted, texts: &[&str]) {
    agent.head("text/event-stream");
    for text in texts {
        agent.chunk(token(text));
    }
    agent.chunk(DONE);
    agent.end();
}

fn refuses(agent: &mut Accepted, status: &str) {
    agent.send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
}

fn text_of(events: &[Value], agent: &str) -> String {
    let is_of = |event: &&Value| event["type"] == "token" && event["agent"][0] == agent;
    let texts = events.iter().filter(is_of);
    texts.filter_map(|event| event["text"].as_str()).collect()
}

#[test]
fn one_request_goes_to_all_agents_each_with_its_own_changes() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ndjson }", "finish: all");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    assert!(
        first.request.starts_with("POST /v1/chat/completions "),
        "{}",
        first.request
    );
    let changed = r#"{"stream":true,"n":1.50,"messages":[],"role":"poet"}"#;
    assert!(first.request.ends_with(changed), "{}", first.request);
    assert!(
        second.request.starts_with("POST /v2/chat?x=1 "),
        "{}",
        second.request
    );
    let same = r#"{"stream":true,"n":1.50,"stop":["x"],"messages":[]}"#;
    assert!(second.request.ends_with(same), "{}", second.request);
    for request in [&first.request, &second.request] {
        assert!(request.contains("authorization: Bearer t\r\n"), "{request}");
    }
    streams(&mut first, &["Sea ", "foam."]);
    streams(&mut second, &["Item one"]);
    let all = client.rest();
    assert!(
        all.starts_with("HTTP/1.1 200 ") && all.contains("content-type: application/x-ndjson"),
        "{all}"
    );
    let events = events(&all);
    assert_eq!(text_of(&events, "poet"), "Sea foam.");
    assert_eq!(text_of(&events, "clerk"), "Item one");
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], index + 1, "{event}");
    }
    let last = events.last().unwrap();
    assert_eq!(last["scope"], "run");
    assert_eq!(last["agents"]["poet"], "finished");
    let line = weir.ended();
    assert_eq!(line["outcome"], "finished");
    let agents = line["agents"].as_str().unwrap();
    assert!(agents.starts_with("poet=finished ("), "{agents}");
    let series = "weir_merge_agents_total{agent=\"clerk\",outcome=\"finished\",route=\"team\"}";
    assert!((weir.metric(series) - 1.0).abs() < f64::EPSILON);
    let series = "weir_merge_ttft_seconds_count{agent=\"poet\",route=\"team\"}";
    assert!((weir.metric(series) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn one_refusal_is_the_agents_own() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ndjson }", "fail: continue");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    refuses(&mut first, "503 Service Unavailable");
    streams(&mut second, &["ok"]);
    let events = events(&client.rest());
    let error = events
        .iter()
        .find(|event| event["type"] == "error")
        .unwrap();
    assert_eq!(error["agent"][0], "poet");
    assert_eq!(error["code"], "upstream_status");
    assert_eq!(error["terminal"], false);
    assert_eq!(text_of(&events, "clerk"), "ok");
    assert_eq!(events.last().unwrap()["agents"]["poet"], "upstream_status");
}

#[test]
fn the_first_refusal_is_the_answer_if_all_refuse_as_it_came() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ndjson }", "fail: continue");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    let body = r#"{"error":"slow down"}"#;
    first.send(format!(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nwww-authenticate: Bearer realm=\"a\"\r\n\
         content-type: application/problem+json\r\ncontent-length: {}\r\nconnection: keep-alive\r\n\r\n{body}",
        body.len()
    ));
    // The other one answers only when the first refusal has been read.
    let series = "weir_upstream_headers_seconds_count{route=\"team\"}";
    weir.metric_until(series, |heads| heads >= 1.0);
    refuses(&mut second, "503 Service Unavailable");
    let all = client.until(body);
    for line in [
        "HTTP/1.1 429 ",
        "\r\nretry-after: 7\r\n",
        "\r\nwww-authenticate: Bearer realm=\"a\"\r\n",
        "\r\ncontent-type: application/problem+json\r\n",
    ] {
        assert!(all.contains(line), "{line} in {all}");
    }
    assert_eq!(errors(&weir, "status_5xx"), 1);
    let series = "weir_requests_total{code=\"429\",kind=\"unary\",route=\"team\"}";
    assert_eq!(weir.count(series), 1);
}

/// Returns how many calls have failed for this reason.
fn errors(weir: &Weir, reason: &str) -> usize {
    let labels = format!("reason=\"{reason}\",route=\"team\"");
    weir.count(&format!("weir_upstream_errors_total{{{labels}}}"))
}

#[test]
fn each_call_that_fails_before_an_answer_is_counted() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ndjson }", "fail: continue");
    let mut client = ask(&weir);
    drop((poet.accept(), clerk.accept()));
    let all = client.until("\"code\"");
    assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
    assert_eq!(errors(&weir, "upstream_reset"), 2);
}

#[test]
fn each_stream_that_fails_is_counted_and_the_run_is_no_further_call() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ndjson }", "fail: continue");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    for agent in [&mut first, &mut second] {
        agent.head("text/event-stream");
        agent.chunk(token("a"));
    }
    // Both bodies end before their streams do.
    first.end();
    second.end();
    assert_eq!(events(&client.rest()).last().unwrap()["terminal"], true);
    assert_eq!(weir.ended()["outcome"], "upstream_error");
    assert_eq!(errors(&weir, "truncated"), 2);
    assert_eq!(errors(&weir, "upstream_error"), 0);
}

#[test]
fn the_first_to_finish_ends_the_others_where_the_route_says_so() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ndjson }", "finish: any");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    second.head("text/event-stream");
    second.chunk(token("never ends"));
    streams(&mut first, &["quick"]);
    let events = events(&client.rest());
    assert_eq!(events.last().unwrap()["agents"]["clerk"], "cancelled");
    second.closed();
    assert_eq!(weir.ended()["outcome"], "finished");
}

#[test]
fn a_client_that_leaves_takes_all_calls_with_it() {
    let Pair { poet, clerk, weir } = pair("reply: { as: ai-sdk }", "finish: all");
    let client = ask(&weir);
    let (mut first, second) = (poet.accept(), clerk.accept());
    first.head("text/event-stream");
    first.chunk(token("a"));
    drop(client);
    first.closed();
    // This one had not even answered.
    second.closed();
}

/// Returns the native events of a response, whose framing is SSE in chunks, up to the last whole one.
fn sse_events(response: &str) -> Vec<Value> {
    let data = response
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|event| serde_json::from_str(event).ok())
        .collect()
}

/// Asks for what follows an event of a stream.
fn come_back(weir: &Weir, stream: &str, after: &str) -> Client {
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "GET /.weir/streams/{stream}?after={after} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer t\r\n\r\n"
    ));
    client
}

#[test]
fn a_client_that_comes_back_gets_exactly_the_rest_of_all_agents() {
    let route = "reply: { as: events }\n    resume: {}\n    on_disconnect: continue";
    let Pair { poet, clerk, weir } = pair(route, "finish: all");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    first.head("text/event-stream");
    first.chunk(token("Sea "));
    second.head("text/event-stream");
    second.chunk(token("Item "));
    client.until("Sea ");
    let seen = client.until("Item ");
    let stream = seen
        .lines()
        .find_map(|line| line.strip_prefix("weir-stream-id: "))
        .unwrap();
    // The connection breaks. Its last event may have been cut in two.
    drop(client);
    let before = sse_events(&seen);
    let last = before.last().unwrap()["seq"].to_string();
    first.chunk(token("foam."));
    let mut back = come_back(&weir, stream, &last);
    back.until("foam.");
    second.chunk(token("one"));
    for agent in [&mut first, &mut second] {
        agent.chunk(DONE);
        agent.end();
    }
    let rest = back.rest();
    let all = [before, sse_events(&rest)].concat();
    for (index, event) in all.iter().enumerate() {
        assert_eq!(event["seq"], index + 1, "{event}");
    }
    assert!(
        rest.contains(&format!("id: {stream}.{}\n", all.len())),
        "{rest}"
    );
    assert_eq!(text_of(&all, "poet"), "Sea foam.");
    assert_eq!(text_of(&all, "clerk"), "Item one");
    let end = all.last().unwrap();
    assert_eq!(
        (&end["type"], &end["scope"]),
        (&"finish".into(), &"run".into())
    );
    assert_eq!(weir.ended()["outcome"], "finished");
    // Whoever comes later gets the same, from the journal.
    let again = sse_events(&come_back(&weir, stream, "0").rest());
    assert_eq!(again.last(), all.last());
    for agent in ["poet", "clerk"] {
        assert_eq!(text_of(&again, agent), text_of(&all, agent));
    }
}

#[test]
fn a_chat_that_comes_back_gets_exactly_the_rest_of_all_agents() {
    let route = "reply: { as: ai-sdk }\n    resume: {}\n    on_disconnect: continue";
    let Pair { poet, clerk, weir } = pair(route, "finish: all");
    let mut client = ask(&weir);
    let (mut first, mut second) = (poet.accept(), clerk.accept());
    first.head("text/event-stream");
    first.chunk(token("Sea "));
    second.head("text/event-stream");
    second.chunk(token("Item "));
    client.until("Sea ");
    let seen = client.until("Item ");
    let stream = seen
        .lines()
        .find_map(|line| line.strip_prefix("weir-stream-id: "))
        .unwrap();
    drop(client);
    // Parts of the AI SDK have no numbers of their own: the client has so many of them.
    let before = sse_events(&seen);
    let mut back = come_back(&weir, stream, &before.len().to_string());
    first.chunk(token("foam."));
    back.until("foam.");
    second.chunk(token("one"));
    for agent in [&mut first, &mut second] {
        agent.chunk(DONE);
        agent.end();
    }
    let rest = back.rest();
    assert!(rest.contains("data: [DONE]\n"), "{rest}");
    let all = [before, sse_events(&rest)].concat();
    let text_of = |name: &str| -> String {
        let id = format!("{name}:p1");
        let deltas = all
            .iter()
            .filter(|part| part["type"] == "text-delta" && part["id"] == *id);
        deltas.filter_map(|part| part["delta"].as_str()).collect()
    };
    assert_eq!(text_of("poet"), "Sea foam.");
    assert_eq!(text_of("clerk"), "Item one");
    assert_eq!(all.last().unwrap()["type"], "finish");
    assert_eq!(weir.ended()["outcome"], "finished");
    let again = sse_events(&come_back(&weir, stream, "0").rest());
    assert_eq!(again, all);
}
