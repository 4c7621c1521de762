//! Tests of the dialects of models and their servers: OpenAI, Anthropic, Gemini, Ollama, Cohere,
//! text-generation-inference.

use super::*;

/// Returns an OpenAI chunk with one choice that has these members.
fn choice(members: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,{members}}}]}}"#)
}

#[test]
fn an_openai_chunk_has_the_class_of_its_most_critical_part() {
    let table = [
        (r#""delta":{}"#, Class::Structure, Content::None),
        (
            r#""delta":{"content":null}"#,
            Class::Structure,
            Content::None,
        ),
        (r#""delta":{"content":"a"}"#, Class::Token, Content::Token),
        (
            r#""delta":{"content":"a"}}],"usage":{"completion_tokens":1},"x":[{"#,
            Class::Usage,
            Content::Token,
        ),
        (
            r#""delta":{"role":"assistant","content":"a"}"#,
            Class::Structure,
            Content::Token,
        ),
        (
            r#""delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1},"x":[{"#,
            Class::Finish,
            Content::Token,
        ),
        (
            r#""delta":{"reasoning":"a"}"#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""delta":{"reasoning":"a","content":"b"}"#,
            Class::Token,
            Content::Token,
        ),
        (
            r#""delta":{"content":"a","tool_calls":[{"index":0,"id":"t"}]}"#,
            Class::Tool,
            Content::Tool,
        ),
        (
            r#""delta":{"content":"a","tool_calls":[]}"#,
            Class::Token,
            Content::Token,
        ),
        (
            r#""delta":{"audio":{"id":"x"}}"#,
            Class::Opaque,
            Content::Other,
        ),
    ];
    for (members, class, content) in table {
        let frame = block(&choice(members));
        assert_eq!(
            read(Dialect::OpenAiChat, &frame),
            (class, content),
            "{members}"
        );
    }
    let table = [
        ("[DONE]", Class::Done),
        ("[DONE] ", Class::Done),
        (r#"{"error":"x"}"#, Class::Error),
        (r#"{"error":null,"choices":[]}"#, Class::Structure),
        (r#"{"error":{}}"#, Class::Error),
        (r#"{"choices":[],"usage":null}"#, Class::Structure),
        (
            r#"{"choices":[],"usage":{"prompt_tokens":1}}"#,
            Class::Usage,
        ),
        (r#"{"id":"x"}"#, Class::Opaque),
        ("[]", Class::Opaque),
        (r#"{"choices":[]} x"#, Class::Opaque),
        (r#"{"choices":["#, Class::Opaque),
    ];
    for (data, class) in table {
        assert_eq!(read(Dialect::OpenAiChat, &block(data)).0, class, "{data}");
    }
}

#[test]
fn openai_chunks_join_only_if_nothing_is_lost() {
    let text = r#""delta":{"content":"a"}"#;
    let table = [
        (text, text, true),
        (text, r#""delta":{"content":"a"},"logprobs":null"#, true),
        (
            text,
            r#""delta":{"content":"a"},"logprobs":{"content":[]}"#,
            false,
        ),
        (text, r#""delta":{"content":"a"},"token_ids":[1]"#, false),
        (
            text,
            r#""delta":{"content":"a"},"finish_reason":"stop""#,
            false,
        ),
        (text, r#""delta":{"reasoning":"a"}"#, false),
        (text, r#""delta":{"content":"a"},"index":1"#, false),
        (
            r#""delta":{"reasoning":"a"}"#,
            r#""delta":{"reasoning_content":"a"}"#,
            false,
        ),
        (
            r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":"a"}}]}"#,
            r#""delta":{"tool_calls":[{"index":0,"id":null,"type":"function","function":{"name":null,"arguments":"b"}}]}"#,
            true,
        ),
        (
            r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":"a"}}]}"#,
            r#""delta":{"tool_calls":[{"index":1,"function":{"arguments":"b"}}]}"#,
            false,
        ),
    ];
    for (older, newer, expected) in table {
        let joined = joins(Dialect::OpenAiChat, &choice(older), &choice(newer));
        assert_eq!(joined, expected, "{older} {newer}");
    }
}

#[test]
fn what_stands_beside_the_choices_is_not_lost_in_a_join() {
    let of = |more: &str| format!(r#"{{"choices":[{{"delta":{{"content":"a"}}}}]{more}}}"#);
    let citations = r#","citations":["http://a"]"#;
    let harmless = r#","created":2,"obfuscation":"xx","timings":{"predicted_n":1},"usage":null,"x":null,"y":"""#;
    let table = [
        ("", harmless, true),
        ("", citations, false),
        (citations, "", false),
        (citations, r#","citations":["http://b"]"#, false),
        (citations, r#","sources":["http://a"]"#, false),
        // The same on every chunk.
        (citations, citations, true),
        ("", r#","usage":{"completion_tokens":1}"#, false),
    ];
    for (older, newer, expected) in table {
        let joined = joins(Dialect::OpenAiChat, &of(older), &of(newer));
        assert_eq!(joined, expected, "{older} {newer}");
    }
    // Two completions in one stream.
    for name in ["id", "model", "object", "provider", "service_tier"] {
        let named = |value: &str| of(&format!(r#","{name}":"{value}""#));
        assert!(
            joins(Dialect::OpenAiChat, &named("a"), &named("a")),
            "{name}"
        );
        assert!(
            !joins(Dialect::OpenAiChat, &named("a"), &named("b")),
            "{name}"
        );
        assert!(!joins(Dialect::OpenAiChat, &named("a"), &of("")), "{name}");
    }
}

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

/// Counts as servers state them, and the output with its reasoning share.
#[test]
fn reasoning_is_part_of_the_output_whoever_states_it() {
    let usage = |json: &str| {
        let mut classifier = Classifier::new(Dialect::OpenAiChat);
        let event = *classifier.classify(&block(json), &mut None);
        let usage = event.usage.unwrap();
        (usage.input, usage.output, usage.reasoning)
    };
    let counts = |output: u64, total: u64| {
        format!(
            r#""usage":{{"total_tokens":{total},"completion_tokens_details":{{"reasoning_tokens":30}},"completion_tokens":{output},"prompt_tokens":9}}"#
        )
    };
    // xAI: the total tells that the output excludes the reasoning.
    let xai = format!(r#"{{"choices":[],{}}}"#, counts(4, 43));
    assert_eq!(usage(&xai), (Some(9), Some(34), Some(30)));
    let openai = format!(r#"{{"choices":[],{}}}"#, counts(34, 43));
    assert_eq!(usage(&openai), (Some(9), Some(34), Some(30)));
    let groq = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":9,"completion_tokens":4}}}"#;
    assert_eq!(usage(groq), (Some(9), Some(4), None));
}

/// Members that differ in each chunk and say nothing about the answer do not keep chunks apart.
#[test]
fn padding_and_counters_are_no_content_and_do_not_prevent_merging() {
    let mut keys = Vec::new();
    let mut classifier = Classifier::new(Dialect::OpenAiChat);
    for (number, padding) in ["a", "abcdefgh", "xyz"].into_iter().enumerate() {
        for (beside, within) in [
            (format!(r#","p":"{padding}""#), String::new()),
            (
                format!(r#","nonce":{number},"ts":176600000{number}.5"#),
                String::new(),
            ),
            (String::new(), format!(r#","p":"{padding}""#)),
        ] {
            let json = format!(
                r#"{{"object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"content":"t{number}"{within}}}}}]{beside}}}"#
            );
            let event = *classifier.classify(&block(&json), &mut None);
            assert_eq!((event.class, event.content), (Class::Token, Content::Token));
            keys.push(event.merge.expect(&json).key);
        }
    }
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    // What may be part of the answer does.
    let cited = r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"citations":["x"]}"#;
    let event = *classifier.classify(&block(cited), &mut None);
    assert_ne!(event.merge.map(|merge| merge.key), Some(keys[0]));
}

#[test]
fn reasoning_is_reasoning_under_every_name() {
    let mut classifier = Classifier::new(Dialect::OpenAiChat);
    for (delta, class, content) in [
        (
            r#""reasoning_text":"x""#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""reasoning_opaque":"gAAA""#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"x"}]}]"#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""content":[{"type":"text","text":"a"}]"#,
            Class::Token,
            Content::Token,
        ),
        (
            r#""content":[{"text":"x","type":"image"}]"#,
            Class::Opaque,
            Content::Token,
        ),
    ] {
        let json = format!(r#"{{"choices":[{{"index":0,"delta":{{{delta}}}}}]}}"#);
        let event = *classifier.classify(&block(&json), &mut None);
        assert_eq!((event.class, event.content), (class, content), "{delta}");
    }
}

#[test]
fn parts_of_content_arrays_join_alone() {
    let chunk =
        |content: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":{content}}}}}]}}"#);
    let text = chunk(r#"[{"type":"text","text":"a"}]"#);
    let thought = chunk(r#"[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]"#);
    let string = chunk(r#""a""#);
    for (one, other, expected) in [
        (&text, &text, true),
        (&thought, &thought, true),
        (&text, &string, false),
        (&text, &thought, false),
    ] {
        assert_eq!(
            joins(Dialect::OpenAiChat, one, other),
            expected,
            "{one} {other}"
        );
    }
    for crowded in [
        r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#,
        r#"[{"type":"text","text":"a","citations":["b"]}]"#,
        r#"[{"type":"thinking","thinking":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#,
        r#"[{"type":"thinking","thinking":[{"type":"reference","text":"a"}]}]"#,
        r#"[{"type":"thinking","thinking":[{"type":"text","text":"a"}],"closed":true}]"#,
    ] {
        let crowded = chunk(crowded);
        assert!(!joins(Dialect::OpenAiChat, &crowded, &crowded), "{crowded}");
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
