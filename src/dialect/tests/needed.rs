//! What a client must send back, or shows beside the text, makes an event critical, in every dialect.

use super::*;
use crate::event::Side;

/// Events with text and something beside it that the client needs, and the content of the text.
const NEEDED: [(Dialect, &str, Content); 16] = [
    (
        Dialect::OpenAiChat,
        r#"{"choices":[{"delta":{"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","signature":"s"}]}}]}"#,
        Content::Reasoning,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"s"}]}}]}"#,
        Content::Reasoning,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"choices":[{"delta":{"content":"","thinking_blocks":[{"type":"thinking","thinking":"","signature":"s"}]}}]}"#,
        Content::Reasoning,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"choices":[{"delta":{"content":"a","citations":["u"]}}]}"#,
        Content::Token,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"choices":[{"delta":{"content":"a"}}],"citations":["u"]}"#,
        Content::Token,
    ),
    (
        Dialect::OpenAiChat,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a","citations":["u"]}]}}]}"#,
        Content::Token,
    ),
    (
        Dialect::VercelUi,
        r#"{"type":"reasoning-delta","id":"r","delta":"","providerMetadata":{"anthropic":{"signature":"s"}}}"#,
        Content::None,
    ),
    (
        Dialect::VercelUi,
        r#"{"type":"text-delta","id":"0","delta":"a","providerMetadata":{"google":{"thoughtSignature":"s"}}}"#,
        Content::Token,
    ),
    (
        Dialect::Mastra,
        r#"{"type":"reasoning-delta","runId":"r","from":"AGENT","payload":{"id":"r","text":"a","providerMetadata":{"anthropic":{"signature":"s"}}}}"#,
        Content::Reasoning,
    ),
    (
        Dialect::Adk,
        r#"{"author":"a","invocationId":"i","partial":true,"content":{"parts":[{"text":"a"}]},"actions":{"stateDelta":{"k":1}}}"#,
        Content::Token,
    ),
    (
        Dialect::Adk,
        r#"{"author":"a","invocationId":"i","partial":true,"content":{"parts":[{"text":"a"}]},"groundingMetadata":{"c":[1]}}"#,
        Content::Token,
    ),
    (
        Dialect::Gemini,
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"citationMetadata":{"citations":[{"uri":"u"}]}}]}"#,
        Content::Token,
    ),
    (
        Dialect::LangGraph,
        r#"messages|[{"type":"AIMessageChunk","id":"m","content":[{"type":"text","text":"a","annotations":[{"url":"u"}],"index":0}]},{}]"#,
        Content::Token,
    ),
    (
        Dialect::OpenAiResponses,
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a","annotations":[{"u":1}]}"#,
        Content::Token,
    ),
    (
        Dialect::OpenAiResponses,
        r#"{"type":"response.reasoning_text.delta","output_index":0,"content_index":0,"delta":"a","encrypted_content":"s"}"#,
        Content::Reasoning,
    ),
    (
        Dialect::Convention,
        r#"{"type":"token","content":"a","citation":{"u":1}}"#,
        Content::Token,
    ),
];

#[test]
fn what_the_client_needs_makes_an_event_critical_and_leaves_its_text_what_it_is() {
    for (dialect, event, content) in NEEDED {
        let event_block = block(event);
        let read = *Classifier::new(dialect).classify(&event_block, &mut None);
        assert_eq!(
            (read.class, read.content),
            (Class::Structure, content),
            "{event}"
        );
        // With the reasoning hidden, its pieces are hidden as a whole.
        let side = if content == Content::Reasoning || event.contains("reasoning-delta") {
            Side::Reasoning
        } else {
            Side::Answer
        };
        assert_eq!(read.side, side, "{event}");
    }
}

#[test]
fn what_must_come_back_is_never_merged_and_what_is_shown_only_with_its_like() {
    let of = |beside: &str| format!(r#"{{"choices":[{{"delta":{{"content":"a"}}}}],{beside}}}"#);
    let joins = |one: &str, other: &str| joins(Dialect::OpenAiChat, &of(one), &of(other));
    // Perplexity repeats the sources in each chunk.
    assert!(joins(r#""citations":["u"]"#, r#""citations":["u"]"#));
    assert!(!joins(r#""citations":["u"]"#, r#""citations":["v"]"#));
    assert!(!joins(r#""signature":"s""#, r#""signature":"s""#));
    assert!(joins(
        r#""citations":[],"signature":null"#,
        r#""model":null"#
    ));
}
