//! Which agent's events a fair ring drops.

use super::*;

/// A piece of a text of one of several agents.
fn said(agent: u8, key: u64, text: &str) -> (Vec<u8>, Event) {
    let (block, event) = token(key, text);
    (block, Event { agent, ..event })
}

#[test]
fn a_fair_ring_drops_from_the_agent_of_which_the_most_waits() {
    let now = Instant::now();
    let waiting = |is_fair: bool| {
        let mut ring = Ring::new(
            Limits {
                merge: false,
                ..limits(6, 1 << 16)
            },
            silent(),
        );
        if is_fair {
            ring.share_fairly();
        }
        let quiet = said(1, 1, "q");
        assert_eq!(ring.push(&quiet.0, &quiet.1, now), Push::Accepted);
        for _ in 0..20 {
            let flood = said(2, 2, "f");
            assert_eq!(ring.push(&flood.0, &flood.1, now), Push::Accepted);
        }
        let mut out = Vec::new();
        ring.take(usize::MAX, &mut out);
        (
            String::from_utf8(out).unwrap(),
            ring.counts().dropped[Class::Token.index()],
        )
    };
    let flood = "<f>\n".repeat(5);
    assert_eq!(waiting(true), (format!("<q>\n{flood}"), 15));
    assert_eq!(waiting(false), (format!("<f>\n{flood}"), 15));
}

#[test]
fn an_agent_with_many_texts_does_not_push_out_the_one_text_of_another() {
    let now = Instant::now();
    let mut ring = Ring::new(
        Limits {
            merge: false,
            ..limits(40, 1 << 16)
        },
        silent(),
    );
    ring.share_fairly();
    // More than of any single text of the other one.
    for _ in 0..10 {
        let quiet = said(1, 1, "q");
        assert_eq!(ring.push(&quiet.0, &quiet.1, now), Push::Accepted);
    }
    for key in 2..202 {
        // Each message has one piece.
        let flood = said(2, key, "f");
        assert_eq!(ring.push(&flood.0, &flood.1, now), Push::Accepted);
    }
    let mut out = Vec::new();
    ring.take(usize::MAX, &mut out);
    let expected = "<q>\n".repeat(10) + &"<f>\n".repeat(30);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(ring.counts().dropped[Class::Token.index()], 170);
}
