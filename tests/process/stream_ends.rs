//! How the end of a stream is known: by its last word, by silence after it, and by how the body ends. After a certain
//! end a stream is over at once, after a possible one something may follow.

use crate::streams::{CHAT, PLAIN, with};
use crate::support::{Client, Upstream, Weir, token};

/// After a possible end, silence means nothing for longer than any test waits.
const PATIENT: &str = "upstreams: { agent: { endpoints: [\"$UPSTREAM\"] } }
routes: [ { name: chat, upstream: agent, deadlines: { after_end: 60s } } ]";
const POST: &str = "POST /v1/responses HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}";

/// An event of OpenAI Responses that tells the state of a response.
fn state(word: &str, id: &str) -> String {
    format!("{{\"type\":\"response.{word}\",\"response\":{{\"id\":\"{id}\"}}}}")
}

/// A piece of an answer.
fn delta(text: &str) -> String {
    format!(
        "{{\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"{text}\"}}"
    )
}

fn plain(event: &str) -> String {
    format!("data: {event}\n\n")
}

/// Writes an event as the OpenAI Agents SDK wraps it.
fn wrapped(event: &str) -> String {
    format!("data: {{\"type\":\"raw_response_event\",\"data\":{event}}}\n\n")
}

#[test]
fn the_end_of_the_only_response_ends_its_stream_at_once() {
    let upstream = Upstream::start();
    let weir = Weir::start(PATIENT, upstream.address());
    let again = "GET /v1/responses/r1?stream=true&starting_after=3 HTTP/1.1\r\nhost: test\r\n\r\n";
    for (request, word, outcome) in [
        (POST, "completed", "finished"),
        (POST, "incomplete", "finished"),
        (POST, "failed", "upstream_error"),
        (again, "completed", "finished"),
    ] {
        let mut client = Client::connect(&weir.address);
        client.send(request);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(plain(&state("created", "r1")));
        agent.chunk(plain(&delta("a")));
        client.until("\"delta\":\"a\"");
        // In one write: the connection is given up soon after the end.
        let ending = plain(&state(word, "r1")) + ": ping\n\n";
        agent.chunk(ending);
        let all = client.rest();
        assert!(all.contains(&format!("response.{word}")), "{all}");
        assert!(!all.contains("event: error"), "{all}");
        assert_eq!(weir.ended()["outcome"], outcome, "{word}");
        agent.closed();
    }
}

/// What comes after the end of the only response changes nothing.
#[test]
fn a_body_that_breaks_after_the_only_response_is_whole() {
    let address = Upstream::start().serve(|mut agent| {
        agent.head("text/event-stream");
        agent.chunk(plain(&state("created", "r1")));
        agent.chunk(plain(&state("completed", "r1")));
        agent.send("5\r\nda");
    });
    let weir = Weir::start(PATIENT, address);
    let mut client = Client::connect(&weir.address);
    client.send(POST);
    let all = client.rest();
    assert!(!all.contains("error"), "{all}");
    assert_eq!(weir.ended()["outcome"], "finished");
}

/// Agents forward every response of a run in one stream: at paths of their own, or as the Agents SDK wraps them.
#[test]
fn several_responses_in_one_stream_stay_whole() {
    let upstream = Upstream::start();
    let weir = Weir::start(PATIENT, upstream.address());
    type Form = fn(&str) -> String;
    let cases: [(&str, Form); 3] = [
        ("/agent", plain),
        ("/responses", plain),
        ("/v1/responses", wrapped),
    ];
    for (path, form) in cases {
        let mut client = Client::post(&weir.address, path);
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(form(&state("created", "r1")));
        agent.chunk(form(&delta("a")));
        agent.chunk(form(&state("completed", "r1")));
        // The agent goes on only after the client has the first response.
        client.until("response.completed");
        agent.chunk(form(&state("created", "r2")));
        agent.chunk(form(&delta("b")));
        client.until("\"delta\":\"b\"");
        agent.chunk(form(&state("completed", "r2")));
        agent.end();
        let all = client.rest();
        assert_eq!(all.matches("response.completed").count(), 2, "{all}");
        assert!(!all.contains("error"), "{path}: {all}");
        assert_eq!(weir.ended()["outcome"], "finished", "{path}");
    }
}

#[test]
fn a_second_response_that_is_cut_is_truncated() {
    let address = Upstream::start().serve(|mut agent| {
        agent.head("text/event-stream");
        for event in [state("created", "r1"), state("completed", "r1")] {
            agent.chunk(plain(&event));
        }
        for event in [state("created", "r2"), delta("b")] {
            agent.chunk(plain(&event));
        }
        agent.end();
    });
    let weir = Weir::start(PATIENT, address);
    let mut client = Client::post(&weir.address, "/agent");
    let all = client.until("event: error");
    assert!(all.contains("\"delta\":\"b\""), "{all}");
    assert_eq!(weir.ended()["outcome"], "truncated");
}

/// A stream that its head announces, and nothing in it.
#[test]
fn an_announced_stream_without_an_event_is_truncated() {
    for (field, content_type, error) in [
        (
            "x-vercel-ai-ui-message-stream: v1",
            "text/event-stream",
            "\"errorText\":\"truncated",
        ),
        (
            "x-vercel-ai-data-stream: v1",
            "text/plain; charset=utf-8",
            "3:\"truncated",
        ),
    ] {
        let address = Upstream::start().serve(move |mut agent| {
            agent.send(format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"));
        });
        let weir = Weir::start(PLAIN, address);
        let mut client = Client::post(&weir.address, "/api/chat-ui");
        let all = client.until(error);
        assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
        assert_eq!(weir.ended()["outcome"], "truncated");
    }
}

/// The agent says its last word and never closes the body.
#[test]
fn silence_after_the_last_word_is_a_good_end() {
    let upstream = Upstream::start();
    let weir = Weir::start(&with("deadlines: { after_end: 300ms }"), upstream.address());
    let mut client = Client::post(&weir.address, CHAT);
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("a"));
    agent.chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    // Heartbeats are silence.
    agent.chunk(": ping\n\n");
    let all = client.rest();
    assert!(
        all.contains("\"finish_reason\":\"stop\"") && !all.contains("error"),
        "{all}"
    );
    let line = weir.ended();
    assert_eq!(line["outcome"], "finished", "{line}");
    let took = line["duration_ms"].as_f64().unwrap();
    assert!((300.0..5000.0).contains(&took), "{took}");
    agent.closed();
}

/// The agent says its last word, and then the connection breaks.
#[test]
fn a_body_that_breaks_after_the_last_word_is_broken() {
    let address = Upstream::start().serve(|mut agent| {
        agent.head("text/event-stream");
        agent.chunk(token("a"));
        agent.chunk(
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        );
        agent.send("5\r\nda");
    });
    let weir = Weir::start(PLAIN, address);
    let mut client = Client::post(&weir.address, CHAT);
    client.until("\"error\":{");
    assert_eq!(weir.ended()["outcome"], "truncated");
}

/// The agent says its last word, and its body ends as it should.
#[test]
fn a_body_that_ends_after_the_last_word_is_whole_without_a_sentinel() {
    let address = Upstream::start().serve(|mut agent| {
        agent.head("text/event-stream");
        agent.chunk(token("a"));
        agent.chunk(
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        );
        agent.end();
    });
    let weir = Weir::start(PLAIN, address);
    let mut client = Client::post(&weir.address, CHAT);
    let all = client.until("0\r\n\r\n");
    assert!(!all.contains("error") && !all.contains("[DONE]"), "{all}");
    assert_eq!(weir.ended()["outcome"], "finished");
}

/// Streams of agents: the first event, a piece of text, the last word, and what begins after it.
const GOING_ON: [[&str; 4]; 9] = [
    // Authorization is given elsewhere, and the task goes on.
    [
        r#"{"jsonrpc":"2.0","id":7,"result":{"task":{"id":"k","status":{"state":"TASK_STATE_SUBMITTED"}}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"artifactUpdate":{"taskId":"k","artifact":{"artifactId":"a","parts":[{"text":"a"}]}}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"statusUpdate":{"taskId":"k","status":{"state":"TASK_STATE_AUTH_REQUIRED"}}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"statusUpdate":{"taskId":"k","status":{"state":"TASK_STATE_WORKING"}}}}"#,
    ],
    [
        r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"task","id":"k","status":{"state":"submitted"}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"artifact-update","taskId":"k","artifact":{"artifactId":"a","parts":[{"text":"a"}]}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"status-update","taskId":"k","status":{"state":"input-required"},"final":true}}"#,
        r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"status-update","taskId":"k","status":{"state":"working"},"final":false}}"#,
    ],
    // The next step of a workflow.
    [
        r#"{"type":"start","runId":"r","from":"AGENT","payload":{}}"#,
        r#"{"type":"text-delta","runId":"r","from":"AGENT","payload":{"id":"t","text":"a"}}"#,
        r#"{"type":"finish","runId":"r","from":"AGENT","payload":{}}"#,
        r#"{"type":"workflow-step-start","runId":"r","from":"WORKFLOW","payload":{"id":"s"}}"#,
    ],
    // Another node of a graph.
    [
        r#"{"event":{"messageStart":{"role":"assistant"}}}"#,
        r#"{"event":{"contentBlockDelta":{"delta":{"text":"a"},"contentBlockIndex":0}}}"#,
        r#"{"event":{"messageStop":{"stopReason":"end_turn"}}}"#,
        r#"{"type":"multiagent_node_start","node_id":"b","node_type":"agent"}"#,
    ],
    // Another agent.
    [
        r#"{"type":"raw_response_event","data":{"type":"response.created","response":{"id":"r1"}}}"#,
        r#"{"type":"raw_response_event","data":{"type":"response.output_text.delta","item_id":"i","output_index":0,"delta":"a"}}"#,
        r#"{"type":"raw_response_event","data":{"type":"response.completed","response":{"id":"r1"}}}"#,
        r#"{"type":"agent_updated_stream_event","new_agent":{"name":"b"}}"#,
    ],
    // Another response.
    [
        r#"{"type":"response.created","response":{"id":"r1"}}"#,
        r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"a"}"#,
        r#"{"type":"response.completed","response":{"id":"r1"}}"#,
        r#"{"type":"response.queued","response":{"id":"r2"}}"#,
    ],
    // Another text or message of a run.
    [
        r#"{"type":"start","messageId":"m"}"#,
        r#"{"type":"text-delta","id":"t","delta":"a"}"#,
        r#"{"type":"finish"}"#,
        r#"{"type":"text-start","id":"u"}"#,
    ],
    [
        r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#,
        r#"{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"a"}"#,
        r#"{"type":"RUN_FINISHED","threadId":"t","runId":"r"}"#,
        r#"{"type":"TEXT_MESSAGE_START","messageId":"n","role":"assistant"}"#,
    ],
    [
        r#"{"event":"workflow_started","task_id":"k","message_id":"m","data":{}}"#,
        r#"{"event":"message","task_id":"k","message_id":"m","answer":"a"}"#,
        r#"{"event":"message_end","task_id":"k","message_id":"m"}"#,
        r#"{"event":"iteration_started","task_id":"k","message_id":"m","data":{}}"#,
    ],
];

/// What begins after the last word is waited for, and its silence is told to the client.
#[test]
fn silence_of_what_began_after_the_last_word_is_no_good_end() {
    let upstream = Upstream::start();
    let route = with("deadlines: { after_end: 50ms, idle: 200ms }");
    let weir = Weir::start(&route, upstream.address());
    for events in GOING_ON {
        let mut client = Client::post(&weir.address, "/agent");
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(events.map(plain).concat());
        let all = client.rest();
        assert!(
            all.contains(events[3]) && all.contains("idle_timeout"),
            "{all}"
        );
        assert_eq!(weir.ended()["outcome"], "idle_timeout", "{}", events[3]);
        agent.closed();
    }
}

/// In one write, event by event, and byte by byte.
#[test]
fn a_body_that_ends_after_something_began_is_truncated() {
    let upstream = Upstream::start();
    let weir = Weir::start(PATIENT, upstream.address());
    for events in GOING_ON {
        for pieces in ["one", "each", "bytes"] {
            let mut client = Client::post(&weir.address, "/agent");
            let mut agent = upstream.accept();
            agent.head("text/event-stream");
            let blocks = events.map(plain);
            match pieces {
                "one" => agent.chunk(blocks.concat()),
                "each" => {
                    for (event, block) in events.iter().zip(&blocks) {
                        agent.chunk(block);
                        client.until(event);
                    }
                }
                _ => {
                    for byte in blocks.concat().as_bytes() {
                        agent.chunk([*byte]);
                    }
                }
            }
            agent.end();
            let all = client.rest();
            assert!(all.contains(events[3]), "{pieces}: {all}");
            assert!(all.contains("truncated"), "{pieces}: {all}");
            assert_eq!(weir.ended()["outcome"], "truncated", "{pieces}: {all}");
        }
    }
}

/// A tool may take its time: a run that waits for it has not ended, however long it is silent.
#[test]
fn silence_of_a_run_that_waits_for_its_tool_is_told_to_the_client() {
    let upstream = Upstream::start();
    let route = with("deadlines: { after_end: 50ms, idle: 200ms }");
    let weir = Weir::start(&route, upstream.address());
    let call = r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"f","name":"wx"}}"#;
    for silent in [true, false] {
        let mut client = Client::post(&weir.address, "/agent");
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        let events = [
            state("created", "r1"),
            delta("a"),
            call.to_owned(),
            state("completed", "r1"),
        ];
        agent.chunk(events.map(|event| wrapped(&event)).concat());
        if !silent {
            // The run may end with a tool.
            client.until("response.completed");
            agent.end();
        }
        let all = client.rest();
        let outcome = if silent { "idle_timeout" } else { "finished" };
        assert_eq!(all.contains("idle_timeout"), silent, "{all}");
        assert_eq!(weir.ended()["outcome"], outcome, "{all}");
    }
}
