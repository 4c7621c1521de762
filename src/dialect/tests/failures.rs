//! Tests of the error events and error responses of each dialect.

use super::*;
use crate::dialect::refusal;

/// Returns the error event of a stream of `dialect` that fails after `before`.
fn said(dialect: Dialect, framing: Framing, before: &str, code: &str) -> Option<String> {
    let mut classifier = Classifier::of(dialect, &members());
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut classify = |frame: Frame<'_>| {
        classifier.classify(&frame, &mut None);
    };
    decoder.feed(before.as_bytes(), &mut classify).unwrap();
    failure(&classifier, framing, code)
}

fn failure(classifier: &Classifier, framing: Framing, code: &str) -> Option<String> {
    let seen = classifier.error_context();
    classifier.dialect().failure(framing, &seen, code, "M")
}

/// Returns the members of a JSON-RPC call.
fn members() -> Members {
    let mut members = Members::default();
    for (key, value) in [
        ("jsonrpc", "\"2.0\""),
        ("id", "\"a7\""),
        ("method", "\"x\""),
    ] {
        members.note(key.as_bytes(), value.as_bytes());
    }
    members
}

#[test]
fn every_dialect_gets_the_bytes_its_clients_raise_on() {
    let sse = [
        (
            Dialect::A2a,
            "data: {\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"error\":{\"code\":-32603,\"message\":\"truncated: M\"}}\n\n",
        ),
        (Dialect::Adk, "data: {\"error\":\"truncated: M\"}\n\n"),
        (
            Dialect::AgUi,
            "data: {\"type\":\"RUN_ERROR\",\"message\":\"M\",\"code\":\"truncated\"}\n\n",
        ),
        (
            Dialect::Anthropic,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"truncated: M\"}}\n\n",
        ),
        (
            Dialect::Convention,
            "event: error\ndata: {\"type\":\"error\",\"error\":\"M\",\"message\":\"M\",\"code\":\"truncated\"}\n\n",
        ),
        (
            Dialect::Dify,
            "data: {\"event\":\"error\",\"status\":400,\"code\":\"truncated\",\"message\":\"M\"}\n\n",
        ),
        (
            Dialect::Gemini,
            "data: {\"error\":{\"code\":503,\"message\":\"truncated: M\",\"status\":\"UNAVAILABLE\"}}\n\n",
        ),
        (
            Dialect::LangGraph,
            "event: error\ndata: {\"error\":\"truncated\",\"message\":\"M\"}\n\n",
        ),
        (
            Dialect::LangServe,
            "event: error\ndata: {\"status_code\":502,\"message\":\"M\"}\n\n",
        ),
        (
            Dialect::LibreChat,
            "event: error\ndata: {\"error\":\"M\",\"text\":\"M\",\"message\":\"M\",\"code\":\"truncated\"}\n\n",
        ),
        (
            Dialect::Mastra,
            "data: {\"type\":\"error\",\"runId\":\"\",\"from\":\"SYSTEM\",\"payload\":{\"error\":{\"message\":\"M\",\"name\":\"Error\",\"code\":\"truncated\"}}}\n\ndata: [DONE]\n\n",
        ),
        (
            Dialect::Mcp,
            "data: {\"jsonrpc\":\"2.0\",\"id\":\"a7\",\"error\":{\"code\":-32000,\"message\":\"truncated: M\"}}\n\n",
        ),
        (Dialect::Ollama, "data: {\"error\":\"truncated: M\"}\n\n"),
        (
            Dialect::OpenAiChat,
            "data: {\"error\":{\"message\":\"M\",\"type\":\"truncated\",\"param\":null,\"code\":\"truncated\"}}\n\n",
        ),
        (
            Dialect::OpenAiResponses,
            "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"truncated\",\"message\":\"M\",\"param\":null,\"error\":{\"type\":\"truncated\",\"code\":\"truncated\",\"message\":\"M\",\"param\":null}}\n\n",
        ),
        (
            Dialect::Opaque,
            "event: error\ndata: {\"type\":\"error\",\"error\":\"M\",\"message\":\"M\",\"code\":\"truncated\"}\n\n",
        ),
        (
            Dialect::Strands,
            "data: {\"error\":\"M\",\"error_type\":\"truncated\",\"message\":\"M\"}\n\n",
        ),
        (
            Dialect::Tgi,
            "data: {\"error\":\"truncated: M\",\"error_type\":\"incomplete_generation\"}\n\n",
        ),
        (
            Dialect::VercelUi,
            "data: {\"type\":\"error\",\"errorText\":\"truncated: M\"}\n\ndata: [DONE]\n\n",
        ),
    ];
    for (dialect, expected) in sse {
        let bytes = said(dialect, Framing::Sse, "", "truncated");
        assert_eq!(bytes.as_deref(), Some(expected), "{dialect}");
    }
    let told = Dialect::ALL
        .into_iter()
        .filter(|dialect| said(*dialect, Framing::Sse, "", "truncated").is_some());
    assert_eq!(told.count(), sse.len());
}

#[test]
fn lines_end_with_an_error_where_the_dialect_has_one() {
    for dialect in Dialect::ALL {
        let line = said(dialect, Framing::Ndjson, "", "idle_timeout");
        let expected = (dialect == Dialect::Ollama).then_some("{\"error\":\"idle_timeout: M\"}\n");
        assert_eq!(line.as_deref(), expected, "{dialect}");
    }
    let token = "{\"type\":\"token\",\"content\":\"a\"}\n";
    let line = said(Dialect::Convention, Framing::Ndjson, token, "truncated");
    assert!(line.unwrap().ends_with("\"content\":\"M\"}\n"));
    assert_eq!(
        said(Dialect::VercelV4, Framing::Lines, "", "truncated").as_deref(),
        Some(
            "3:\"truncated: M\"\nd:{\"finishReason\":\"error\",\"usage\":{\"promptTokens\":0,\"completionTokens\":0}}\n"
        )
    );
}

#[test]
fn an_error_in_an_array_leaves_it_a_whole_array() {
    let chunk = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#;
    let table = [
        String::new(),
        "[".to_owned(),
        format!("[{chunk}"),
        format!("[{chunk},{chunk}"),
    ];
    for before in table {
        let mut sent = String::new();
        let mut decoder = Decoder::new(Framing::JsonArray, 1 << 20);
        let mut keep = |frame: Frame<'_>| sent += std::str::from_utf8(&frame.block).unwrap();
        decoder.feed(before.as_bytes(), &mut keep).unwrap();
        sent += &said(Dialect::Gemini, Framing::JsonArray, &before, "truncated").unwrap();
        let value: serde_json::Value = serde_json::from_str(&sent).unwrap();
        let last = value.as_array().unwrap().last().unwrap();
        assert_eq!(last["error"]["code"], 503, "{sent}");
    }
}

#[test]
fn an_error_follows_what_the_stream_was_like() {
    let numbered = "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":NN,\"delta\":\"a\"}\n\n";
    let many: String = (7..30)
        .map(|number| numbered.replace("NN", &number.to_string()))
        .collect();
    let error = said(Dialect::OpenAiResponses, Framing::Sse, &many, "truncated");
    assert!(error.unwrap().contains("\"sequence_number\":30,"));

    let wrapped = "data: {\"type\":\"raw_response_event\",\"data\":{}}\n\n";
    let error = said(Dialect::OpenAiResponses, Framing::Sse, wrapped, "truncated");
    assert!(
        error
            .unwrap()
            .starts_with("data: {\"type\":\"error\",\"error\":\"M\"")
    );

    let typed = "data: {\"type\":\"token\",\"text\":\"a\"}\n\n";
    let error = said(Dialect::Convention, Framing::Sse, typed, "truncated").unwrap();
    assert!(error.starts_with("event: error\n") && error.ends_with("\"text\":\"M\"}\n\n"));
    let named = "event: token\ndata: {\"token\":\"a\"}\n\n";
    let error = said(Dialect::Convention, Framing::Sse, named, "truncated").unwrap();
    assert!(error.starts_with("event: error\n") && error.ends_with("\"token\":\"M\"}\n\n"));

    let mut rest = Classifier::new(Dialect::A2a);
    assert!(
        failure(&rest, Framing::Sse, "truncated")
            .unwrap()
            .starts_with("event: error\ndata: {\"error\":{\"code\":503,")
    );
    let frame = block(r#"{"jsonrpc":"2.0","id":7,"result":{"task":{"id":"k"}}}"#);
    rest.classify(&frame, &mut None);
    let learned = failure(&rest, Framing::Sse, "truncated").unwrap();
    assert!(learned.contains("\"id\":7,"), "{learned}");
}

#[test]
fn a_deadline_is_a_timeout_where_the_dialect_can_say_so() {
    let event = |dialect| said(dialect, Framing::Sse, "", "idle_timeout").unwrap();
    assert!(event(Dialect::Anthropic).contains("\"type\":\"timeout_error\""));
    assert!(event(Dialect::LangServe).contains("\"status_code\":504"));
    let status = "\"code\":504,\"message\":\"idle_timeout: M\",\"status\":\"DEADLINE_EXCEEDED\"";
    assert!(event(Dialect::Gemini).contains(status));
}

#[test]
fn bodies_before_the_head_have_the_shape_of_the_dialect() {
    let body = |dialect, status| {
        let (kind, bytes) = refusal(dialect, &members(), status, "connect_failed", "M");
        (kind, String::from_utf8(bytes.to_vec()).unwrap())
    };
    let openai =
        r#"{"error":{"message":"M","type":"connect_failed","param":null,"code":"connect_failed"}}"#;
    let table = [
        (
            Dialect::A2a,
            502,
            r#"{"jsonrpc":"2.0","id":"a7","error":{"code":-32603,"message":"connect_failed: M"}}"#,
        ),
        (
            Dialect::Anthropic,
            503,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"connect_failed: M"}}"#,
        ),
        (Dialect::Cohere, 502, r#"{"message":"connect_failed: M"}"#),
        (
            Dialect::Dify,
            502,
            r#"{"code":"connect_failed","message":"M","status":502}"#,
        ),
        (
            Dialect::Gemini,
            429,
            r#"{"error":{"code":429,"message":"connect_failed: M","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (
            Dialect::Mcp,
            502,
            r#"{"jsonrpc":"2.0","id":"a7","error":{"code":-32000,"message":"connect_failed: M"}}"#,
        ),
        (Dialect::Ollama, 502, r#"{"error":"connect_failed: M"}"#),
        (Dialect::OpenAiChat, 502, openai),
        (Dialect::OpenAiResponses, 502, openai),
        (
            Dialect::Tgi,
            503,
            r#"{"error":"connect_failed: M","error_type":"overloaded"}"#,
        ),
        (
            Dialect::Tgi,
            413,
            r#"{"error":"connect_failed: M","error_type":"validation"}"#,
        ),
        (
            Dialect::Tgi,
            502,
            r#"{"error":"connect_failed: M","error_type":"generation"}"#,
        ),
    ];
    for (dialect, status, expected) in table {
        let (kind, text) = body(Some(dialect), status);
        assert_eq!((kind, &*text), ("application/json", expected), "{dialect}");
    }
    assert_eq!(
        body(None, 502),
        (
            "application/problem+json",
            r#"{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"M","code":"connect_failed"}"#
                .into()
        )
    );
}

#[test]
fn any_text_survives_escaping_on_one_line() {
    let message = "a\"b\\c\n\r\t\0\u{1f}\u{85}\u{2028}\u{2029}é😀";
    let (_, body) = refusal(Some(Dialect::OpenAiChat), &members(), 502, "x", message);
    let text = std::str::from_utf8(&body).unwrap();
    assert!(!text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']));
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["error"]["message"], message);
}
