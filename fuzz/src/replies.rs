//! Translations: whatever an agent sends, in whatever pieces it comes, each target's clients accept what they get.

use std::sync::Arc;

use serde_json::Value;
use weir::dialect::{Choice, Dialect, Members};
use weir::encode::Encoder;
use weir::event::{Event, Terminal};
use weir::stream::pipeline::{InputEnd, Pipeline, Settings, Verdict};
use weir::translate::{Statuses, Target, Translator};
use weir::wire::encoding::Coding;
use weir::wire::{Decoder, Frame, Framing};

#[path = "../../tests/replies/grammar/mod.rs"]
mod grammar;

const MAX_EVENT: usize = 1 << 16;

/// What the parser of the grammar refuses, but clients' own parsers take. It can be within strings of the agent that
/// become values, so it is not seen before.
const PARSERS_LIMITS: [&str; 4] = [
    "recursion limit exceeded",
    "number out of range",
    "lone leading surrogate",
    "unexpected end of hex escape",
];

/// Checks any bytes. The first one selects the dialect and how the input ends, the second the framing, whether the
/// client is told what is going on, and the size of the reads.
pub fn check(data: &[u8]) {
    let [pick, cut, text @ ..] = data else {
        return;
    };
    let dialect = Dialect::ALL[usize::from(pick & 0x7f) % Dialect::ALL.len()];
    let how = if pick & 0x80 == 0 {
        InputEnd::Clean
    } else {
        InputEnd::Broken
    };
    let framings = [
        Framing::Sse,
        Framing::Ndjson,
        Framing::JsonArray,
        Framing::Lines,
    ];
    let play = Play {
        dialect,
        how,
        framing: framings[usize::from(cut >> 6)],
        statuses: if cut & 0x20 == 0 {
            Statuses::Names
        } else {
            // Clients of dialects that have words for it get these.
            Statuses::Text
        },
        piece: usize::from(cut & 0x1f).max(1),
    };
    let is_sound = is_sound(play.framing, text);
    for target in Target::ALL {
        let (got, broke) = play.to(target, text);
        if !is_sound {
            // What is no JSON is passed on as it came, and the agent's own clients cannot read it, either.
            continue;
        }
        if let Err(problem) = grammar::check(target, &got, broke) {
            let is_limit = PARSERS_LIMITS
                .iter()
                .any(|limit| problem.starts_with(*limit));
            assert!(
                is_limit,
                "{dialect} {target:?} {how:?}: {problem}\n{}",
                String::from_utf8_lossy(&got)
            );
        }
    }
}

/// How an agent's bytes are played.
struct Play {
    dialect: Dialect,
    framing: Framing,
    how: InputEnd,
    statuses: Statuses,
    /// The size of the reads.
    piece: usize,
}

impl Play {
    /// Translates a stream as a live one would be. Returns what the client gets, and whether that must end with an
    /// error.
    fn to(&self, target: Target, text: &[u8]) -> (Vec<u8>, bool) {
        let translator = Translator::new(target, 0).showing_status(self.statuses);
        let mut pipeline = Pipeline::new(&Settings {
            framing: self.framing,
            coding: Coding::Identity,
            choice: Choice::Fixed(self.dialect),
            hint: None,
            members: Members::default(),
            max_event_bytes: MAX_EVENT,
            hide: Arc::default(),
        })
        .translated(translator);
        let mut got = Vec::new();
        let mut keep = |block: &[u8], _: &Event| got.extend_from_slice(block);
        let mut is_valid = true;
        for (read, seconds) in text.chunks(self.piece).zip(1..) {
            is_valid &= pipeline.feed(read, &mut keep).is_ok();
            if !is_valid || pipeline.terminal().is_some() {
                break;
            }
            pipeline.tell_waiting(seconds, &mut keep);
        }
        let is_whole = is_valid && pipeline.finish(self.how, &mut keep) == Verdict::Complete;
        let told = pipeline.translator().is_some_and(Translator::has_ended);
        let failed = matches!(pipeline.terminal(), Some(Terminal::Error));
        let is_cut = self.how == InputEnd::Broken && pipeline.terminal().is_none();
        let broke = !told && (!is_whole || failed || is_cut);
        if broke {
            let encoder = Encoder::translated(target.dialect(), target.framing());
            let seen = pipeline.error_context();
            let last = encoder.failure(&seen, "truncated", "The agent stopped too early.");
            got.extend(last.expect("each target has an error event").into_bytes());
        }
        (got, broke)
    }
}

/// Reports whether all that looks like JSON is JSON, and all of it is text.
fn is_sound(framing: Framing, text: &[u8]) -> bool {
    let mut decoder = Decoder::new(framing, MAX_EVENT);
    let mut is_sound = std::str::from_utf8(text).is_ok();
    let mut look = |frame: Frame<'_>| is_sound &= is_sound_frame(frame.data());
    let _ = decoder.feed(text, &mut look);
    let last = decoder.finish();
    is_sound && last.is_none_or(|frame| is_sound_frame(frame.data()))
}

fn is_sound_frame(data: &[u8]) -> bool {
    let data = match data.trim_ascii() {
        // A part of the data stream of the AI SDK's version 4.
        [code, b':', rest @ ..] if code.is_ascii_alphanumeric() => rest,
        data => data,
    };
    let is_json = matches!(data.first(), Some(b'{' | b'[' | b'"'));
    !is_json || data == b"[DONE]" || serde_json::from_slice::<Value>(data).is_ok()
}
