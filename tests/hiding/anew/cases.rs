//! Streams in which a text begins after another one, as each dialect tells it.

use weir::dialect::Dialect;

pub(super) fn token(more: &str, text: &str) -> String {
    format!("data: {{\"type\":\"token\"{more},\"content\":\"{text}\"}}\n\n")
}

pub(super) fn convention(kind: &str, more: &str) -> String {
    format!("data: {{\"type\":\"{kind}\"{more}}}\n\n")
}

pub(super) fn adk(author: &str, partial: bool, part: &str) -> String {
    format!(
        "data: {{\"author\":\"{author}\",\"invocationId\":\"i\",\"partial\":{partial},\"content\":{{\"parts\":[{part}]}}}}\n\n"
    )
}

pub(super) fn words(text: &str) -> String {
    format!("{{\"text\":\"{text}\"}}")
}

/// Streams whose visible text is `A < B`, in this order, then `Rain.`; everything hidden is `SECRET`.
pub(super) fn streams() -> Vec<(Dialect, &'static str, String)> {
    let plain = |piece: &str| token("", piece);
    let start = [plain("A "), plain("< B")].concat();
    let mut all = Vec::new();
    for (name, between) in [
        ("tool", convention("tool_call", ",\"name\":\"x\"")),
        ("result", convention("tool_result", ",\"result\":\"x\"")),
        ("step", convention("step", ",\"name\":\"x\"")),
        ("node", convention("node_start", ",\"node\":\"x\"")),
        ("agent", convention("agent_start", ",\"agent\":\"x\"")),
        (
            "tool with an end",
            convention("tool_finished", ",\"name\":\"x\""),
        ),
        ("handoff", convention("handoff", ",\"to\":\"x\"")),
        ("message", convention("message_start", "")),
        ("turn", convention("turn_end", "")),
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
    let of = |more: &'static str| move |piece: &str| token(more, piece);
    for (name, one, other) in [
        ("another step", ",\"step\":1", ",\"step\":2"),
        ("another turn", ",\"turn\":1", ",\"turn\":2"),
        ("another id", ",\"id\":\"a\"", ",\"id\":\"b\""),
        (
            "another number of a step",
            ",\"stepNumber\":1",
            ",\"stepNumber\":2",
        ),
    ] {
        let pieces = ["A ", "< ", "B"].map(of(one));
        all.push((
            Dialect::Convention,
            name,
            [pieces.concat(), thoughts(&of(other))].concat(),
        ));
    }
    let step = |number: u8, piece: &str| token(&format!(",\"step\":{number}"), piece);
    all.push((
        Dialect::Convention,
        "steps of one event each",
        [
            step(1, "A < B"),
            step(2, "<think>SECRET</think>Snow."),
            step(3, "<think>SECRET</think>Rain."),
        ]
        .concat(),
    ));
    let chat = |id: &'static str| {
        move |members: &str| {
            format!(
                "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{{members}}}}}]}}\n\n"
            )
        }
    };
    let role = "\"role\":\"assistant\",\"content\":\"\"";
    let piece_of =
        |id: &'static str| move |piece: &str| chat(id)(&format!("\"content\":\"{piece}\""));
    all.push((
        Dialect::OpenAiChat,
        "another completion without a finish reason",
        [
            chat("a")(role),
            piece_of("a")("A < B"),
            chat("b")(role),
            thoughts(&piece_of("b")),
        ]
        .concat(),
    ));
    all.push((
        Dialect::OpenAiChat,
        "another completion without a role",
        [
            ["A ", "< ", "B"].map(piece_of("a")).concat(),
            thoughts(&piece_of("b")),
        ]
        .concat(),
    ));
    all.push((
        Dialect::OpenAiChat,
        "the result of a tool",
        [
            piece_of("a")("A < B"),
            chat("a")("\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"x\""),
            thoughts(&piece_of("a")),
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
        "after a whole event that is like the partial ones",
        [
            partial("a")("A < B"),
            adk("a", false, &words("A < B")),
            thoughts(&partial("a")),
            adk("a", false, &words("<think>SECRET</think>Rain.")),
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
    let in_step = |step: &'static str| {
        move |piece: &str| {
            graph("null", "n")(piece).replace(
                "\"langgraph_node\"",
                &format!("\"langgraph_step\":{step},\"langgraph_node\""),
            )
        }
    };
    all.push((
        Dialect::LangGraph,
        "another step, no ids",
        [in_step("1")("A < B"), thoughts(&in_step("2"))].concat(),
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
