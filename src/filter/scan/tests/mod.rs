//! Tests of the scanner. Here: what holds of all markers, and of the text between them.

mod models;

use super::*;
use crate::filter::markers::{Family, Form, Pair, Place};

fn marks(families: &[Family], reasoning: bool, tools: bool) -> Marks {
    Marks::new(families, families.len() > 3, reasoning, tools)
}

fn all() -> Marks {
    marks(&Family::ALL, true, true)
}

/// Returns the visible part of a text that is fed in pieces of `cut` characters.
fn visible(marks: &Marks, text: &str, cut: usize) -> String {
    let mut scanner = Scanner::new(marks);
    let mut out = Visible::of(b"");
    let characters: Vec<char> = text.chars().collect();
    for piece in characters.chunks(cut) {
        let piece: String = piece.iter().collect();
        let body = serde_json::to_string(&piece).unwrap();
        scanner.feed(marks, &body.as_bytes()[1..body.len() - 1], &mut out);
        assert!(
            scanner.held.len() <= MAX_HELD * 6,
            "held back: {}",
            scanner.held.len()
        );
    }
    scanner.finish(&mut out);
    let out = out.changed().unwrap_or_default();
    let body = [b"\"", &*out, b"\""].concat();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn what_was_shown_before_it_was_decided_is_not_shown_again() {
    let marks = all();
    for (text, seen) in [
        ("Rain < snow <thi", "Rain < snow <thi"),
        ("<thing>x", "<thing>x"),
        ("Action is no label", "Action is no label"),
        ("<think>Hm</think>Rain", "<thinkRain"),
    ] {
        let mut scanner = Scanner::new(&marks);
        let mut out = Visible::of(b"");
        for byte in text.as_bytes().chunks(1) {
            scanner.feed(&marks, byte, &mut out);
            scanner.show_held(&mut out);
        }
        scanner.finish(&mut out);
        let out = out.changed().unwrap_or_default();
        assert_eq!(String::from_utf8(out).unwrap(), seen);
    }
}

#[test]
fn what_is_marked_is_hidden_however_it_is_cut() {
    let table = [
        ("<think>Hm, rain.</think>Rain.", "Rain."),
        ("<think>\nHm\n</think>\n\nRain < snow.", "\n\nRain < snow."),
        ("< Think >Hm</ think >Rain", "Rain"),
        ("<thinking>a</thinking>b<b>c</b>", "b<b>c</b>"),
        (
            "Rain.\n<tool_call>{\"name\":\"wx\"}</tool_call>\nDone.",
            "Rain.\n\nDone.",
        ),
        (
            "Sure.<tool_call>\n<function=wx>\n</function>\n</tool_call>",
            "Sure.",
        ),
        ("a <think> b", "a <think> b"),
        ("a\n<think> b", "a\n"),
        (
            "```\n<think>x</think>\n```\nb",
            "```\n<think>x</think>\n```\nb",
        ),
        ("Hm.\n</think>\nRain", "Hm.\n\nRain"),
        ("It ends with </think>.", "It ends with </think>."),
        ("[THINK]a[/THINK]b[TOOL_CALLS]wx[ARGS]{}", "b"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<|channel>thought\na<channel|>b", "b"),
        ("Here is my thought process: a Here is my response: b", " b"),
        (
            "Rain. Here is my thought process: none",
            "Rain. Here is my thought process: none",
        ),
        (
            "<\u{ff5c}tool\u{2581}calls\u{2581}begin\u{ff5c}>x<\u{ff5c}tool\u{2581}calls\u{2581}end\u{ff5c}>b",
            "b",
        ),
        ("<start_function_call>x<end_function_call>b", "b"),
        ("<|tool_call_start|>[x()]<|tool_call_end|>b", "b"),
        ("<think>never closed", ""),
        ("<think>a</think>b\n<think>c</think>d", "b\nd"),
        ("<thin", "<thin"),
        ("<<", "<<"),
        (
            "Sure.\n<tool>a</tool><tool_result>b</tool_result>Done",
            "Sure.\nDone",
        ),
        ("b\n<think>c</think> <think>d</think>e", "b\n e"),
        (
            "```x = 1```\n\n<tool_call>a</tool_call>b",
            "```x = 1```\n\nb",
        ),
        (
            "````\n```\n<think>x</think>\n````\n<think>y</think>z",
            "````\n```\n<think>x</think>\n````\nz",
        ),
        ("a<", "a<"),
        ("\u{1f327}<think>\u{1f327}", "\u{1f327}<think>\u{1f327}"),
    ];
    let marks = all();
    for (text, expected) in table {
        for cut in 1..=text.chars().count() {
            assert_eq!(
                visible(&marks, text, cut),
                expected,
                "{text} in pieces of {cut}"
            );
        }
    }
}

/// Asserts what is visible of a text, however it is cut.
fn assert_visible(marks: &Marks, text: &str, expected: &str) {
    for cut in 1..=text.chars().count() {
        let shown = visible(marks, text, cut);
        assert_eq!(shown, expected, "{text} in pieces of {cut}");
    }
}

/// Asserts that a text stays as it is.
fn assert_stays(marks: &Marks, text: &str) {
    for cut in [1, 2, 5, text.len()] {
        assert_eq!(visible(marks, text, cut), text, "in pieces of {cut}");
    }
}

#[test]
fn every_pair_of_every_family_hides_its_span_and_nothing_else() {
    let marks = all();
    for pair in Family::ALL.into_iter().flat_map(Family::pairs) {
        let opens = match pair.form {
            Form::Exact => vec![pair.open.clone()],
            Form::Attributes => vec![format!("{} name=\"wx\">", pair.open)],
            Form::Tag => match pair.open.strip_suffix('>') {
                Some(name) => vec![pair.open.clone(), format!("{name} name=\"wx\" id='1'>")],
                None => vec![pair.open.clone()],
            },
            Form::Value => vec![format!("{}wx>", pair.open)],
        };
        let is_early = pair.place == Place::TextStart;
        let (before, within) = if is_early {
            ("", "\n")
        } else {
            ("Rain.\n", "Rain ")
        };
        for open in opens {
            for close in &pair.close {
                let text = format!("{before}{open}SECRET{close}\nSnow");
                assert_visible(&marks, &text, &format!("{before}\nSnow"));
            }
            assert_visible(&marks, &format!("{before}{open}SECRET"), before);
            let fenced = format!("Rain:\n```xml\n{open}x\n```\nSnow");
            assert_stays(&marks, &fenced);
            assert_stays(&marks, &fenced.replace('`', "~"));
            let text = format!("{within}{open}SECRET");
            match pair.place {
                Place::Anywhere | Place::TextStart => assert_visible(&marks, &text, within),
                Place::LineStart => assert_stays(&marks, &text),
            }
            // Without its last character the marker is none.
            let mut cut = open.clone();
            cut.pop();
            let text = format!("{before}{cut}? Snow");
            if !text.contains("<tool_call>") && !text.contains("<tool_calls>") {
                assert_stays(&marks, &text);
            }
        }
    }
}

#[test]
fn a_tag_longer_than_any_is_prose() {
    let long = format!("Rain.\n<think signature=\"{}\">Snow", "x".repeat(300));
    assert_stays(&all(), &long);
}

#[test]
fn what_is_kept_stays_as_it_is() {
    let text = "<think>a</think>b<tool_call>c</tool_call>d";
    assert_eq!(
        visible(&marks(&Family::ALL, true, false), text, 3),
        "b<tool_call>c</tool_call>d"
    );
    assert_eq!(
        visible(&marks(&Family::ALL, false, true), text, 3),
        "<think>a</think>bd"
    );
    let react = "Thought: t\nAction: a\nFinal Answer: b";
    assert_eq!(
        visible(&marks(&Family::ALL, false, true), react, 2),
        "Thought: t\nb"
    );
    let own = Marks {
        pairs: vec![Pair {
            open: "((".to_owned(),
            close: vec!["))".to_owned()],
            kind: Kind::Reasoning,
            place: Place::Anywhere,
            form: Form::Exact,
        }],
        reasoning: true,
        ..Marks::default()
    };
    assert_eq!(visible(&own, "a((b))c(d)", 1), "ac(d)");
}

#[test]
fn a_text_that_starts_hidden_is_shown_from_the_closing_mark_on() {
    let marks = Marks {
        starts_hidden: true,
        ..all()
    };
    assert_eq!(visible(&marks, "Hm, rain.</think>Rain.", 1), "Rain.");
    assert_eq!(visible(&marks, "Hm, rain.", 1), "");
}

#[test]
fn every_byte_of_visible_text_leaves_as_it_was_written() {
    let marks = all();
    let body = br#"\ud83d\u00e9\/\"\\ \u003cthink\u003ehidden\u003c/think\u003e tail\u0041"#;
    for cut in 0..body.len() {
        // Each piece is the body of a complete string, so it is never cut within an escape.
        let is_whole = serde_json::from_slice::<&serde_json::value::RawValue>(
            &[b"\"", &body[..cut], b"\""].concat(),
        )
        .is_ok();
        if !is_whole {
            continue;
        }
        let mut scanner = Scanner::new(&marks);
        let mut out = Visible::of(b"");
        scanner.feed(&marks, &body[..cut], &mut out);
        scanner.feed(&marks, &body[cut..], &mut out);
        scanner.finish(&mut out);
        let expected =
            br#"\ud83d\u00e9\/\"\\ \u003cthink\u003ehidden\u003c/think\u003e tail\u0041"#;
        // The tag is not at the start of a line, so it is text.
        assert_eq!(out.changed().unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn any_number_of_backticks_is_text() {
    let ticks = "`".repeat(300);
    assert_eq!(visible(&all(), &ticks, 1), ticks);
}

#[test]
fn the_cost_of_a_character_does_not_grow_with_the_text() {
    let marks = all();
    let mut scanner = Scanner::new(&marks);
    for _ in 0..2000 {
        scanner.feed(
            &marks,
            "<|channel|<thin<|<<".repeat(20).as_bytes(),
            &mut Visible::of(b""),
        );
        assert!(scanner.held.len() <= MAX_HELD);
    }
}
