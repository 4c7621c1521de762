//! Tests of the dialects of models and their servers beside OpenAI's: Anthropic, Gemini, Ollama, Cohere,
//! text-generation-inference.

use super::*;

#[test]
fn anthropic_goes_by_the_name() {
    let delta = r#"content_block_delta|{"type":"content_block_delta","index":0,"delta":"#;
    let table = [
        (r#"error|not json"#.to_owned(), Class::Error),
        (r#"ping|{"type":"ping"}"#.to_owned(), Class::Heartbeat),
        (r#"ping2|{"type":"ping"}"#.to_owned(), Class::Opaque),
        (
            format!(r#"{delta}{{"type":"text_delta","text":"a"}}}}"#),
            Class::Token,
        ),
        (
            format!(r#"{delta}{{"type":"text_delta","thinking":"a"}}}}"#),
            Class::Opaque,
        ),
        (
            format!(r#"{delta}{{"type":"signature_delta","signature":"a"}}}}"#),
            Class::Structure,
        ),
        (
            format!(r#"{delta}{{"type":"input_json_delta","partial_json":"a"}}}}"#),
            Class::Tool,
        ),
        (
            r#"content_block_start|{"index":0,"content_block":{"type":"mcp_tool_result"}}"#
                .to_owned(),
            Class::Tool,
        ),
    ];
    for (text, class) in table {
        assert_eq!(read(Dialect::Anthropic, &block(&text)).0, class, "{text}");
    }
    let of = |index, members| {
        format!(r#"content_block_delta|{{"index":{index},"delta":{{{members}}}}}"#)
    };
    let text = r#""type":"text_delta","text":"a""#;
    let thinking = r#""type":"thinking_delta","thinking":"a""#;
    assert!(joins(Dialect::Anthropic, &of(0, text), &of(0, text)));
    assert!(!joins(Dialect::Anthropic, &of(0, text), &of(1, text)));
    assert!(!joins(Dialect::Anthropic, &of(0, text), &of(0, thinking)));
}

#[test]
fn a_gemini_chunk_has_the_class_of_its_most_critical_part() {
    let table = [
        (r#"{"candidates":[]}"#, Class::Structure, None),
        (
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
            Class::Token,
            None,
        ),
        (
            r#"{"candidates":[{"content":{"parts":[{"text":"a","thought":true}]}}]}"#,
            Class::Reasoning,
            None,
        ),
        (
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{}}"#,
            Class::Usage,
            None,
        ),
        (
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}]}"#,
            Class::Tool,
            Some(Terminal::MayEnd),
        ),
        (
            r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#,
            Class::Finish,
            Some(Terminal::MayEnd),
        ),
        (
            r#"{"error":{"code":503}}"#,
            Class::Error,
            Some(Terminal::Error),
        ),
        (r#"{"x":1}"#, Class::Opaque, None),
        ("[DONE]", Class::Opaque, None),
    ];
    for (data, class, terminal) in table {
        let event = *Classifier::new(Dialect::Gemini).classify(&block(data), &mut None);
        assert_eq!((event.class, event.terminal), (class, terminal), "{data}");
    }
    let of = |part: &str, more: &str| {
        format!(r#"{{"candidates":[{{"content":{{"parts":[{part}]}}}}]{more}}}"#)
    };
    let text = r#"{"text":"a"}"#;
    let table = [
        (of(text, ""), true),
        (of(r#"{"text":"a","thought":true}"#, ""), false),
        (of(r#"{"text":"a","thoughtSignature":"s"}"#, ""), false),
        (of(r#"{"text":"a"},{"text":"b"}"#, ""), false),
        (of(text, r#","modelVersion":"m""#), false),
        (of(text, r#","nonce":"r""#), true),
        (of(text, r#","usageMetadata":{}"#), false),
    ];
    for (newer, expected) in table {
        let joined = joins(Dialect::Gemini, &of(text, ""), &newer);
        assert_eq!(joined, expected, "{newer}");
    }
    let counted = |count: u64| {
        of(
            text,
            &format!(r#","usageMetadata":{{"promptTokenCount":{count}}}"#),
        )
    };
    assert!(joins(Dialect::Gemini, &counted(1), &counted(2)));
}

#[test]
fn ollama_lines_end_with_done() {
    let table = [
        (
            r#"{"message":{"content":"a"},"done":false}"#,
            Class::Token,
            None,
        ),
        (
            r#"{"message":{"content":""},"done":false}"#,
            Class::Structure,
            None,
        ),
        (
            r#"{"response":"","thinking":"a","done":false}"#,
            Class::Reasoning,
            None,
        ),
        (
            r#"{"message":{"content":"a"},"done":true}"#,
            Class::Done,
            Some(Terminal::Done),
        ),
        (r#"{"error":"x"}"#, Class::Error, Some(Terminal::Error)),
        (r#"{"error":""}"#, Class::Opaque, None),
        ("7", Class::Opaque, None),
    ];
    for (line, class, terminal) in table {
        let frame = frame(Framing::Ndjson, &format!("{line}\n"));
        let event = *Classifier::new(Dialect::Ollama).classify(&frame, &mut None);
        assert_eq!((event.class, event.terminal), (class, terminal), "{line}");
    }
}

#[test]
fn cohere_deltas_join_within_one_content_or_call() {
    let content = |index: u8, field: &str, more: &str| {
        format!(
            r#"content-delta|{{"type":"content-delta","index":{index},"delta":{{"message":{{"content":{{"{field}":"a"{more}}}}}}}}}"#
        )
    };
    let arguments = |index: u8| {
        format!(
            r#"tool-call-delta|{{"type":"tool-call-delta","index":{index},"delta":{{"message":{{"tool_calls":{{"function":{{"arguments":"a"}}}}}}}}}}"#
        )
    };
    let plan = r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"a"}}}"#.to_owned();
    let text = content(0, "text", "");
    let table = [
        (text.clone(), text.clone(), true),
        (text.clone(), content(1, "text", ""), false),
        (text.clone(), content(0, "thinking", ""), false),
        (text.clone(), content(0, "text", r#","shiny":1"#), false),
        (arguments(0), arguments(0), true),
        (arguments(0), arguments(1), false),
        (plan.clone(), plan.clone(), true),
        (plan, text, false),
    ];
    for (older, newer, expected) in table {
        assert_eq!(joins(Dialect::Cohere, &older, &newer), expected, "{newer}");
    }
    let both = block(&content(0, "thinking", r#","text":"b""#));
    assert_eq!(
        read(Dialect::Cohere, &both),
        (Class::Token, Content::Token),
        "the answer takes precedence"
    );
    // Some servers give the type only as the name of the event.
    let named = block(r#"content-delta|{"index":0,"delta":{"message":{"content":{"text":"a"}}}}"#);
    assert_eq!(read(Dialect::Cohere, &named).0, Class::Token);
}

#[test]
fn a_token_of_tgi_is_known_by_its_text() {
    let token = |id: u8, text: &str, more: &str| {
        format!(
            r#"{{"index":{id},"token":{{"id":{id},"text":"{text}","logprob":-0.{id},"special":false}}{more},"generated_text":null,"details":null}}"#
        )
    };
    assert!(joins(Dialect::Tgi, &token(1, "a", ""), &token(2, "b", "")));
    let asked = token(
        2,
        "b",
        r#","top_tokens":[{"id":9,"text":"c","logprob":-2,"special":false}]"#,
    );
    assert!(!joins(Dialect::Tgi, &token(1, "a", ""), &asked));
    assert!(joins(Dialect::Tgi, &asked, &asked), "alternatives add up");
    let none = token(2, "b", r#","top_tokens":[]"#);
    assert!(joins(Dialect::Tgi, &token(1, "a", ""), &none));
    let table = [
        (
            r#"{"token":{"text":"</s>","special":true},"generated_text":null}"#,
            Class::Structure,
            Content::None,
        ),
        (
            r#"{"token":{"text":"</s>","special":true},"generated_text":"Rain"}"#,
            Class::Done,
            Content::None,
        ),
        (
            r#"{"token":{"text":"Rain","special":false},"generated_text":""}"#,
            Class::Done,
            Content::Token,
        ),
        (
            r#"{"error":"x","error_type":"validation"}"#,
            Class::Error,
            Content::None,
        ),
        (r#"{"token":"a"}"#, Class::Opaque, Content::Other),
        (r#"{"generated_text":"a"}"#, Class::Opaque, Content::Other),
        ("[DONE]", Class::Done, Content::None),
    ];
    for (text, class, content) in table {
        assert_eq!(read(Dialect::Tgi, &block(text)), (class, content), "{text}");
    }
}
