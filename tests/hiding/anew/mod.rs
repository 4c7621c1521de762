//! Where a text begins anew: a mark at its beginning is a mark, also in the middle of a stream, and each agent writes a
//! text of its own.

mod cases;

use super::{Hide, rules, text, through};
use cases::{adk, convention, streams, token, words};
use weir::dialect::Dialect;
use weir::wire::Framing;

fn framing(dialect: Dialect) -> Framing {
    if dialect == Dialect::VercelV4 {
        Framing::Lines
    } else {
        Framing::Sse
    }
}

#[test]
fn a_mark_at_the_beginning_of_a_later_text_is_a_mark() {
    let rules = rules(Hide::Drop, Hide::Keep);
    for (dialect, name, stream) in streams() {
        let bytes = stream.as_bytes();
        let whole = through(dialect, framing(dialect), &rules, &[bytes]);
        let shown = String::from_utf8_lossy(&whole);
        assert!(!shown.contains("SECRET"), "{dialect} {name}\n{shown}");
        let seen = text(dialect, framing(dialect), &whole);
        let (first, then) = (shown.find("A "), shown.find("Rain."));
        assert!(
            first.is_some() && first < then,
            "{dialect} {name}: {seen}\n{shown}"
        );
        assert!(
            shown.contains("< B") || seen.contains("< B"),
            "{dialect} {name}: {seen}"
        );
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        let out = through(dialect, framing(dialect), &rules, &singles);
        assert_eq!(out, whole, "{dialect} {name}");
    }
}

#[test]
fn agents_that_write_at_once_have_texts_of_their_own() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let by = |agent: &str, piece: &str| token(&format!(",\"agent\":\"{agent}\""), piece);
    let adk = |agent: &str, piece: &str| adk(agent, true, &words(piece));
    for (dialect, say) in [
        (Dialect::Convention, &by as &dyn Fn(&str, &str) -> String),
        (Dialect::Adk, &adk),
    ] {
        let stream = [
            say("a", "<thi"),
            say("b", "Snow "),
            say("a", "nk>SEC"),
            say("b", "in <"),
            say("a", "RET</think>"),
            say("b", " May."),
            say("a", "Rain."),
        ]
        .concat();
        let out = through(dialect, Framing::Sse, &rules, &[stream.as_bytes()]);
        let shown = String::from_utf8_lossy(&out);
        assert!(
            !shown.contains("SEC") && !shown.contains("RET"),
            "{dialect}\n{shown}"
        );
        let mut seen = text(dialect, Framing::Sse, &out);
        assert_eq!(seen.len(), "Rain.Snow in < May.".len(), "{dialect} {seen}");
        seen = seen.replace("Snow in < May.", "");
        assert_eq!(seen, "Rain.", "{dialect}");
    }
}

#[test]
fn an_agent_goes_on_with_its_text_after_another_one() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let by = |agent: &str, piece: &str| {
        token(
            &format!(",\"agent\":\"{agent}\",\"id\":\"m-{agent}\",\"step\":\"s-{agent}\""),
            piece,
        )
    };
    let pieces = ["The ", "tag ", "<think>", " is ", "prose."];
    for burst in 1..4 {
        let mut stream = String::new();
        for part in pieces.chunks(burst) {
            for agent in ["a", "b"] {
                stream.extend(part.iter().map(|piece| by(agent, piece)));
            }
        }
        let out = through(
            Dialect::Convention,
            Framing::Sse,
            &rules,
            &[stream.as_bytes()],
        );
        let seen = text(Dialect::Convention, Framing::Sse, &out);
        assert_eq!(seen.len(), 2 * pieces.concat().len(), "{burst}: {seen}");
    }
}

#[test]
fn what_another_agent_does_amid_a_mark_does_not_break_it() {
    let rules = rules(Hide::Drop, Hide::Keep);
    let by = |agent: &str, piece: &str| token(&format!(",\"agent\":\"{agent}\""), piece);
    let dify = |variable: &str, piece: &str| {
        format!(
            "data: {{\"event\":\"message\",\"task_id\":\"t\",\"answer\":\"{piece}\",\"from_variable_selector\":[\"{variable}\"]}}\n\n"
        )
    };
    let node =
        "data: {\"event\":\"node_started\",\"task_id\":\"t\",\"data\":{\"node_type\":\"llm\"}}\n\n";
    let table = [
        (
            Dialect::Adk,
            [
                adk("a", true, &words("<thi")),
                adk("b", false, &words("Snow.")),
                adk("a", true, &words("nk>SECRET</think>Rain.")),
            ],
        ),
        (
            Dialect::Convention,
            [
                by("a", "<thi"),
                convention("tool_call", ",\"agent\":\"b\",\"name\":\"x\""),
                by("a", "nk>SECRET</think>Rain."),
            ],
        ),
        (
            Dialect::Convention,
            [
                by("b", "Snow.") + &by("a", "<thi"),
                convention("tool_call", ",\"name\":\"x\""),
                by("a", "nk>SECRET</think>Rain."),
            ],
        ),
        (
            Dialect::Dify,
            [
                dify("b", "Snow.") + &dify("a", "<thi"),
                node.to_owned(),
                dify("a", "nk>SECRET</think>Rain."),
            ],
        ),
    ];
    for (dialect, events) in table {
        let out = through(dialect, Framing::Sse, &rules, &[events.concat().as_bytes()]);
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        assert!(
            text(dialect, Framing::Sse, &out).contains("Rain."),
            "{dialect}\n{shown}"
        );
    }
}

#[test]
fn an_empty_piece_amid_a_mark_does_not_break_it() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let delta = |members: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{{members}}}}}]}}\n\n")
    };
    for between in ["\"content\":\"\"", "", "\"role\":\"assistant\""] {
        let stream = [
            delta("\"content\":\"<thi\""),
            delta(between),
            delta("\"content\":\"nk>SECRET</think>Rain.\""),
        ]
        .concat();
        let out = through(
            Dialect::OpenAiChat,
            Framing::Sse,
            &rules,
            &[stream.as_bytes()],
        );
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{between}\n{shown}");
        assert_eq!(
            text(Dialect::OpenAiChat, Framing::Sse, &out),
            "Rain.",
            "{between}"
        );
    }
}

#[test]
fn an_id_that_changes_within_a_text_does_not_cut_it() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let responses = |at: usize, piece: &str| {
        format!(
            "data: {{\"type\":\"response.output_text.delta\",\"item_id\":\"m{at}\",\"output_index\":1,\"content_index\":0,\"delta\":\"{piece}\"}}\n\n"
        )
    };
    let serve = |at: usize, piece: &str| {
        format!(
            "data: {{\"event\":\"on_chat_model_stream\",\"run_id\":\"r\",\"parent_ids\":[\"p\"],\"data\":{{\"chunk\":{{\"type\":\"AIMessageChunk\",\"id\":\"m{at}\",\"content\":\"{piece}\"}}}}}}\n\n"
        )
    };
    let chat = |at: usize, piece: &str| {
        format!(
            "data: {{\"id\":\"c{at}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n"
        )
    };
    let graph = |at: usize, piece: &str| {
        format!(
            "event: messages\ndata: [{{\"type\":\"AIMessageChunk\",\"id\":\"chatcmpl-{at}\",\"content\":\"{piece}\"}},{{\"langgraph_node\":\"n\",\"langgraph_checkpoint_ns\":\"n:1\"}}]\n\n"
        )
    };
    for (dialect, say) in [
        (
            Dialect::OpenAiResponses,
            &responses as &dyn Fn(usize, &str) -> String,
        ),
        (Dialect::LangServe, &serve),
        (Dialect::LangGraph, &graph),
        (Dialect::OpenAiChat, &chat),
    ] {
        let pieces = [
            "<thi",
            "nk>SECRET",
            "</th",
            "ink>if a ",
            "<",
            " b",
            " c",
            "<",
        ];
        let stream: String = pieces
            .iter()
            .enumerate()
            .map(|(at, piece)| say(at, piece))
            .collect();
        let out = through(dialect, Framing::Sse, &rules, &[stream.as_bytes()]);
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        assert_eq!(
            text(dialect, Framing::Sse, &out),
            "if a < b c<",
            "{dialect}"
        );
    }
}
