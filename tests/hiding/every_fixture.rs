//! What holds of every fixture of every dialect: its hidden sides stay hidden, its answer whole, and what is not to be
//! hidden untouched.
//!
//! The text of each fixture is replaced by a text with markers, cut at every place into two deltas, and into single
//! characters. The output is also searched for reasoning and calls from fields and events of their own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::support::{Fixture, fixtures};
use super::{Hide, Rules, read, rules, text, through};
use weir::dialect::Dialect;
use weir::event::{Class, Content, Event};
use weir::wire::Framing;

/// Two hidden spans, some text, and the beginning of a tag that never becomes a marker.
const MARKED: &str = "<think>SECRET</think>Rain < snow\\n<invoke id=\\\"S\\\">SECRET</invoke> 4 \\u00b0C <tool_call a=\\\"b";
const VISIBLE: &str = "Rain < snow\\n 4 \\u00b0C <tool_call a=\\\"b";

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
