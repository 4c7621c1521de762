//! What an application repeats of a model's output in events of its own.

use super::{Hide, rules, through};
use weir::dialect::Dialect;
use weir::wire::Framing;

/// Returns what is left of a stream that goes on with `rest` after its first event, which is the same however it is
/// cut.
fn left(dialect: Dialect, rest: &str) -> String {
    let first = match dialect {
        Dialect::AgUi => "data: {\"type\":\"RUN_STARTED\",\"threadId\":\"t\",\"runId\":\"r\"}\n\n",
        Dialect::LangGraph => "event: metadata\ndata: {\"run_id\":\"r\",\"attempt\":1}\n\n",
        Dialect::LangServe => {
            "data: {\"event\":\"on_chain_start\",\"run_id\":\"r\",\"parent_ids\":[],\"data\":{}}\n\n"
        }
        Dialect::VercelUi => "data: {\"type\":\"start\",\"messageId\":\"m\"}\n\n",
        other => unreachable!("{other}"),
    };
    let stream = format!("{first}{rest}");
    let rules = rules(Hide::Drop, Hide::Drop);
    let whole = through(dialect, Framing::Sse, &rules, &[stream.as_bytes()]);
    let singles: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(through(dialect, Framing::Sse, &rules, &singles), whole);
    let whole = String::from_utf8(whole).unwrap();
    whole.strip_prefix(first).unwrap().to_owned()
}

fn raw(event: &str) -> String {
    format!("data: {{\"type\":\"RAW\",\"event\":{event},\"source\":\"s\"}}\n\n")
}

#[test]
fn an_event_of_the_provider_that_another_one_carries_hides_what_it_would() {
    let chat = |members: &str| format!("{{\"choices\":[{{\"index\":0,\"delta\":{{{members}}}}}]}}");
    let anthropic = |kind: &str, member: &str, text: &str| {
        format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"{kind}\",\"{member}\":\"{text}\"}}}}"
        )
    };
    let graph = |text: &str| {
        format!(
            "{{\"event\":\"on_chat_model_stream\",\"run_id\":\"r\",\"data\":{{\"chunk\":{{\"type\":\"AIMessageChunk\",\"content\":\"{text}\"}}}}}}"
        )
    };
    let table = [
        vec![
            chat("\"content\":\"<thi\""),
            chat("\"content\":\"nk>SECRET\""),
            chat("\"content\":\" SECRET</think>Ra\""),
            chat("\"content\":\"in\""),
        ],
        vec![
            chat("\"reasoning_content\":\"SECRET\""),
            chat(
                "\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"SECRET\",\"arguments\":\"\"}}]",
            ),
            chat("\"content\":\"Ra\""),
            chat("\"content\":\"in\""),
        ],
        vec![
            anthropic("thinking_delta", "thinking", "SECRET"),
            anthropic("input_json_delta", "partial_json", "SECRET"),
            anthropic("text_delta", "text", "Ra"),
            anthropic("text_delta", "text", "in"),
        ],
        vec![
            graph("<think>SEC"),
            graph("SECRET</think>"),
            graph("Ra"),
            graph("in"),
        ],
    ];
    for events in table {
        let stream: String = events.iter().map(|event| raw(event)).collect();
        let shown = left(Dialect::AgUi, &stream);
        assert!(!shown.contains("SEC"), "{shown}");
        for word in ["Ra", "in"] {
            assert!(shown.contains(&format!("\"{word}\"")), "{word}\n{shown}");
        }
    }
}

#[test]
fn names_with_a_tool_or_a_thought_in_another_word_are_data() {
    for data in [
        r#"{"type":"tooltip","text":"Hover"}"#,
        r#"{"kind":"toolbar","text":"x"}"#,
        r#"{"name":"thought_of_day","text":"Carpe diem"}"#,
        r#"{"form":{"reasoning":{"type":"string","title":"Reason for the refund"}}}"#,
    ] {
        let event = format!("event: custom\ndata: {data}\n\n");
        assert_eq!(left(Dialect::LangGraph, &event), event);
    }
}

#[test]
fn what_says_that_it_is_a_thought_or_a_call_does_not_leave() {
    for data in [
        r#"{"type":"thinking_delta","delta":"SECRET"}"#,
        r#"{"kind":"thought","text":"SECRET"}"#,
        r#"{"type":"reasoning_chunk","n":1,"text":"SECRET"}"#,
        r#"{"thinking":{"text":"SECRET"}}"#,
        r#"{"type":"tool_call","name":"x","args":{"q":"SECRET"}}"#,
        r#"{"event":"tool_result","content":"SECRET"}"#,
        r#"{"event_kind":"part_delta","delta":{"part_delta_kind":"thinking","content_delta":"SECRET"}}"#,
    ] {
        for (dialect, event) in [
            (
                Dialect::LangGraph,
                format!("event: custom\ndata: {data}\n\n"),
            ),
            (
                Dialect::AgUi,
                format!("data: {{\"type\":\"CUSTOM\",\"name\":\"x\",\"value\":{data}}}\n\n"),
            ),
            (Dialect::AgUi, raw(data)),
        ] {
            assert_eq!(left(dialect, &event), "", "{dialect}");
        }
    }
    let tool = r#"{"event":"on_tool_start","run_id":"a","data":{"input":{"q":"SECRET"}}}"#;
    assert_eq!(left(Dialect::AgUi, &raw(tool)), "");
}

#[test]
fn prose_that_names_a_tag_stays_in_data_as_elsewhere() {
    let stream: String = ["Use the ", "<think>", " tag to reason. ", "More text."]
        .iter()
        .map(|piece| format!("event: custom\ndata: {{\"token\":\"{piece}\"}}\n\n"))
        .collect();
    assert_eq!(left(Dialect::LangGraph, &stream), stream);
}

#[test]
fn pieces_of_a_thought_in_the_applications_own_data_are_hidden() {
    type Wrap = fn(&str) -> String;
    let wrap: [(Dialect, Wrap); 7] = [
        (Dialect::LangGraph, |text| {
            format!("event: custom\ndata: {{\"token\":\"{text}\"}}\n\n")
        }),
        (Dialect::LangGraph, |text| {
            format!(
                "event: custom\ndata: {{\"type\":\"x\",\"payload\":{{\"n\":1,\"piece\":\"{text}\"}}}}\n\n"
            )
        }),
        (Dialect::LangGraph, |text| {
            format!("event: custom|sub:1\ndata: \"{text}\"\n\n")
        }),
        (Dialect::LangServe, |text| {
            format!(
                "data: {{\"event\":\"on_custom_event\",\"name\":\"x\",\"run_id\":\"r\",\"data\":{{\"chunk\":\"{text}\"}}}}\n\n"
            )
        }),
        (Dialect::AgUi, |text| {
            format!(
                "data: {{\"type\":\"CUSTOM\",\"name\":\"x\",\"value\":{{\"delta\":\"{text}\"}}}}\n\n"
            )
        }),
        (Dialect::AgUi, |text| {
            raw(&format!("{{\"unheard\":{{\"of\":\"{text}\"}}}}"))
        }),
        (Dialect::VercelUi, |text| {
            format!(
                "data: {{\"type\":\"data-token\",\"data\":{{\"token\":\"{text}\"}},\"transient\":true}}\n\n"
            )
        }),
    ];
    let pieces = [
        "<thi",
        "nk>SECRET",
        " SECRET</th",
        "ink>Ra",
        "in < sn",
        "ow",
    ];
    for (dialect, event) in wrap {
        let stream: String = pieces.iter().map(|piece| event(piece)).collect();
        let shown = left(dialect, &stream);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        for word in ["Ra", "in < sn", "ow"] {
            assert!(shown.contains(&event(word)), "{dialect} {word}\n{shown}");
        }
        let whole = event("Rain") + &event("<think>SECRET</think>Snow");
        let shown = left(dialect, &whole);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        assert_eq!(shown, event("Rain") + &event("Snow"), "{dialect}");
    }
}

#[test]
fn data_without_a_thought_stays_as_it_is() {
    for (dialect, stream) in [
        (
            Dialect::LangGraph,
            "event: custom\ndata: {\"progress\":0.5,\"title\":\"a < b\",\"text\":\"x\"}\n\nevent: custom\ndata: {\"rows\":[{\"name\":\"x < y\",\"n\":1}]}\n\n",
        ),
        (
            Dialect::AgUi,
            "data: {\"type\":\"CUSTOM\",\"name\":\"x\",\"value\":{\"a\":[\"b\",\"c\"]}}\n\ndata: {\"type\":\"CUSTOM\",\"name\":\"x\",\"value\":7}\n\n",
        ),
    ] {
        assert_eq!(left(dialect, stream), stream, "{dialect}");
    }
}

#[test]
fn text_that_cannot_be_searched_does_not_leave() {
    for (dialect, stream) in [
        (
            Dialect::LangGraph,
            "event: custom\ndata: {\"line\":\"{\\\"token\\\":\\\"<thi\\\"}\"}\n\nevent: custom\ndata: {\"line\":\"{\\\"token\\\":\\\"nk>SECRET\\\"}\"}\n\n",
        ),
        (
            Dialect::AgUi,
            "data: {\"type\":\"RAW\",\"event\":\"data: {\\\"token\\\":\\\"SECRET\\\"}\"}\n\n",
        ),
    ] {
        let shown = left(dialect, stream);
        assert_eq!(shown, "", "{dialect}");
    }
}

#[test]
fn each_item_of_a_list_is_a_text() {
    type List = (Dialect, fn(&str) -> String);
    let lists: [List; 3] = [
        (Dialect::LangGraph, |tokens| {
            format!("event: custom\ndata: {{\"n\":1,\"tokens\":[{tokens}]}}\n\n")
        }),
        (Dialect::AgUi, |tokens| {
            format!("data: {{\"type\":\"CUSTOM\",\"name\":\"x\",\"value\":[{tokens}]}}\n\n")
        }),
        (Dialect::LangGraph, |tokens| {
            let parts: Vec<String> = tokens
                .split(',')
                .map(|token| format!("{{\"text\":{token}}}"))
                .collect();
            format!(
                "event: custom\ndata: {{\"parts\":[{}]}}\n\n",
                parts.join(",")
            )
        }),
    ];
    for (dialect, list) in lists {
        let stream = [
            list(r#""<thi","a <""#),
            list(r#""nk>SECRET","b""#),
            list(r#"" SECRET</th","c""#),
            list(r#""ink>Rain ","d""#),
        ]
        .concat();
        let rest = [
            list(r#""<thi","a <""#),
            list(r#""","b""#),
            list(r#""","c""#),
            list(r#""Rain ","d""#),
        ]
        .concat();
        assert_eq!(left(dialect, &stream), rest, "{dialect}");
    }
}

#[test]
fn what_repeats_a_hidden_piece_in_its_event_is_hidden_too() {
    let event = |text: &str| {
        format!(
            "event: custom\ndata: {{\"token\":\"{text}\",\"copy\":\"{text}\",\"log\":\"now {text}.\",\"list\":[\"{text}\"],\"unit\":\"C\"}}\n\n"
        )
    };
    let stream = [
        event("<think>"),
        event("SECRET"),
        event("</think>"),
        event("Rain"),
    ]
    .concat();
    let shown = left(Dialect::LangGraph, &stream);
    assert!(!shown.contains("SECRET"), "{shown}");
    assert!(shown.ends_with(&event("Rain")), "{shown}");
    assert_eq!(shown.matches("\"unit\":\"C\"").count(), 4, "{shown}");
}

#[test]
fn what_may_become_a_mark_stays_in_its_event() {
    let stream = "event: custom\ndata: {\"token\":\"a <\",\"note\":\"<think>SECRET</think>\",\"my_reasoning\":\"SECRET\"}\n\n";
    let rest = "event: custom\ndata: {\"token\":\"a <\",\"note\":\"\",\"my_reasoning\":\"\"}\n\n";
    assert_eq!(left(Dialect::LangGraph, stream), rest);
    let carried = |text: &str| {
        raw(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#
        ))
    };
    let whole = carried("a <") + &carried(" b <") + &raw(r#"{"n":1}"#);
    assert_eq!(left(Dialect::AgUi, &whole), whole);
}

#[test]
fn names_and_places_that_leaked_do_not_any_more() {
    for data in [
        r#"{"answer":"Rain","thinking_text":"SECRET"}"#,
        r#"{"answer":"Rain","chainOfThought":["SECRET","SECRET"]}"#,
        r#"{"answer":"Rain","model_reasoning":{"steps":["SECRET"]}}"#,
        r#"{"answer":"Rain","tool_input":{"q":"SECRET"}}"#,
        r#"{"answer":"Rain","metadata":{"note":"<think>SECRET</think>"}}"#,
        r#"{"answer":"Rain","input":"<think>SECRET</think>"}"#,
        r#"{"answer":"\"<think>SECRET</think>Rain\""}"#,
    ] {
        let shown = left(
            Dialect::LangGraph,
            &format!("event: custom\ndata: {data}\n\n"),
        );
        assert!(!shown.contains("SECRET"), "{data}\n{shown}");
        assert!(shown.contains("Rain"), "{data}\n{shown}");
    }
    for data in [
        r#"{"eventType":"thinking","text":"SECRET"}"#,
        r#"{"channel":"analysis","text":"SECRET"}"#,
        r#"{"phase":"reasoning","text":"SECRET"}"#,
        r#"{"is_thinking":true,"text":"SECRET"}"#,
        r#"{"lines":"{\"a\":\"SECRET\"}\n{\"a\":\"SECRET\"}\n"}"#,
        r#"{"sse":"\n\ndata: {\"a\":\"SECRET\"}\n\n"}"#,
        r#"{"repr":"{'a': 'SECRET'}"}"#,
        r#"{"line":"0:\"SECRET\"\n"}"#,
    ] {
        let event = format!("event: custom\ndata: {data}\n\n");
        assert_eq!(left(Dialect::LangGraph, &event), "", "{data}");
    }
    let deep = format!(
        "event: custom\ndata: {}\"<think>SECRET</think>\"{}\n\n",
        "[".repeat(60),
        "]".repeat(60)
    );
    assert_eq!(left(Dialect::LangGraph, &deep), "");
    let lines = "event: custom\ndata: <think>SECRET\ndata: SECRET\n\n";
    assert_eq!(left(Dialect::LangGraph, lines), "");
}

#[test]
fn what_the_next_node_repeats_begins_anew() {
    let piece = |text: &str| format!("event: custom\ndata: {{\"token\":\"{text}\"}}\n\n");
    for between in [
        "event: updates\ndata: {\"tools\":{\"n\":1}}\n\n",
        "event: values\ndata: {\"n\":1}\n\n",
    ] {
        let first = piece("A ") + &piece("B") + between;
        let thought = piece("<thi") + &piece("nk>SECRET") + &piece(" SECRET</think>Rain");
        let shown = left(Dialect::LangGraph, &[&*first, &thought].concat());
        assert!(shown.starts_with(&first), "{shown}");
        assert!(!shown.contains("SECRET"), "{shown}");
        assert!(shown.ends_with(&piece("Rain")), "{shown}");
    }
}

#[test]
fn a_question_to_the_user_is_passed_on() {
    let ask = |name: &str, value: &str| {
        format!("data: {{\"type\":\"CUSTOM\",\"name\":\"{name}\",\"value\":\"{value}\"}}\n\n")
    };
    for value in [
        r#"{\"question\":\"Send it?\",\"tool_call\":{\"name\":\"send\"}}"#,
        r#"[{\"action\":\"send\",\"description\":\"Tool: send\\n\\nArgs: {}\"}]"#,
        r#"{\"question\":\"Do you think that this action is right?\"}"#,
    ] {
        let event = ask("on_interrupt", value);
        assert_eq!(left(Dialect::AgUi, &event), event);
        assert_eq!(left(Dialect::AgUi, &ask("progress", value)), "");
    }
    for value in [
        r#"{\"question\":\"<think>SECRET</think>Send it?\"}"#,
        r#"{\"question\":\"\\u003cthought>SECRET\"}"#,
        r#"{\"question\":\"Send it?\",\"reasoning\":\"SECRET\"}"#,
    ] {
        assert_eq!(left(Dialect::AgUi, &ask("on_interrupt", value)), "");
    }
}

#[test]
fn quotes_amid_a_thought_are_hidden_with_it() {
    let piece = |text: &str| format!("event: custom\ndata: {{\"token\":\"{text}\"}}\n\n");
    let stream = piece("<think>SECRET ") + &piece(r#"\"SECRET\""#) + &piece("</think>Rain");
    let shown = left(Dialect::LangGraph, &stream);
    assert_eq!(shown, piece("") + &piece("") + &piece("Rain"));
    let prose = piece("He said ") + &piece(r#"\"Rain\""#);
    assert_eq!(left(Dialect::LangGraph, &prose), prose);
}
