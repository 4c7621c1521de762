//! Checks that joining events loses nothing: the output of a full queue says the same as its input, whatever waits and
//! for however long.
//!
//! 1. Streams of each dialect are made from its fixtures: the events in order, deltas repeated with other texts.
//! 2. They pass through a small queue that is read at random times.
//! 3. Input and output are parsed again. Adjacent texts with equal keys are added up, everything else is compared byte
//!    by byte.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic"
)]

use std::fmt;

use serde_json::Value;
use tokio::time::Instant;
use weir::dialect::{Classifier, Dialect};
use weir::event::{Class, Event, Keep, LISTS, Merge};
use weir::queue::ring::{Push, Ring};
use weir::queue::{Limits, Overflow};
use weir::wire::{Decoder, Frame, Framing};

mod support;

use support::{Fixture, fixtures};
use weir::encode::Encoder;

/// Returns an encoder for a client that does not support comments.
fn silent() -> Encoder {
    Encoder::identity(None, Framing::Ndjson)
}

/// Texts that are awkward to join: escapes, halves of surrogate pairs, delimiters of every framing.
const PIECES: [&str; 18] = [
    "a", "é", "\\n", "\\\"", "\\\\", "\\u00e9", "\\ud83d", "\\ude00", "😀", "\\/", "{", "}",
    "data: ", "\\u2028", ",", "[", "]", "0",
];
const STREAMS: u64 = 40;

/// A random number generator (xorshift64*) with the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    /// Returns a random text. It begins with a letter, because text without quotes must not look like JSON.
    fn text(&mut self) -> String {
        let pieces = self.below(4);
        std::iter::once("t")
            .chain((0..pieces).map(|_| PIECES[self.below(PIECES.len())]))
            .collect()
    }
}

fn read(dialect: Dialect, framing: Framing, bytes: &[u8]) -> Vec<(Frame<'static>, Event)> {
    let mut frames = Vec::new();
    let mut keep = |frame: Frame<'_>| frames.push(frame.into_owned());
    let mut decoder = Decoder::new(framing, 1 << 20);
    decoder.feed(bytes, &mut keep).unwrap();
    let mut classifier = Classifier::new(dialect);
    let with_event = |frame: Frame<'static>| {
        let event = *classifier.classify(&frame, &mut None);
        (frame, event)
    };
    // Heartbeats of the upstream are not forwarded.
    let stays = |(_, event): &(Frame<'_>, Event)| event.class != Class::Heartbeat;
    frames.into_iter().map(with_event).filter(stays).collect()
}

/// Makes a longer stream from the events of one: events that can be joined are repeated, with different texts.
fn grown(events: &[(Frame<'_>, Event)], random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for (frame, event) in events {
        let joins = event.merge.filter(|merge| merge.keep != Keep::Replace);
        let times = if event.merge.is_some() {
            1 + random.below(12)
        } else {
            1
        };
        for _ in 0..times {
            match joins {
                None => out.extend_from_slice(&frame.block),
                Some(merge) => {
                    let (start, end) = (merge.text.start as usize, merge.text.end as usize);
                    let text = random.text();
                    let old = format!(
                        "\"{}\"",
                        std::str::from_utf8(&frame.block[start..end]).unwrap()
                    );
                    // Copies of the text change with it.
                    let with_copies = |part: &[u8]| match merge.copies {
                        0 => part.to_vec(),
                        _ => std::str::from_utf8(part)
                            .unwrap()
                            .replace(&old, &format!("\"{text}\""))
                            .into_bytes(),
                    };
                    out.extend_from_slice(&with_copies(&frame.block[..start]));
                    out.extend_from_slice(text.as_bytes());
                    out.extend_from_slice(&with_copies(&frame.block[end..]));
                }
            }
        }
    }
    out
}

/// The content of a stream, regardless of how its texts are divided into events.
#[derive(PartialEq, Eq)]
enum Said {
    /// A text, and the names and entries of the lists that grew with it.
    Text(u64, Vec<u8>, Vec<(String, Value)>),
    /// A block that replaces the previous one with this key.
    Last(u64, Vec<u8>),
    Block(Vec<u8>),
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Text(_, bytes, _) | Self::Last(_, bytes) | Self::Block(bytes)) = self;
        write!(f, "{}", bytes.escape_ascii())?;
        match self {
            Self::Text(_, _, entries) => write!(f, " {entries:?}"),
            _ => Ok(()),
        }
    }
}

/// Returns the entries of the lists beside a block's text, each with the name of its list.
fn entries(block: &[u8], merge: Merge) -> Vec<(String, Value)> {
    fn walk(name: &str, value: &Value, grows: bool, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Array(items) if grows => {
                out.extend(items.iter().map(|item| (name.to_owned(), item.clone())));
            }
            // The text itself, among its log probabilities.
            Value::String(text) if grows => {
                let characters = text.chars().map(|one| Value::from(one.to_string()));
                out.extend(characters.map(|one| (name.to_owned(), one)));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(name, item, false, out)),
            Value::Object(members) => {
                for (key, value) in members {
                    let grows = grows || LISTS.contains(&key.as_bytes());
                    walk(key, value, grows, out);
                }
            }
            _ => {}
        }
    }
    if !merge.lists {
        return Vec::new();
    }
    // The text may contain halves of surrogate pairs, which not every JSON parser accepts.
    let (start, end) = (merge.text.start as usize, merge.text.end as usize);
    let bare = [&block[..start], &block[end..]].concat();
    let json = &bare[bare.iter().position(|byte| *byte == b'{').unwrap()..];
    let mut values = serde_json::Deserializer::from_slice(json).into_iter();
    let mut out = Vec::new();
    walk("", &values.next().unwrap().unwrap(), false, &mut out);
    // Compare each list by itself, because their entries alternate.
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}

fn said(dialect: Dialect, framing: Framing, bytes: &[u8]) -> Vec<Said> {
    let mut out: Vec<Said> = Vec::new();
    for (frame, event) in read(dialect, framing, bytes) {
        let block = frame.block.to_vec();
        match (event.merge, out.last_mut()) {
            (None, _) => out.push(Said::Block(block)),
            (Some(merge), Some(Said::Last(key, last)))
                if merge.keep == Keep::Replace && *key == merge.key =>
            {
                *last = block;
            }
            (Some(merge), _) if merge.keep == Keep::Replace => {
                out.push(Said::Last(merge.key, block));
            }
            (Some(merge), Some(Said::Text(key, text, lists))) if *key == merge.key => {
                text.extend_from_slice(merge.text.of(&frame.block));
                lists.extend(entries(&frame.block, merge));
                lists.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            (Some(merge), _) => {
                let text = merge.text.of(&frame.block).to_vec();
                let lists = entries(&frame.block, merge);
                out.push(Said::Text(merge.key, text, lists));
            }
        }
    }
    out
}

/// Returns the output of a queue that is rarely read, and how many events were joined in it.
fn squeezed(events: &[(Frame<'_>, Event)], random: &mut Random) -> (Vec<u8>, usize) {
    let limits = Limits {
        max_events: 1 + random.below(6),
        max_bytes: 256 << random.below(8),
        merge: true,
        overflow: Overflow::Block,
    };
    let mut ring = Ring::new(limits, silent());
    let mut out = Vec::new();
    let now = Instant::now();
    for (frame, event) in events {
        while ring.push(&frame.block, event, now) != Push::Accepted {
            assert!(
                ring.take(1, &mut out).is_some(),
                "an empty queue takes anything"
            );
        }
        if random.below(24) == 0 {
            ring.take(1 << random.below(12), &mut out);
        }
    }
    while ring.take(usize::MAX, &mut out).is_some() {}
    (out, usize::try_from(ring.counts().merged).unwrap())
}

#[test]
fn what_was_joined_says_what_was_sent() {
    for dialect in Dialect::ALL {
        let mut joined = 0;
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for Fixture {
            dialect,
            framing,
            bytes,
            ..
        } in fixtures(dialect)
        {
            let fixture = read(dialect, framing, &bytes);
            for _ in 0..STREAMS {
                let stream = grown(&fixture, &mut random);
                let events = read(dialect, framing, &stream);
                let (out, merged) = squeezed(&events, &mut random);
                joined += merged;
                let sent: Vec<u8> = events
                    .iter()
                    .flat_map(|(frame, _)| frame.block.to_vec())
                    .collect();
                let (got, expected) = (said(dialect, framing, &out), said(dialect, framing, &sent));
                for (got, expected) in got.iter().zip(&expected) {
                    assert_eq!(got, expected, "{dialect}");
                }
                assert_eq!(got.len(), expected.len(), "{dialect}");
            }
        }
        // These dialects have no text that can be joined.
        let has_none = matches!(dialect, Dialect::Mcp | Dialect::Opaque);
        assert_eq!(
            joined == 0,
            has_none,
            "{dialect}: {joined} events were joined"
        );
    }
}
