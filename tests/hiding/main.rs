//! Checks that hidden output never leaves and that visible output is complete, in each dialect and wherever the text is
//! cut. Here: what the tests of each file use, and what becomes of text that is held back.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic"
)]

use std::sync::Arc;

use weir::dialect::{Choice, Classifier, Dialect, Members};
use weir::event::{Content, Event};
use weir::filter::markers::Family;
use weir::filter::scan::Marks;
use weir::filter::{Hide, Rules};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings};
use weir::wire::encoding::Coding;
use weir::wire::{Decoder, Frame, Framing};

mod anew;
mod copies;
mod data;
mod every_fixture;
mod items;
mod prompts;
mod repeats;
#[path = "../support/mod.rs"]
mod support;
mod unclosed;

fn rules(reasoning: Hide, tools: Hide) -> Arc<Rules> {
    let hides = |hide| hide != Hide::Keep;
    Arc::new(Rules {
        reasoning,
        tools,
        marks: Marks::new(&Family::ALL, true, hides(reasoning), hides(tools)),
    })
}

/// Returns the output of the pipeline for a stream.
fn through(dialect: Dialect, framing: Framing, rules: &Arc<Rules>, chunks: &[&[u8]]) -> Vec<u8> {
    let mut pipeline = Pipeline::new(&Settings {
        framing,
        coding: Coding::Identity,
        choice: Choice::Fixed(dialect),
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::clone(rules),
    });
    let mut out = Vec::new();
    let mut keep = |block: &[u8], _: &Event| out.extend_from_slice(block);
    for chunk in chunks {
        pipeline.feed(chunk, &mut keep).unwrap();
    }
    pipeline.finish(InputEnd::Clean, &mut keep);
    out
}

fn read(dialect: Dialect, framing: Framing, bytes: &[u8]) -> Vec<(Frame<'static>, Event)> {
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    Decoder::new(framing, 1 << 20)
        .feed(bytes, &mut keep)
        .unwrap();
    let mut classifier = Classifier::new(dialect);
    let with_event = |frame: Frame<'static>| {
        let event = *classifier.classify(&frame, &mut None);
        (frame, event)
    };
    frames.into_iter().map(with_event).collect()
}

/// Returns the raw answer text of a stream.
fn text(dialect: Dialect, framing: Framing, bytes: &[u8]) -> String {
    // Choices and messages are separate texts: text held back in one does not delay the others.
    let mut texts: Vec<(u64, Vec<u8>)> = Vec::new();
    for (frame, event) in read(dialect, framing, bytes) {
        let Some(text) = event.text.filter(|_| event.content == Content::Token) else {
            continue;
        };
        let text = text.of(&frame.block);
        match texts.iter_mut().find(|(lane, _)| *lane == event.lane) {
            Some((_, whole)) => whole.extend_from_slice(text),
            None => texts.push((event.lane, text.to_vec())),
        }
    }
    texts.sort();
    let texts = texts.into_iter().flat_map(|(_, text)| text);
    String::from_utf8(texts.collect()).unwrap()
}

/// Returns an OpenAI chunk with this delta.
fn delta(members: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{{members}}}}}]}}\n\n")
}

fn content(text: &str) -> String {
    delta(&format!("\"content\":\"{text}\""))
}

/// The end of an OpenAI response.
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn an_empty_piece_amid_a_thought_does_not_end_it() {
    let rules = rules(Hide::Drop, Hide::Drop);
    for between in [content(""), delta(""), delta("\"role\":\"assistant\"")] {
        let pieces = [
            content("<think>Hm"),
            between,
            content(" SECRET"),
            content("</think>Rain"),
            END.to_owned(),
        ];
        let out = through(
            Dialect::OpenAiChat,
            Framing::Sse,
            &rules,
            &[pieces.concat().as_bytes()],
        );
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{shown}");
        assert_eq!(text(Dialect::OpenAiChat, Framing::Sse, &out), "Rain");
    }
}

#[test]
fn what_is_held_at_the_end_of_a_text_leaves() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let pieces = [content("x "), content("<"), content("<"), END.to_owned()];
    let out = through(
        Dialect::OpenAiChat,
        Framing::Sse,
        &rules,
        &[pieces.concat().as_bytes()],
    );
    assert_eq!(text(Dialect::OpenAiChat, Framing::Sse, &out), "x <<");
    for held in ["a <", "<thi"] {
        let chunk = |text: &str, more: &str| {
            format!(
                "{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}{more}}}]}}"
            )
        };
        let array = format!(
            "[{},{}]",
            chunk(held, ""),
            chunk("", ",\"finishReason\":\"STOP\"")
        );
        let out = through(
            Dialect::Gemini,
            Framing::JsonArray,
            &rules,
            &[array.as_bytes()],
        );
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let texts: Vec<&str> = value
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["candidates"][0]["content"]["parts"][0]["text"].as_str())
            .collect();
        assert_eq!(texts.concat(), held);
    }
}

#[test]
fn an_index_that_grows_shorter_leaves_the_text_where_it_is() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let mut stream = String::new();
    for index in 0..10 {
        stream += &format!(
            "event: response.output_item.added\ndata: {{\"type\":\"response.output_item.added\",\"output_index\":{index},\"item\":{{\"type\":\"reasoning\"}}}}\n\n"
        );
    }
    stream += "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":11,\"output_index\":10,\"item_id\":\"m\",\"delta\":\"Rain\"}\n\n";
    let mut pipeline = Pipeline::new(&Settings {
        framing: Framing::Sse,
        coding: Coding::Identity,
        choice: Choice::Fixed(Dialect::OpenAiResponses),
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: rules,
    });
    let mut seen = 0;
    let mut look = |block: &[u8], event: &Event| {
        seen += 1;
        let merge = event.merge.unwrap();
        assert_eq!(merge.text.of(block), b"Rain");
        assert_eq!(event.text.unwrap().of(block), b"Rain");
        assert_eq!(event.varying.unwrap().of(block), b"11");
    };
    pipeline.feed(stream.as_bytes(), &mut look).unwrap();
    assert_eq!(seen, 1);
}

/// What is held back of a large text leaves in an event of its own, which does not repeat that text.
#[test]
fn what_is_held_of_large_texts_leaves_as_it_was_written() {
    let long = "x".repeat(40_000);
    let token = |lane: &str, text: &str, more: &str| {
        format!(
            "data: {{\"type\":\"text-delta\",\"id\":\"{lane}\",\"delta\":\"{text}\"{more}}}\n\n"
        )
    };
    let note = format!(",\"note\":\"{long}\"");
    for more in ["", &note] {
        let mut chunks = vec![
            "data: {\"type\":\"start\"}\n\n".to_owned(),
            "data: {\"type\":\"text-start\",\"id\":\"a\"}\n\n".to_owned(),
            "data: {\"type\":\"text-start\",\"id\":\"b\"}\n\n".to_owned(),
        ];
        for lane in ["a", "b"] {
            chunks.push(token(lane, &format!("{long}\\n<thi"), more));
        }
        for lane in ["a", "b"] {
            chunks.push(format!(
                "data: {{\"type\":\"text-end\",\"id\":\"{lane}\"}}\n\n"
            ));
        }
        chunks.push("data: {\"type\":\"finish\"}\n\ndata: [DONE]\n\n".to_owned());
        let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
        let rules = rules(Hide::Drop, Hide::Drop);
        let out = through(Dialect::VercelUi, Framing::Sse, &rules, &chunks);
        let whole = format!("{long}\\n<thi").repeat(2);
        assert_eq!(text(Dialect::VercelUi, Framing::Sse, &out), whole);
        let events = read(Dialect::VercelUi, Framing::Sse, &out);
        let held: Vec<usize> = events
            .iter()
            .filter(|(frame, event)| {
                event.content == Content::Token
                    && event
                        .text
                        .is_some_and(|text| text.of(&frame.block) == b"<thi")
            })
            .map(|(frame, _)| frame.block.len())
            .collect();
        assert_eq!(held.len(), 2, "each is held, and leaves as a token");
        assert!(
            more.is_empty() == held.iter().all(|len| *len < 1000),
            "{held:?}"
        );
    }
}
