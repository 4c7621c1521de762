//! Records of finished streams, as a webhook and a file receive them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::hmac;
use serde_json::{Value, json};

use crate::support::{Client, Upstream, Weir, eventually, token};

const CHAT: &str = "/v1/chat/completions";
const DONE: &str = "data: [DONE]\n\n";
/// The bytes 0 to 31.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SENT: &str = "weir_records_total{result=\"sent\"}";

fn with(complete: &str) -> String {
    format!(
        "upstreams: {{ agent: {{ endpoints: [\"$UPSTREAM\"] }} }}\n\
        routes:\n\
        - {{ name: quiet, upstream: agent, match: {{ path_prefix: /quiet }} }}\n\
        - {{ name: chat, upstream: agent }}\n\
        drain: {{ delay: 0s, limit: 500ms }}\n\
        complete: {complete}\n"
    )
}

/// Starts a process whose records of the route `chat` go to this webhook.
fn start(hook: &Upstream, agent: &Upstream) -> Weir {
    let complete = format!(
        "{{ url: \"http://{}/hooks/weir?a=1\", secret: \"env:RECORDS_SECRET\", routes: chat }}",
        hook.address()
    );
    let secret = [("RECORDS_SECRET", OsStr::new(SECRET))];
    Weir::start_with(&with(&complete), agent.address(), &secret)
}

fn ask(weir: &Weir, path: &str, fields: &str) -> Client {
    let mut client = Client::connect(&weir.address);
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\n{fields}content-length: 2\r\n\r\n{{}}"
    ));
    client
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let value = head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    });
    value.unwrap_or_else(|| panic!("no {name} in {head}"))
}

/// Takes the next record of a webhook, whose signature must be right.
fn posted(hook: &Upstream) -> Value {
    let mut posted = hook.accept();
    posted.send("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    let (head, body) = posted.request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /hooks/weir?a=1 HTTP/1.1\r\n"),
        "{head}"
    );
    let (id, time) = (field(head, "webhook-id"), field(head, "webhook-timestamp"));
    let signature = field(head, "webhook-signature")
        .strip_prefix("v1,")
        .unwrap();
    let signature = BASE64_STANDARD.decode(signature).unwrap();
    let bytes: Vec<u8> = (0..32).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let signed = format!("{id}.{time}.{body}");
    assert!(
        hmac::verify(&key, signed.as_bytes(), &signature).is_ok(),
        "{head}"
    );
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_webhook_gets_what_was_said_and_what_the_caller_wants_to_find() {
    let (hook, upstream) = (Upstream::start(), Upstream::start());
    let weir = start(&hook, &upstream);
    let mut client = ask(
        &weir,
        CHAT,
        "weir-metadata: {\"user\":7}\r\nx-request-id: q1\r\n",
    );
    let mut agent = upstream.accept();
    assert!(!agent.request.to_ascii_lowercase().contains("weir-metadata"));
    agent.head("text/event-stream");
    agent.chunk(token("Hello "));
    agent.chunk(token("you"));
    agent.chunk("data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"wx\",\"arguments\":\"{\\\"city\\\":\\\"Oslo\\\"}\"}}]}}]}\n\n");
    agent.chunk("data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n");
    agent.chunk("data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n");
    agent.chunk(DONE);
    agent.end();
    let response = client.rest();
    assert!(
        response.contains("Hello ") && response.contains("[DONE]"),
        "{response}"
    );
    let record = posted(&hook);
    assert_eq!(record["type"], "stream.completed");
    let data = &record["data"];
    assert_eq!(data["stream_id"], field(&response, "weir-stream-id"));
    assert_eq!(data["request_id"], "q1");
    assert_eq!(data["route"], "chat");
    assert_eq!(data["dialect"], weir.ended()["dialect"]);
    assert_eq!(data["metadata"], "{\"user\":7}");
    assert_eq!(data["outcome"], "finished");
    assert_eq!(data["code"], Value::Null);
    assert_eq!(data["messages"][0]["text"], "Hello you");
    assert_eq!(data["tools"][0]["name"], "wx");
    assert_eq!(data["tools"][0]["args"], json!({ "city": "Oslo" }));
    assert_eq!(data["usage"]["input"], 9);
    assert_eq!(data["usage"]["output"], 2);
    assert_eq!(data["truncated"], false);
    assert!(
        data["first_token_ms"].is_u64() && data["duration_ms"].is_u64(),
        "{data}"
    );
    weir.metric_until(SENT, |sent| sent == 1.0);
    assert_eq!(weir.metric("weir_records_waiting"), 0.0);
    assert_eq!(weir.metric("weir_record_retries_total"), 0.0);
}

#[test]
fn a_stream_that_ends_badly_has_its_outcome_and_what_came_before() {
    let (hook, upstream) = (Upstream::start(), Upstream::start());
    let weir = start(&hook, &upstream);
    for outcome in ["truncated", "client_gone"] {
        let mut client = ask(&weir, CHAT, "");
        let mut agent = upstream.accept();
        agent.head("text/event-stream");
        agent.chunk(token("whole"));
        client.until("whole");
        if outcome == "client_gone" {
            drop(client);
            agent.closed();
        } else {
            agent.end();
            client.rest();
        }
        let record = posted(&hook);
        let data = &record["data"];
        assert_eq!(data["outcome"], outcome);
        assert_eq!(data["code"], outcome);
        assert_eq!(data["metadata"], Value::Null);
        assert_eq!(data["messages"][0]["text"], "whole");
    }
    weir.metric_until(SENT, |sent| sent == 2.0);
}

#[test]
fn what_is_hidden_is_not_recorded_and_what_is_translated_is() {
    let (hook, upstream) = (Upstream::start(), Upstream::start());
    let complete = format!(
        "{{ url: \"http://{}/hooks/weir?a=1\", secret: \"env:RECORDS_SECRET\" }}",
        hook.address()
    );
    let yaml = with(&complete).replace(
        "name: chat,",
        "name: chat, hide: { tools: drop, reasoning: drop }, reply: { as: events },",
    );
    let secret = [("RECORDS_SECRET", OsStr::new(SECRET))];
    let weir = Weir::start_with(&yaml, upstream.address(), &secret);
    let mut client = ask(&weir, CHAT, "");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("<think>secret plan</think>Hello"));
    agent.chunk(DONE);
    agent.end();
    assert!(client.rest().contains("Hello"));
    let record = posted(&hook);
    assert_eq!(record["data"]["messages"][0]["text"], "Hello");
    assert!(!record.to_string().contains("secret plan"), "{record}");
}

#[test]
fn a_route_that_is_not_listed_has_no_records() {
    let (hook, upstream) = (Upstream::start(), Upstream::start());
    let weir = start(&hook, &upstream);
    for (path, is_recorded) in [("/quiet/chat/completions", false), (CHAT, true)] {
        let mut client = ask(&weir, path, "weir-metadata: m\r\n");
        let mut agent = upstream.accept();
        let passed_on = agent
            .request
            .to_ascii_lowercase()
            .contains("weir-metadata: m");
        assert_eq!(passed_on, !is_recorded);
        agent.head("text/event-stream");
        agent.chunk(token("one"));
        agent.chunk(DONE);
        agent.end();
        client.rest();
        weir.ended();
    }
    // The first record is that of the second stream.
    assert_eq!(posted(&hook)["data"]["route"], "chat");
    weir.metric_until(SENT, |sent| sent == 1.0);
}

#[test]
fn a_file_gets_a_line_for_each_stream_also_for_the_last_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with(&format!("{{ file: \"{}\" }}", path.display())),
        upstream.address(),
    );
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    };
    let mut client = ask(&weir, CHAT, "");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("one"));
    agent.chunk(DONE);
    agent.end();
    client.rest();
    eventually("a record", || read().len() == 1);
    drop(agent);
    assert_eq!(read()[0]["data"]["outcome"], "finished");

    let mut client = ask(&weir, CHAT, "");
    let mut agent = upstream.accept();
    agent.head("text/event-stream");
    agent.chunk(token("two"));
    client.until("two");
    weir.signal("TERM");
    client.rest();
    assert_eq!(weir.exit_code(), Some(0));
    let records = read();
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["data"]["outcome"], "drained");
    assert_eq!(records[1]["data"]["messages"][0]["text"], "two");
}

#[test]
fn metadata_that_cannot_be_kept_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let upstream = Upstream::start();
    let weir = Weir::start(
        &with(&format!("{{ file: \"{}\" }}", path.display())),
        upstream.address(),
    );
    let long = format!("weir-metadata: {}\r\n", "x".repeat(5000));
    let mut client = ask(&weir, CHAT, &long);
    let refused = client.until("weir-metadata takes one text");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
}

/// Returns what `weir check` writes about this section, and its exit code.
fn check(complete: &str) -> (String, Option<i32>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let yaml = with(complete).replace("$UPSTREAM", "http://127.0.0.1:1");
    std::fs::write(file.path(), yaml).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("check")
        .arg(file.path())
        .env("RECORDS_SECRET", SECRET)
        .output()
        .unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    (String::from_utf8(said).unwrap(), checked.status.code())
}

#[test]
fn the_check_names_what_is_wrong_and_shows_no_secret() {
    for (complete, wanted) in [
        (
            "{ url: \"http://app/t0ken\" }",
            "complete.url: needs `complete.secret`",
        ),
        (
            "{ url: \"http://app/t0ken\", secret: \"env:RECORDS_SECRET\", file: /tmp/r }",
            "complete.file: cannot be set beside `complete.url`",
        ),
        (
            "{ secret: \"env:PATH\" }",
            "complete.secret: what `env:PATH` names",
        ),
        (
            "{ file: /tmp/r, routes: [talk] }",
            "the routes are quiet, chat",
        ),
        ("{ url: \"unix:/t0ken\" }", "complete.url: is not a URL"),
    ] {
        let (said, code) = check(complete);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(wanted) && !said.contains("t0ken"), "{said}");
    }
    let right = "{ url: \"http://app/t0ken\", secret: \"env:RECORDS_SECRET\" }";
    let (said, code) = check(right);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("http://app/***"), "{said}");
    assert!(
        !said.contains("t0ken") && !said.contains("whsec_"),
        "{said}"
    );
}

#[test]
fn a_file_that_cannot_be_opened_is_named_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let nowhere = Path::new("/no/such/folder/records");
    let yaml = with(&format!("{{ file: {} }}", nowhere.display()));
    std::fs::write(file.path(), yaml.replace("$UPSTREAM", "http://127.0.0.1:1")).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--config",
        ])
        .arg(file.path())
        .output()
        .unwrap();
    assert_ne!(refused.status.code(), Some(0));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("complete.file: "), "{said}");
}
