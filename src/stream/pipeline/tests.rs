//! Tests of whole streams: where they end, and which dialect they speak.

use super::*;
use crate::event::Class;

fn run(hint: Option<Dialect>, input: &str) -> (Vec<(String, Class)>, Verdict, Dialect) {
    let settings = Settings {
        framing: Framing::Sse,
        coding: Coding::Identity,
        choice: Choice::Auto,
        hint,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    };
    let mut pipeline = Pipeline::new(&settings);
    let mut out = Vec::new();
    let mut keep = |block: &[u8], event: &Event| {
        out.push((String::from_utf8(block.to_vec()).unwrap(), event.class));
    };
    pipeline.feed(input.as_bytes(), &mut keep).unwrap();
    let verdict = pipeline.finish(InputEnd::Clean, &mut keep);
    (out, verdict, pipeline.dialect())
}

const CHUNK: &str = "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

#[test]
fn a_stream_without_its_terminal_is_truncated() {
    assert_eq!(run(None, CHUNK).1, Verdict::Truncated);
    assert_eq!(
        run(None, &format!("{CHUNK}data: [DONE]\n\n")).1,
        Verdict::Complete
    );
    assert_eq!(
        run(None, &format!("{CHUNK}data: [DONE]")).1,
        Verdict::Complete
    );
    assert_eq!(run(None, "data: {\"tick\":1}\n\n").1, Verdict::Complete);
    assert_eq!(run(None, "data: {\"tick\":").1, Verdict::Truncated);
}

#[test]
fn what_is_no_stream_of_events_passes_as_it_came() {
    let body = "{\n  \"error\": {\"message\": \"no\"}\n}";
    let (items, verdict, dialect) = run(Some(Dialect::OpenAiChat), body);
    assert_eq!((verdict, dialect), (Verdict::Complete, Dialect::Opaque));
    let blocks: Vec<&str> = items.iter().map(|(block, _)| block.as_str()).collect();
    assert_eq!(blocks.concat(), body);
    assert!(items.iter().all(|(_, class)| *class == Class::Opaque));
}

#[test]
fn a_gemini_answer_ends_after_the_last_word_of_a_candidate() {
    let more = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n";
    let last = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n";
    let odd = "data: {\"traceId\":\"t\"}\n\n";
    let hint = Some(Dialect::Gemini);
    assert_eq!(run(hint, more).1, Verdict::Truncated);
    let (items, verdict, dialect) = run(hint, &format!("{odd}{more}{last}{odd}"));
    assert_eq!(
        (items.len(), verdict, dialect),
        (4, Verdict::Complete, Dialect::Gemini)
    );
}

#[test]
fn a_bare_astream_ends_with_its_outermost_run() {
    let object = |event: &str, parents: &str| {
        format!("data: {{\"event\":\"{event}\",\"run_id\":\"r\",\"parent_ids\":{parents}}}\n\n")
    };
    let cut = object("on_chain_start", "[]") + &object("on_chat_model_stream", "[\"r\"]");
    let (_, verdict, dialect) = run(None, &cut);
    assert_eq!((verdict, dialect), (Verdict::Truncated, Dialect::LangServe));
    let whole = cut + &object("on_chain_end", "[]");
    assert_eq!(run(None, &whole).1, Verdict::Complete);
}

#[test]
fn a_name_without_its_data_is_torn() {
    let graph = "event: metadata\ndata: {\"run_id\":\"1\",\"attempt\":1}\n\n";
    let (items, verdict, _) = run(None, &format!("{graph}event: messages\n"));
    assert_eq!((items.len(), verdict), (1, Verdict::Truncated));
    let serve = "event: data\ndata: \"a\"\n\n";
    let hint = Some(Dialect::LangServe);
    let (items, verdict, _) = run(hint, &format!("{serve}event: end\n"));
    assert_eq!((items.len(), verdict), (2, Verdict::Complete));
}

#[test]
fn nothing_follows_a_terminal() {
    let (items, ..) = run(None, &format!("{CHUNK}data: [DONE]\n\n{CHUNK}"));
    assert_eq!(items.len(), 2);
}

#[test]
fn an_event_of_two_dialects_settles_nothing() {
    let both = "event: metadata\ndata: {\"run_id\":\"1\"}\n\n";
    let graph = "event: messages\ndata: [{\"content\":\"a\",\"type\":\"AIMessageChunk\"},{}]\n\n";
    for hint in [None, Some(Dialect::LangGraph), Some(Dialect::LangServe)] {
        let (_, verdict, dialect) = run(hint, &format!("{both}{graph}"));
        assert_eq!((verdict, dialect), (Verdict::Complete, Dialect::LangGraph));
    }
    let serve = "event: data\ndata: {\"content\":\"a\"}\n\n";
    let (_, verdict, dialect) = run(None, &format!("{both}{serve}"));
    assert_eq!((verdict, dialect), (Verdict::Truncated, Dialect::LangServe));
    let (_, verdict, _) = run(None, &format!("{both}{serve}event: end\n\n"));
    assert_eq!(verdict, Verdict::Complete);
}

#[test]
fn a_convention_goes_on_after_done_and_ends_with_its_input() {
    let done = "data: {\"type\":\"done\"}\n\n";
    let more = "data: {\"type\":\"token\",\"content\":\"a\"}\n\n";
    let (items, verdict, dialect) = run(None, &format!("{done}{more}"));
    assert_eq!(
        (items.len(), verdict, dialect),
        (2, Verdict::Complete, Dialect::Convention)
    );
}

#[test]
fn a_request_that_promised_too_much_is_not_believed() {
    let (items, verdict, dialect) = run(Some(Dialect::OpenAiChat), "data: {\"tick\":1}\n\n");
    assert_eq!(
        (items.len(), verdict, dialect),
        (1, Verdict::Complete, Dialect::Opaque)
    );
}
