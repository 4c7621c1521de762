//! Members that differ in each event and say nothing about its text do not keep two events apart.

use super::*;

/// Events with a varying member at `@` and an id of the text at `#`.
const EVENTS: [(Dialect, &str); 21] = [
    (
        Dialect::OpenAiChat,
        r##"data: {"id":"c@","elapsed":0.@,"tick":"@","choices":[{"index":#,"salt":@,"delta":{"content":"a"}}]}"##,
    ),
    (
        Dialect::Anthropic,
        r##"data: {"type":"content_block_delta","index":#,"tick":@,"delta":{"type":"text_delta","text":"a","salt":"@"}}"##,
    ),
    (
        Dialect::Mastra,
        r##"data: {"type":"text-delta","runId":"r","from":"AGENT","tick":@,"payload":{"id":"#","text":"a","salt":"@"}}"##,
    ),
    (
        Dialect::Strands,
        r##"data: {"event":{"contentBlockDelta":{"delta":{"text":"a"},"contentBlockIndex":#,"p":"@","tick":@}}}"##,
    ),
    (
        Dialect::OpenAiChat,
        r##"data: {"nonce":"@","p":"@","choices":[{"index":#,"delta":{"content":"a"}}]}"##,
    ),
    (
        Dialect::OpenAiResponses,
        r##"data: {"type":"response.output_text.delta","nonce":"@","item_id":"m@","output_index":#,"content_index":0,"delta":"a"}"##,
    ),
    (
        Dialect::Anthropic,
        r##"data: {"type":"content_block_delta","index":#,"nonce":"@","delta":{"type":"text_delta","text":"a"}}"##,
    ),
    (
        Dialect::AgUi,
        r##"data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"#","delta":"a","nonce":"@"}"##,
    ),
    (
        Dialect::VercelUi,
        r##"data: {"type":"text-delta","id":"#","delta":"a","nonce":"@"}"##,
    ),
    (
        Dialect::Adk,
        r##"data: {"author":"#","invocationId":"i","id":"@","timestamp":"@","nonce":"@","partial":true,"content":{"parts":[{"text":"a"}]}}"##,
    ),
    (
        Dialect::Gemini,
        r##"data: {"candidates":[{"index":#,"content":{"parts":[{"text":"a"}]}}],"nonce":"@","n":@}"##,
    ),
    (
        Dialect::LangGraph,
        "event: messages\ndata: [{\"type\":\"AIMessageChunk\",\"id\":\"#\",\"content\":\"a\",\"nonce\":\"@\"},{\"langgraph_step\":@}]",
    ),
    (
        Dialect::LangServe,
        r##"data: {"event":"on_chat_model_stream","run_id":"#","data":{"chunk":{"type":"AIMessageChunk","id":"m@","content":"a"}}}"##,
    ),
    // In the answer itself, and beside constants of any kind.
    (
        Dialect::OpenAiChat,
        r##"data: {"choices":[{"index":#,"seen":{"a":[1]},"delta":{"channel":"final","content":"a","padding":"@","salt":"x@","tick":@,"extra_content":{"google":{"thought":true}}}}]}"##,
    ),
    (
        Dialect::OpenAiChat,
        r##"data: {"choices":[{"index":#,"delta":{"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","index":0}],"tick":@}}]}"##,
    ),
    (
        Dialect::OpenAiChat,
        r##"data: {"choices":[{"index":#,"delta":{"thinking_blocks":[{"type":"thinking","thinking":"a","signature":null}],"reasoning_content":"a","provider_specific_fields":{"thinking_blocks":[{"type":"thinking","thinking":"a","signature":null}]},"tick":@}}]}"##,
    ),
    (
        Dialect::Anthropic,
        r##"data: {"type":"content_block_delta","index":#,"seen":{"a":[1]},"delta":{"type":"text_delta","text":"a","p":"@","seen":[1]}}"##,
    ),
    (
        Dialect::Ollama,
        r##"data: {"model":"#","created_at":"2026-11-30T11:30:00.@","message":{"role":"assistant","content":"a","p":"@","salt":"x@","seen":{"a":1}},"seen":[1],"done":false}"##,
    ),
    (
        Dialect::Cohere,
        r##"data: {"type":"content-delta","index":#,"delta":{"message":{"content":{"text":"a","salt":"x@","seen":[1]},"p":"@"}},"logprobs":{"text":"a","token_ids":[@],"logprobs":[-0.1]}}"##,
    ),
    (
        Dialect::Tgi,
        r##"data: {"index":@,"token":{"id":@,"text":"a","logprob":-0.@,"special":false,"salt":"x@","seen":[1]},"top_tokens":[{"id":@,"text":"b"}],"model":"#","generated_text":null,"details":null}"##,
    ),
    (
        Dialect::AgUi,
        r##"data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"#","delta":"a","rawEvent":{"x":@}}"##,
    ),
];

fn keys(dialect: Dialect, template: &str, values: impl Iterator<Item = (u64, u64)>) -> Vec<u64> {
    let body: String = values
        .map(|(id, value)| {
            let event = template.replace('#', &id.to_string());
            format!("{}\n\n", event.replace('@', &value.to_string()))
        })
        .collect();
    let mut keys = Vec::new();
    let mut classifier = Classifier::new(dialect);
    if dialect == Dialect::Anthropic {
        for index in [1, 2] {
            classifier.classify(&block(&format!(
                r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}"#
            )), &mut None);
        }
    }
    let mut classify = |frame: Frame<'_>| {
        let merge = classifier.classify(&frame, &mut None).merge;
        keys.push(merge.map_or(0, |merge| merge.key));
    };
    let mut decoder = Decoder::new(Framing::Sse, 1 << 20);
    decoder.feed(body.as_bytes(), &mut classify).unwrap();
    keys
}

#[test]
fn padding_times_and_counters_do_not_prevent_merging() {
    for (dialect, template) in EVENTS {
        let keys = keys(dialect, template, (0..40).map(|at| (1, at * 37 % 1009)));
        let last = keys.last().copied().unwrap();
        assert_ne!(last, 0, "{dialect}");
        let alike = keys.iter().rev().take_while(|key| **key == last).count();
        assert!(
            alike >= 20,
            "{dialect}: {alike} of {} {template}",
            keys.len()
        );
    }
}

#[test]
fn the_id_of_a_text_does() {
    for (dialect, template) in EVENTS {
        let keys = keys(dialect, template, (0..40).map(|at| (1 + at % 2, at)));
        let apart = keys.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(apart, "{dialect} {template}");
    }
}

#[test]
fn another_text_in_a_delta_is_not_taken_for_a_random_string() {
    let mut classifier = Classifier::new(Dialect::OpenAiChat);
    let mut last = None;
    for first in 'a'..='f' {
        for second in 'a'..='z' {
            let json = format!(
                r#"{{"choices":[{{"delta":{{"content":"x","translation":"{first}{second}"}}}}]}}"#
            );
            let merge = classifier.classify(&block(&json), &mut None).merge;
            let key = merge.map(|merge| merge.key);
            assert!(key.is_some() && key != last, "{json}");
            last = key;
        }
    }
}

/// Returns the keys of OpenAI chunks with these ids, and whether their neighbours may be merged.
fn of_ids(ids: &[usize]) -> Vec<bool> {
    let values = ids.iter().map(|id| (0, *id as u64));
    let template = r#"data: {"id":"c@","choices":[{"delta":{"content":"a"}}]}"#;
    let keys = keys(Dialect::OpenAiChat, template, values);
    keys.windows(2).map(|pair| pair[0] == pair[1]).collect()
}

#[test]
fn ids_that_repeat_tell_completions_apart() {
    let alike =
        |ids: &[usize]| -> Vec<bool> { ids.windows(2).map(|pair| pair[0] == pair[1]).collect() };
    let interleaved = [0, 0, 1, 1, 0, 1, 0, 2, 2, 0].repeat(20);
    assert_eq!(of_ids(&interleaved), alike(&interleaved));
    for len in [2, 3, 50] {
        // One after the other, and as many as one likes. Chunks that repeat their envelope are not even parsed.
        let ids: Vec<usize> = (0..60 * len).map(|at| at / len).collect();
        assert_eq!(of_ids(&ids), alike(&ids), "{len} chunks each");
        let in_turn: Vec<usize> = (0..60 * len)
            .map(|at| at / (8 * len) * 8 + at % 8)
            .collect();
        assert_eq!(of_ids(&in_turn), alike(&in_turn), "eight at a time");
    }
}

#[test]
fn langgraph_ids_for_each_chunk_of_a_place_tell_nothing() {
    let template = "event: messages\ndata: [{\"type\":\"AIMessageChunk\",\"id\":\"chatcmpl-@\",\"content\":\"a\"},{\"langgraph_checkpoint_ns\":\"n:#\"}]";
    let of = |values: Vec<(u64, u64)>| -> Vec<bool> {
        let keys = keys(Dialect::LangGraph, template, values.into_iter());
        keys.windows(2).map(|pair| pair[0] == pair[1]).collect()
    };
    let alike = of((0..100).map(|at| (0, at * 7919 % 1009)).collect());
    assert!(alike[20..].iter().all(|alike| *alike));
    assert!(!alike[0], "two ids may be two messages");
    let places = of((0..100).map(|at| (at % 2, at)).collect());
    assert!(places.iter().all(|alike| !alike));
}

#[test]
fn an_id_for_each_chunk_tells_nothing() {
    let ids: Vec<usize> = (0..100).map(|at| at * 7919 % 1009).collect();
    let alike = of_ids(&ids);
    assert!(alike[20..].iter().all(|alike| *alike));
    // From the first one that comes again, ids count.
    let again: Vec<usize> = ids
        .iter()
        .copied()
        .chain([ids[99]])
        .chain(2000..2100)
        .collect();
    assert!(!of_ids(&again)[99 + 1..].iter().any(|alike| *alike));
}

#[test]
fn neither_nodes_nor_subgraphs_are_mixed_up_without_ids() {
    let of = |name: &str, metadata: &str| {
        format!(r#"{name}|[{{"type":"AIMessageChunk","content":"a"}},{{{metadata}}}]"#)
    };
    let [one, two, elsewhere, later] = [
        r#""langgraph_node":"a","checkpoint_ns":"x:1""#,
        r#""langgraph_node":"b","checkpoint_ns":"x:1""#,
        r#""langgraph_node":"a","checkpoint_ns":"x:2""#,
        r#""langgraph_node":"a","checkpoint_ns":"x:1","langgraph_step":2"#,
    ]
    .map(|metadata| of("messages", metadata));
    assert!(joins(Dialect::LangGraph, &one, &one));
    for other in [two, elsewhere, later] {
        assert!(!joins(Dialect::LangGraph, &one, &other), "{other}");
        assert!(joins(Dialect::LangGraph, &other, &other), "{other}");
    }
    let whole = |space: &str| {
        let block = format!(
            "event: messages|{space}\ndata: [{{\"type\":\"AIMessageChunk\",\"content\":\"a\"}},{{}}]\n\n"
        );
        let mut classifier = Classifier::new(Dialect::LangGraph);
        classifier
            .classify(&frame(Framing::Sse, &block), &mut None)
            .merge
            .unwrap()
            .key
    };
    assert_eq!(whole("s:1"), whole("s:1"));
    assert_ne!(whole("s:1"), whole("s:2"));
}

#[test]
fn an_event_with_an_id_is_not_merged_with_one_without() {
    let text = r#"data: {"choices":[{"delta":{"content":"a"}}]}"#;
    let key = |fields: &str| {
        let block = frame(Framing::Sse, &format!("{fields}{text}\n\n"));
        Classifier::new(Dialect::OpenAiChat)
            .classify(&block, &mut None)
            .merge
            .unwrap()
            .key
    };
    assert_eq!(key("id: 1\n"), key("id: 2\n"));
    assert_ne!(key("id: 1\n"), key(""));
    assert_eq!(key("event: a\n"), key("event: a\n"));
    assert_ne!(key("event: a\n"), key("event: b\n"));
    assert_ne!(key("event: a\n"), key(""));
}
