//! `weir replay --explain`: reports how Weir reads a recording. The bytes go through the pipeline of a live stream,
//! read by read, with the times of the recording.

mod facts;
mod hiding;
mod text;

use serde::Serialize;

use super::Output;
use crate::config::{self, Overrides, Policy};
use crate::recording::{Exchange, Recording, field};
use facts::Stream;

/// A route without settings, except that it hides all that can be hidden.
const CONFIG: &str = "defaults: {hide: {reasoning: drop, tools: drop}}\n";
/// Nobody connects to it.
const UPSTREAM: &str = "http://127.0.0.1:1";

/// The report about one exchange.
#[derive(Debug, Serialize)]
struct Report {
    exchange: u64,
    method: String,
    target: String,
    status: u16,
    content_type: Option<String>,
    /// What delimits the body.
    transfer: &'static str,
    head_ms: f64,
    reads: usize,
    bytes: u64,
    duration_ms: f64,
    /// How the response ended, as the file says.
    recorded_end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_reason: Option<String>,
    /// Why the response is no stream for Weir.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Stream>,
}

/// Explains each exchange: as JSON, or as text. `show` adds excerpts of what would be hidden.
pub(super) fn explain(recording: &Recording, json: bool, show: bool) -> Output {
    let overrides = Overrides {
        upstream: Some(UPSTREAM.to_owned()),
        ..Overrides::default()
    };
    let config = match config::load(Some(("explain", CONFIG)), &overrides) {
        Ok(config) => config,
        Err(problems) => return failed(&problems.to_string()),
    };
    let Some(route) = config.routes.first() else {
        return failed("no route");
    };
    let reports: Vec<Report> = recording
        .exchanges
        .iter()
        .map(|exchange| report(exchange, &route.policy, show))
        .collect();
    let stdout = if json {
        let whole = serde_json::json!({ "exchanges": reports });
        match serde_json::to_string_pretty(&whole) {
            Ok(text) => text + "\n",
            Err(error) => return failed(&error.to_string()),
        }
    } else {
        let texts: Vec<String> = reports.iter().map(text::of).collect();
        texts.join("\n")
    };
    Output {
        stdout,
        ..Output::default()
    }
}

fn failed(why: &str) -> Output {
    Output {
        stderr: format!("weir replay --explain: {why}\n"),
        code: 1,
        ..Output::default()
    }
}

fn report(exchange: &Exchange, policy: &Policy, show: bool) -> Report {
    let response = &exchange.response;
    let (stream, no_stream) = match facts::of(exchange, policy, show) {
        Ok(stream) => (Some(stream), None),
        Err(why) => (None, Some(why)),
    };
    Report {
        exchange: exchange.number,
        method: exchange.request.method.clone(),
        target: exchange.request.target.clone(),
        status: response.status,
        content_type: field(&response.fields, "content-type").map(ToOwned::to_owned),
        transfer: response.framing.as_str(),
        head_ms: facts::millis(response.at),
        reads: exchange.reads.len(),
        bytes: exchange
            .reads
            .iter()
            .map(|read| read.bytes.len() as u64)
            .sum(),
        duration_ms: facts::millis(exchange.end.at),
        recorded_end: exchange.end.how.as_str(),
        recorded_reason: exchange.end.reason.clone(),
        no_stream,
        stream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::read::read;

    const HEAD: &str = "{\"weir_recording\":1}\n\
        {\"type\":\"request\",\"method\":\"POST\",\"target\":\"/v1/chat/completions\"}\n\
        {\"type\":\"response\",\"at_us\":100000,\"status\":200,\"headers\":[[\"content-type\",\"text/event-stream\"],[\"transfer-encoding\",\"chunked\"]]}\n";

    fn line(at: u64, text: &str) -> String {
        format!(
            "{}\n",
            serde_json::json!({ "type": "read", "at_us": at, "text": text })
        )
    }

    fn chunk(delta: &str) -> String {
        format!(
            "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n"
        )
    }

    fn explained(body: &str, end: &str) -> (serde_json::Value, String) {
        let file = format!("{HEAD}{body}{{\"type\":\"end\",\"at_us\":1000000,{end}}}\n");
        let recording = read(file.as_bytes()).unwrap();
        let json = explain(&recording, true, true).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        (
            json["exchanges"][0].clone(),
            explain(&recording, false, true).stdout,
        )
    }

    fn body() -> String {
        [
            line(200_000, &chunk("{\"reasoning_content\":\"secret plan\"}")),
            line(300_000, &chunk("{\"content\":\"Hello\"}")),
            line(400_000, &chunk("{\"content\":\" world\"}")),
            line(800_000, &chunk("{\"content\":\"!\"}")),
        ]
        .concat()
    }

    #[test]
    fn a_whole_stream_is_explained() {
        let whole = body() + &line(900_000, "data: [DONE]\n\n") + &line(950_000, "data: more\n\n");
        let (json, text) = explained(&whole, "\"end\":\"clean\"");
        let stream = &json["stream"];
        assert_eq!(stream["dialect"], "openai_chat");
        assert_eq!(
            (&stream["framing"], &stream["coding"]),
            (&"sse".into(), &"identity".into())
        );
        assert_eq!(stream["events"]["token"], 3);
        assert_eq!(stream["events"]["done"], 1);
        assert_eq!(stream["first_token_ms"], 300.0);
        assert_eq!(stream["gaps"]["max_ms"], 400.0);
        assert_eq!(stream["gaps"]["p50_ms"], 100.0);
        assert_eq!(
            (&stream["tokens"], &stream["tokens_source"]),
            (&4.into(), &"estimated".into())
        );
        assert_eq!(stream["end"], "finished");
        assert_eq!(stream["ignored_bytes"], 12);
        assert_eq!(stream["hide"]["reasoning"]["characters"], 11);
        assert_eq!(stream["hide"]["events"]["reasoning"], 1);
        assert!(
            stream["hide"]["excerpts"][0]["text"]
                .as_str()
                .unwrap()
                .contains("secret plan")
        );
        for words in [
            "openai_chat",
            "token 3",
            "p95 400 ms",
            "finished",
            "secret plan",
            "12 B after",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn the_end_is_what_a_live_stream_would_log() {
        for (end, expected) in [
            ("\"end\":\"clean\"", "truncated"),
            ("\"end\":\"truncated\",\"reason\":\"closed\"", "truncated"),
            ("\"end\":\"reset\"", "upstream_reset"),
            (
                "\"end\":\"truncated\",\"reason\":\"malformed\"",
                "upstream_error",
            ),
        ] {
            assert_eq!(
                explained(&body(), end).0["stream"]["end"],
                expected,
                "{end}"
            );
        }
        let (json, text) = explained(&body(), "\"end\":\"truncated\",\"reason\":\"max_size\"");
        assert!(json["stream"]["end"].is_null());
        assert!(text.contains("not recorded (max_size)"), "{text}");
    }

    #[test]
    fn a_response_that_is_not_a_stream_is_reported_as_such() {
        let file = "{\"weir_recording\":1}\n{\"type\":\"request\",\"method\":\"GET\",\"target\":\"/\"}\n\
            {\"type\":\"response\",\"status\":529,\"headers\":[[\"content-type\",\"application/json\"]]}\n";
        let recording = read(file.as_bytes()).unwrap();
        let text = explain(&recording, false, false).stdout;
        assert!(text.contains("no stream"), "{text}");
    }
}
