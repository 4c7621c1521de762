//! Tests of the measurements of a stream.

use super::*;
use crate::dialect::{Classifier, Dialect};
use crate::wire::{Decoder, Frame, Framing};

/// Returns the measurements of a stream of these SSE blocks.
fn measured(dialect: Dialect, blocks: &[String]) -> Meter {
    let mut classifier = Classifier::new(dialect);
    let mut meter = Meter::default();
    let now = Instant::now();
    let mut observe =
        |frame: Frame<'_>| meter.observe(&frame.block, classifier.classify(&frame, &mut None), now);
    Decoder::new(Framing::Sse, 1 << 20)
        .feed(blocks.concat().as_bytes(), &mut observe)
        .unwrap();
    meter
}

fn block(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// Returns a LangGraph event with one message and its counts.
fn message(name: &str, kind: &str, id: &str, input: u64, output: u64) -> String {
    let usage = format!(r#"{{"input_tokens":{input},"output_tokens":{output}}}"#);
    let message =
        format!(r#"{{"type":"{kind}","id":"{id}","content":"a","usage_metadata":{usage}}}"#);
    block(name, &format!("[{message},{{}}]"))
}

#[test]
fn the_calls_of_an_agent_add_up_and_repeats_do_not() {
    let one = |id, output| message("messages", "AIMessageChunk", id, 9, output);
    let whole = |id, output| message("messages/complete", "ai", id, 9, output);
    let table = [
        (vec![one("m1", 100), one("m2", 20)], 120, 18),
        (vec![one("m1", 100), one("m1", 100)], 100, 9),
        (vec![one("m1", 1), one("m2", 20), one("m1", 100)], 120, 18),
        (vec![one("m1", 100), whole("m1", 100)], 100, 9),
        // Two models in two subgraphs; each message is sent twice.
        (
            vec![
                message("messages/partial|a:1", "ai", "m1", 9, 5),
                message("messages/partial|b:1", "ai", "m2", 9, 2),
                message("messages/partial|a:1", "ai", "m1", 9, 7),
                whole("m1", 7),
            ],
            9,
            18,
        ),
        // Chunks of one message, whose counts are meant to be added: zero has no meaning.
        (
            vec![
                message("messages", "AIMessageChunk", "m1", 9, 0),
                message("messages", "AIMessageChunk", "m1", 0, 4),
            ],
            4,
            9,
        ),
    ];
    for (blocks, output, input) in table {
        let meter = measured(Dialect::LangGraph, &blocks);
        assert_eq!(meter.output_tokens().0, output, "{blocks:?}");
        assert_eq!(meter.usage().input, Some(input), "{blocks:?}");
    }
}

#[test]
fn a_run_of_astream_events_is_counted_once() {
    let object = |event: &str, run: &str, data: &str| {
        let data = format!(r#"{{"event":"{event}","run_id":"{run}","data":{{{data}}}}}"#);
        block("data", &data)
    };
    let counts = r#""usage_metadata":{"output_tokens":4}"#;
    let chunk = format!(r#""chunk":{{"id":"run-1","content":"a",{counts}}}"#);
    let output = format!(r#""output":{{"id":"chatcmpl-1","content":"a",{counts}}}"#);
    let blocks = [
        object("on_chat_model_stream", "r1", &chunk),
        object("on_chat_model_end", "r1", &output),
        object("on_chat_model_end", "r2", &output),
    ];
    let meter = measured(Dialect::LangServe, &blocks);
    assert_eq!(meter.output_tokens(), (8, TokenSource::Usage));
}

#[test]
fn the_model_is_named_by_one_of_the_first_events() {
    let chunk = |model: &str| format!("data: {{\"model\":\"{model}\",\"choices\":[]}}\n\n");
    let named = |models: &[&str]| {
        let mut meter = Meter::new(true);
        let mut classifier = Classifier::new(Dialect::OpenAiChat);
        let began = Instant::now();
        for (after, model) in (0..).map(Duration::from_secs).zip(models.iter().copied()) {
            let mut observe = |frame: Frame<'_>| {
                meter.observe(
                    &frame.block,
                    classifier.classify(&frame, &mut None),
                    began + after,
                );
            };
            Decoder::new(Framing::Sse, 1 << 20)
                .feed(chunk(model).as_bytes(), &mut observe)
                .unwrap();
        }
        assert_eq!(meter.first_event, Some(began));
        meter.model
    };
    assert_eq!(named(&["a", "b"]).as_deref(), Some("a"));
    assert_eq!(named(&["", "b", "c"]).as_deref(), Some("b"));
    assert_eq!(named(&["", "", "", "", "b"]), None);
}

#[test]
fn an_agent_of_many_calls_costs_bounded_memory() {
    let blocks: Vec<String> = (0..1000)
        .map(|n| message("messages", "AIMessageChunk", &format!("m{n}"), 1, 2))
        .collect();
    let meter = measured(Dialect::LangGraph, &blocks);
    assert_eq!(meter.output_tokens().0, 2000);
    assert_eq!(meter.reported.unwrap().calls.len(), MAX_CALLS);
}

#[test]
fn what_is_stated_before_the_first_token_is_no_count_of_the_output() {
    let start = block(
        "message_start",
        r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#,
    );
    let delta = block(
        "content_block_delta",
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
    );
    let end = block(
        "message_delta",
        r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":7}}"#,
    );
    let cut = [start, delta.repeat(3)];
    let meter = measured(Dialect::Anthropic, &cut);
    assert_eq!(meter.output_tokens(), (3, TokenSource::Estimated));
    assert_eq!(meter.usage().input, Some(9));
    let meter = measured(Dialect::Anthropic, &[cut.concat(), end]);
    assert_eq!(meter.output_tokens(), (7, TokenSource::Usage));
}

#[test]
fn the_last_cumulative_count_is_the_one_that_counts() {
    let chunk = |output: u64| {
        let choices = r#"[{"delta":{"content":"a"}}]"#;
        format!("data: {{\"choices\":{choices},\"usage\":{{\"completion_tokens\":{output}}}}}\n\n")
    };
    let of = |counts: &[u64]| {
        let blocks: Vec<String> = counts.iter().map(|count| chunk(*count)).collect();
        measured(Dialect::OpenAiChat, &blocks).output_tokens()
    };
    assert_eq!(of(&[1, 3, 9]), (9, TokenSource::Cumulative));
    // Ollama reports zero until the end, and the end was cut off.
    assert_eq!(of(&[0, 0, 0]), (3, TokenSource::Estimated));
}

#[test]
fn heartbeats_are_counted_and_are_no_event_otherwise() {
    let mut meter = Meter::default();
    meter.end_read(3, Instant::now());
    meter.end_read(2, Instant::now());
    assert_eq!(meter.events[Class::Heartbeat.index()], 5);
    assert_eq!(meter.first_event, None);
}
