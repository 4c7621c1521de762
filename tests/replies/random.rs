//! Random conversations in native events, whole, cut off, and out of order, to each target.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use weir::dialect::{Choice, Dialect};
use weir::stream::pipeline::InputEnd;
use weir::translate::Target;
use weir::wire::Framing;

use crate::native::{Call, End, Message, Run, Stream};
use crate::support::Fixture;
use crate::{Got, all, fed, grammar, shown, translated};

const NATIVE: Choice = Choice::Fixed(Dialect::Convention);
/// Characters that are written in different ways in JSON, or matter to a framing.
const CHARACTERS: [char; 16] = [
    'a', 'Z', ' ', ':', '"', '\\', '/', '\n', '\r', '\t', '\0', 'ä', '€', '\u{2028}', '😀', '👩',
];

/// Returns the word of a target for the reason of a run.
fn reason(target: Target, reason: &'static str, has_calls: bool) -> &'static str {
    match (target, reason) {
        (Target::AgUi, _) => "success",
        (Target::AiSdk, "content_filter") => "content-filter",
        (Target::AiSdk, "tool_calls") => "tool-calls",
        (Target::AiSdk | Target::Events | Target::Ndjson, _)
        | (Target::OpenAiChat, "content_filter" | "length") => reason,
        (Target::Anthropic, "content_filter") => "refusal",
        (Target::Anthropic, "length") => "max_tokens",
        (Target::Anthropic, _) => "end_turn",
        (Target::OpenAiChat, _) if has_calls => "tool_calls",
        (Target::OpenAiChat, _) => "stop",
    }
}

/// What a client has got.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    calls: BTreeMap<String, Value>,
    counts: Option<[u64; 2]>,
    reason: Option<String>,
}

fn heard(target: Target, bytes: &[u8]) -> Heard {
    let (counts, reason) = match target {
        Target::Events | Target::Ndjson => (["/input", "/output"], "/reason"),
        Target::AiSdk => (
            [
                "/messageMetadata/usage/inputTokens",
                "/messageMetadata/usage/outputTokens",
            ],
            "/finishReason",
        ),
        Target::AgUi => (
            ["/usage/0/inputTokens", "/usage/0/outputTokens"],
            "/outcome/type",
        ),
        Target::Anthropic => (
            ["/usage/input_tokens", "/usage/output_tokens"],
            "/delta/stop_reason",
        ),
        Target::OpenAiChat => (
            ["/usage/prompt_tokens", "/usage/completion_tokens"],
            "/choices/0/finish_reason",
        ),
    };
    let mut heard = Heard::default();
    let mut pieces: BTreeMap<String, String> = BTreeMap::new();
    let mut ids = Vec::new();
    for event in grammar::events(target, bytes).unwrap() {
        let event = event.data;
        let of = |path: &str| event.pointer(path).and_then(Value::as_str);
        let count = |path: &str| event.pointer(path).and_then(Value::as_u64);
        if let (Some(input), Some(output)) = (count(counts[0]), count(counts[1])) {
            heard.counts = Some([input, output]);
        }
        if let Some(word) = of(reason) {
            heard.reason = Some(word.to_owned());
        }
        match (target, of("/type").unwrap_or_default()) {
            (Target::Events | Target::Ndjson, "tool_call") if event["phase"] == "ready" => {
                let id = of("/id").unwrap_or_default().to_owned();
                heard.calls.insert(id, event["args"].clone());
            }
            (Target::AiSdk, "tool-input-available") => {
                let id = of("/toolCallId").unwrap_or_default().to_owned();
                heard.calls.insert(id, event["input"].clone());
            }
            (Target::AgUi, "TOOL_CALL_ARGS") => {
                let id = of("/toolCallId").unwrap_or_default().to_owned();
                *pieces.entry(id).or_default() += of("/delta").unwrap_or_default();
            }
            (Target::OpenAiChat, _) => {
                let call = "/choices/0/delta/tool_calls/0";
                if let Some(id) = of(&format!("{call}/id")) {
                    ids.push(id.to_owned());
                }
                let index = count(&format!("{call}/index"));
                let id = index.and_then(|at| ids.get(usize::try_from(at).ok()?));
                if let Some(id) = id {
                    *pieces.entry(id.clone()).or_default() +=
                        of(&format!("{call}/function/arguments")).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    for (id, text) in pieces {
        heard.calls.insert(id, serde_json::from_str(&text).unwrap());
    }
    heard
}

fn text() -> impl Strategy<Value = String> {
    vec(select(CHARACTERS.to_vec()), 0..6).prop_map(|characters| characters.into_iter().collect())
}

fn call() -> impl Strategy<Value = Call> {
    let flags = (any::<bool>(), any::<bool>());
    (text(), 0_usize..9, flags).prop_map(|(text, piece, (is_told_ready, is_answered))| Call {
        args: json!({ "port": text, "days": [1, null, -2.5] }),
        piece,
        is_told_ready,
        is_answered,
    })
}

fn run() -> impl Strategy<Value = Run> {
    let message = (
        vec(text(), 0..4),
        vec(text(), 0..4),
        proptest::option::of(call()),
    );
    let message = message.prop_map(|(reasoning, text, call)| Message {
        reasoning,
        text,
        call,
    });
    let end = select(vec![
        End::Finish("stop"),
        End::Finish("length"),
        End::Finish("tool_calls"),
        End::Finish("content_filter"),
        End::Finish("other"),
        End::Error,
    ]);
    let usage = vec((0_u32..100_000, 0_u32..100_000), 0..3);
    let flags = (any::<bool>(), any::<bool>());
    (vec(message, 0..4), usage, flags, end).prop_map(
        |(messages, usage, (is_chatty, escapes), end)| Run {
            messages,
            usage,
            is_chatty,
            escapes,
            end,
        },
    )
}

fn fixture(bytes: Vec<u8>) -> Fixture {
    Fixture {
        path: "random".into(),
        dialect: Dialect::Convention,
        framing: Framing::Sse,
        bytes,
    }
}

/// Plays a stream in pieces of these lengths.
fn played(bytes: &[u8], lengths: &[usize], target: Target, how: InputEnd) -> Got {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    fed(&fixture(Vec::new()), &pieces, target, NATIVE, how)
}

/// Writes one event, whether it makes sense at its place or not.
fn odd_event(stream: &mut Stream, kind: usize, id: usize, text: &str) {
    let reasons = [
        "stop",
        "length",
        "tool_calls",
        "content_filter",
        "interrupt",
        "cancelled",
        "error",
        "other",
    ];
    match kind {
        0 | 1 => stream.piece("token", id, text),
        2 => stream.piece("reasoning", id, text),
        3 => stream.start(id),
        4 => stream.args(id, "{\"port\":"),
        5 => stream.args(id, text),
        6 => stream.ready(id, &json!({ "port": text })),
        7 => {
            let body = stream.body(text);
            let rest = format!(",\"id\":\"t{id}\",\"phase\":\"ready\",\"args_text\":\"{body}\"");
            stream.event("tool_call", &rest);
        }
        8 => stream.result(id, text.len().is_multiple_of(2)),
        9 => stream.event(
            "tool_result",
            &format!(",\"id\":\"t{id}\",\"ok\":true,\"partial\":true,\"content\":{{\"a\":1}}"),
        ),
        10 => stream.notes(),
        11 => stream.usage(7, 9),
        12 => stream.event("interrupt", ",\"id\":\"i\",\"reason\":\"approval\""),
        13 => stream.event("start", ",\"run\":\"other\""),
        14 => {
            let body = stream.body(text);
            let rest = format!(",\"msg\":\"m{id}\",\"role\":\"assistant\",\"text\":\"{body}\"");
            stream.event("message", &rest);
        }
        15 => {
            let rest = ",\"reason\":\"stop\",\"scope\":\"step\"";
            stream.event("finish", rest);
        }
        16 => stream.finish(reasons[(id + text.len()) % reasons.len()]),
        17 => {
            let phase = if text.len().is_multiple_of(2) {
                ",\"phase\":\"end\""
            } else {
                ",\"detail\":{\"error\":null}"
            };
            let rest = format!(",\"name\":\"node\",\"text\":\"n{id}\"{phase}");
            stream.event("status", &rest);
        }
        18 => stream.event("state", ",\"op\":\"patch\",\"value\":[\"no operation\"]"),
        _ => stream.error(),
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_run_arrives_as_it_was_told(run in run(), lengths in vec(1_usize..90, 1..6)) {
        let bytes = run.stream();
        for target in Target::ALL {
            let got = played(&bytes, &lengths, target, InputEnd::Clean);
            prop_assert!(!got.broke, "{target:?}");
            prop_assert_eq!(grammar::check(target, &got.bytes, false), Ok(()), "{:?}", target);
            prop_assert_eq!(shown(target, &got.bytes), run.text(target), "{:?}", target);
            let End::Finish(word) = run.end else {
                let text = String::from_utf8_lossy(&got.bytes);
                prop_assert!(text.contains("No ferry today."), "{target:?}: {text}");
                continue;
            };
            let calls = run.calls(target);
            let word = reason(target, word, !calls.is_empty());
            let expected = Heard {
                calls,
                counts: run.counts(target),
                reason: Some(word.to_owned()),
            };
            prop_assert_eq!(heard(target, &got.bytes), expected, "{:?}", target);
        }
    }

    #[test]
    fn a_run_that_is_cut_off_is_told_as_far_as_it_came(
        run in run(),
        lengths in vec(1_usize..90, 1..6),
        at in any::<proptest::sample::Index>(),
        is_broken in any::<bool>(),
    ) {
        let bytes = run.stream();
        // The first bytes show that it is SSE: a body that is cut before is text.
        let bytes = &bytes[..at.index(bytes.len()).max(6)];
        let how = if is_broken { InputEnd::Broken } else { InputEnd::Clean };
        for target in Target::ALL {
            let got = played(bytes, &lengths, target, how);
            prop_assert_eq!(grammar::check(target, &got.bytes, got.broke), Ok(()), "{:?}", target);
            let whole = run.text(target);
            for (shown, whole) in shown(target, &got.bytes).iter().zip(&whole) {
                prop_assert!(whole.starts_with(shown), "{target:?}: {shown:?}, {whole:?}");
            }
        }
    }

    #[test]
    fn whatever_the_order_clients_accept_it(
        events in vec((0_usize..20, 0_usize..3, text()), 1..40),
        lengths in vec(1_usize..90, 1..6),
        escapes in any::<bool>(),
    ) {
        let mut stream = Stream::new(escapes);
        for (kind, id, text) in &events {
            odd_event(&mut stream, *kind, *id, text);
        }
        for target in Target::ALL {
            let got = played(&stream.bytes, &lengths, target, InputEnd::Clean);
            prop_assert_eq!(grammar::check(target, &got.bytes, got.broke), Ok(()), "{:?}", target);
        }
    }
}

/// Native events have everything that an agent says: what is made of them is what is made of the agent's own stream.
#[test]
fn a_detour_over_native_events_loses_no_text() {
    let mut problems = Vec::new();
    for direct in all() {
        let choice = Choice::Fixed(direct.dialect);
        let native = translated(&direct, &direct.bytes, Target::Events, choice);
        let detour = fixture(native.bytes);
        for target in Target::ALL {
            let of = |fixture: &Fixture, choice| {
                let got = translated(fixture, &fixture.bytes, target, choice);
                let mut shown = shown(target, &got.bytes);
                if target == Target::OpenAiChat {
                    // Native events do not tell where a text without a name ends.
                    shown[0] = shown[0].replace("\n\n", "");
                }
                shown
            };
            let (expected, text) = (of(&direct, choice), of(&detour, NATIVE));
            if text != expected {
                let path = direct.path.display();
                problems.push(format!("{path} {target:?}: {text:?} != {expected:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
