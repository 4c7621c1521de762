//! Checks that hidden output never leaves and that visible output is complete, in each dialect and wherever the text is
//! cut.
//!
//! The text of each dialect's own fixtures is replaced by a text with markers, cut at every place into two deltas, and
//! into single characters. The output is also searched for reasoning and calls from fields and events of their own.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use weir::dialect::{Choice, Classifier, Dialect, Members};
use weir::event::{Class, Content, Event};
use weir::filter::markers::Family;
use weir::filter::scan::Marks;
use weir::filter::{Hide, Rules};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings};
use weir::wire::encoding::Coding;
use weir::wire::{Decoder, Frame, Framing};

mod anew;
mod copies;
mod prompts;
#[path = "../support/mod.rs"]
mod support;
mod unclosed;

use support::{Fixture, fixtures};

/// Two hidden spans, some text, and the beginning of a tag that never becomes a marker.
const MARKED: &str = "<think>SECRET</think>Rain < snow\\n<invoke id=\\\"S\\\">SECRET</invoke> 4 \\u00b0C <tool_call a=\\\"b";
const VISIBLE: &str = "Rain < snow\\n 4 \\u00b0C <tool_call a=\\\"b";

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

/// Returns the stream of a fixture up to its first ordinary delta, then that delta once for each piece, then its end.
fn marked(dialect: Dialect, framing: Framing, bytes: &[u8], pieces: &[&str]) -> Option<Vec<u8>> {
    let events = read(dialect, framing, bytes);
    let is_delta = |event: &Event| {
        event.class == Class::Token
            && event.content == Content::Token
            && event.merge.is_some()
            && event.text == event.merge.map(|merge| merge.text)
    };
    let at = events.iter().position(|(_, event)| is_delta(event))?;
    if events[..at]
        .iter()
        .any(|(_, event)| event.content == Content::Token)
    {
        // The answer has already begun, and a tag in the middle of it is text.
        return None;
    }
    let mut out = Vec::new();
    for (frame, _) in &events[..at] {
        out.extend_from_slice(&frame.block);
    }
    let (frame, event) = &events[at];
    let span = event.text?;
    for piece in pieces {
        out.extend_from_slice(&frame.block[..span.start as usize]);
        out.extend_from_slice(piece.as_bytes());
        out.extend_from_slice(&frame.block[span.end as usize..]);
    }
    for (frame, event) in &events[at + 1..] {
        // Keeps everything but other text.
        if event.content != Content::Token {
            out.extend_from_slice(&frame.block);
        }
    }
    Some(out)
}

/// Reports whether a text may be cut here: not within a character or its escape.
fn is_border(text: &str, at: usize) -> bool {
    let escape = text[..at.min(text.len())].rfind('\\').filter(|start| {
        let length = if text[*start..].starts_with("\\u") {
            6
        } else {
            2
        };
        at < start + length
    });
    text.is_char_boundary(at) && escape.is_none()
}

#[test]
fn marked_text_is_hidden_in_every_dialect_wherever_it_is_cut() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let mut tried = Vec::new();
    for dialect in Dialect::ALL {
        for Fixture {
            path,
            dialect,
            framing,
            bytes,
            ..
        } in fixtures(dialect)
        {
            let name = path.display();
            let singles: Vec<String> = (0..MARKED.len())
                .filter(|at| is_border(MARKED, *at))
                .map(|at| {
                    let end = (at + 1..=MARKED.len())
                        .find(|end| *end == MARKED.len() || is_border(MARKED, *end));
                    MARKED[at..end.unwrap()].to_owned()
                })
                .collect();
            let singles: Vec<&str> = singles.iter().map(String::as_str).collect();
            let mut cuts: Vec<Vec<&str>> = (1..MARKED.len())
                .filter(|at| is_border(MARKED, *at))
                .map(|at| vec![&MARKED[..at], &MARKED[at..]])
                .collect();
            cuts.push(vec![MARKED]);
            cuts.push(singles);
            for pieces in cuts {
                let Some(stream) = marked(dialect, framing, &bytes, &pieces) else {
                    break;
                };
                tried.push(dialect);
                let out = through(dialect, framing, &rules, &[&stream]);
                let shown = String::from_utf8_lossy(&out);
                assert!(!shown.contains("SECRET"), "{name} {pieces:?}\n{shown}");
                assert_eq!(
                    text(dialect, framing, &out),
                    VISIBLE,
                    "{name} {pieces:?}\n{shown}"
                );
            }
        }
    }
    for dialect in Dialect::ALL {
        let has_text = !matches!(dialect, Dialect::Mcp | Dialect::Opaque);
        assert_eq!(tried.contains(&dialect), has_text, "{dialect}");
    }
}

#[test]
fn hidden_sides_of_every_fixture_do_not_leave_however_it_is_read() {
    let rules = rules(Hide::Drop, Hide::Drop);
    for dialect in Dialect::ALL {
        for Fixture {
            path,
            dialect,
            framing,
            bytes,
            ..
        } in fixtures(dialect)
        {
            let name = path.display();
            let hidden: Vec<Vec<u8>> = read(dialect, framing, &bytes)
                .iter()
                .filter(|(_, event)| matches!(event.content, Content::Reasoning | Content::Tool))
                .filter_map(|(frame, event)| Some(event.text?.of(&frame.block).to_vec()))
                // Short texts, such as JSON punctuation, are part of every event.
                .filter(|text| text.len() > 3)
                .collect();
            let whole = through(dialect, framing, &rules, &[&bytes]);
            for text in &hidden {
                let found = whole
                    .windows(text.len())
                    .any(|part| part == text.as_slice());
                assert!(
                    !found,
                    "{name}: {} in\n{}",
                    text.escape_ascii(),
                    String::from_utf8_lossy(&whole)
                );
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(through(dialect, framing, &rules, &singles), whole, "{name}");
            // Long streams are cut at fewer places.
            for cut in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
                let (head, tail) = bytes.split_at(cut);
                let out = through(dialect, framing, &rules, &[head, tail]);
                assert_eq!(out, whole, "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn the_answer_of_every_fixture_stays_whole() {
    for (reasoning, tools) in [
        (Hide::Drop, Hide::Drop),
        (Hide::Drop, Hide::Keep),
        (Hide::Keep, Hide::Drop),
    ] {
        let rules = rules(reasoning, tools);
        for dialect in Dialect::ALL {
            for Fixture {
                path,
                dialect,
                framing,
                bytes,
                ..
            } in fixtures(dialect)
            {
                let name = path.display();
                let out = through(dialect, framing, &rules, &[&bytes]);
                // Text next to reasoning is only recognised once the reasoning was removed, so more text may be found.
                let (shown, sent) = (text(dialect, framing, &out), text(dialect, framing, &bytes));
                let mut left = shown.chars();
                assert!(
                    sent.chars().all(|wanted| left.any(|found| found == wanted)),
                    "{name} {reasoning:?} {tools:?}: {sent} in\n{}",
                    String::from_utf8_lossy(&out)
                );
                let has_mixed = read(dialect, framing, &bytes)
                    .iter()
                    .any(|(_, event)| event.content == Content::Token && event.text.is_none());
                assert!(has_mixed || shown == sent, "{name}");
            }
        }
    }
}

#[test]
fn nothing_is_touched_where_nothing_is_to_hide() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let off = Arc::new(Rules::default());
    for (dialect, name) in [
        (Dialect::Anthropic, "text.sse"),
        (Dialect::OpenAiChat, "text.sse"),
        (Dialect::OpenAiResponses, "text.sse"),
        (Dialect::VercelUi, "text.sse"),
        (Dialect::AgUi, "text.sse"),
        (Dialect::VercelV4, "text.lines"),
        (Dialect::Ollama, "text.ndjson"),
        (Dialect::Cohere, "text.sse"),
        (Dialect::Dify, "text.sse"),
        (Dialect::Tgi, "text.sse"),
        (Dialect::Gemini, "text.sse"),
        (Dialect::LangGraph, "text.sse"),
    ] {
        let path = Path::new("tests/data").join(dialect.as_str()).join(name);
        let bytes = fs::read(&path).unwrap();
        let framing = match path.extension().and_then(|end| end.to_str()) {
            Some("lines") => Framing::Lines,
            Some("ndjson") => Framing::Ndjson,
            _ => Framing::Sse,
        };
        let plain = through(dialect, framing, &off, &[&bytes]);
        let filtered = through(dialect, framing, &rules, &[&bytes]);
        assert_eq!(
            String::from_utf8_lossy(&filtered),
            String::from_utf8_lossy(&plain),
            "{dialect}"
        );
    }
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
fn what_repeats_a_hidden_side_does_not_tell_it() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let object = |event: &str, chunk: &str| {
        format!(
            "event: data\ndata: {{\"event\":\"{event}\",\"run_id\":\"r\",\"parent_ids\":[\"p\"],\"data\":{{\"chunk\":{chunk}}}}}\n\n"
        )
    };
    let repeats: String = ["<think>", "SECRET", "</think>", "Rain"]
        .into_iter()
        .flat_map(|piece| {
            let message = format!("{{\"content\":\"{piece}\",\"type\":\"AIMessageChunk\"}}");
            [
                object("on_chat_model_stream", &message),
                object("on_parser_stream", &format!("\"{piece}\"")),
                object("on_chain_stream", &message),
            ]
        })
        .chain(["event: end\n\n".to_owned()])
        .collect();
    let dify = |word: &str, members: &str| {
        format!("data: {{\"event\":\"{word}\",\"task_id\":\"k\",\"id\":\"i\",{members}}}\n\n")
    };
    let artifact = |append: bool, text: &str| {
        format!(
            "data: {{\"artifactUpdate\":{{\"taskId\":\"k\",\"append\":{append},\"artifact\":{{\"artifactId\":\"a\",\"parts\":[{{\"text\":\"{text}\"}}]}}}}}}\n\n"
        )
    };
    let table = [
        (Dialect::LangServe, repeats),
        (
            Dialect::A2a,
            [
                artifact(false, "<think>Hm"),
                artifact(true, " SECRET"),
                artifact(true, "</think>Rain"),
            ]
            .concat(),
        ),
        (
            Dialect::AgUi,
            "data: {\"type\":\"MESSAGES_SNAPSHOT\",\"messages\":[{\"role\":\"assistant\",\"content\":\"Rain\",\"toolCalls\":[{\"function\":{\"name\":\"SECRET\"}}]},{\"role\":\"tool\",\"content\":\"SECRET\"},{\"role\":\"reasoning\",\"content\":\"SECRET\"}]}\n\n".to_owned(),
        ),
        (
            Dialect::AgUi,
            "data: {\"type\":\"STATE_SNAPSHOT\",\"snapshot\":{\"draft\":\"<think>SECRET</think>Rain\",\"notes\":[\"<think>SECRET</think>\"]}}\n\n".to_owned(),
        ),
        (
            Dialect::Adk,
            "data: {\"author\":\"a\",\"content\":{\"parts\":[{\"text\":\"<think>SECRET</think>Rain\"}]},\"actions\":{\"stateDelta\":{\"draft\":\"<think>SECRET</think>Rain\",\"all\":{\"drafts\":[\"<think>SECRET</think>\"]}}}}\n\n".to_owned(),
        ),
        (
            Dialect::OpenAiResponses,
            "data: {\"type\":\"response.reasoning.delta\",\"item_id\":\"a\",\"output_index\":0,\"delta\":\"SECRET\"}\n\ndata: {\"type\":\"response.reasoning.done\",\"item_id\":\"a\",\"output_index\":0,\"text\":\"SECRET\"}\n\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":1,\"content_index\":0,\"delta\":\"Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::LangGraph,
            "event: values\ndata: {\"summary\":\"<think>SECRET</think>Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::LangGraph,
            "event: updates\ndata: {\"tools\":{\"messages\":[{\"type\":\"tool\",\"content\":\"SECRET\"},{\"type\":\"ai\",\"content\":\"<think>SECRET</think>Rain\"}]}}\n\n".to_owned(),
        ),
        (
            Dialect::Strands,
            r#"data: {"data":"<think>SECRET","delta":{"text":"<think>SECRET"}}

data: {"data":" SECRET</think>Rain","delta":{"text":" SECRET</think>Rain"}}

data: {"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"SECRET"}}},{"reasoningContent":{"redactedContent":"SECRET"}},{"toolUse":{"input":"SECRET"}},{"text":"Rain"}]}}

"#.to_owned(),
        ),
        (
            Dialect::LibreChat,
            r#"data: {"sync":true,"resumeState":{"aggregatedContent":[{"type":"think","think":"SECRET"},{"type":"tool_call","tool_call":{"args":"SECRET"}},{"type":"text","text":"Rain"}]}}

data: {"final":true,"responseMessage":{"content":[{"type":"think","think":"SECRET"},{"type":"tool_call","tool_call":{"args":"SECRET"}},{"type":"text","text":"Rain"}]}}

"#.to_owned(),
        ),
        (
            Dialect::LangGraph,
            r#"event: updates
data: {"agent":{"messages":[{"type":"ai","content":"Rain","additional_kwargs":{"reasoning":{"summary":[{"type":"summary_text","text":"SECRET"}]}}},{"type":"ai","content":[{"type":"reasoning","summary":[{"type":"summary_text","text":"SECRET"}]},{"type":"reasoning_content","reasoning_content":{"text":"SECRET"}},{"type":"non_standard","value":{"type":"redacted_thinking","data":"SECRET"}}]}],"last":{"type":"reasoning_content","reasoning_content":{"text":"SECRET"}}}}

"#.to_owned(),
        ),
        (
            Dialect::Mastra,
            r#"data: {"type":"finish","runId":"r","from":"AGENT","payload":{"output":{"steps":[{"text":"Rain","reasoningText":"SECRET","reasoning":[{"type":"reasoning","payload":{"text":"SECRET"}}],"toolResults":[{"payload":{"result":"SECRET"}}],"content":[{"type":"reasoning","text":"SECRET"},{"type":"tool-call","input":{"a":"SECRET"}}]}]},"messages":{"nonUser":[{"role":"assistant","parts":[{"type":"reasoning","details":[{"type":"text","text":"SECRET"}]},{"type":"tool-invocation","toolInvocation":{"args":"SECRET"}}]}]}}}

"#.to_owned(),
        ),
        (
            Dialect::Convention,
            "data: {\"type\":\"final_answer\",\"data\":\"<think>SECRET</think>Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::OpenAiResponses,
            "event: response.web_search_call.searching\ndata: {\"type\":\"response.web_search_call.searching\",\"item_id\":\"SECRET\",\"output_index\":0}\n\nevent: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"output_index\":1,\"text\":\"Rain\"}\n\n".to_owned(),
        ),
        (
            Dialect::Gemini,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Rain\"},{\"toolCall\":{\"toolType\":\"SECRET\"}}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"candidatesTokenCount\":1}}\n\n".to_owned(),
        ),
        (
            Dialect::Tgi,
            "data:{\"index\":1,\"token\":{\"id\":1,\"text\":\"<think>\",\"logprob\":-1,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":2,\"token\":{\"id\":2,\"text\":\"SECRET\",\"logprob\":-1,\"special\":false},\"generated_text\":null,\"details\":null}\n\ndata:{\"index\":3,\"token\":{\"id\":3,\"text\":\"</s>\",\"logprob\":-1,\"special\":true},\"generated_text\":\"<think>SECRET</think>Rain\",\"details\":null}\n\n".to_owned(),
        ),
        (
            Dialect::Dify,
            [
                dify("message_replace", "\"answer\":\"<think>SECRET</think>Rain\""),
                dify("agent_thought", "\"thought\":\"SECRET\",\"tool\":\"\""),
                dify("agent_thought", "\"thought\":\"SECRET\",\"tool\":\"SECRET\",\"observation\":\"SECRET\""),
                dify("agent_log", "\"data\":{\"label\":\"ROUND 1\",\"data\":{\"output\":\"SECRET\"}}"),
                dify("node_finished", "\"data\":{\"node_type\":\"agent\",\"outputs\":{\"text\":\"Rain\",\"reasoning_content\":\"SECRET\"},\"execution_metadata\":{\"agent_log\":[{\"label\":\"SECRET\"}]}}"),
                dify("node_finished", "\"data\":{\"node_type\":\"tool\",\"outputs\":{\"text\":\"SECRET\"}}"),
                dify("workflow_finished", "\"data\":{\"status\":\"succeeded\",\"outputs\":{\"reply\":\"<think>SECRET</think>Rain\"}}"),
            ]
            .concat(),
        ),
        (
            Dialect::Cohere,
            "data: {\"type\":\"content-delta\",\"index\":1,\"delta\":{\"message\":{\"content\":{\"text\":\"Rain\"}}}}\n\ndata: {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":{\"citations\":{\"start\":0,\"end\":4,\"text\":\"Rain\",\"sources\":[{\"type\":\"tool\",\"id\":\"t:0\",\"tool_output\":{\"content\":\"SECRET\"}}]}}}}\n\ndata: {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":\"SECRET\"}}}\n\n".to_owned(),
        ),
    ];
    for (dialect, stream) in table {
        let out = through(dialect, Framing::Sse, &rules, &[stream.as_bytes()]);
        let shown = String::from_utf8_lossy(&out);
        assert!(!shown.contains("SECRET"), "{dialect}\n{shown}");
        assert!(shown.contains("Rain"), "{dialect}\n{shown}");
    }
}

#[test]
fn the_thoughts_of_agents_that_are_tools_are_hidden_though_their_texts_stay() {
    let rules = rules(Hide::Drop, Hide::Keep);
    let output = |kind: &str, text: &str| {
        format!(
            r#"data: {{"type":"tool-output","runId":"r","from":"USER","payload":{{"toolCallId":"c","output":{{"payload":{{"text":"{text}","id":"t"}},"type":"{kind}"}}}}}}"#
        ) + "\n\n"
    };
    let stream = output("reasoning-delta", "SECRET") + &output("text-delta", "Rain");
    let out = through(Dialect::Mastra, Framing::Sse, &rules, &[stream.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    assert!(!shown.contains("SECRET"), "{shown}");
    assert!(shown.ends_with(&output("text-delta", "Rain")), "{shown}");
}

#[test]
fn events_that_close_a_part_stay_whatever_they_repeat() {
    let rules = rules(Hide::Drop, Hide::Drop);
    let text = "<think>SECRET</think>Rain";
    let responses = |kind: &str, more: &str| {
        format!(
            "data: {{\"type\":\"response.{kind}\",\"output_index\":0,\"content_index\":0,{more}}}\n\n"
        )
    };
    let stream = [
        responses("output_text.delta", &format!("\"delta\":\"{text}\"")),
        responses("output_text.done", &format!("\"text\":\"{text}\"")),
        responses(
            "content_part.done",
            &format!("\"part\":{{\"type\":\"output_text\",\"text\":\"{text}\"}}"),
        ),
        responses(
            "output_item.done",
            &format!(
                "\"item\":{{\"type\":\"message\",\"content\":[{{\"type\":\"output_text\",\"text\":\"{text}\"}}]}}"
            ),
        ),
    ]
    .concat();
    let out = through(
        Dialect::OpenAiResponses,
        Framing::Sse,
        &rules,
        &[stream.as_bytes()],
    );
    assert_eq!(
        String::from_utf8_lossy(&out),
        stream.replace("<think>SECRET</think>", "")
    );
    let end = "data: {\"type\":\"TEXT_MESSAGE_END\",\"messageId\":\"m\",\"rawEvent\":{\"content\":\"<think>SE\"}}\n\n";
    let out = through(Dialect::AgUi, Framing::Sse, &rules, &[end.as_bytes()]);
    let shown = String::from_utf8_lossy(&out);
    assert!(
        shown.contains("TEXT_MESSAGE_END") && !shown.contains("SE\""),
        "{shown}"
    );
}

#[test]
fn arguments_of_tools_that_stay_are_never_looked_into() {
    let rules = rules(Hide::Drop, Hide::Keep);
    let stream = "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"f\",\"output_index\":0,\"delta\":\"<think>x</think>\"}\n\n";
    let out = through(
        Dialect::OpenAiResponses,
        Framing::Sse,
        &rules,
        &[stream.as_bytes()],
    );
    assert_eq!(String::from_utf8_lossy(&out), stream);
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
