//! Tests of the chunks of OpenAI Chat Completions, as many servers write them.

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
    let moonshot = r#"{"choices":[{"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13},"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    assert_eq!(usage(moonshot), (Some(9), Some(4), None));
    // Without the total of all choices.
    let both = r#"{"usage":{"completion_tokens":5},"choices":[{"usage":{"completion_tokens":4},"index":0,"delta":{}}]}"#;
    assert_eq!(usage(both).1, Some(5));
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
        (r#""thinking":"x""#, Class::Reasoning, Content::Reasoning),
        (
            r#""reasoning_details":[{"type":"reasoning.text","text":"x"}]"#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""content":"","thinking_blocks":[{"type":"thinking","thinking":"x","signature":null}]"#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""provider_specific_fields":{"reasoning_content":"x"},"content":"""#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        // Google's flag, in whatever order.
        (
            r#""content":"x","extra_content":{"google":{"thought":true}}"#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""extra_content":{"google":{"thought":true}},"content":"x""#,
            Class::Reasoning,
            Content::Reasoning,
        ),
        (
            r#""content":"x","extra_content":{"google":{"thought":false}}"#,
            Class::Token,
            Content::Token,
        ),
        // The client must send it back, so it is critical.
        (
            r#""reasoning_opaque":"gAAA""#,
            Class::Structure,
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
