//! Tests of dialect detection.

use super::*;

#[test]
fn a_stream_for_whatever_may_come_is_known_by_its_path() {
    let asks = |method: &str, path: &str, accept: &str| {
        let request = http::Request::builder().method(method).uri(path);
        let (parts, ()) = request
            .header("accept", accept)
            .body(())
            .unwrap()
            .into_parts();
        detect::subscribes(&parts)
    };
    let events = "application/json, text/event-stream";
    assert!(asks("GET", "/mcp", events) && asks("GET", "/api/sse", "text/event-stream"));
    assert!(asks("GET", "/mcp/", events) && asks("GET", "/mcp", "Text/Event-Stream;q=0.9"));
    assert!(!asks("POST", "/mcp", events) && !asks("GET", "/mcp", "*/*"));
    assert!(!asks("GET", "/agent", "text/event-stream"));
}

#[test]
fn a_dialect_knows_its_subscriptions() {
    for (dialect, method, path, subscribes) in [
        (Dialect::LangGraph, "GET", "/threads/t/stream", true),
        (Dialect::LangGraph, "GET", "/threads/t/runs/r/stream", true),
        (Dialect::LangGraph, "POST", "/threads/t/stream/events", true),
        (Dialect::LangGraph, "POST", "/threads/t/runs/stream", false),
        (Dialect::Mcp, "GET", "/tools", true),
        (Dialect::Mcp, "POST", "/tools", false),
        (Dialect::A2a, "POST", "/v1/tasks/k:subscribe", true),
        (Dialect::A2a, "POST", "/v1/message:stream", false),
        (
            Dialect::LibreChat,
            "GET",
            "/api/agents/chat/stream/s",
            false,
        ),
        (Dialect::Dify, "GET", "/v1/workflow/r/events", false),
        (Dialect::OpenAiResponses, "GET", "/v1/responses/r", false),
    ] {
        let request = http::Request::builder().method(method).uri(path);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(dialect.subscribes(&parts), subscribes, "{method} {path}");
    }
}
use crate::wire::members::Scanner;

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
        ("/threads/t/stream/events", Some(Dialect::LangGraph)),
        ("/runs/stream/events", None),
        ("/v1/responses", Some(Dialect::OpenAiResponses)),
        (
            "/v1/responses/r?stream=true&starting_after=4",
            Some(Dialect::OpenAiResponses),
        ),
        ("/v1/responses/r", None),
        ("/run_sse", Some(Dialect::Adk)),
        ("/v1/message:stream", Some(Dialect::A2a)),
        ("/v1/tasks/k1:subscribe", Some(Dialect::A2a)),
        ("/mcp", None),
        ("/v1/chat-messages", Some(Dialect::Dify)),
        ("/v1/completion-messages", Some(Dialect::Dify)),
        ("/v1/workflows/run", Some(Dialect::Dify)),
        ("/v1/workflows/w1/run", Some(Dialect::Dify)),
        ("/v1/workflow/r1/events", Some(Dialect::Dify)),
        ("/v1/messages/m1/events", None),
        ("/v2/chat", Some(Dialect::Cohere)),
        ("/v1/chat", None),
        ("/generate_stream", Some(Dialect::Tgi)),
        ("/models/m/generate_stream", Some(Dialect::Tgi)),
        ("/v2/models/m/generate_stream", None),
        ("/generate", None),
        ("/agent/stream", Some(Dialect::LangServe)),
        ("/agents/a/stream", Some(Dialect::LangServe)),
        ("/api/agents/chat/stream/s", Some(Dialect::LibreChat)),
        ("/api/agents/a/stream", Some(Dialect::Mastra)),
        ("/api/agents/a/network", Some(Dialect::Mastra)),
        ("/api/agents/a/generate", None),
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
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let asked = RequestHead::new(path, query, &plain);
        assert_eq!(detect::from_request(&asked), dialect, "{path}");
    }
    let fields = [
        (
            "anthropic-version",
            "2023-06-01",
            "/messages",
            Dialect::Anthropic,
        ),
        ("mcp-protocol-version", "2025-11-25", "/x", Dialect::Mcp),
        ("mcp-session-id", "s", "/agent/stream", Dialect::Mcp),
        ("a2a-version", "1.0", "/", Dialect::A2a),
        ("content-type", "application/a2a+json", "/", Dialect::A2a),
        (
            "accept",
            "text/event-stream, application/vnd.ag-ui.event+proto",
            "/agent",
            Dialect::AgUi,
        ),
    ];
    for (field, value, path, dialect) in fields {
        let mut headers = HeaderMap::new();
        headers.insert(field, HeaderValue::from_static(value));
        let asked = RequestHead::new(path, "", &headers);
        assert_eq!(detect::from_request(&asked), Some(dialect), "{field}");
    }
}

#[test]
fn the_body_tells_what_the_path_does_not() {
    let of = |body: &str| {
        let mut members = Members::default();
        Scanner::default().feed(body.as_bytes(), &mut |key, value| members.note(key, value));
        members
    };
    let call = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    let run = r#"{"threadId":"t","runId":"r","messages":[],"tools":[],"context":[],"state":{}}"#;
    let table = [
        (call("message/stream"), Some(Dialect::A2a)),
        (call("SubscribeToTask"), Some(Dialect::A2a)),
        (call("tools/call"), Some(Dialect::Mcp)),
        (run.to_owned(), Some(Dialect::AgUi)),
        (r#"{"messages":[],"tools":[]}"#.to_owned(), None),
        (
            r#"{"inputs":"Rain?","parameters":{},"stream":true}"#.to_owned(),
            Some(Dialect::Tgi),
        ),
        (r#"{"inputs":"Rain?"}"#.to_owned(), None),
        (r#"{"inputs":{"q":"Rain?"},"stream":true}"#.to_owned(), None),
        (
            r#"{"inputs":{},"query":"Rain?","response_mode":"streaming","user":"u"}"#.to_owned(),
            Some(Dialect::Dify),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/x"}"#.to_owned(),
            None,
        ),
    ];
    for (body, dialect) in table {
        assert_eq!(detect::from_body(&of(&body), None), dialect, "{body}");
    }
    let asks = |body: &str| of(body).asks_for_stream();
    assert_eq!(asks(r#"{"stream":true}"#), Some(true));
    assert_eq!(asks(r#"{"stream":false}"#), Some(false));
    assert_eq!(asks(r#"{"response_mode":"streaming"}"#), Some(true));
    assert_eq!(asks(r#"{"response_mode":"blocking"}"#), Some(false));
    assert_eq!(asks(r#"{"stream":"yes","response_mode":1}"#), None);
    let hinted = Some(Dialect::LangServe);
    assert_eq!(detect::from_body(&of("{}"), hinted), hinted);
    assert_eq!(detect::from_body(&of(run), hinted), Some(Dialect::AgUi));
    let known = Some(Dialect::A2a);
    assert_eq!(detect::from_body(&of(&call("x")), known), known);
}

#[test]
fn the_head_of_an_answer_tells_the_sdk() {
    let table = [
        ("x-vercel-ai-ui-message-stream", Some(Dialect::VercelUi)),
        ("x-vercel-ai-data-stream", Some(Dialect::VercelV4)),
        ("x-other", None),
    ];
    for (field, dialect) in table {
        let mut headers = HeaderMap::new();
        headers.insert(field, HeaderValue::from_static("v1"));
        assert_eq!(detect::from_answer(&headers), dialect);
    }
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
        (r#"{"type":"start","messageId":"m"}"#, Dialect::VercelUi),
        (r#"{"type":"RUN_STARTED"}"#, Dialect::AgUi),
        (r#"{"type":"response.created"}"#, Dialect::OpenAiResponses),
        (r#"{"candidates":[{"content":{}}]}"#, Dialect::Gemini),
        (
            r#"{"candidates":[{"finishReason":"STOP"}]}"#,
            Dialect::Gemini,
        ),
        (r#"{"candidates":[{"name":"Ann"}]}"#, Dialect::Opaque),
        (r#"{"candidates":[]}"#, Dialect::Opaque),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Dialect::Mcp),
        (r#"{"type":"SHOUTED"}"#, Dialect::Opaque),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"k"}}}"#,
            Dialect::A2a,
        ),
        (
            r#"{"statusUpdate":{"status":{"state":"TASK_STATE_WORKING"}}}"#,
            Dialect::A2a,
        ),
        (r#"{"message":{"text":"hi"}}"#, Dialect::Opaque),
        (
            r#"message|{"event":"on_run_step","data":{"id":"s"}}"#,
            Dialect::LibreChat,
        ),
        (
            r#"{"event":"on_chat_model_stream","data":{}}"#,
            Dialect::LangServe,
        ),
        (
            r#"message|{"created":true,"message":{"text":"?"}}"#,
            Dialect::LibreChat,
        ),
        (
            r#"{"event":{"messageStart":{"role":"assistant"}}}"#,
            Dialect::Strands,
        ),
        (r#"{"data":"a","delta":{"text":"a"}}"#, Dialect::Strands),
        (
            r#"{"type":"multiagent_node_start","node_id":"a","node_type":"agent"}"#,
            Dialect::Strands,
        ),
        (
            r#"{"event":{"data":"a"},"node_id":"a","type":"multiagent_node_stream"}"#,
            Dialect::Strands,
        ),
        (r#"{"type":"multiagent"}"#, Dialect::Opaque),
        (r#"{"event":{"name":"a"}}"#, Dialect::Opaque),
        (r#"{"type":"text-start","id":"t"}"#, Dialect::VercelUi),
        (
            r#"{"type":"text-start","runId":"r","from":"AGENT","payload":{"id":"t"}}"#,
            Dialect::Mastra,
        ),
        (
            r#"{"type":"start","runId":"r","from":"WEIR","payload":{}}"#,
            Dialect::Convention,
        ),
        (r#"{"type":"finish"}"#, Dialect::Convention),
        (r#"{"author":"a","invocationId":"i"}"#, Dialect::Adk),
        (
            r#"{"event":"message","task_id":"k","answer":"a"}"#,
            Dialect::Dify,
        ),
        (
            r#"{"event":"error","message_id":"m","code":"c","status":400,"message":"x"}"#,
            Dialect::Dify,
        ),
        // Tutorials have the same words without the ids.
        (r#"{"event":"message","content":"a"}"#, Dialect::Convention),
        (r#"{"event":"message","answer":"a"}"#, Dialect::Convention),
        (r#"{"event":"error","message":"x"}"#, Dialect::Convention),
        (r#"{"event":"ping"}"#, Dialect::Convention),
        (
            r#"{"event":"on_chat_model_stream","run_id":"r","data":{}}"#,
            Dialect::LangServe,
        ),
        (
            r#"message-start|{"type":"message-start","id":"c"}"#,
            Dialect::Cohere,
        ),
        (
            r#"content-delta|{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"a"}}}}"#,
            Dialect::Cohere,
        ),
        (
            r#"{"index":1,"token":{"id":1,"text":"a","logprob":-1,"special":false},"generated_text":null,"details":null}"#,
            Dialect::Tgi,
        ),
        (r#"{"error":"x","error_type":"overloaded"}"#, Dialect::Tgi),
        (r#"{"type":"token","token":"a"}"#, Dialect::Convention),
        (
            r#"{"type":"event","method":"messages","params":{}}"#,
            Dialect::LangGraph,
        ),
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
    assert!(!detect::fits(Dialect::Gemini, &token));
    assert!(detect::fits(Dialect::Opaque, &token));
    // The application's own data may come first.
    let custom = block(r#"custom|{"token":"a"}"#);
    assert!(detect::fits(Dialect::LangGraph, &custom));
    assert!(!detect::fits(Dialect::OpenAiChat, &custom));
    // A frame without data is no evidence for or against a dialect.
    let empty = frame(Framing::Sse, "id: 1\n\n");
    assert!(detect::fits(Dialect::OpenAiChat, &empty));
}
