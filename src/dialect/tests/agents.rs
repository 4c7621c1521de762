//! Tests of the dialects of agents and tutorials: LangGraph, LangServe, conventions, Dify.

use super::*;
use crate::event::TextsOver;

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
    let event = *Classifier::new(Dialect::LangServe).classify(&end, &mut None);
    assert_eq!(event.terminal, Some(Terminal::Done));
    let table = [
        (r#"data|"a""#, Class::Token),
        (r#"data|{"ops":[]}"#, Class::State),
        (r#"data|{"event":"on_tool_start"}"#, Class::Tool),
        (r#"data|{"event":"off"}"#, Class::Opaque),
        // A runnable that puts out an object, piece by piece.
        (r#"data|{"answer":"a"}"#, Class::Token),
        (r#"data|{"answer":"a","context":[]}"#, Class::Token),
        (r#"data|{"joke":"a","poem":"b"}"#, Class::State),
        (r#"data|{"answer":"a","context":[1]}"#, Class::State),
        (r#"data|{"thinking":"a"}"#, Class::Reasoning),
        (r#"data|{"question":"a"}"#, Class::Opaque),
        (r#"data|{"context":[{"page_content":"a"}]}"#, Class::Opaque),
        (
            r#"data|{"event":"on_llm_stream","data":{"chunk":"a"}}"#,
            Class::Token,
        ),
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
    // Each row is an object, and whether the stream may end with it.
    let table: [&[(&str, &str, &str, bool)]; 5] = [
        &[
            ("on_chain_start", "r", "[]", false),
            ("on_chain_start", "s", r#"["r"]"#, false),
            ("on_chat_model_stream", "m", r#"["r","s"]"#, false),
            ("on_chain_end", "s", r#"["r"]"#, false),
            ("on_chain_end", "r", "[]", true),
        ],
        // Without parents, the run that began first is the outermost.
        &[
            ("on_chain_start", "r", "?", false),
            ("on_chain_start", "s", "?", false),
            ("on_chain_end", "s", "?", false),
            ("on_chain_end", "r", "?", true),
        ],
        // A model without a chain.
        &[
            ("on_chat_model_start", "m", "[]", false),
            ("on_chat_model_stream", "m", "[]", false),
            ("on_chat_model_end", "m", "[]", true),
        ],
        // The application forwards only some of the objects.
        &[
            ("on_chat_model_stream", "m", r#"["r"]"#, true),
            ("on_tool_start", "t", r#"["r"]"#, true),
        ],
        &[("on_chain_end", "s", "?", true)],
    ];
    for events in table {
        let mut classifier = Classifier::new(Dialect::LangServe);
        for (event, run, parents, ends) in events {
            let event_of = *classifier.classify(&object(event, run, parents), &mut None);
            assert_eq!(event_of.ends_stream(), *ends, "{event} {run} {parents}");
        }
    }
}

#[test]
fn a_convention_is_a_word_in_any_spelling() {
    let table = [
        ("Tool-Call|{}", Class::Tool),
        ("text.delta|a", Class::Token),
        (r#"message|{"type":"token","content":"a"}"#, Class::Token),
        (r#"{"event":"node_start"}"#, Class::State),
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
fn chunks_of_ag_ui_without_an_id_go_on_with_the_open_message() {
    let chunk = |kind: &str, id: Option<&str>, text: &str| {
        let id = id.map_or(String::new(), |id| format!(r#""messageId":"{id}","#));
        block(&format!(
            r#"{{"type":"{kind}_MESSAGE_CHUNK",{id}"delta":"{text}"}}"#
        ))
    };
    let mut classifier = Classifier::new(Dialect::AgUi);
    let mut lanes = Vec::new();
    for (kind, id, text) in [
        ("TEXT", Some("m1"), "a"),
        ("TEXT", None, "b"),
        ("REASONING", Some("r1"), "x"),
        ("REASONING", None, "y"),
        ("TEXT", None, "c"),
        ("TEXT", Some("m2"), "d"),
        ("TEXT", None, "e"),
        ("TEXT", None, "f"),
    ] {
        lanes.push(classifier.classify(&chunk(kind, id, text), &mut None).lane);
    }
    let [a, b, x, y, c, d, e, f] = lanes.try_into().unwrap();
    assert!(a == b && b == c, "the first message");
    assert!(x == y && x != a, "a thought beside it");
    assert!(d == e && e == f && d != a, "the second message");
}

#[test]
fn dify_goes_by_the_word_and_an_id() {
    let table = [
        (
            r#"{"event":"message","task_id":"k","answer":"a"}"#,
            Class::Token,
        ),
        (
            r#"{"event":"agent_message","message_id":"m","answer":"a"}"#,
            Class::Token,
        ),
        // With files, the server sends text under this name.
        (
            r#"{"event":"message_file","message_id":"m","answer":"a"}"#,
            Class::Token,
        ),
        (
            r#"{"event":"message_file","message_id":"m","url":"u"}"#,
            Class::Structure,
        ),
        (
            r#"{"event":"text_chunk","task_id":"k","data":{"text":"a","from_variable_selector":[]}}"#,
            Class::Token,
        ),
        (
            r#"{"event":"text_replace","task_id":"k","data":{"text":"a"}}"#,
            Class::Structure,
        ),
        (
            r#"{"event":"agent_thought","task_id":"k","thought":"a","tool":""}"#,
            Class::State,
        ),
        (
            r#"{"event":"agent_thought","task_id":"k","thought":"a","tool":"wx"}"#,
            Class::Tool,
        ),
        (
            r#"{"event":"node_retry","task_id":"k","data":{}}"#,
            Class::State,
        ),
        (
            r#"{"event":"loop_next","task_id":"k","data":{}}"#,
            Class::State,
        ),
        (
            r#"{"event":"node_started","task_id":"k","data":{"node_type":"tool"}}"#,
            Class::Tool,
        ),
        (r#"{"event":"error","code":"c"}"#, Class::Error),
        (r#"{"event":"message","answer":"a"}"#, Class::Opaque),
        (r#"{"event":"message","task_id":"k"}"#, Class::Opaque),
        (r#"{"event":"new_event","task_id":"k"}"#, Class::Opaque),
        (r#"["message"]"#, Class::Opaque),
    ];
    for (text, class) in table {
        assert_eq!(read(Dialect::Dify, &block(text)).0, class, "{text}");
    }
    let ping = frame(Framing::Sse, "event: ping\n\n");
    assert_eq!(read(Dialect::Dify, &ping).0, Class::Heartbeat);
    let piece = |variable: &str, text: &str| {
        format!(
            r#"{{"event":"message","task_id":"k","answer":"{text}","from_variable_selector":["{variable}"]}}"#
        )
    };
    assert!(joins(Dialect::Dify, &piece("a", "x"), &piece("a", "y")));
    assert!(!joins(Dialect::Dify, &piece("a", "x"), &piece("b", "y")));
}

#[test]
fn the_end_of_a_chatflow_is_the_later_of_its_two_ends() {
    let workflow =
        r#"{"event":"workflow_finished","message_id":"m","data":{"status":"succeeded"}}"#;
    let message = r#"{"event":"message_end","message_id":"m","metadata":{}}"#;
    let audio = r#"{"event":"tts_message","message_id":"m","audio":"qqqq"}"#;
    let silence = r#"{"event":"tts_message_end","message_id":"m","audio":""}"#;
    let (sure, unsure) = (Some(Terminal::MayEnd), Some(Terminal::MayEndWithInput));
    let table: [&[(&str, Option<Terminal>)]; 4] = [
        &[(workflow, unsure), (message, sure)],
        &[(message, sure), (workflow, sure)],
        &[
            (audio, None),
            (message, unsure),
            (workflow, unsure),
            (silence, sure),
        ],
        &[(audio, None), (silence, None), (message, sure)],
    ];
    for events in table {
        let mut classifier = Classifier::new(Dialect::Dify);
        for (event, terminal) in events {
            let read = classifier.classify(&block(event), &mut None).terminal;
            assert_eq!(read, *terminal, "{event}");
        }
    }
}

#[test]
fn chunks_of_mastra_are_merged_within_their_run_and_text() {
    let chunk = |kind: &str, run: &str, id: &str, more: &str| {
        format!(
            r#"{{"type":"{kind}","runId":"{run}","from":"AGENT","payload":{{"id":"{id}","text":"a"{more}}}}}"#
        )
    };
    let joins = |a: &str, b: &str| joins(Dialect::Mastra, a, b);
    let first = chunk("reasoning-delta", "r", "t", "");
    assert!(joins(&first, &first));
    let later = chunk("reasoning-delta", "r", "t", r#","at":1766000000"#);
    assert!(joins(&first, &later), "a time says nothing");
    for other in [
        chunk("text-delta", "r", "t", ""),
        chunk("reasoning-delta", "s", "t", ""),
        chunk("reasoning-delta", "r", "u", ""),
        chunk(
            "reasoning-delta",
            "r",
            "t",
            r#","providerMetadata":{"x":{}}"#,
        ),
    ] {
        assert!(!joins(&first, &other), "{other}");
    }
}

#[test]
fn the_own_text_of_strands_is_merged_where_nothing_repeats_it() {
    let joins = |older: &str, newer: &str| joins(Dialect::Strands, older, newer);
    assert!(joins(r#"{"data":"a"}"#, r#"{"data":"b"}"#));
    let thought = |text: &str| format!(r#"{{"reasoningText":"{text}","reasoning":true}}"#);
    assert!(joins(&thought("a"), &thought("b")));
    let node = |id: &str| {
        format!(r#"{{"type":"multiagent_node_stream","node_id":"{id}","event":{{"data":"a"}}}}"#)
    };
    assert!(joins(&node("a"), &node("a")));
    let repeated = r#"{"data":"a","delta":{"text":"a"}}"#.to_owned();
    let plain = r#"{"data":"a"}"#.to_owned();
    for (older, newer) in [
        (repeated.clone(), repeated),
        (plain.clone(), r#"{"reasoningText":"b"}"#.to_owned()),
        (plain, r#"{"data":"b","agent":"x"}"#.to_owned()),
        (node("a"), node("b")),
    ] {
        assert!(!joins(&older, &newer), "{older} {newer}");
    }
}

#[test]
fn what_a_strands_agent_does_between_its_texts_ends_them() {
    for between in [
        r#"{"current_tool_use":{"name":"x"}}"#,
        r#"{"message":{"role":"assistant","content":[]}}"#,
        r#"{"start_event_loop":true}"#,
    ] {
        let mut classifier = Classifier::new(Dialect::Strands);
        let text = *classifier.classify(&block(r#"{"data":"a"}"#), &mut None);
        let event = *classifier.classify(&block(between), &mut None);
        assert_eq!(event.lane, text.lane, "{between}");
        assert_eq!(event.texts_over, TextsOver::InLane, "{between}");
    }
}

/// Returns the lanes of LangGraph chunks with these ids in one place.
fn lanes(ids: &[&str]) -> Vec<u64> {
    let mut classifier = Classifier::new(Dialect::LangGraph);
    let lane = |id: &&str| {
        let chunk = block(&format!(
            r#"messages|[{{"type":"AIMessageChunk","id":"{id}","content":"a"}},{{"langgraph_checkpoint_ns":"n:1"}}]"#
        ));
        classifier.classify(&chunk, &mut None).lane
    };
    ids.iter().map(lane).collect()
}

#[test]
fn langgraph_ids_count_once_one_has_come_again() {
    let changing = lanes(&["a", "b", "c", "d", "e"]);
    assert!(changing.iter().all(|lane| *lane == changing[0]));
    // Chunks that repeat their envelope are not even parsed.
    for often in [2, 5] {
        let ids = [vec!["a"; often], vec!["b"; often], vec!["c"; often]].concat();
        let lanes = lanes(&ids);
        for (pair, lanes) in ids.windows(2).zip(lanes.windows(2)) {
            assert_eq!(pair[0] == pair[1], lanes[0] == lanes[1], "{ids:?}");
        }
    }
    let lone = lanes(&["a", "b", "b", "b", "c", "c"]);
    assert_eq!((lone[0], lone[1]), (lone[3], lone[2]));
    assert_ne!(lone[3], lone[4]);
}

#[test]
fn pieces_of_a_langgraph_call_belong_together_whatever_the_ids_of_its_chunks() {
    let mut classifier = Classifier::new(Dialect::LangGraph);
    let calls = ["a", "b", "c"].map(|id| {
        let chunk = block(&format!(
            r#"messages|[{{"type":"AIMessageChunk","id":"{id}","content":"","tool_call_chunks":[{{"name":null,"args":"1","id":null,"index":0}}]}},{{"langgraph_checkpoint_ns":"n:1"}}]"#
        ));
        let several = classifier.classify(&chunk, &mut None).call.unwrap();
        let mut found = Vec::new();
        let mut keep = |call: crate::event::Call, _: &[u8]| found.push((call.group, call.id));
        calls::in_block(&chunk.block, several, &mut keep).unwrap();
        found
    });
    assert_eq!(calls[0].len(), 1);
    let [first, rest @ ..] = &calls;
    assert!(rest.iter().all(|other| other == first));
}
