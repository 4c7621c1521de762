//! The cost of parsing and classifying one event: time and allocations, per dialect and per read size.
//!
//! `cargo bench --bench pipeline`; the counters are events, so divan shows events per second.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use weir::dialect::{Classifier, Dialect};
use weir::wire::{Decoder, Frame, Framing};

#[global_allocator]
static ALLOC: AllocProfiler<std::alloc::System> = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Returns one token event of a dialect, as its servers write it.
fn token(dialect: Dialect) -> (Framing, &'static str) {
    match dialect {
        Dialect::A2a => (
            Framing::Sse,
            "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"artifactUpdate\":{\"taskId\":\"k1\",\"contextId\":\"x\",\"append\":true,\"artifact\":{\"artifactId\":\"a\",\"parts\":[{\"text\":\" rain\"}]}}}}\n\n",
        ),
        Dialect::Adk => (
            Framing::Sse,
            "data: {\"content\":{\"parts\":[{\"text\":\" rain\"}],\"role\":\"model\"},\"partial\":true,\"invocationId\":\"e-1\",\"author\":\"weather\",\"actions\":{\"stateDelta\":{},\"artifactDelta\":{}},\"id\":\"A1\",\"timestamp\":1700000000.5}\n\n",
        ),
        Dialect::AgUi => (
            Framing::Sse,
            "data: {\"type\":\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"m-4d1c\",\"delta\":\" rain\"}\n\n",
        ),
        Dialect::Anthropic => (
            Framing::Sse,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" rain\"}}\n\n",
        ),
        Dialect::Cohere => (
            Framing::Sse,
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\" rain\"}}}}\n\n",
        ),
        Dialect::Convention => (
            Framing::Sse,
            "data: {\"type\":\"token\",\"content\":\" rain\"}\n\n",
        ),
        Dialect::Dify => (
            Framing::Sse,
            "data: {\"event\":\"message\",\"conversation_id\":\"c-4d1c\",\"message_id\":\"m-4d1c\",\"created_at\":1,\"task_id\":\"t-4d1c\",\"id\":\"m-4d1c\",\"answer\":\" rain\",\"from_variable_selector\":null}\n\n",
        ),
        Dialect::Gemini => (
            Framing::Sse,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" rain\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":1,\"totalTokenCount\":10},\"modelVersion\":\"m\",\"responseId\":\"r\"}\n\n",
        ),
        Dialect::LangGraph => (
            Framing::Sse,
            "event: messages\ndata: [{\"content\":\" rain\",\"additional_kwargs\":{},\"response_metadata\":{},\"type\":\"AIMessageChunk\",\"name\":null,\"id\":\"run-4d1c\",\"tool_calls\":[],\"invalid_tool_calls\":[],\"usage_metadata\":null,\"tool_call_chunks\":[]},{\"langgraph_step\":1,\"langgraph_node\":\"agent\",\"langgraph_triggers\":[\"branch:to:agent\"],\"thread_id\":\"t1\"}]\n\n",
        ),
        Dialect::LangServe => (
            Framing::Sse,
            "event: data\ndata: {\"event\":\"on_chat_model_stream\",\"run_id\":\"r2\",\"name\":\"llm\",\"tags\":[],\"metadata\":{},\"data\":{\"chunk\":{\"content\":\" rain\",\"type\":\"AIMessageChunk\",\"id\":\"run-4d1c\"}},\"parent_ids\":[\"r1\"]}\n\n",
        ),
        Dialect::LibreChat => (
            Framing::Sse,
            "event: message\ndata: {\"event\":\"on_message_delta\",\"data\":{\"id\":\"step_4d1c\",\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\" rain\"}]}}}\n\n",
        ),
        Dialect::Mastra => (
            Framing::Sse,
            "data: {\"type\":\"text-delta\",\"runId\":\"4d1c\",\"from\":\"AGENT\",\"payload\":{\"id\":\"t1\",\"text\":\" rain\"}}\n\n",
        ),
        Dialect::Mcp => (
            Framing::Sse,
            "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":0.5}}\n\n",
        ),
        Dialect::Ollama => (
            Framing::Ndjson,
            "{\"model\":\"m\",\"created_at\":\"2026-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\" rain\"},\"done\":false}\n",
        ),
        Dialect::OpenAiChat => (
            Framing::Sse,
            "data: {\"id\":\"chatcmpl-4d1c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" rain\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
        ),
        Dialect::OpenAiResponses => (
            Framing::Sse,
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":\"msg_4d1c\",\"output_index\":0,\"content_index\":0,\"delta\":\" rain\",\"logprobs\":[]}\n\n",
        ),
        Dialect::Opaque => (Framing::Sse, "event: tick\ndata: {\"price\":1}\n\n"),
        Dialect::Strands => (
            Framing::Sse,
            "data: {\"event\": {\"contentBlockDelta\": {\"delta\": {\"text\": \" rain\"}, \"contentBlockIndex\": 0}}}\n\n",
        ),
        Dialect::Tgi => (
            Framing::Sse,
            "data:{\"index\":7,\"token\":{\"id\":4212,\"text\":\" rain\",\"logprob\":-0.25,\"special\":false},\"generated_text\":null,\"details\":null}\n\n",
        ),
        Dialect::VercelUi => (
            Framing::Sse,
            "data: {\"type\":\"text-delta\",\"id\":\"t1\",\"delta\":\" rain\"}\n\n",
        ),
        Dialect::VercelV4 => (Framing::Lines, "0:\" rain\"\n"),
    }
}

fn run(bencher: Bencher<'_, '_>, dialect: Dialect, events: usize) {
    let (framing, text) = token(dialect);
    let read = text.repeat(events);
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut classifier = Classifier::new(dialect);
    bencher.counter(ItemsCount::new(events)).bench_local(|| {
        let mut classify = |frame: Frame<'_>| {
            divan::black_box(classifier.classify(&frame, &mut None));
        };
        decoder.feed(read.as_bytes(), &mut classify).unwrap();
    });
}

#[divan::bench(args = Dialect::ALL)]
fn read_of_1_event(bencher: Bencher<'_, '_>, dialect: Dialect) {
    run(bencher, dialect, 1);
}

#[divan::bench(args = Dialect::ALL)]
fn read_of_16_events(bencher: Bencher<'_, '_>, dialect: Dialect) {
    run(bencher, dialect, 16);
}

/// Classification alone, of an event that differs from the previous one only in its text.
#[divan::bench(args = Dialect::ALL)]
fn classify_the_same_again(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let (framing, text) = token(dialect);
    classify(bencher, dialect, framing, text);
}

/// Classification alone, of two alternating events that also differ in something else.
#[divan::bench(args = Dialect::ALL)]
fn classify_another(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let (framing, text) = token(dialect);
    let other = match framing {
        Framing::Sse => format!("id: 1\n{text}"),
        Framing::Ndjson => text.replace("\"m\"", "\"n\""),
        Framing::JsonArray | Framing::Lines | Framing::Raw => text.replace('0', "g"),
    };
    classify(bencher, dialect, framing, &format!("{text}{other}"));
}

fn classify(bencher: Bencher<'_, '_>, dialect: Dialect, framing: Framing, text: &str) {
    let mut frames = Vec::new();
    let mut decoder = Decoder::new(framing, 1 << 20);
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    decoder.feed(text.as_bytes(), &mut keep).unwrap();
    let mut classifier = Classifier::new(dialect);
    bencher
        .counter(ItemsCount::new(frames.len()))
        .bench_local(|| {
            for frame in &frames {
                divan::black_box(classifier.classify(frame, &mut None));
            }
        });
}
