//! Tests of the ring. Here: what is merged, dropped, told and kept, case by case.

mod fair;
mod random;

use super::gap::chars;
use super::*;
use crate::encode::Encoder;
use crate::event::{Content, Keep, Merge, Span};
use crate::wire::Framing;

/// An encoder whose client skips comments, and so is told what was dropped.
fn tells() -> Encoder {
    Encoder::identity(None, Framing::Sse)
}

/// An encoder whose client does not know comments.
fn silent() -> Encoder {
    Encoder::identity(None, Framing::Ndjson)
}

const fn limits(max_events: usize, max_bytes: usize) -> Limits {
    Limits {
        max_events,
        max_bytes,
        merge: true,
        overflow: Overflow::DropOldest,
    }
}

/// A block `<text>` whose text lies between the angle brackets.
fn token(key: u64, text: &str) -> (Vec<u8>, Event) {
    let block = format!("<{text}>\n").into_bytes();
    let span = Span::new(1..1 + text.len()).unwrap();
    let merge = Some(Merge {
        key,
        text: span,
        keep: Keep::First,
        lists: false,
        copies: 0,
    });
    (
        block,
        Event {
            content: Content::Token,
            text: Some(span),
            merge,
            ..Event::bare(Class::Token)
        },
    )
}

fn push(ring: &mut Ring, (block, event): (Vec<u8>, Event)) -> Push {
    ring.push(&block, &event, Instant::now())
}

fn critical(text: &str) -> (Vec<u8>, Event) {
    (format!("{text}\n").into_bytes(), Event::bare(Class::Tool))
}

/// Takes events, and returns their text and their number.
fn take(ring: &mut Ring, max_bytes: usize) -> Option<(String, usize)> {
    let mut out = Vec::new();
    let taken = ring.take(max_bytes, &mut out)?;
    Some((String::from_utf8(out).unwrap(), taken.events))
}

fn all(ring: &mut Ring) -> String {
    let mut out = String::new();
    while let Some((text, _)) = take(ring, usize::MAX) {
        out.push_str(&text);
    }
    out
}

#[test]
fn events_that_fit_stay_apart_and_leave_in_one_piece() {
    let mut ring = Ring::new(limits(8, 100), tells());
    push(&mut ring, token(1, "a"));
    push(&mut ring, token(1, "b"));
    let taken = take(&mut ring, usize::MAX);
    assert_eq!(taken, Some(("<a>\n<b>\n".to_owned(), 2)));
}

#[test]
fn equal_neighbours_are_joined_before_anything_is_dropped() {
    let mut ring = Ring::new(limits(2, 100), tells());
    for text in ["a", "b", "c", "d"] {
        push(&mut ring, token(1, text));
    }
    push(&mut ring, token(2, "x"));
    assert_eq!(all(&mut ring), "<abcd>\n<x>\n");
    assert_eq!(ring.counts().merged, 3);
    assert_eq!(ring.counts().dropped, [0; 12]);
}

#[test]
fn batches_have_so_many_characters_until_the_ring_is_full() {
    let mut ring = Ring::new(limits(8, 1000), tells());
    for text in ["ab", "c", "äö", "d", "e", "f"] {
        push(&mut ring, token(1, text));
    }
    ring.batch(3);
    assert_eq!(ring.len(), 3);
    push(&mut ring, token(1, "g"));
    push(&mut ring, critical("T"));
    push(&mut ring, token(1, "h"));
    ring.batch(3);
    let mut out = Vec::new();
    ring.take_some(1, usize::MAX, &mut out).unwrap();
    assert_eq!(out, b"<abc>\n");
    // The ring is full: batches that wait become one event.
    for text in ["i", "j", "k", "l"] {
        push(&mut ring, token(2, text));
    }
    push(&mut ring, token(3, "m"));
    assert_eq!(all(&mut ring), "<äödefg>\nT\n<h>\n<ijkl>\n<m>\n");
    assert_eq!(ring.counts().dropped, [0; 12]);
}

#[test]
fn the_oldest_token_is_dropped_and_told_and_critical_events_stay() {
    let mut ring = Ring::new(limits(3, 100), tells());
    push(&mut ring, critical("T1"));
    push(&mut ring, token(1, "a"));
    push(&mut ring, critical("T2"));
    assert_eq!(push(&mut ring, critical("T3")), Push::Accepted);
    assert_eq!(all(&mut ring), "T1\n: weir dropped=1 chars=1\nT2\nT3\n");
    assert_eq!(ring.counts().dropped[Class::Token.index()], 1);
}

#[test]
fn an_empty_queue_holds_no_room() {
    let mut ring = Ring::new(limits(8, 100), tells());
    for _ in 0..3 {
        push(&mut ring, token(1, "a"));
        assert!(ring.store.capacity() > 0 && ring.entries.capacity() > 0);
        all(&mut ring);
        assert_eq!((ring.store.capacity(), ring.entries.capacity()), (0, 0));
    }
}

#[test]
fn critical_events_wait_when_nothing_gives_way() {
    let mut ring = Ring::new(limits(2, 100), tells());
    push(&mut ring, critical("T1"));
    push(&mut ring, critical("T2"));
    assert_eq!(push(&mut ring, critical("T3")), Push::Full);
    assert_eq!(push(&mut ring, token(1, "a")), Push::Accepted);
    assert_eq!(take(&mut ring, 3), Some(("T1\n".to_owned(), 1)));
    assert_eq!(push(&mut ring, critical("T3")), Push::Accepted);
    assert_eq!(all(&mut ring), "T2\n: weir dropped=1 chars=1\nT3\n");
}

#[test]
fn an_oversized_event_passes_alone() {
    let mut ring = Ring::new(limits(4, 4), tells());
    assert_eq!(push(&mut ring, critical("much too long")), Push::Accepted);
    assert_eq!(push(&mut ring, critical("T")), Push::Full);
    assert_eq!(all(&mut ring), "much too long\n");
}

#[test]
fn rules_other_than_drop_oldest_drop_nothing() {
    for (overflow, expected) in [
        (Overflow::Block, Push::Full),
        (Overflow::Disconnect, Push::Disconnect),
    ] {
        let mut ring = Ring::new(
            Limits {
                overflow,
                merge: false,
                ..limits(1, 100)
            },
            tells(),
        );
        push(&mut ring, token(1, "a"));
        assert_eq!(push(&mut ring, token(1, "b")), expected);
        assert_eq!(all(&mut ring), "<a>\n");
    }
}

#[test]
fn a_burst_waits_for_a_reader_that_had_no_chance_yet() {
    for overflow in [Overflow::DropOldest, Overflow::Disconnect] {
        let mut ring = Ring::new(
            Limits {
                overflow,
                ..limits(1, 100)
            },
            tells(),
        );
        ring.reader_is_slow(false);
        push(&mut ring, token(1, "a"));
        assert_eq!(push(&mut ring, token(2, "b")), Push::Full);
        assert_eq!(all(&mut ring), "<a>\n");
        assert_eq!(push(&mut ring, token(2, "b")), Push::Accepted);
    }
}

#[test]
fn a_snapshot_that_became_critical_is_not_dropped_for_what_it_was() {
    let snapshot = |class, text: &str| {
        let (block, event) = token(1, text);
        let merge = event.merge.map(|merge| Merge {
            keep: Keep::Replace,
            ..merge
        });
        (
            block,
            Event {
                class,
                merge,
                ..event
            },
        )
    };
    let mut ring = Ring::new(limits(2, 100), tells());
    push(&mut ring, critical("T1"));
    push(&mut ring, snapshot(Class::Token, "a"));
    push(&mut ring, snapshot(Class::Tool, "a+tool"));
    push(&mut ring, snapshot(Class::Token, "a+tool+b"));
    assert_eq!(push(&mut ring, critical("T2")), Push::Full);
    assert_eq!(all(&mut ring), "T1\n<a+tool+b>\n");
}

#[test]
fn what_is_missing_at_the_end_is_told() {
    let mut ring = Ring::new(limits(1, 100), tells());
    push(&mut ring, critical("T"));
    push(&mut ring, token(1, "abc"));
    ring.finish(Instant::now());
    assert_eq!(all(&mut ring), "T\n: weir dropped=1 chars=3\n");
}

#[test]
fn a_heartbeat_does_not_take_a_notice_with_it() {
    let dropped_then_heartbeat = || {
        let mut ring = Ring::new(limits(1, 100), tells());
        push(&mut ring, critical("T1"));
        push(&mut ring, token(1, "lost"));
        assert_eq!(all(&mut ring), "T1\n");
        assert!(ring.heartbeat(Instant::now()));
        ring
    };
    let mut ring = dropped_then_heartbeat();
    push(&mut ring, critical("T2"));
    assert_eq!(all(&mut ring), ": weir dropped=1 chars=4\nT2\n");
    let mut ring = dropped_then_heartbeat();
    assert!(all(&mut ring).starts_with(": weir dropped=1 chars=4\n"));
    push(&mut ring, critical("T2"));
    assert_eq!(all(&mut ring), "T2\n", "it is told once");
    let mut ring = dropped_then_heartbeat();
    push(&mut ring, token(1, "t"));
    ring.finish(Instant::now());
    assert_eq!(all(&mut ring).matches("dropped=").count(), 1);
}

#[test]
fn what_nobody_took_is_counted() {
    let mut ring = Ring::new(limits(2, 100), tells());
    push(&mut ring, critical("T"));
    push(&mut ring, token(1, "a"));
    push(&mut ring, token(2, "b"));
    ring.clear();
    let counts = ring.counts();
    assert_eq!(counts.dropped[Class::Token.index()], 1);
    assert_eq!(counts.unsent[Class::Token.index()], 1);
    assert_eq!(counts.unsent[Class::Tool.index()], 1);
}

#[test]
fn characters_of_text_that_joins_with_nothing_are_told() {
    let mut ring = Ring::new(limits(1, 100), tells());
    let (block, event) = token(1, "four");
    push(
        &mut ring,
        (
            block,
            Event {
                merge: None,
                ..event
            },
        ),
    );
    push(&mut ring, critical("T"));
    assert_eq!(all(&mut ring), ": weir dropped=1 chars=4\nT\n");
}

#[test]
fn characters_are_counted_not_bytes() {
    assert_eq!(chars("aé\\n\\u00e9".as_bytes()), 4);
}

#[test]
fn memory_stays_at_the_bound_whatever_is_thrown_at_it() {
    const BOUND: usize = 64 * 1024;
    for (merge, len, every) in [
        (true, 200, 50),
        (false, 200, 3),
        (false, 4000, 7),
        (true, 9, 1000),
    ] {
        let mut ring = Ring::new(
            Limits {
                merge,
                ..limits(100_000, BOUND)
            },
            tells(),
        );
        for number in 0..20_000 {
            let event = if number % every == 0 {
                critical(&"C".repeat(20))
            } else {
                token(1, &"x".repeat(len))
            };
            push(&mut ring, event);
            assert!(ring.store.capacity() <= BOUND);
            if number % 5000 == 4999 {
                take(&mut ring, BOUND / 2);
            }
        }
        while take(&mut ring, BOUND / 3).is_some() {}
        assert!(ring.store.capacity() <= 2048, "given back when empty");
    }
}

#[test]
fn a_large_event_leaves_in_its_own_buffer() {
    let mut ring = Ring::new(limits(8, 1024), silent());
    let now = Instant::now();
    let large = vec![b'x'; 100_000];
    let place = large.as_ptr();
    ring.push_whole(large, &Event::bare(Class::Tool), now);
    assert!(ring.is_too_small_for(2048) && !ring.is_too_small_for(512));
    ring.push_final(b"last", 0, now);
    let (block, taken) = ring.take_large().unwrap();
    assert_eq!((block.as_ptr(), block.len()), (place, 100_000));
    assert_eq!((taken.events, ring.len(), ring.bytes()), (1, 1, 4));
    assert!(ring.take_large().is_none());
    let mut out = Vec::new();
    ring.take(usize::MAX, &mut out).unwrap();
    assert_eq!(out, b"last");
    assert!(ring.is_empty());
}

#[test]
fn what_describes_events_counts_beyond_1024_of_them() {
    let mut ring = Ring::new(limits(65_536, 64 * 1024), silent());
    let now = Instant::now();
    while ring.push(b"x", &Event::bare(Class::Tool), now) == Push::Accepted {}
    assert!((1024..2048).contains(&ring.len()), "{}", ring.len());
}

#[test]
fn the_end_of_a_stream_always_fits() {
    let mut ring = Ring::new(limits(2, 1 << 10), silent());
    for _ in 0..2 {
        assert_eq!(push(&mut ring, critical("a")), Push::Accepted);
    }
    let (block, event) = critical("end");
    assert_eq!(ring.push(&block, &event, Instant::now()), Push::Full);
    ring.push_over(&block, &event, Instant::now());
    assert_eq!(take(&mut ring, usize::MAX).unwrap().0, "a\na\nend\n");
}
