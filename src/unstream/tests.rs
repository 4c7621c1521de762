use std::sync::Arc;

use super::{Synthesized, synthesize};
use crate::dialect::{Choice, Dialect, Members};
use crate::event::{Class, Content, Event, Terminal};
use crate::stream::pipeline::{InputEnd, Pipeline, Settings, Verdict};
use crate::translate::{Target, Translator};
use crate::wire::encoding::Coding;

/// The text of every answer, as the raw body of a JSON string.
const TEXT: &str = r#"Rain in \"Oslo\"\n\u00e9😀"#;

/// A whole answer of each dialect. `TEXT` stands where its text is.
const ANSWERS: [(Dialect, &str); 14] = [
    (
        Dialect::OpenAiChat,
        r#"{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"TEXT"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"id":"c1","object":"text_completion","model":"m","choices":[{"index":0,"text":"TEXT","finish_reason":"stop"}]}"#,
    ),
    (
        Dialect::OpenAiResponses,
        r#"{"id":"r1","object":"response","status":"completed","error":null,"output":[{"id":"m1","type":"message","role":"assistant","content":[{"type":"output_text","text":"TEXT","annotations":[]}]}]}"#,
    ),
    (
        Dialect::Anthropic,
        r#"{"id":"m1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"TEXT"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":4}}"#,
    ),
    (
        Dialect::Gemini,
        r#"{"candidates":[{"content":{"parts":[{"text":"TEXT"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4}}"#,
    ),
    (
        Dialect::Ollama,
        r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"TEXT"},"done":true,"done_reason":"stop","eval_count":4}"#,
    ),
    (
        Dialect::Ollama,
        r#"{"model":"m","created_at":"t","response":"TEXT","done":true,"done_reason":"stop"}"#,
    ),
    (
        Dialect::Cohere,
        r#"{"id":"c1","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"TEXT"}]},"usage":{"tokens":{"input_tokens":9,"output_tokens":4}}}"#,
    ),
    (
        Dialect::Tgi,
        r#"{"generated_text":"TEXT","details":{"finish_reason":"eos_token","generated_tokens":4}}"#,
    ),
    (
        Dialect::Dify,
        r#"{"event":"message","task_id":"k1","id":"m1","message_id":"m1","conversation_id":"c1","mode":"chat","answer":"TEXT","metadata":{},"created_at":9}"#,
    ),
    (
        Dialect::LangGraph,
        r#"{"messages":[{"type":"human","id":"h1","content":"?"},{"type":"ai","id":"a1","content":"TEXT","additional_kwargs":{},"tool_calls":[]}]}"#,
    ),
    (
        Dialect::LangServe,
        r#"{"output":"TEXT","metadata":{"run_id":"r1","feedback_tokens":[]}}"#,
    ),
    (
        Dialect::Adk,
        r#"[{"id":"e","author":"wx","invocationId":"i1","content":{"role":"model","parts":[{"text":"TEXT"}]},"actions":{}}]"#,
    ),
    (
        Dialect::A2a,
        r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"message","messageId":"m","role":"agent","parts":[{"kind":"text","text":"TEXT"}]}}"#,
    ),
];

/// What a pipeline makes of a stream.
struct Passed {
    blocks: Vec<(Vec<u8>, Event)>,
    verdict: Verdict,
    terminal: Option<Terminal>,
    dialect: Dialect,
}

fn pass(stream: &Synthesized, hint: Option<Dialect>, translator: Option<Translator>) -> Passed {
    let settings = Settings {
        framing: stream.framing,
        coding: Coding::Identity,
        choice: Choice::Auto,
        hint,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    };
    let mut pipeline = Pipeline::new(&settings);
    if let Some(translator) = translator {
        pipeline = pipeline.translated(translator);
    }
    let mut blocks = Vec::new();
    let mut keep = |block: &[u8], event: &Event| blocks.push((block.to_vec(), *event));
    pipeline.feed(&stream.body, &mut keep).unwrap();
    let verdict = pipeline.finish(InputEnd::Clean, &mut keep);
    Passed {
        blocks,
        verdict,
        terminal: pipeline.terminal(),
        dialect: pipeline.dialect(),
    }
}

fn whole(answer: &str) -> String {
    answer.replace("TEXT", TEXT)
}

#[test]
fn every_stream_ends_well_and_says_what_the_answer_says() {
    for (dialect, answer) in ANSWERS {
        let stream = synthesize(None, whole(answer).as_bytes()).unwrap();
        assert_eq!(stream.dialect, dialect, "{answer}");
        for hint in [None, Some(dialect)] {
            let passed = pass(&stream, hint, None);
            assert_eq!(
                (passed.verdict, passed.dialect),
                (Verdict::Complete, dialect),
                "{answer}"
            );
            match dialect {
                // The end of input is the only end.
                Dialect::LangGraph => assert_eq!(passed.terminal, None),
                _ => assert!(
                    matches!(passed.terminal, Some(Terminal::Done | Terminal::MayEnd)),
                    "{answer}"
                ),
            }
            let said: Vec<u8> = (passed.blocks.iter())
                .filter(|(_, event)| event.content == Content::Token && event.class == Class::Token)
                .flat_map(|(block, event)| event.text.map(|text| text.of(block).to_vec()))
                .flatten()
                .collect();
            // These have the text in an event that must not be dropped.
            let is_critical = matches!(dialect, Dialect::A2a | Dialect::Adk | Dialect::Gemini);
            let expected = if is_critical { "" } else { TEXT };
            assert_eq!(String::from_utf8(said).unwrap(), expected, "{answer}");
            let is_understood = |(_, event): &(Vec<u8>, Event)| event.class != Class::Opaque;
            assert!(passed.blocks.iter().all(is_understood), "{answer}");
        }
    }
}

#[test]
fn every_stream_can_be_translated() {
    let text: String = serde_json::from_str(&format!("\"{TEXT}\"")).unwrap();
    for (_, answer) in ANSWERS {
        let stream = synthesize(None, whole(answer).as_bytes()).unwrap();
        let passed = pass(&stream, None, Some(Translator::new(Target::Ndjson, 0)));
        let events: Vec<serde_json::Value> = (passed.blocks.iter())
            .map(|(block, _)| serde_json::from_slice(block).unwrap())
            .collect();
        let of = |kind: &'static str| events.iter().filter(move |event| event["type"] == kind);
        let said: String = of("token")
            .filter_map(|event| event["text"].as_str())
            .collect();
        assert_eq!(said, text, "{answer}");
        assert_eq!(of("error").count(), 0, "{answer}");
        let ends = of("finish").filter(|event| event["scope"] == "run");
        assert_eq!(ends.count(), 1, "{answer}");
    }
}

#[test]
fn white_space_does_not_matter_and_the_expected_dialect_comes_first() {
    for (dialect, answer) in ANSWERS {
        let answer = whole(answer);
        let stream = synthesize(None, answer.as_bytes());
        let spaced = format!("\u{feff}\r\n {answer}\n\n");
        assert_eq!(
            synthesize(Some(dialect), spaced.as_bytes()),
            stream,
            "{answer}"
        );
        // An unmistakable answer is recognised even where another dialect, or one without whole answers, is expected.
        assert_eq!(
            synthesize(Some(Dialect::AgUi), answer.as_bytes()),
            stream,
            "{answer}"
        );
        assert_eq!(
            synthesize(Some(Dialect::Mcp), answer.as_bytes()),
            None,
            "{answer}"
        );
    }
    let state = r#"{"output":"Rain","metadata":{"run_id":"r1"}}"#;
    for dialect in [Dialect::LangGraph, Dialect::LangServe] {
        let stream = synthesize(Some(dialect), state.as_bytes());
        assert_eq!(stream.map(|stream| stream.dialect), Some(dialect));
    }
}

#[test]
fn what_is_no_whole_answer_stays_as_it_is() {
    let others = [
        "",
        " ",
        "junk",
        "null",
        "[]",
        "{}",
        "12",
        "\"Rain\"",
        r#"{"error":{"message":"no","type":"x"}}"#,
        r#"{"error":"model not found"}"#,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#,
        r#"{"error":{"message":"no"},"choices":[{"message":{"content":"Rain"}}]}"#,
        r#"{"message":"invalid request"}"#,
        r#"{"detail":"Not Found"}"#,
        r#"{"object":"chat.completion","choices":[]}"#,
        r#"{"object":"list","data":[{"object":"embedding","embedding":[1]}]}"#,
        r#"{"messages":[]}"#,
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    ];
    for body in others {
        assert_eq!(synthesize(None, body.as_bytes()), None, "{body}");
    }
    for (dialect, answer) in ANSWERS {
        let answer = whole(answer);
        for end in 0..answer.len() {
            let cut = &answer.as_bytes()[..end];
            assert_eq!(synthesize(Some(dialect), cut), None, "{answer}");
        }
        let twice = answer.repeat(2);
        assert_eq!(
            synthesize(Some(dialect), twice.as_bytes()),
            None,
            "{answer}"
        );
    }
}

#[test]
fn huge_nesting_and_many_small_parts_are_refused() {
    let nested = |inner: &str| format!(r#"{{"choices":[{{"message":{{"content":{inner}}}}}]}}"#);
    assert!(synthesize(None, nested("[1]").as_bytes()).is_some());
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(synthesize(None, nested(&deep).as_bytes()), None);
    assert_eq!(synthesize(None, "[".repeat(1_000_000).as_bytes()), None);
    let id = "x".repeat(10_000);
    let choices = vec![r#"{"message":{}}"#; 10_000].join(",");
    let many = format!(r#"{{"id":"{id}","choices":[{choices}]}}"#);
    assert_eq!(synthesize(None, many.as_bytes()), None);
}
