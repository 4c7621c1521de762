//! Members that differ in each event and say nothing about its text do not keep two events apart.

use super::*;

/// Events with a varying member at `@` and an id of the text at `#`.
const EVENTS: [(Dialect, &str); 9] = [
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
            )));
        }
    }
    let mut classify = |frame: Frame<'_>| {
        let merge = classifier.classify(&frame).merge;
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
