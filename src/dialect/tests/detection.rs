//! Which dialect it is.

use super::*;

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
