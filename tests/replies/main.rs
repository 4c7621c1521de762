//! Checks translations: each fixture of each dialect to each target, cut after each event, is what the target's clients
//! accept, and says what the agent said.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test code: a broken step must stop the test"
)]

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod grammar;
mod losses;
mod mutated;
mod native;
mod random;
mod responses;
mod status_text;
mod unruly;
mod wholes;

use std::sync::Arc;

use serde_json::Value;
use support::{Fixture, fixtures};
use weir::dialect::{Choice, Dialect, Members};
use weir::encode::Encoder;
use weir::event::{Event, Terminal};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings, Sink, Verdict};
use weir::translate::{KINDS, Lost, Target, Translator};
use weir::wire::Framing;
use weir::wire::encoding::Coding;

/// Keeps what the client gets.
#[derive(Default)]
struct Client(Vec<u8>);

impl Sink for Client {
    fn arrived(&mut self, _: &[u8], _: &Event) {}

    fn leaves(&mut self, block: &[u8], _: &Event) {
        self.0.extend_from_slice(block);
    }
}

/// What a client got, what it was not told, and whether Weir had to tell it that its stream broke.
struct Got {
    bytes: Vec<u8>,
    lost: Lost,
    broke: bool,
}

/// Translates a stream as a live one would be: with the error event of the target if it breaks.
fn translated(fixture: &Fixture, bytes: &[u8], target: Target, choice: Choice) -> Got {
    ended(fixture, bytes, target, choice, InputEnd::Clean)
}

fn ended(fixture: &Fixture, bytes: &[u8], target: Target, choice: Choice, how: InputEnd) -> Got {
    fed(fixture, &[bytes], target, choice, how)
}

/// Translates a stream that arrives in these pieces.
fn fed(fixture: &Fixture, pieces: &[&[u8]], target: Target, choice: Choice, how: InputEnd) -> Got {
    let pipeline = Pipeline::new(&Settings {
        framing: fixture.framing,
        coding: Coding::Identity,
        choice,
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    });
    let mut pipeline = pipeline.translated(Translator::new(target, 1_760_000_000));
    let mut client = Client::default();
    for bytes in pieces {
        pipeline.feed(bytes, &mut client).unwrap();
    }
    let verdict = pipeline.finish(how, &mut client);
    let translator = pipeline.translator().unwrap();
    let (told, lost) = (translator.has_ended(), translator.lost());
    let failed = matches!(pipeline.terminal(), Some(Terminal::Error));
    let is_cut = how == InputEnd::Broken && pipeline.terminal().is_none();
    assert!(!(is_cut && told), "a broken body is no good end");
    let broke = !told && (verdict == Verdict::Truncated || failed || is_cut);
    if broke {
        let encoder = Encoder::translated(target.dialect(), target.framing());
        let seen = pipeline.error_context();
        let last = encoder.failure(&seen, "truncated", "The agent stopped too early.");
        client.0.extend_from_slice(last.unwrap().as_bytes());
    } else {
        assert!(told, "{:?} {target:?}: no end", fixture.path);
    }
    Got {
        bytes: client.0,
        lost,
        broke,
    }
}

fn all() -> impl Iterator<Item = Fixture> {
    Dialect::ALL
        .into_iter()
        .filter(|dialect| !dialect.is_opaque())
        .flat_map(fixtures)
}

/// Returns the ends of the events of a stream.
fn cuts(fixture: &Fixture) -> Vec<usize> {
    let is_sse = fixture.framing == Framing::Sse;
    let separator: &[u8] = if is_sse { b"\n\n" } else { b"\n" };
    let bytes = &fixture.bytes;
    let ends = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(separator));
    ends.map(|at| at + separator.len()).collect()
}

#[test]
fn every_cut_of_every_stream_is_what_clients_accept() {
    let mut problems = Vec::new();
    for fixture in all() {
        let mut ends = cuts(&fixture);
        ends.push(fixture.bytes.len());
        // A long stream repeats itself.
        let (step, last) = (ends.len().div_ceil(24), ends.len() - 1);
        for (number, end) in ends.into_iter().enumerate() {
            if number % step != 0 && number != last {
                continue;
            }
            for target in Target::ALL {
                let choice = Choice::Fixed(fixture.dialect);
                let how = if number % 2 == 0 {
                    InputEnd::Broken
                } else {
                    InputEnd::Clean
                };
                let got = ended(&fixture, &fixture.bytes[..end], target, choice, how);
                if let Err(problem) = grammar::check(target, &got.bytes, got.broke) {
                    problems.push(format!("{:?} {end} {target:?}: {problem}", fixture.path));
                }
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems[..problems.len().min(40)].join("\n")
    );
}

/// Returns the text that a client shows: of the answer, and of the reasoning.
fn shown(target: Target, bytes: &[u8]) -> [String; 2] {
    let mut shown = [String::new(), String::new()];
    for event in grammar::events(target, bytes).unwrap() {
        let event = event.data;
        let of = |path: &str| {
            event
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let kind = of("/type");
        match target {
            Target::Events | Target::Ndjson => match kind {
                "token" => shown[0] += of("/text"),
                "reasoning" => shown[1] += of("/text"),
                _ => {}
            },
            Target::AiSdk => match kind {
                "text-delta" => shown[0] += of("/delta"),
                "reasoning-delta" => shown[1] += of("/delta"),
                _ => {}
            },
            Target::AgUi => match kind {
                "TEXT_MESSAGE_CONTENT" => shown[0] += of("/delta"),
                "REASONING_MESSAGE_CONTENT" => shown[1] += of("/delta"),
                _ => {}
            },
            Target::Anthropic => {
                shown[0] += of("/delta/text");
                shown[1] += of("/delta/thinking");
            }
            Target::OpenAiChat => {
                shown[0] += of("/choices/0/delta/content");
                shown[1] += of("/choices/0/delta/reasoning_content");
            }
        }
    }
    shown
}

#[test]
fn every_target_shows_the_same_text() {
    let mut problems = Vec::new();
    for fixture in all() {
        let of = |target| {
            let got = translated(
                &fixture,
                &fixture.bytes,
                target,
                Choice::Fixed(fixture.dialect),
            );
            shown(target, &got.bytes)
        };
        let native = of(Target::Events);
        for target in Target::ALL {
            let mut text = of(target);
            let mut expected = native.clone();
            if target == Target::OpenAiChat {
                // Messages are joined by an empty line.
                text[0] = text[0].replace("\n\n", "");
                expected[0] = expected[0].replace("\n\n", "");
            }
            if text != expected {
                problems.push(format!(
                    "{:?} {target:?}: {text:?} != {expected:?}",
                    fixture.path
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// One conversation in each form, as the clients of each were seen to accept it.
#[test]
fn a_conversation_is_written_as_expected() {
    let folder = std::path::Path::new("tests/replies/data");
    for name in ["conversation", "broken", "failed_tool", "interrupted"] {
        let fixture = Fixture {
            path: folder.join(format!("{name}.source.sse")),
            dialect: Dialect::Convention,
            framing: Framing::Sse,
            bytes: std::fs::read(folder.join(format!("{name}.source.sse"))).unwrap(),
        };
        for target in Target::ALL {
            let got = translated(&fixture, &fixture.bytes, target, Choice::Auto);
            let extension = if target == Target::Ndjson {
                "ndjson"
            } else {
                "sse"
            };
            let path = folder.join(format!("{name}.{}.{extension}", target.as_str()));
            if std::env::var_os("WEIR_BLESS").is_some() {
                std::fs::write(&path, &got.bytes).unwrap();
            }
            let expected = std::fs::read(&path).unwrap();
            let (got, expected) = (
                String::from_utf8_lossy(&got.bytes).into_owned(),
                String::from_utf8_lossy(&expected).into_owned(),
            );
            assert_eq!(got, expected, "{}", path.display());
        }
    }
}

/// Half a conversation: a text is open.
const HALF: &[u8] = b"data: {\"type\":\"start\",\"seq\":1,\"run\":\"r\"}\n\n\
    data: {\"type\":\"state\",\"seq\":2,\"op\":\"snapshot\",\"value\":{}}\n\n\
    data: {\"type\":\"token\",\"seq\":3,\"msg\":\"a\",\"text\":\"Rain\"}\n\n\
    data: {\"type\":\"tool_call\",\"seq\":4,\"id\":\"t\",\"name\":\"tides\",\"phase\":\"start\"}\n\n\
    data: {\"type\":\"token\",\"seq\":5,\"msg\":\"b\",\"text\":\"Snow\"}\n\n";

fn half(target: Target) -> (Pipeline, Client) {
    let pipeline = Pipeline::new(&Settings {
        framing: Framing::Sse,
        coding: Coding::Identity,
        choice: Choice::Auto,
        hint: None,
        members: Members::default(),
        max_event_bytes: 1 << 20,
        hide: Arc::default(),
    });
    let mut pipeline = pipeline.translated(Translator::new(target, 0));
    let mut client = Client::default();
    pipeline.feed(HALF, &mut client).unwrap();
    (pipeline, client)
}

#[test]
fn a_run_that_was_stopped_is_told_where_there_are_words_for_it() {
    for target in Target::ALL {
        let (mut pipeline, mut client) = half(target);
        pipeline.stop_translation(&mut client);
        let told = pipeline.translator().unwrap().has_ended();
        assert_eq!(told, target == Target::AiSdk, "{target:?}");
        if told {
            let text = String::from_utf8(client.0).unwrap();
            let end = "{\"type\":\"text-end\",\"id\":\"p2\"}\n\n\
                data: {\"type\":\"abort\",\"reason\":\"stopped\"}\n\ndata: [DONE]\n\n";
            assert!(text.ends_with(end), "{text}");
        }
    }
}

#[test]
fn what_a_target_cannot_say_is_counted() {
    let lost = |target| {
        let (pipeline, _) = half(target);
        let lost = pipeline.translator().unwrap().lost();
        KINDS
            .into_iter()
            .zip(lost.0)
            .filter(|(_, count)| *count > 0)
            .collect::<Vec<_>>()
    };
    assert_eq!(lost(Target::OpenAiChat), [("state", 1), ("tool", 1)]);
    assert_eq!(lost(Target::Anthropic), [("state", 1), ("tool", 1)]);
    for target in [Target::AgUi, Target::AiSdk, Target::Events, Target::Ndjson] {
        assert_eq!(lost(target), [], "{target:?}");
    }
}

/// What agents of several dialects work on are steps for AG-UI's clients, and native events say the same.
#[test]
fn named_parts_of_the_work_are_steps() {
    let data = |json: &str| format!("data: {json}\n\n");
    let task = |rest: &str| format!("event: tasks\ndata: {{\"id\":\"1\",{rest}}}\n\n");
    let [started, finished] = ["STARTED a", "FINISHED a"];
    for (dialect, stream, expected) in [
        (
            Dialect::LangGraph,
            task("\"name\":\"a\",\"input\":{},\"triggers\":[]")
                + &task("\"name\":\"a\",\"error\":null,\"result\":{},\"interrupts\":[]"),
            vec![started, finished],
        ),
        (
            Dialect::Adk,
            data(r#"{"author":"a","content":{"parts":[{"text":"x"}]},"partial":true}"#)
                + &data(r#"{"author":"b","content":{"parts":[{"text":"y"}]},"partial":true}"#),
            vec![started, finished, "STARTED b"],
        ),
        (
            Dialect::Mastra,
            data(r#"{"type":"workflow-step-start","payload":{"id":"a"}}"#)
                + &data(r#"{"type":"workflow-step-result","payload":{"id":"a"}}"#),
            vec![started, finished],
        ),
        (
            Dialect::Dify,
            data(r#"{"event":"node_started","data":{"id":"e","title":"a"}}"#)
                + &data(r#"{"event":"node_finished","data":{"id":"e","title":"a"}}"#),
            vec![started, finished],
        ),
        (
            Dialect::AgUi,
            data(r#"{"type":"RUN_STARTED","threadId":"t","runId":"r"}"#)
                + &data(r#"{"type":"STEP_STARTED","stepName":"a"}"#)
                + &data(r#"{"type":"STEP_STARTED","stepName":"b"}"#)
                + &data(r#"{"type":"STEP_FINISHED","stepName":"b"}"#)
                + &data(r#"{"type":"STEP_FINISHED","stepName":"a"}"#),
            vec![started, finished, "STARTED b", "FINISHED b"],
        ),
        (
            Dialect::Convention,
            data(r#"{"type":"node_start","node":"a"}"#)
                + &data(r#"{"type":"node_end","node":"a"}"#),
            vec![started, finished],
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(ToOwned::to_owned).collect();
        let direct = Fixture {
            path: "inline".into(),
            dialect,
            framing: Framing::Sse,
            bytes: stream.into_bytes(),
        };
        let detour = Fixture {
            path: "inline".into(),
            dialect: Dialect::Convention,
            framing: Framing::Sse,
            bytes: translated(
                &direct,
                &direct.bytes,
                Target::Events,
                Choice::Fixed(dialect),
            )
            .bytes,
        };
        for fixture in [&direct, &detour] {
            let choice = Choice::Fixed(fixture.dialect);
            let got = translated(fixture, &fixture.bytes, Target::AgUi, choice);
            let steps: Vec<String> = grammar::events(Target::AgUi, &got.bytes)
                .unwrap()
                .iter()
                .filter_map(|event| {
                    let what = event.data["type"].as_str()?.strip_prefix("STEP_")?;
                    Some(format!("{what} {}", event.data["stepName"].as_str()?))
                })
                .collect();
            assert!(
                steps.starts_with(&expected),
                "{dialect} as {}: {steps:?}",
                fixture.dialect
            );
        }
    }
}

fn native(dialect: Dialect, framing: Framing, bytes: &[u8]) -> String {
    let fixture = Fixture {
        path: "inline".into(),
        dialect,
        framing,
        bytes: bytes.to_vec(),
    };
    let got = translated(&fixture, bytes, Target::Events, Choice::Fixed(dialect));
    String::from_utf8(got.bytes).unwrap()
}

#[test]
fn plain_text_is_escaped_in_every_piece() {
    let stream = b"data: Hello\n\ndata: say \"hi\" C:\\x\n\ndata: a\tb\n\ndata: [DONE]\n\n";
    let out = native(Dialect::Convention, Framing::Sse, stream);
    assert!(
        grammar::check(Target::Events, out.as_bytes(), false).is_ok(),
        "{out}"
    );
    assert_eq!(
        shown(Target::Events, out.as_bytes())[0],
        "Hellosay \"hi\" C:\\xa\tb"
    );
}

/// What each agent says, as somebody has read it in the fixtures: nothing is lost, and what came in pieces is not told
/// again with the whole.
#[test]
fn each_agent_is_read_word_for_word() {
    let mut lines = Vec::new();
    for fixture in all() {
        let choice = Choice::Fixed(fixture.dialect);
        let got = translated(&fixture, &fixture.bytes, Target::Events, choice);
        let [text, reasoning] = shown(Target::Events, &got.bytes);
        let path = fixture.path.strip_prefix("tests/data").unwrap().display();
        lines.push(format!("{path}\t{text:?}\t{reasoning:?}\n"));
    }
    let path = "tests/replies/data/texts.tsv";
    let texts = lines.concat();
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(path, &texts).unwrap();
    }
    for (got, expected) in texts
        .lines()
        .zip(std::fs::read_to_string(path).unwrap().lines())
    {
        assert_eq!(got, expected);
    }
}
