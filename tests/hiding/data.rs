//! What data of any shape repeats of a thought, wherever a dialect has a place for such data.

use super::{Hide, rules, through};
use weir::dialect::Dialect;
use weir::wire::Framing;

type Wrap = fn(&str) -> String;

/// Returns what is left of a stream whose thoughts are hidden, which is the same however it is cut.
pub(super) fn left(dialect: Dialect, framing: Framing, stream: &str) -> String {
    left_of(dialect, framing, Hide::Keep, stream)
}

pub(super) fn left_of(dialect: Dialect, framing: Framing, tools: Hide, stream: &str) -> String {
    let rules = rules(Hide::Drop, tools);
    let whole = through(dialect, framing, &rules, &[stream.as_bytes()]);
    let singles: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(
        through(dialect, framing, &rules, &singles),
        whole,
        "{dialect}"
    );
    String::from_utf8(whole).unwrap()
}

fn stream(wrap: Wrap, pieces: &[&str]) -> String {
    pieces.iter().map(|piece| wrap(piece)).collect()
}

pub(super) fn sse(data: &str) -> String {
    format!("data: {data}\n\n")
}

pub(super) fn named(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn run(event: &str, chunk: &str) -> String {
    sse(&format!(
        r#"{{"event":"{event}","run_id":"r3","name":"f","tags":["seq:step:2"],"metadata":{{"ls_provider":"x"}},"parent_ids":["r1"],"data":{{"chunk":{chunk}}}}}"#
    ))
}

fn mastra(kind: &str, payload: &str) -> String {
    sse(&format!(
        r#"{{"type":"{kind}","runId":"run-1","from":"WORKFLOW","payload":{payload}}}"#
    ))
}

pub(super) fn status(members: &str) -> String {
    sse(&format!(
        r#"{{"jsonrpc":"2.0","id":"7","result":{{"statusUpdate":{{"taskId":"k","contextId":"c",{members}}}}}}}"#
    ))
}

pub(super) fn notification(method: &str, params: &str) -> String {
    named(
        "message",
        &format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{params}}}"#),
    )
}

/// The events that always leave, with nothing but the string in them changed.
const PLACES: &[(Dialect, Framing, Wrap)] = &[
    (Dialect::Mastra, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"type":"data-tok","data":{{"text":"{text}"}}}}"#
        ))
    }),
    (Dialect::Mastra, Framing::Sse, |text| {
        mastra(
            "workflow-step-output",
            &format!(r#"{{"id":"s","output":{{"token":"{text}"}}}}"#),
        )
    }),
    (Dialect::VercelV4, Framing::Lines, |text| {
        format!("2:[{{\"token\":\"{text}\"}}]\n")
    }),
    (Dialect::VercelV4, Framing::Lines, |text| {
        format!("8:[{{\"token\":\"{text}\"}}]\n")
    }),
    (Dialect::VercelUi, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"type":"message-metadata","messageMetadata":{{"t":"{text}"}}}}"#
        ))
    }),
    (Dialect::A2a, Framing::Sse, |text| {
        status(&format!(
            r#""status":{{"state":"TASK_STATE_WORKING","message":{{"messageId":"m","role":"ROLE_AGENT","parts":[{{"text":"{text}"}}]}}}}"#
        ))
    }),
    (Dialect::A2a, Framing::Sse, |text| {
        status(&format!(
            r#""metadata":{{"token":"{text}"}},"status":{{"state":"TASK_STATE_WORKING"}}"#
        ))
    }),
    (Dialect::A2a, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"artifactUpdate":{{"taskId":"k","append":true,"artifact":{{"artifactId":"d","parts":[{{"data":{{"token":"{text}"}}}}]}}}}}}"#
        ))
    }),
    (Dialect::Mcp, Framing::Sse, |text| {
        notification("message", &format!(r#"{{"level":"info","data":"{text}"}}"#))
    }),
    (Dialect::Mcp, Framing::Sse, |text| {
        notification(
            "message",
            &format!(r#"{{"level":"info","data":{{"token":"{text}"}}}}"#),
        )
    }),
    (Dialect::Mcp, Framing::Sse, |text| {
        notification(
            "progress",
            &format!(r#"{{"progressToken":"A","progress":1,"message":"{text}"}}"#),
        )
    }),
    (Dialect::Convention, Framing::Sse, |text| {
        sse(&format!(r#"{{"type":"my_widget","text":"{text}"}}"#))
    }),
    (Dialect::Convention, Framing::Sse, |text| {
        sse(&format!(r#"{{"type":"data","data":{{"token":"{text}"}}}}"#))
    }),
    (Dialect::Convention, Framing::Sse, |text| {
        sse(&format!(r#"{{"type":"status","content":"{text}"}}"#))
    }),
    (Dialect::Convention, Framing::Sse, |text| {
        sse(&format!(r#"{{"type":"log","message":"{text}"}}"#))
    }),
    (Dialect::Adk, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"invocationId":"e","author":"a","customMetadata":{{"t":"{text}"}},"partial":true,"content":{{"role":"model","parts":[{{"text":"."}}]}},"id":"1"}}"#
        ))
    }),
    (Dialect::OpenAiChat, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"event":{{"type":"status","data":{{"description":"{text}"}}}}}}"#
        ))
    }),
    (Dialect::LangGraph, Framing::Sse, |text| {
        named("custom", &format!(r#"{{"stage":"A","reply":"{text}"}}"#))
    }),
    (Dialect::LangGraph, Framing::Sse, |text| {
        named("custom", &format!(r#"{{"lang":"en","partial":"{text}"}}"#))
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        named("data", &format!(r#"{{"joke":"{text}","poem":"."}}"#))
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        run("on_chain_stream", &format!(r#"{{"answer":"{text}"}}"#))
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        run(
            "on_chain_stream",
            &format!(r#"{{"messages":[{{"content":"{text}","type":"AIMessageChunk","id":"m"}}]}}"#),
        )
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        run(
            "on_chain_stream",
            &format!(r#"["messages",[{{"content":"{text}","type":"AIMessageChunk"}},{{}}]]"#),
        )
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        run(
            "on_chain_stream",
            &format!(r#"["custom",{{"token":"{text}"}}]"#),
        )
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        run("on_parser_stream", &format!(r#"{{"token":"{text}"}}"#))
    }),
    (Dialect::LangGraph, Framing::Sse, |text| {
        named("custom", &format!(r#"{{"text":"{text}"}}"#))
    }),
    (Dialect::VercelUi, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"type":"data-tok","data":{{"text":"{text}"}}}}"#
        ))
    }),
    (Dialect::AgUi, Framing::Sse, |text| {
        sse(&format!(
            r#"{{"type":"CUSTOM","name":"x","value":{{"text":"{text}"}}}}"#
        ))
    }),
];

/// The events of a text of the model itself.
const TEXTS: &[(Dialect, Framing, Wrap)] = &[
    (Dialect::LangServe, Framing::Sse, |text| {
        named("data", &format!(r#"{{"answer":"{text}"}}"#))
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        named("data", &format!(r#"{{"summary":"{text}"}}"#))
    }),
    (Dialect::LangServe, Framing::Sse, |text| {
        run("on_llm_stream", &format!("\"{text}\""))
    }),
];

const SPLIT: [&str; 5] = ["<thi", "nk>SEC", "RET pl", "an</thi", "nk>Vis"];

#[test]
fn pieces_of_a_thought_are_hidden_in_every_place() {
    for (dialect, framing, wrap) in PLACES.iter().chain(TEXTS) {
        let shown = left(*dialect, *framing, &stream(*wrap, &SPLIT));
        for part in ["SEC", "RET", "pl\""] {
            assert!(!shown.contains(part), "{dialect} {part}\n{shown}");
        }
        assert!(shown.contains(&wrap("Vis")), "{dialect}\n{shown}");
    }
}

#[test]
fn whole_thoughts_are_hidden_in_every_place_however_often_they_come() {
    for (dialect, framing, wrap) in PLACES {
        let pieces = ["Rain", "<think>SECRET plan</think>Vis", "\\n<think>SECRET"];
        let shown = left(*dialect, *framing, &stream(*wrap, &pieces));
        assert_eq!(
            shown,
            stream(*wrap, &["Rain", "Vis", "\\n"]),
            "{dialect}: every event leaves, with the rest of it as it came"
        );
    }
    for (dialect, framing, wrap) in TEXTS {
        let pieces = ["<think>SECRET</think>Vis"];
        let shown = left(*dialect, *framing, &stream(*wrap, &pieces));
        assert_eq!(shown, wrap("Vis"), "{dialect}");
    }
}

#[test]
fn data_in_which_nothing_is_hidden_stays_as_it_came() {
    for (dialect, framing, wrap) in PLACES.iter().chain(TEXTS) {
        let whole = stream(
            *wrap,
            &["Rai", "n < sn", "ow", " and 1 > 0.", "\\n<b>x</b>."],
        );
        assert_eq!(left(*dialect, *framing, &whole), whole, "{dialect}");
    }
}

#[test]
fn what_may_become_a_mark_stays_where_it_is() {
    for (dialect, framing, wrap) in PLACES {
        let whole = stream(*wrap, &["A", "a <", "H", "b", "Hi <", "Hi <3", "<thi"]);
        assert_eq!(left(*dialect, *framing, &whole), whole, "{dialect}");
        for (pieces, rest) in [
            (["<", "<think>SECRET</think>Vis", "."], ["<", "Vis", "."]),
            (["<", "<think>SECRET", " plan</think>Vis"], ["<", "", "Vis"]),
        ] {
            let shown = left(*dialect, *framing, &stream(*wrap, &pieces));
            assert_eq!(shown, stream(*wrap, &rest), "{dialect}");
        }
    }
    let rows = |rows: &str| named("custom", &format!(r#"{{"rows":{rows}}}"#));
    let whole = rows(r#"[["a <","b"],["c","d"]]"#);
    assert_eq!(left(Dialect::LangGraph, Framing::Sse, &whole), whole);
}

#[test]
fn a_short_piece_is_hidden_within_markup_too() {
    let event = |text: &str| {
        named(
            "custom",
            &format!(r#"{{"text":"{text}","html":"<p>{text}</p>"}}"#),
        )
    };
    let pieces = [
        "<think>", "\u{79d8}", "\u{5bc6}", "to", "</think>", "\u{597d}",
    ];
    let whole: String = pieces.iter().map(|piece| event(piece)).collect();
    let shown = left(Dialect::LangGraph, Framing::Sse, &whole);
    for piece in ["\u{79d8}", "\u{5bc6}", "to<"] {
        assert!(!shown.contains(piece), "{piece}\n{shown}");
    }
    assert!(shown.ends_with(&event("\u{597d}")), "{shown}");
}

#[test]
fn what_cannot_be_read_is_emptied_in_events_that_must_leave() {
    for (dialect, event, rest) in [
        (
            Dialect::Convention,
            r#"{"type":"my_widget","n":1,"line":"{\"token\":\"SECRET\"}"}"#,
            r#"{"type":"my_widget","n":1,"line":""}"#,
        ),
        (
            Dialect::Convention,
            r#"{"type":"thinking_widget","n":1,"line":"SECRET"}"#,
            r#"{"type":"thinking_widget","n":1,"line":""}"#,
        ),
        (
            Dialect::Adk,
            r#"{"invocationId":"e","author":"a","customMetadata":{"line":"{\"token\":\"SECRET\"}"},"partial":true,"content":{"parts":[{"text":"x"}]}}"#,
            r#"{"invocationId":"e","author":"a","customMetadata":{"line":""},"partial":true,"content":{"parts":[{"text":"x"}]}}"#,
        ),
    ] {
        assert_eq!(left(dialect, Framing::Sse, &sse(event)), sse(rest));
    }
}

#[test]
fn more_texts_than_are_kept_do_not_end_a_thought() {
    let deep = |text: &str| named("custom", &format!(r#"{{"reply":"{text}","kind":"x"}}"#));
    let mut whole = deep("<think>SECRET");
    for number in 0..200 {
        whole += &named(
            "custom",
            &format!(r#"{{"place{number}":"Rain","note":"Snow"}}"#),
        );
    }
    whole += &deep(" SECRET");
    whole += &deep("</think>Vis");
    let shown = left(Dialect::LangGraph, Framing::Sse, &whole);
    assert!(!shown.contains("SECRET"), "{shown}");
    assert_eq!(shown.matches("Rain").count(), 200, "{shown}");
    assert!(shown.ends_with(&deep("Vis")), "{shown}");
}

#[test]
fn texts_that_anything_tells_apart_are_scanned_apart() {
    for key in [
        "agent",
        "agent_id",
        "author",
        "from",
        "messageId",
        "model",
        "name",
        "node",
        "role",
        "run_id",
        "sender",
        "source",
        "speaker",
        "task",
    ] {
        let piece = |who: &str, text: &str| {
            sse(&format!(
                r#"{{"type":"token","{key}":"{who}","content":"{text}"}}"#
            ))
        };
        let whole = [
            piece("A", "Al "),
            piece("B", "<think>SECRET"),
            piece("A", " beta"),
            piece("B", " SECRET</think>ok"),
            piece("A", " gamma"),
        ]
        .concat();
        let rest = [
            piece("A", "Al "),
            piece("A", " beta"),
            piece("B", "ok"),
            piece("A", " gamma"),
        ]
        .concat();
        let shown = left(Dialect::Convention, Framing::Sse, &whole);
        assert_eq!(shown, rest, "{key}");
    }
}

#[test]
fn what_counts_events_tells_no_texts_apart() {
    for members in [
        [r#""id":"1""#, r#""id":"2""#],
        [r#""index":0"#, r#""index":1"#],
        [r#""event_id":"1""#, r#""event_id":"2""#],
        // The role comes with the first piece only.
        [r#""role":"assistant""#, r#""n":1"#],
    ] {
        let piece = |members: &str, text: &str| {
            sse(&format!(
                r#"{{"type":"token",{members},"content":"{text}"}}"#
            ))
        };
        let whole = piece(members[0], "<thi") + &piece(members[1], "nk>SECRET</think>Vis");
        let shown = left(Dialect::Convention, Framing::Sse, &whole);
        assert_eq!(shown, piece(members[1], "Vis"), "{members:?}");
    }
}

#[test]
fn a_tool_of_a_run_ends_the_thought_of_the_only_text() {
    let piece = |text: &str| {
        sse(&format!(
            r#"{{"type":"token","run_id":"r","content":"{text}"}}"#
        ))
    };
    let tool = sse(r#"{"type":"tool_call","run_id":"r","call_id":"c","name":"search"}"#);
    let whole = piece("<think>SECRET") + &tool + &piece("Vis");
    let shown = left(Dialect::Convention, Framing::Sse, &whole);
    assert_eq!(shown, tool + &piece("Vis"));
}
