use super::*;

fn event(dialect: Dialect, code: &str, message: &str) -> String {
    let bytes = error_event(dialect, Framing::Sse, code, message).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_dialect_gets_the_bytes_its_clients_raise_on() {
    let table = [
        (
            Dialect::OpenAiChat,
            "data: {\"error\":{\"message\":\"truncated: M\",\"type\":\"truncated\",\"param\":null,\"code\":\"truncated\"}}\n\n",
        ),
        (
            Dialect::Anthropic,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"truncated: M\"}}\n\n",
        ),
        (
            Dialect::Gemini,
            "data: {\"error\":{\"code\":503,\"message\":\"truncated: M\",\"status\":\"UNAVAILABLE\"}}\n\n",
        ),
        (
            Dialect::LangGraph,
            "event: error\ndata: {\"error\":\"truncated\",\"message\":\"truncated: M\"}\n\n",
        ),
        (
            Dialect::LangServe,
            "event: error\ndata: {\"status_code\":502,\"message\":\"truncated: M\"}\n\n",
        ),
        (
            Dialect::Convention,
            "event: error\ndata: {\"type\":\"error\",\"error\":\"truncated: M\",\"message\":\"truncated: M\",\"code\":\"truncated\"}\n\n",
        ),
    ];
    for (dialect, expected) in table {
        assert_eq!(event(dialect, "truncated", "truncated: M"), expected);
    }
    assert_eq!(
        event(Dialect::Opaque, "truncated", "M"),
        event(Dialect::Convention, "truncated", "M")
    );
}

#[test]
fn only_ollama_has_an_error_line() {
    for dialect in Dialect::ALL {
        let bytes = error_event(dialect, Framing::Ndjson, "idle_timeout", "silent");
        if dialect == Dialect::Ollama {
            assert_eq!(
                bytes.unwrap(),
                &b"{\"error\":\"idle_timeout: silent\"}\n"[..]
            );
        } else {
            assert_eq!(bytes, None, "{dialect}");
        }
    }
}

#[test]
fn a_deadline_is_a_timeout_where_the_dialect_can_say_so() {
    assert!(event(Dialect::Anthropic, "idle_timeout", "M").contains("\"type\":\"timeout_error\""));
    assert!(event(Dialect::LangServe, "idle_timeout", "M").contains("\"status_code\":504"));
    assert!(
        event(Dialect::Gemini, "idle_timeout", "M").contains(
            "\"code\":504,\"message\":\"idle_timeout: M\",\"status\":\"DEADLINE_EXCEEDED\""
        )
    );
}

#[test]
fn bodies_before_the_head_have_the_shape_of_the_dialect() {
    let body = |dialect, status| {
        let (kind, bytes) = error_body(dialect, status, "connect_failed", "M");
        (kind, String::from_utf8(bytes.to_vec()).unwrap())
    };
    assert_eq!(
        body(Some(Dialect::OpenAiChat), 502).1,
        r#"{"error":{"message":"M","type":"connect_failed","param":null,"code":"connect_failed"}}"#
    );
    assert_eq!(
        body(Some(Dialect::Anthropic), 503).1,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"connect_failed: M"}}"#
    );
    assert_eq!(
        body(Some(Dialect::Gemini), 429).1,
        r#"{"error":{"code":429,"message":"connect_failed: M","status":"RESOURCE_EXHAUSTED"}}"#
    );
    assert_eq!(
        body(Some(Dialect::Ollama), 502),
        (
            "application/json",
            r#"{"error":"connect_failed: M"}"#.into()
        )
    );
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
    let (_, body) = error_body(Some(Dialect::OpenAiChat), 502, "x", message);
    let text = std::str::from_utf8(&body).unwrap();
    assert!(!text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']));
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["error"]["message"], message);
}
