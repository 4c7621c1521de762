//! What single frames mean; whole streams stand in `tests/data`.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::event::{Content, Terminal};
use crate::wire::Decoder;

fn frame(framing: Framing, text: &str) -> Frame {
    let mut decoder = Decoder::new(framing, 1 << 24);
    let mut frames = Vec::new();
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    decoder.feed(bytes, &mut frames).unwrap();
    assert_eq!(frames.len(), 1, "{text}");
    frames.remove(0)
}

/// A block of `data` alone, or with a name in front: `name|data`.
fn block(text: &str) -> Frame {
    match text.split_once('|') {
        Some((name, data)) => frame(Framing::Sse, &format!("event: {name}\ndata: {data}\n\n")),
        None => frame(Framing::Sse, &format!("data: {text}\n\n")),
    }
}

fn read(dialect: Dialect, frame: &Frame) -> (Class, Content) {
    let event = Classifier::new(dialect).classify(frame);
    (event.class, event.content)
}

fn joins(dialect: Dialect, older: &str, newer: &str) -> bool {
    let mut classifier = Classifier::new(dialect);
    let older = classifier.classify(&block(older)).merge;
    let newer = classifier.classify(&block(newer)).merge;
    matches!((older, newer), (Some(a), Some(b)) if a.key == b.key && a.keep == b.keep)
}

/// An OpenAI chunk with this choice.
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
    let harmless = r#","id":"2","object":"o","created":2,"model":"n","system_fingerprint":"f","service_tier":"d","obfuscation":"xx","provider":"p","usage":null,"x":null"#;
    let table = [
        ("", harmless, true),
        ("", citations, false),
        (citations, "", false),
        (citations, r#","citations":["http://b"]"#, false),
        (citations, r#","sources":["http://a"]"#, false),
        // On each chunk the same.
        (citations, citations, true),
        ("", r#","usage":{"completion_tokens":1}"#, false),
    ];
    for (older, newer, expected) in table {
        let joined = joins(Dialect::OpenAiChat, &of(older), &of(newer));
        assert_eq!(joined, expected, "{older} {newer}");
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
        let event = Classifier::new(Dialect::Gemini).classify(&block(data));
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
fn a_heartbeat_is_what_the_clients_of_the_dialect_survive() {
    for dialect in Dialect::ALL {
        let bytes = dialect.heartbeat(Framing::Sse).unwrap();
        let is_comment = bytes.starts_with(b":");
        assert!(!is_comment || dialect.tolerates_comments() || dialect == Dialect::Ollama);
    }
    assert_eq!(Dialect::Gemini.heartbeat(Framing::Sse), Some(&b"\n"[..]));
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
        let event = Classifier::new(Dialect::Ollama).classify(&frame);
        assert_eq!((event.class, event.terminal), (class, terminal), "{line}");
    }
}

#[test]
fn langgraph_goes_by_the_mode_before_the_namespace() {
    let table = [
        ("messages|[]", Class::Opaque),
        (
            r#"messages|[{"type":"AIMessageChunk","content":"a"},{}]"#,
            Class::Token,
        ),
        (r#"messages|[{"type":"ai","content":"a"},{}]"#, Class::State),
        (
            r#"messages|[{"type":"ToolMessage","content":"a"},{}]"#,
            Class::Tool,
        ),
        (
            r#"messages/complete|[{"type":"ai","content":"a"}]"#,
            Class::State,
        ),
        ("values|{}", Class::State),
        ("error|{}", Class::Error),
        ("{}", Class::Opaque),
    ];
    for (text, class) in table {
        assert_eq!(read(Dialect::LangGraph, &block(text)).0, class, "{text}");
    }
    let nested = frame(Framing::Sse, "event: error|a:1\ndata: {}\n\n");
    assert_eq!(read(Dialect::LangGraph, &nested).0, Class::Error);
    let chunk = |id: &str| {
        format!(r#"messages|[{{"type":"AIMessageChunk","content":"a","id":"{id}"}},{{}}]"#)
    };
    assert!(joins(Dialect::LangGraph, &chunk("a"), &chunk("a")));
    assert!(!joins(Dialect::LangGraph, &chunk("a"), &chunk("b")));
    assert!(joins(Dialect::LangGraph, "values|{}", r#"values|{"a":1}"#));
    let partial =
        |more: &str| format!(r#"messages/partial|[{{"type":"ai","content":"a","id":"a"{more}}}]"#);
    let (plain, call) = (partial(""), partial(r#","tool_calls":[{"name":"f"}]"#));
    let counted = partial(r#","usage_metadata":{"output_tokens":1}"#);
    assert_eq!(read(Dialect::LangGraph, &block(&call)).0, Class::Tool);
    assert_eq!(read(Dialect::LangGraph, &block(&counted)).0, Class::Usage);
    assert!(joins(Dialect::LangGraph, &plain, &plain));
    assert!(joins(Dialect::LangGraph, &call, &call));
    assert!(!joins(Dialect::LangGraph, &plain, &call));
    assert!(!joins(Dialect::LangGraph, &plain, &counted));
    assert!(!joins(
        Dialect::LangGraph,
        "values|{}",
        r#"values|{"__interrupt__":[]}"#
    ));
}

#[test]
fn langserve_ends_without_data() {
    let end = frame(Framing::Sse, "event: end\n\n");
    let event = Classifier::new(Dialect::LangServe).classify(&end);
    assert_eq!(event.terminal, Some(Terminal::Done));
    let table = [
        (r#"data|"a""#, Class::Token),
        (r#"data|{"ops":[]}"#, Class::State),
        (r#"data|{"event":"on_tool_start"}"#, Class::Tool),
        (r#"data|{"event":"off"}"#, Class::Opaque),
        ("data|7", Class::Opaque),
        (r#"error|{"status_code":500}"#, Class::Error),
        (r#"shiny|{}"#, Class::Opaque),
    ];
    for (text, class) in table {
        assert_eq!(read(Dialect::LangServe, &block(text)).0, class, "{text}");
    }
}

#[test]
fn only_the_outermost_run_ends_a_bare_astream() {
    let object = |event: &str, run: &str, parents: &str| {
        let parents = match parents {
            "?" => String::new(),
            list => format!(r#","parent_ids":{list}"#),
        };
        block(&format!(
            r#"{{"event":"{event}","run_id":"{run}"{parents}}}"#
        ))
    };
    // Each object, and whether the stream may end with it.
    let table: [&[(&str, &str, &str, bool)]; 5] = [
        &[
            ("on_chain_start", "r", "[]", false),
            ("on_chain_start", "s", r#"["r"]"#, false),
            ("on_chat_model_stream", "m", r#"["r","s"]"#, false),
            ("on_chain_end", "s", r#"["r"]"#, false),
            ("on_chain_end", "r", "[]", true),
        ],
        // No parents: the run that began first.
        &[
            ("on_chain_start", "r", "?", false),
            ("on_chain_start", "s", "?", false),
            ("on_chain_end", "s", "?", false),
            ("on_chain_end", "r", "?", true),
        ],
        // A model by itself.
        &[
            ("on_chat_model_start", "m", "[]", false),
            ("on_chat_model_stream", "m", "[]", false),
            ("on_chat_model_end", "m", "[]", true),
        ],
        // Only some of the objects are sent on.
        &[
            ("on_chat_model_stream", "m", r#"["r"]"#, true),
            ("on_tool_start", "t", r#"["r"]"#, true),
        ],
        &[("on_chain_end", "s", "?", true)],
    ];
    for events in table {
        let mut classifier = Classifier::new(Dialect::LangServe);
        for (event, run, parents, ends) in events {
            let terminal = classifier.classify(&object(event, run, parents)).terminal;
            assert_eq!(
                terminal,
                ends.then_some(Terminal::MayEnd),
                "{event} {run} {parents}"
            );
        }
    }
}

#[test]
fn a_convention_is_a_word_in_any_spelling() {
    let table = [
        ("Tool-Call|{}", Class::Tool),
        ("text.delta|a", Class::Token),
        (r#"message|{"type":"token","content":"a"}"#, Class::Token),
        (r#"{"event":"node_start"}"#, Class::Status),
        (r#"{"kind":"final_answer","value":"a"}"#, Class::Structure),
        (r#"{"type":"ai","event":"token"}"#, Class::Opaque),
        (r#"{"node":"a","state":{}}"#, Class::State),
        (r#"{"node":"a"}"#, Class::Opaque),
        ("FAILED|x", Class::Error),
        ("any text", Class::Token),
        ("{torn", Class::Opaque),
        ("a_word_that_is_longer_than_any_known|x", Class::Opaque),
    ];
    for (text, class) in table {
        assert_eq!(read(Dialect::Convention, &block(text)).0, class, "{text}");
    }
    let of = |n| format!(r#"{{"type":"token","content":"a","n":{n}}}"#);
    assert!(joins(Dialect::Convention, &of(1), &of(1)));
    assert!(!joins(Dialect::Convention, &of(1), &of(2)));
}

#[test]
fn the_request_tells_the_dialect() {
    let plain = HeaderMap::new();
    let table = [
        ("/v1/chat/completions", Some(Dialect::OpenAiChat)),
        (
            "/openai/deployments/m/chat/completions?api-version=1",
            Some(Dialect::OpenAiChat),
        ),
        ("/v1/completions", Some(Dialect::OpenAiChat)),
        ("/v1/messages/", Some(Dialect::Anthropic)),
        ("/messages", None),
        ("/api/chat", Some(Dialect::Ollama)),
        ("/runs/stream", Some(Dialect::LangGraph)),
        ("/threads/t/runs/stream", Some(Dialect::LangGraph)),
        ("/threads/t/runs/r/stream", Some(Dialect::LangGraph)),
        ("/threads/t/stream", Some(Dialect::LangGraph)),
        ("/threads/t/stream/events", None),
        ("/agent/stream", Some(Dialect::LangServe)),
        ("/agent/stream_log", Some(Dialect::LangServe)),
        (
            "/v1beta/models/g:streamGenerateContent?alt=sse",
            Some(Dialect::Gemini),
        ),
        ("/v1/models/g:generateContent", None),
        ("/", None),
        ("", None),
    ];
    for (path, dialect) in table {
        assert_eq!(detect::from_request(path, &plain), dialect, "{path}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    assert_eq!(
        detect::from_request("/messages", &headers),
        Some(Dialect::Anthropic)
    );
}

#[test]
fn the_first_frame_tells_the_dialect() {
    let table = [
        (r#"{"choices":[{"delta":{}}]}"#, Dialect::OpenAiChat),
        (r#"{"error":{"message":"x"}}"#, Dialect::OpenAiChat),
        (
            r#"error|{"type":"error","error":{"type":"api_error"}}"#,
            Dialect::Anthropic,
        ),
        (
            r#"error|{"error":"RuntimeError","message":"x"}"#,
            Dialect::Convention,
        ),
        (r#"metadata|{"run_id":"r","attempt":1}"#, Dialect::LangGraph),
        (r#"metadata|{"run_id":"r"}"#, Dialect::LangServe),
        (r#"{"type":"token","content":"a"}"#, Dialect::Convention),
        (r#"{"type":"ping"}"#, Dialect::Convention),
        ("some text", Dialect::Convention),
        (r#"{"type":"start","messageId":"m"}"#, Dialect::Opaque),
        (r#"{"type":"RUN_STARTED"}"#, Dialect::Opaque),
        (r#"{"type":"response.created"}"#, Dialect::Opaque),
        (r#"{"candidates":[{"content":{}}]}"#, Dialect::Gemini),
        (
            r#"{"candidates":[{"finishReason":"STOP"}]}"#,
            Dialect::Gemini,
        ),
        (r#"{"candidates":[{"name":"Ann"}]}"#, Dialect::Opaque),
        (r#"{"candidates":[]}"#, Dialect::Opaque),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Dialect::Opaque),
    ];
    for (text, dialect) in table {
        assert_eq!(detect::from_frame(&block(text)), dialect, "{text}");
    }
}

#[test]
fn a_wrong_guess_is_noticed() {
    let token = block(r#"{"type":"token","content":"a"}"#);
    assert!(!detect::fits(Dialect::LangServe, &token));
    assert!(!detect::fits(Dialect::OpenAiChat, &token));
    assert!(detect::fits(Dialect::Convention, &token));
    // Its path is believed, whatever comes.
    assert!(detect::fits(Dialect::Gemini, &token));
    assert!(detect::fits(Dialect::Opaque, &token));
    // It shows nothing either way.
    let empty = frame(Framing::Sse, "id: 1\n\n");
    assert!(detect::fits(Dialect::OpenAiChat, &empty));
}

#[test]
fn every_dialect_is_found_by_its_word() {
    for (index, dialect) in Dialect::ALL.into_iter().enumerate() {
        assert_eq!(dialect.index(), index);
        assert_eq!(Dialect::parse(dialect.as_str()), Some(dialect));
    }
    assert_eq!(Dialect::parse("auto"), None);
}

#[test]
fn deep_nesting_is_no_recursion() {
    let deep = format!(
        "{}1{}",
        r#"{"kwargs":"#.repeat(200_000),
        "}".repeat(200_000)
    );
    for dialect in Dialect::ALL {
        read(dialect, &block(&format!("data|{deep}")));
        read(dialect, &block(&format!("messages|[{deep}]")));
    }
}
