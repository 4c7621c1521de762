//! Tests of what Weir itself writes to a client, by dialect and framing.

use super::*;
use crate::dialect::ErrorContext;
use crate::event::Class;

const SSE: Encoder = Encoder {
    whole: None,
    dialect: Dialect::OpenAiChat,
    framing: Framing::Sse,
    fixed: false,
};

#[test]
fn identity_passes_blocks_untouched() {
    let block = b"data: {\"a\" : 1}\n\n";
    let passed = SSE.event(block, &Event::bare(Class::Opaque));
    assert_eq!(passed.as_ptr(), block.as_ptr());
    assert_eq!(passed.len(), block.len());
}

#[test]
fn identity_adopts_what_the_first_events_show() {
    let mut encoder = Encoder::identity(None, Framing::Sse);
    assert!(encoder.tells_drops());
    assert!(encoder.follow(Dialect::Gemini, Framing::Sse));
    assert!(!encoder.follow(Dialect::Gemini, Framing::Sse));
    // Google's Python client raises on a comment.
    assert!(!encoder.tells_drops());
    assert_eq!(encoder.heartbeat(), Some(&b"\n"[..]));
    assert!(encoder.follow(Dialect::Ollama, Framing::Ndjson));
    let error = encoder
        .failure(&ErrorContext::default(), "truncated", "M")
        .unwrap();
    assert_eq!(error, "{\"error\":\"truncated: M\"}\n");
}

#[test]
fn comments_are_written_only_where_clients_skip_them() {
    assert_eq!(SSE.drop_notice(2, 7), ": weir dropped=2 chars=7\n");
    let preamble = SSE.preamble(64);
    assert_eq!(preamble.len(), 64);
    assert!(preamble.starts_with(b":") && preamble.ends_with(b"\n"));
    let others = [
        Encoder::identity(Some(Dialect::Gemini), Framing::Sse),
        Encoder::identity(Some(Dialect::Ollama), Framing::Ndjson),
        Encoder::identity(None, Framing::Ndjson),
        Encoder::identity(Some(Dialect::VercelV4), Framing::Lines),
    ];
    for encoder in others {
        assert_eq!(encoder.drop_notice(2, 7), "", "{encoder:?}");
        assert!(encoder.preamble(64).is_empty(), "{encoder:?}");
    }
}

#[test]
fn a_head_of_weirs_own_names_the_framing() {
    let content_type = |framing| Encoder::identity(None, framing).content_type();
    assert_eq!(
        content_type(Framing::Sse),
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(content_type(Framing::Ndjson), "application/x-ndjson");
}

#[test]
fn translations_tell_drops_in_their_own_words() {
    let told =
        |target: Target| Encoder::translated(target.dialect(), target.framing()).drop_notice(3, 7);
    assert_eq!(
        told(Target::AiSdk),
        "data: {\"type\":\"data-weir-gap\",\"data\":{\"events\":3,\"characters\":7},\"transient\":true}\n\n"
    );
    assert_eq!(
        told(Target::AgUi),
        "data: {\"type\":\"CUSTOM\",\"name\":\"weir.gap\",\"value\":{\"events\":3,\"characters\":7}}\n\n"
    );
    for target in [Target::OpenAiChat, Target::Events, Target::Anthropic] {
        let told = told(target);
        assert!(
            told.is_empty() || told.starts_with(": weir dropped=3"),
            "{told}"
        );
    }
    assert_eq!(told(Target::Ndjson), "");
    assert_eq!(Encoder::whole(Target::AiSdk).drop_notice(3, 7), "");
    // What an agent says in its own dialect gets no events of Weir.
    let own = Encoder::identity(Some(Dialect::VercelUi), Framing::Sse);
    assert!(!own.drop_notice(3, 7).contains("data-weir"));
}
