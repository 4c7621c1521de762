//! Where a text begins anew: a mark at its beginning is a mark, also in the middle of a stream, and each agent writes a
//! text of its own.

use super::{Hide, rules, text, through};
use weir::dialect::Dialect;
use weir::wire::Framing;

fn token(more: &str, text: &str) -> String {
    format!("data: {{\"type\":\"token\"{more},\"content\":\"{text}\"}}\n\n")
}

fn convention(kind: &str, more: &str) -> String {
    format!("data: {{\"type\":\"{kind}\"{more}}}\n\n")
}

fn adk(author: &str, partial: bool, part: &str) -> String {
    format!(
        "data: {{\"author\":\"{author}\",\"invocationId\":\"i\",\"partial\":{partial},\"content\":{{\"parts\":[{part}]}}}}\n\n"
    )
}

fn words(text: &str) -> String {
    format!("{{\"text\":\"{text}\"}}")
}

/// Streams whose visible text is `A < B`, in this order, then `Rain.`; everything hidden is `SECRET`.
fn streams() -> Vec<(Dialect, &'static str, String)> {
    let plain = |piece: &str| token("", piece);
    let start = [plain("A "), plain("< B")].concat();
    let mut all = Vec::new();
    for (name, between) in [
        ("tool", convention("tool_call", ",\"name\":\"x\"")),
        ("result", convention("tool_result", ",\"result\":\"x\"")),
        ("step", convention("step", ",\"name\":\"x\"")),
        ("node", convention("node_start", ",\"node\":\"x\"")),
        ("agent", convention("agent_start", ",\"agent\":\"x\"")),
    ] {
        let stream = [start.clone(), between, thoughts(&plain)].concat();
        all.push((Dialect::Convention, name, stream));
    }
    let by =
        |agent: &'static str| move |piece: &str| token(&format!(",\"agent\":\"{agent}\""), piece);
    let message =
        |id: &'static str| move |piece: &str| token(&format!(",\"message_id\":\"{id}\""), piece);
    all.push((
        Dialect::Convention,
        "another agent",
        [by("a")("A < B"), thoughts(&by("b"))].concat(),
    ));
    all.push((
        Dialect::Convention,
        "another message",
        [message("a")("A < B"), thoughts(&message("b"))].concat(),
    ));
    all.push((
        Dialect::Convention,
        "a tool of nobody among agents",
        [
            by("a")("A < B"),
            convention("tool_call", ",\"name\":\"x\""),
            thoughts(&by("a")),
        ]
        .concat(),
    ));
    let partial = |author: &'static str| move |piece: &str| adk(author, true, &words(piece));
    let call = "{\"functionCall\":{\"name\":\"x\",\"args\":{}}}";
    all.push((
        Dialect::Adk,
        "after a call",
        [
            partial("a")("A < B"),
            adk("a", false, call),
            thoughts(&partial("a")),
        ]
        .concat(),
    ));
    all.push((
        Dialect::Adk,
        "after a whole event",
        [
            partial("a")("A < B"),
            adk("a", false, &words("A < B"))
                .replace("\"invocationId\"", "\"x\":1,\"invocationId\""),
            thoughts(&partial("a")),
        ]
        .concat(),
    ));
    all.push((
        Dialect::Adk,
        "two whole events",
        [
            adk("a", false, &words("A < B")),
            adk("a", false, &words("<think>SECRET</think>Rain.")),
        ]
        .concat(),
    ));
    all.push((
        Dialect::Adk,
        "another author",
        [partial("a")("A < B"), thoughts(&partial("b"))].concat(),
    ));
    let line = |code: &str, value: &str| format!("{code}:{value}\n");
    let v4 = |piece: &str| line("0", &format!("\"{piece}\""));
    for (name, between) in [
        ("step", line("f", "{\"messageId\":\"m\"}")),
        (
            "call",
            line("9", "{\"toolCallId\":\"c\",\"toolName\":\"x\",\"args\":{}}"),
        ),
        (
            "result",
            line("a", "{\"toolCallId\":\"c\",\"result\":\"x\"}"),
        ),
    ] {
        all.push((
            Dialect::VercelV4,
            name,
            [v4("A < B"), between, thoughts(&v4)].concat(),
        ));
    }
    let gemini = |part: &str| {
        format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{part}]}}}}]}}\n\n")
    };
    let part = |piece: &str| gemini(&words(piece));
    all.push((
        Dialect::Gemini,
        "after a call",
        [part("A < B"), gemini(call), thoughts(&part)].concat(),
    ));
    let graph = |id: &'static str, node: &'static str| {
        move |piece: &str| {
            format!(
                "event: messages\ndata: [{{\"type\":\"AIMessageChunk\",\"id\":{id},\"content\":\"{piece}\"}},{{\"langgraph_node\":\"{node}\"}}]\n\n"
            )
        }
    };
    all.push((
        Dialect::LangGraph,
        "another message",
        [graph("\"a\"", "n")("A < B"), thoughts(&graph("\"b\"", "n"))].concat(),
    ));
    all.push((
        Dialect::LangGraph,
        "another node, no ids",
        [graph("null", "n")("A < B"), thoughts(&graph("null", "o"))].concat(),
    ));
    let chunk = |id: &str, piece: &str| {
        let id = if id.is_empty() {
            String::new()
        } else {
            format!(",\"messageId\":\"{id}\"")
        };
        format!("data: {{\"type\":\"TEXT_MESSAGE_CHUNK\"{id},\"delta\":\"{piece}\"}}\n\n")
    };
    all.push((
        Dialect::AgUi,
        "another message in chunks",
        [
            chunk("a", "A < "),
            chunk("", "B"),
            chunk("b", "<th"),
            chunk("", "ink>SECRET"),
            chunk("", " SECRET</think>Rain."),
        ]
        .concat(),
    ));
    let delta = |item: &str, piece: &str| {
        format!(
            "data: {{\"type\":\"response.output_text.delta\",\"item_id\":\"{item}\",\"output_index\":0,\"content_index\":0,\"delta\":\"{piece}\"}}\n\n"
        )
    };
    let created = "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
    all.push((
        Dialect::OpenAiResponses,
        "another response",
        [
            created.to_owned(),
            delta("a", "A < B"),
            created.to_owned(),
            delta("b", "<think>SECRET"),
            delta("c", "</think>Rain."),
        ]
        .concat(),
    ));
    let dify = |event: &str, more: &str| {
        format!("data: {{\"event\":\"{event}\",\"task_id\":\"t\",\"message_id\":\"m\"{more}}}\n\n")
    };
    let answer = |piece: &str| dify("agent_message", &format!(",\"answer\":\"{piece}\""));
    let thought = |calls: &str| {
        dify(
            "agent_thought",
            &format!(",\"id\":\"1\",\"tool\":\"{calls}\""),
        )
    };
    for (name, between) in [
        ("call", thought("x")),
        ("round", thought("")),
        (
            "node",
            dify("node_started", ",\"data\":{\"node_type\":\"llm\"}"),
        ),
    ] {
        let stream = [answer("A < B"), between, thoughts(&answer)].concat();
        all.push((Dialect::Dify, name, stream));
    }
    let strands = |text: &str| format!("data: {{\"data\":\"{text}\"}}\n\n");
    all.push((
        Dialect::Strands,
        "another round",
        [
            "data: {\"init_event_loop\":true}\n\n".to_owned(),
            strands("A < B"),
            "data: {\"current_tool_use\":{\"name\":\"x\"}}\n\n".to_owned(),
            "data: {\"start_event_loop\":true}\n\n".to_owned(),
            thoughts(&strands),
        ]
        .concat(),
    ));
    let agui = |kind: &str, more: &str| format!("data: {{\"type\":\"{kind}\"{more}}}\n\n");
    let same = |piece: &str| {
        agui(
            "TEXT_MESSAGE_CONTENT",
            &format!(",\"messageId\":\"m\",\"delta\":\"{piece}\""),
        )
    };
    for (name, between) in [
        (
            "call in a message",
            agui(
                "TOOL_CALL_START",
                ",\"toolCallId\":\"c\",\"toolCallName\":\"x\"",
            ),
        ),
        (
            "step in a message",
            agui("STEP_STARTED", ",\"stepName\":\"x\""),
        ),
        (
            "chunk of a call in a message",
            agui("TOOL_CALL_CHUNK", ",\"toolCallId\":\"c\",\"delta\":\"{}\""),
        ),
    ] {
        let stream = [same("A < B"), between, thoughts(&same)].concat();
        all.push((Dialect::AgUi, name, stream));
    }
    let by_node = |piece: &str| token(",\"node\":\"agent\"", piece);
    all.push((
        Dialect::Convention,
        "a tool of another node",
        [
            by_node("A < B"),
            convention("tool_start", ",\"node\":\"tools\",\"name\":\"x\""),
            thoughts(&by_node),
        ]
        .concat(),
    ));
    all
}

/// Returns a thought and a text after it, in pieces that `wrap` makes events of.
fn thoughts(wrap: &dyn Fn(&str) -> String) -> String {
    ["<thi", "nk>SECRET", " SECRET</th", "ink>Rain."]
        .iter()
        .map(|piece| wrap(piece))
        .collect()
}

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
