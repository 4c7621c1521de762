//! Subscriptions: streams that say something only when something happens.

use crate::streams::{CHAT, PLAIN, with};
use crate::support::{Accepted, Client, Upstream, Weir, get, token};

const SHORT: &str = "deadlines: { first_event: 500ms, idle: 200ms, progress: 300ms, after_end: 200ms, total: 1m }, heartbeat: 100ms";
/// A heartbeat as the client gets it.
const HEARTBEAT: &str = "2\r\n:\n\r\n";
/// So many of them take longer than each of the deadlines.
const SILENCE: usize = 7;
const PING: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n";

/// A subscription: the head of the request without its method, its body, and its first event.
struct Subscription {
    request: &'static str,
    fields: &'static str,
    body: &'static str,
    first: &'static str,
}

const fn get_of(request: &'static str, fields: &'static str, first: &'static str) -> Subscription {
    Subscription {
        request,
        fields,
        body: "",
        first,
    }
}

const fn call(body: &'static str, first: &'static str) -> Subscription {
    Subscription {
        request: "POST /agent",
        fields: "content-type: application/json\r\n",
        body,
        first,
    }
}

const CHANGED: &str =
    "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
const WORKING: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"kind\":\"status-update\",\"taskId\":\"k\",\"contextId\":\"c\",\"final\":false,\"status\":{\"state\":\"working\"}}}\n\n";
static SUBSCRIPTIONS: [Subscription; 9] = [
    get_of("GET /mcp/", "accept: text/event-stream\r\n", CHANGED),
    get_of(
        "GET /tools",
        "accept: text/event-stream\r\nmcp-session-id: s\r\n",
        "id: 0\ndata: \n\n",
    ),
    get_of(
        "GET /sse",
        "accept: text/event-stream\r\n",
        "event: endpoint\ndata: /messages/?session_id=1\n\n",
    ),
    // A run has failed; the thread goes on.
    get_of(
        "GET /threads/t/stream",
        "accept: text/event-stream\r\n",
        "event: error\ndata: {\"error\":\"ValueError\",\"message\":\"x\"}\n\n",
    ),
    get_of(
        "GET /threads/t/runs/r/stream",
        "accept: text/event-stream\r\n",
        "event: metadata\ndata: {\"run_id\":\"r\",\"attempt\":1}\n\n",
    ),
    Subscription {
        request: "POST /threads/t/stream/events",
        fields: "content-type: application/json\r\n",
        body: "{\"channels\":[\"lifecycle\"]}",
        first: "event: lifecycle\ndata: {\"type\":\"event\",\"method\":\"lifecycle\",\"params\":{\"namespace\":[],\"data\":{\"event\":\"failed\"}}}\n\n",
    },
    call(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscriptions\\/listen\"}",
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\"}\n\n",
    ),
    call(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"SubscribeToTask\"}",
        "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"statusUpdate\":{\"taskId\":\"k\",\"contextId\":\"c\",\"status\":{\"state\":\"TASK_STATE_WORKING\"}}}}\n\n",
    ),
    call(
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tasks/resubscribe\"}",
        WORKING,
    ),
];

fn open(
    weir: &Weir,
    upstream: &Upstream,
    request: &str,
    fields: &str,
    body: &str,
) -> (Client, Accepted) {
    let mut client = Client::connect(&weir.address);
    let length = body.len();
    client.send(format!(
        "{request} HTTP/1.1\r\nhost: h\r\n{fields}content-length: {length}\r\n\r\n{body}"
    ));
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    (client, agent)
}

/// Returns the errors of the upstream that were counted, for any reason.
fn errors(weir: &Weir) -> Vec<String> {
    let metrics = get(&weir.admin, "/metrics");
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("weir_upstream_errors_total{") && !line.ends_with(" 0"));
    counted.map(str::to_owned).collect()
}

#[test]
fn a_subscription_may_be_silent_before_and_after_its_events() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with(SHORT), upstream.address());
    // All of them at once, because each waits.
    let mut all: Vec<_> = SUBSCRIPTIONS
        .iter()
        .map(|one| {
            let (client, agent) = open(&weir, &upstream, one.request, one.fields, one.body);
            (one, client, agent)
        })
        .collect();
    for (_, client, _) in &mut all {
        client.until(&HEARTBEAT.repeat(SILENCE));
    }
    for (one, _, agent) in &mut all {
        agent.chunk(one.first);
    }
    for (one, client, _) in &mut all {
        let silence = HEARTBEAT.repeat(SILENCE);
        client.until(&format!("{}\r\n{silence}", one.first));
    }
    for (_, _, agent) in &mut all {
        agent.chunk("data: {\"last\":1}\n\n");
    }
    for (_, mut client, _agent) in all {
        client.until("{\"last\":1}");
        drop(client);
        let line = weir.ended();
        assert_eq!(line["outcome"], "client_gone", "{line}");
    }
    assert_eq!(errors(&weir), Vec::<String>::new());
}

/// Pings are no progress; a subscription needs none.
#[test]
fn a_subscription_that_only_pings_goes_on() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with(SHORT), upstream.address());
    let fields = "accept: text/event-stream\r\n";
    let (mut client, mut agent) = open(&weir, &upstream, "GET /mcp", fields, "");
    agent.chunk(CHANGED);
    client.until("list_changed");
    for heartbeats in 1..=SILENCE {
        agent.chunk(": ping\n\n");
        // These are Weir's own.
        client.until(&HEARTBEAT.repeat(heartbeats));
    }
    agent.chunk(PING);
    client.until("notifications/message");
}

#[test]
fn the_whole_stream_has_a_limit_and_what_is_no_subscription_has_all() {
    let upstream = Upstream::start();
    let yaml = with(&SHORT.replace("total: 1m", "total: 2s"));
    let weir = Weir::start(&yaml, upstream.address());
    let fields = "accept: text/event-stream\r\n";
    let (mut client, mut agent) = open(&weir, &upstream, "GET /mcp", fields, "");
    agent.chunk(CHANGED);
    client.until("list_changed");
    assert_eq!(weir.ended()["outcome"], "total_timeout");
    assert_eq!(errors(&weir), Vec::<String>::new());
    // The call that does the work, not one that listens.
    let json = "content-type: application/json\r\n";
    let body = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"message/stream\"}";
    let (mut client, mut agent) = open(&weir, &upstream, "POST /agent", json, body);
    agent.chunk(WORKING);
    client.until("idle_timeout");
    assert_eq!(weir.ended()["outcome"], "idle_timeout");
    let mut other = Client::post(&weir.address, CHAT);
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    other.until("first_event_timeout");
    weir.ended();
    assert_eq!(errors(&weir).len(), 2, "{:?}", errors(&weir));
}

#[test]
fn the_end_of_a_subscription_is_no_failure_of_its_endpoint() {
    let upstream = Upstream::start();
    let port = upstream.address().port();
    let agent = format!("\"$UPSTREAM\", \"http://localhost:{port}\"");
    let eject = "eject: { failures: 1, for: 1h }";
    let yaml = PLAIN.replace("\"$UPSTREAM\"]", &format!("{agent}], {eject}"));
    let weir = Weir::start(&yaml, upstream.address());
    let ejected = "weir_upstream_endpoints_ejected{upstream=\"agent\"}";
    let fields = "accept: text/event-stream\r\n";
    let (mut client, mut agent) = open(&weir, &upstream, "GET /mcp", fields, "");
    agent.chunk(CHANGED);
    client.until("list_changed");
    drop(agent);
    assert_eq!(weir.ended()["outcome"], "truncated");
    assert_eq!((weir.count(ejected), errors(&weir).len()), (0, 0));
    // The same in the middle of an answer.
    let mut client = Client::post(&weir.address, CHAT);
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("a"));
    client.until("choices");
    drop(agent);
    assert_eq!(weir.ended()["outcome"], "truncated");
    weir.metric_until(ejected, |endpoints| endpoints == 1.0);
    assert_eq!(errors(&weir).len(), 1);
}
